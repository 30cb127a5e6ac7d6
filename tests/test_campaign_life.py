"""May a campaign be changed, sent, stopped and tried out just when the domain has it, and by whom?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from resolvers.changes.campaign_life import CampaignAction
from store.models import Contact, Recipient
from tests.build import NOW, TestCompany
from tests.campaign_documents import (
    CAMPAIGN_TEST_EMAIL,
    COPY,
    CREATE,
    DELETE,
    EMAIL,
    PAST,
    READ,
    RESEND,
    SCHEDULE,
    SEND_AT,
    TASK,
    UPDATE,
    Desk,
    Input,
    broken_rules,
    but,
    desk_of_a_module,
    step,
)

pytestmark = pytest.mark.anyio

STEPS = {
    name: step(f"{name.lower()}Campaign") for name in ("APPROVE", "UNAPPROVE", "SEND", "CANCEL", "PAUSE", "RESUME")
}
DOCUMENTS = {
    **STEPS,
    "UPDATE": UPDATE,
    "DELETE": DELETE,
    "COPY": COPY,
    "SCHEDULE": SCHEDULE,
    "SEND_TEST": CAMPAIGN_TEST_EMAIL,
    "RESEND_UNKNOWN": RESEND,
}
LATER = "2026-12-24T17:00:00Z"
MORE: Mapping[str, Input] = {
    "UPDATE": {"input": {"name": "Changed", "sendAt": LATER}},
    "SCHEDULE": {"sendAt": LATER},
    "SEND_TEST": {"emails": ["me@example.com"]},
}
# What changes nothing of the campaign, and is everybody's.
OF_OTHERS = ("COPY", "SEND_TEST")
ACTIONS = "query ($id: ID!) { campaign(id: $id) { actions { action allowed reasons { code field } } } }"
TIME = datetime.fromisoformat(SEND_AT)
FILTER = [{"field": "contact.fixed_fields.last_name", "operator": "ct", "value": "e"}]
GONE_OUT: Input = {"sent_at": NOW, "total_sent": 1}
# Of one message nobody knows whether it went out.
UNKNOWN: Input = {"sent_at": NOW, "unknown": True}

# The states that a campaign can be in. All but the first two have a time; approved unless it is said.
STATES: dict[str, Input] = {
    "draft": {"status": "DRAFT", "approved": False, "send_at": None},
    "approved draft": {"status": "DRAFT", "send_at": None},
    "scheduled draft": {"status": "DRAFT", "approved": False},
    "pending": {"status": "PENDING"},
    "paused": {"status": "PENDING", "paused_at": NOW},
    "sending": {"status": "SENDING"},
    "partly sent": {"status": "SENDING", **GONE_OUT},
    "paused sending": {"status": "SENDING", "paused_at": NOW},
    "paused partly sent": {"status": "SENDING", "paused_at": NOW, **GONE_OUT},
    "completed": {"status": "COMPLETED", **GONE_OUT},
    "completed without recipients": {"status": "COMPLETED", "sent_at": NOW, "total_sent": 0},
    "failed": {"status": "FAILED"},
    "failed, partly sent": {"status": "FAILED", "total_sent": 1},
    "failed, unapproved": {"status": "FAILED", "approved": False},
    "canceled": {"status": "CANCELED"},
    "canceled, partly sent": {"status": "CANCELED", "sent_at": NOW},
    "canceled, unapproved": {"status": "CANCELED", "approved": False},
    "sending, unknown": {"status": "SENDING", **UNKNOWN},
    "completed, unknown": {"status": "COMPLETED", **UNKNOWN},
    "failed, unknown": {"status": "FAILED", **UNKNOWN},
    "canceled, unknown": {"status": "CANCELED", **UNKNOWN},
}
CODES = {
    "sent": "ALREADY_SENT",
    "is": "ALREADY_APPROVED",
    "not": "NOT_APPROVED",
    "state": "WRONG_STATUS",
    "paused": "PAUSED",
    "going": "NOT_PAUSED",
    "time": "REQUIRED",
    "none": "NOTHING_UNKNOWN",
}
# In which each action is allowed, if not in "pending".
ALLOWED_IN = {"APPROVE": "scheduled draft", "RESUME": "paused", "RESEND_UNKNOWN": "completed, unknown"}
# Rules 5, 8, 9 and 11 by hand: `ok`, or why not. Copies (rule 9) and test mails (rule 10) can be made of any.
ORACLE = """
                              UPDATE DELETE APPROVE UNAPPROVE SCHEDULE SEND  CANCEL PAUSE   RESUME       RESEND_UNKNOWN
