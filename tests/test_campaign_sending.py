"""Does a campaign go out when, and only when, it reaches those whom the client expects, and is its sending told so?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import anyio
import pytest

from store.models import (
    CampaignDelivery,
    CampaignTask,
    Contact,
    DeliveryStatus,
    Job,
    Notification,
    Recipient,
    Template,
)
from tests.build import NEVER_EXPIRES, NOW, TestCompany
from tests.campaign_documents import (
    COPY,
    CREATE,
    DELETE,
    EMAIL,
    READ,
    RESEND,
    SCHEDULE,
    SEND,
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

LARGEST_INT = 2**31 - 1
FILTER = [{"field": "contact.fixed_fields.last_name", "operator": "eq", "value": "Crowd"}]
NOBODY = [{"field": "contact.fixed_fields.last_name", "operator": "eq", "value": "Nobody"}]
PENDING: Input = {"approved": True, "status": "PENDING", "send_at": NOW + timedelta(1), "filter": FILTER}
# Of the contacts that the filter selects.
REACHED = 3
APPROVE, CANCEL, PAUSE, RESUME = (step(f"{name}Campaign") for name in ("approve", "cancel", "pause", "resume"))
EMPTY = {"EMPTY_AUDIENCE campaign.filter"}
GONE = {"TEMPLATE_DELETED campaign.templateId"}
JOBS = "SELECT due_at <= now() FROM jobs WHERE kind = 'CAMPAIGN' AND company_id = :company AND subject_id::text = :id"
DELETE_TEMPLATE = "mutation ($id: ID!) { deleteTemplate(id: $id) { userErrors { code field message } } }"
SHOWN = "query ($id: ID!) { campaign(id: $id) { templateDeleted version template { title } } }"
ACTIONS = "query ($id: ID!) { campaign(id: $id) { actions { action reasons { code field } } } }"


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        for number in range(REACHED):
            await crowd(desk, email=f"crowd{number}@example.com")
        for left_out in ({"email_consent_given": False}, {"email_consent_given": None}, {"email": None}):
            await crowd(desk, **left_out)
        await crowd(desk, email="CROWD0@example.com")
        yield desk


async def crowd(desk: Desk, **values: object) -> None:
    row: Input = {"last_name": "Crowd", "email_consent_given": True, "created_at": NOW, **values}
    await desk.add(Contact, **row)


async def jobs(desk: Desk, campaign_id: str, company: TestCompany | None = None) -> list[bool]:
    """For each job that carries the campaign out, whether it is due."""
    return [row[0] for row in await desk.run(JOBS, id=campaign_id, company=(company or desk.acme).id)]


async def status_of(desk: Desk, campaign_id: str) -> str:
    found: str = (await desk.ask(READ, id=campaign_id)).data["campaign"]["status"]
    return found


async def recipients(desk: Desk, campaign_id: str, *statuses: str) -> None:
    for status in statuses:
        await desk.add(Recipient, campaign_id=campaign_id, status=status, due_at=NEVER_EXPIRES)


async def statuses(desk: Desk, campaign_id: str) -> list[str]:
    rows = await desk.run("SELECT status FROM recipients WHERE campaign_id::text = :id ORDER BY id", id=campaign_id)
    return [row[0] for row in rows]


async def refused(desk: Desk, document: str, role: str = "admin", **variables: object) -> set[str]:
    """Why a mutation was refused, which must have changed nothing."""
    before = await desk.tables()
    payload = await desk.payload(document, role, **variables)
    assert payload["userErrors"]
    assert await desk.tables() == before
    return broken_rules(payload)


@pytest.mark.parametrize(
    ("expected", "tolerance"),
    [(None, 0), (REACHED, 0), (REACHED + 1, 1), (REACHED - 1, 1), (0, REACHED), (REACHED, 1_000_000)],
)
async def test_as_many_as_expected(shared_desk: Desk, expected: int | None, tolerance: int) -> None:
    """A campaign that reaches as many as expected, give or take the tolerance, is SENDING, and a worker is told."""
    campaign_id = await shared_desk.campaign(**PENDING)
    made = await shared_desk.made(SEND, id=campaign_id, expected=expected, tolerance=tolerance)
    assert (made["status"], made["version"]) == ("SENDING", 2)
    assert await jobs(shared_desk, campaign_id) == [True]


@pytest.mark.parametrize(
    ("expected", "tolerance"), [(REACHED + 1, 0), (REACHED - 1, 0), (0, REACHED - 1), (LARGEST_INT, 1_000_000)]
)
async def test_another_number_than_expected(shared_desk: Desk, expected: int, tolerance: int) -> None:
    """Another number than expected is refused; the message says both."""
    campaign_id = await shared_desk.campaign(**PENDING)
    before = await shared_desk.tables()
    payload = await shared_desk.payload(SEND, id=campaign_id, expected=expected, tolerance=tolerance)
    assert broken_rules(payload) == {"RECIPIENT_COUNT_CHANGED expectedRecipientCount"}
    message = payload["userErrors"][0]["message"]
    assert message == f"You expect {expected:,} recipients; the campaign would reach {REACHED:,}."
    assert await shared_desk.tables() == before


@pytest.mark.parametrize(
    ("expected", "tolerance", "errors"),
    [
        (-1, 0, {"OUT_OF_RANGE expectedRecipientCount"}),
        (-(2**31), 0, {"OUT_OF_RANGE expectedRecipientCount"}),
        (REACHED, -1, {"OUT_OF_RANGE recipientTolerance"}),
        (REACHED, 1_000_001, {"OUT_OF_RANGE recipientTolerance"}),
        (-1, LARGEST_INT, {"OUT_OF_RANGE expectedRecipientCount", "OUT_OF_RANGE recipientTolerance"}),
        (None, 1, {"REQUIRED expectedRecipientCount"}),
        (None, -1, {"OUT_OF_RANGE recipientTolerance"}),
    ],
)
async def test_absurd_numbers(shared_desk: Desk, expected: int | None, tolerance: int, errors: set[str]) -> None:
    """Numbers that cannot be meant are refused, and so is a tolerance of nothing."""
    campaign_id = await shared_desk.campaign(**PENDING)
    assert await refused(shared_desk, SEND, id=campaign_id, expected=expected, tolerance=tolerance) == errors


async def test_numbers_and_rules_at_once(shared_desk: Desk) -> None:
    """What is wrong with the numbers and with the campaign is said at once."""
    campaign_id = await shared_desk.campaign(**PENDING, message_subject=None)
    errors = {"OUT_OF_RANGE expectedRecipientCount", "REQUIRED campaign.message.subject"}
    assert await refused(shared_desk, SEND, id=campaign_id, expected=-1) == errors


async def test_nobody_to_reach(shared_desk: Desk) -> None:
    """A campaign that would reach nobody is not sent, whether the client expects that or not."""
    campaign_id = await shared_desk.campaign(**{**PENDING, "filter": NOBODY})
    assert await refused(shared_desk, SEND, id=campaign_id) == EMPTY
    assert await refused(shared_desk, SEND, id=campaign_id, expected=0) == EMPTY
    changed = {"RECIPIENT_COUNT_CHANGED expectedRecipientCount"}
    assert await refused(shared_desk, SEND, id=campaign_id, expected=5) == EMPTY | changed
    # Who agrees to letters alone is not reached by e-mail, and the other way round.
    letter = await shared_desk.campaign(**{**PENDING, "type": "LETTER"})
    assert await refused(shared_desk, SEND, id=letter) == EMPTY


async def test_the_count_is_of_the_moment(shared_desk: Desk) -> None:
    """What is expected is held against the contacts as they are when the campaign is sent, not as they were seen."""
    word = [{**FILTER[0], "value": "Moment"}]
    await crowd(shared_desk, last_name="Moment", email="first@example.com")
    campaign_id = await shared_desk.campaign(**{**PENDING, "filter": word})
    seen = (await shared_desk.ask("query ($id: ID!) { campaign(id: $id) { audience { count } } }", id=campaign_id)).data
    count = seen["campaign"]["audience"]["count"]
    await crowd(shared_desk, last_name="Moment", email="second@example.com")
    changed = {"RECIPIENT_COUNT_CHANGED expectedRecipientCount"}
    assert await refused(shared_desk, SEND, id=campaign_id, expected=count) == changed
    assert (await shared_desk.made(SEND, id=campaign_id, expected=count, tolerance=1))["status"] == "SENDING"


async def test_ten_send_at_once(shared_desk: Desk) -> None:
    """Of ten who send a campaign at once one does, and it has one job."""
    campaign_id = await shared_desk.campaign(**PENDING)
    answers: list[set[str]] = []

    async def send() -> None:
        answers.append(broken_rules(await shared_desk.payload(SEND, id=campaign_id, expected=REACHED)))

    async with anyio.create_task_group() as tasks, shared_desk.until_waiting(campaign_id, 3):
        for _ in range(10):
            tasks.start_soon(send)
    assert sorted(answers, key=len) == [set(), *[{"ALREADY_SENT id"}] * 9]
    assert await jobs(shared_desk, campaign_id) == [True]


async def test_created_to_be_sent_at_once(shared_desk: Desk) -> None:
    """A campaign that is made to be sent at once is told to a worker; one that reaches nobody is not made."""
    given = but(EMAIL, {"filter": {"json": FILTER}, "executeNow": True})
    made = await shared_desk.made(CREATE, input=given)
    assert made["status"] == "SENDING"
    assert await jobs(shared_desk, made["databaseId"]) == [True]
    for changes in ({"executeNow": False}, {"approved": False}):
        later = await shared_desk.made(CREATE, input=but(given, changes))
        assert await jobs(shared_desk, later["databaseId"]) == []
    for dry_run in (False, True):
        empty = but(given, {"filter": {"json": NOBODY}})
        assert await refused(shared_desk, CREATE, input=empty, dryRun=dry_run) == {"EMPTY_AUDIENCE input.filter"}


async def test_nothing_is_told_of_what_waits(shared_desk: Desk) -> None:
    """A campaign that is scheduled or approved has no job: its time is seen to when it comes."""
    campaign_id = await shared_desk.campaign(**{**PENDING, "status": "DRAFT", "approved": False, "send_at": None})
    await shared_desk.made(SCHEDULE, id=campaign_id, sendAt=SEND_AT)
    assert (await shared_desk.made(APPROVE, id=campaign_id))["status"] == "PENDING"
    await shared_desk.made(PAUSE, id=campaign_id)
    await shared_desk.made(RESUME, id=campaign_id)
    assert await jobs(shared_desk, campaign_id) == []


async def test_resume(shared_desk: Desk) -> None:
    """A campaign that was stopped on its way goes on at once, whatever it waited for, or whoever has taken its job."""
    for waiting in (True, False):
        campaign_id = await shared_desk.campaign(**{**PENDING, "status": "SENDING"})
        if waiting:
            await shared_desk.add(Job, kind="CAMPAIGN", subject_id=campaign_id, due_at=NEVER_EXPIRES)
        await shared_desk.made(PAUSE, id=campaign_id)
        assert await jobs(shared_desk, campaign_id) == [False] * waiting
        assert (await shared_desk.made(RESUME, id=campaign_id))["status"] == "SENDING"
        assert await jobs(shared_desk, campaign_id) == [True]


async def test_pause(shared_desk: Desk) -> None:
    """While a campaign is paused the time does not run in which its messages are tried."""
    campaign_id = await shared_desk.campaign(**{**PENDING, "status": "SENDING"})
    await shared_desk.add(CampaignDelivery, campaign_id=campaign_id, deadline_at=NEVER_EXPIRES)
    await shared_desk.made(PAUSE, id=campaign_id)
    row = "SELECT deadline_at FROM campaign_deliveries WHERE campaign_id::text = :id"
    assert await shared_desk.run(row, id=campaign_id) == [(None,)]


async def test_cancel(shared_desk: Desk) -> None:
    """Nobody is written to any more; what went out, or may have, stays as it is, and the campaign is not sent again."""
    campaign_id = await shared_desk.campaign(**{**PENDING, "status": "SENDING", "sent_at": NOW})
    await shared_desk.add(CampaignDelivery, campaign_id=campaign_id, recipients=10)
    await recipients(shared_desk, campaign_id, *DeliveryStatus)
    made = await shared_desk.made(CANCEL, id=campaign_id)
    assert made["status"] == "CANCELED"
    after = ["CANCELED" if status in ("QUEUED", "DEFERRED") else str(status) for status in DeliveryStatus]
    assert await statuses(shared_desk, campaign_id) == after
    reports = "SELECT status FROM delivery_reports WHERE campaign_id::text = :id"
    assert await shared_desk.run(reports, id=campaign_id) == [("CANCELED",)] * 2
    for document in (SEND, UPDATE, DELETE):
        more: Input = {"input": {"name": "x"}} if document == UPDATE else {}
        assert await refused(shared_desk, document, id=campaign_id, **more) == {"ALREADY_SENT id"}
    assert await refused(shared_desk, RESEND, id=campaign_id) == {"WRONG_STATUS campaignId"}


@pytest.mark.parametrize("status", ["CANCELED", "FAILED"])
async def test_once_more_when_nothing_went_out(shared_desk: Desk, status: str) -> None:
    """What was stopped, or failed, before anything went out can be sent again, or deleted with all that it left."""
    for document in (SEND, DELETE):
        before = await shared_desk.tables()
        campaign_id = await shared_desk.campaign(**{**PENDING, "status": status})
        own: Input = {"campaign_id": campaign_id}
        await shared_desk.add(CampaignDelivery, **own, problem_code="EMPTY_AUDIENCE", problem_message="Nobody.")
        await recipients(shared_desk, campaign_id, "FAILED", "CANCELED")
        key = await shared_desk.add(Recipient, **own)
        times: Input = {"start_at": NOW, "end_at": NEVER_EXPIRES}
        user_id = shared_desk.acme.admin
        await shared_desk.add(CampaignTask, **own, **times, recipient_id=key, user_id=user_id)
        await shared_desk.add(Notification, **own, user_id=user_id, kind="CAMPAIGN_FAILED")
        assert broken_rules(await shared_desk.payload(document, id=campaign_id)) == set()
        if document == DELETE:
            assert await shared_desk.tables() == before
        else:
            assert await status_of(shared_desk, campaign_id) == "SENDING"


@pytest.mark.parametrize("status", ["SENDING", "COMPLETED", "FAILED"])
async def test_resend_unknown(shared_desk: Desk, status: str) -> None:
    """What is unknown is queued again, and nothing else; the campaign is on its way, and a worker is told."""
    values: Input = {"status": status, "sent_at": NOW, "total_sent": 7, "version": 4}
    campaign_id = await shared_desk.campaign("member", **{**PENDING, **values})
    ended: Input = {"ended_at": NOW, "problem_code": "NOBODY_REACHED", "problem_message": "Nobody."}
    await shared_desk.add(CampaignDelivery, campaign_id=campaign_id, recipients=11, **ended)
    await recipients(shared_desk, campaign_id, *DeliveryStatus, "UNKNOWN")
    payload = await shared_desk.payload(RESEND, "member", id=campaign_id)
    assert payload["userErrors"] == []
    assert payload["queued"] == 2
    shown = {name: payload["campaign"][name] for name in ("status", "version", "totalSent")}
    assert shown == {"status": "SENDING", "version": 5, "totalSent": 7}
    after = ["QUEUED" if status == "UNKNOWN" else str(status) for status in (*DeliveryStatus, "UNKNOWN")]
    assert await statuses(shared_desk, campaign_id) == after
    row = "SELECT ended_at, problem_code, problem_message FROM campaign_deliveries WHERE campaign_id::text = :id"
    assert await shared_desk.run(row, id=campaign_id) == [(None, None, None)]
    assert await jobs(shared_desk, campaign_id) == [True]
    assert await refused(shared_desk, RESEND, "member", id=campaign_id) == {"NOTHING_UNKNOWN campaignId"}


async def test_resend_of_what_is_paused(shared_desk: Desk) -> None:
    """A campaign that is paused stays so; its unclear messages go again when it is resumed."""
    campaign_id = await shared_desk.campaign(**{**PENDING, "status": "SENDING", "paused_at": NOW})
    await recipients(shared_desk, campaign_id, "UNKNOWN")
    assert (await shared_desk.made(RESEND, id=campaign_id))["pausedAt"] is not None
    assert await statuses(shared_desk, campaign_id) == ["QUEUED"]


async def test_ten_resend_at_once(shared_desk: Desk) -> None:
    """Of ten who have the unclear messages go again at once one does: each is queued once, and nine are told so."""
    campaign_id = await shared_desk.campaign(**{**PENDING, "status": "COMPLETED", "sent_at": NOW})
    await recipients(shared_desk, campaign_id, *["UNKNOWN"] * 5)
    answers: list[Any] = []

    async def resend() -> None:
        answers.append(await shared_desk.payload(RESEND, id=campaign_id))

    async with anyio.create_task_group() as tasks, shared_desk.until_waiting(campaign_id, 3):
        for _ in range(10):
            tasks.start_soon(resend)
    assert sorted(answer["queued"] for answer in answers) == [*[0] * 9, 5]
    refusals = [broken_rules(answer) for answer in answers if not answer["queued"]]
    assert refusals == [{"NOTHING_UNKNOWN campaignId"}] * 9
    assert (await shown(shared_desk, campaign_id))["version"] == 2
    reports = "SELECT count(*) FROM delivery_reports WHERE campaign_id::text = :id"
    assert await shared_desk.run(reports, id=campaign_id) == [(5,)]


async def test_other_companies(shared_desk: Desk) -> None:
    """Another company's campaign is sent, or sent again, by nobody here: it looks like what is not there."""
    their_id = shared_desk.names["$their_global_"]
    await shared_desk.run("UPDATE campaigns SET status = 'COMPLETED' WHERE id::text = :id", id=their_id)
    await shared_desk.add(Recipient, shared_desk.globex, campaign_id=their_id, status="UNKNOWN")
    assert await refused(shared_desk, RESEND, id=their_id) == {"NOT_FOUND campaignId"}
    assert await refused(shared_desk, SEND, id=their_id, expected=REACHED) == {"NOT_FOUND id"}
    assert await jobs(shared_desk, their_id, shared_desk.globex) == []


