"""Is an export repeated, stopped and deleted when it may be, by whom it may be, whatever a worker does meanwhile?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from store.models import Campaign, Contact, ContactList, File
from tests.build import NEVER_EXPIRES, Builder, TestCompany
from tests.campaign_documents import Desk, broken_rules, desk_over
from tests.conftest import World, database, on_server
from tests.export_documents import (
    CANCEL,
    DELETE,
    PAST,
    REGENERATE,
    export,
    jobs_of,
    row_of,
    waiting_export,
)
from tests.graph import NEVER_UUID

pytestmark = pytest.mark.anyio

EVERY_CHANGE = pytest.mark.parametrize("document", [REGENERATE, CANCEL, DELETE], ids=["regenerate", "cancel", "delete"])
DATABASE = "lives_of_exports"
OVER = ("COMPLETED", "FAILED", "EXPIRED", "CANCELED")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
LINK = "query ($id: ID!) { export(id: $id) { downloadUrl { url } } }"


@pytest.fixture(scope="module")
async def shared(
    server: str, world_template: tuple[str, TestCompany, TestCompany]
) -> AsyncIterator[tuple[Desk, AsyncEngine]]:
    """A desk, and the tables behind it; the tests share them, and none minds what others have made before."""
    template, acme, globex = world_template
    await on_server(server, f"CREATE DATABASE {DATABASE} TEMPLATE {template}")
    world = World(database(server, DATABASE), acme, globex)
    engine = create_async_engine(world.url, poolclass=NullPool)
    async with desk_over(world, exports_waiting_per_company=10_000) as desk:
        yield desk, engine
    await on_server(server, f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def desk(shared: tuple[Desk, AsyncEngine]) -> Desk:
    return shared[0]


@pytest.fixture
async def worker(shared: tuple[Desk, AsyncEngine]) -> AsyncIterator[AsyncConnection]:
    """Somebody else at the same tables, in a transaction that the test ends."""
    async with shared[1].connect() as connection:
        yield connection


async def until_waiting(desk: Desk) -> None:
    """Until a statement waits for a lock."""
    with anyio.fail_after(20):
        while (await desk.run(WAITING))[0][0] == 0:  # noqa: ASYNC110 - the database has no event for it
            await anyio.sleep(0.01)


async def refused(desk: Desk, document: str, role: str, id: str) -> set[str]:
    """The errors of a call that has changed nothing."""
    before = await desk.tables()
    errors = broken_rules(await desk.payload(document, role, id=id))
    assert errors
    assert await desk.tables() == before
    return errors


@EVERY_CHANGE
async def test_exports_that_are_not_there(desk: Desk, document: str) -> None:
    """Unknown, malformed and foreign ids, and those of exports that one may not see, have one answer to the letter."""
    hidden = await export(desk, "manager", kind="DELIVERY_REPORTS", status="EXPIRED")
    of_team = await export(desk, kind="CAMPAIGN_RECIPIENTS", campaign_id=desk.acme.rows["team"], status="EXPIRED")
    before = await desk.tables()
    ids = (str(NEVER_UUID), "x", "", "7", "$their_expired_export", "$contact", hidden, of_team)
    answers = [await desk.payload(document, "member", id=id) for id in ids]
    assert answers == [answers[0]] * len(ids)
    assert broken_rules(answers[0]) == {"EXPORT_NOT_FOUND id"}
    assert await desk.tables() == before
    for role in ("manager", "admin"):
        assert "EXPORT_NOT_FOUND id" not in broken_rules(await desk.payload(document, role, id=of_team))


@EVERY_CHANGE
async def test_tokens_without_the_scope(desk: Desk, document: str) -> None:
    """It takes the scope EXPORT."""
    token = await desk.token("admin", "READ", "WRITE", "SEND")
    before = await desk.tables()
    assert (await desk.ask(document, token, id="$expired_export")).codes == ["FORBIDDEN"]
    assert await desk.tables() == before


@pytest.mark.parametrize("document", [CANCEL, DELETE], ids=["cancel", "delete"])
async def test_exports_of_others(desk: Desk, document: str) -> None:
    """Whoever sees an export of somebody else may not stop or delete it; administrators may, and who asked for it."""
    for role, requester in (("member", "manager"), ("manager", "member"), ("manager", "admin")):
        id = await waiting_export(desk, requester)
        assert await refused(desk, document, role, id) == {"FORBIDDEN id"}
        finished = await export(desk, requester, status="COMPLETED")
        assert await refused(desk, document, role, finished) == {"FORBIDDEN id"}
    for role, requester in (("admin", "member"), ("member", "member"), ("manager", "manager")):
        assert broken_rules(await desk.payload(document, role, id=await waiting_export(desk, requester))) == set()


async def test_cancel_one_that_waits(desk: Desk) -> None:
    """What no worker has yet is CANCELED at once, with its job gone and nothing else touched."""
    other = await waiting_export(desk)
    id = await waiting_export(desk)
    answer = (await desk.payload(CANCEL, id=id))["export"]
    assert (answer["status"], answer["progress"]["sequence"]) == ("CANCELED", 1)
    row = await row_of(desk, id)
    assert (row["status"], row["attempt"]) == ("CANCELED", 0)
    assert row["updated_at"] == row["updated_in_db_at"] > row["created_at"]
    assert (await jobs_of(desk, id), len(await jobs_of(desk, other))) == ([], 1)
    assert (await row_of(desk, other))["status"] == "PENDING"


async def test_cancel_one_that_a_worker_has_let_go(desk: Desk) -> None:
    """A job whose claim is over, as its worker was killed, is nobody's."""
    id = await waiting_export(desk, claimed_until=PAST, attempt=1)
    assert (await desk.payload(CANCEL, id=id))["export"]["status"] == "CANCELED"
    assert await jobs_of(desk, id) == []


