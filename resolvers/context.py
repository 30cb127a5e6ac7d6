"""What is every resolver given? Who asks, what may be read, and the loaders of this one operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import random
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.loaders import Loaders
from store.database import Database, Reader
from store.identity import Identity
from store.models import Role, TokenScope
from store.signals import Hearing, Signals


@dataclass(frozen=True, slots=True)
class Sight:
    """All of a viewer that the answers beneath `Subscription` may depend on: for equal sights they are equal.

    Who sees everything is no person here: neither the rules of `store.access` nor what may be done with a campaign
    look at the user then, nor at teams and groups; these are empty. Only of what is personal is it `Viewer.own_sight`.
    """

    company_id: int
    role: Role
    token_scopes: frozenset[TokenScope]
    user_id: int | None = None
    team_ids: frozenset[int] = frozenset()
    group_ids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Viewer:
    """The signed-in user, as just read from the database, and what their token lets them do until it expires."""

    identity: Identity
    token_scopes: frozenset[TokenScope]
    expires_at: datetime

    @property
    def company_id(self) -> int:
        return self.identity.scope.company_id

    @property
    def user_id(self) -> int:
        return self.identity.scope.user_id

    @property
    def sight(self) -> Sight:
        scope, role = self.identity.scope, self.identity.role
        if scope.sees_everything:
            return Sight(scope.company_id, role, self.token_scopes)
        teams, groups = frozenset(scope.team_ids), frozenset(scope.group_ids)
        return Sight(scope.company_id, role, self.token_scopes, scope.user_id, teams, groups)

    @property
    def own_sight(self) -> Sight:
        """The sight of what is the user's own: nobody else's is equal."""
        return replace(self.sight, user_id=self.user_id)


@dataclass(frozen=True)
class StoredFile:
    """What a link to a file is made of; the file is gone after `expires_at`. `key` names its bytes, to nobody else."""

    company_id: int
    id: UUID
    name: str
    content_type: str
    expires_at: datetime
    key: str = field(repr=False)


@dataclass(frozen=True)
class DownloadLink:
    """An absolute URL that gives a file or a page to whoever has it, until `expires_at`."""

    url: str
    expires_at: datetime


MintLink = Callable[[StoredFile], DownloadLink]


class KeptLinks:
    """Mints links for a subscription: one serves for half its life, as events would all differ if each had its own."""

    def __init__(self, mint: MintLink, now: Callable[[], datetime]) -> None:
        self._mint = mint
        self._now = now
        self._kept: dict[StoredFile, tuple[datetime, DownloadLink]] = {}

    def __call__(self, file: StoredFile) -> DownloadLink:
        now = self._now()
        self._kept = {of: (end, link) for of, (end, link) in self._kept.items() if now < end}
        if file not in self._kept:
            link = self._mint(file)
            self._kept[file] = now + (link.expires_at - now) / 2, link
        return self._kept[file][1]


@dataclass(frozen=True)
class StoredPreview:
    """What a link to a rendered page is made of; the page is gone after `expires_at`."""

    company_id: int
    id: UUID
    expires_at: datetime


MintPreview = Callable[[StoredPreview], DownloadLink]


FIRST_PAUSE = 0.125
MOST_DOUBLINGS = 10


@dataclass(frozen=True)
class StreamPace:
    """When subscriptions read, in seconds.

    `reread`: how long without a signal, about. `spacing`: the least time between two readings of a stream.
    `longest_pause`: the most after readings that failed. `chance`: from 0 to 1; streams that were woken together, or
    failed together, do not read together for ever.
    """

    reread: float = 5
    spacing: float = 0.25
    longest_pause: float = 5
    chance: Callable[[], float] = random

    def until_reread(self) -> float:
        return self.reread * (0.8 + 0.4 * self.chance())

    def pause(self, failures: int) -> float:
        """After so many readings that failed, one after the other."""
        return min(FIRST_PAUSE * 2.0 ** min(failures, MOST_DOUBLINGS), self.longest_pause) * (0.5 + 0.5 * self.chance())


@dataclass(frozen=True)
class Services:
    """What the whole process shares; everything that reaches outside is here, for tests to choose.

    `inert_unsubscribe_url`: what test mails and previews link to; it changes nothing. `domain_suffix`: of the domains
    that are made of companies' slugs. `test_mails_per_hour`: of one user. `exports_waiting`: how many exports of one
    company may wait or run at a time. `export_bytes`: how large the files of one company's exports may be together.
    """

    database: Database
    now: Callable[[], datetime]
    mint_link: MintLink
    mint_preview: MintPreview
    inert_unsubscribe_url: str
    domain_suffix: str
    test_mails_per_hour: int
    exports_waiting: int
    export_bytes: int
    signals: Signals
    stream_pace: StreamPace = StreamPace()


@dataclass
class Watch:
    """What a subscription has beside other operations, as it outlives what was true when it began.

    `reauthorise`: called when a reading begins; reads anew whose operation it is and what they may do, and raises when
    they may nothing any more. `hearing`: what makes it read again. `begun`: whether somebody who watches has had an
    event, maybe of another stream that this one continues: then outages are waited out, and what is gone was there.
    `failed`: whether the event that was just made could not be read in all its parts, so that nobody was given it, and
    it is to be made again.
    """

    reauthorise: Callable[[], Awaitable[Viewer]]
    hearing: Hearing = field(default_factory=Hearing)
    begun: bool = False
    failed: bool = False


@dataclass
class Context:
    """One operation's; `selections` keeps what the operation's fields select, by the fields' nodes.

    `watch`: of a subscription only.
    """

    viewer: Viewer
    reader: Reader
    request_id: str
    services: Services
    watch: Watch | None = None
    selections: dict[Hashable, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.load = Loaders(self.reader)
        self._has_turn = False

    def writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        """One unit of work in the viewer's company: committed at the end, rolled back on an error."""
        return self.services.database.writing(self.viewer.company_id)

    async def forget(self) -> None:
        """What is read from here on is read anew: a mutation shows what it has made."""
        await self.reader.renew()
        self.load = Loaders(self.reader)

    async def anew(self) -> None:
        """Begins an event of a subscription: what is read from here on is read anew, by the viewer as they are now.

        Waits for its turn, as only so many subscriptions may read at a time. What was heard until then is seen to.
        """
        assert self.watch is not None
        await self.rest()
        await self.services.signals.turns.acquire()
        self._has_turn = True
        self.watch.hearing.clear()
        self.viewer = await self.watch.reauthorise()
        self.reader = self.services.database.reading(self.viewer.identity.scope)
        self.load = Loaders(self.reader)

    async def rest(self) -> None:
        """Ends an event: whatever still reads for it is stopped, and nothing is held until the next."""
        try:
            await self.reader.close()
        finally:
            if self._has_turn:
                self._has_turn = False
                self.services.signals.turns.release()

    async def close(self) -> None:
        """Ends the operation."""
        await self.rest()
