"""Is what is written of messages written once and by the right one, whatever the database does meanwhile?"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import asyncpg  # type: ignore[import-untyped]  # it brings no types along
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from jobs.delivery.direct import DirectConnection
from jobs.delivery.ledger import Ledger
from jobs.delivery.recipients import TURN, Begun, Ended, turn_parameters
from jobs.queue import Claim, Queue
from store.database import Database, owner_transaction
from store.models import DeliveryStatus, JobKind
from tests.conftest import World, on_server
from tests.post import until
from tests.sending import Sending, sending_of

pytestmark = pytest.mark.anyio

PATIENCE = 40
LAST_WORD = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
RECIPIENTS = """
    INSERT INTO recipients (company_id, campaign_id, contact_id, address)
    SELECT company_id, :id, id, email FROM contacts WHERE country = 'Audience' ORDER BY id RETURNING id
"""


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        await found.add_contacts(3)
        yield found


async def claimed(sending: Sending) -> tuple[Claim, list[int]]:
    """The claim on a campaign's job, and its recipients."""
    id = await sending.send()
    async with owner_transaction(sending.url) as connection:
        found = [row.id for row in await connection.execute(text(RECIPIENTS), {"id": id})]
    return await claimed_again(sending), found


async def claimed_again(sending: Sending) -> Claim:
    """The claim on the job of whoever comes after the lease was over."""
    await sending.change("UPDATE jobs SET claimed_until = clock_timestamp() WHERE kind = 'CAMPAIGN'")
    (claim,) = await Queue(sending.database, {}, lease=600).claim(1, [JobKind.CAMPAIGN])
    return claim


@asynccontextmanager
async def ledger_of(database: Database, claim: Claim) -> AsyncIterator[Ledger]:
    ledger = Ledger(database, claim)
    ledger.start()
    try:
        yield ledger
    finally:
        await ledger.close()


def begun(id: int, attempt: int = 1) -> Begun:
    return Begun(id, attempt, "Hello", "<p>Hello</p>")


async def status_of(sending: Sending, id: int) -> str:
    return str(await sending.value("SELECT status FROM recipients WHERE id = :id", id=id))


async def test_who_lost_the_claim_begins_nothing(sending: Sending) -> None:
    """Once another has the job nothing is begun any more, not even again; what had been is still written."""
    with anyio.fail_after(PATIENCE):
        first, (one, two, three) = await claimed(sending)
        async with ledger_of(sending.database, first) as ledger:
            assert await ledger.begin(begun(one))
            second = await claimed_again(sending)
            assert not await ledger.begin(begun(two))
            async with ledger_of(sending.database, second) as other:
                assert await other.begin(begun(three))
            # As when the answer to the first one's turn was lost, and it had been rolled back.
            direct = DirectConnection(sending.database, first.company_id, TURN)
            assert await direct.rows(turn_parameters(first, [begun(three)], [], again=True)) == []
            assert await direct.rows(turn_parameters(second, [begun(three)], [], again=True)) == [(three,)]
            await direct.close()
            await sending.change("UPDATE recipients SET status = 'UNKNOWN' WHERE id = :id", id=one)
            ledger.end(Ended(one, 1, DeliveryStatus.SENT, "250 OK"))
    assert await status_of(sending, one) == "SENT"
    assert await status_of(sending, two) == "QUEUED"


async def test_each_attempt_is_begun_once(sending: Sending) -> None:
    """An attempt that was begun is not begun again, whatever became of it, and an old one has no say any more."""
    with anyio.fail_after(PATIENCE):
        claim, (one, two, three) = await claimed(sending)
        async with ledger_of(sending.database, claim) as ledger:
            for id in (one, two, three):
                assert await ledger.begin(begun(id))
                assert not await ledger.begin(begun(id))
            await sending.change("UPDATE recipients SET status = 'UNKNOWN' WHERE id = :id", id=two)
            assert not await ledger.begin(begun(two, 2))
            await sending.change("UPDATE recipients SET status = 'QUEUED' WHERE id = :id", id=three)
            assert not await ledger.begin(begun(three))
            assert await ledger.begin(begun(three, 2))
            ledger.end(Ended(three, 1, DeliveryStatus.SENT, "250 OK"))
    assert await status_of(sending, three) == "SENDING"