async def test_cancel_one_that_a_worker_has(desk: Desk) -> None:
    """A job that a worker has claimed, but not begun, stays for it to end: the export is CANCELED all the same."""
    id = await waiting_export(desk, claimed_until=NEVER_EXPIRES, attempt=1)
    assert (await desk.payload(CANCEL, id=id))["export"]["status"] == "CANCELED"
    assert await jobs_of(desk, id) == [(desk.acme.id, "EXPORT", 1, NEVER_EXPIRES)]


async def test_cancel_one_that_runs(desk: Desk) -> None:
    """A running export is CANCELING, its job stays; who asks again reads the same, and nothing changes any more."""
    id = await waiting_export(desk, claimed_until=NEVER_EXPIRES, attempt=1)
    await desk.run("UPDATE exports SET status = 'RUNNING', sequence = 7 WHERE id = CAST(:id AS uuid)", id=id)
    first = await desk.payload(CANCEL, id=id)
    assert (first["export"]["status"], first["export"]["progress"]["sequence"]) == ("CANCELING", 8)
    before = await desk.tables()
    assert await desk.payload(CANCEL, id=id) == first
    assert await desk.tables() == before
    assert len(await jobs_of(desk, id)) == 1


async def test_cancel_one_that_was_put_back(desk: Desk) -> None:
    """An export that a worker has begun and handed back is CANCELED at once: nobody else takes it up."""
    id = await waiting_export(desk, attempt=1)
    await desk.run("UPDATE exports SET status = 'RUNNING' WHERE id = CAST(:id AS uuid)", id=id)
    assert (await desk.payload(CANCEL, id=id))["export"]["status"] == "CANCELED"
    assert await jobs_of(desk, id) == []


@pytest.mark.parametrize("status", OVER)
async def test_cancel_one_that_is_over(desk: Desk, status: str) -> None:
    """There is nothing to stop about an export that is over."""
    assert await refused(desk, CANCEL, "admin", await export(desk, status=status)) == {"WRONG_STATUS id"}


async def test_cancel_while_a_worker_begins(desk: Desk, worker: AsyncConnection) -> None:
    """Who stops an export in the moment in which a worker begins it finds it running, and its job stays."""
    id = await waiting_export(desk, claimed_until=NEVER_EXPIRES, attempt=1)
    this = {"id": id}
    await worker.execute(text("SELECT FROM jobs WHERE subject_id = CAST(:id AS uuid) FOR UPDATE"), this)
    await worker.execute(text("UPDATE exports SET status = 'RUNNING' WHERE id = CAST(:id AS uuid)"), this)
    canceling = asyncio.create_task(desk.payload(CANCEL, id=id))
    await until_waiting(desk)
    await worker.commit()
    assert (await canceling)["export"]["status"] == "CANCELING"
    assert len(await jobs_of(desk, id)) == 1


