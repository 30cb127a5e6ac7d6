"""Does a read see one moment, does a unit of work happen wholly or not, and does the pool outlive what goes wrong?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable, Integer, bindparam, delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import Database, Scope
from store.identity import find_company_of_user, find_token
from store.migrate import newest_revision
from store.models import Group, Team, User
from store.readings import Readings
from tests.conftest import World
from tests.databases import INSUFFICIENT_PRIVILEGE, ONE_SERVER, Databases, refused, undone
from tests.statements import in_use

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.store_databases"]

READ_ONLY = "25006"
DIVISION_BY_ZERO = "22012"
QUERY_CANCELED = "57014"
GROUPS = select(Group.name)
COUNT_USERS = select(func.count()).select_from(User)
SLEEP = select(func.pg_sleep(600))
ASLEEP = "wait_event = 'PgSleep'"
PATIENCE_SECONDS = 30  # ends a test that hangs; what is waited for comes at once or never


@pytest.fixture(scope="module")
def written_world(store_databases: Databases, small_world: World) -> World:
    """The small world; tests leave groups of their own in it."""
    return World(asyncio.run(store_databases.copy(small_world.url)), small_world.acme, small_world.globex)


@pytest.fixture
async def store(written_world: World) -> AsyncIterator[Database]:
    """The database as the application reaches it, through one connection at a time."""
    database = Database(written_world.url, pool_size=1, command_timeout=600)
    yield database
    assert checked_out(database) == 0, "every connection went back to the pool"
    await database.close()


def checked_out(database: Database) -> int:
    return in_use(database)


def scope_of(world: World) -> Scope:
    return Scope(world.acme.id, world.acme.member, False, (1, 2), (3,))


async def assert_fresh(database: Database) -> None:
    """The pooled connection remembers nothing of what was done with it, and works."""
    async with database.engine.connect() as connection:
        for name in ("app.company_id", "app.token_id", "app.user_id"):
            assert not await connection.scalar(select(func.current_setting(name, True)))
        assert await connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert await connection.scalar(text("SHOW transaction_read_only")) == "off"
        assert await connection.scalar(COUNT_USERS) == 0


async def groups(world: World) -> set[str]:
    """The names that were committed, as the owner of the tables sees them."""
    async with undone(world.url) as connection:
        return set((await connection.scalars(GROUPS.where(Group.company_id == world.acme.id))).all())


async def wait_until(connection: AsyncConnection, condition: str, count: int) -> None:
    """Waits for so many connections of the application to this database to be in a state."""
    active = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    asked = text(f"{active} AND application_name = 'campaign-gateway' AND {condition}")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await connection.scalar(asked) != count:
            await connection.rollback()
            await asyncio.sleep(0.01)


async def test_read_is_within_the_scope(store: Database, written_world: World) -> None:
    """Rows are the company's; the viewer's parameters are bound, and no statement's own can take their place."""
    acme, globex = written_world.acme, written_world.globex
    company = bindparam("viewer_company_id", type_=Integer())
    async with store.reading(scope_of(written_world)) as reader:
        rows = await reader.rows(select(User.company_id).distinct(), {})
        assert [tuple(row) for row in rows] == [(acme.id,)]
        rows = await reader.rows(select(company), {"viewer_company_id": globex.id})
        assert [tuple(row) for row in rows] == [(acme.id,)]
        assert await reader.rows(select(User.id).where(User.company_id == globex.id), {}) == []


async def test_read_sees_one_moment(written_world: World) -> None:
    """All statements of an operation see what was there at its first, whatever is committed meanwhile."""
    database = Database(written_world.url, pool_size=2)
    acme = written_world.acme
    try:
        async with database.reading(scope_of(written_world)) as reader:
            before = await reader.rows(GROUPS, {})
            async with database.writing(acme.id) as session:
                await session.execute(insert(Group).values(company_id=acme.id, name="Meanwhile"))
            assert await reader.rows(GROUPS, {}) == before
        async with database.reading(scope_of(written_world)) as reader:
            assert len(await reader.rows(GROUPS, {})) == len(before) + 1
    finally:
        await database.close()