draft                         ok     ok     ok      not       ok       not   state  state   state+going  state
approved draft                ok     ok     is      ok        ok       time  state  state   state+going  state
scheduled draft               ok     ok     ok      not       ok       not   state  state   state+going  state
pending                       ok     ok     is      ok        ok       ok    ok     ok      going        state
paused                        ok     ok     is      ok        ok       ok    ok     paused  ok           state
sending                       sent   sent   sent+is sent      sent     sent  ok     ok      going        none
partly sent                   sent   sent   sent+is sent      sent     sent  ok     ok      going        none
paused sending                sent   sent   sent+is sent      sent     sent  ok     paused  ok           none
paused partly sent            sent   sent   sent+is sent      sent     sent  ok     paused  ok           none
completed                     sent   sent   sent+is sent      sent     sent  state  state   state+going  none
completed without recipients  sent   sent   sent+is sent      sent     sent  state  state   state+going  none
failed                        ok     ok     is      ok        ok       ok    state  state   state+going  none
failed, partly sent           sent   sent   sent+is sent      sent     sent  state  state   state+going  none
failed, unapproved            ok     ok     ok      not       ok       not   state  state   state+going  none
canceled                      ok     ok     is      ok        ok       ok    state  state   state+going  state
canceled, partly sent         sent   sent   sent+is sent      sent     sent  state  state   state+going  state
canceled, unapproved          ok     ok     ok      not       ok       not   state  state   state+going  state
sending, unknown              sent   sent   sent+is sent      sent     sent  ok     ok      going        ok
completed, unknown            sent   sent   sent+is sent      sent     sent  state  state   state+going  ok
failed, unknown               sent   sent   sent+is sent      sent     sent  state  state   state+going  ok
canceled, unknown             sent   sent   sent+is sent      sent     sent  state  state   state+going  state
"""


def oracle() -> dict[tuple[str, str], set[str]]:
    """The codes that a refusal has, by state and action; none when it is allowed."""
    header, *lines = ORACLE.strip("\n").splitlines()
    names = header.split()
    found = {}
    for line in lines:
        state, cells = line[:30].strip(), line[30:].split()
        for name, cell in zip(names, cells, strict=True):
            found[state, name] = set() if cell == "ok" else {CODES[word] for word in cell.split("+")}
        found |= {(state, name): set() for name in OF_OTHERS}
    return found


CELLS = oracle()


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        # Whom letters reach.
        await desk.add(Contact, last_name="Lee", letter_consent_given=True, address="1 Main Street", city="Copenhagen")
        yield desk


async def in_state(desk: Desk, state: str, author: str = "admin", **more: object) -> str:
    """The id of a campaign in that state."""
    values = {"approved": True, "send_at": TIME, "filter": FILTER, **STATES[state], **more}
    has_unknown = values.pop("unknown", False)
    campaign_id = await desk.campaign(author, **values)
    if has_unknown:
        await desk.add(Recipient, campaign_id=campaign_id, status="UNKNOWN")
    return campaign_id


def place_of(action: str) -> str:
    """The argument that names the campaign."""
    return "campaignId" if action == "RESEND_UNKNOWN" else "id"


async def act(desk: Desk, action: str, campaign_id: str, role: str = "admin") -> Any:
    return await desk.payload(DOCUMENTS[action], role, id=campaign_id, **MORE.get(action, {}))


async def read(desk: Desk, campaign_id: str) -> Any:
    return (await desk.ask(READ, id=campaign_id)).data["campaign"]


async def offered(desk: Desk, campaign_id: str, role: str = "admin") -> dict[str, set[str]]:
    """What `Campaign.actions` says: the reasons, by action."""
    found = (await desk.ask(ACTIONS, role, id=campaign_id)).data["campaign"]["actions"]
    assert all(state["allowed"] is not bool(state["reasons"]) for state in found)
    return {state["action"]: broken_rules({"userErrors": state["reasons"]}) for state in found}


def after(action: str, state: Mapping[str, object]) -> dict[str, object]:
    """What becomes of a campaign by an allowed action (rule 11), of those things that actions change."""
    approved = bool(state.get("approved", True))
    send_at = None if state.get("send_at", TIME) is None else SEND_AT
    paused = state.get("paused_at") is not None
    now: Input = {"status": state["status"], "approved": approved, "sendAt": send_at, "paused": paused}

    def waiting(approved: bool, send_at: str | None) -> Input:
        pending = approved and send_at is not None
        status = "PENDING" if pending else "DRAFT"
        return {"status": status, "approved": approved, "sendAt": send_at, "paused": paused and pending}

    changed: dict[str, Input] = {
        "UPDATE": waiting(approved, LATER),
        "SCHEDULE": waiting(approved, LATER),
        "APPROVE": waiting(True, send_at),
        "UNAPPROVE": waiting(False, send_at),
        "SEND": {"status": "SENDING", "sendAt": "2026-11-21T12:00:00Z", "paused": False},
        "CANCEL": {"status": "CANCELED", "paused": False},
        "PAUSE": {"paused": True},
        "RESUME": {"paused": False},
        "RESEND_UNKNOWN": {"status": "SENDING"},
    }
    return {**now, **changed.get(action, {})}


@pytest.mark.parametrize(("state", "action"), [pytest.param(*cell, id=", ".join(cell)) for cell in CELLS])
async def test_action_in_state(shared_desk: Desk, state: str, action: str) -> None:
    """An action is done, or refused with these codes, as `actions` said before; a refusal changes no table."""
    campaign_id = await in_state(shared_desk, state)
    said = (await offered(shared_desk, campaign_id))[action]
    before, tables = await read(shared_desk, campaign_id), await shared_desk.tables()
    payload = await act(shared_desk, action, campaign_id)
    assert broken_rules(payload) == said
    if CELLS[state, action]:
        place = "campaign.sendAt" if CELLS[state, action] == {"REQUIRED"} else place_of(action)
        assert said == {f"{code} {place}" for code in CELLS[state, action]}
        assert await shared_desk.tables() == tables
        return
    assert said == set()
    if action == "DELETE":
        assert payload["deletedCampaignId"] == before["id"]
        assert (await shared_desk.ask(READ, id=campaign_id)).codes == ["NOT_FOUND"]
    elif action in OF_OTHERS:
        assert await read(shared_desk, campaign_id) == before
    else:
        await check_changed(shared_desk, action, state, payload, before)


async def check_changed(desk: Desk, action: str, state: str, payload: Any, before: Any) -> None:
    campaign = payload["campaign"]
    assert campaign == await read(desk, campaign["id"])
    assert campaign["version"] == before["version"] + 1
    changed = {name: campaign[name] for name in ("status", "approved", "sendAt")}
    assert {**changed, "paused": campaign["pausedAt"] is not None} == after(action, STATES[state])
    others = set(campaign) - {"version", "pausedAt", *changed} - ({"name"} if action == "UPDATE" else set())
    assert {name: campaign[name] for name in others} == {name: before[name] for name in others}


async def test_every_action_is_known_here(shared_desk: Desk) -> None:
    """`actions` says something of each action, and the oracle has each."""
    campaign_id = await in_state(shared_desk, "pending")
    assert set(await offered(shared_desk, campaign_id)) == set(CampaignAction) == {action for _, action in CELLS}


# What a campaign lacks when it is stored, and which actions that keeps from being done.
WITHOUT_TEXT: Input = {"message_subject": " ", "message_content": None, "message_sender": "news@elsewhere.example"}
MISSING_TEXT = {"REQUIRED campaign.message.subject", "REQUIRED campaign.message.content"}
FOREIGN = {"SENDER_NOT_OF_DOMAIN campaign.message.sender"}
OVER = {"NOT_IN_FUTURE campaign.sendAt"}
PASSED = NOW - timedelta(seconds=1)
LACKS: dict[str, tuple[Input, dict[str, set[str]]]] = {
    "filter": (
        {"filter": None, "approved": False},
        {"APPROVE": {"REQUIRED campaign.filter"}, "SCHEDULE": set(), "SEND_TEST": set()},
    ),
    "filter, approved": (
        {"filter": None},
        {
            "SEND": {"REQUIRED campaign.filter"},
            "SCHEDULE": {"REQUIRED campaign.filter"},
            "UNAPPROVE": set(),
            "PAUSE": set(),
            "CANCEL": set(),
        },
    ),
    "texts": (
        WITHOUT_TEXT,
        {
            "UNAPPROVE": MISSING_TEXT,
            "SEND": MISSING_TEXT | FOREIGN,
            "SCHEDULE": MISSING_TEXT | FOREIGN,
            "SEND_TEST": MISSING_TEXT | FOREIGN,
            "COPY": set(),
            "DELETE": set(),
            "PAUSE": set(),
        },
    ),
    "texts of a letter": (
        {"type": "LETTER", "message_subject": None},
        {"UNAPPROVE": {"REQUIRED campaign.message.subject"}, "SEND": set(), "SEND_TEST": {"NOT_AN_EMAIL id"}},
    ),
    "field of its filter": (
        {"filter": [{"field": "contact.custom_fields.gone", "operator": "eq", "value": "x"}]},
        {
            "SEND": {"UNKNOWN_FIELD campaign.filter.0.field"},
            "SCHEDULE": {"UNKNOWN_FIELD campaign.filter.0.field"},
            "UNAPPROVE": set(),
            "DELETE": set(),
        },
    ),
    "time, which is over": (
        {"send_at": PASSED, "paused_at": NOW, "approved": True},
        {"UNAPPROVE": set(), "RESUME": set(), "SEND": set(), "SCHEDULE": set(), "CANCEL": set()},
    ),
}


@pytest.mark.parametrize(
    ("lack", "action"),
    [pytest.param(lack, action, id=f"{lack}, {action}") for lack, (_, actions) in LACKS.items() for action in actions],
)
async def test_action_of_what_breaks_a_rule(shared_desk: Desk, lack: str, action: str) -> None:
    """A stored campaign that breaks a rule is refused where the rule holds, as `actions` said, and only there."""
    columns, actions = LACKS[lack]
    campaign_id = await in_state(shared_desk, "pending", **columns)
    said = (await offered(shared_desk, campaign_id))[action]
    before = await shared_desk.tables()
    payload = await act(shared_desk, action, campaign_id)
    assert broken_rules(payload) == actions[action]
    assert said == actions[action]
    assert (await shared_desk.tables() == before) is bool(actions[action])


async def test_path_of_a_stored_time(shared_desk: Desk) -> None:
    """What is wrong with the time that a campaign has stands at `campaign.sendAt`, as approveCampaign takes none."""
    campaign_id = await in_state(shared_desk, "scheduled draft", send_at=PASSED)
    assert (await offered(shared_desk, campaign_id))["APPROVE"] == OVER
    assert broken_rules(await act(shared_desk, "APPROVE", campaign_id)) == OVER


async def test_task_that_has_begun_cannot_be_scheduled(shared_desk: Desk) -> None:
    """No time to come lies before a task that has begun (rule 6), so SCHEDULE is not offered."""
    campaign_id = await with_task(shared_desk, start_at=NOW)
    payload = await act(shared_desk, "SCHEDULE", campaign_id)
    assert broken_rules(payload) == {"NOT_AFTER campaign.task.startAt"}
    assert (await offered(shared_desk, campaign_id))["SCHEDULE"] == broken_rules(payload)


async def with_task(desk: Desk, *, start_at: datetime) -> str:
    made = await desk.made(CREATE, input=but(EMAIL, {"task": TASK}))
    await desk.run(
        "UPDATE campaigns SET task_start_at = :start WHERE id = CAST(:id AS uuid)",
        start=start_at,
        id=made["databaseId"],
    )
    return str(made["databaseId"])


async def test_scheduled_in_the_past(shared_desk: Desk) -> None:
    """A time that is given and is past, or none, stands at `sendAt`; one that is too late for the task does not."""
    campaign_id = await with_task(shared_desk, start_at=datetime.fromisoformat("2026-12-02T08:00:00Z"))
    for time, error in (
        (PAST, "NOT_IN_FUTURE sendAt"),
        ("never", "INVALID_TIME sendAt"),
        ("2026-12-02T08:00:00Z", "NOT_AFTER campaign.task.startAt"),
    ):
        assert broken_rules(await shared_desk.payload(SCHEDULE, id=campaign_id, sendAt=time)) == {error}


async def test_sent_after_the_task_begins(shared_desk: Desk) -> None:
    """What is sent now is held against the task's times as of now."""
    campaign_id = await with_task(shared_desk, start_at=NOW)
    assert (await offered(shared_desk, campaign_id))["SEND"] == {"NOT_AFTER campaign.task.startAt"}
    assert broken_rules(await act(shared_desk, "SEND", campaign_id)) == {"NOT_AFTER campaign.task.startAt"}


