"""Does whoever watches an export see every state that counts, in order and to the end, and only while they may?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from gateway.auth import Unauthenticated
from resolvers import global_ids
from resolvers.context import StreamPace
from store.database import Parameters, Reader, Scope
from store.models import Export
from store.sql_types import AnyRow
from tests.conftest import World
from tests.graph import never_id
from tests.post import until
from tests.watching import (
    CAMPAIGN,
    EXPORT,
    NEVER,
    SOON,
    Stand,
    after_one_reading,
    at_rest,
    running_export,
    stand_of,
)

pytestmark = pytest.mark.anyio

NAMES = "subscription { exportProgress(id: $id) { export { requestedBy { lastName } } } }"
NAMES_ON_BOARD = "subscription { exportsProgress { exports { requestedBy { lastName } } } }"
STALLED = "subscription ($id: ID!) { exportProgress(id: $id) { sequence export { progress { stalled } } } }"


@pytest.fixture
async def stand(world: World) -> AsyncIterator[Stand]:
    async with stand_of(world) as found:
        yield found


def state(sequence: int, rows: int, status: str = "RUNNING") -> dict[str, object]:
    final = status not in ("PENDING", "RUNNING", "CANCELING")
    return {"sequence": sequence, "isFinal": final, "export": {"status": status, "rowsProcessed": rows}}


async def test_an_export_from_its_snapshot_to_its_end(stand: Stand) -> None:
    """The state as it is comes first, then every later one in order, the final one, and the end."""
    acme = stand.world.acme
    id = await running_export(stand)
    async with stand.watching(EXPORT, acme.tokens["member"], {"id": str(id)}) as watched:
        assert await watched.event() == state(3, 0)
        for rows in (1, 2):
            await stand.progress(acme, id, rows_processed=rows)
            assert await watched.event() == state(3 + rows, rows)
        await stand.progress(acme, id, status="CANCELED")
        assert await watched.event() == state(6, 2, "CANCELED")
        assert await watched.is_over()


async def test_what_was_heard_before_a_reading(stand: Stand) -> None:
    """A reading sees to all that was heard until it began: it is not made again for that."""
    id = await running_export(stand)
    async with stand.watching(EXPORT, stand.world.acme.tokens["member"], {"id": str(id)}) as watched:
        assert watched.context.watch is not None
        hearing = watched.context.watch.hearing
        hearing.wake()
        await watched.event()
        assert not hearing._woken.is_set()


async def test_of_several_states_the_latest_is_told(stand: Stand) -> None:
    """What happens while a client takes its time is one event: the state that it came to."""
    acme = stand.world.acme
    id = await running_export(stand)
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": global_ids.encode("Export", id)}) as watched:
        assert await watched.event() == state(3, 0)
        for rows in range(1, 6):
            await stand.progress(acme, id, rows_processed=rows)
        assert await watched.event() == state(8, 5)
        await stand.progress(acme, id, rows_processed=6)
        assert await watched.event() == state(9, 6)


async def test_nothing_falls_between_the_snapshot_and_the_next_reading(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that is made when the snapshot is taken already is the next event, though no other signal follows."""
    acme = stand.world.acme
    id = await running_export(stand)
    changes = iter([1])

    class Interrupted(Reader):
        async def rows(self, statement: Any, parameters: Parameters) -> Sequence[AnyRow]:
            found = await super().rows(statement, parameters)
            for rows in changes:
                await stand.progress(acme, id, rows_processed=rows)
            return found

    def reading(scope: Scope) -> Reader:
        return Interrupted(stand.database.readings, scope)

    monkeypatch.setattr(stand.database, "reading", reading)
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": str(id)}) as watched:
        assert await watched.event() == state(3, 0)
        assert await watched.event() == state(4, 1)


async def test_going_on_after_something_earlier(stand: Stand) -> None:
    """Whoever has missed something begins with the state as it is."""
    id = await running_export(stand)
    for after in (-1, 0, 2):
        variables = {"id": str(id), "after": after}
        async with stand.watching(EXPORT, stand.world.acme.tokens["admin"], variables) as watched:
            assert await watched.event() == state(3, 0)


@pytest.mark.parametrize("after", [3, 4])
async def test_going_on_after_what_was_seen(stand: Stand, after: int) -> None:
    """What is not later than `afterSequence` is left out, and the sequences never fall below it."""
    acme = stand.world.acme
    id = await running_export(stand)
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": str(id), "after": after}) as watched:

        async def change() -> None:
            for rows in range(1, after - 1):
                await stand.progress(acme, id, rows_processed=rows)

        assert await after_one_reading(stand, watched, change) == state(after + 1, after - 2)


