"""Is GraphQL over server-sent events kept, and does nothing outlive the client, or hold the process up?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import httpx
import orjson
import pytest
from sqlalchemy import delete, update
from starlette.responses import Response
from starlette.types import Message
from structlog.testing import capture_logs

from gateway.server import HttpProtocol
from gateway.streams.outbox import Outbox, Patience
from gateway.streams.server_sent_events import EventStream
from store.database import owner_transaction
from store.models import AccessToken, Export
from tests.build import NOW, Builder
from tests.client import Gateway, running_gateway
from tests.conftest import World, on_server
from tests.post import until
from tests.streaming import (
    FEW_BYTES,
    PROGRESS,
    Events,
    event_stream,
    progress,
    running_export,
    state,
    until_idle,
)

pytestmark = pytest.mark.anyio

VIEWER = "{ viewer { user { lastName } } }"
ADMIN = {"viewer": {"user": {"lastName": "Admin"}}}
# So long that whatever ends does so for another reason.
LONG = 3600.0
JSON, RESPONSE = "application/json", "application/graphql-response+json"


async def test_an_export_to_its_end(gateway: Gateway, world: World) -> None:
    """The snapshot, each event, the final one and `complete` come as events; nothing on the way may keep them."""
    id = await running_export(world.url, world.acme)
    async with event_stream(gateway, world.acme.tokens["admin"], PROGRESS, {"id": id}) as events:
        headers = events.response.headers
        assert events.response.status_code == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert headers["x-request-id"]
        assert "content-length" not in headers
        assert await events.event() == state(0, 0)
        await progress(world.url, world.acme, id, rows_processed=3)
        assert await events.event() == state(1, 3)
        await progress(world.url, world.acme, id, status="CANCELED")
        assert await events.event() == state(2, 3, "CANCELED")
        assert await events.block() == ("complete", "")
        assert await events.block() is None
    await until_idle(gateway)


async def test_the_bytes(gateway: Gateway, world: World) -> None:
    """The stream is what the HTML standard's parser takes for two events, the second with empty data."""
    id = str(world.acme.rows["export"])
    async with event_stream(gateway, world.acme.tokens["admin"], PROGRESS, {"id": id}) as events:
        body = (await events.response.aread()).decode()
    answer = orjson.dumps({"data": state(0, 1, "COMPLETED")}).decode()
    assert body == f"event: next\ndata: {answer}\n\nevent: complete\ndata:\n\n"


async def test_signs_of_life(world: World) -> None:
    """A stream with nothing to say begins all the same, and says so again and again, as proxies cut silent ones."""
    id = await running_export(world.url, world.acme)
    nothing_yet = PROGRESS.replace("exportProgress(id: $id)", "exportProgress(id: $id, afterSequence: 9)")
    async with (
        running_gateway(world.url, patience=Patience(silence=0.05, first_silence=0.05)) as gateway,
        event_stream(gateway, world.acme.tokens["admin"], nothing_yet, {"id": id}) as events,
    ):
        for _ in range(3):
            assert await events.block() == ("", "")


ACCEPTED = [
    ("text/event-stream", "text/event-stream"),
    ("TEXT/Event-Stream;q=0.9", "text/event-stream"),
    ("text/event-stream, */*", "text/event-stream"),
    (f"{RESPONSE}, {JSON}, text/event-stream", RESPONSE),
    (f"{JSON}, text/event-stream", JSON),
]


@pytest.mark.parametrize(("accept", "media_type"), ACCEPTED)
async def test_query(gateway: Gateway, world: World, accept: str, media_type: str) -> None:
    """A query is answered with events only if nothing else is accepted; a subscription always with events."""
    token = world.acme.tokens["admin"]
    async with event_stream(gateway, token, VIEWER, Accept=accept) as events:
        assert events.response.headers["content-type"].split(";")[0] == media_type
        if media_type == "text/event-stream":
            assert await events.event() == ADMIN
            assert await events.block() == ("complete", "")
            assert await events.block() is None
        else:
            assert orjson.loads(await events.response.aread()) == {"data": ADMIN}
    id = str(world.acme.rows["export"])
    async with event_stream(gateway, token, PROGRESS, {"id": id}, Accept=accept) as events:
        assert await events.event() == state(0, 1, "COMPLETED")


@pytest.mark.parametrize("accept", [JSON, RESPONSE, "*/*", "text/html", "text/event-streams"])
async def test_subscription_without_a_stream(gateway: Gateway, world: World, accept: str) -> None:
    """A subscription is not answered as if it were a query: the answer says how to ask for it."""
    headers = {"Authorization": f"Bearer {world.acme.tokens['admin']}", "Accept": accept}
    body = {"query": PROGRESS, "variables": {"id": str(world.acme.rows["export"])}}
    response = await gateway.http.post("/graphql", json=body, headers=headers)
    (error,) = response.json()["errors"]
    assert (response.status_code, error["extensions"]["code"]) == (406, "NOT_ACCEPTABLE")
    assert "text/event-stream" in error["message"]


