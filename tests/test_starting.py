"""Is whom a campaign goes to settled when it begins, and is it said why one cannot begin?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import structlog
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.delivery import plan, recipients
from jobs.delivery.campaigns import locked
from jobs.delivery.feed import DELETED, WITHDRAWN
from jobs.queue import Claim
from jobs.transport import FixedTransport, Outcome
from store.delivery import cancel_waiting
from store.long_statements import rows_in_time
from store.models import JobKind
from store.sql_types import AnyRow, AnySelect
from tests.conftest import World
from tests.mail_server import ACCEPTED, MailServer, mail_server
from tests.post import until
from tests.received_mails import parsed, part_of
from tests.sending import EVERYBODY, Sending, at_work, sending_of

pytestmark = pytest.mark.anyio

AWAY = FixedTransport(Outcome.REFUSED, "Nobody may sign in.")
ADD = """
    INSERT INTO contacts (company_id, first_name, email, country, email_consent_given, created_at)
    VALUES (:company_id, :name, :email, :country, :consent, now() - make_interval(hours => :age))
"""
NOTIFICATIONS = "SELECT user_id, kind FROM notifications WHERE campaign_id = :id"
NOTICES = (
    "SELECT count(*) FROM jobs j JOIN notifications n ON n.id = j.subject_id"
    " WHERE j.kind = 'NOTICE' AND n.campaign_id = :id"
)
ADDRESSES = "SELECT address, status FROM recipients WHERE campaign_id = :id ORDER BY id"
FOR_CARS = [{"field": "contact.custom_fields.cars", "operator": "gt", "value": 1}]
# By the company's own domain: the sender that a campaign has, and the one that its mails have.
SENDERS: dict[str | None, dict[str, str]] = {
    None: {
        "news@acme.campaigns.example": "news@acme.campaigns.example",
        "News@ACME.campaigns.example": "News@acme.campaigns.example",
        "news@elsewhere.example": "noreply@acme.campaigns.example",
        "news@mail.acme.campaigns.example": "noreply@acme.campaigns.example",
        "two words@acme.campaigns.example": "noreply@acme.campaigns.example",
    },
    "mail.acme.example": {
        "news@acme.campaigns.example": "noreply@mail.acme.example",
        "news@mail.acme.example": "news@mail.acme.example",
    },
    "bücher.example": {
        "news@xn--bcher-kva.example": "news@xn--bcher-kva.example",
        "news@bücher.example": "news@xn--bcher-kva.example",
        "news@acme.campaigns.example": "noreply@xn--bcher-kva.example",
    },
}
# What is wrong with a campaign, and what is said.
UNSENDABLE: dict[str, tuple[dict[str, object], str]] = {
    "unapproved": ({"approved": False}, "NOT_APPROVED"),
    "no filter": ({"filter": None}, "NO_FILTER"),
    "empty filter": ({"filter": []}, "NO_FILTER"),
    "unknown field": ({"filter": [{**FOR_CARS[0], "field": "contact.custom_fields.boats"}]}, "BROKEN_FILTER"),
    "no subject": ({"message_subject": None}, "NO_CONTENT"),
    "no content": ({"message_content": ""}, "NO_CONTENT"),
    "no sender": ({"message_sender": None}, "NO_CONTENT"),
    "letter without content": ({"type": "LETTER", "message_content": None}, "NO_CONTENT"),
    "template deleted": ({"template_deleted": True}, "TEMPLATE_DELETED"),
    "nobody selected": ({"filter": [{**EVERYBODY[0], "value": "Nowhere"}]}, "EMPTY_AUDIENCE"),
}
# What is done to the company before it begins.
COMPANY_CHANGES = {
    "NO_DOMAIN": "DELETE FROM campaign_settings WHERE company_id = :company_id",
    "BROKEN_FILTER": "DELETE FROM fields WHERE company_id = :company_id",
    "EMPTY_AUDIENCE": "UPDATE contacts SET email_consent_given = false WHERE company_id = :company_id",
}


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        yield found


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with mail_server() as found:
        yield found


async def add(sending: Sending, email: str | None, *, consent: bool | None = True, **values: object) -> None:
    """A contact that is younger than those before."""
    age = 1000 - await sending.value("SELECT count(*) FROM contacts")
    row = {"company_id": sending.company_id, "name": "Ada", "email": email, "country": "Audience", "age": age}
    await sending.change(ADD, consent=consent, **{**row, **values})


async def freeze_audience(sending: Sending, **values: object) -> UUID:
    """Begins a campaign of which nothing goes out yet."""
    id = await sending.send(**values)

    async def waits() -> bool:
        code: str | None = (await sending.row(id)).problem_code
        return code == "MAIL_SERVER_UNAVAILABLE"

    async with at_work(sending.url, AWAY):
        await until(waits)
    return id


async def go_on(sending: Sending, id: UUID, mails: MailServer) -> Any:
    """Has the rest be done."""
    await sending.carry_out(id)
    async with at_work(sending.url, mails.url):
        return await sending.end_of(id)


async def send_again(sending: Sending, id: UUID, mails: MailServer) -> Any:
    await sending.change("UPDATE campaigns SET status = 'SENDING' WHERE id = :id", id=id)
    return await go_on(sending, id, mails)


async def cancel(sending: Sending, id: UUID) -> None:
    async with sending.database.writing(sending.company_id) as session:
        await session.execute(text("UPDATE campaigns SET status = 'CANCELED' WHERE id = :id"), {"id": id})
        await cancel_waiting(session, sending.company_id, id)


def recipients_of(mails: MailServer) -> list[str]:
    return sorted(received.recipient for received in mails.received)


async def test_audience(sending: Sending, mails: MailServer) -> None:
    """Those are written to whom the filter selects and who may and can be reached; the others are counted by reason."""
    await add(sending, "ada@customer.example")
    await add(sending, " Bob@Customer.example ")
    for duplicate in ("bob@customer.EXAMPLE", "BOB@customer.example"):
        await add(sending, duplicate)
    await add(sending, "never@customer.example", consent=None)
    await add(sending, "no@customer.example", consent=False)
    for unreachable in (None, "", "nobody"):
        await add(sending, unreachable)
    await add(sending, "Gone@example.com")  # as the small world's suppression has it
    await add(sending, "other@customer.example", country="Elsewhere")
    async with at_work(sending.url, mails.url):
        row = await sending.end_of(await sending.send())
    excluded = {
        "DUPLICATE_ADDRESS": 2,
        "CONSENT_MISSING": 1,
        "CONSENT_WITHDRAWN": 1,
        "NO_ADDRESS": 3,
        "SUPPRESSED": 1,
    }
    assert (row.status, row.recipients, row.total_sent, row.excluded) == ("COMPLETED", 2, 2, excluded)
    assert recipients_of(mails) == ["Bob@customer.example", "ada@customer.example"]
    found = await sending.rows(ADDRESSES, id=row.id)
    assert found == [("ada@customer.example", "SENT"), ("Bob@Customer.example", "SENT")]


async def test_one_statement(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contacts are read once when a campaign begins, so that nobody falls between its recipients and the excluded."""
    await sending.add_contacts(3)
    id = await sending.campaign()
    statements: list[str] = []

    def keep(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    async def kept(session: AsyncSession, statement: AnySelect) -> list[tuple[object, ...]]:
        statements.append(str(statement))
        return await rows_in_time(session, statement)

    event.listen(sending.database.engine.sync_engine, "before_cursor_execute", keep)
    monkeypatch.setattr(plan, "rows_in_time", kept)
    async with sending.database.writing(sending.company_id) as session:
        campaign = await locked(session, Claim(sending.company_id, 1, JobKind.CAMPAIGN, id, 1, 0))
        assert campaign is not None
        await plan.freeze(session, campaign, timedelta(hours=1))
    (reading,) = [statement for statement in statements if "contacts" in statement]
    assert "INSERT INTO recipients" in reading


async def test_changes_afterwards(sending: Sending, mails: MailServer) -> None:
    """Who comes later is not written to, whom the filter would not select any more is; but not whoever is gone or
    withdrew their consent.
    """
    await sending.add_contacts(6)
    id = await freeze_audience(sending)
    await sending.add_contacts(1, first=7)
    contact = "UPDATE contacts SET {} WHERE email = 'person{}@customer.example'"
    await sending.change(contact.format("country = 'Elsewhere'", 1))
    await sending.change(contact.format("email = 'elsewhere@customer.example', first_name = 'New'", 2))
    await sending.change("DELETE FROM contacts WHERE email = 'person3@customer.example'")
    await sending.change(contact.format("email_consent_given = false", 4))
    await sending.change(contact.format("email_consent_given = NULL", 5))
    row = await go_on(sending, id, mails)
    assert (row.status, row.recipients, row.total_sent, row.problem_code) == ("COMPLETED", 6, 3, None)
    assert recipients_of(mails) == [f"person{n}@customer.example" for n in (1, 2, 6)]
    statuses = ["SENT", "SENT", "FAILED", "FAILED", "FAILED", "SENT"]
    assert [status for _, status in sorted(await sending.rows(ADDRESSES, id=id))] == statuses
    reports = await sending.reports(id)
    assert (reports[("FAILED", DELETED)], reports[("FAILED", WITHDRAWN)], reports.total()) == (1, 2, 6)
    assert not await sending.value(
        "SELECT count(*) FROM recipients WHERE campaign_id = :id AND sent_at IS NOT NULL AND status <> 'SENT'", id=id
    )


@pytest.mark.parametrize("change", ["UPDATE contacts SET email_consent_given = false", "DELETE FROM contacts"])
async def test_nobody_is_left(sending: Sending, mails: MailServer, change: str) -> None:
    """When all are gone or withdrew their consent before anything went out, nobody was reached."""
    await sending.add_contacts(2)
    id = await freeze_audience(sending)
    await sending.change(f"{change} WHERE country = 'Audience'")
    row = await go_on(sending, id, mails)
    assert (row.status, row.problem_code, row.total_sent, row.sent_at) == ("FAILED", "NOBODY_REACHED", 0, None)
    assert not mails.received


async def test_unsendable(sending: Sending, mails: MailServer) -> None:
    """What cannot be sent has FAILED with a reason, its author is told once, and nothing goes out or is left."""
    await sending.add_contacts(2)
    await sending.change("UPDATE contacts SET letter_consent_given = true, address = 'Street 1', zip_code = '8000'")
    async with at_work(sending.url, mails.url):
        campaigns = {case: await sending.send(**values) for case, (values, _) in UNSENDABLE.items()}
        rows = {case: await sending.end_of(id) for case, id in campaigns.items()}
    assert {case: row.problem_code for case, row in rows.items()} == {
        case: code for case, (_, code) in UNSENDABLE.items()
    }
    for row in rows.values():
        assert (row.status, row.sent_at, row.total_sent or 0) == ("FAILED", None, 0)
        assert row.problem_message
        assert row.ended_at is not None
        assert await sending.rows(NOTIFICATIONS, id=row.id) == [(sending.user_id, "CAMPAIGN_FAILED")]
        assert not await sending.recipients(row.id)
    assert not mails.received


@pytest.mark.parametrize("code", COMPANY_CHANGES)
async def test_company_that_cannot_send(sending: Sending, mails: MailServer, code: str) -> None:
    """The same when it is the company that has changed since the campaign was approved."""
    await sending.add_contacts(2)
    await sending.change("UPDATE contacts SET custom_fields = '{\"cars\": 2}'")
    await sending.change(COMPANY_CHANGES[code], company_id=sending.company_id)
    async with at_work(sending.url, mails.url):
        row = await sending.end_of(await sending.send(filter=FOR_CARS if code == "BROKEN_FILTER" else EVERYBODY))
    assert (row.status, row.problem_code, row.recipients) == ("FAILED", code, 0)
    assert row.excluded == ({"CONSENT_WITHDRAWN": 2} if code == "EMPTY_AUDIENCE" else {})
    assert await sending.rows(NOTIFICATIONS, id=row.id) == [(sending.user_id, "CAMPAIGN_FAILED")]
    assert not mails.received


@pytest.mark.parametrize("wanted", [True, False])
async def test_author_is_told(sending: Sending, world: World, wanted: bool) -> None:
    """The author of a campaign, and nobody else, is told once that it was sent, and by mail if they want mails."""
    change = "UPDATE users SET email_notifications = :wanted WHERE id = :id"
    await sending.change(change, wanted=wanted, id=world.acme.member)
    await sending.add_contacts(2)
    async with mail_server() as mails, at_work(sending.url, mails.url), at_work(sending.url, mails.url):
        row = await sending.end_of(await sending.send(user_id=world.acme.member))
        assert await sending.rows(NOTIFICATIONS, id=row.id) == [(world.acme.member, "CAMPAIGN_COMPLETED")]
        # A second job finds that there is nothing left to do.
        await sending.carry_out(row.id)
        await sending.end_of(row.id)
    assert len(await sending.rows(NOTIFICATIONS, id=row.id)) == 1
    assert await sending.value(NOTICES, id=row.id) == int(wanted)
    assert len(mails.received) == 2


async def test_again_after_a_failure(sending: Sending, mails: MailServer) -> None:
    """A campaign that could not begin can be sent when that is put right; nothing stays of the first try."""
    async with at_work(sending.url, mails.url):
        failed = await sending.end_of(await sending.send())
    assert (failed.status, failed.problem_code, failed.recipients) == ("FAILED", "EMPTY_AUDIENCE", 0)
    await sending.add_contacts(3)
    await add(sending, "no@customer.example", consent=False)
    row = await send_again(sending, failed.id, mails)
    assert (row.status, row.problem_code, row.problem_message) == ("COMPLETED", None, None)
    assert (row.recipients, row.excluded, row.total_sent) == (3, {"CONSENT_WITHDRAWN": 1}, 3)
    assert row.started_at > failed.started_at
    assert len(mails.received) == 3


async def test_again_after_it_was_canceled(sending: Sending, mails: MailServer) -> None:
    """Of a campaign that was canceled before anything went out, the audience is settled anew."""
    await sending.add_contacts(2)
    id = await freeze_audience(sending)
    await cancel(sending, id)
    assert await sending.recipients(id) == {"CANCELED": 2}
    await sending.add_contacts(1, first=3)
    await sending.change("DELETE FROM contacts WHERE email = 'person1@customer.example'")
    row = await send_again(sending, id, mails)
    assert (row.status, row.recipients, row.total_sent) == ("COMPLETED", 2, 2)
    assert recipients_of(mails) == ["person2@customer.example", "person3@customer.example"]
    assert await sending.recipients(id) == {"SENT": 2}


async def test_what_went_out_stays(sending: Sending, mails: MailServer) -> None:
    """Recipients that were written to are never replaced, also when the worker was killed before the campaign's row
    told of them: nobody gets a second mail.
    """
    await sending.add_contacts(3)
    id = await freeze_audience(sending)
    went_out = "UPDATE recipients SET status = {}, attempt = 1 WHERE campaign_id = :id AND address LIKE :who"
    await sending.change(went_out.format("'SENT', sent_at = now()"), id=id, who="person1@%")
    await sending.change(went_out.format("'SENDING'"), id=id, who="person2@%")
    await cancel(sending, id)
    row = await send_again(sending, id, mails)
    assert (row.status, row.total_sent) == ("COMPLETED", 1)
    assert row.sent_at is not None
    assert not mails.received
    assert await sending.recipients(id) == {"SENT": 1, "UNKNOWN": 1, "CANCELED": 1}


async def test_template_is_frozen(sending: Sending, mails: MailServer) -> None:
    """What is done to the template after the campaign began changes none of its mails."""
    await sending.add_contacts(2)
    add_template = (
        "INSERT INTO templates (company_id, user_id, type, title, content, margin_top)"
        " VALUES (:company_id, :user_id, 'EMAIL', 'Old', '<h1>Old</h1>{{content}}', 12.5) RETURNING id"
    )
    own = {"company_id": sending.company_id, "user_id": sending.user_id}
    await sending.change(add_template, **own)
    template_id = await sending.value("SELECT max(id) FROM templates")
    id = await freeze_audience(sending, template_id=template_id)
    frozen = await sending.rows(
        "SELECT template_content, margin_top, margin_left FROM campaign_deliveries WHERE campaign_id = :id", id=id
    )
    assert frozen == [("<h1>Old</h1>{{content}}", 12.5, None)]
    await sending.change("UPDATE templates SET content = 'New' WHERE id = :id", id=template_id)
    await sending.change("UPDATE campaigns SET template_id = NULL, template_deleted = true WHERE id = :id", id=id)
    await sending.change("DELETE FROM templates WHERE id = :id", id=template_id)
    row = await go_on(sending, id, mails)
    assert (row.status, len(mails.received)) == ("COMPLETED", 2)
    for received in mails.received:
        assert "<h1>Old</h1><p>Dear First" in part_of(received.message, "html")


@pytest.mark.parametrize("domain", SENDERS)
async def test_sender(sending: Sending, mails: MailServer, domain: str | None) -> None:
    """Rule 14: mails come from the company's own domain, else from that of its slug; a sender elsewhere is not used."""
    await sending.change(
        "UPDATE campaign_settings SET domain = :domain WHERE company_id = :id", domain=domain, id=sending.company_id
    )
    await sending.add_contacts(1)
    async with at_work(sending.url, mails.url):
        campaigns = {sender: await sending.send(message_sender=sender) for sender in SENDERS[domain]}
        for id in campaigns.values():
            await sending.end_of(id)
    found = {}
    for received in mails.received:
        mail = parsed(received.message)
        address = mail["From"].addresses[0].addr_spec
        sending_domain = address.partition("@")[2]
        assert received.sender.endswith(f"@{sending_domain}")
        assert mail["Message-ID"].endswith(f"@{sending_domain}>")
        found[UUID(mail["Message-ID"].partition(".")[2].partition("@")[0])] = address
    assert found == {campaigns[sender]: expected for sender, expected in SENDERS[domain].items()}


async def test_contact_deleted_while_it_is_read(
    sending: Sending, mails: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contact that goes between the reading of the recipients and of what their mails say is no fault."""
    await sending.add_contacts(2)
    due = recipients.due

    async def due_before_the_deletion(session: AsyncSession, *given: Any, **named: Any) -> list[AnyRow]:
        found = await due(session, *given, **named)
        await sending.change("DELETE FROM contacts WHERE email = 'person1@customer.example'")
        return found

    monkeypatch.setattr(recipients, "due", due_before_the_deletion)
    with structlog.testing.capture_logs() as logs:
        async with at_work(sending.url, mails.url):
            row = await sending.end_of(await sending.send())
    assert (row.status, row.total_sent) == ("COMPLETED", 1)
    assert await sending.reports(row.id) == {("SENT", ACCEPTED): 1, ("FAILED", DELETED): 1}
    assert not [line for line in logs if line["event"] == "worker.failed"]
