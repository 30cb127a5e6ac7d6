"""How does a test watch? Over a WebSocket or as server-sent events, through real sockets, as an app does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol
from uuid import UUID

import httpx
import orjson
import pytest
from sqlalchemy import Executable, func, select, update
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from gateway.server import WebSocketProtocol
from store.database import owner_transaction
from store.models import Export
from store.signals import Channel
from tests.build import Builder, TestCompany
from tests.client import Gateway
from tests.post import until

SUBPROTOCOL = "graphql-transport-ws"
PROGRESS = "subscription ($id: ID!) { exportProgress(id: $id) { sequence isFinal export { status rowsProcessed } } }"
SECONDS = 20
FEW_BYTES = 4096


class Served(Protocol):
    """A gateway, in this process or in another."""

    @property
    def http(self) -> httpx.AsyncClient:
        """A client of its address."""


class Socket:
    """A WebSocket of a client; what it waits for must come within SECONDS."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: object) -> None:
        await self.connection.send(message if isinstance(message, str | bytes) else orjson.dumps(message).decode())

    async def receive(self) -> Any:
        async with asyncio.timeout(SECONDS):
            return orjson.loads(await self.connection.recv())

    async def _receive_all(self) -> None:
        while True:
            await self.receive()

    async def hello(self, token: str) -> None:
        await self.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(
        self, query: str, variables: Mapping[str, object] | None = None, id: str = "1", **more: object
    ) -> None:
        await self.send({"type": "subscribe", "id": id, "payload": {"query": query, "variables": variables, **more}})

    async def event(self, id: str = "1") -> Any:
        """The data of the next message, which must be an event of this operation without errors."""
        message = await self.receive()
        assert (message["type"], message["id"]) == ("next", id), message
        assert set(message["payload"]) == {"data"}, message
        return message["payload"]["data"]

    async def end_of(self, id: str = "1") -> None:
        assert await self.receive() == {"type": "complete", "id": id}

    async def refusal(self, id: str = "1") -> list[str]:
        """The codes of the next message, which must be the error that ends the operation."""
        message = await self.receive()
        assert (message["type"], message["id"]) == ("error", id), message
        return [error["extensions"]["code"] for error in message["payload"]]

    async def closed(self) -> int | None:
        """Receives until the socket is closed: the code, or None when the connection was cut without a word."""
        with pytest.raises(ConnectionClosed) as ended:
            await self._receive_all()
        return None if ended.value.rcvd is None else ended.value.rcvd.code

    def pings(self, count: int) -> None:
        """Sends so many of the largest pings, and waits for none of the pongs."""
        for _ in range(count):
            self.connection.protocol.send_ping(bytes(125))
        self.write()

    def write(self) -> None:
        """Sends the frames that were made by the connection's `protocol`."""
        self.connection.transport.write(b"".join(self.connection.protocol.data_to_send()))


@asynccontextmanager
async def opened(
    gateway: Served, *, subprotocols: tuple[str, ...] = (SUBPROTOCOL,), receive_buffer: int | None = None, **more: Any
) -> AsyncIterator[Socket]:
    """A WebSocket to the gateway; `receive_buffer`: how many bytes are taken for a client that does not read."""
    origin = more.pop("origin", None)
    if receive_buffer is not None:
        url = gateway.http.base_url
        more["sock"] = socket.socket()
        more["sock"].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        more["sock"].connect((url.host, url.port))
        more["sock"].setblocking(False)
    # Nobody waits for a client that goes: a test that wants to know how the gateway closes asks for it.
    async with connect(
        str(gateway.http.base_url.copy_with(scheme="ws", path="/graphql")),
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        origin=None if origin is None else Origin(origin),
        compression=None,
        max_size=None,
        ping_interval=None,
        close_timeout=1,
        **more,
    ) as connection:
        yield Socket(connection)


@asynccontextmanager
async def signed_in(gateway: Served, token: str, **more: Any) -> AsyncIterator[Socket]:
    """A WebSocket whose hello was accepted."""
    async with opened(gateway, **more) as found:
        await found.hello(token)
        yield found


