"""Is the protocol graphql-transport-ws kept, to the letter and against clients that do not keep it?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy import make_url
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from store.database import owner_transaction
from tests.build import Builder, TestCompany
from tests.campaign_documents import CREATE, EMAIL
from tests.client import Gateway, running_gateway
from tests.conftest import World, database, on_server
from tests.streaming import PROGRESS, Socket, opened, progress, running_export, signed_in, state, until_idle

pytestmark = pytest.mark.anyio

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"
VIEWER = "{ viewer { user { lastName } } }"
ADMIN = {"viewer": {"user": {"lastName": "Admin"}}}


@dataclass(frozen=True)
class Shared:
    """A gateway for the tests that write nothing, and the token of an administrator."""

    gateway: Gateway
    token: str


@pytest.fixture(scope="module")
async def shared(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Shared]:
    template, acme, _ = world_template
    await on_server(server, f"CREATE DATABASE websocket_tests TEMPLATE {template}")
    async with running_gateway(database(server, "websocket_tests")) as gateway:
        yield Shared(gateway, acme.tokens["admin"])
    await on_server(server, "DROP DATABASE websocket_tests WITH (FORCE)")


@pytest.fixture
async def reader(shared: Shared) -> AsyncIterator[Socket]:
    """A socket to the gateway that is shared, whose hello was accepted."""
    async with signed_in(shared.gateway, shared.token) as found:
        yield found


@pytest.fixture
async def admin(gateway: Gateway, world: World) -> AsyncIterator[Socket]:
    """A socket of acme's administrator, whose hello was accepted."""
    async with signed_in(gateway, world.acme.tokens["admin"]) as found:
        yield found


async def test_an_export_to_its_end(gateway: Gateway, world: World, admin: Socket) -> None:
    """An export is watched from its snapshot to its final event and `complete`; then the id is free again."""
    id = await running_export(world.url, world.acme)
    await admin.subscribe(PROGRESS, {"id": id})
    assert await admin.event() == state(0, 0)
    await progress(world.url, world.acme, id, rows_processed=7)
    assert await admin.event() == state(1, 7)
    await progress(world.url, world.acme, id, status="CANCELED")
    assert await admin.event() == state(2, 7, "CANCELED")
    await admin.end_of()
    await admin.subscribe(VIEWER)
    assert await admin.event() == ADMIN
    await admin.end_of()
    assert len(gateway.streams) == 0


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
async def test_hello(shared: Shared, name: str) -> None:
    """The token comes in the first message, under the name of the header, and the URL has none."""
    async with opened(shared.gateway) as socket:
        assert socket.connection.subprotocol == "graphql-transport-ws"
        assert socket.connection.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.connection.response.headers
        await socket.send({"type": "connection_init", "payload": {name: f"bearer {shared.token}"}})
        assert await socket.receive() == {"type": "connection_ack"}


@pytest.mark.parametrize("subprotocols", [(), ("graphql-ws",), ("graphql-transport-ws2", "soap")])
async def test_without_the_subprotocol(shared: Shared, subprotocols: tuple[str, ...]) -> None:
    """A client of another protocol is told so by the code 4406."""
    async with opened(shared.gateway, subprotocols=subprotocols) as socket:
        assert await socket.closed() == 4406


async def test_one_subprotocol_of_several(shared: Shared) -> None:
    """Who offers several protocols gets the one that is spoken here."""
    async with opened(shared.gateway, subprotocols=("graphql-ws", "graphql-transport-ws")) as socket:
        assert socket.connection.subprotocol == "graphql-transport-ws"


async def test_second_hello(shared: Shared, reader: Socket) -> None:
    """A second hello closes the socket, whoever it is from."""
    await reader.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {shared.token}"}})
    assert await reader.closed() == 4429


async def test_operation_before_the_hello(shared: Shared) -> None:
    """Nothing is carried out before the hello."""
    async with opened(shared.gateway) as socket:
        await socket.subscribe(VIEWER)
        assert await socket.closed() == 4401


