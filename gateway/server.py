"""How does the process serve HTTP and WebSockets, and how does it stop without waiting for streams?

uvicorn's own protocols, which also hand the application their side of a connection: whether the client reads, and a way
to cut it off when it does not. ASGI has neither, and closing politely waits for the client to read what is left: so
whatever is closed here has a deadline. They override what is no public interface of uvicorn, as it is in 0.54.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import uvicorn
from starlette.applications import Starlette
from uvicorn._types import ASGISendEvent  # no public module has uvicorn's types
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from gateway.problems import report
from gateway.settings import Settings
from gateway.streams.outbox import FLOW, Patience

KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 10
# Within so many a process has ended that was asked to: what it had begun, its streams and its connections.
STOP_SECONDS = 2 * SHUTDOWN_SECONDS
# More than one process can serve.
OBJECTS_BETWEEN_COLLECTIONS = 20_000
MOST_FILES = 100_000


class Cuttable(asyncio.Protocol):
    """The part of a `Flow` that ends the connection, now or later."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _gone = False
    _deadline: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        self.transport.abort()

    def cut_after(self, seconds: float) -> None:
        ends_at = self.loop.time() + seconds
        if self._gone or (self._deadline is not None and self._deadline.when() <= ends_at):
            return
        self._forget_the_deadline()
        self._deadline = self.loop.call_at(ends_at, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._gone = True
        self._forget_the_deadline()

    def _forget_the_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class HttpProtocol(Cuttable, HttpToolsProtocol):
    """HTTP/1.1; is the `Flow` of its connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {FLOW: {"flow": self}}

    def handle_websocket_upgrade(self) -> None:
        answered = self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # it may be None
        if self.flow.write_paused or not answered:
            # No client asks so early. The answer before it would go on between the frames, and neither of the two would
            # hear of the connection what the other is told.
            self.abort()
        else:
            super().handle_websocket_upgrade()

    def is_writable(self) -> bool:
        return not self.flow.write_paused

    async def drained(self) -> None:
        await self.flow.drain()


class WebSocketProtocol(Cuttable, WebSocketsSansIOProtocol):
    """RFC 6455; is the `Flow` of its connection, which is cut when it was closed and the client has had its time."""

    patience: Patience

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][FLOW] = {"flow": self}

    async def run_asgi(self) -> None:
        # The application is done when the socket was closed, by whomever.
        await super().run_asgi()
        self.cut_after(self.patience.send)

    def handle_ping(self) -> None:
        if self.is_writable() or self.conn.close_rcvd is not None:
            super().handle_ping()
        else:
            # A client that does not read gets no pongs, which would wait for it without bound.
            self.conn.data_to_send()

    def eof_received(self) -> None:
        # It has not said Close, so it is not said to it.
        self.abort()

    def is_writable(self) -> bool:
        return self.writable.is_set()

    async def drained(self) -> None:
        await self.writable.wait()

    async def send(self, message: ASGISendEvent) -> None:
        # An OSError, as ASGI has it, also where the server itself has closed and the application cannot know yet.
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)

    def shutdown(self) -> None:
        try:
            # Where the client has closed already, there is nothing more to say.
            if not self.transport.is_closing():
                super().shutdown()
        except Exception as error:  # noqa: BLE001 - it is reported, and the other connections are to be told too
            report(error, "shutdown")
            self.abort()
        self.cut_after(self.patience.farewell)

    def keepalive_timeout(self) -> None:
        # It would close politely, which waits for the peer that has just been found not to answer.
        super().keepalive_timeout()
        self.abort()


class Server(uvicorn.Server):
    """Ends the streams before it waits for open connections."""

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]], when_started: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._when_started = when_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain()
        await super().shutdown(sockets)


def allow_many_connections() -> None:
    """Each takes a file of the process, of which systems grant few unless they are asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    # macOS says that there is no limit, and has one.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def pass_over_what_stands() -> None:
    """Has the collection of garbage look at what requests make alone, and less often than it would.

    Answers are many small objects, all of which go by themselves; the schema and the libraries are as many that stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, 20, 20)


def server_of(
    app: Starlette,
    settings: Settings,
    patience: Patience | None = None,
    when_started: Callable[[], None] = lambda: None,
) -> Server:
    """The server of the application that `build_app` made; `when_started` is called when it accepts connections."""
    patience = patience or Patience()
    # uvicorn makes the protocols itself, and gives them nothing of ours.
    web_socket_protocol = type("WebSocketProtocol", (WebSocketProtocol,), {"patience": patience})
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=HttpProtocol,
        ws=web_socket_protocol,
        ws_max_size=settings.max_body_bytes,
        # A compressor takes more memory than all the rest of a socket, and events are small.
        ws_per_message_deflate=False,
        ws_ping_interval=patience.ping,
        ws_ping_timeout=patience.pong,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return Server(config, app.state.drain, when_started)
