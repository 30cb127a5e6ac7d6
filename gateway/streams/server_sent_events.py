"""How is a subscription answered over HTTP? As server-sent events: GraphQL over SSE, distinct connections mode."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.operations import UNAUTHENTICATED, Outcome, refusal_because
from gateway.streams.outbox import Flow, Outbox, Patience, flow_of
from gateway.streams.shared import Ending, Order, SharedStreams

EVENT_STREAM = "text/event-stream"
START, EVENT, ALIVE = "start", "event", "alive"
HEADERS = {
    "content-type": f"{EVENT_STREAM}; charset=utf-8",
    "cache-control": "no-store",
    # nginx would collect the events in its buffer.
    "x-accel-buffering": "no",
}
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
COMPLETE = b"event: complete\ndata:\n\n"
SIGN_OF_LIFE = b":\n\n"
# A stream that ends without `complete` is one to be asked for again, after so many milliseconds.
COME_BACK = b"retry: 1000\n\n"


Refuse = Callable[[Outcome], Response]


def event_of(answer: str) -> bytes:
    """An event with the JSON of an answer, which has no line breaks."""
    return f"event: next\ndata: {answer}\n\n".encode()


def whole(outcome: Outcome) -> Response:
    """A stream that is over at once: of a query or a mutation."""
    body = event_of(orjson.dumps(outcome.answer()).decode()) + COMPLETE
    return Response(body, headers=HEADERS)


class EventStreams:
    """The open streams of this process."""

    def __init__(self, streams: SharedStreams, patience: Patience, now: Callable[[], datetime]) -> None:
        self.streams = streams
        self.patience = patience
        self.now = now
        self.draining = False
        self.open: set[EventStream] = set()

    def answer(self, order: Order, refuse: Refuse) -> Response:
        """A stream of the subscription's events; `refuse` makes the answer where nothing comes of it."""
        return StreamingAnswer(self, order, refuse)

    async def drain(self) -> None:
        """Ends all streams at once; their clients are asked to come back, which will be to another process."""
        self.draining = True
        for stream in list(self.open):
            await stream.dismiss(self.patience.farewell)


class StreamingAnswer(Response):
    """Answers with the events of one subscription, until it ends, or the client goes."""

    def __init__(self, owner: EventStreams, order: Order, refuse: Refuse) -> None:
        super().__init__()
        self._owner = owner
        self._order = order
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        owner, order = self._owner, self._order
        flow = flow_of(scope)
        stream = EventStream(Outbox(send, flow, owner.patience.send), flow, self._refuse)
        owner.open.add(stream)
        left = (order.viewer.expires_at - owner.now()).total_seconds()
        expiry = asyncio.get_running_loop().call_later(left, stream.expire)
        party = await owner.streams.start(order, stream)
        try:
            if owner.draining:
                await stream.dismiss(owner.patience.farewell)
            await stream.live(receive, owner.patience)
        finally:
            expiry.cancel()
            if party is not None:
                party.leave(stream)
            owner.open.discard(stream)
            stream.close()


class EventStream:
    """One open stream: a subscriber of what is shared."""

    def __init__(self, outbox: Outbox, flow: Flow, refuse: Refuse) -> None:
        self._outbox = outbox
        self._flow = flow
        self._refuse = refuse
        self._begun = False
        self._expiring: asyncio.Task[None] | None = None

    async def live(self, receive: Receive, patience: Patience) -> None:
        """Gives signs of life until the connection is closed by either side."""
        silence = patience.first_silence
        while True:
            try:
                async with asyncio.timeout(silence):
                    message = await receive()
            except TimeoutError:
                await self._write(ALIVE, SIGN_OF_LIFE)
                silence = patience.silence
                continue
            if message["type"] == "http.disconnect":
                return

    async def next(self, event: str) -> None:
        await self._write(EVENT, event_of(event))

    async def end(self, ending: Ending) -> None:
        refusal = ending.refusal
        if ending.signed_out is not None:
            refusal = refusal_because(UNAUTHENTICATED, ending.signed_out)
        if refusal is None:
            await self._finish(COMPLETE)
        elif self._begun:
            await self._finish(event_of(orjson.dumps(refusal.answer()).decode()) + COMPLETE)
        else:
            answer = self._refuse(refusal)
            await self._begin(answer.status_code, answer.raw_headers)
            await self._finish(bytes(answer.body))

    async def dismiss(self, seconds: float) -> None:
        """Asks the client to come back; one that does not read is waited for only so long."""
        await self._finish(COME_BACK)
        self._flow.cut_after(seconds)

    def expire(self) -> None:
        """The token's time is over."""
        self._expiring = asyncio.create_task(self.end(Ending(signed_out="This token has expired.")))

    def close(self) -> None:
        self._outbox.close()

    async def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._begun = True
        await self._outbox.put(START, {"type": "http.response.start", "status": status, "headers": list(headers)})

    async def _write(self, kind: str, body: bytes) -> None:
        """An event or a sign of life: each makes way for the next of its kind, and never for the other."""
        if not self._begun:
            await self._begin(200, RAW_HEADERS)
        await self._outbox.put(kind, {"type": "http.response.body", "body": body, "more_body": True})

    async def _finish(self, body: bytes) -> None:
        if not self._begun:
            await self._begin(200, RAW_HEADERS)
        await self._outbox.finish({"type": "http.response.body", "body": body})