@pytest.mark.parametrize(
    "change",
    [
        insert(Group).values(company_id=bindparam("company_id"), name="Read").returning(Group.id),
        update(Group).values(name="Read").returning(Group.id),
        delete(Team).returning(Team.id),
    ],
    ids=["insert", "update", "delete"],
)
async def test_read_cannot_write(store: Database, written_world: World, change: Executable) -> None:
    """A statement that changes anything is refused by the transaction itself."""
    async with store.reading(scope_of(written_world)) as reader:
        with pytest.raises(DBAPIError) as caught:
            await reader.rows(change, {"company_id": written_world.acme.id})
        assert refused(caught.value).state == READ_ONLY
    await assert_fresh(store)


async def test_read_takes_one_connection_when_it_needs_it(store: Database, written_world: World) -> None:
    """An operation without statements takes no connection; many at once share one, which goes back at the end."""
    async with store.reading(scope_of(written_world)) as reader, asyncio.timeout(PATIENCE_SECONDS):
        assert checked_out(store) == 0
        found = await asyncio.gather(*(reader.rows(select(func.pg_backend_pid()), {}) for _ in range(20)))
        assert len({row[0] for rows in found for row in rows}) == 1
        assert checked_out(store) == 1
    assert checked_out(store) == 0
    await assert_fresh(store)


async def test_failed_statement_costs_its_own_field_only(store: Database, written_world: World) -> None:
    """After an error the operation goes on in a new transaction, as the same viewer and still without writing."""
    async with store.reading(scope_of(written_world)) as reader:
        before = await reader.rows(GROUPS, {})
        for statement, state in (
            (text("SELECT 1 / 0"), DIVISION_BY_ZERO),
            (delete(Team).returning(Team.id), READ_ONLY),
        ):
            with pytest.raises(DBAPIError) as caught:
                await reader.rows(statement, {})
            assert refused(caught.value).state == state
            assert await reader.rows(GROUPS, {}) == before
    await assert_fresh(store)


