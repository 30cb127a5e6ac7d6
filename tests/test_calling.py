"""Is a campaign by telephone carried out: a task of a user for everybody, and its end written down?"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from jobs.delivery.calls import NO_USER
from jobs.transport import NO_SERVER
from tests.build import NOW
from tests.conftest import World
from tests.sending import Sending, at_work, sending_of

pytestmark = pytest.mark.anyio

TASKS = (
    "SELECT t.user_id, t.start_at, t.end_at, t.done_at, c.first_name FROM campaign_tasks t"
    " JOIN contacts c ON c.id = t.contact_id WHERE t.campaign_id = :id ORDER BY t.recipient_id"
)
NOTIFICATIONS = "SELECT user_id, kind FROM notifications WHERE campaign_id = :id"
CALLABLE = (
    "UPDATE contacts SET call_consent_given = true, mobile_phone_number = '+45 ' || substr(first_name, 7)"
    " WHERE country = 'Audience'"
)


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        yield found


async def carried_out(sending: Sending, world: World, strategy: str | None, *users: int) -> Any:
    """The campaign's row at its end; a mail server is not needed."""
    values: dict[str, object] = {}
    if strategy is not None:
        values = {
            "task_distribution_strategy": strategy,
            "task_relations_path_id": world.acme.rows["path"],
            "task_start_at": NOW + timedelta(1),
            "task_end_at": NOW + timedelta(2),
        }
    id = await sending.campaign(type="TELEPHONE", message_subject=None, message_content=None, **values)
    for position, user_id in enumerate(users):
        await sending.change(
            "INSERT INTO campaign_task_users (company_id, campaign_id, user_id, position)"
            " VALUES (:company, :id, :user, :position)",
            company=sending.company_id,
            id=id,
            user=user_id,
            position=position,
        )
    await sending.carry_out(id)
    async with at_work(sending.url, NO_SERVER):
        return await sending.end_of(id)


async def test_calls_are_shared_out(sending: Sending, world: World) -> None:
    """Everybody who may be called becomes a task of the users in turn, in the campaign's window."""
    await sending.add_contacts(5)
    await sending.change(CALLABLE)
    await sending.change("UPDATE contacts SET call_consent_given = false WHERE first_name = 'First 5'")
    row = await carried_out(sending, world, "DISTRIBUTE", world.acme.member, world.acme.manager)
    assert (row.status, row.total_sent, row.recipients, row.problem_code) == ("COMPLETED", 4, 4, None)
    assert row.sent_at is not None
    assert row.excluded == {"CONSENT_WITHDRAWN": 1}
    tasks = await sending.rows(TASKS, id=row.id)
    assert [task.user_id for task in tasks] == [world.acme.member, world.acme.manager] * 2
    assert {(task.start_at, task.end_at, task.done_at) for task in tasks} == {
        (NOW + timedelta(1), NOW + timedelta(2), None)
    }
    assert {task.first_name for task in tasks} == {f"First {n}" for n in range(1, 5)}
    assert await sending.recipients(row.id) == {"SENT": 4}
    assert await sending.reports(row.id) == {("SENT", None): 4}
    numbers = await sending.rows("SELECT address FROM recipients WHERE campaign_id = :id", id=row.id)
    assert {each.address for each in numbers} == {f"+45{n}" for n in range(1, 5)}
    assert await sending.rows(NOTIFICATIONS, id=row.id) == [(sending.user_id, "CAMPAIGN_COMPLETED")]


async def test_responsible_users(sending: Sending, world: World) -> None:
    """Each contact is called by their own user, and by the given ones in turn if they have none."""
    await sending.add_contacts(4)
    await sending.change(CALLABLE)
    own_user = "UPDATE contacts SET user_id = :user WHERE first_name IN ('First 1', 'First 2')"
    await sending.change(own_user, user=world.acme.admin)
    row = await carried_out(sending, world, "RESPONSIBLE_USER", world.acme.member, world.acme.manager)
    assert (row.status, row.total_sent) == ("COMPLETED", 4)
    users = {task.first_name: task.user_id for task in await sending.rows(TASKS, id=row.id)}
    assert users["First 1"] == users["First 2"] == world.acme.admin
    assert {users["First 3"], users["First 4"]} == {world.acme.member, world.acme.manager}


async def test_some_have_no_user(sending: Sending, world: World) -> None:
    """Who has no user, where none is given, has FAILED with a reason; the others are called."""
    await sending.add_contacts(3)
    await sending.change(CALLABLE)
    own_user = "UPDATE contacts SET user_id = :user WHERE first_name = 'First 1'"
    await sending.change(own_user, user=world.acme.admin)
    row = await carried_out(sending, world, "RESPONSIBLE_USER")
    assert (row.status, row.total_sent, row.problem_code) == ("COMPLETED", 1, None)
    assert await sending.reports(row.id) == {("SENT", None): 1, ("FAILED", NO_USER): 2}


@pytest.mark.parametrize("strategy", ["DISTRIBUTE", None])
async def test_nobody_can_call(sending: Sending, world: World, strategy: str | None) -> None:
    """A campaign without users, or without a task at all, reaches nobody and says so."""
    await sending.add_contacts(2)
    await sending.change(CALLABLE)
    row = await carried_out(sending, world, strategy)
    assert (row.status, row.problem_code, row.total_sent, row.sent_at) == ("FAILED", "NOBODY_REACHED", 0, None)
    assert row.problem_message
    assert not await sending.rows(TASKS, id=row.id)
    assert await sending.reports(row.id) == {("FAILED", NO_USER): 2}
    assert await sending.rows(NOTIFICATIONS, id=row.id) == [(sending.user_id, "CAMPAIGN_FAILED")]


async def test_many_calls(sending: Sending, world: World) -> None:
    """A thousand calls are shared out evenly; doing the job again makes no more of them."""
    await sending.add_contacts(1000)
    await sending.change(CALLABLE)
    users = (world.acme.member, world.acme.manager, world.acme.admin)
    row = await carried_out(sending, world, "DISTRIBUTE", *users)
    await sending.change("UPDATE campaigns SET status = 'SENDING' WHERE id = :id", id=row.id)
    async with at_work(sending.url, NO_SERVER):
        await sending.carry_out(row.id)
        again = await sending.end_of(row.id)
    assert (again.status, again.total_sent, again.sent_at) == ("COMPLETED", 1000, row.sent_at)
    counts = Counter(task.user_id for task in await sending.rows(TASKS, id=row.id))
    assert sorted(counts.values()) == [333, 333, 334]