NO_TOKENS: list[object] = [
    None,
    {},
    {"Authorization": None},
    {"Authorization": ["Bearer {token}"]},
    {"Authorization": ""},
    {"Authorization": "{token}"},
    {"Authorization": "Basic {token}"},
    {"Authorization": "Bearer {token}0"},
    {"Authorization": "Bearer mcg_99990000_secret-of-token-number-0"},
    {"token": "{token}"},
]


@pytest.mark.parametrize("payload", NO_TOKENS, ids=str)
async def test_hello_without_a_valid_token(shared: Shared, payload: dict[str, object] | None) -> None:
    """Without a valid token the socket is closed by 4401."""
    filled = payload and {
        name: value.format(token=shared.token) if isinstance(value, str) else value for name, value in payload.items()
    }
    async with opened(shared.gateway) as socket:
        await socket.send({"type": "connection_init", "payload": filled})
        assert await socket.closed() == 4401


async def test_id_that_is_in_use(world: World, admin: Socket) -> None:
    """Two operations under one id cannot be told apart."""
    id = await running_export(world.url, world.acme)
    await admin.subscribe(PROGRESS, {"id": id})
    await admin.event()
    await admin.subscribe(VIEWER)
    assert await admin.closed() == 4409


def subscribing(**more: object) -> dict[str, object]:
    return {"type": "subscribe", "id": "1", "payload": {"query": VIEWER}, **more}


NO_MESSAGES: list[object] = [
    "",
    "[]",
    "null",
    "true",
    "1",
    '"connection_init"',
    "{",
    "{}",
    b"{}",
    b'{"type":"ping"}',
    '{"type":"ping"} {}',
    '{"type":"\\ud800"}',
    "[" * 5000,
    {"type": None},
    {"type": "start"},
    {"type": "next", "id": "1", "payload": {}},
    {"type": ["ping"]},
    {"type": {"ping": 1}},
    {"type": "ping", "payload": []},
    {"type": "pong", "payload": "a"},
    {"type": "complete"},
    {"type": "complete", "id": 1},
    subscribing(id=None),
    subscribing(id=1),
    subscribing(id=""),
    subscribing(id="a" * 256),
    subscribing(payload=None),
    subscribing(payload=[]),
    subscribing(payload={}),
    subscribing(payload={"query": 1}),
    subscribing(payload={"query": VIEWER, "variables": []}),
    subscribing(payload={"query": VIEWER, "operationName": 1}),
    {"type": "connection_init", "payload": "Bearer"},
]


@pytest.mark.parametrize("message", NO_MESSAGES, ids=lambda message: str(message)[:60])
@pytest.mark.parametrize("greeted", [False, True])
async def test_what_is_no_message(shared: Shared, message: object, greeted: bool) -> None:
    """A frame that is no message of the protocol closes the socket by 4400, before the hello and after."""
    with capture_logs() as logs:
        async with opened(shared.gateway) as socket:
            if greeted:
                await socket.hello(shared.token)
            await socket.send(message)
            assert await socket.closed() == 4400
    assert [line for line in logs if line["log_level"] == "error"] == []


async def test_pings(reader: Socket) -> None:
    """Pings of both kinds are answered, and a pong that nobody asked for is fine."""
    await reader.send({"type": "pong"})
    await reader.send({"type": "ping", "payload": {"a": 1}})
    assert await reader.receive() == {"type": "pong"}
    async with asyncio.timeout(5):
        await (await reader.connection.ping())
    await reader.send({"type": "complete", "id": "nobody's"})
    await reader.subscribe(VIEWER)
    assert await reader.event() == ADMIN


