"""How do many clients watch the same thing? One stream for all: an event is read once, encoded once, and handed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import orjson

from gateway.auth import Authenticator, Unauthenticated
from gateway.operations import Operation, Operations, Outcome, faulty
from resolvers.context import Viewer

# So many clients are served before other requests have their turn.
AT_A_TIME = 100


@dataclass(frozen=True)
class Ending:
    """How a stream ends: complete, unless it was refused or broke off, or the token is not valid any more."""

    refusal: Outcome | None = None
    signed_out: str | None = None


class Subscriber(Protocol):
    """One client of a stream. Neither of these may wait for the client, or raise."""

    async def next(self, event: str) -> None:
        """An event: the JSON of an answer. As each is the whole state, one that still waits may make way for it."""

    async def end(self, ending: Ending) -> None:
        """There will be no further event."""


@dataclass(frozen=True)
class Order:
    """What a client wants to watch, by which right; `viewer` is as just read for `authorization`."""

    operation: Operation
    authorization: str
    viewer: Viewer
    request_id: str


@dataclass(frozen=True)
class Key:
    """Who agrees in all of this sees the same: what is asked, and the token by which rights are read at each event."""

    query: str
    variables: bytes
    operation_name: str | None
    authorization: str


def key_of(operation: Operation, authorization: str) -> Key:
    variables = orjson.dumps(operation.variables, option=orjson.OPT_SORT_KEYS)
    return Key(operation.query, variables, operation.operation_name, authorization)


class SharedStreams:
    """The streams of this process."""

    def __init__(self, operations: Operations, authenticator: Authenticator) -> None:
        self._operations = operations
        self._authenticator = authenticator
        self._streams: dict[Key, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._streams)

    async def join(self, operation: Operation, authorization: str, subscriber: Subscriber) -> Stream | None:
        """Makes the subscriber one of a running stream's, whose latest event it gets; None if there is no such stream.

        The token need not be looked at before: a running stream does so whenever it reads, which is every few seconds.
        """
        stream = self._streams.get(key_of(operation, authorization))
        if stream is not None:
            await stream.join(subscriber)
        return stream

    async def start(self, order: Order, subscriber: Subscriber) -> Stream:
        """The same, but begins the stream where it is not running."""
        running = await self.join(order.operation, order.authorization, subscriber)
        if running is not None:
            return running
        key = key_of(order.operation, order.authorization)
        stream = self._streams[key] = Stream(lambda ended: self._forget(key, ended))
        task = asyncio.create_task(stream.run(self._operations, self._authenticator, order))
        stream.ends_with(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await stream.join(subscriber)
        return stream

    async def close(self) -> None:
        """Ends what is left; the clients are told nothing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget(self, key: Key, ended: Stream) -> None:
        if self._streams.get(key) is ended:
            del self._streams[key]


class Stream:
    """One running subscription and those who watch it; ends with the last of them."""

    def __init__(self, forget: Callable[[Stream], None]) -> None:
        """`forget`: called when nobody can join any more."""
        self._forget = forget
        self._subscribers: dict[Subscriber, None] = {}
        self._latest: str | None = None
        self._task: asyncio.Task[None] | None = None

    def ends_with(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def join(self, subscriber: Subscriber) -> None:
        self._subscribers[subscriber] = None
        if self._latest is not None:
            await subscriber.next(self._latest)

    def leave(self, subscriber: Subscriber) -> None:
        """The subscriber hears nothing more of this stream."""
        self._subscribers.pop(subscriber, None)
        if not self._subscribers:
            self._forget(self)
            if self._task is not None:
                self._task.cancel()

    async def run(self, operations: Operations, authenticator: Authenticator, order: Order) -> None:
        """Hands every event on, and the end."""

        async def reauthorise() -> Viewer:
            return await authenticator.viewer(order.authorization)

        events = operations.events(order.operation, order.viewer, order.request_id, reauthorise)
        try:
            async with aclosing(events):
                ending = await self._hand_on(events)
        except Unauthenticated as error:
            ending = Ending(signed_out=str(error))
        except Exception as error:  # noqa: BLE001 - the last resort: reported, and those who watch are told
            ending = Ending(faulty(error, order.request_id))
        # Who comes from here on starts anew.
        self._forget(self)
        await self._tell(lambda subscriber: subscriber.end(ending))

    async def _hand_on(self, events: AsyncIterator[Outcome]) -> Ending:
        async for outcome in events:
            if outcome.refused:
                return Ending(outcome)
            self._latest = orjson.dumps(outcome.answer()).decode()
            await self._tell(partial(told, self._latest))
        return Ending()

    async def _tell(self, tell: Callable[[Subscriber], Awaitable[None]]) -> None:
        """Tells all who are there now; who joins meanwhile gets the latest event by joining."""
        for number, subscriber in enumerate(list(self._subscribers), 1):
            if subscriber in self._subscribers:
                await tell(subscriber)
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)


async def told(event: str, subscriber: Subscriber) -> None:
    await subscriber.next(event)