async def without_template(desk: Desk, **values: object) -> str:
    """The id of a campaign whose template has been deleted."""
    key = await desk.add(Template, user_id=desk.acme.admin)
    campaign_id = await desk.campaign(**{**PENDING, "status": "DRAFT", "template_id": key, **values})
    assert (await desk.payload(DELETE_TEMPLATE, id=str(key)))["userErrors"] == []
    return campaign_id


async def shown(desk: Desk, campaign_id: str) -> Any:
    return (await desk.ask(SHOWN, id=campaign_id)).data["campaign"]


async def test_a_template_that_was_deleted(shared_desk: Desk) -> None:
    """A campaign that lost its template says so, and is neither approved, scheduled nor sent, as `actions` say."""
    draft = await without_template(shared_desk, approved=False)
    assert await shown(shared_desk, draft) == {"templateDeleted": True, "version": 2, "template": None}
    assert await refused(shared_desk, APPROVE, id=draft) == GONE
    approved = await without_template(shared_desk)
    assert await refused(shared_desk, SEND, id=approved) == GONE
    assert await refused(shared_desk, SCHEDULE, id=approved, sendAt=SEND_AT) == GONE
    for given in ({"approved": True, "sendAt": SEND_AT}, {"sendAt": SEND_AT, "approved": True, "name": "x"}):
        assert await refused(shared_desk, UPDATE, id=draft, input=given) == {"TEMPLATE_DELETED input.templateId"}
    found = (await shared_desk.ask(ACTIONS, id=approved)).data["campaign"]["actions"]
    reasons = {state["action"]: broken_rules({"userErrors": state["reasons"]}) for state in found}
    assert {name for name, why in reasons.items() if why == GONE} == {"SEND", "SCHEDULE"}