@pytest.mark.parametrize("action", [*STEPS, "UPDATE", "SCHEDULE"])
async def test_expected_version(shared_desk: Desk, action: str) -> None:
    """With the version that one saw an action is done; with another it is not, whatever its state."""
    state = ALLOWED_IN.get(action, "pending")
    campaign_id = await in_state(shared_desk, state, version=7)
    before = await shared_desk.tables()
    more = {**MORE.get(action, {}), "id": campaign_id}
    payload = await shared_desk.payload(DOCUMENTS[action], **more, version=6)
    assert broken_rules(payload) == {"VERSION_CONFLICT expectedVersion"}
    assert payload["campaign"]["version"] == 7
    assert await shared_desk.tables() == before
    assert (await shared_desk.made(DOCUMENTS[action], **more, version=7))["version"] == 8


@pytest.mark.parametrize("action", DOCUMENTS)
@pytest.mark.parametrize(
    ("role", "author", "allowed"),
    [
        ("member", "member", True),
        ("member", "manager", False),
        ("manager", "member", True),
        ("manager", "admin", True),
        ("admin", "member", True),
    ],
)
async def test_roles(shared_desk: Desk, role: str, author: str, allowed: bool, action: str) -> None:
    """Members change their own campaigns; managers and administrators all that they see. All may copy and try out."""
    state = ALLOWED_IN.get(action, "pending")
    campaign_id = await in_state(shared_desk, state, author)
    expected = set() if allowed or action in OF_OTHERS else {f"FORBIDDEN {place_of(action)}"}
    assert (await offered(shared_desk, campaign_id, role))[action] == expected
    before = await shared_desk.tables()
    assert broken_rules(await act(shared_desk, action, campaign_id, role)) == expected
    assert (await shared_desk.tables() == before) is bool(expected)