async def test_what_is_unknown_is_left_alone(sending: Sending) -> None:
    """What others took for unknown waits for nothing: only what became of it for good is still written."""
    with anyio.fail_after(PATIENCE):
        claim, (one, two, three) = await claimed(sending)
        async with ledger_of(sending.database, claim) as ledger:
            for id in (one, two, three):
                assert await ledger.begin(begun(id))
            await sending.change("UPDATE recipients SET status = 'UNKNOWN' WHERE id = ANY(:ids)", ids=[one, two, three])
            ledger.end(Ended(one, 1, DeliveryStatus.QUEUED))
            ledger.end(Ended(two, 1, DeliveryStatus.DEFERRED, "451 Later", 60))
            ledger.end(Ended(three, 1, DeliveryStatus.FAILED, "554 No"))
    assert [await status_of(sending, id) for id in (one, two, three)] == ["UNKNOWN", "UNKNOWN", "FAILED"]
    reports = await sending.rows(
        "SELECT status, recipient_id FROM delivery_reports WHERE campaign_id = :id", id=claim.subject_id
    )
    assert reports == [("FAILED", three)]


@pytest.mark.parametrize("change", ["UPDATE contacts SET email_consent_given = {}", "DELETE FROM contacts"])
async def test_who_does_not_agree_any_more(sending: Sending, change: str) -> None:
    """Nothing is begun for who withdrew their consent, or is gone, since the recipients were read; the others go on."""
    gone = f"{change} WHERE id = (SELECT contact_id FROM recipients WHERE id = :id)"
    with anyio.fail_after(PATIENCE):
        claim, (one, two, three) = await claimed(sending)
        await sending.change(gone.format("false"), id=one)
        await sending.change(gone.format("NULL"), id=two)
        async with ledger_of(sending.database, claim) as ledger:
            assert [await ledger.begin(begun(id)) for id in (one, two, three)] == [False, False, True]
    assert [await status_of(sending, id) for id in (one, two, three)] == ["QUEUED", "QUEUED", "SENDING"]


async def test_who_was_suppressed_meanwhile(sending: Sending) -> None:
    """Nothing is begun for an address that was suppressed since the recipients were read, however it is written."""
    with anyio.fail_after(PATIENCE):
        claim, (one, two, _) = await claimed(sending)
        suppressing = (
            "INSERT INTO suppressions (company_id, address, reason) SELECT company_id, lower(address), 'BOUNCED'"
        )
        await sending.change(f"{suppressing} FROM recipients WHERE id = :id", id=one)
        await sending.change("UPDATE recipients SET address = upper(address) WHERE id = :id", id=one)
        async with ledger_of(sending.database, claim) as ledger:
            assert [await ledger.begin(begun(id)) for id in (one, two)] == [False, True]
    assert await status_of(sending, one) == "QUEUED"


async def test_suppressed_before_the_end_is_told(sending: Sending) -> None:
    """By the time that it is written that nobody is at an address, the address is suppressed: whoever is cut off in
    between forgets nothing.
    """
    with anyio.fail_after(PATIENCE):
        claim, (one, *_) = await claimed(sending)
        async with ledger_of(sending.database, claim) as ledger:
            assert await ledger.begin(begun(one))
            async with owner_transaction(sending.url) as rival:
                await rival.execute(text("SELECT 1 FROM recipients WHERE id = :id FOR UPDATE"), {"id": one})
                ledger.end(Ended(one, 1, DeliveryStatus.FAILED, "550 5.1.1 Nobody"), refused="person1@customer.example")
                suppressed = "SELECT count(*) FROM suppressions WHERE address = 'person1@customer.example'"
                await until(lambda: sending.value(suppressed))
                assert await status_of(sending, one) == "SENDING"
    assert await status_of(sending, one) == "FAILED"


async def test_all_of_a_turn_or_nothing(sending: Sending) -> None:
    """When one of those in a turn cannot be written, none of them is; the next turn goes over a new connection."""
    claim, (one, two, three) = await claimed(sending)
    direct = DirectConnection(sending.database, claim.company_id, TURN)
    unwritable = Begun(two, 1, "\0", "<p>Hello</p>")
    with anyio.fail_after(PATIENCE):
        with pytest.raises(asyncpg.CharacterNotInRepertoireError):
            await direct.rows(turn_parameters(claim, [begun(one), unwritable, begun(three)], [], again=False))
        assert [await status_of(sending, id) for id in (one, two, three)] == ["QUEUED"] * 3
        assert await direct.rows(turn_parameters(claim, [begun(one), begun(three)], [], again=False)) == [
            (one,),
            (three,),
        ]
        await direct.close()


async def test_deadlock(sending: Sending) -> None:
    """A turn that is given up for the sake of another transaction is taken again, and nothing of it is lost."""
    engine = create_async_engine(sending.url)
    held = text("SELECT id FROM recipients WHERE id = ANY(:ids) FOR UPDATE SKIP LOCKED")
    changed = text("UPDATE recipients SET updated_at = now() WHERE id = :id")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with anyio.fail_after(PATIENCE):
        claim, ids = await claimed(sending)
        async with ledger_of(sending.database, claim) as ledger, engine.connect() as rival:
            await rival.execute(changed, {"id": ids[1]})
            turn = asyncio.gather(*(ledger.begin(begun(id)) for id in ids))
            await until(lambda: sending.value(waiting))
            free = set((await rival.execute(held, {"ids": [ids[0], ids[2]]})).scalars())
            # What the turn has locked already, by the order that it goes in: it waits for this one, and we for it.
            await rival.execute(changed, {"id": ({ids[0], ids[2]} - free).pop()})
            await rival.commit()
            assert await turn == [True, True, True]
    await engine.dispose()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


