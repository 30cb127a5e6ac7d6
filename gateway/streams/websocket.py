"""What goes on over one WebSocket? A hello with the token, then operations, each with an id of the client's choice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from uuid import uuid4

import orjson
import structlog
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from gateway.auth import Authenticator, Unauthenticated
from gateway.operations import Operation, Operations, Outcome, RequestProblem, faulty, is_subscription, signed_in
from gateway.problems import report
from gateway.requests import given_id
from gateway.streams.messages import (
    ACKNOWLEDGED,
    PONG,
    SUBPROTOCOL,
    Answers,
    CloseCode,
    Closing,
    Kind,
    Received,
    read_message,
    text,
)
from gateway.streams.origins import Origins
from gateway.streams.outbox import END, Outbox, Patience, flow_of
from gateway.streams.shared import TOO_MANY, Ending, Order, Party, SharedStreams
from resolvers.context import Sight, Viewer

log = structlog.get_logger("gateway")


class WebSocketEndpoint:
    """`/graphql`, asked for a WebSocket: an ASGI application."""

    def __init__(
        self,
        operations: Operations,
        streams: SharedStreams,
        authenticator: Authenticator,
        *,
        origins: Origins,
        patience: Patience,
        max_operations: int,
        now: Callable[[], datetime],
    ) -> None:
        self.operations = operations
        self.streams = streams
        self.authenticator = authenticator
        self.patience = patience
        self.max_operations = max_operations
        self.now = now
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        await receive()
        if not self._origins.allow(headers):
            # Before it is accepted, a socket is closed by a status, 403.
            await send({"type": "websocket.close"})
            return
        offered = SUBPROTOCOL in scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None})
        socket = Socket(self, Outbox(send, flow_of(scope), self.patience.send), given_id(scope) or uuid4().hex)
        await socket.serve(receive, offered=offered)


class Socket:
    """One accepted socket: there are thousands, so it holds little, and has no task but the server's."""

    __slots__ = (
        "_answering",
        "_authorization",
        "_endpoint",
        "_expiry",
        "_operations",
        "_outbox",
        "_request_id",
        "_served",
        "_sight",
    )

    def __init__(self, endpoint: WebSocketEndpoint, outbox: Outbox, request_id: str) -> None:
        self._endpoint = endpoint
        self._outbox = outbox
        self._request_id = request_id
        self._authorization: str | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._operations: dict[str, Watching | Executing] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._served = 0
        # What the viewer saw when they were last read: only a hint where to look for a stream.
        self._sight: Sight | None = None

    async def serve(self, receive: Receive, *, offered: bool) -> None:
        """Until the socket is closed by either side; one line of the log tells of it then."""
        started, code = time.perf_counter(), 0
        try:
            code = await self._converse(receive, offered=offered)
        finally:
            await self._leave()
            log.info(
                "websocket",
                code=code,
                operations=self._served,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
                request_id=self._request_id,
            )

    async def _converse(self, receive: Receive, *, offered: bool) -> int:
        """The code that the socket was closed with."""
        try:
            if not offered:
                raise Closing(CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE, f"Ask for the subprotocol {SUBPROTOCOL}.")
            code = await self._greeted(receive)
            while code is None:
                code = await self._next(receive)
        except Closing as closing:
            await self._outbox.finish(closing.message())
        except Exception as error:  # noqa: BLE001 - the last resort: reported, and the client is told
            report(error, self._request_id)
            await self._outbox.finish(Closing(CloseCode.INTERNAL_ERROR, "Something went wrong.").message())
        else:
            return code
        return await closed(receive)

    async def _greeted(self, receive: Receive) -> int | None:
        """Waits for the hello; a code when the socket was closed instead."""
        try:
            async with asyncio.timeout(self._endpoint.patience.hello):
                while True:
                    await self._outbox.settled()
                    frame = await receive()
                    if frame["type"] == "websocket.disconnect":
                        return int(frame["code"])
                    received = read_message(frame)
                    if received.kind is Kind.CONNECTION_INIT:
                        break
                    await self._answer(received)
        except TimeoutError:
            raise Closing(CloseCode.INITIALISATION_TIMEOUT, "Connection initialisation timeout") from None
        await self._sign_in(received.payload)
        return None

    async def _next(self, receive: Receive) -> int | None:
        """Answers one message; a code when there is none any more."""
        await self._outbox.settled()
        frame = await receive()
        if frame["type"] == "websocket.disconnect":
            return int(frame["code"])
        await self._answer(read_message(frame))
        return None

    async def _answer(self, received: Received) -> None:
        if received.kind is Kind.PING:
            await self._outbox.put(Kind.PONG, text(PONG))
        elif received.kind is Kind.CONNECTION_INIT:
            raise Closing(CloseCode.TOO_MANY_INITIALISATIONS, "Too many initialisation requests")
        elif received.kind is Kind.SUBSCRIBE:
            await self._start(received.id, received.operation())
        elif received.kind is Kind.COMPLETE:
            self._stop(received.id)

    async def _sign_in(self, payload: Mapping[str, object]) -> None:
        given = {name.lower(): value for name, value in payload.items()}.get("authorization")
        if not isinstance(given, str):
            raise Closing(CloseCode.UNAUTHORIZED, "Send `Authorization`: Bearer and a token, in the payload.")
        try:
            viewer = await self._viewer(given)
        except RequestProblem as problem:
            raise Closing(CloseCode.TRY_AGAIN_LATER, problem.message) from None
        self._authorization = given
        await self._outbox.put(Kind.CONNECTION_INIT, text(ACKNOWLEDGED))
        left = (viewer.expires_at - self._endpoint.now()).total_seconds()
        self._expiry = asyncio.get_running_loop().call_later(left, self._expire)

    async def _viewer(self, authorization: str | None) -> Viewer:
        try:
            viewer = await signed_in(self._endpoint.authenticator, authorization, self._request_id)
        except Unauthenticated as error:
            raise Closing(CloseCode.UNAUTHORIZED, str(error)) from None
        self._sight = viewer.sight
        return viewer

    def _expire(self) -> None:
        closing = Closing(CloseCode.UNAUTHORIZED, "This token has expired.")
        self._in_background(self._outbox.finish(closing.message()))

    async def sign_out(self, reason: str) -> None:
        """The token is not valid any more: the socket is closed."""
        await self._outbox.finish(Closing(CloseCode.UNAUTHORIZED, reason).message())

    async def _start(self, id: str, operation: Operation) -> None:
        if self._authorization is None:
            raise Closing(CloseCode.UNAUTHORIZED, "Send connection_init first.")
        if id in self._operations:
            raise Closing(CloseCode.SUBSCRIBER_EXISTS, f"Subscriber for {id} already exists")
        self._served += 1
        answers = Answers(id)
        if len(self._operations) >= self._endpoint.max_operations:
            problem = RequestProblem(429, TOO_MANY, f"A socket may have {self._endpoint.max_operations} at a time.")
            await self._outbox.put((id, END), answers.error(problem.errors))
            return
        watching = Watching(self, id, answers)
        if watching.join(self._endpoint.streams, operation, self._authorization, self._sight):
            self._operations[id] = watching
            return
        try:
            viewer = await self._viewer(self._authorization)
        except RequestProblem as problem:
            await self._outbox.put((id, END), answers.error(problem.errors))
            return
        refusal = self._endpoint.operations.refusal(operation, viewer, self._request_id)
        if refusal is not None:
            await self._outbox.put((id, END), answers.error(refusal.errors))
        elif is_subscription(operation):
            self._operations[id] = watching
            await watching.start(
                self._endpoint.streams, Order(operation, self._authorization, viewer, self._request_id)
            )
        else:
            self._operations[id] = Executing(self._in_background(self._execute(id, answers, operation, viewer)))

    def _in_background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return task

    async def _execute(self, id: str, answers: Answers, operation: Operation, viewer: Viewer) -> None:
        """A query or a mutation: one answer."""
        try:
            outcome = await self._endpoint.operations.execute(operation, viewer, self._request_id)
        except Exception as error:  # noqa: BLE001 - the last resort: reported, and the client is told
            outcome = faulty(error, self._request_id)
        if not outcome.refused:
            await self.told(id, answers, orjson.dumps(outcome.answer()).decode())
        await self.ended(id, answers, outcome if outcome.refused else None)

    async def ended(self, id: str, answers: Answers, refusal: Outcome | None) -> None:
        """The operation is over; its id may be used again."""
        self._operations.pop(id, None)
        await self._outbox.put((id, END), answers.complete() if refusal is None else answers.error(refusal.errors))

    async def told(self, id: str, answers: Answers, event: str) -> None:
        await self._outbox.put((id, Kind.SUBSCRIBE), answers.next(event))

    def _stop(self, id: str) -> None:
        """The client wants no more of this operation, if there still is one."""
        stopped = self._operations.pop(id, None)
        if stopped is not None:
            stopped.stop()
            self._outbox.forget((id, Kind.SUBSCRIBE))

    async def _leave(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        for id in list(self._operations):
            self._stop(id)
        self._outbox.close()
        await asyncio.gather(*self._answering, return_exceptions=True)


class Watching:
    """A subscription of a socket: the stream's subscriber."""

    __slots__ = ("_answers", "_id", "_party", "_socket")

    def __init__(self, socket: Socket, id: str, answers: Answers) -> None:
        self._socket = socket
        self._id = id
        self._answers = answers
        self._party: Party | None = None

    def join(self, streams: SharedStreams, operation: Operation, authorization: str, sight: Sight | None) -> bool:
        """Whether there is such a stream already."""
        self._party = streams.join(operation, authorization, sight, self)
        return self._party is not None

    async def start(self, streams: SharedStreams, order: Order) -> None:
        self._party = await streams.start(order, self)

    def stop(self) -> None:
        if self._party is not None:
            self._party.leave(self)

    async def next(self, event: str) -> None:
        await self._socket.told(self._id, self._answers, event)

    async def end(self, ending: Ending) -> None:
        if ending.signed_out is not None:
            await self._socket.sign_out(ending.signed_out)
        else:
            await self._socket.ended(self._id, self._answers, ending.refusal)


class Executing:
    """A query or a mutation of a socket, under way."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def stop(self) -> None:
        self._task.cancel()


async def closed(receive: Receive) -> int:
    """Waits until the closing has been sent, or the connection was cut because it could not be."""
    while True:
        frame = await receive()
        if frame["type"] == "websocket.disconnect":
            return int(frame["code"])
