"""What is stored when an export is asked for, and what is refused with nothing stored?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

import anyio
import pytest

from resolvers.global_ids import encode
from store.models import Campaign, Contact, ContactList, Field, File
from tests.build import NEVER_EXPIRES, TestCompany
from tests.campaign_documents import Desk, broken_rules, desk_of_a_module, desk_over
from tests.conftest import World
from tests.export_documents import (
    ASKING,
    CANCEL,
    CONTACTS,
    DELETE,
    MAILING,
    PAST,
    RECIPIENTS,
    REGENERATE,
    REPORTS,
    counts,
    export,
    jobs_of,
    row_of,
    signals,
)
from tests.graph import NEVER_UUID

pytestmark = pytest.mark.anyio

NAMES = {CONTACTS: "contacts", REPORTS: "reports", RECIPIENTS: "recipients", MAILING: "mailing", REGENERATE: "again"}
EVERY_REQUEST = pytest.mark.parametrize("document", ASKING, ids=lambda document: NAMES[document])
NOBODY = str(NEVER_UUID)
CONDITION = {"field": "contact.fixed_fields.last_name", "operator": "CT", "value": "e"}
STORED_CONDITION = {"field": "contact.fixed_fields.last_name", "operator": "ct", "value": "e"}


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    async with desk_over(world) as found:
        yield found


def period(start: str, end: str) -> dict[str, Any]:
    return {"scope": {"period": {"startDateTime": start, "endDateTime": end}}}


# What is given, and the format and the parameters that are stored of it; clocks in Copenhagen are at +1 in November.
STORED: list[tuple[str, Mapping[str, Any], str, Mapping[str, Any]]] = [
    (CONTACTS, {}, "CSV", {}),
    (CONTACTS, {"scope": None}, "CSV", {}),
    (CONTACTS, {"scope": {"all": True}, "format": "JSONL"}, "JSONL", {}),
    (CONTACTS, {"scope": {"listIds": ["$list"]}, "format": "XLSX"}, "XLSX", {"listIds": ["$list"]}),
    (
        CONTACTS,
        {"scope": {"contactIds": ["$other_contact", "$contact"]}, "raw": True},
        "CSV",
        {"contactIds": ["$other_contact", "$contact"], "raw": True},
    ),
    (
        CONTACTS,
        {"columns": ["custom_fields.cars", "id"], "raw": False},
        "CSV",
        {"columns": ["custom_fields.cars", "id"]},
    ),
    (REPORTS, {"scope": {"campaignId": "$sent"}}, "CSV", {"campaignId": "$sent"}),
    (
        REPORTS,
        period("2026-11-01 00:00:00", "2026-11-30T12:00:00.5+02:00"),
        "CSV",
        {"startDateTime": "2026-10-31T23:00:00Z", "endDateTime": "2026-11-30T10:00:00.500000Z"},
    ),
    (RECIPIENTS, {"campaignId": "$sent"}, "XLSX", {"campaignId": "$sent"}),
    (MAILING, {}, "CSV", {}),
    (MAILING, {"filter": None}, "CSV", {}),
    (MAILING, {"filter": {"match": CONDITION}, "format": "XLSX"}, "XLSX", {"filter": [STORED_CONDITION]}),
    (
        MAILING,
        {"filter": {"or": [{"match": CONDITION}, {"match": CONDITION}]}},
        "CSV",
        {"filter": [{"or": [STORED_CONDITION, STORED_CONDITION]}]},
    ),
]


def with_numbers(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Lists are known by numbers."""
    lists = {name: [int(entry) for entry in value] for name, value in parameters.items() if name == "listIds"}
    return {**parameters, **lists}