async def test_the_final_state_is_always_told(stand: Stand) -> None:
    """Whoever comes late, or comes back, is told how it ended, once, and that there is nothing more."""
    needed: Mapping[str, dict[str, object]] = {
        "COMPLETED": {"file_id": stand.world.acme.rows["file"]},
        "FAILED": {"error_code": "DISK_FULL"},
        "CANCELED": {},
        "EXPIRED": {},
    }
    for status, values in needed.items():
        id = await running_export(stand, status=status, **values)
        for after in (None, 3, 2**53):
            variables = {"id": str(id), "after": after}
            async with stand.watching(EXPORT, stand.world.acme.tokens["admin"], variables) as watched:
                assert await watched.event() == state(3, 0, status)
                assert await watched.is_over()


async def test_a_signal_without_a_change(stand: Stand) -> None:
    """What reads as it did before is no event, and no connection is held until there is one."""
    acme = stand.world.acme
    id = await running_export(stand)
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": str(id)}) as watched:
        assert await watched.event() == state(3, 0)
        await stand.told(acme, id)

        async def change() -> None:
            await until(lambda: at_rest(stand))
            await stand.progress(acme, id, rows_processed=1)

        assert await after_one_reading(stand, watched, change) == state(4, 1)


@pytest.mark.parametrize("signalled", [True, False])
async def test_an_export_that_is_deleted(world: World, signalled: bool) -> None:
    """Whoever watches an export that is deleted is told NOT_FOUND, without a signal as well, and that is the end."""
    async with stand_of(world, StreamPace(reread=NEVER if signalled else SOON)) as stand:
        id = await running_export(stand)
        async with stand.watching(EXPORT, world.acme.tokens["admin"], {"id": str(id)}) as watched:
            assert await watched.event() == state(3, 0)
            await stand.sql("DELETE FROM exports WHERE id = :id", id=id)
            if signalled:
                await stand.told(world.acme, id)
            assert await watched.codes() == ["NOT_FOUND"]
            assert await watched.is_over()


async def test_an_export_that_may_not_be_seen_any_more(stand: Stand) -> None:
    """Every event is what the viewer may see then: who loses the right to see an export is told NOT_FOUND."""
    acme = stand.world.acme
    id = await running_export(stand, kind="CAMPAIGN_RECIPIENTS", campaign_id=acme.rows["personal"])
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": str(id)}) as watched:
        assert await watched.event() == state(3, 0)
        await stand.sql("UPDATE users SET role = 'MEMBER' WHERE id = :id", id=acme.admin)
        await stand.progress(acme, id, status="CANCELED")
        assert await watched.codes() == ["NOT_FOUND"]
        assert await watched.is_over()


@pytest.mark.parametrize("document", [EXPORT, CAMPAIGN])
async def test_what_is_not_there(stand: Stand, document: str) -> None:
    """Absent, foreign and hidden rows are NOT_FOUND, what is no id is INVALID_ID; either way that is all."""
    world, typename = stand.world, "Export" if document is EXPORT else "Campaign"
    hidden = world.acme.rows["personal"]
    if document is EXPORT:
        hidden = await running_export(stand, kind="CAMPAIGN_RECIPIENTS", campaign_id=hidden)
    foreign = world.globex.rows["export" if document is EXPORT else "sent"]
    for id, code in (
        (never_id(typename), "NOT_FOUND"),
        (foreign, "NOT_FOUND"),
        (hidden, "NOT_FOUND"),
        ("no id", "INVALID_ID"),
        (global_ids.encode("User", 1), "INVALID_ID"),
    ):
        async with stand.watching(document, world.acme.tokens["member"], {"id": str(id)}) as watched:
            assert await watched.codes() == [code], id
            assert await watched.is_over()


async def test_a_token_that_is_revoked(stand: Stand) -> None:
    """Nothing is told any more to a token that was revoked: whoever serves the stream learns why it ends."""
    acme = stand.world.acme
    id = await running_export(stand)
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": str(id)}) as watched:
        assert await watched.event() == state(3, 0)
        await stand.sql("UPDATE access_tokens SET revoked_at = now() WHERE user_id = :id", id=acme.admin)
        await stand.progress(acme, id, rows_processed=1)
        result = await watched.result()
        assert result.data is None
        assert [type(error.original_error) for error in result.errors or ()] == [Unauthenticated]
        assert await watched.is_over()


async def test_a_worker_that_gives_no_sign_of_life(world: World) -> None:
    """That an export stalls is told by the clock, as nobody is there to signal it, and that it goes on as well."""
    async with stand_of(world, StreamPace(reread=SOON)) as stand:
        id = await running_export(stand)
        async with stand.watching(STALLED, world.acme.tokens["admin"], {"id": str(id)}) as watched:
            assert await watched.event() == {"sequence": 3, "export": {"progress": {"stalled": False}}}
            await stand.sql("UPDATE exports SET heartbeat_at = now() - interval '1 minute' WHERE id = :id", id=id)
            assert await watched.event() == {"sequence": 3, "export": {"progress": {"stalled": True}}}
            await stand.sql("UPDATE exports SET heartbeat_at = now() WHERE id = :id", id=id)
            assert await watched.event() == {"sequence": 3, "export": {"progress": {"stalled": False}}}