@pytest.mark.parametrize("action", DOCUMENTS)
async def test_what_one_does_not_see(shared_desk: Desk, action: str) -> None:
    """A campaign that one does not see, one of another company, and an id of nothing are all NOT_FOUND."""
    hidden = await in_state(shared_desk, "pending", scope="PERSONAL")
    before = await shared_desk.tables()
    for campaign_id in (hidden, "$their_global_", "$admin", "nothing"):
        assert broken_rules(await act(shared_desk, action, campaign_id, "manager")) == {f"NOT_FOUND {place_of(action)}"}
    assert await shared_desk.tables() == before


# A campaign that is resumed may be sent at once.
SENDING = ("SEND", "SEND_TEST", "RESUME", "RESEND_UNKNOWN")


@pytest.mark.parametrize("action", DOCUMENTS)
async def test_token_scopes(shared_desk: Desk, action: str) -> None:
    """Without WRITE (SEND for what sends) the operation has the error FORBIDDEN; the other scope is of no use."""
    lacking = ("READ", "WRITE", "EXPORT") if action in SENDING else ("READ", "SEND", "EXPORT")
    needed = "SEND" if action in SENDING else "WRITE"
    state = ALLOWED_IN.get(action, "pending")
    campaign_id = await in_state(shared_desk, state)
    token = await shared_desk.token("admin", *lacking)
    before = await shared_desk.tables()
    assert (await offered(shared_desk, campaign_id, token))[action] == {f"FORBIDDEN {place_of(action)}"}
    answer = await shared_desk.ask(DOCUMENTS[action], token, id=campaign_id, **MORE.get(action, {}))
    assert answer.codes == ["FORBIDDEN"]
    assert list(answer.body["data"].values()) == [None]
    assert await shared_desk.tables() == before
    able = await shared_desk.token("admin", "READ", needed)
    assert broken_rules(await act(shared_desk, action, campaign_id, able)) == set()
