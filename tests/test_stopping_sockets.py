"""When does a socket end, whom does its end reach, and does it end where a client reads nothing?"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs
from structlog.typing import EventDict

from gateway.server import SHUTDOWN_SECONDS, WebSocketProtocol
from gateway.streams.outbox import Patience
from store.database import owner_transaction
from store.models import AccessToken
from tests.build import NOW, Builder
from tests.client import Gateway, running_gateway
from tests.conftest import World
from tests.post import until
from tests.streaming import (
    FEW_BYTES,
    PROGRESS,
    SECONDS,
    Socket,
    event_stream,
    gateway_side,
    left_unread,
    opened,
    progress,
    running_export,
    signed_in,
    state,
    until_idle,
    without_sockets,
)

pytestmark = pytest.mark.anyio

VIEWER = "{ viewer { user { lastName } } }"
# So long that whatever ends does so for another reason.
LONG = 3600.0
MEGABYTE = 2**20
# Pings whose pongs no system keeps in its buffers.
MORE_THAN_FITS = 60_000
ROOT = Path(__file__).parent.parent


@pytest.fixture
async def admin(gateway: Gateway, world: World) -> AsyncIterator[Socket]:
    """A socket of acme's administrator, whose hello was accepted."""
    async with signed_in(gateway, world.acme.tokens["admin"]) as found:
        yield found


async def test_no_hello_in_time(world: World) -> None:
    """Who says nothing is closed, and pings do not put it off."""
    async with running_gateway(world.url, patience=Patience(hello=0.2)) as gateway, opened(gateway) as socket:
        await socket.send({"type": "ping"})
        assert await socket.receive() == {"type": "pong"}
        assert await socket.closed() == 4408


async def test_message_that_is_too_large(world: World) -> None:
    """A message may be as large as the body of a request, in one frame or in many."""
    async with running_gateway(world.url, max_body_bytes=1000) as gateway:
        async with opened(gateway) as socket:
            await socket.send({"type": "ping", "payload": {"a": "a" * 900}})
            assert await socket.receive() == {"type": "pong"}
            await socket.send({"type": "ping", "payload": {"a": "a" * 1000}})
            assert await socket.closed() == 1009
        async with opened(gateway) as socket:
            await socket.connection.send(["a" * 400, "a" * 400, "a" * 400])
            assert await socket.closed() == 1009


