"""How is a message sent without ever waiting for a client that does not read?"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Message, Scope, Send

# The name of the ASGI extension by which the server hands its side of a connection to the application.
FLOW = "gateway.flow"
END = "end"


@dataclass(frozen=True)
class Patience:
    """How long is waited for a client, in seconds.

    `hello`: for the first message of a WebSocket. `send`: for one that does not read while a message waits for it, or
    after its WebSocket was closed, until its connection is cut; `farewell`: the same, when the process stops.
    `silence`: between two signs of life in a stream of server-sent events; `first_silence`: before the first one,
    which begins the answer of a stream that has nothing to say yet. `ping`: between two pings of a WebSocket, and
    `pong`: for the answer to one.
    """

    hello: float = 5
    send: float = 10
    farewell: float = 1
    silence: float = 12
    first_silence: float = 1
    ping: float = 30
    pong: float = 20


class Flow(Protocol):
    """The server's side of one connection."""

    def is_writable(self) -> bool:
        """Whether what is sent now is taken at once, because the client reads (or less than 64 KiB are left to it)."""

    async def drained(self) -> None:
        """Returns when it is writable, or the connection is gone."""

    def abort(self) -> None:
        """Ends the connection at once; what the client has not read is lost."""

    def cut_after(self, seconds: float) -> None:
        """Aborts the connection so many seconds from now, unless it has ended by then; the earliest call counts."""


def flow_of(scope: Scope) -> Flow:
    found: Flow = scope["extensions"][FLOW]["flow"]
    return found


class Outbox:
    """What is sent over one connection: at once while the client reads; else of each kind only the latest waits.

    When a message has waited and nothing was taken for `seconds`, the client loses the connection. Sending never
    raises: whoever owns the connection hears of its end by receiving.
    """

    __slots__ = ("_flow", "_flushing", "_over", "_seconds", "_send", "_waiting")

    def __init__(self, send: Send, flow: Flow, seconds: float) -> None:
        self._send = send
        self._flow = flow
        self._seconds = seconds
        self._waiting: dict[Hashable, Message] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._over = False

    async def put(self, kind: Hashable, message: Message) -> None:
        """Sends the message, or lets it wait in the place of the one of its kind that waits already."""
        if self._over:
            return
        if not self._waiting and self._flow.is_writable():
            await self._transmit(message)
            return
        self._waiting[kind] = message
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())

    async def finish(self, message: Message) -> None:
        """Sends the last message, after what waits; nothing follows it."""
        await self.put(END, message)
        self._over = True

    async def settled(self) -> None:
        """Returns when nothing waits, or the connection is cut: until then nothing more is taken from the client."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])

    def forget(self, kind: Hashable) -> None:
        """What waits of this kind need not be sent any more."""
        self._waiting.pop(kind, None)

    def close(self) -> None:
        """The connection is at its end: nothing is sent any more."""
        self._over = True
        self._waiting.clear()
        if self._flushing is not None:
            self._flushing.cancel()

    async def _flush(self) -> None:
        try:
            while self._waiting:
                async with asyncio.timeout(self._seconds):
                    await self._flow.drained()
                while self._waiting and self._flow.is_writable():
                    await self._transmit(self._waiting.pop(next(iter(self._waiting))))
        except TimeoutError:
            self._flow.abort()
        finally:
            self._flushing = None

    async def _transmit(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            # The client is gone, which its receiving side is about to hear.
            self._over = True
            self._waiting.clear()