async def test_several_operations(world: World) -> None:
    """Operations of one socket go on beside each other, up to a number; one too many is refused by itself."""
    id = await running_export(world.url, world.acme)
    async with (
        running_gateway(world.url, max_subscriptions=2) as gateway,
        signed_in(gateway, world.acme.tokens["admin"]) as socket,
    ):
        for name in ("first", 'sec"ond'):
            await socket.subscribe(PROGRESS, {"id": id}, name)
            assert await socket.event(name) == state(0, 0)
        await socket.subscribe(VIEWER, id="third")
        assert await socket.refusal("third") == ["TOO_MANY_OPERATIONS"]
        await socket.send({"type": "complete", "id": "first"})
        await socket.subscribe(VIEWER, id="third")
        assert await socket.event("third") == ADMIN
        await socket.end_of("third")
        await progress(world.url, world.acme, id, rows_processed=1)
        assert await socket.event('sec"ond') == state(1, 1)


async def test_mutation(admin: Socket) -> None:
    """A mutation is carried out and answered as over HTTP."""
    await admin.subscribe(CREATE, {"input": EMAIL})
    payload = (await admin.event())["createCampaign"]
    assert payload["userErrors"] == []
    await admin.end_of()


DEEP = "recipients(first: 100) { nodes { campaign { recipients(first: 100) { nodes { id } } } } }"
REFUSED = [
    ("GRAPHQL_PARSE_FAILED", "{", {}),
    ("GRAPHQL_PARSE_FAILED", "subscription {", {}),
    ("GRAPHQL_VALIDATION_FAILED", "{ nothing }", {}),
    ("GRAPHQL_VALIDATION_FAILED", "subscription { nothing }", {}),
    ("GRAPHQL_VALIDATION_FAILED", PROGRESS, {}),
    ("GRAPHQL_VALIDATION_FAILED", "subscription { __typename }", {}),
    ("OPERATION_RESOLUTION_FAILURE", "query a { __typename } query b { __typename }", {}),
    ("OPERATION_RESOLUTION_FAILURE", "query a { __typename }", {"operationName": "b"}),
    ("QUERY_TOO_COMPLEX", "{ a" * 100 + "}" * 100, {}),
    ("QUERY_TOO_COMPLEX", "subscription { " + "a " * 6000 + "}", {}),
    (
        "QUERY_TOO_COMPLEX",
        f"subscription {{ exportsProgress {{ exports {{ campaign {{ {DEEP} }} }} }} }}",
        {},
    ),
    ("NOT_FOUND", PROGRESS, {"variables": {"id": str(UUID(int=0))}}),
]


@pytest.mark.parametrize(("code", "query", "more"), REFUSED, ids=lambda value: str(value)[:40])
async def test_operation_that_is_refused(
    shared: Shared, reader: Socket, code: str, query: str, more: dict[str, object]
) -> None:
    """What cannot be carried out is answered with `error`, with the codes of HTTP; the socket stays open."""
    await reader.send(subscribing(payload={"query": query, **more}))
    assert set(await reader.refusal()) == {code}
    await reader.subscribe(VIEWER)
    assert await reader.event() == ADMIN
    assert len(shared.gateway.streams) == 0


async def test_one_operation_of_several(world: World, admin: Socket) -> None:
    """`operationName` says which operation of a document is meant, also between kinds."""
    id = await running_export(world.url, world.acme)
    document = f"query a {VIEWER} {PROGRESS.replace('subscription', 'subscription b')}"
    await admin.subscribe(document, {"id": id}, "1", operationName="b")
    assert await admin.event() == state(0, 0)
    await admin.subscribe(document, {"id": id}, "2", operationName="a")
    assert await admin.event("2") == ADMIN


