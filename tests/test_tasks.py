"""Are a campaign's calls shared out, shown and ticked off as they should be?"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from resolvers.global_ids import encode
from store.database import Database, owner_transaction
from store.models import Campaign, CampaignTask, CampaignTaskUser, Contact, Recipient, User
from store.tasks import make_tasks
from tests.build import NEVER_EXPIRES, NOW, Builder, TestCompany
from tests.client import Gateway
from tests.conftest import World
from tests.watching import stand_of

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 30
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WINDOW = {"task_start_at": NOW + timedelta(1), "task_end_at": NOW + timedelta(2)}
SHARED_OUT = text(
    "SELECT recipient_id, contact_id, user_id, start_at, end_at FROM campaign_tasks "
    "WHERE campaign_id = :campaign ORDER BY recipient_id"
)
MANY_RECIPIENTS = text(
    "INSERT INTO recipients (company_id, campaign_id, contact_id) SELECT company_id, :campaign, id FROM contacts "
    "WHERE company_id = :company"
)
MANY_CONTACTS = text(
    "INSERT INTO contacts (company_id, first_name) SELECT :company, n::text FROM generate_series(1, 10000) n"
)


@pytest.fixture
async def database(world: World) -> AsyncIterator[Database]:
    database = Database(world.url)
    yield database
    await database.close()


async def calling(build: Builder, company: TestCompany, strategy: str, users: Sequence[int]) -> UUID:
    """A campaign by telephone whose tasks go to these users in turn."""
    own = {"company_id": company.id}
    task = {"task_distribution_strategy": strategy, "task_relations_path_id": company.rows["path"], **WINDOW}
    campaign: UUID = await build.add(Campaign, **own, user_id=company.admin, type="TELEPHONE", status="SENDING", **task)
    for position, user in enumerate(users):
        await build.add(CampaignTaskUser, **own, campaign_id=campaign, user_id=user, position=position)
    return campaign


async def waiting(build: Builder, company: TestCompany, campaign: UUID, users: Sequence[int | None]) -> list[int]:
    """Recipients whose contacts have these users."""
    own = {"company_id": company.id}
    contacts = [await build.add(Contact, **own, user_id=user) for user in users]
    return [await build.add(Recipient, **own, campaign_id=campaign, contact_id=contact) for contact in contacts]


async def made(database: Database, company: TestCompany, campaign: UUID) -> int:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with database.writing(company.id) as session:
            return await make_tasks(session, company.id, campaign)


async def users_of_tasks(connection: AsyncConnection, campaign: UUID) -> dict[int, int]:
    """Who calls, by recipient."""
    return {row.recipient_id: row.user_id for row in await connection.execute(SHARED_OUT, {"campaign": campaign})}


async def test_tasks_in_turn(world: World, database: Database) -> None:
    """DISTRIBUTE: the given users in their order take turns over the recipients that wait, by their ids."""
    acme = world.acme
    users = [acme.member, acme.admin, acme.manager]
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        campaign = await calling(build, acme, "DISTRIBUTE", users)
        recipients = await waiting(build, acme, campaign, [acme.admin] * 7)
        await build.add(
            Recipient, company_id=acme.id, campaign_id=campaign, contact_id=acme.rows["contact"], status="FAILED"
        )
    assert await made(database, acme, campaign) == 7
    async with owner_transaction(world.url) as connection:
        assert await users_of_tasks(connection, campaign) == {
            recipient: users[place % 3] for place, recipient in enumerate(recipients)
        }
        rows = (await connection.execute(SHARED_OUT, {"campaign": campaign})).all()
        assert {(row.start_at, row.end_at) for row in rows} == {tuple(WINDOW.values())}
        contacts = await connection.execute(
            text("SELECT contact_id FROM recipients WHERE status = 'QUEUED' AND campaign_id = :id ORDER BY id"),
            {"id": campaign},
        )
        assert [row.contact_id for row in rows] == list(contacts.scalars())


async def test_tasks_of_the_contacts_own_users(world: World, database: Database) -> None:
    """RESPONSIBLE_USER: each contact's own user, whoever is given; the given ones take turns over the others alone."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        theirs = await build.add(User, company_id=acme.id, email="theirs@example.com")
        campaign = await calling(build, acme, "RESPONSIBLE_USER", [acme.manager, acme.member])
        recipients = await waiting(build, acme, campaign, [theirs, None, acme.admin, None, theirs, None])
    assert await made(database, acme, campaign) == 6
    async with owner_transaction(world.url) as connection:
        assert await users_of_tasks(connection, campaign) == dict(
            zip(recipients, [theirs, acme.manager, acme.admin, acme.member, theirs, acme.manager], strict=True)
        )