@pytest.mark.parametrize("document", [CANCEL, DELETE], ids=["cancel", "delete"])
async def test_while_a_worker_claims(desk: Desk, worker: AsyncConnection, document: str) -> None:
    """Nobody waits for a worker that is claiming the job: it keeps the job, and finds that there is nothing to do."""
    id = await waiting_export(desk)
    claim = text(
        "UPDATE jobs SET attempt = attempt + 1, claimed_until = '2100-01-01' WHERE subject_id = CAST(:id AS uuid)"
    )
    await worker.execute(claim, {"id": id})
    with anyio.fail_after(20):
        assert broken_rules(await desk.payload(document, id=id)) == set()
    # The worker's next step would wait for the row only if somebody held it still.
    left = await worker.scalar(text("SELECT status FROM exports WHERE id = CAST(:id AS uuid) FOR UPDATE"), {"id": id})
    assert left == ("CANCELED" if document == CANCEL else None)
    await worker.commit()
    assert [job[2] for job in await jobs_of(desk, id)] == [1]


async def test_a_worker_that_holds_both(desk: Desk, worker: AsyncConnection) -> None:
    """A worker that has the job's row and wants the export's is let through: nobody waits for each other."""
    id = await waiting_export(desk)
    this = {"id": id}
    await worker.execute(text("SELECT FROM jobs WHERE subject_id = CAST(:id AS uuid) FOR UPDATE"), this)
    canceling = asyncio.create_task(desk.payload(CANCEL, id=id))
    locked = text("SELECT status FROM exports WHERE id = CAST(:id AS uuid) FOR UPDATE")
    with anyio.fail_after(20):
        found = await worker.scalar(locked, this)
        if found == "PENDING":
            await until_waiting(desk)
        await worker.rollback()
        assert (await canceling)["export"]["status"] == "CANCELED"


@pytest.mark.parametrize("status", ["RUNNING", "CANCELING"])
async def test_delete_one_that_runs(desk: Desk, status: str) -> None:
    """A running export is canceled first."""
    assert await refused(desk, DELETE, "admin", await export(desk, status=status)) == {"WRONG_STATUS id"}


async def test_delete_one_that_waits(desk: Desk) -> None:
    """An export that waits goes with its job."""
    id = await waiting_export(desk)
    payload = await desk.payload(DELETE, id=id)
    assert payload["userErrors"] == []
    assert (await desk.run("SELECT FROM exports WHERE id = CAST(:id AS uuid)", id=id), await jobs_of(desk, id)) == (
        [],
        [],
    )


@pytest.mark.parametrize("status", OVER)
async def test_delete_one_that_is_over(desk: Desk, status: str) -> None:
    """An export that is over goes; those that repeat it stay, and no longer say of which."""
    id = await export(desk, status=status)
    again = await export(desk, regenerated_from_id=id)
    node = await desk.payload("query ($id: ID!) { export(id: $id) { id } }", id=id)
    payload = await desk.payload(DELETE, id=id)
    assert payload == {"deletedExportId": node["id"], "userErrors": []}
    assert (await row_of(desk, again))["regenerated_from_id"] is None
    assert broken_rules(await desk.payload(DELETE, id=id)) == {"EXPORT_NOT_FOUND id"}


async def test_file_of_a_deleted_export(desk: Desk) -> None:
    """From then on the file's life is over, and a link that was good before leads nowhere; others' files stay."""
    key = f"{desk.acme.id}/deleted.csv"
    path = desk.gateway.files / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"id\n")
    id = await export(desk, status="COMPLETED", file_id=await desk.add(File, key=key))
    url = (await desk.payload(LINK, id=id))["downloadUrl"]["url"]
    before = await desk.run("SELECT key FROM files WHERE expires_at <= now()")
    assert (await desk.gateway.http.get(url)).status_code == 200
    assert broken_rules(await desk.payload(DELETE, id=id)) == set()
    assert (await desk.gateway.http.get(url)).status_code == 404
    ended = await desk.run("SELECT key FROM files WHERE expires_at <= now()")
    assert {row[0] for row in ended} - {row[0] for row in before} == {key}