@pytest.mark.parametrize(("document", "given", "format", "parameters"), STORED)
async def test_what_is_stored(
    shared_desk: Desk, document: str, given: Mapping[str, Any], format: str, parameters: Mapping[str, Any]
) -> None:
    """An export is PENDING, of whoever asked for it, with what was asked for and one job; the answer is that row."""
    desk = shared_desk
    payload = await desk.payload(document, "manager", **given)
    assert payload["userErrors"] == []
    answer, expected = payload["export"], with_numbers(desk.filled(dict(parameters)))
    row = await row_of(desk, answer["databaseId"])
    kind = {"contacts": "CONTACTS", "reports": "DELIVERY_REPORTS", "recipients": "CAMPAIGN_RECIPIENTS"}
    campaign = expected.get("campaignId")
    assert (row["company_id"], row["requested_by_id"]) == (desk.acme.id, desk.acme.manager)
    assert (row["kind"], row["format"]) == (kind.get(NAMES[document], "MAILING"), format)
    assert row["parameters"] == expected
    assert (None if row["campaign_id"] is None else str(row["campaign_id"])) == campaign
    assert (row["status"], row["sequence"], row["attempt"], row["file_id"]) == ("PENDING", 0, 0, None)
    assert await jobs_of(desk, answer["databaseId"]) == [(desk.acme.id, "EXPORT", 0, None)]
    assert answer == {
        "id": encode("Export", row["id"]),
        "databaseId": str(row["id"]),
        "kind": row["kind"],
        "format": format,
        "status": "PENDING",
        "parameters": expected,
        "rowsProcessed": 0,
        "isAvailableForDownload": False,
        "progress": {"sequence": 0},
        "requestedBy": {"databaseId": desk.acme.manager},
        "campaign": None if campaign is None else {"databaseId": campaign},
        "regeneratedFrom": None,
    }


async def test_ids_named_twice(shared_desk: Desk) -> None:
    """An id that is named twice, globally and by its number, counts once."""
    contact = shared_desk.acme.rows["contact"]
    scope = {"contactIds": [str(contact), encode("Contact", contact), str(contact).upper()]}
    answer = (await shared_desk.payload(CONTACTS, scope=scope))["export"]
    assert answer["parameters"] == {"contactIds": [str(contact)]}


async def test_who_listens_is_told(desk: Desk, world: World) -> None:
    """Asking, stopping and deleting are told by the ids of the company and the export, and refusals are not."""
    async with signals(world.url) as heard:
        id = (await desk.payload(CONTACTS))["export"]["databaseId"]
        await desk.payload(CANCEL, id=id)
        assert broken_rules(await desk.payload(CANCEL, id=id)) == {"WRONG_STATUS id"}
        await desk.payload(DELETE, id=id)
        assert broken_rules(await desk.payload(CONTACTS, columns=[])) == {"REQUIRED columns"}
    assert heard == [f"{desk.acme.id}:{id}"] * 3