async def test_tasks_are_made_once(world: World, database: Database) -> None:
    """Whoever has a task keeps it as it is, and has no other."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        campaign = await calling(build, acme, "DISTRIBUTE", [acme.member, acme.admin])
        await waiting(build, acme, campaign, [None] * 3)
    assert await made(database, acme, campaign) == 3
    async with owner_transaction(world.url) as connection:
        before = (await connection.execute(SHARED_OUT, {"campaign": campaign})).all()
        await connection.execute(text("UPDATE campaign_task_users SET position = -position"))
        (added,) = await waiting(Builder(connection), acme, campaign, [None])
    assert await made(database, acme, campaign) == 1
    async with owner_transaction(world.url) as connection:
        after = (await connection.execute(SHARED_OUT, {"campaign": campaign})).all()
        assert after[:-1] == before
        assert after[-1].recipient_id == added


async def test_recipients_without_a_task(world: World, database: Database) -> None:
    """There is no task for whom nobody is given, nor to call a contact who is gone, nor without a window."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        nobody = await calling(build, acme, "RESPONSIBLE_USER", [])
        (recipient, *_) = await waiting(build, acme, nobody, [acme.member, None])
        gone = await calling(build, acme, "DISTRIBUTE", [acme.member])
        await build.add(Recipient, company_id=acme.id, campaign_id=gone, contact_id=None)
        without = acme.rows["global_"]
        await waiting(build, acme, without, [acme.member])
    assert await made(database, acme, nobody) == 1
    assert await made(database, acme, gone) == 0
    assert await made(database, acme, without) == 0
    async with owner_transaction(world.url) as connection:
        assert await users_of_tasks(connection, nobody) == {recipient: acme.member}


async def test_tasks_of_another_company(world: World, database: Database) -> None:
    """A campaign of another company has none made, whichever company is named."""
    acme, globex = world.acme, world.globex
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        campaign = await calling(build, globex, "DISTRIBUTE", [globex.member])
        await waiting(build, globex, campaign, [None])
    assert await made(database, acme, campaign) == 0
    with anyio.fail_after(PATIENCE_SECONDS):
        async with database.writing(acme.id) as session:
            assert await make_tasks(session, globex.id, campaign) == 0


async def test_ten_thousand_tasks(world: World, database: Database) -> None:
    """A large campaign is shared out evenly."""
    acme = world.acme
    users = [acme.member, acme.admin, acme.manager]
    async with owner_transaction(world.url) as connection:
        campaign = await calling(Builder(connection), acme, "DISTRIBUTE", users)
        await connection.execute(MANY_CONTACTS, {"company": acme.id})
        await connection.execute(MANY_RECIPIENTS, {"company": acme.id, "campaign": campaign})
    assert await made(database, acme, campaign) == 10_002
    async with owner_transaction(world.url) as connection:
        shares = Counter((await users_of_tasks(connection, campaign)).values())
    assert shares == dict.fromkeys(users, 3334)


@dataclass(frozen=True)
class Call:
    """A campaign's task, and whom it calls: their ids."""

    campaign: UUID
    recipient: int
    task: UUID