async def test_what_can_be_done_without_the_template(shared_desk: Desk) -> None:
    """A draft that lost its template can be given a time and another name, and be copied; its copy has lost nothing."""
    draft = await without_template(shared_desk, approved=False)
    await shared_desk.made(SCHEDULE, id=draft, sendAt=SEND_AT)
    await shared_desk.made(UPDATE, id=draft, input={"name": "Other"})
    assert (await shown(shared_desk, draft))["templateDeleted"] is True
    copy = await shared_desk.made(COPY, id=draft)
    assert await shown(shared_desk, copy["id"]) == {"templateDeleted": False, "version": 1, "template": None}


@pytest.mark.parametrize(("given", "title"), [("$email_template", {"title": "Plain"}), (None, None)])
async def test_another_template(shared_desk: Desk, given: str | None, title: Input | None) -> None:
    """Whoever chooses another template, or none, has seen that it is gone: the campaign can be sent then."""
    campaign_id = await without_template(shared_desk)
    await shared_desk.made(UPDATE, id=campaign_id, input={"templateId": given})
    assert await shown(shared_desk, campaign_id) == {"templateDeleted": False, "version": 3, "template": title}
    assert (await shared_desk.made(SEND, id=campaign_id))["status"] == "SENDING"


async def test_telephone(shared_desk: Desk) -> None:
    """A campaign by telephone is counted by whom calls reach."""
    for number in range(2):
        phone = {"mobile_phone_number": f"+45 1234567{number}", "call_consent_given": True}
        await crowd(shared_desk, last_name="Caller", email=None, email_consent_given=None, **phone)
    given = {"type": "TELEPHONE", "filter": {"json": [{**FILTER[0], "value": "Caller"}]}, "task": TASK}
    made = await shared_desk.made(CREATE, input=but(EMAIL, given))
    changed = {"RECIPIENT_COUNT_CHANGED expectedRecipientCount"}
    assert await refused(shared_desk, SEND, id=made["id"], expected=1) == changed
    assert (await shared_desk.made(SEND, id=made["id"], expected=2))["status"] == "SENDING"