async def test_token_that_is_over(gateway: Gateway, world: World) -> None:
    """An expired token and a revoked one open nothing."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        expired = await build.token(acme.id, acme.admin, expires_at=NOW)
        revoked = await build.token(acme.id, acme.admin, revoked_at=NOW)
    for token in (expired, revoked):
        async with opened(gateway) as socket:
            await socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
            assert await socket.closed() == 4401


@pytest.mark.parametrize("query", ["", PROGRESS])
async def test_token_that_expires(gateway: Gateway, world: World, query: str) -> None:
    """The moment that the token expires the socket is closed, busy or idle."""
    acme = world.acme
    id = await running_export(world.url, acme)
    async with owner_transaction(world.url) as connection:
        token = await Builder(connection).token(acme.id, acme.admin, expires_at=NOW + timedelta(seconds=0.5))
    async with signed_in(gateway, token) as socket:
        if query:
            await socket.subscribe(query, {"id": id})
            assert await socket.event() == state(0, 0)
        assert await socket.closed() == 4401
    await until_idle(gateway)


async def revoke(world: World, token: str) -> None:
    async with owner_transaction(world.url) as connection:
        revoked = update(AccessToken).where(AccessToken.id == token.split("_")[1]).values(revoked_at=NOW)
        await connection.execute(revoked)


async def test_token_that_is_revoked(gateway: Gateway, world: World, admin: Socket) -> None:
    """A revoked token is noticed at the next event, which it does not get."""
    id = await running_export(world.url, world.acme)
    await admin.subscribe(PROGRESS, {"id": id})
    assert await admin.event() == state(0, 0)
    await revoke(world, world.acme.tokens["admin"])
    await progress(world.url, world.acme, id, rows_processed=1)
    assert await admin.closed() == 4401
    await until_idle(gateway)


@pytest.mark.parametrize("query", [VIEWER, PROGRESS])
async def test_operation_after_the_token_was_revoked(world: World, admin: Socket, query: str) -> None:
    """What the hello was good for is not relied on: each operation looks at the token anew."""
    await revoke(world, world.acme.tokens["admin"])
    await admin.subscribe(query, {"id": str(world.acme.rows["export"])})
    assert await admin.closed() == 4401


async def test_line_of_the_log(gateway: Gateway, world: World) -> None:
    """A socket leaves one line, without its query string or token."""
    with capture_logs() as logs:
        async with signed_in(
            gateway, world.acme.tokens["admin"], additional_headers={"X-Request-Id": "of-the-test"}
        ) as socket:
            await socket.subscribe(VIEWER)
            await socket.event()
            await socket.end_of()
        await until(lambda: has_line(logs, "websocket"))
    (line,) = [line for line in logs if line["event"] == "websocket"]
    assert line.pop("milliseconds") > 0
    expected = {"log_level": "info", "code": 1000, "operations": 1, "request_id": "of-the-test"}
    assert line == {"event": "websocket", **expected}


async def has_line(logs: list[EventDict], event: str) -> bool:
    return any(line["event"] == event for line in logs)


@pytest.mark.parametrize("politely", [True, False])
async def test_client_that_goes(gateway: Gateway, world: World, politely: bool) -> None:
    """With its client a subscription ends, and so does all that was done for it."""
    id = await running_export(world.url, world.acme)
    before = asyncio.all_tasks()
    async with signed_in(gateway, world.acme.tokens["admin"]) as socket:
        await socket.subscribe(PROGRESS, {"id": id})
        await socket.event()
        if not politely:
            socket.connection.transport.abort()

    async def nothing_left() -> bool:
        # The gateway may begin to listen to the database meanwhile.
        return all("signals" in repr(task) for task in asyncio.all_tasks() - before)

    await until_idle(gateway)
    await until(nothing_left)


async def says_nonsense(socket: Socket) -> None:
    await socket.send("[]")


async def says_close(socket: Socket) -> None:
    socket.connection.protocol.send_close(1000)
    socket.write()


async def ends_its_side(socket: Socket) -> None:
    socket.connection.transport.write_eof()


async def is_closed_and_says_close(socket: Socket) -> None:
    await says_nonsense(socket)
    await says_close(socket)


LEAVING = [says_nonsense, says_close, ends_its_side, is_closed_and_says_close]


@pytest.mark.parametrize("leave", LEAVING)
async def test_closed_with_something_unread(world: World, leave: Callable[[Socket], Awaitable[None]]) -> None:
    """Whoever closes, in whichever way: the connection does not wait for a client that does not read."""
    patience = Patience(send=0.2, ping=LONG)
    async with (
        running_gateway(world.url, patience=patience) as gateway,
        opened(gateway, receive_buffer=FEW_BYTES) as socket,
    ):
        await left_unread(gateway, socket)
        await leave(socket)
        await until(lambda: without_sockets(gateway))


async def test_pings_of_a_client_that_does_not_read(world: World) -> None:
    """Pings are answered to those who read; for others the answers do not pile up. Who reads again is served again."""
    async with (
        running_gateway(world.url, patience=Patience(ping=LONG)) as gateway,
        signed_in(gateway, world.acme.tokens["admin"], receive_buffer=FEW_BYTES) as socket,
    ):
        side = await left_unread(gateway, socket)
        for _ in range(100):
            socket.pings(MEGABYTE // 20 // 125)
            await until(lambda: all_sent(socket))
        assert not side.is_writable()
        assert side.transport.get_write_buffer_size() < MEGABYTE
        assert side.conn.writes == []
        socket.connection.transport.resume_reading()
        await socket.subscribe(VIEWER)
        assert (await socket.event())["viewer"]
        await socket.end_of()
        async with asyncio.timeout(SECONDS):
            await (await socket.connection.ping())


async def test_close_after_pings_without_an_answer(world: World) -> None:
    """A close is answered by a close, also when it comes right after pings that are not answered any more."""
    patience = Patience(ping=LONG)
    async with (
        running_gateway(world.url, patience=patience) as gateway,
        opened(gateway, receive_buffer=FEW_BYTES) as socket,
    ):
        side = await left_unread(gateway, socket)

        async def not_writable() -> bool:
            socket.pings(100)
            return not side.is_writable()

        await until(not_writable)
        await until(lambda: all_sent(socket))
        socket.connection.protocol.send_ping(bytes(125))
        socket.connection.protocol.send_close(1000)
        socket.write()
        socket.connection.transport.resume_reading()
        assert await socket.closed() == 1000


UPGRADE = (
    b"GET /graphql HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize("early", [True, False])
async def test_upgrade_before_the_answer(gateway: Gateway, early: bool) -> None:
    """A connection becomes a WebSocket between two answers, and not while the one before is still to come."""
    url = gateway.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    async with asyncio.timeout(SECONDS):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n" + (UPGRADE if early else b""))
        if early:
            assert await reader.read() == b""
        else:
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
            writer.write(UPGRADE)
            await reader.readuntil(b"HTTP/1.1 101 ")
    writer.close()


async def all_sent(socket: Socket) -> bool:
    return socket.connection.transport.get_write_buffer_size() == 0


async def test_drain(world: World) -> None:
    """A gateway that stops closes its sockets by 1012, which has clients come back to another one."""
    id = await running_export(world.url, world.acme)
    async with (
        running_gateway(world.url) as gateway,
        signed_in(gateway, world.acme.tokens["admin"]) as busy,
        opened(gateway) as silent,
    ):
        await busy.subscribe(PROGRESS, {"id": id})
        await busy.event()
        gateway.server.should_exit = True
        assert await busy.closed() == 1012
        assert await silent.closed() == 1012


@pytest.mark.parametrize("closing", [True, False])
async def test_stopping_with_something_unread(world: World, closing: bool) -> None:
    """A gateway that stops tells all clients, and none that does not read, closing or not, keeps the others waiting."""
    patience = Patience(send=LONG, ping=LONG, farewell=0.2)
    with capture_logs() as logs:
        async with (
            running_gateway(world.url, patience=patience) as gateway,
            opened(gateway, receive_buffer=FEW_BYTES) as silent,
            opened(gateway) as reading,
        ):
            side = await left_unread(gateway, silent)
            if closing:
                await says_close(silent)
                await until(lambda: closing_of(side))
            gateway.server.should_exit = True
            assert await reading.closed() == 1012
            await until(lambda: without_sockets(gateway))
    assert [line for line in logs if line["log_level"] == "error"] == []


async def closing_of(side: WebSocketProtocol) -> bool:
    return side.transport.is_closing()


async def test_stopping_with_a_broken_connection(world: World) -> None:
    """A connection that cannot be ended properly is cut and reported, and the others are told all the same."""
    with capture_logs() as logs:
        async with running_gateway(world.url) as gateway, AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(opened(gateway)) for _ in range(4)]
            broken = gateway_side(gateway, sockets[0])
            broken.conn.send_close(1000)
            broken.conn.data_to_send()
            gateway.server.should_exit = True
            assert [await socket.closed() for socket in sockets] == [None, 1012, 1012, 1012]
    assert [line["error"] for line in logs if line["event"] == "request.failed"] == ["InvalidState"]


@dataclass(frozen=True)
class Serving:
    """A gateway in a process of its own."""

    process: asyncio.subprocess.Process
    http: httpx.AsyncClient


@asynccontextmanager
async def serving(url: str, directory: Path) -> AsyncIterator[Serving]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {**os.environ, "DATABASE_URL": url, "DATA_DIR": str(directory), "PORT": str(port)}
    command = (sys.executable, "-m", "gateway", "serve", "--no-worker")
    process = await asyncio.create_subprocess_exec(*command, env=variables, cwd=ROOT, stderr=asyncio.subprocess.DEVNULL)

    async def ready() -> bool:
        assert process.returncode is None
        try:
            return (await http.get("/readyz")).status_code == 200
        except httpx.ConnectError:
            return False

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        try:
            await until(ready)
            yield Serving(process, http)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
async def test_stopping_the_process(world: World, tmp_path: Path, number: signal.Signals, status: int) -> None:
    """A process that is asked to stop tells its clients, and waits for neither streams nor those who do not read."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with (
        serving(world.url, tmp_path) as gateway,
        event_stream(gateway, token, PROGRESS, {"id": id}) as events,
        signed_in(gateway, token) as watching,
        opened(gateway, receive_buffer=FEW_BYTES) as silent,
    ):
        silent.connection.transport.pause_reading()
        silent.pings(MORE_THAN_FITS)
        await says_close(silent)
        await until(lambda: all_sent(silent))
        assert await events.event() == state(0, 0)
        await watching.subscribe(PROGRESS, {"id": id})
        assert await watching.event() == state(0, 0)
        gateway.process.send_signal(number)
        assert await events.block() == ("", "1000")
        assert await events.block() is None
        assert await watching.closed() == 1012
        async with asyncio.timeout(SHUTDOWN_SECONDS - 1):
            assert await gateway.process.wait() == status