async def call_for(
    world: World, user: int, *, scope: str = "PERSONAL", recipient: str = "SENT", **task: object
) -> Call:
    """A task of the user's, of a campaign that only administrators see unless it has another scope."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        own: dict[str, object] = {"company_id": acme.id}
        campaign = await build.add(Campaign, **own, user_id=acme.admin, type="TELEPHONE", name="Calls", scope=scope)
        own |= {"campaign_id": campaign, "contact_id": acme.rows["contact"]}
        recipient_id = await build.add(Recipient, **own, status=recipient)
        values = {"user_id": user, "start_at": NOW, "end_at": NEVER_EXPIRES, **task}
        return Call(campaign, recipient_id, await build.add(CampaignTask, **own, recipient_id=recipient_id, **values))


async def record(world: World, call: Call) -> list[tuple[str, str | None]]:
    """The recipient's status, and the reports on it."""
    async with owner_transaction(world.url) as connection:
        parameters = {"id": call.recipient}
        status = await connection.scalar(text("SELECT status FROM recipients WHERE id = :id"), parameters)
        reports = text("SELECT status, reply FROM delivery_reports WHERE recipient_id = :id ORDER BY id")
        return [(str(status), None), *(tuple(row) for row in await connection.execute(reports, parameters))]


TASK = """
query ($id: ID!) { node(id: $id) { ... on CampaignTask {
  databaseId isDone isOverdue doneAt startAt user { lastName } doneBy { lastName } contact { firstName }
  campaign { name } recipient { status }
} } }
"""


async def test_a_task(gateway: Gateway, world: World) -> None:
    """A task is read with whom it calls, for whom, by whom it was done, and the campaign it is of."""
    token, id = world.acme.tokens["manager"], encode("CampaignTask", world.acme.rows["task"])
    assert (await gateway.ask(TASK, token, {"id": id})).data["node"] == {
        "databaseId": str(world.acme.rows["task"]),
        "isDone": True,
        "isOverdue": False,
        "doneAt": "2026-11-22T12:00:00Z",
        "startAt": "2026-11-22T12:00:00Z",
        "user": {"lastName": "Member"},
        "doneBy": {"lastName": "Manager"},
        "contact": {"firstName": "Maegan"},
        "campaign": {"name": "Sent"},
        "recipient": {"status": "DELIVERED"},
    }


async def test_a_task_of_a_campaign_that_is_not_seen(gateway: Gateway, world: World) -> None:
    """Whoever is to do a task sees it and whom to call, and nothing of a campaign that they may not see."""
    call = await call_for(world, world.acme.member)
    id = {"id": encode("CampaignTask", call.task)}
    seen = (await gateway.ask(TASK, world.acme.tokens["member"], id)).data["node"]
    assert (seen["campaign"], seen["recipient"], seen["contact"]) == (None, None, {"firstName": "Maegan"})
    assert (await gateway.ask(TASK, world.acme.tokens["manager"], id)).codes == ["NOT_FOUND"]
    assert (await gateway.ask(TASK, world.globex.tokens["admin"], id)).codes == ["NOT_FOUND"]
    seen = (await gateway.ask(TASK, world.acme.tokens["admin"], id)).data["node"]
    assert (seen["campaign"], seen["recipient"]) == ({"name": "Calls"}, {"status": "SENT"})


LISTS = """
query ($campaign: ID!, $user: ID!, $filter: CampaignTaskFilter, $order: CampaignTaskOrder) {
  campaign(id: $campaign) { tasks(filter: $filter, orderBy: $order) { totalCount nodes { databaseId } } }
  user(id: $user) { tasks(filter: $filter, orderBy: $order) { totalCount nodes { databaseId } } }
}
"""


