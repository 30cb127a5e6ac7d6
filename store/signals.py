"""Who is told that a row has changed? Signals carry ids only: who hears one reads the row again, as who they are."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from functools import partial
from random import random
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
import structlog
from sqlalchemy import ARRAY, String, Uuid, bindparam, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from store.database import Database
from store.faults import places_of

log = structlog.get_logger("signals")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
# Seconds: how often a connection that listens is tried, and how long the answer may take.
TRIED_EVERY = 15.0
ANSWERED_WITHIN = 5.0
# Over so many seconds those are woken who may have missed something.
SPREAD = 2.0
# The part of the connections for readings that subscriptions may read with; the rest is left to requests.
READING_PART = 3


class Channel(StrEnum):
    """A kind of rows whose changes are told; the value is PostgreSQL's name of the channel."""

    EXPORTS = "exports"
    CAMPAIGNS = "campaigns"
    NOTIFICATIONS = "notifications"


# A company, and a row of it; without a row, all of them.
Place = tuple[Channel, int, UUID | None]

CHANGED = func.unnest(bindparam("ids", type_=ARRAY(Uuid()))).column_valued("id")
NOTIFY = select(
    func.pg_notify(bindparam("channel", type_=String()), bindparam("prefix", type_=String()) + cast(CHANGED, String()))
)


async def signal(session: AsyncSession, channel: Channel, company_id: int, *ids: UUID) -> None:
    """Tells the processes that listen, when (and only if) the transaction commits."""
    if ids:
        parameters = {"channel": channel.value, "prefix": f"{company_id}:", "ids": list(ids)}
        await session.execute(NOTIFY, parameters)


@asynccontextmanager
async def listening(database: Database, channel: str, heard: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
    """Calls `heard` at each signal on the channel (PostgreSQL's LISTEN); the event is set when the connection is lost.

    The connection is one beside the pool's, with the same settings: it is held for as long as this lasts.
    """
    async with listening_to(database, {channel: lambda _payload: heard()}) as lost:
        yield lost


@asynccontextmanager
async def listening_to(
    database: Database,
    listeners: Mapping[str, Callable[[str], None]],
    *,
    tried_every: float = TRIED_EVERY,
    answered_within: float = ANSWERED_WITHIN,
) -> AsyncIterator[asyncio.Event]:
    """The same for several channels on one connection; each listener is given the signal's payload.

    The connection is tried again and again: one that a network has forgotten looks like one on which nothing happens.
    """
    pooled = await database.engine.raw_connection()
    connection = pooled.driver_connection
    assert connection is not None
    pooled.detach()
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _connection: lost.set())

    async def try_it() -> None:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            while True:
                await asyncio.sleep(tried_every)
                async with asyncio.timeout(answered_within):
                    await connection.execute("SELECT 1")
        lost.set()

    trying: asyncio.Task[None] | None = None
    try:
        for channel, heard in listeners.items():
            await connection.add_listener(channel, lambda *given, heard=heard: heard(given[-1]))
        trying = asyncio.create_task(try_it())
        yield lost
    finally:
        if trying is not None:
            trying.cancel()
        # Nothing is under way on it, so there is nobody to take leave of, and nothing to wait for.
        connection.terminate()


class Hearing:
    """What one listener has heard and not yet acted on: however much it is, it is one thing to do."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    def clear(self) -> None:
        """What was heard until now is acted on from now on."""
        self._woken.clear()

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - that it runs out is what is expected
        """Returns at a signal (at once if there was one since the last time), or after `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._woken.wait()
                self._woken.clear()


class Signals:
    """What this process hears of changes: one connection for all who listen, whatever their number.

    A signal says which company's row it is about; whoever listens for another company is not woken by it.
    """

    def __init__(
        self,
        database: Database,
        *,
        longest_pause: float = LONGEST_PAUSE,
        tried_every: float = TRIED_EVERY,
        answered_within: float = ANSWERED_WITHIN,
        spread: float = SPREAD,
        chance: Callable[[], float] = random,
    ) -> None:
        """`longest_pause`: seconds between two attempts to connect again. `tried_every`: seconds between two questions
        whether the connection is there, each to be `answered_within` so many. `spread`: seconds over which all are
        woken when there is another connection; `chance`: from 0 to 1, says when each of them is.

        `turns`: whoever reads for a subscription has one meanwhile.
        """
        self.turns = asyncio.Semaphore(max(1, database.readings.size // READING_PART))
        self._database = database
        self._longest_pause = longest_pause
        self._tried_every = tried_every
        self._answered_within = answered_within
        self._spread = spread
        self._chance = chance
        self._hearings: defaultdict[Place, set[Hearing]] = defaultdict(set)

    @contextmanager
    def hearing(
        self, channel: Channel, company_id: int, id: UUID | None = None, hearing: Hearing | None = None
    ) -> Iterator[Hearing]:
        """Hears of a row, or without `id` of all rows of the company, for as long as this lasts.

        `hearing`: one that others wake too.

        Read only after this has begun: then no change falls between the reading and the first signal.
        """
        place, hearing = (channel, company_id, id), hearing or Hearing()
        self._hearings[place].add(hearing)
        try:
            yield hearing
        finally:
            self._hearings[place].discard(hearing)
            if not self._hearings[place]:
                del self._hearings[place]

    async def run(self) -> None:
        """Listens until it is cancelled; a lost connection is made anew, and then everybody reads again."""
        listeners = {channel.value: partial(self._heard, channel) for channel in Channel}
        pause = FIRST_PAUSE
        while True:
            try:
                async with listening_to(
                    self._database, listeners, tried_every=self._tried_every, answered_within=self._answered_within
                ) as lost:
                    log.info("signals.listening")
                    pause = FIRST_PAUSE
                    self._wake_all()
                    await lost.wait()
                log.warning("signals.connection_lost")
            except Exception as error:  # noqa: BLE001 - reported; who listens reads by the clock, and this tries again
                log.error("signals.failed", error=type(error).__name__, where=places_of(error))  # noqa: TRY400 - no texts
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause)

    def _wake_all(self) -> None:
        """Not all at once: thousands would read the same database in the same moment, which has just come back."""
        loop = asyncio.get_running_loop()
        for hearing in {hearing for hearings in self._hearings.values() for hearing in hearings}:
            loop.call_later(self._spread * self._chance(), hearing.wake)

    def _heard(self, channel: Channel, payload: str) -> None:
        """Anyone who is connected to the database may send a signal: what is not one of ours means nothing."""
        company, _, id = payload.partition(":")
        try:
            company_id, row_id = int(company), UUID(id)
        except ValueError:
            return
        for place in ((channel, company_id, row_id), (channel, company_id, None)):
            wake(self._hearings.get(place, ()))


def wake(hearings: Iterable[Hearing]) -> None:
    for hearing in hearings:
        hearing.wake()
