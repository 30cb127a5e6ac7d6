"""Is a user told what concerns them, at once, and nobody else?"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import text

from resolvers.global_ids import encode
from store.database import Database, owner_transaction
from store.models import NotificationKind, User
from store.notifications import notify
from store.signals import Channel, listening_to
from tests.build import Builder, TestCompany
from tests.client import Gateway
from tests.conftest import World
from tests.post import until
from tests.streaming import event_stream, signed_in
from tests.watching import Stand, stand_of

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 30
READ = """
mutation ($scope: NotificationsScope!) {
  markNotificationsRead(scope: $scope) { markedCount userErrors { code field } }
}
"""
MINE = """
query ($filter: NotificationFilter, $order: NotificationOrder) {
  notifications(filter: $filter, orderBy: $order) { totalCount nodes { databaseId kind isRead campaign { name } } }
}
"""
BOARD = """
subscription ($filter: NotificationFilter, $first: Int) {
  notificationsChanged(filter: $filter, first: $first) { notifications { databaseId isRead } }
}
"""
IN_A_FRAGMENT = """
subscription { ...All }
fragment All on Subscription { notificationsChanged { notifications { databaseId } } }
"""


async def told(
    world: World, user: int, kind: NotificationKind = NotificationKind.LETTERS_READY, company: TestCompany | None = None
) -> UUID:
    """A new notification of a user's, as what tells them makes it."""
    company, database = company or world.acme, Database(world.url, pool_size=1)
    try:
        with anyio.fail_after(PATIENCE_SECONDS):
            async with database.writing(company.id) as session:
                return await notify(session, company.id, user, kind, company.rows["sent"])
    finally:
        await database.close()


async def value(world: World, sql: str, **parameters: object) -> Any:
    async with owner_transaction(world.url) as connection:
        return await connection.scalar(text(sql), parameters)


async def another_administrator(world: World) -> tuple[int, str]:
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        user: int = await build.add(User, company_id=world.acme.id, email="another@example.com")
        return user, await build.token(world.acme.id, user)


async def shown(gateway: Gateway, token: str, **variables: object) -> list[str]:
    """The ids on the user's list, of which there are as many as are counted."""
    page = (await gateway.ask(MINE, token, variables)).data["notifications"]
    assert page["totalCount"] == len(page["nodes"])
    return [node["databaseId"] for node in page["nodes"]]


@pytest.mark.parametrize("wants_mails", [True, False])
async def test_telling(world: World, wants_mails: bool) -> None:
    """Whoever is told has a notification, and a mail to come if they want mails."""
    user = world.acme.member
    await value(
        world, "UPDATE users SET email_notifications = :wants WHERE id = :id RETURNING 1", wants=wants_mails, id=user
    )
    id = await told(world, user)
    row = await value(
        world, "SELECT user_id || ' ' || kind || coalesce(read_at::text, '') FROM notifications WHERE id = :id", id=id
    )
    assert row == f"{user} LETTERS_READY"
    jobs = await value(world, "SELECT count(*) FROM jobs WHERE kind = 'NOTICE' AND subject_id = :id", id=id)
    assert jobs == int(wants_mails)


async def test_a_list_of_ones_own(gateway: Gateway, world: World) -> None:
    """Everyone sees their own notifications, the newest first, with their campaign, and narrowed to the unread ones."""
    acme = world.acme
    first, second = [await told(world, acme.member) for _ in range(2)]
    failed = await told(world, acme.manager, NotificationKind.CAMPAIGN_FAILED)
    assert (await gateway.ask(MINE, acme.tokens["manager"])).data["notifications"] == {
        "totalCount": 1,
        "nodes": [
            {"databaseId": str(failed), "kind": "CAMPAIGN_FAILED", "isRead": False, "campaign": {"name": "Sent"}}
        ],
    }
    token = acme.tokens["member"]
    assert await shown(gateway, token) == [str(second), str(first)]
    oldest_first = {"field": "CREATED_AT", "direction": "ASC"}
    assert await shown(gateway, token, order=oldest_first) == [str(first), str(second)]
    await gateway.ask(READ, token, {"scope": {"ids": [str(first)]}})
    assert await shown(gateway, token, filter={"unread": True}) == [str(second)]
    assert await shown(gateway, token, filter={"unread": False}) == [str(first)]
    assert await shown(gateway, world.globex.tokens["member"]) == []