async def test_lists_of_tasks(gateway: Gateway, world: World) -> None:
    """A campaign's and a user's tasks are narrowed by whether they are done or overdue and by user, and sorted."""
    acme, token = world.acme, world.acme.tokens["admin"]
    first = await call_for(world, acme.member, scope="GLOBAL", start_at=NOW - timedelta(9))
    ids = {"first": first.task}
    async with owner_transaction(world.url) as connection:
        build, past = Builder(connection), LONG_AGO + timedelta(1)
        was_done = {"done_at": NOW, "done_by_id": acme.admin}
        for name, user, values in (
            ("overdue", acme.member, {"start_at": LONG_AGO, "end_at": past}),
            ("late", acme.member, {"start_at": LONG_AGO, "end_at": past, **was_done}),
            ("done", acme.admin, {"start_at": NOW, "end_at": NOW + timedelta(1), **was_done}),
        ):
            own = {"company_id": acme.id, "campaign_id": first.campaign}
            recipient = await build.add(Recipient, **own, status="SENT")
            ids[name] = await build.add(CampaignTask, **own, recipient_id=recipient, user_id=user, **values)

    async def found(filter: object = None, order: object = None) -> tuple[list[str], list[str]]:
        variables = {"campaign": str(first.campaign), "user": str(acme.member), "filter": filter, "order": order}
        data = (await gateway.ask(LISTS, token, variables)).data
        names = {str(id): name for name, id in ids.items()}
        pages = [data[each]["tasks"] for each in ("campaign", "user")]
        shown = [[names.get(node["databaseId"], "of the world") for node in page["nodes"]] for page in pages]
        assert [page["totalCount"] for page in pages] == [len(each) for each in shown]
        return shown[0], [name for name in shown[1] if name != "of the world"]

    everything, mine = await found(order={"field": "END_AT", "direction": "DESC"})
    assert (everything[:2], set(everything[2:])) == (["first", "done"], {"overdue", "late"})
    assert (mine[0], set(mine[1:])) == ("first", {"overdue", "late"})
    everything, _ = await found()
    assert (set(everything[:2]), everything[2:]) == ({"overdue", "late"}, ["first", "done"])
    for filter, expected in (
        ({"done": True}, {"late", "done"}),
        ({"done": False}, {"first", "overdue"}),
        ({"overdue": True}, {"overdue"}),
        ({"overdue": False}, {"first", "late", "done"}),
        ({"done": False, "overdue": False}, {"first"}),
        ({"userIdIn": [str(acme.admin), encode("User", world.globex.admin)]}, {"done"}),
        ({"userIdIn": []}, set()),
    ):
        everything, mine = await found(filter)
        assert set(everything) == expected, filter
        assert set(mine) == expected - {"done"}, filter


async def test_tasks_of_another_user(gateway: Gateway, world: World) -> None:
    """Of another user's tasks those of campaigns that one sees are shown, of one's own all; administrators see all."""
    acme = world.acme
    hidden = await call_for(world, acme.member)
    shown = await call_for(world, acme.member, scope="GLOBAL")
    world_task = acme.rows["task"]
    document = "query ($user: ID!) { user(id: $user) { tasks { totalCount nodes { databaseId } } } }"
    for role, expected in (
        ("manager", {shown.task, world_task}),
        ("member", {hidden.task, shown.task, world_task}),
        ("admin", {hidden.task, shown.task, world_task}),
    ):
        page = (await gateway.ask(document, acme.tokens[role], {"user": str(acme.member)})).data["user"]["tasks"]
        assert {node["databaseId"] for node in page["nodes"]} == set(map(str, expected)), role
        assert page["totalCount"] == len(expected)


COMPLETE = """
mutation ($id: ID!) { completeTask(id: $id) {
  task { isDone doneAt doneBy { lastName } recipient { status } } userErrors { code field }
} }
"""
REOPEN = COMPLETE.replace("completeTask", "reopenTask")


async def changed(gateway: Gateway, document: str, token: str, task: UUID) -> Any:
    """The task, after a change that is made, or the errors."""
    (answer,) = (await gateway.ask(document, token, {"id": str(task)})).data.values()
    return answer["task"] or answer["userErrors"]