async def test_file_whose_life_is_over_already(desk: Desk) -> None:
    """The end of a file's life is not put off by deleting its export."""
    file_id = await desk.add(File, expires_at=PAST)
    await desk.payload(DELETE, id=await export(desk, status="COMPLETED", file_id=file_id))
    assert (await desk.run("SELECT expires_at FROM files WHERE id = :id", id=file_id))[0][0] == PAST


@pytest.mark.parametrize("status", ["EXPIRED", "FAILED", "CANCELED", "COMPLETED"])
async def test_regenerate(desk: Desk, status: str) -> None:
    """An export whose file cannot be had is asked for again, by the viewer, with the same format and parameters."""
    expired = await desk.add(File, expires_at=PAST)
    contact, lists = str(desk.acme.rows["contact"]), [desk.acme.rows["list"]]
    given: list[Mapping[str, Any]] = [
        {"kind": "CONTACTS", "parameters": {"listIds": lists, "columns": ["custom_fields.cars", "id"], "raw": True}},
        {"kind": "CONTACTS", "format": "XLSX", "parameters": {"contactIds": [contact]}},
        {
            "kind": "MAILING",
            "parameters": {"filter": [{"field": "contact.list.id", "operator": "in", "value": lists}]},
        },
        {
            "kind": "DELIVERY_REPORTS",
            "parameters": {"startDateTime": "2026-11-01T00:00:00Z", "endDateTime": "2026-11-02T00:00:00Z"},
        },
    ]
    for values in given:
        file_id = expired if status == "COMPLETED" else None
        id = await export(desk, "manager", status=status, file_id=file_id, **values)
        payload = await desk.payload(REGENERATE, id=id)
        assert payload["userErrors"] == []
        assert payload["export"]["regeneratedFrom"] == {"databaseId": id}
        old, new = await row_of(desk, id), await row_of(desk, payload["export"]["databaseId"])
        assert old["status"] == status
        for name in ("kind", "format", "parameters", "campaign_id", "company_id"):
            assert new[name] == old[name]
        assert (new["status"], new["sequence"], new["requested_by_id"]) == ("PENDING", 0, desk.acme.admin)
        assert await jobs_of(desk, str(new["id"])) == [(desk.acme.id, "EXPORT", 0, None)]


async def test_regenerate_what_is_of_a_campaign(desk: Desk) -> None:
    """The campaign of an export is the one that its row names, whatever is written beside it."""
    sent = desk.acme.rows["sent"]
    for kind in ("CAMPAIGN_RECIPIENTS", "DELIVERY_REPORTS"):
        id = await export(desk, kind=kind, status="EXPIRED", campaign_id=sent)
        payload = await desk.payload(REGENERATE, "member", id=id)
        assert payload["export"]["campaign"] == {"databaseId": str(sent)}
        assert payload["export"]["parameters"] == {"campaignId": str(sent)}


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "CANCELING", "COMPLETED"])
async def test_regenerate_what_there_is(desk: Desk, status: str) -> None:
    """While an export is being made, or its file can be had, it is not made again, letters neither."""
    id = await export(desk, status=status)
    assert await refused(desk, REGENERATE, "member", id) == {"EXPORT_NOT_EXPIRED id"}
    letters = await export(desk, kind="LETTERS", format="ZIP", campaign_id=desk.acme.rows["sent"], status=status)
    assert await refused(desk, REGENERATE, "admin", letters) == {"EXPORT_NOT_EXPIRED id"}


async def test_regenerate_letters(desk: Desk) -> None:
    """An archive of letters whose life is over is asked for again, of the same campaign."""
    sent = desk.acme.rows["sent"]
    id = await export(desk, status="EXPIRED", kind="LETTERS", format="ZIP", campaign_id=sent)
    payload = await desk.payload(REGENERATE, "admin", id=id)
    assert payload["userErrors"] == []
    assert payload["export"]["campaign"] == {"databaseId": str(sent)}
    assert (payload["export"]["kind"], payload["export"]["format"]) == ("LETTERS", "ZIP")


