"""Does one stream serve all who watch the same, each of them to the end, whatever the others do?"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from sqlalchemy import text, update
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed

from gateway.operations import Operation
from gateway.streams.outbox import Patience
from resolvers.context import Viewer, Watch
from store.database import owner_transaction
from store.models import Campaign, Role, User
from store.signals import Channel
from tests.client import Gateway, running_gateway
from tests.conftest import World
from tests.post import until
from tests.statements import heard, in_use
from tests.streaming import (
    PROGRESS,
    Socket,
    event_stream,
    notification,
    progress,
    running_export,
    signed_in,
    state,
    until_idle,
)

pytestmark = pytest.mark.anyio

CAMPAIGN = "subscription ($id: ID!) { campaignChanged(id: $id) { campaign { name } } }"


async def statements_of_an_event(gateway: Gateway, world: World, watchers: int) -> int:
    """How many statements it takes until each of so many sockets has an event."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(signed_in(gateway, token)) for _ in range(watchers)]
        for socket in sockets:
            await socket.subscribe(PROGRESS, {"id": id})
            assert await socket.event() == state(0, 0)
        assert len(gateway.streams) == 1
        async with gateway.counting() as statements:
            await progress(world.url, world.acme, id, rows_processed=1)
            for socket in sockets:
                assert await socket.event() == state(1, 1)
    await until_idle(gateway)
    return len(statements)


async def test_an_event_is_read_once(gateway: Gateway, world: World) -> None:
    """An event costs as many statements for twenty who watch as for one."""
    assert await statements_of_an_event(gateway, world, 1) == await statements_of_an_event(gateway, world, 20)


async def test_nothing_is_held_while_an_event_is_handed_on(gateway: Gateway, world: World) -> None:
    """When an event is handed on, its connection to the database is back in the pool."""
    id, authenticator = await running_export(world.url, world.acme), gateway.streams.authenticator

    async def viewer() -> Viewer:
        return await authenticator.viewer(f"Bearer {world.acme.tokens['admin']}")

    operation = Operation(PROGRESS, {"id": id}, None)
    found = gateway.streams.operations.events(operation, await viewer(), "a-request", Watch(viewer))
    async with aclosing(found) as events:
        assert (await anext(events)).answer() == {"data": state(0, 0)}
        assert in_use(gateway._database) == 0


async def test_who_joins_begins_with_the_state_as_it_is(gateway: Gateway, world: World) -> None:
    """A later subscriber gets the state as it is then, by a reading of its own that is no news to the others."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with signed_in(gateway, token) as first, signed_in(gateway, token) as second:
        await first.subscribe(PROGRESS, {"id": id})
        await first.event()
        await progress(world.url, world.acme, id, rows_processed=5)
        assert await first.event() == state(1, 5)
        async with gateway.counting() as statements:
            await second.subscribe(PROGRESS, {"id": id}, "another")
            assert await second.event("another") == state(1, 5)
        assert sum("FROM exports" in statement for statement in statements) == 1
        async with event_stream(gateway, token, PROGRESS, {"id": id}) as third:
            assert await third.event() == state(1, 5)
            assert len(gateway.streams) == 1
            await progress(world.url, world.acme, id, status="CANCELED")
            for event in (first.event(), second.event("another"), third.event()):
                assert await event == state(2, 5, "CANCELED")
            await first.end_of()
            await second.end_of("another")
            assert await third.block() == ("complete", "")


async def test_a_joiner_sees_what_nobody_signalled(gateway: Gateway, world: World) -> None:
    """The event of a joiner shows the rows around its own as they are; the others get it, as it is news to them."""
    token, id = world.acme.tokens["admin"], await running_export(world.url, world.acme)
    document = "subscription ($id: ID!) { exportProgress(id: $id) { export { requestedBy { lastName } } } }"
    async with signed_in(gateway, token) as first, signed_in(gateway, token) as second:
        await first.subscribe(document, {"id": id})
        await first.event()
        await done(world, "UPDATE users SET last_name = 'Wed'")
        await second.subscribe(document, {"id": id})
        expected = {"exportProgress": {"export": {"requestedBy": {"lastName": "Wed"}}}}
        assert await second.event() == expected
        assert await first.event() == expected


@pytest.mark.parametrize("joining", [True, False])
async def test_a_token_that_is_revoked(gateway: Gateway, world: World, joining: bool) -> None:
    """A token that is not valid any more ends the stream for all who watch by it, and for who joins: 4401."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with signed_in(gateway, token) as first, signed_in(gateway, token) as second:
        await first.subscribe(PROGRESS, {"id": id})
        await first.event()
        await done(world, "UPDATE access_tokens SET revoked_at = now()")
        if joining:
            await second.subscribe(PROGRESS, {"id": id})
            assert await second.closed() == 4401
        else:
            await progress(world.url, world.acme, id, rows_processed=1)
        assert await first.closed() == 4401


