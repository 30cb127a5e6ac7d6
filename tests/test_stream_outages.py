"""Do streams outlast a database that does not answer, and leave it to others meanwhile?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from resolvers.context import StreamPace, Viewer
from store.database import Scope, owner_transaction
from tests.conftest import World, on_server
from tests.post import until
from tests.watching import EXPORT, SOON, Stand, any_of, running_export, stand_of

pytestmark = pytest.mark.anyio

BLOCKED = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
async def stand(world: World) -> AsyncIterator[Stand]:
    async with stand_of(world) as found:
        yield found


def state(sequence: int, rows: int) -> dict[str, object]:
    return {"sequence": sequence, "isFinal": False, "export": {"status": "RUNNING", "rowsProcessed": rows}}


async def test_an_outage_of_the_database(world: World, server: str) -> None:
    """While the database is away a stream waits; what happened meanwhile is its next event."""
    name = world.url.rsplit("/", 1)[-1].split("?")[0]
    all_of_it = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    async with stand_of(world, StreamPace(reread=SOON, longest_pause=SOON)) as stand:
        id = await running_export(stand)
        async with stand.watching(EXPORT, world.acme.tokens["admin"], {"id": str(id)}) as watched:
            assert await watched.event() == state(3, 0)
            watch, failures = watched.context.watch, []
            assert watch is not None
            who = watch.reauthorise

            async def reauthorise() -> Viewer:
                try:
                    return await who()
                except Exception as error:
                    failures.append(type(error).__name__)
                    raise

            watch.reauthorise = reauthorise
            await on_server(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", all_of_it)
            event = asyncio.create_task(watched.event())
            await until(lambda: any_of(failures[1:]))
            await on_server(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await stand.progress(world.acme, id, rows_processed=1)
            assert await event == state(4, 1)


async def test_a_statement_that_takes_too_long(stand: Stand) -> None:
    """A reading that the server gives up is made again: the stream goes on."""
    acme = stand.world.acme
    id = await running_export(stand)
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": str(id)}) as watched:
        assert await watched.event() == state(3, 0)
        event = asyncio.create_task(watched.event())
        async with owner_transaction(stand.world.url) as connection:
            await connection.execute(text("LOCK TABLE exports IN ACCESS EXCLUSIVE MODE"))
            await stand.told(acme, id)
            for _ in range(2):
                await until(lambda: holds(connection, f"SELECT count(*) > 0 {BLOCKED}"))
                await connection.execute(text(f"SELECT pg_cancel_backend(pid) {BLOCKED}"))
        await stand.progress(acme, id, rows_processed=1)
        assert await event == state(4, 1)


async def test_streams_leave_connections_to_requests(stand: Stand) -> None:
    """However many streams read, and however long, they take no more than their part of the pool."""
    acme = stand.world.acme
    id = await running_export(stand)
    async with AsyncExitStack() as stack:
        variables = {"id": str(id)}
        all_watched = [
            await stack.enter_async_context(stand.watching(EXPORT, acme.tokens["admin"], variables)) for _ in range(5)
        ]
        for watched in all_watched:
            assert await watched.event() == state(3, 0)
        events = [asyncio.create_task(watched.event()) for watched in all_watched]
        async with owner_transaction(stand.world.url) as connection:
            await connection.execute(text("LOCK TABLE exports IN ACCESS EXCLUSIVE MODE"))
            await stand.told(acme, id)

            async def all_want_to_read() -> bool:
                return len(stand.signals.turns._waiters or ()) == len(events) - 1

            await until(all_want_to_read)
            await until(lambda: holds(connection, f"SELECT count(*) > 0 {BLOCKED}"))
            async with stand.database.signing_in(), stand.database.reading(Scope(acme.id, acme.admin, True)) as request:
                assert await request.rows(text("SELECT 1"), {})
        await stand.progress(acme, id, rows_processed=1)
        assert await asyncio.gather(*events) == [state(4, 1)] * len(events)


async def holds(connection: AsyncConnection, question: str) -> bool:
    return bool(await connection.scalar(text(question)))


def test_when_a_stream_reads_again() -> None:
    """Pauses after failures grow to their limit, and neither they nor the waiting for signals are alike for all."""
    least, most = StreamPace(chance=lambda: 0), StreamPace(chance=lambda: 1)
    assert [most.pause(failures) for failures in (0, 1, 2, 100)] == [0.125, 0.25, 0.5, 5]
    assert [least.pause(failures) for failures in (0, 1, 2, 100)] == [0.0625, 0.125, 0.25, 2.5]
    assert (least.until_reread(), most.until_reread()) == pytest.approx((4, 6))