async def test_abandoned_statement_is_stopped(store: Database, written_world: World) -> None:
    """A client that leaves in the middle of a statement leaves neither a busy connection nor a working server."""

    async def operation() -> None:
        async with store.reading(scope_of(written_world)) as reader:
            await asyncio.gather(reader.rows(SLEEP, {}), reader.rows(GROUPS, {}))

    async with undone(written_world.url) as watching:
        task = asyncio.create_task(operation())
        await wait_until(watching, ASLEEP, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert checked_out(store) == 0
        await wait_until(watching, ASLEEP, 0)
    await assert_fresh(store)


@ONE_SERVER
async def test_statement_of_a_killed_process_is_stopped(written_world: World) -> None:
    """A process that dies in the middle of a statement leaves no statement running on the server."""
    code = (
        "import asyncio, sys; from sqlalchemy import text; from store.database import Database, Scope\n"
        "async def run():\n"
        "    async with Database(sys.argv[1], command_timeout=600).reading(Scope(1, 1, True)) as reader:\n"
        "        await reader.rows(text('SELECT pg_sleep(600)'), {})\n"
        "asyncio.run(run())"
    )
    arguments = [sys.executable, "-c", code, written_world.url]
    process = await asyncio.create_subprocess_exec(*arguments, cwd=Path(__file__).parents[1])
    async with undone(written_world.url) as watching:
        try:
            await wait_until(watching, ASLEEP, 1)
        finally:
            process.kill()
            await process.wait()
        await wait_until(watching, ASLEEP, 0)


async def test_statement_that_nobody_waits_for_is_stopped(store: Database, written_world: World) -> None:
    """The end of an operation stops the statement that still runs; those that wait for their turn never run."""
    async with undone(written_world.url) as watching, asyncio.timeout(PATIENCE_SECONDS):
        async with store.reading(scope_of(written_world)) as reader:
            running = asyncio.create_task(reader.rows(SLEEP, {}))
            waiting = asyncio.create_task(reader.rows(GROUPS, {}))
            await wait_until(watching, ASLEEP, 1)
        assert checked_out(store) == 0
        await wait_until(watching, ASLEEP, 0)
    found = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [type(error) for error in found] == [asyncio.CancelledError, RuntimeError]
    with pytest.raises(RuntimeError, match="over"):
        await reader.rows(GROUPS, {})
    await assert_fresh(store)


async def test_others_go_on_after_a_statement_that_was_stopped(store: Database, written_world: World) -> None:
    """When one field's statement is stopped in the middle of the operation, the others still read."""
    async with undone(written_world.url) as watching, asyncio.timeout(PATIENCE_SECONDS):
        async with store.reading(scope_of(written_world)) as reader:
            running = asyncio.create_task(reader.rows(SLEEP, {}))
            await wait_until(watching, ASLEEP, 1)
            running.cancel()
            assert await reader.rows(GROUPS, {})
        with pytest.raises(asyncio.CancelledError):
            await running
    await assert_fresh(store)


async def test_what_failed_is_not_tried_again(store: Database, written_world: World) -> None:
    """A statement that failed fails at once in the rest of the operation, with other parameters it is tried."""
    divided = text("SELECT 1 / CAST(:by AS integer) AS found")
    failures = []
    async with store.reading(scope_of(written_world)) as reader:
        for _ in range(2):
            with pytest.raises(DBAPIError) as caught:
                await reader.rows(divided, {"by": 0})
            failures.append(caught.value)
        assert [row.found for row in await reader.rows(divided, {"by": 1})] == [1]
    assert failures[0] is failures[1]


async def test_operation_that_could_not_start_holds_no_connection(
    store: Database, written_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection on which the company could not be set is not used and not kept."""
    async with store.reading(scope_of(written_world)) as reader:
        with monkeypatch.context() as broken:
            broken.setattr("store.readings.BEGIN", "BEGIN; SELECT 1 / 0, {}")
            with pytest.raises(DBAPIError):
                await reader.rows(GROUPS, {})
        assert checked_out(store) == 0
        assert await reader.rows(GROUPS, {})
    await assert_fresh(store)


async def test_pool_outlives_a_cancellation_at_any_point(store: Database, written_world: World) -> None:
    """Wherever an operation or a unit of work is cancelled, its connection comes back clean and nothing is written."""
    acme = written_world.acme
    before = await groups(written_world)

    async def read() -> None:
        async with store.reading(scope_of(written_world)) as reader:
            await asyncio.gather(*(reader.rows(GROUPS, {}) for _ in range(3)))
            await asyncio.sleep(PATIENCE_SECONDS)

    async def write() -> None:
        async with store.writing(acme.id) as session:
            await session.execute(insert(Group).values(company_id=acme.id, name="Cancelled"))
            await asyncio.sleep(PATIENCE_SECONDS)

    for operation in (read, write):
        for steps in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512, 1024):
            task = asyncio.create_task(operation())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert checked_out(store) == 0, steps
            await assert_fresh(store)
    assert await groups(written_world) == before


async def test_waiting_for_a_connection_can_be_cancelled(store: Database, written_world: World) -> None:
    """Who gives up waiting for the one connection does not take it with them."""
    async with store.reading(scope_of(written_world)) as reader:
        await reader.rows(GROUPS, {})
        async with store.reading(scope_of(written_world)) as late:
            task = asyncio.create_task(late.rows(GROUPS, {}))
            for _ in range(10):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    await assert_fresh(store)


async def test_slow_statement_is_given_up_by_the_server(written_world: World) -> None:
    """A statement that takes longer than allowed ends with the server's own error, and the pool stays usable."""
    database = Database(written_world.url, pool_size=1, command_timeout=0.2)
    try:
        for _ in range(3):
            async with database.reading(scope_of(written_world)) as reader:
                with pytest.raises(DBAPIError) as caught:
                    await reader.rows(SLEEP, {})
                assert refused(caught.value).state == QUERY_CANCELED
        await assert_fresh(database)
    finally:
        await database.close()


async def test_pool_replaces_connections_that_died(store: Database, written_world: World) -> None:
    """After the server ended every connection, in use or not, the next operation gets a new one."""
    kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'campaign-gateway'")

    async def terminate() -> None:
        async with undone(written_world.url) as administrator:
            assert set((await administrator.scalars(kill)).all()) == {True}

    await assert_fresh(store)
    await terminate()
    await assert_fresh(store)
    async with store.reading(scope_of(written_world)) as reader:
        await reader.rows(GROUPS, {})
        await terminate()
        with pytest.raises(DBAPIError) as caught:
            await reader.rows(GROUPS, {})
        assert caught.value.connection_invalidated
    await assert_fresh(store)


async def test_connections_that_are_lost_again_and_again(
    store: Database, written_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that are lost as soon as they are there are given up after as many as there may be, and one more."""
    acquired, taken = Readings._acquired, []

    async def lost(readings: Readings, pool: Any) -> Any:
        taken.append(await acquired(readings, pool))
        taken[-1].terminate()
        return taken[-1]

    with monkeypatch.context() as broken:
        broken.setattr(Readings, "_acquired", lost)
        async with store.reading(scope_of(written_world)) as reader, asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(DBAPIError) as caught:
                await reader.rows(GROUPS, {})
            assert caught.value.connection_invalidated
            assert len(taken) == 2
            with pytest.raises(DBAPIError):
                await store.readings.alone("SELECT 1")
    assert await store.readings.alone("SELECT 1")


async def test_unit_of_work_commits_at_the_end(store: Database, written_world: World) -> None:
    """Nobody sees a part of the work before it is over, and everybody sees all of it then."""
    acme = written_world.acme
    async with store.writing(acme.id) as session:
        session.add(Group(company_id=acme.id, name="First"))
        await session.flush()
        await session.execute(insert(Group).values(company_id=acme.id, name="Second"))
        assert not {"First", "Second"} & await groups(written_world)
    assert {"First", "Second"} <= await groups(written_world)
    await assert_fresh(store)


async def test_unit_of_work_is_undone_by_an_error(store: Database, written_world: World) -> None:
    """An error of the code or of the database leaves nothing of the work."""
    acme, globex = written_world.acme, written_world.globex
    before = await groups(written_world)

    async def work(*, fail: bool) -> None:
        async with store.writing(acme.id) as session:
            await session.execute(insert(Group).values(company_id=acme.id, name="Undone"))
            if fail:
                raise LookupError
            await session.execute(insert(Group).values(company_id=globex.id, name="Theirs"))

    with pytest.raises(LookupError):
        await work(fail=True)
    with pytest.raises(DBAPIError) as caught:
        await work(fail=False)
    assert refused(caught.value).state == INSUFFICIENT_PRIVILEGE
    assert await groups(written_world) == before
    await assert_fresh(store)


async def test_unit_of_work_sees_its_company_only(store: Database, written_world: World) -> None:
    """Within a unit of work the other company's rows are neither seen nor changed."""
    acme = written_world.acme
    async with store.writing(acme.id) as session:
        assert set((await session.scalars(select(User.company_id))).all()) == {acme.id}
        changed = await session.execute(update(User).values(job_title="Buyer").returning(User.company_id))
        assert set(changed.scalars()) == {acme.id}
    async with undone(written_world.url) as connection:
        buyers = await connection.scalars(select(User.company_id).where(User.job_title == "Buyer").distinct())
        assert buyers.all() == [acme.id]


async def test_signing_in_only_reads_and_leaves_no_trace(store: Database, written_world: World) -> None:
    """What a request named to sign in is forgotten with its transaction, in which nothing can be written."""
    acme = written_world.acme
    async with store.signing_in() as connection:
        assert await find_token(connection, acme.tokens["admin"].split("_")[1])
        assert await find_company_of_user(connection, acme.admin) == acme.id
        with pytest.raises(DBAPIError) as caught:
            await connection.execute(insert(Group).values(company_id=acme.id, name="Signed in"))
        assert refused(caught.value).state == READ_ONLY
    await assert_fresh(store)


async def test_connection_has_the_applications_settings(store: Database) -> None:
    """Times are UTC, statements are limited by the server, and the server knows who asks."""
    expected = {
        "TimeZone": "UTC",
        "statement_timeout": "10min",
        "idle_in_transaction_session_timeout": "1min",
        "application_name": "campaign-gateway",
        "jit": "off",
        "client_connection_check_interval": "1s",
        "role": "campaign_gateway",
    }
    async with store.engine.connect() as connection:
        assert {name: await connection.scalar(text(f"SHOW {name}")) for name in expected} == expected


async def test_ping_names_the_revision(store: Database) -> None:
    """The application learns which revision of the schema it works with."""
    assert await store.ping() == newest_revision()


async def test_closed_database_holds_no_connection(written_world: World) -> None:
    """Closing ends every connection of the pool."""
    database = Database(written_world.url, pool_size=3)
    async with undone(written_world.url) as watching:
        await wait_until(watching, "true", 0)
        async with database.engine.connect(), database.reading(scope_of(written_world)) as reader:
            await reader.rows(GROUPS, {})
            await wait_until(watching, "true", 2)
        await database.close()
        await wait_until(watching, "true", 0)
