"""What becomes of a campaign when people and contacts change what it is about at the very moment it is carried out?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from jobs.delivery import campaigns
from jobs.delivery.calls import LOOK_AGAIN, share_out_calls
from jobs.delivery.campaigns import locked
from jobs.delivery.feed import SUPPRESSED, WITHDRAWN
from jobs.delivery.plan import Plan, freeze, read_plan
from jobs.delivery.schedule import start_due
from jobs.queue import Claim
from jobs.transport import FixedTransport, Outcome
from store.database import owner_transaction
from store.delivery import cancel_waiting
from store.models import JobKind, SuppressionReason
from store.suppression import suppress
from tests.build import NOW
from tests.conftest import World
from tests.mail_server import ACCEPTED, mail_server
from tests.post import until
from tests.sending import Sending, at_work, sending_of

pytestmark = pytest.mark.anyio

PATIENCE = 20
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
STATUSES = "SELECT address, status FROM recipients WHERE campaign_id = :id ORDER BY id"
CALLABLE = (
    "UPDATE contacts SET call_consent_given = true, mobile_phone_number = '+45 ' || substr(first_name, 7),"
    " user_id = :user WHERE country = 'Audience'"
)
# No change of what a campaign is called "Cursed" goes through.
CURSE = (
    """
    CREATE FUNCTION curse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'cursed'; END $$
    """,
    "CREATE TRIGGER curse BEFORE UPDATE ON campaigns FOR EACH ROW WHEN (OLD.name = 'Cursed') EXECUTE FUNCTION curse()",
)


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        yield found


async def test_consent_withdrawn_at_the_last_moment(sending: Sending) -> None:
    """Who withdraws their consent when their recipient is already read, but not begun, gets no mail."""
    await sending.add_contacts(5)
    with anyio.fail_after(PATIENCE):
        async with mail_server(silent=True) as server, at_work(sending.url, server.url, connections=1):
            id = await sending.send()
            await server.until_received(1)
            rows = await sending.rows(STATUSES, id=id)
            assert [row.status for row in rows] == ["SENDING", *["QUEUED"] * 4]
            await sending.change(
                "UPDATE contacts SET email_consent_given = false WHERE email = :email", email=rows[2].address
            )
            server.open_for_answers.set()
            row = await sending.end_of(id)
    assert (row.status, row.total_sent) == ("COMPLETED", 4)
    assert rows[2].address not in {received.recipient for received in server.received}
    assert await sending.reports(id) == {("SENT", ACCEPTED): 4, ("FAILED", WITHDRAWN): 1}


async def test_suppressed_after_it_began(sending: Sending, world: World) -> None:
    """An address that is suppressed when the audience is settled, but not written to yet, gets no mail, however it is
    written; what another company suppresses does not count.
    """
    await sending.add_contacts(3)
    await sending.change("UPDATE contacts SET email = 'Person1@Customer.example' WHERE first_name = 'First 1'")
    away = FixedTransport(Outcome.REFUSED, "Nobody may sign in.")
    with anyio.fail_after(PATIENCE):
        async with at_work(sending.url, away):
            id = await sending.send()

            async def waits() -> bool:
                return bool((await sending.row(id)).problem_code == "MAIL_SERVER_UNAVAILABLE")

            await until(waits)
        for company_id, number in ((world.acme.id, 1), (world.globex.id, 2)):
            async with sending.database.writing(company_id) as session:
                await suppress(
                    session, company_id, [f"person{number}@customer.example"], SuppressionReason.BOUNCED, None
                )
        async with mail_server() as server, at_work(sending.url, server.url):
            await sending.carry_out(id)
            row = await sending.end_of(id)
    assert (row.status, row.total_sent) == ("COMPLETED", 2)
    assert {each.recipient for each in server.received} == {"person2@customer.example", "person3@customer.example"}
    assert await sending.reports(id) == {("SENT", ACCEPTED): 2, ("FAILED", SUPPRESSED): 1}


async def test_contact_deleted_while_the_audience_is_settled(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a contact goes at the moment it would become a recipient, the audience is settled anew: that is no fault."""
    monkeypatch.setattr(campaigns, "SOON", 0.05)
    await sending.add_contacts(3)
    with anyio.fail_after(PATIENCE), capture_logs() as logs:
        async with mail_server() as server, at_work(sending.url, server.url):
            async with owner_transaction(sending.url) as rival:
                await rival.execute(text("DELETE FROM contacts WHERE first_name = 'First 1'"))
                id = await sending.send()
                await until(lambda: sending.value(WAITING))
            row = await sending.end_of(id)
    assert (row.status, row.recipients, row.total_sent) == ("COMPLETED", 2, 2)
    assert {each.recipient for each in server.received} == {"person2@customer.example", "person3@customer.example"}
    assert [line for line in logs if line["event"] == "worker.failed"] == []


async def calls_to_make(sending: Sending, world: World) -> Plan:
    """A campaign by telephone whose audience is settled, and whose tasks are to be made now."""
    await sending.add_contacts(3)
    await sending.change(CALLABLE, user=world.acme.member)
    id = await sending.campaign(
        type="TELEPHONE",
        task_distribution_strategy="RESPONSIBLE_USER",
        task_relations_path_id=world.acme.rows["path"],
        task_start_at=NOW,
        task_end_at=NOW + timedelta(days=1),
    )
    async with sending.database.writing(sending.company_id) as session:
        campaign = await locked(session, Claim(sending.company_id, 1, JobKind.CAMPAIGN, id, 1, 0))
        assert campaign is not None
        await freeze(session, campaign, timedelta(hours=1))
        return await read_plan(session, sending.company_id, id)


async def test_calls_of_a_campaign_that_is_being_canceled(sending: Sending, world: World) -> None:
    """No call is given to anybody when the campaign is canceled at the very moment at which they are shared out."""
    plan = await calls_to_make(sending, world)
    waits: list[float | None] = []

    async def share_out() -> None:
        waits.append(await share_out_calls(sending.database, plan))

    canceled = text("UPDATE campaigns SET status = 'CANCELED' WHERE id = :id")
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks, sending.database.writing(sending.company_id) as session:
            await session.execute(canceled, {"id": plan.campaign_id})
            await cancel_waiting(session, sending.company_id, plan.campaign_id)
            tasks.start_soon(share_out)
            await until(lambda: sending.value(WAITING))
    assert waits == [LOOK_AGAIN]
    assert not await sending.value("SELECT count(*) FROM campaign_tasks WHERE campaign_id = :id", id=plan.campaign_id)
    assert await sending.recipients(plan.campaign_id) == {"CANCELED": 3}


async def test_one_that_cannot_begin(sending: Sending) -> None:
    """A campaign whose beginning fails holds up no other that is due; it begins when the fault is gone."""
    due = "UPDATE campaigns SET send_at = now() - make_interval(mins => :minutes) WHERE id = :id"
    names = ("First", "Cursed", "Last")
    first, cursed, last = [await sending.campaign(name=name, status="PENDING") for name in names]
    for minutes, id in ((3, first), (2, cursed), (1, last)):
        await sending.change(due, minutes=minutes, id=id)
    for statement in CURSE:
        await sending.change(statement)
    with capture_logs() as logs:
        await start_due(sending.database)
    assert [(await sending.row(id)).status for id in (first, cursed, last)] == ["SENDING", "PENDING", "SENDING"]
    assert [line["event"] for line in logs] == ["worker.failed"]
    await sending.change("DROP TRIGGER curse ON campaigns")
    await start_due(sending.database)
    assert (await sending.row(cursed)).status == "SENDING"
    assert await sending.jobs() == 3
