"""Is a campaign stored as it was given, changed by what is given alone, and copied and deleted as a whole?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import anyio
import pytest

from resolvers import global_ids
from store.models import CampaignMessage, DeliveryReport, Export, Recipient, TestDelivery
from tests.build import NOW, TestCompany
from tests.campaign_documents import (
    CAMPAIGN_TEST_EMAIL,
    CONDITION,
    COPY,
    CREATE,
    DELETE,
    EMAIL,
    MESSAGE,
    READ,
    SCHEDULE,
    SEND_AT,
    TASK,
    TEST_EMAIL,
    UPDATE,
    Desk,
    Input,
    broken_rules,
    but,
    desk_of_a_module,
    step,
)

pytestmark = pytest.mark.anyio

LATER = "2026-12-24T17:00:00Z"
STORED_FILTER = [{"field": "contact.fixed_fields.last_name", "operator": "ct", "value": "e"}]
EVERYTHING: Input = {
    **EMAIL,
    "description": "For those\nwho like it.",
    "approved": True,
    "scope": "TEAM",
    "teamId": "$sales",
    "groupId": "$group",
    "templateId": "$template",
    "task": TASK,
}


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


def database_id(desk: Desk, name: str) -> dict[str, object]:
    key = desk.names[name]
    return {"databaseId": int(key) if key.isdigit() else key}


def everything_shown(desk: Desk) -> dict[str, object]:
    return {
        "name": "Spring",
        "description": "For those\nwho like it.",
        "type": "EMAIL",
        "status": "PENDING",
        "scope": "TEAM",
        "approved": True,
        "version": 1,
        "sendAt": SEND_AT,
        "sentAt": None,
        "totalSent": None,
        "pausedAt": None,
        "filter": STORED_FILTER,
        "message": MESSAGE,
        "user": database_id(desk, "$admin"),
        "team": database_id(desk, "$sales"),
        "group": database_id(desk, "$group"),
        "template": database_id(desk, "$template"),
        "task": {
            "distributionStrategy": "DISTRIBUTE",
            "startAt": "2026-12-02T08:00:00Z",
            "endAt": "2026-12-09T16:00:00Z",
            "relationsPath": database_id(desk, "$path"),
            "distributeUsers": [database_id(desk, "$manager"), database_id(desk, "$member")],
        },
    }


async def read(desk: Desk, campaign_id: str) -> Any:
    return (await desk.ask(READ, id=campaign_id)).data["campaign"]


def named(desk: Desk, typename: str, name: str) -> str:
    """The global id of a row of the small world."""
    return global_ids.encode(typename, desk.names[name])


async def test_create(shared_desk: Desk) -> None:
    """A new campaign is answered, and read again, as it was given; ids may be global ones."""
    made = await shared_desk.made(CREATE, input=EVERYTHING)
    assert {name: value for name, value in made.items() if "id" not in name.lower()} == everything_shown(shared_desk)
    assert made["id"] == global_ids.encode("Campaign", made["databaseId"])
    assert await read(shared_desk, made["id"]) == made
    by_global_ids = but(
        EVERYTHING,
        {
            "teamId": named(shared_desk, "Team", "$sales"),
            "groupId": named(shared_desk, "Group", "$group"),
            "templateId": named(shared_desk, "Template", "$template"),
            "task.relationsPathId": named(shared_desk, "RelationsPath", "$path"),
            "task.distributeUserIds": [named(shared_desk, "User", "$manager"), named(shared_desk, "User", "$member")],
        },
    )
    other = await shared_desk.made(CREATE, input=by_global_ids)
    assert {**other, "id": made["id"], "databaseId": made["databaseId"]} == made


async def test_defaults(shared_desk: Desk) -> None:
    """What is left out, or null, is approved, global, and empty."""
    for extra in ({}, dict.fromkeys(("approved", "scope", "description", "teamId", "groupId", "templateId", "task"))):
        made = await shared_desk.made(CREATE, input={**EMAIL, **extra})
        shown = (made[name] for name in ("approved", "scope", "description", "team", "group", "template", "task"))
        assert list(shown) == [True, "GLOBAL", "", *[None] * 4]


CHANGES: dict[str, tuple[Input, Input]] = {
    "name": ({"name": "Summer"}, {"name": "Summer"}),
    "description": ({"description": "d"}, {"description": "d"}),
    "no description": ({"description": None}, {"description": ""}),
    "approved": ({"approved": False}, {"approved": False, "status": "DRAFT"}),
    "scope": ({"scope": "PERSONAL"}, {"scope": "PERSONAL"}),
    "team": ({"teamId": "$support"}, {"team": "$support"}),
    "no team": ({"scope": "GLOBAL", "teamId": None}, {"scope": "GLOBAL", "team": None}),
    "no group": ({"groupId": None}, {"group": None}),
    "template": ({"templateId": "$email_template"}, {"template": "$email_template"}),
    "no template": ({"templateId": None}, {"template": None}),
    "type": ({"type": "LETTER", "templateId": "$letter_template"}, {"type": "LETTER", "template": "$letter_template"}),
    "subject": ({"message": {"subject": "s"}}, {"message": {**MESSAGE, "subject": "s"}}),
    "nothing of the message": ({"message": {}}, {}),
    "nothing": ({}, {}),
    "no texts": (
        {"type": "TELEPHONE", "templateId": None, "message": dict.fromkeys(MESSAGE)},
        {"type": "TELEPHONE", "template": None, "message": dict.fromkeys(MESSAGE)},
    ),
    "filter": (
        {"filter": {"match": {**CONDITION, "operator": "SW"}}},
        {"filter": [{**STORED_FILTER[0], "operator": "sw"}]},
    ),
    "no filter": ({"approved": False, "filter": None}, {"approved": False, "status": "DRAFT", "filter": None}),
    "time": ({"sendAt": "2026-12-01 12:00:00"}, {"sendAt": "2026-12-01T11:00:00Z"}),
    "no time": ({"approved": False, "sendAt": None}, {"approved": False, "status": "DRAFT", "sendAt": None}),
    "no task": ({"task": None}, {"task": None}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
async def test_update(shared_desk: Desk, change: str) -> None:
    """What is given changes (and is shown so), null takes it away, and all that is absent stays."""
    given, shown = CHANGES[change]
    before = await shared_desk.made(CREATE, input=EVERYTHING)
    after = await shared_desk.made(UPDATE, id=before["id"], input=given)
    expected = {
        name: database_id(shared_desk, value) if isinstance(value, str) and value.startswith("$") else value
        for name, value in shown.items()
    }
    assert after == {**before, **expected, "version": 2}
    assert await read(shared_desk, before["id"]) == after


async def test_update_task(shared_desk: Desk) -> None:
    """A task that is given takes the place of the old one, with its users in the given order."""
    before = await shared_desk.made(CREATE, input=EVERYTHING)
    task = but(TASK, {"distributeUserIds": ["$member", "$admin", "$manager"], "startAt": "2026-12-03 09:00:00"})
    after = await shared_desk.made(UPDATE, id=before["id"], input={"task": task})
    users = [database_id(shared_desk, name) for name in task["distributeUserIds"]]
    changed = {"startAt": "2026-12-03T08:00:00Z", "distributeUsers": users}
    assert after == {**before, "task": {**before["task"], **changed}, "version": 2}


async def test_update_is_tried(shared_desk: Desk) -> None:
    """A dry run answers the campaign as it is and changes no table."""
    made = await shared_desk.made(CREATE, input=EVERYTHING)
    before = await shared_desk.tables()
    assert await shared_desk.made(UPDATE, id=made["id"], input={"name": "Summer"}, dryRun=True) == made
    assert await shared_desk.tables() == before


async def test_update_of_what_has_no_time(shared_desk: Desk) -> None:
    """What is not about time and approval can be mended without giving them: copies stay drafts, the canceled so."""
    made = await shared_desk.made(CREATE, input=EMAIL)
    copy = await shared_desk.made(COPY, id=made["id"])
    assert (await shared_desk.made(UPDATE, id=copy["id"], input={"name": "x"}))["status"] == "DRAFT"
    await shared_desk.made(step("cancelCampaign"), id=made["id"])
    assert (await shared_desk.made(UPDATE, id=made["id"], input={"name": "x"}))["status"] == "CANCELED"


async def test_version_conflict(shared_desk: Desk) -> None:
    """Whoever saw an older version is told both sides of each value that they would change, and what there is now."""
    made = await shared_desk.made(CREATE, input=EVERYTHING)
    theirs = {
        "name": "Theirs",
        "sendAt": LATER,
        "filter": {"json": []},
        "approved": False,
        "task": None,
        "templateId": "$email_template",
    }
    current = await shared_desk.made(UPDATE, id=made["id"], version=1, input=theirs)
    before = await shared_desk.tables()
    mine = {
        "name": "Mine",
        "description": made["description"],
        "message": {"subject": "Mine"},
        "sendAt": SEND_AT,
        "filter": {"match": CONDITION},
        "templateId": None,
        "task": TASK,
    }
    payload = await shared_desk.payload(UPDATE, id=made["id"], version=1, input=mine)
    assert broken_rules(payload) == {"VERSION_CONFLICT expectedVersion"}
    assert payload["campaign"] == current
    people = [named(shared_desk, "User", name) for name in ("$manager", "$member")]
    assert {".".join(found["field"]): (found["yours"], found["current"]) for found in payload["conflicts"]} == {
        "input.name": ("Mine", "Theirs"),
        "input.message.subject": ("Mine", MESSAGE["subject"]),
        "input.sendAt": (SEND_AT, LATER),
        "input.filter": (STORED_FILTER, None),
        "input.templateId": (None, named(shared_desk, "Template", "$email_template")),
        "input.task.distributionStrategy": ("DISTRIBUTE", None),
        "input.task.distributeUserIds": (people, None),
        "input.task.relationsPathId": (named(shared_desk, "RelationsPath", "$path"), None),
        "input.task.startAt": (TASK["startAt"], None),
        "input.task.endAt": (TASK["endAt"], None),
    }
    assert await shared_desk.tables() == before


async def test_twenty_updates_at_once(shared_desk: Desk) -> None:
    """Of twenty who saw the same version one changes the campaign; nineteen are told of the conflict."""
    made = await shared_desk.made(CREATE, input=EMAIL)
    answers: dict[int, Any] = {}

    async def change(number: int) -> None:
        given = {"name": f"Name {number}", "task": but(TASK, {"distributeUserIds": ["$admin"]})}
        answers[number] = await shared_desk.payload(UPDATE, id=made["id"], version=1, input=given)

    # The gateway has three connections: three see the same version before any can change it.
    async with anyio.create_task_group() as tasks, shared_desk.until_waiting(made["databaseId"], 3):
        for number in range(20):
            tasks.start_soon(change, number)
    (winner,) = (number for number, payload in answers.items() if not payload["userErrors"])
    conflict = {"VERSION_CONFLICT expectedVersion"}
    assert [broken_rules(answers[number]) for number in answers if number != winner] == [conflict] * 19
    after = await read(shared_desk, made["id"])
    assert (after["version"], after["name"]) == (2, f"Name {winner}")
    assert [payload["campaign"] for payload in answers.values()] == [after] * 20


async def sent_campaign(desk: Desk, **values: object) -> str:
    """The id of a campaign that has all that a campaign can have."""
    made = await desk.made(CREATE, input=EVERYTHING)
    own = {"campaign_id": made["databaseId"]}
    recipient_id = await desk.add(Recipient, **own, contact_id=desk.acme.rows["contact"])
    await desk.add(CampaignMessage, id=recipient_id)
    await desk.add(DeliveryReport, **own, recipient_id=recipient_id)
    await desk.add(Export, **own, kind="CAMPAIGN_RECIPIENTS", requested_by_id=desk.acme.admin)
    for name, value in values.items():
        await desk.run(f"UPDATE campaigns SET {name} = :value WHERE id::text = :id", value=value, id=made["databaseId"])
    return str(made["id"])


async def test_copy(shared_desk: Desk) -> None:
    """A copy has content, filter and approval, no template, times, numbers and task; whoever copies is its author."""
    campaign_id = await sent_campaign(shared_desk, status="COMPLETED", sent_at=NOW, total_sent=1, version=5)
    original = await read(shared_desk, campaign_id)
    copy = await shared_desk.made(COPY, "manager", id=campaign_id)
    assert copy["id"] != campaign_id
    assert copy == {
        **original,
        "id": copy["id"],
        "databaseId": copy["databaseId"],
        "name": "Spring - copy",
        "user": database_id(shared_desk, "$manager"),
        "status": "DRAFT",
        "version": 1,
        **dict.fromkeys(("template", "sendAt", "sentAt", "totalSent", "task")),
    }
    assert await read(shared_desk, campaign_id) == original
    assert await read(shared_desk, copy["id"]) == copy
    counts = "query ($id: ID!) { campaign(id: $id) { recipients { totalCount } exports { totalCount } } }"
    found = (await shared_desk.ask(counts, id=copy["id"])).data
    assert found["campaign"] == {"recipients": {"totalCount": 0}, "exports": {"totalCount": 0}}


@pytest.mark.parametrize("letter", ["n", "ø", "👍"])
async def test_copy_of_the_longest_name(shared_desk: Desk, letter: str) -> None:
    """A name is cut where it would be too long; copies can be copied."""
    made = await shared_desk.made(CREATE, input={**EMAIL, "name": letter * 255})
    for _ in range(2):
        made = await shared_desk.made(COPY, id=made["id"])
        assert made["name"] == letter * 248 + " - copy"


async def test_copy_of_a_copy(shared_desk: Desk) -> None:
    """Each copy adds to the name, and can be scheduled."""
    copy = await shared_desk.made(COPY, id=await shared_desk.campaign(approved=True, filter=STORED_FILTER))
    copy = await shared_desk.made(COPY, id=copy["id"])
    assert copy["name"] == "Stored - copy - copy"
    assert (await shared_desk.made(SCHEDULE, id=copy["id"], sendAt=LATER))["status"] == "PENDING"


async def test_delete(shared_desk: Desk) -> None:
    """With a campaign go the users of its task, its recipients, messages, reports and exports, and nothing else."""
    before = await shared_desk.tables()
    campaign_id = await sent_campaign(shared_desk)
    payload = await shared_desk.payload(DELETE, id=campaign_id)
    assert payload == {"deletedCampaignId": campaign_id, "userErrors": []}
    assert await shared_desk.tables() == before
    assert broken_rules(await shared_desk.payload(DELETE, id=campaign_id)) == {"NOT_FOUND id"}


async def test_test_mails_outlive_their_campaign(shared_desk: Desk) -> None:
    """A test mail of a campaign that is deleted is still there, of no campaign."""
    campaign_id = await sent_campaign(shared_desk)
    key = await shared_desk.add(
        TestDelivery, user_id=shared_desk.acme.admin, campaign_id=global_ids.decode(campaign_id)[1]
    )
    assert broken_rules(await shared_desk.payload(DELETE, id=campaign_id)) == set()
    found = await shared_desk.ask("query ($id: ID!) { testDelivery(id: $id) { campaign { id } } }", id=str(key))
    assert found.data == {"testDelivery": {"campaign": None}}


async def test_several_in_one_operation(shared_desk: Desk) -> None:
    """Mutations of one operation are made in their order, and each sees and shows what those before it made."""
    word = uuid4().hex
    made = await shared_desk.made(CREATE, input={**EMAIL, "name": word, "approved": False})
    answer = await shared_desk.ask(
        """
        mutation ($id: ID!, $word: String!, $first: UpdateCampaignInput!, $second: UpdateCampaignInput!) {
          rename: updateCampaign(id: $id, input: $first, expectedVersion: 1) { ...changed }
          approve: approveCampaign(id: $id, expectedVersion: 2) { campaign { ...seen } userErrors { code } }
          again: approveCampaign(id: $id) { campaign { ...seen } userErrors { code } }
          copy: copyCampaign(id: $id) { campaign { ...seen } userErrors { code } }
          stale: updateCampaign(id: $id, input: $second, expectedVersion: 2) { ...changed }
          end: deleteCampaign(id: $id) { userErrors { code } }
          late: updateCampaign(id: $id, input: $second) { ...changed }
        }
        fragment changed on UpdateCampaignPayload { campaign { ...seen } userErrors { code } }
        fragment seen on Campaign {
          name version status user { campaigns(filter: {search: $word}) { nodes { name } } }
        }
        """,
        id=made["id"],
        word=word,
        first={"name": f"{word} 1"},
        second={"name": f"{word} 2"},
    )
    name = f"{word} 1"

    def seen(name: str, version: int, status: str, *names: str) -> Input:
        nodes = [{"name": found} for found in names]
        return {"name": name, "version": version, "status": status, "user": {"campaigns": {"nodes": nodes}}}

    def refused(code: str, campaign: Input | None = None) -> Input:
        return {"campaign": campaign, "userErrors": [{"code": code}]}

    assert answer.data == {
        "rename": {"campaign": seen(name, 2, "DRAFT", name), "userErrors": []},
        "approve": {"campaign": seen(name, 3, "PENDING", name), "userErrors": []},
        "again": refused("ALREADY_APPROVED"),
        "copy": {"campaign": seen(f"{name} - copy", 1, "DRAFT", f"{name} - copy", name), "userErrors": []},
        "stale": refused("VERSION_CONFLICT", seen(name, 3, "PENDING", f"{name} - copy", name)),
        "end": {"userErrors": []},
        "late": refused("NOT_FOUND"),
    }


async def test_other_companies(shared_desk: Desk) -> None:
    """Nothing of another company is changed or shown, whatever of it an id names; it looks like what is not there."""
    before = await shared_desk.tables()
    requests: list[tuple[str, Input]] = [
        (UPDATE, {"input": {"name": "Mine"}, "version": 99}),
        (COPY, {}),
        (DELETE, {}),
        (SCHEDULE, {"sendAt": LATER, "version": 99}),
        (CAMPAIGN_TEST_EMAIL, {"emails": ["me@example.com"]}),
        *((step(f"{name}Campaign"), {"version": 99}) for name in ("approve", "send", "cancel", "pause", "resume")),
    ]
    for document, more in requests:
        foreign = await shared_desk.payload(document, id="$their_sent", **more)
        assert foreign == await shared_desk.payload(document, id=str(uuid4()), **more)
        assert foreign.pop("userErrors")[0]["field"] == ["id"]
        assert not any(foreign.values())
    payload = await shared_desk.payload(TEST_EMAIL, input=EMAIL, contactId="$their_contact")
    assert broken_rules(payload) == {"NOT_FOUND contactId"}
    assert await shared_desk.tables() == before