async def test_notifications_of_others(gateway: Gateway, world: World) -> None:
    """Nobody sees another user's notification, administrators neither: it is as if it were not there."""
    id = await told(world, world.acme.member)
    document, of_member = "query ($id: ID!) { node(id: $id) { id } }", {"id": encode("Notification", id)}
    assert (await gateway.ask(document, world.acme.tokens["member"], of_member)).data == {"node": of_member}
    never = await gateway.ask(document, world.acme.tokens["member"], {"id": encode("Notification", uuid4())})
    for token in (world.acme.tokens["admin"], world.acme.tokens["manager"], world.globex.tokens["admin"]):
        assert (await gateway.ask(document, token, of_member)).body == never.body
        assert str(id) not in await shown(gateway, token)


async def test_a_campaign_that_is_not_seen_any_more(gateway: Gateway, world: World) -> None:
    """What is told of a campaign stays, without the campaign, when the user may not see it any more."""
    id = await told(world, world.acme.member)
    move = "UPDATE campaigns SET scope = 'PERSONAL', user_id = :admin WHERE id = :id RETURNING 1"
    await value(world, move, admin=world.acme.admin, id=world.acme.rows["sent"])
    (found,) = (await gateway.ask(MINE, world.acme.tokens["member"])).data["notifications"]["nodes"]
    assert (found["databaseId"], found["campaign"]) == (str(id), None)


async def test_marked_as_read(gateway: Gateway, world: World) -> None:
    """Some, by either id, or all of one's own are marked; what was read before stays as it is, and is not counted."""
    acme, token = world.acme, world.acme.tokens["member"]
    ids = [await told(world, acme.member) for _ in range(4)]
    of_manager = await told(world, acme.manager)

    async def marked(scope: dict[str, object]) -> object:
        answer = (await gateway.ask(READ, token, {"scope": scope})).data["markNotificationsRead"]
        assert answer["userErrors"] == []
        return answer["markedCount"]

    assert await marked({"ids": [str(ids[0]), encode("Notification", ids[1]), str(ids[0])]}) == 2
    read_at = "SELECT read_at FROM notifications WHERE id = :id"
    before = await value(world, read_at, id=ids[0])
    assert await marked({"ids": [str(ids[0]), str(ids[2])]}) == 1
    assert await value(world, read_at, id=ids[0]) == before
    assert await marked({"all": True}) == 1
    assert await marked({"all": True}) == 0
    unread = "SELECT array_agg(id) FROM notifications WHERE read_at IS NULL AND company_id = :company"
    assert set(await value(world, unread, company=acme.id)) == {acme.rows["notification"], of_manager}


async def test_marking_many(gateway: Gateway, world: World) -> None:
    """However many are unread, all are marked by one statement without a parameter for each, and one signal tells."""
    acme, many = world.acme, 200
    made = """
        INSERT INTO notifications (company_id, user_id, kind, campaign_id)
        SELECT :company, :user, 'LETTERS_READY', :campaign FROM generate_series(1, :many)
        RETURNING 1
    """
    await value(world, made, company=acme.id, user=acme.member, campaign=acme.rows["sent"], many=many)
    heard: list[str] = []
    database = Database(world.url, pool_size=1)
    async with listening_to(database, {Channel.NOTIFICATIONS.value: heard.append}), gateway.counting() as statements:
        answer = await gateway.ask(READ, acme.tokens["member"], {"scope": {"all": True}})
        assert answer.data["markNotificationsRead"] == {"markedCount": many, "userErrors": []}
        # Signals come in the order of their transactions: after this one there is none of before.
        await value(world, "SELECT pg_notify(:channel, 'end')", channel=Channel.NOTIFICATIONS.value)

        async def ended() -> bool:
            return "end" in heard

        await until(ended)
    await database.close()
    assert len(heard) == 2
    (update,) = [statement for statement in statements if " notifications" in statement]
    assert "UPDATE" in update
    assert len(re.findall(r"\$\d+", update)) < 10