async def test_token_that_may_not_read(gateway: Gateway, world: World) -> None:
    """The scopes of the token count as over HTTP."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        token = await Builder(connection).token(acme.id, acme.admin, ("WRITE",))
    async with signed_in(gateway, token) as socket:
        for query in (VIEWER, PROGRESS):
            await socket.subscribe(query, {"id": str(acme.rows["export"])})
            assert await socket.refusal() == ["FORBIDDEN"]


async def test_faults_are_masked(world: World, admin: Socket) -> None:
    """A fault says its code and an id, under which the log has it; data of people is in neither."""
    id = await running_export(world.url, world.acme)
    await on_server(world.url, "ALTER TABLE exports RENAME COLUMN rows_processed TO gone")
    with capture_logs() as logs:
        await admin.subscribe(PROGRESS, {"id": id})
        message = await admin.receive()
    assert message["type"] == "error"
    (error,) = message["payload"]
    (line,) = [line for line in logs if line["event"] == "request.failed"]
    assert error["message"] == "Something went wrong."
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": line["request_id"]}


async def test_outage(gateway: Gateway, world: World, server: str, admin: Socket) -> None:
    """While the database is away, hellos are told to try again by 1013, operations by an error; streams go on later."""
    name = str(make_url(world.url).database)
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    await admin.subscribe(PROGRESS, {"id": id}, "watching")
    assert await admin.event("watching") == state(0, 0)
    await on_server(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", TERMINATE.format(name))
    async with opened(gateway) as socket:
        await socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
        assert await socket.closed() == 1013
    await admin.subscribe(VIEWER)
    assert await admin.refusal() == ["SERVICE_UNAVAILABLE"]
    await on_server(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await progress(world.url, world.acme, id, rows_processed=1)
    assert await admin.event("watching") == state(1, 1)


ORIGINS = {
    None: True,
    "http://127.0.0.1:{port}": True,
    "https://127.0.0.1:{port}": True,
    "https://gateway.example": True,
    "https://GATEWAY.example": True,
    "https://app.example": True,
    "https://www.app.example:8443": True,
    "http://gateway.example": False,
    "https://evil.example": False,
    "https://app.example.evil.example": False,
    "https://gateway.example:444": False,
    "http://127.0.0.1": False,
    "null": False,
    "": False,
    "file://127.0.0.1:{port}": False,
}


async def test_origins(world: World) -> None:
    """Pages of the gateway and of named origins may open sockets, and so may what is no browser; other pages not."""
    async with running_gateway(
        world.url,
        public_url="https://gateway.example/graph",
        allowed_origins="https://app.example, https://www.app.example:8443",
    ) as gateway:
        for origin, allowed in ORIGINS.items():
            given = origin and origin.format(port=gateway.http.base_url.port)
            if allowed:
                async with opened(gateway, origin=given) as socket:
                    await socket.hello(world.acme.tokens["admin"])
            else:
                with pytest.raises(InvalidStatus) as refused:
                    async with opened(gateway, origin=given):
                        pass
                assert refused.value.response.status_code == 403, origin


async def test_client_that_has_enough(gateway: Gateway, world: World, admin: Socket) -> None:
    """`complete` of the client ends the stream at once, and other operations go on."""
    id = await running_export(world.url, world.acme)
    await admin.subscribe(PROGRESS, {"id": id})
    await admin.event()
    await admin.send({"type": "complete", "id": "1"})
    await until_idle(gateway)
    await progress(world.url, world.acme, id, rows_processed=1)
    await admin.subscribe(VIEWER)
    assert await admin.event() == ADMIN


async def test_two_gateways(gateway: Gateway, world: World, admin: Socket) -> None:
    """Whichever process a client is connected to, it sees every change, and the end."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["member"]
    async with running_gateway(world.url) as other, signed_in(other, token) as member:
        for socket in (admin, member):
            await socket.subscribe(PROGRESS, {"id": id})
            assert await socket.event() == state(0, 0)
        await progress(world.url, world.acme, id, rows_processed=1)
        for socket in (admin, member):
            assert await socket.event() == state(1, 1)
        await progress(world.url, world.acme, id, status="CANCELED")
        for socket in (admin, member):
            assert await socket.event() == state(2, 1, "CANCELED")
            await socket.end_of()
