"""How are thousands of clients played by one process? Bare sockets, which only count what they are sent."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import cast

import orjson
import uvloop

from gateway.server import allow_many_connections

AT_A_TIME = 100


def watch(port: int, tokens: Sequence[str], operation: str, count: int, tells: Connection) -> None:
    """Opens so many sockets and subscribes each; tells when all had the first event, the second, and so on.

    The sockets take the tokens in turn.
    `operation`: the payload of `subscribe`, as JSON. The process lasts until it is ended.
    """
    allow_many_connections()
    uvloop.run(Crowd(port, tokens, operation, count, tells).watch())


class Crowd:
    """All the sockets of this process."""

    def __init__(self, port: int, tokens: Sequence[str], operation: str, count: int, tells: Connection) -> None:
        self._port = port
        self._count = count
        self._tells = tells
        before, after = upgrade(port), frame(f'{{"type":"subscribe","id":"1","payload":{operation}}}')
        self._said = [(before, frame(hello(token)), after) for token in tokens]
        self._heard = 0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        turns = asyncio.Semaphore(AT_A_TIME)

        async def open_one(number: int) -> None:
            said = self._said[number % len(self._said)]
            async with turns:
                subscribed = asyncio.Event()
                await loop.create_connection(lambda: Client(said, subscribed.set, self._next), "127.0.0.1", self._port)
                await subscribed.wait()

        await asyncio.gather(*(open_one(number) for number in range(self._count)))
        self._tells.send(time.monotonic())
        await loop.create_future()

    def _next(self) -> None:
        self._heard += 1
        if self._heard == self._count:
            self._heard = 0
            self._tells.send(time.monotonic())


class Client(asyncio.Protocol):
    """One socket: says its three lines, each after an answer to the one before, and counts the events after that."""

    __slots__ = ("_heard", "_lines", "_next", "_pending", "_subscribed", "_transport")

    def __init__(self, lines: tuple[bytes, ...], subscribed: Callable[[], None], heard: Callable[[], None]) -> None:
        self._lines = iter(lines)
        self._subscribed = subscribed
        self._next = heard
        self._heard = self._first
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not registered as such.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(next(self._lines))

    def data_received(self, data: bytes) -> None:
        received = self._pending + data
        if received.startswith(b"HTTP/"):
            head, end, received = received.partition(b"\r\n\r\n")
            if not end:
                self._pending = head
                return
            self._transport.write(next(self._lines))
        while (length := length_of(received)) is not None:
            self._message(received[0] & 15, received[:length])
            received = received[length:]
        self._pending = received

    def _first(self) -> None:
        self._heard = self._next
        self._subscribed()

    def _message(self, opcode: int, message: bytes) -> None:
        if opcode == 9:
            # A ping, which is answered with what it holds (RFC 6455, 5.5.3).
            self._transport.write(frame(message[2:].decode("latin-1"), 0x8A, "latin-1"))
        elif b'"connection_ack"' in message:
            self._transport.write(next(self._lines))
        elif b'"type":"next"' in message:
            self._heard()
        else:
            raise AssertionError(f"unexpected: {message!r}")


def upgrade(port: int) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        "GET /graphql HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: graphql-transport-ws",
    )
    return "\r\n".join((*lines, "", "")).encode()


def hello(token: str) -> str:
    return orjson.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}).decode()


def frame(text: str, first: int = 0x81, encoding: str = "utf-8") -> bytes:
    """A client's frame (RFC 6455, 5.2); the mask is zero, which leaves the content as it is."""
    content = text.encode(encoding)
    length = bytes([0x80 | len(content)]) if len(content) < 126 else b"\xfe" + struct.pack("!H", len(content))
    return bytes([first]) + length + bytes(4) + content


def length_of(received: bytes) -> int | None:
    """How many bytes the frame has that stands first; None until all of it is there."""
    if len(received) < 4:
        return None
    length, head = received[1] & 127, 2
    if length == 126:
        length, head = struct.unpack("!H", received[2:4])[0], 4
    return head + length if len(received) >= head + length else None