async def plans_of(session: AsyncSession, claim: Claim, id: int) -> AsyncIterator[list[dict[str, Any]]]:
    """How a turn finds the recipients that it changes: by what it is given, and by a plan that is made once for all."""
    connection = await session.connection()
    await connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    compiled = TURN.compile(dialect=connection.dialect)
    names = compiled.positiontup or ()
    (given,) = turn_parameters(claim, [begun(id)], [Ended(id + 1, 1, DeliveryStatus.SENT, "250 OK")], again=False)
    values = compiled.construct_params(given)
    # Without values, so that they cannot say anything.
    unknown = ", ".join(["NULL"] * len(names))
    await driver.execute(f"PREPARE turn AS {compiled.string}")
    for explained, arguments in ((compiled.string, [values[name] for name in names]), (f"EXECUTE turn({unknown})", ())):
        ((found,),) = await driver.fetch(f"EXPLAIN (FORMAT JSON) {explained}", *arguments)
        yield [node for node in nodes(found[0]["Plan"]) if node.get("Relation Name") == "recipients"]


async def test_recipients_are_found_by_their_key(sending: Sending) -> None:
    """In a campaign of which the planner has not heard yet how many it reaches, a turn finds its recipients by their
    ids, instead of reading all that there are.
    """
    # Nobody tells the planner of them meanwhile.
    await sending.change("ALTER TABLE recipients SET (autovacuum_enabled = false)")
    await sending.change("DELETE FROM recipients")
    await sending.change("DELETE FROM pg_statistic WHERE starelid = 'recipients'::regclass")
    await sending.add_contacts(5000, first=4)
    claim, ids = await claimed(sending)
    assert len(ids) == 5003
    async with sending.database.writing(claim.company_id) as session:
        async for scans in plans_of(session, claim, ids[2500]):
            # Of the one that is begun, and of the one that ended.
            changed = [node for node in scans if node["Node Type"] != "ModifyTable"]
            assert len(changed) >= 2
            assert [node for node in changed if not re.search(r"\bid = ", node.get("Index Cond", ""))] == []


@asynccontextmanager
async def leave_taking(url: str, folder: Path) -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """The URL of what stands before a server, and its connections, over which the server's last word can be said."""
    query = parse_qs(urlsplit(url).query)
    target = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
    writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        theirs, ours = await asyncio.open_unix_connection(target)
        await asyncio.gather(copy(reader, ours), copy(theirs, writer))

    server = await asyncio.start_unix_server(connect, folder / ".s.PGSQL.5432")
    before = make_url(url).update_query_dict({"host": str(folder), "port": "5432"})
    try:
        yield before.render_as_string(hide_password=False), writers
    finally:
        server.close()


async def test_last_word_of_the_server(sending: Sending, tmp_path: Path) -> None:
    """A connection on which the server has taken its leave, but that is still open, counts as lost: another is made."""
    with anyio.fail_after(PATIENCE):
        claim, ids = await claimed(sending)
        async with leave_taking(sending.url, tmp_path) as (url, connections):
            database = Database(url, pool_size=2)
            async with ledger_of(database, claim) as ledger:
                assert await ledger.begin(begun(ids[0]))
                (connection,) = connections
                connection.write(b"E" + struct.pack("!I", len(LAST_WORD) + 4) + LAST_WORD)
                # Until the driver has read it.
                await anyio.wait_all_tasks_blocked()
                assert await ledger.begin(begun(ids[1]))
            await database.close()


async def test_database_that_lets_nobody_in(sending: Sending, server: str) -> None:
    """While the database takes no connections the ledger waits; then it writes what it was given."""
    name = make_url(sending.url).database
    with anyio.fail_after(PATIENCE):
        claim, ids = await claimed(sending)
        async with ledger_of(sending.database, claim) as ledger:
            assert await ledger.begin(begun(ids[0]))
            await on_server(
                server,
                f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            )
            ledger.end(Ended(ids[0], 1, DeliveryStatus.SENT, "250 OK"))
            beginning = asyncio.create_task(ledger.begin(begun(ids[1])))
            await anyio.sleep(0.3)
            assert not beginning.done()
            await on_server(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            assert await beginning
    assert await status_of(sending, ids[0]) == "SENT"