async def test_a_lost_connection_of_the_listener(stand: Stand) -> None:
    """Signals that came while nobody listened are made good: when the listener is back, everybody reads again."""
    acme = stand.world.acme
    id = await running_export(stand)
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": str(id)}) as watched:
        assert await watched.event() == state(3, 0)
        for rows in (1, 2):
            await stand.cut_off()
            await stand.progress(acme, id, rows_processed=rows)
            assert await watched.event() == state(3 + rows, rows)


@pytest.mark.parametrize("document", [NAMES, NAMES_ON_BOARD])
async def test_what_no_signal_tells_of(world: World, document: str) -> None:
    """What changes in the rows around the one that is watched is told by the clock."""
    async with stand_of(world, StreamPace(reread=SOON, spacing=0)) as stand:
        id = await running_export(stand)
        async with stand.watching(document.replace("$id", f'"{id}"'), world.acme.tokens["admin"]) as watched:
            before = await watched.event()
            await stand.sql("UPDATE users SET last_name = 'Wed' WHERE id = :id", id=world.acme.member)
            after = await watched.event()
            assert "Member" in str(before)
            assert str(after) == str(before).replace("Member", "Wed")


async def test_statements_of_an_event(stand: Stand) -> None:
    """An event is one statement, and one for each edge that it follows; between events no connection is held."""
    acme = stand.world.acme
    id = await running_export(stand)
    plain = "{ sequence isFinal export { kind status percent: progress { percent } } }"
    people = "{ export { rowsProcessed requestedBy { lastName } } }"
    board = "{ exports { rowsProcessed requestedBy { lastName } } }"
    for document, expected in (
        (f'subscription {{ exportProgress(id: "{id}") {plain} }}', 1),
        (f'subscription {{ exportProgress(id: "{id}") {people} }}', 2),
        ("subscription { exportsProgress { exports { kind rowsProcessed } } }", 1),
        (f"subscription {{ exportsProgress {board} }}", 2),
    ):
        async with stand.watching(document, acme.tokens["admin"]) as watched:
            await watched.event()
            assert await at_rest(stand)
            async with stand.counting() as statements:
                await stand.progress(acme, id, rows_processed=Export.rows_processed + 1)
                await watched.event()
            assert len(statements) == expected, document
            assert await at_rest(stand)


async def test_each_event_is_read_anew(stand: Stand) -> None:
    """What an event shows of other rows is as they are then, not as an earlier event saw them."""
    acme = stand.world.acme
    id = await running_export(stand)
    document = "subscription ($id: ID!) { exportProgress(id: $id) { export { requestedBy { lastName } } } }"
    async with stand.watching(document, acme.tokens["admin"], {"id": str(id)}) as watched:
        assert await watched.event() == {"export": {"requestedBy": {"lastName": "Member"}}}
        await stand.sql("UPDATE users SET last_name = 'Wed' WHERE id = :id", id=acme.member)
        await stand.progress(acme, id)
        assert await watched.event() == {"export": {"requestedBy": {"lastName": "Wed"}}}


async def test_only_selected_columns_are_read(stand: Stand) -> None:
    """An event reads what its fields need, what the variables include among it, and what tells news from repetition."""
    document = """
    subscription ($id: ID!, $yes: Boolean!, $no: Boolean!) {
      exportProgress(id: $id) { ...Whole export { kind @skip(if: $yes) format @include(if: $no) } }
    }
    fragment Whole on ExportEvent { export { asOf } }
    """
    id = await running_export(stand)
    variables = {"id": str(id), "yes": True, "no": False}
    token = stand.world.acme.tokens["admin"]
    async with stand.counting() as statements, stand.watching(document, token, variables) as watched:
        assert await watched.event() == {"export": {"asOf": None}}
    (statement,) = statements
    selected = statement.partition("FROM")[0]
    assert "exports.as_of" in selected
    assert "exports.sequence" in selected
    assert "exports.kind" not in selected
    assert "exports.format" not in selected


async def test_nobody_hears_when_nobody_watches(stand: Stand) -> None:
    """A stream that ends, whether it comes to its end or is left, leaves nothing behind."""
    acme = stand.world.acme
    id = await running_export(stand)
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": str(id)}) as watched:
        await watched.event()
        assert stand.signals._hearings
    assert not stand.signals._hearings
    async with stand.watching(EXPORT, acme.tokens["admin"], {"id": str(id)}) as watched:
        await watched.event()
        waiting = asyncio.create_task(watched.event())
        await stand.told(acme, id)
        waiting.cancel()
        await asyncio.wait({waiting})
    assert not stand.signals._hearings