# What is given, and all that is wrong with it.
REFUSED: list[tuple[str, Mapping[str, Any], set[str]]] = [
    (CONTACTS, {"scope": {"all": False}}, {"INVALID_VALUE scope.all"}),
    (CONTACTS, {"scope": {"listIds": []}}, {"REQUIRED scope.listIds"}),
    (CONTACTS, {"scope": {"contactIds": []}}, {"REQUIRED scope.contactIds"}),
    (CONTACTS, {"scope": {"listIds": ["$list"] * 1_001}}, {"TOO_MANY scope.listIds"}),
    (CONTACTS, {"scope": {"contactIds": ["$contact"] * 10_001}}, {"TOO_MANY scope.contactIds"}),
    (
        CONTACTS,
        {"scope": {"listIds": ["x", "$their_list", "$list", "2000000000", ""]}},
        {f"NOT_FOUND scope.listIds.{place}" for place in (0, 1, 3, 4)},
    ),
    (
        CONTACTS,
        {"scope": {"contactIds": ["$contact", NOBODY, "$their_contact", "7", "$their_contact"]}},
        {f"NOT_FOUND scope.contactIds.{place}" for place in (1, 2, 3, 4)},
    ),
    (
        CONTACTS,
        {"scope": {"contactIds": [NOBODY] * 500}},
        {f"NOT_FOUND scope.contactIds.{place}" for place in range(100)},
    ),
    (CONTACTS, {"format": "ZIP"}, {"INVALID_VALUE format"}),
    (CONTACTS, {"columns": []}, {"REQUIRED columns"}),
    (CONTACTS, {"columns": ["id"] * 501}, {"TOO_MANY columns"}),
    (
        CONTACTS,
        {"columns": ["id", "nope", "custom_fields.cars", "id", "Id", "custom_fields.cars"]},
        {"UNKNOWN_FIELD columns.1", "DUPLICATE columns.3", "UNKNOWN_FIELD columns.4", "DUPLICATE columns.5"},
    ),
    (
        CONTACTS,
        {"scope": {"listIds": ["x"]}, "format": "ZIP", "columns": ["nope"]},
        {"NOT_FOUND scope.listIds.0", "INVALID_VALUE format", "UNKNOWN_FIELD columns.0"},
    ),
    *(
        (REPORTS, {"scope": {"campaignId": id}}, {"NOT_FOUND scope.campaignId"})
        for id in ("x", "", NOBODY, "$their_sent", "$contact")
    ),
    (
        REPORTS,
        period("2026-11-30T09:00:00Z", "2026-11-30 10:00:00"),
        {"NOT_AFTER scope.period.endDateTime"},
    ),
    (REPORTS, period("2026-11-30T09:00:00Z", "2026-11-30T08:59:59Z"), {"NOT_AFTER scope.period.endDateTime"}),
    (
        REPORTS,
        period("soon", "2026-10-25 02:30:00"),
        {"INVALID_TIME scope.period.startDateTime", "INVALID_TIME scope.period.endDateTime"},
    ),
    (REPORTS, {"scope": {"campaignId": "$sent"}, "format": "ZIP"}, {"INVALID_VALUE format"}),
    *((RECIPIENTS, {"campaignId": id}, {"NOT_FOUND campaignId"}) for id in ("x", NOBODY, "$their_sent")),
    (RECIPIENTS, {"campaignId": "$sent", "columns": ["nope"]}, {"UNKNOWN_FIELD columns.0"}),
    (MAILING, {"format": "JSONL"}, {"INVALID_VALUE format"}),
    (MAILING, {"format": "ZIP"}, {"INVALID_VALUE format"}),
    (MAILING, {"filter": {"match": {**CONDITION, "field": "contact.nope"}}}, {"UNKNOWN_FIELD filter.match.field"}),
    (
        MAILING,
        {"filter": {"match": {"field": "contact.list.id", "operator": "IN", "value": ["$list", "$their_list"]}}},
        {"NOT_FOUND filter.match.value.1"},
    ),
    (MAILING, {"filter": {"json": []}}, {"REQUIRED filter"}),
    (MAILING, {"filter": {"json": {"or": []}}}, {"REQUIRED filter"}),
    (MAILING, {"filter": {"and": []}}, {"REQUIRED filter"}),
    (MAILING, {"key": ""}, {"REQUIRED idempotencyKey"}),
]


@pytest.mark.parametrize(("document", "given", "errors"), REFUSED)
async def test_what_is_refused(shared_desk: Desk, document: str, given: Mapping[str, Any], errors: set[str]) -> None:
    """Everything that is wrong is said at once, where it stands, and nothing is stored."""
    before = await shared_desk.tables()
    payload = await shared_desk.payload(document, **{"key": uuid4().hex, **given})
    assert broken_rules(payload) == errors
    assert payload["export"] is None
    assert await shared_desk.tables() == before


async def test_unknown_columns_are_told_what_there_is(shared_desk: Desk) -> None:
    """Who names a column that is not there reads which there are."""
    errors = (await shared_desk.payload(CONTACTS, columns=["nope", "neither"]))["userErrors"]
    assert [" custom_fields.cars" in error["message"] for error in errors] == [True, False]


