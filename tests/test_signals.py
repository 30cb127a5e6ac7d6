"""Is every change heard that concerns somebody, once it is made, and by nobody else?"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import make_url, text
from structlog.testing import capture_logs

from store.database import Database, owner_transaction
from store.signals import Channel, Hearing, Signals, signal
from tests.conftest import World, on_server
from tests.post import logged, until
from tests.watching import NEVER, OF_LISTENERS, PATIENCE, SOON, heard_by

pytestmark = pytest.mark.anyio

ROW, OTHER_ROW = uuid4(), uuid4()


@pytest.fixture
async def database(world: World) -> AsyncIterator[Database]:
    found = Database(world.url, pool_size=3)
    yield found
    await found.close()


@pytest.fixture
async def signals(database: Database) -> AsyncIterator[Signals]:
    found = Signals(database, longest_pause=SOON, spread=0)
    async with heard_by(found):
        yield found


async def told(database: Database, channel: Channel, company_id: int, *ids: UUID) -> None:
    async with database.writing(company_id) as session:
        await signal(session, channel, company_id, *ids)


async def woken(hearing: Hearing) -> None:
    with anyio.fail_after(PATIENCE):
        await hearing.wait(NEVER)


def is_woken(hearing: Hearing) -> bool:
    return hearing._woken.is_set()


async def test_a_signal_is_heard_when_the_change_is_made(database: Database, signals: Signals) -> None:
    """What is undone is never heard of, and what is done only then."""
    with signals.hearing(Channel.EXPORTS, 1, ROW) as hearing, signals.hearing(Channel.EXPORTS, 2) as other:
        with suppress(LookupError):
            async with database.writing(1) as session:
                await signal(session, Channel.EXPORTS, 1, ROW)
                raise LookupError
        async with database.writing(1) as session:
            await signal(session, Channel.EXPORTS, 1, ROW)
            await told(database, Channel.EXPORTS, 2, OTHER_ROW)
            await woken(other)
            assert not is_woken(hearing)
        await woken(hearing)
        assert not is_woken(hearing)


async def test_whom_a_signal_is_for(database: Database, signals: Signals) -> None:
    """A signal wakes who listens for its row, and for all rows of its company: no other row, company or channel."""
    places = [
        (Channel.EXPORTS, 1, ROW),
        (Channel.EXPORTS, 1, None),
        (Channel.EXPORTS, 1, OTHER_ROW),
        (Channel.EXPORTS, 2, ROW),
        (Channel.EXPORTS, 2, None),
        (Channel.CAMPAIGNS, 1, ROW),
        (Channel.CAMPAIGNS, 1, None),
    ]
    with ExitStack() as kept, signals.hearing(Channel.EXPORTS, 3) as last:
        hearings = {place: kept.enter_context(signals.hearing(*place)) for place in places}
        await told(database, Channel.EXPORTS, 1, ROW)
        await told(database, Channel.EXPORTS, 3, ROW)
        await woken(last)
        assert [place for place, hearing in hearings.items() if is_woken(hearing)] == places[:2]
    assert not signals._hearings


async def test_several_rows_at_once(database: Database, signals: Signals) -> None:
    """One change of several rows is told of each; a change of none is no signal."""
    with signals.hearing(Channel.CAMPAIGNS, 1, ROW) as one, signals.hearing(Channel.CAMPAIGNS, 1, OTHER_ROW) as other:
        await told(database, Channel.CAMPAIGNS, 1)
        await told(database, Channel.CAMPAIGNS, 1, ROW, OTHER_ROW)
        await woken(one)
        await woken(other)


async def test_many_signals_become_one(database: Database, signals: Signals) -> None:
    """However many signals came since it was last looked, there is one thing to do; then it is waited again."""
    with signals.hearing(Channel.EXPORTS, 1, ROW) as hearing, signals.hearing(Channel.EXPORTS, 2) as last:
        for _ in range(5):
            await told(database, Channel.EXPORTS, 1, ROW)
        await told(database, Channel.EXPORTS, 2, ROW)
        await woken(last)
        await woken(hearing)
        await hearing.wait(SOON)
        assert not is_woken(hearing)


async def test_malformed_signals(world: World, signals: Signals) -> None:
    """Signals that others send on these channels mean nothing, and do no harm."""
    with signals.hearing(Channel.EXPORTS, 1) as hearing, signals.hearing(Channel.EXPORTS, 2) as last:
        async with owner_transaction(world.url) as connection:
            for payload in ("", ":", "1", "1:", f":{ROW}", f"one:{ROW}", "1:row", f"1:{ROW}:2", "é" * 3000, f"2:{ROW}"):
                await connection.execute(text("SELECT pg_notify('exports', :payload)"), {"payload": payload})
        await woken(last)
        assert not is_woken(hearing)


async def test_one_connection_for_all(world: World, database: Database, signals: Signals) -> None:
    """However many listen, the process has one connection that listens, and the pool is free."""
    place = (Channel.EXPORTS, world.acme.id, ROW)
    with signals.hearing(*place) as one, signals.hearing(*place) as other, signals.hearing(Channel.CAMPAIGNS, 1):
        await told(database, *place)
        await woken(one)
        await woken(other)
        async with owner_transaction(world.url) as connection:
            assert await connection.scalar(text(f"SELECT count(*) {OF_LISTENERS}")) == 1


async def test_a_lost_connection(world: World, database: Database, signals: Signals) -> None:
    """When the listener's connection is lost, everybody is woken when there is another, which hears as well."""
    with signals.hearing(Channel.EXPORTS, 1, ROW) as one, signals.hearing(Channel.CAMPAIGNS, 2) as other:
        for _ in range(2):
            async with owner_transaction(world.url) as connection:
                await connection.execute(text(f"SELECT pg_terminate_backend(pid) {OF_LISTENERS}"))
            await woken(one)
            await woken(other)
            await told(database, Channel.EXPORTS, 1, ROW)
            await woken(one)
            assert not is_woken(other)


