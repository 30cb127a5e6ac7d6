"""How do many clients watch the same thing? One stream for all: an event is read once, encoded once, and handed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Protocol

import orjson

from gateway.auth import Authenticator, Unauthenticated
from gateway.operations import Operation, Operations, Outcome, faulty, refusal_because, with_declared_variables
from resolvers.context import Viewer
from store.signals import Hearing

# So many clients are served before other requests have their turn.
AT_A_TIME = 100
TOO_MANY = "TOO_MANY_OPERATIONS"
# How many streams a process runs: each is read every few seconds.
MOST_STREAMS = 1000
# Seconds until a stream that ended is begun again for those who joined while its end was read.
BEGUN_AGAIN_AFTER = 0.25


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
    authorization: str = field(repr=False)
    viewer: Viewer
    request_id: str


def key_of(operation: Operation, authorization: str) -> bytes:
    """Who agrees in this sees the same: a digest of what is asked, and of the token by which rights are read."""
    asked = [operation.query, operation.variables, operation.operation_name, authorization]
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()


class SharedStreams:
    """The streams of this process."""

    def __init__(self, operations: Operations, authenticator: Authenticator, *, most: int = MOST_STREAMS) -> None:
        """`most`: how many streams there may be; another is refused."""
        self._operations = operations
        self._authenticator = authenticator
        self._most = most
        self._streams: dict[bytes, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._streams)

    def join(self, operation: Operation, authorization: str, subscriber: Subscriber) -> Stream | None:
        """Makes the subscriber one of a running stream's; None if there is no such stream.

        The token need not be looked at before: the stream does so in the reading that the subscriber makes it do.
        """
        stream = self._streams.get(key_of(operation, authorization))
        if stream is not None:
            stream.join(subscriber)
        return stream

    async def start(self, order: Order, subscriber: Subscriber) -> Stream:
        """The same, but begins the stream where it is not running; the subscriber is refused where there are many."""
        running = self.join(order.operation, order.authorization, subscriber)
        if running is not None:
            return running
        key = key_of(order.operation, order.authorization)
        stream = Stream(lambda ended: self._forget(key, ended))
        if len(self._streams) >= self._most:
            message = "So much is being watched that there is no room for more; try again later."
            await subscriber.end(Ending(refusal_because(TOO_MANY, message)))
            return stream
        self._streams[key] = stream
        stream.join(subscriber)
        # What stands in the order stays for as long as somebody watches.
        order = replace(order, operation=with_declared_variables(order.operation))
        task = asyncio.create_task(stream.run(self._operations, self._authenticator, order))
        stream.ends_with(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return stream

    async def close(self) -> None:
        """Ends what is left; the clients are told nothing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget(self, key: bytes, ended: Stream) -> None:
        if self._streams.get(key) is ended:
            del self._streams[key]


class Stream:
    """One running subscription and those who watch it; ends with the last of them.

    Nothing is told from memory: who joins makes the stream read, and is given the event of that reading, whose rights
    are those of then. All who join before it begins share it. The others are given it if it is news.
    """

    def __init__(self, forget: Callable[[Stream], None]) -> None:
        """`forget`: called when nobody can join any more."""
        self._forget = forget
        self._subscribers: dict[Subscriber, None] = {}
        # Those of them who have had no event yet: joined before the reading under way began, and since.
        self._expecting: dict[Subscriber, None] = {}
        self._joined: dict[Subscriber, None] = {}
        # The digest of the event that all others had last.
        self._latest: bytes | None = None
        self._hearing = Hearing()
        self._task: asyncio.Task[None] | None = None

    def ends_with(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def join(self, subscriber: Subscriber) -> None:
        self._subscribers[subscriber] = self._joined[subscriber] = None
        self._hearing.wake()

    def leave(self, subscriber: Subscriber) -> None:
        """The subscriber hears nothing more of this stream."""
        self._drop(subscriber)
        if not self._subscribers:
            self._forget(self)
            if self._task is not None:
                self._task.cancel()

    async def run(self, operations: Operations, authenticator: Authenticator, order: Order) -> None:
        """Hands every event on, and the end."""
        while True:
            ending = await self._until_the_end(operations, authenticator, order)
            ended = self._there()
            if not self._joined:
                # Who comes from here on starts anew.
                self._forget(self)
            await self._tell(ended, partial(self._end, ending))
            if not self._joined:
                self._forget(self)
                return
            await asyncio.sleep(BEGUN_AGAIN_AFTER)

    async def _until_the_end(self, operations: Operations, authenticator: Authenticator, order: Order) -> Ending:
        async def reauthorise() -> Viewer:
            self._begin()
            return await authenticator.viewer(order.authorization)

        # What is wrong with the operation itself is found without a reading.
        self._begin()
        self._latest = None
        events = operations.events(order.operation, order.viewer, order.request_id, reauthorise, self._hearing)
        try:
            async with aclosing(events):
                return await self._hand_on(events)
        except Unauthenticated as error:
            return Ending(signed_out=str(error))
        except Exception as error:  # noqa: BLE001 - the last resort: reported, and those who watch are told
            return Ending(faulty(error, order.request_id))

    def _begin(self) -> None:
        """A reading begins: it is for all who are there now."""
        self._expecting.update(self._joined)
        self._joined.clear()

    def _there(self) -> list[Subscriber]:
        """For whom the reading under way is."""
        return [subscriber for subscriber in self._subscribers if subscriber not in self._joined]

    async def _hand_on(self, events: AsyncIterator[Outcome]) -> Ending:
        async for outcome in events:
            if outcome.refused:
                return Ending(outcome)
            answer = orjson.dumps(outcome.answer())
            digest = sha256(answer).digest()
            to = list(self._expecting) if digest == self._latest else self._there()
            self._latest = digest
            self._expecting.clear()
            await self._tell(to, partial(told, answer.decode()))
        return Ending()

    async def _tell(self, to: Iterable[Subscriber], tell: Callable[[Subscriber], Awaitable[None]]) -> None:
        """Tells those who are still there."""
        for number, subscriber in enumerate(to, 1):
            if subscriber in self._subscribers:
                await tell(subscriber)
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def _end(self, ending: Ending, subscriber: Subscriber) -> None:
        await subscriber.end(ending)
        self._drop(subscriber)

    def _drop(self, subscriber: Subscriber) -> None:
        for kept in (self._subscribers, self._expecting, self._joined):
            kept.pop(subscriber, None)


async def told(event: str, subscriber: Subscriber) -> None:
    await subscriber.next(event)