async def test_columns_of_another_company(shared_desk: Desk) -> None:
    """A custom field is a column in its own company alone."""
    await shared_desk.add(Field, shared_desk.globex, custom=True, name="boats", label="Boats")
    refused = await shared_desk.payload(CONTACTS, columns=["custom_fields.boats"])
    assert broken_rules(refused) == {"UNKNOWN_FIELD columns.0"}
    made = await shared_desk.payload(CONTACTS, shared_desk.globex.tokens["admin"], columns=["custom_fields.boats"])
    assert broken_rules(made) == set()


COLUMNS = "query ($kind: ExportKind!) { exportColumns(kind: $kind) { name header } }"


async def test_columns_that_there_are(shared_desk: Desk) -> None:
    """What `exportColumns` names can be chosen, for every kind that can be asked for, and letters have none."""
    shown = {}
    for document, kind in ((CONTACTS, "CONTACTS"), (REPORTS, "DELIVERY_REPORTS"), (RECIPIENTS, "CAMPAIGN_RECIPIENTS")):
        shown[kind] = await shared_desk.payload(COLUMNS, "member", kind=kind)
        names = [column["name"] for column in shown[kind]]
        made = await shared_desk.payload(document, **ASKING[document], columns=names)
        assert made["export"]["parameters"]["columns"] == names
    assert {"name": "custom_fields.cars", "header": "Cars"} in shown["CONTACTS"]
    assert await shared_desk.payload(COLUMNS, kind="MAILING") != []
    assert await shared_desk.payload(COLUMNS, kind="LETTERS") == []


async def test_campaigns_that_one_may_not_see(shared_desk: Desk) -> None:
    """Reports and recipients of a campaign are for those who see it; to others it is not there."""
    for role, errors in (("member", {"NOT_FOUND"}), ("manager", set()), ("admin", set())):
        for document, given in ((REPORTS, {"scope": {"campaignId": "$team"}}), (RECIPIENTS, {"campaignId": "$team"})):
            payload = await shared_desk.payload(document, role, **given)
            assert {error["code"] for error in payload["userErrors"]} == errors


@EVERY_REQUEST
async def test_tokens_without_the_scope(shared_desk: Desk, document: str) -> None:
    """A token without EXPORT asks for nothing, one with READ and EXPORT suffices."""
    before = await shared_desk.tables()
    lacking = await shared_desk.token("admin", "READ", "WRITE", "SEND")
    tables = await shared_desk.tables()
    answer = await shared_desk.ask(document, lacking, **ASKING[document])
    assert answer.codes == ["FORBIDDEN"]
    assert await shared_desk.tables() == tables != before
    enough = await shared_desk.token("admin", "READ", "EXPORT")
    assert broken_rules(await shared_desk.payload(document, enough, **ASKING[document])) == set()


async def test_ids_are_looked_up_together(shared_desk: Desk) -> None:
    """Three hundred contacts cost as many statements as three."""
    ids = [str(await shared_desk.add(Contact)) for _ in range(300)]
    statements = []
    for some in (ids[:3], ids):
        async with shared_desk.gateway.counting() as counted:
            assert broken_rules(await shared_desk.payload(CONTACTS, scope={"contactIds": some})) == set()
        statements.append(len(counted))
    assert statements[0] == statements[1]


@EVERY_REQUEST
async def test_fifty_at_once(shared_desk: Desk, document: str) -> None:
    """Fifty equal requests with one key, at once, make one export with one job, and have equal answers."""
    before, key = await counts(shared_desk), uuid4().hex
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await shared_desk.payload(document, **ASKING[document], key=key))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask)
    assert broken_rules(answers[0]) == set()
    assert answers == [answers[0]] * 50
    assert await counts(shared_desk) == {name: count + 1 for name, count in before.items()}