NOBODY = str(UUID(int=0))
REFUSED = [
    ("GRAPHQL_PARSE_FAILED", "subscription {"),
    ("GRAPHQL_VALIDATION_FAILED", "subscription { nothing }"),
    ("GRAPHQL_VALIDATION_FAILED", PROGRESS),
    ("QUERY_TOO_COMPLEX", "subscription { " + "a " * 6000 + "}"),
    ("OPERATION_RESOLUTION_FAILURE", "subscription a { a } subscription b { b }"),
    ("NOT_FOUND", f'subscription {{ exportProgress(id: "{NOBODY}") {{ sequence }} }}'),
    ("INVALID_REQUEST", ""),
]


@pytest.mark.parametrize(("code", "query"), REFUSED, ids=lambda value: value[:30])
async def test_refusal(gateway: Gateway, world: World, code: str, query: str) -> None:
    """What cannot be watched is answered with a status and JSON, not with a stream that is taken for a good one."""
    async with event_stream(gateway, world.acme.tokens["admin"], query) as events:
        answer = orjson.loads(await events.response.aread())
        assert events.response.status_code == 400
        assert events.response.headers["content-type"].split(";")[0] == RESPONSE
    assert {error["extensions"]["code"] for error in answer["errors"]} == {code}
    assert "data" not in answer
    assert len(gateway.streams) == 0


async def test_token(gateway: Gateway, world: World) -> None:
    """The token is in the usual header, and is refused in the usual way."""
    id = str(world.acme.rows["export"])
    async with event_stream(gateway, "nobody's", PROGRESS, {"id": id}) as events:
        answer = orjson.loads(await events.response.aread())
    assert events.response.status_code == 401
    assert events.response.headers["www-authenticate"].startswith("Bearer ")
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def told_signed_out(events: Events) -> bool:
    """Whether the next event says that the token is no good any more, and the stream completes after it."""
    block = await events.block()
    assert block is not None
    errors = orjson.loads(block[1])["errors"]
    assert [error["extensions"]["code"] for error in errors] == ["UNAUTHENTICATED"]
    return await events.block() == ("complete", "")