async def test_a_connection_that_the_network_forgot(world: World) -> None:
    """A connection on which nothing comes any more, without a word, is noticed; there is another, and all are woken."""
    url = make_url(world.url)
    async with Network(f"{url.query['host']}/.s.PGSQL.{url.query['port']}") as network:
        through = url.update_query_dict({"host": network.folder}).render_as_string(hide_password=False)
        database = Database(through, pool_size=3)
        signals = Signals(database, longest_pause=SOON, tried_every=SOON, answered_within=0.5, spread=0)
        async with heard_by(signals):
            with signals.hearing(Channel.EXPORTS, 1, ROW) as hearing:
                network.forget()
                await woken(hearing)
                await told(database, Channel.EXPORTS, 1, ROW)
                await woken(hearing)
        await database.close()


class Network:
    """Stands between a client and the server's socket, and can stop carrying what goes over its connections."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._carrying: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Network:
        self._folder = tempfile.TemporaryDirectory(prefix="mcg-")
        self.folder = self._folder.name
        name = self._server.rsplit("/", 1)[1]
        self._listener = await asyncio.start_unix_server(self._connect, f"{self.folder}/{name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.forget()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        self._folder.cleanup()

    def forget(self) -> None:
        """What is connected now stays so, and nothing is heard on it any more."""
        for task in self._carrying:
            task.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._server)
        self._writers += [writer, back]
        self._carrying += [asyncio.create_task(carry(reader, back)), asyncio.create_task(carry(there, writer))]


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_all_are_woken_one_after_the_other(world: World, database: Database) -> None:
    """After a lost connection those who may have missed something are not woken in the same moment."""
    moments = iter([0, 0, 1])
    signals = Signals(database, longest_pause=SOON, spread=NEVER, chance=lambda: next(moments))
    async with heard_by(signals):
        with signals.hearing(Channel.EXPORTS, 1, ROW) as one, signals.hearing(Channel.CAMPAIGNS, 2) as other:
            async with owner_transaction(world.url) as connection:
                await connection.execute(text(f"SELECT pg_terminate_backend(pid) {OF_LISTENERS}"))

            async def woken_first() -> bool:
                return is_woken(one) or is_woken(other)

            await until(woken_first)
            assert is_woken(one) != is_woken(other)


async def test_a_database_that_comes_later(world: World, database: Database, server: str) -> None:
    """A process that starts while the database is away listens as soon as it is there, and says so in the log."""
    name = world.url.rsplit("/", 1)[-1].split("?")[0]
    await on_server(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    signals = Signals(database, longest_pause=SOON, spread=0)
    with capture_logs() as logs, signals.hearing(Channel.EXPORTS, 1) as hearing:
        listener = asyncio.create_task(signals.run())
        await until(lambda: logged(logs, "signals.failed"))
        await on_server(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await woken(hearing)
        assert await logged(logs, "signals.listening")
        listener.cancel()
        await asyncio.wait({listener})
    assert listener.cancelled()