async def test_keys(shared_desk: Desk) -> None:
    """A key stands for one request: another one is refused, and one that is refused does not use it up."""
    key = uuid4().hex
    refused = await shared_desk.payload(CONTACTS, columns=[], key=key)
    assert broken_rules(refused) == {"REQUIRED columns"}
    made = await shared_desk.payload(CONTACTS, scope={"all": True}, key=key)
    assert broken_rules(made) == set()
    assert await shared_desk.payload(CONTACTS, key=key) == made
    before = await shared_desk.tables()
    changes: tuple[tuple[str, Mapping[str, Any]], ...] = (
        (CONTACTS, {"scope": {"listIds": ["$list"]}}),
        (CONTACTS, {"format": "XLSX"}),
        (CONTACTS, {"raw": True}),
        (CONTACTS, {"columns": ["id"]}),
        (MAILING, {}),
        (REGENERATE, {"id": "$expired_export"}),
    )
    for document, given in changes:
        payload = await shared_desk.payload(document, **given, key=key)
        assert broken_rules(payload) == {"IDEMPOTENCY_KEY_REUSED idempotencyKey"}
    assert await shared_desk.tables() == before


async def asked_at_once(desk: Desk, times: int) -> list[set[str]]:
    errors: list[set[str]] = []

    async def ask() -> None:
        errors.append(broken_rules(await desk.payload(CONTACTS, key=uuid4().hex)))

    async with anyio.create_task_group() as tasks:
        for _ in range(times):
            tasks.start_soon(ask)
    return errors


async def test_too_many_wait(world: World) -> None:
    """Of twenty requests at once as many are taken on as may wait; others are when one of them is over."""
    async with desk_over(world, exports_waiting_per_company=3) as desk:
        stopping = await export(desk, status="CANCELING")
        errors = await asked_at_once(desk, 20)
        assert sorted(map(sorted, errors)) == [[], [], *([["RATE_LIMITED"]] * 18)]
        waiting = "SELECT count(*) FROM exports WHERE status IN ('PENDING', 'RUNNING', 'CANCELING')"
        assert (await desk.run(waiting))[0][0] == 3
        assert (await counts(desk))["idempotency_keys"] == 2 + 2  # Two of the small world.
        assert broken_rules(await desk.payload(REGENERATE, id="$expired_export")) == {"RATE_LIMITED"}
        other = await desk.payload(CONTACTS, desk.globex.tokens["admin"])
        assert broken_rules(other) == set()
        await desk.run("UPDATE exports SET status = 'CANCELED' WHERE id = CAST(:id AS uuid)", id=stopping)
        assert broken_rules(await desk.payload(CONTACTS)) == set()


async def test_too_many_bytes(world: World) -> None:
    """Nothing is taken on while the company's files fill their room; deleting an export makes room at once."""
    async with desk_over(world, export_bytes_per_company=10) as desk:
        await desk.add(File, desk.globex, bytes=2**40)
        await desk.add(File, bytes=2**40, expires_at=PAST)
        assert broken_rules(await desk.payload(CONTACTS)) == set()
        large = await export(desk, status="COMPLETED", file_id=await desk.add(File, bytes=7, expires_at=NEVER_EXPIRES))
        before = await desk.tables()
        for document, given in ASKING.items():
            assert broken_rules(await desk.payload(document, **given)) == {"STORAGE_LIMIT"}
        assert await desk.tables() == before
        assert broken_rules(await desk.payload(DELETE, id=large)) == set()
        assert broken_rules(await desk.payload(CONTACTS)) == set()


async def test_rows_that_go_meanwhile(desk: Desk) -> None:
    """What is named by a request must be there when it is asked for, not when its key was first used."""
    campaign = str(await desk.add(Campaign, user_id=desk.acme.admin))
    number = str(await desk.add(ContactList))
    await desk.run("DELETE FROM campaigns WHERE id = CAST(:id AS uuid)", id=campaign)
    await desk.run("DELETE FROM contact_lists WHERE id = CAST(:id AS integer)", id=int(number))
    assert broken_rules(await desk.payload(RECIPIENTS, campaignId=campaign)) == {"NOT_FOUND campaignId"}
    assert broken_rules(await desk.payload(CONTACTS, scope={"listIds": [number]})) == {"NOT_FOUND scope.listIds.0"}