def gateway_side(gateway: Gateway, socket: Socket) -> WebSocketProtocol:
    """The other end of the socket."""
    connections = gateway.server.server_state.connections
    web_sockets = [connection for connection in connections if isinstance(connection, WebSocketProtocol)]
    (found,) = [each for each in web_sockets if each.client == socket.connection.local_address]
    return found


async def left_unread(gateway: Gateway, client: Socket) -> WebSocketProtocol:
    """The client stops to read, and there is something for it that the network does not take: less than makes it wait.

    Returns the gateway's side.
    """
    side = gateway_side(gateway, client)
    side.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEW_BYTES)
    client.connection.transport.pause_reading()

    async def is_left() -> bool:
        client.pings(10)
        return side.transport.get_write_buffer_size() > 0

    await until(is_left)
    assert side.is_writable()
    return side


async def without_sockets(gateway: Gateway) -> bool:
    """Whether no WebSocket is connected to the gateway."""
    return not any(isinstance(each, WebSocketProtocol) for each in gateway.server.server_state.connections)


class Events:
    """A stream of server-sent events; each is its type and its data, a comment is ("", its text)."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._blocks = self._split()

    async def _split(self) -> AsyncIterator[tuple[str, str]]:
        """The stream's blocks, as the HTML standard has them (9.2.6)."""
        lines: list[str] = []
        async for line in self.response.aiter_lines():
            if line:
                lines.append(line)
                continue
            fields = dict(part.split(":", 1) for part in lines)
            yield fields.pop("event", "").strip(), next(iter(fields.values()), "").strip()
            lines = []

    async def block(self) -> tuple[str, str] | None:
        """The next one, or None at the end of the stream."""
        async with asyncio.timeout(SECONDS):
            return await anext(self._blocks, None)

    async def event(self) -> Any:
        """The data of the next event, which must be without errors."""
        block = await self.block()
        assert block is not None
        assert block[0] == "next", block
        answer = orjson.loads(block[1])
        assert set(answer) == {"data"}, answer
        return answer["data"]


@asynccontextmanager
async def event_stream(
    gateway: Served, token: str, query: str, variables: Mapping[str, object] | None = None, **headers: str
) -> AsyncIterator[Events]:
    """The answer to a request for server-sent events, as the holder of the token."""
    sent = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream", **headers}
    body = {"query": query, "variables": variables}
    async with gateway.http.stream("POST", "/graphql", json=body, headers=sent) as response:
        yield Events(response)


async def running_export(url: str, company: TestCompany) -> str:
    """The id of a new export that a worker has in hand."""
    async with owner_transaction(url) as connection:
        id: UUID = await Builder(connection).add(
            Export, company_id=company.id, requested_by_id=company.admin, status="RUNNING", heartbeat_at=func.now()
        )
    return str(id)


async def progress(url: str, company: TestCompany, id: str, **values: object) -> None:
    """What a worker does: writes the row and signals, in one transaction."""
    async with owner_transaction(url) as connection:
        written = {"sequence": Export.sequence + 1, "heartbeat_at": func.now(), **values}
        await connection.execute(update(Export).where(Export.id == UUID(id)).values(written))
        await connection.execute(notification(Channel.EXPORTS, company, id))


def notification(channel: Channel, company: TestCompany, id: str) -> Executable:
    """The signal that a row has changed."""
    return select(func.pg_notify(channel.value, f"{company.id}:{id}"))


def state(sequence: int, rows: int, status: str = "RUNNING") -> dict[str, object]:
    """The data of an event of PROGRESS."""
    final = status not in ("PENDING", "RUNNING", "CANCELING")
    event = {"sequence": sequence, "isFinal": final, "export": {"status": status, "rowsProcessed": rows}}
    return {"exportProgress": event}


async def until_idle(gateway: Gateway) -> None:
    """Waits until no stream is running, nor the task of one."""

    async def idle() -> bool:
        return len(gateway.streams) == 0 and not any("Stream.run" in repr(task) for task in asyncio.all_tasks())

    await until(idle)