async def test_what_cannot_be_marked(gateway: Gateway, world: World) -> None:
    """Ids of others' notifications, of another company's and malformed ones are named, each; nothing is marked then."""
    acme = world.acme
    mine, theirs = await told(world, acme.admin), await told(world, acme.member)
    foreign = world.globex.rows["notification"]
    named = [str(mine), str(theirs), str(foreign), "x", encode("Campaign", mine)]

    async def errors(scope: dict[str, object], token: str = acme.tokens["admin"]) -> list[tuple[str, str]]:
        answer = (await gateway.ask(READ, token, {"scope": scope})).data["markNotificationsRead"]
        assert answer["markedCount"] == 0
        return [(error["code"], ".".join(error["field"])) for error in answer["userErrors"]]

    assert await errors({"ids": named}) == [("NOT_FOUND", f"scope.ids.{place}") for place in (1, 2, 3, 4)]
    assert await errors({"ids": []}) == [("REQUIRED", "scope.ids")]
    assert await errors({"ids": [str(mine)] * 101}) == [("TOO_MANY", "scope.ids")]
    assert await errors({"all": False}) == [("INVALID_VALUE", "scope.all")]
    assert await value(world, "SELECT count(*) FROM notifications WHERE read_at IS NOT NULL") == 0
    async with owner_transaction(world.url) as connection:
        reading = await Builder(connection).token(acme.id, acme.admin, ("READ", "SEND", "EXPORT"))
    assert (await gateway.ask(READ, reading, {"scope": {"all": True}})).codes == ["FORBIDDEN"]


@pytest.fixture
async def stand(world: World) -> AsyncIterator[Stand]:
    async with stand_of(world) as found:
        yield found


async def test_a_board_of_notifications(stand: Stand) -> None:
    """A user who watches sees the newest of theirs, and sees each that comes, or is read, by a signal alone."""
    world, acme = stand.world, stand.world.acme
    first = await told(world, acme.member)
    async with stand.watching(BOARD, acme.tokens["member"], {"first": 2, "filter": {"unread": True}}) as watched:

        def unread(*ids: UUID) -> dict[str, object]:
            return {"notifications": [{"databaseId": str(id), "isRead": False} for id in ids]}

        assert await watched.event() == unread(first)
        second = await told(world, acme.member)
        assert await watched.event() == unread(second, first)
        third = await told(world, acme.member)
        assert await watched.event() == unread(third, second)
        await stand.change(READ, acme.tokens["member"], {"scope": {"ids": [str(second)]}})
        assert await watched.event() == unread(third, first)
        await stand.change(READ, acme.tokens["member"], {"scope": {"all": True}})
        assert await watched.event() == unread()
    async with stand.watching(BOARD, acme.tokens["member"], {"first": 51}) as watched:
        assert await watched.codes() == ["BAD_USER_INPUT"]


async def board(socket: Any) -> list[str]:
    """The ids of the next event."""
    return [row["databaseId"] for row in (await socket.event())["notificationsChanged"]["notifications"]]


@pytest.mark.parametrize("document", [BOARD, IN_A_FRAGMENT])
async def test_two_administrators_watch(gateway: Gateway, world: World, document: str) -> None:
    """Administrators, who share streams otherwise, each see their own notifications alone, whoever came first."""
    acme = world.acme
    other, token = await another_administrator(world)
    mine, theirs = str(acme.rows["notification"]), str(await told(world, other))
    async with signed_in(gateway, acme.tokens["admin"]) as one, signed_in(gateway, token) as another:
        await one.subscribe(document)
        assert await board(one) == [mine]
        await another.subscribe(document)
        assert await board(another) == [theirs]
        assert len(gateway.streams) == 2
        async with event_stream(gateway, token, document) as events:
            (row,) = (await events.event())["notificationsChanged"]["notifications"]
            assert row["databaseId"] == theirs
            assert len(gateway.streams) == 2
        newest = str(await told(world, other))
        assert await board(another) == [newest, theirs]
        newer = str(await told(world, acme.admin))
        assert await board(one) == [newer, mine]


async def test_tokens_of_one_user_watch(gateway: Gateway, world: World) -> None:
    """One user's sockets share a stream, whichever token each has, and are moved together when the rights change."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        token = await Builder(connection).token(acme.id, acme.admin)
    async with signed_in(gateway, acme.tokens["admin"]) as one, signed_in(gateway, token) as another:
        for socket in (one, another):
            await socket.subscribe(BOARD)
            assert await board(socket) == [str(acme.rows["notification"])]
        assert len(gateway.streams) == 1
        await value(world, "UPDATE users SET role = 'MEMBER' WHERE id = :id RETURNING 1", id=acme.admin)
        newest = str(await told(world, acme.admin))
        for socket in (one, another):
            assert await board(socket) == [newest, str(acme.rows["notification"])]
        assert len(gateway.streams) == 1
