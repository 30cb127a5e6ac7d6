"""Who is told that a row has changed? Signals carry ids only: who hears one reads the row again, as who they are."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import ARRAY, String, Uuid, bindparam, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from store.database import Database
from store.faults import places_of

log = structlog.get_logger("signals")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class Channel(StrEnum):
    """A kind of rows whose changes are told; the value is PostgreSQL's name of the channel."""

    EXPORTS = "exports"
    CAMPAIGNS = "campaigns"


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
    database: Database, listeners: Mapping[str, Callable[[str], None]]
) -> AsyncIterator[asyncio.Event]:
    """The same for several channels on one connection; each listener is given the signal's payload."""
    pooled = await database.engine.raw_connection()
    connection = pooled.driver_connection
    assert connection is not None
    pooled.detach()
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _connection: lost.set())
    try:
        for channel, heard in listeners.items():
            await connection.add_listener(channel, lambda *given, heard=heard: heard(given[-1]))
        yield lost
    finally:
        # Nothing is under way on it, so there is nobody to take leave of, and nothing to wait for.
        connection.terminate()


class Hearing:
    """What one listener has heard and not yet acted on: however much it is, it is one thing to do."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

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

    def __init__(self, database: Database, *, longest_pause: float = LONGEST_PAUSE) -> None:
        """`longest_pause`: seconds between two attempts to connect again."""
        self._database = database
        self._longest_pause = longest_pause
        self._hearings: defaultdict[Place, set[Hearing]] = defaultdict(set)

    @contextmanager
    def hearing(self, channel: Channel, company_id: int, id: UUID | None = None) -> Iterator[Hearing]:
        """Hears of a row, or without `id` of all rows of the company, for as long as this lasts.

        Read only after this has begun: then no change falls between the reading and the first signal.
        """
        place, hearing = (channel, company_id, id), Hearing()
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
                async with listening_to(self._database, listeners) as lost:
                    log.info("signals.listening")
                    pause = FIRST_PAUSE
                    wake(hearing for hearings in self._hearings.values() for hearing in hearings)
                    await lost.wait()
                log.warning("signals.connection_lost")
            except Exception as error:  # noqa: BLE001 - reported; who listens reads by the clock, and this tries again
                log.error("signals.failed", error=type(error).__name__, where=places_of(error))  # noqa: TRY400 - no texts
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause)

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