async def test_regenerate_letters_while_they_are_sent(desk: Desk) -> None:
    """While a campaign is being sent it makes its letters itself; other exports of it can be asked for again."""
    campaign_id = await desk.campaign(type="LETTER", status="SENDING", approved=True, send_at=PAST)
    letters = await export(desk, status="EXPIRED", kind="LETTERS", format="ZIP", campaign_id=campaign_id)
    assert await refused(desk, REGENERATE, "admin", letters) == {"WRONG_STATUS id"}
    reports = await export(desk, status="EXPIRED", kind="DELIVERY_REPORTS", campaign_id=campaign_id)
    assert (await desk.payload(REGENERATE, id=reports))["userErrors"] == []


async def test_regenerate_what_has_gone(desk: Desk) -> None:
    """Lists, fields and columns that have gone are told where they stand in the export; contacts are left out."""
    gone = await desk.add(ContactList)
    contact = str(await desk.add(Contact))
    await desk.run("DELETE FROM contact_lists WHERE id = CAST(:id AS integer)", id=gone)
    await desk.run("DELETE FROM contacts WHERE id = CAST(:id AS uuid)", id=contact)
    here = desk.acme.rows["list"]
    matches = [
        {"field": "contact.list.id", "operator": "in", "value": [here, gone]},
        {"field": "contact.custom_fields.gone", "operator": "eq", "value": "x"},
    ]
    expected: list[tuple[Mapping[str, Any], set[str]]] = [
        (
            {"parameters": {"listIds": [here, gone], "columns": ["id", "custom_fields.gone"]}},
            {"NOT_FOUND export.parameters.listIds.1", "UNKNOWN_FIELD export.parameters.columns.1"},
        ),
        (
            {"kind": "MAILING", "parameters": {"filter": matches[:1]}},
            {"NOT_FOUND export.parameters.filter.0.value.1"},
        ),
        (
            {"kind": "MAILING", "parameters": {"filter": matches}},
            {"UNKNOWN_FIELD export.parameters.filter.1.field"},
        ),
        ({"kind": "DELIVERY_REPORTS"}, {"REQUIRED export.parameters.campaignId"}),
        (
            {"kind": "DELIVERY_REPORTS", "parameters": {"startDateTime": "soon"}},
            {f"INVALID_TIME export.parameters.{side}DateTime" for side in ("start", "end")},
        ),
    ]
    for values, errors in expected:
        id = await export(desk, status="EXPIRED", **values)
        assert await refused(desk, REGENERATE, "admin", id) == errors
    id = await export(desk, status="EXPIRED", parameters={"contactIds": [contact]})
    assert (await desk.payload(REGENERATE, id=id))["export"]["parameters"] == {"contactIds": [contact]}


async def test_regenerate_while_it_is_deleted(desk: Desk, worker: AsyncConnection) -> None:
    """An export that goes while it is asked for again is not there any more."""
    id = await export(desk, status="EXPIRED")
    await worker.execute(text("DELETE FROM exports WHERE id = CAST(:id AS uuid)"), {"id": id})
    asking = asyncio.create_task(desk.payload(REGENERATE, id=id))
    await until_waiting(desk)
    await worker.commit()
    assert broken_rules(await asking) == {"EXPORT_NOT_FOUND id"}


async def test_campaign_that_goes_meanwhile(desk: Desk, worker: AsyncConnection) -> None:
    """A campaign that is deleted in the moment in which its recipients are asked for is a user error, not a fault."""
    campaign = await Builder(worker).add(Campaign, company_id=desk.acme.id, user_id=desk.acme.admin)
    await worker.commit()
    id = await export(desk, kind="CAMPAIGN_RECIPIENTS", status="EXPIRED", campaign_id=campaign)
    await worker.execute(text("SELECT FROM exports WHERE id = CAST(:id AS uuid) FOR UPDATE"), {"id": id})
    asking = asyncio.create_task(desk.payload(REGENERATE, id=id))
    await until_waiting(desk)
    await worker.execute(text("DELETE FROM campaigns WHERE id = :id"), {"id": campaign})
    await worker.commit()
    assert broken_rules(await asking) == {"EXPORT_NOT_FOUND id"}
    assert (await desk.run("SELECT count(*) FROM exports WHERE campaign_id = :id", id=campaign))[0][0] == 0