async def test_done_and_undone(gateway: Gateway, world: World) -> None:
    """A task that is done has its recipient DELIVERED, one taken up again SENT, each time with a report."""
    token = world.acme.tokens["member"]
    call = await call_for(world, world.acme.member, scope="GLOBAL")
    done = await changed(gateway, COMPLETE, token, call.task)
    assert done.pop("doneAt") is not None
    assert done == {"isDone": True, "doneBy": {"lastName": "Member"}, "recipient": {"status": "DELIVERED"}}
    assert await record(world, call) == [("DELIVERED", None), ("DELIVERED", None)]
    undone = {"isDone": False, "doneAt": None, "doneBy": None, "recipient": {"status": "SENT"}}
    assert await changed(gateway, REOPEN, token, call.task) == undone
    assert await record(world, call) == [("SENT", None), ("DELIVERED", None), ("SENT", None)]


async def test_done_twice(gateway: Gateway, world: World) -> None:
    """What is done already, or not done yet, stays as it is, with the time and the user of the first, and no report."""
    member, manager = world.acme.tokens["member"], world.acme.tokens["manager"]
    call = await call_for(world, world.acme.member, scope="GLOBAL")
    assert (await changed(gateway, REOPEN, manager, call.task))["isDone"] is False
    assert await record(world, call) == [("SENT", None)]
    first = await changed(gateway, COMPLETE, member, call.task)
    assert await changed(gateway, COMPLETE, manager, call.task) == first
    assert await record(world, call) == [("DELIVERED", None), ("DELIVERED", None)]


@pytest.mark.parametrize("status", ["UNSUBSCRIBED", "CANCELED", "FAILED"])
async def test_recipients_of_whom_something_else_became(gateway: Gateway, world: World, status: str) -> None:
    """A task changes nothing of a recipient who withdrew, say, since it was made; it is done all the same."""
    token = world.acme.tokens["admin"]
    call = await call_for(world, world.acme.member, recipient=status)
    for document in (COMPLETE, REOPEN):
        assert (await changed(gateway, document, token, call.task))["recipient"] == {"status": status}
    assert await record(world, call) == [(status, None)]


async def test_who_may_tick_off(gateway: Gateway, world: World) -> None:
    """The user it is for, also of a campaign they do not see, and managers and administrators who see it; no others."""
    acme = world.acme
    forbidden, absent = [{"code": "FORBIDDEN", "field": ["id"]}], [{"code": "NOT_FOUND", "field": ["id"]}]
    for scope, user, expected in (
        ("PERSONAL", acme.member, {"member": None, "manager": absent, "admin": None}),
        ("GLOBAL", acme.admin, {"member": forbidden, "manager": None, "admin": None}),
        ("PERSONAL", acme.admin, {"member": absent, "manager": absent, "admin": None}),
    ):
        for role, refusal in expected.items():
            for document, done in ((COMPLETE, False), (REOPEN, True)):
                was_done = {"done_at": NOW, "done_by_id": acme.admin} if done else {}
                call = await call_for(world, user, scope=scope, recipient="SENT", **was_done)
                answer = await changed(gateway, document, acme.tokens[role], call.task)
                assert answer == refusal if refusal else answer["isDone"] is not done, (scope, role)
    async with owner_transaction(world.url) as connection:
        reading = await Builder(connection).token(acme.id, acme.member, ("READ", "SEND", "EXPORT"))
    assert (await gateway.ask(COMPLETE, reading, {"id": str(call.task)})).codes == ["FORBIDDEN"]


async def test_whoever_watches_the_campaign_is_told(world: World) -> None:
    """A task that is ticked off, or taken up again, is an event of its campaign."""
    call = await call_for(world, world.acme.member, scope="GLOBAL")
    document = "subscription ($id: ID!) { campaignChanged(id: $id) { campaign { tasks { nodes { isDone } } } } }"
    token = world.acme.tokens["member"]
    async with stand_of(world) as stand, stand.watching(document, token, {"id": str(call.campaign)}) as watched:
        for change, done in ((None, False), (COMPLETE, True), (REOPEN, False)):
            if change is not None:
                await stand.change(change, token, {"id": str(call.task)})
            assert await watched.event() == {"campaign": {"tasks": {"nodes": [{"isDone": done}]}}}