async def test_a_token_that_may_not_read_any_more(gateway: Gateway, world: World) -> None:
    """A token that loses the scope READ ends the stream for all who watch by it, as a new operation is refused."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with signed_in(gateway, token) as first, signed_in(gateway, token) as second:
        await first.subscribe(PROGRESS, {"id": id})
        await first.event()
        await done(world, "UPDATE access_tokens SET scopes = '{EXPORT}'")
        await second.subscribe(PROGRESS, {"id": id})
        assert await second.refusal() == ["FORBIDDEN"]
        assert await first.refusal() == ["FORBIDDEN"]


async def test_more_streams_than_there_may_be(gateway: Gateway, world: World) -> None:
    """A process runs so many streams; whoever would begin another is refused, and whoever joins one is not."""
    gateway.streams._most = 1
    token, documents = world.acme.tokens["admin"], (PROGRESS, PROGRESS + " ")
    id = await running_export(world.url, world.acme)
    async with signed_in(gateway, token) as first, signed_in(gateway, token) as second:
        for socket in (first, second):
            await socket.subscribe(documents[0], {"id": id})
            assert await socket.event() == state(0, 0)
        await second.subscribe(documents[1], {"id": id}, "another")
        assert await second.refusal("another") == ["TOO_MANY_OPERATIONS"]
        async with event_stream(gateway, token, documents[1], {"id": id}) as third:
            assert b"TOO_MANY_OPERATIONS" in await third.response.aread()
    await until_idle(gateway)


async def test_an_outage_in_a_part_of_an_event(gateway: Gateway, world: World) -> None:
    """An event that an outage left incomplete is not told but read again, the final one as well, also for joiners."""
    token, id = world.acme.tokens["admin"], await running_export(world.url, world.acme)
    document = "subscription ($id: ID!) { exportProgress(id: $id) { isFinal export { requestedBy { lastName } } } }"
    failures = []

    def fail(statement: str, _parameters: object) -> None:
        if "FROM users" in statement and "parent_key" in statement:
            failures.append(statement)
            raise ConnectionResetError

    async def failed() -> bool:
        return len(failures) > 1

    async with signed_in(gateway, token) as first, signed_in(gateway, token) as second:
        await first.subscribe(document, {"id": id})
        assert (await first.event())["exportProgress"]["isFinal"] is False
        with heard(gateway._database, fail):
            await progress(world.url, world.acme, id, status="CANCELED")
            await second.subscribe(document, {"id": id})
            await until(failed)
        for socket in (first, second):
            expected = {"isFinal": True, "export": {"requestedBy": {"lastName": "Admin"}}}
            assert await socket.event() == {"exportProgress": expected}
            await socket.end_of()


async def done(world: World, statement: str, **parameters: Any) -> None:
    """A change of the tables' owner, of which no signal tells."""
    async with owner_transaction(world.url) as connection:
        await connection.execute(text(statement), parameters)