async def test_token_that_is_revoked(gateway: Gateway, world: World) -> None:
    """Instead of the next event the holder of a revoked token reads that it is not valid."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with event_stream(gateway, token, PROGRESS, {"id": id}) as events:
        await events.event()
        async with owner_transaction(world.url) as connection:
            revoked = update(AccessToken).where(AccessToken.id == token.split("_")[1]).values(revoked_at=NOW)
            await connection.execute(revoked)
        await progress(world.url, world.acme, id, rows_processed=1)
        assert await told_signed_out(events)


async def test_token_that_expires(gateway: Gateway, world: World) -> None:
    """The stream ends at the moment at which the token expires."""
    acme = world.acme
    id = await running_export(world.url, acme)
    async with owner_transaction(world.url) as connection:
        token = await Builder(connection).token(acme.id, acme.admin, expires_at=NOW + timedelta(seconds=0.5))
    async with event_stream(gateway, token, PROGRESS, {"id": id}) as events:
        assert await events.event() == state(0, 0)
        assert await told_signed_out(events)


async def test_what_goes_away(gateway: Gateway, world: World) -> None:
    """A stream that breaks off says why in its last event."""
    id = await running_export(world.url, world.acme)
    async with event_stream(gateway, world.acme.tokens["admin"], PROGRESS, {"id": id}) as events:
        await events.event()
        async with owner_transaction(world.url) as connection:
            await connection.execute(delete(Export).where(Export.id == UUID(id)))
        await on_server(world.url, f"NOTIFY exports, '{world.acme.id}:{id}'")
        block = await events.block()
        assert block is not None
        assert [error["extensions"]["code"] for error in orjson.loads(block[1])["errors"]] == ["NOT_FOUND"]
        assert await events.block() == ("complete", "")


async def test_fault_before_the_first_event(gateway: Gateway, world: World) -> None:
    """A fault is a status 500 with the request's id, under which the log has it."""
    id = await running_export(world.url, world.acme)
    await on_server(world.url, "ALTER TABLE exports RENAME COLUMN rows_processed TO gone")
    with capture_logs() as logs:
        async with event_stream(gateway, world.acme.tokens["admin"], PROGRESS, {"id": id}) as events:
            answer = orjson.loads(await events.response.aread())
    request_id = events.response.headers["x-request-id"]
    assert events.response.status_code == 500
    assert answer["errors"][0]["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}
    assert [line["request_id"] for line in logs if line["event"] == "request.failed"] == [request_id]


async def test_client_that_goes(gateway: Gateway, world: World) -> None:
    """With its client a subscription ends, though nothing happens in it, and nothing of it is left."""
    id = await running_export(world.url, world.acme)
    async with httpx.AsyncClient(base_url=gateway.http.base_url) as http:
        headers = {"Authorization": f"Bearer {world.acme.tokens['admin']}", "Accept": "text/event-stream"}
        body = {"query": PROGRESS, "variables": {"id": id}}
        async with http.stream("POST", "/graphql", json=body, headers=headers) as response:
            assert await Events(response).event() == state(0, 0)
            assert len(gateway.streams) == 1
    await until_idle(gateway)

    async def nothing_left() -> bool:
        return not gateway.server.server_state.tasks

    await until(nothing_left)


@contextmanager
def silent_stream(gateway: Gateway, token: str, export: str, fields: int) -> Iterator[None]:
    """A client that asks for a stream and reads none of it; each field makes 900 bytes of every event."""
    many = " ".join(f"{'a' * 900}{number}: rowsProcessed" for number in range(fields))
    query = f'subscription {{ exportProgress(id: "{export}") {{ sequence export {{ {many} }} }} }}'
    body = orjson.dumps({"query": query})
    head = (
        "POST /graphql HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((gateway.http.base_url.host, gateway.http.base_url.port)) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FEW_BYTES)
        silent.sendall(head.encode() + body)
        yield


async def watched(gateway: Gateway) -> bool:
    return len(gateway.streams) == 1


async def unconnected(gateway: Gateway) -> bool:
    return not gateway.server.server_state.connections


async def test_client_that_does_not_read(world: World) -> None:
    """Who takes nothing for long enough loses the connection, and the subscription ends."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with running_gateway(world.url, patience=Patience(send=0.5)) as gateway:
        with silent_stream(gateway, token, id, fields=90):

            async def cut() -> bool:
                await progress(world.url, world.acme, id)
                return await unconnected(gateway)

            await until(lambda: watched(gateway))
            await until(cut)
        await until_idle(gateway)


async def test_stopping_with_something_unread(world: World) -> None:
    """A gateway that stops does not wait for a client that does not read the little that is left to it."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with running_gateway(world.url, patience=Patience(send=LONG, farewell=0.2)) as gateway:
        with silent_stream(gateway, token, id, fields=9):
            await until(lambda: watched(gateway))
            (side,) = gateway.server.server_state.connections
            assert isinstance(side, HttpProtocol)
            side.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEW_BYTES)

            async def is_left() -> bool:
                await progress(world.url, world.acme, id)
                return side.transport.get_write_buffer_size() > 0

            await until(is_left)
            assert side.is_writable()
            gateway.server.should_exit = True
            await until(lambda: unconnected(gateway))


class Stuck:
    """The flow of a client that does not read, until it is let go."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()

    def is_writable(self) -> bool:
        return self.reads.is_set()

    async def drained(self) -> None:
        await self.reads.wait()

    def abort(self) -> None:
        raise AssertionError("there was patience enough")

    def cut_after(self, seconds: float) -> None:
        raise AssertionError("nothing is at its end")


async def test_sign_of_life_while_an_event_waits() -> None:
    """An event that waits for the client makes way for the next event, and not for a sign of life."""
    flow, sent, signs = Stuck(), list[bytes](), 0

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Message:
        # It is asked anew after every sign of life.
        nonlocal signs
        signs += 1
        await asyncio.Event().wait()
        raise AssertionError("it is never told anything")

    async def two_signs() -> bool:
        return signs > 2

    async def all_sent() -> bool:
        return bool(sent) and sent[-1] == b":\n\n"

    stream = EventStream(Outbox(send, flow, LONG), flow, refuse=lambda _: Response())
    await stream.next("1")
    await stream.next("2")
    living = asyncio.create_task(stream.live(receive, Patience(first_silence=0.01, silence=0.01)))
    await until(two_signs)
    living.cancel()
    flow.reads.set()
    await until(all_sent)
    stream.close()
    assert sent == [b"", b"event: next\ndata: 2\n\n", b":\n\n"]


async def test_drain(world: World) -> None:
    """A gateway that stops ends its streams at once, without `complete`: whoever watches comes back, elsewhere."""
    id = await running_export(world.url, world.acme)
    async with (
        running_gateway(world.url) as gateway,
        event_stream(gateway, world.acme.tokens["admin"], PROGRESS, {"id": id}) as events,
    ):
        await events.event()
        gateway.server.should_exit = True
        assert await events.block() == ("", "1000")
        assert await events.block() is None
