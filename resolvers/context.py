"""What is every resolver given? Who asks, what may be read, and the loaders of this one operation."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.loaders import Loaders
from store.database import Database, Reader
from store.identity import Identity
from store.models import TokenScope


@dataclass(frozen=True)
class Viewer:
    """The signed-in user, as just read from the database, and what their token lets them do."""

    identity: Identity
    token_scopes: frozenset[TokenScope]

    @property
    def company_id(self) -> int:
        return self.identity.scope.company_id

    @property
    def user_id(self) -> int:
        return self.identity.scope.user_id


@dataclass(frozen=True)
class StoredFile:
    """What a link to a file is made of; the file is gone after `expires_at`."""

    company_id: int
    id: UUID
    name: str
    expires_at: datetime


@dataclass(frozen=True)
class DownloadLink:
    """An absolute URL that gives a file or a page to whoever has it, until `expires_at`."""

    url: str
    expires_at: datetime


MintLink = Callable[[StoredFile], DownloadLink]


@dataclass(frozen=True)
class StoredPreview:
    """What a link to a rendered page is made of; the page is gone after `expires_at`."""

    company_id: int
    id: UUID
    expires_at: datetime


MintPreview = Callable[[StoredPreview], DownloadLink]


@dataclass(frozen=True)
class Services:
    """What the whole process shares; everything that reaches outside is here, for tests to choose.

    `inert_unsubscribe_url`: what test mails and previews link to; it changes nothing. `domain_suffix`: of the domains
    that are made of companies' slugs. `test_mails_per_hour`: of one user.
    """

    database: Database
    now: Callable[[], datetime]
    mint_link: MintLink
    mint_preview: MintPreview
    inert_unsubscribe_url: str
    domain_suffix: str
    test_mails_per_hour: int


@dataclass
class Context:
    """One operation's; `selections` keeps what the operation's fields select, by the fields' nodes."""

    viewer: Viewer
    reader: Reader
    request_id: str
    services: Services
    selections: dict[Hashable, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.load = Loaders(self.reader)

    def writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        """One unit of work in the viewer's company: committed at the end, rolled back on an error."""
        return self.services.database.writing(self.viewer.company_id)

    async def forget(self) -> None:
        """What is read from here on is read anew: a mutation shows what it has made."""
        await self.reader.renew()
        self.load = Loaders(self.reader)