async def test_who_leaves_does_not_take_the_stream_along(gateway: Gateway, world: World) -> None:
    """A stream ends with its last subscriber, and not before."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with signed_in(gateway, token) as second:
        async with signed_in(gateway, token) as first:
            await first.subscribe(PROGRESS, {"id": id})
            await first.event()
            await second.subscribe(PROGRESS, {"id": id})
            await second.event()
        await progress(world.url, world.acme, id, rows_processed=1)
        assert await second.event() == state(1, 1)
        assert len(gateway.streams) == 1
    await until_idle(gateway)


async def test_what_is_shared(gateway: Gateway, world: World) -> None:
    """Streams are shared by those who agree in document, variables, operation and sight, and by nobody else."""
    acme = world.acme
    id, other = await running_export(world.url, acme), await running_export(world.url, acme)
    two = f"{PROGRESS.replace('subscription', 'subscription a')} {PROGRESS.replace('subscription', 'subscription b')}"
    async with (
        signed_in(gateway, acme.tokens["admin"]) as admin,
        signed_in(gateway, acme.tokens["member"]) as member,
        signed_in(gateway, world.globex.tokens["admin"]) as globex,
    ):
        numbers: list[int] = []
        for socket, document, variables, name in (
            (admin, PROGRESS, {"id": id}, None),
            (admin, PROGRESS, {"id": id}, None),
            (member, PROGRESS, {"id": id}, None),
            (admin, PROGRESS, {"id": other}, None),
            (admin, PROGRESS + " ", {"id": id}, None),
            (admin, two, {"id": id}, "a"),
            (admin, two, {"id": id}, "b"),
        ):
            await socket.subscribe(document, variables, str(len(numbers)), operationName=name)
            assert await socket.event(str(len(numbers))) == state(0, 0)
            numbers.append(len(gateway.streams))
        assert numbers == [1, 1, 2, 3, 4, 5, 6]
        await globex.subscribe(PROGRESS, {"id": id})
        assert await globex.refusal() == ["NOT_FOUND"]


async def test_rights_that_change(gateway: Gateway, world: World) -> None:
    """Who may not see it any more is told no more of it; those who watch by another right go on."""
    acme = world.acme
    id = acme.rows["personal"]
    async with signed_in(gateway, acme.tokens["manager"]) as owner, signed_in(gateway, acme.tokens["admin"]) as admin:
        for socket in (owner, admin):
            await socket.subscribe(CAMPAIGN, {"id": str(id)})
            assert await socket.event() == {"campaignChanged": {"campaign": {"name": "Personal"}}}
        async with owner_transaction(world.url) as connection:
            await connection.execute(update(User).where(User.id == acme.admin).values(role=Role.MEMBER))
            renamed = update(Campaign).where(Campaign.id == id).values(name="Renamed", version=Campaign.version + 1)
            await connection.execute(renamed)
            await connection.execute(notification(Channel.CAMPAIGNS, acme, str(id)))
        assert await owner.event() == {"campaignChanged": {"campaign": {"name": "Renamed"}}}
        assert await admin.event() == {"campaignChanged": {"campaign": None}}
        await admin.end_of()


# About twice what fits into the buffers of a loopback connection, in answers to LARGE.
MOST_SERVED = 100
# Its answer is as long as a document may be, and costs nothing to make.
LARGE = f"{{ {'a' * 99_000}: __typename }}"
FEW_BYTES = 4096


async def ask_without_end(socket: Socket) -> None:
    """Asks for much, again and again; raises when the connection is cut."""
    for number in itertools.count():
        await socket.subscribe(LARGE, id=str(number))


@pytest.mark.parametrize("patience", [Patience(send=3), Patience(send=60, ping=1, pong=3)])
async def test_client_that_does_not_read(world: World, patience: Patience) -> None:
    """Who does not read holds nobody up, is not served beyond what the network takes, and loses the connection.

    It is found by what cannot be sent, or by a ping without an answer, whichever is sooner.
    """
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    with capture_logs() as logs:
        async with (
            running_gateway(world.url, patience=patience, database_pool_size=5) as gateway,
            signed_in(gateway, token, receive_buffer=FEW_BYTES) as slow,
            signed_in(gateway, token) as other,
        ):
            for socket in (slow, other):
                await socket.subscribe(PROGRESS, {"id": id}, "watching")
                assert await socket.event("watching") == state(0, 0)
            slow.connection.transport.pause_reading()
            asking = asyncio.create_task(ask_without_end(slow))
            for rows in range(1, 6):
                await progress(world.url, world.acme, id, rows_processed=rows)
                assert await other.event("watching") == state(rows, rows)
            with pytest.raises(ConnectionClosed):
                await asking
            await progress(world.url, world.acme, id, status="CANCELED")
            assert await other.event("watching") == state(6, 5, "CANCELED")
            await other.end_of("watching")
    served = [line["operations"] for line in logs if line["event"] == "websocket"]
    assert 1 in served
    assert max(served) < MOST_SERVED
