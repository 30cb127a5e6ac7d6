"""How do many clients watch the same thing? One stream for all: an event is read once, encoded once, and handed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Protocol
from weakref import WeakValueDictionary

import orjson

from gateway.auth import Authenticator, Credential, Unauthenticated
from gateway.operations import (
    Operation,
    Operations,
    Outcome,
    declared_variables,
    faulty,
    refusal_because,
    scope_refusal,
    with_variables,
)
from resolvers.context import Sight, Viewer, Watch

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


NO_ROOM = Ending(refusal_because(TOO_MANY, "So much is being watched that there is no room for more; try again later."))


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


@dataclass(frozen=True, eq=False)
class Document:
    """The variables that an operation of a document declares; kept for as long as it is watched.

    `personal`: what it shows is each user's own.
    """

    variables: frozenset[str]
    personal: bool


@dataclass(frozen=True, eq=False)
class Asked:
    """What the subscribers of a stream want to watch, and a digest of it: who agrees in this asks for the same."""

    operation: Operation
    document: Document
    digest: bytes

    def seen_by(self, viewer: Viewer) -> Sight:
        """Who agrees in this is answered alike."""
        return viewer.own_sight if self.document.personal else viewer.sight


def asked_for(operation: Operation, document: Document) -> Asked:
    operation = with_variables(operation, document.variables)
    told = [operation.query, operation.variables, operation.operation_name]
    return Asked(operation, document, sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).digest())


class Party:
    """Those who watch the same by the same token: they keep together, whichever stream serves them."""

    __slots__ = ("credential", "size", "stream")

    def __init__(self, credential: Credential, stream: Stream) -> None:
        self.credential = credential
        self.stream = stream
        self.size = 0

    def leave(self, subscriber: Subscriber) -> None:
        """The subscriber hears nothing more."""
        self.stream.leave(subscriber)


class SharedStreams:
    """The streams of this process: one for all who ask for the same and see the same, whatever their tokens."""

    def __init__(self, operations: Operations, authenticator: Authenticator, *, most: int = MOST_STREAMS) -> None:
        """`most`: how many streams there may be; another is refused."""
        self.operations = operations
        self.authenticator = authenticator
        self._most = most
        self._documents: WeakValueDictionary[tuple[str, str | None], Document] = WeakValueDictionary()
        self._streams: dict[tuple[bytes, Sight], Stream] = {}
        self._parties: dict[tuple[bytes, Credential], Party] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._streams)

    def join(
        self, operation: Operation, authorization: str, sight: Sight | None, subscriber: Subscriber
    ) -> Party | None:
        """Makes the subscriber one of a running stream's; None if there is no such stream.

        The token need not be looked at before: the stream does so in the reading that the subscriber makes it do.
        `sight` is what its viewer saw at some time; who sees otherwise by then is moved before anything is told.
        """
        document = self._documents.get((operation.query, operation.operation_name))
        if document is None:
            return None
        try:
            credential = self.authenticator.credential(authorization)
        except Unauthenticated:
            return None
        asked = asked_for(operation, document)
        party = self._parties.get((asked.digest, credential))
        if party is None or not self._is_running(party.stream):
            stream = None if sight is None else self._streams.get((asked.digest, sight))
            if stream is None:
                return None
            party = self._new_party(credential, stream)
        party.stream.join(party, subscriber)
        return party

    async def start(self, order: Order, subscriber: Subscriber) -> Party | None:
        """The same, but begins the stream where it is not running; None when the subscriber was refused at once."""
        operation, place = order.operation, (order.operation.query, order.operation.operation_name)
        document = self._documents.get(place)
        if document is None:
            document = Document(declared_variables(operation), self.operations.is_personal(operation))
        self._documents[place] = document
        running = self.join(operation, order.authorization, order.viewer.sight, subscriber)
        if running is not None:
            return running
        try:
            credential = self.authenticator.credential(order.authorization)
        except Unauthenticated as error:
            await subscriber.end(Ending(signed_out=str(error)))
            return None
        stream = self.stream_of(asked_for(operation, document), order.viewer, order.request_id)
        if stream is None:
            await subscriber.end(NO_ROOM)
            return None
        party = self._new_party(credential, stream)
        stream.join(party, subscriber)
        return party

    def stream_of(self, asked: Asked, viewer: Viewer, request_id: str, *, moving: bool = False) -> Stream | None:
        """The stream of what is asked for all who see what the viewer sees, begun where it is not running.

        None if there are too many; when somebody is `moving`, the stream that they leave is not counted.
        """
        key = (asked.digest, asked.seen_by(viewer))
        stream = self._streams.get(key)
        if stream is None and len(self._streams) < self._most + moving:
            stream = self._streams[key] = Stream(self, asked, viewer, request_id)
            task = asyncio.create_task(stream.run())
            stream.ends_with(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return stream

    async def close(self) -> None:
        """Ends what is left; the clients are told nothing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def forget(self, stream: Stream) -> None:
        """Nobody can join the stream any more."""
        if self._is_running(stream):
            del self._streams[stream.asked.digest, stream.sight]

    def dissolve(self, party: Party) -> None:
        """Nobody can join the party any more."""
        key = (party.stream.asked.digest, party.credential)
        if self._parties.get(key) is party:
            del self._parties[key]

    def _is_running(self, stream: Stream) -> bool:
        return self._streams.get((stream.asked.digest, stream.sight)) is stream

    def _new_party(self, credential: Credential, stream: Stream) -> Party:
        party = self._parties[stream.asked.digest, credential] = Party(credential, stream)
        return party


class Stream:
    """One running subscription and those who watch it; ends with the last of them.

    Nothing is told from memory: who joins makes the stream read, and is given the event of that reading, whose rights
    are those of then. All who join before it begins share it. The others are given it if it is news.
    """

    def __init__(self, streams: SharedStreams, asked: Asked, viewer: Viewer, request_id: str) -> None:
        """`viewer`: one of those for whom it is."""
        self.asked = asked
        self.sight = asked.seen_by(viewer)
        self._streams = streams
        self._viewer = viewer
        self._request_id = request_id
        self._subscribers: dict[Subscriber, Party] = {}
        # Those of them who have had no event yet: joined before the reading under way began, and since.
        self._expecting: dict[Subscriber, None] = {}
        self._joined: dict[Subscriber, None] = {}
        # The digest of the event that all others had last.
        self._latest: bytes | None = None
        self._watch = Watch(self._reauthorise)
        self._task: asyncio.Task[None] | None = None

    def ends_with(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def join(self, party: Party, subscriber: Subscriber) -> None:
        """The subscriber, as one of a party that is this stream's."""
        party.size += 1
        self._take_in(party, subscriber)

    def take(self, party: Party, members: Iterable[Subscriber], *, begun: bool) -> None:
        """A party goes on here that was another stream's; `begun`: whether that had told an event."""
        party.stream = self
        for subscriber in members:
            self._take_in(party, subscriber)
        self._watch.begun |= begun

    def leave(self, subscriber: Subscriber) -> None:
        """The subscriber hears nothing more of this stream."""
        self._drop(subscriber)
        if not self._subscribers:
            self._streams.forget(self)
            if self._task is not None:
                self._task.cancel()

    async def run(self) -> None:
        """Hands every event on, and the end."""
        while True:
            ending = await self._until_the_end()
            ended = self._there()
            self._latest, self._watch = None, Watch(self._reauthorise, self._watch.hearing)
            if not self._joined:
                # Who comes from here on starts anew.
                self._streams.forget(self)
            await self._tell(ended, partial(self._end, ending))
            if not self._joined:
                self._streams.forget(self)
                return
            await asyncio.sleep(BEGUN_AGAIN_AFTER)

    async def _until_the_end(self) -> Ending:
        # What is wrong with the operation itself is found without a reading.
        self._begin()
        events = self._streams.operations.events(self.asked.operation, self._viewer, self._request_id, self._watch)
        try:
            async with aclosing(events):
                return await self._hand_on(events)
        except Exception as error:  # noqa: BLE001 - the last resort: reported, and those who watch are told
            return Ending(faulty(error, self._request_id))

    async def _reauthorise(self) -> Viewer:
        """A reading begins: as whom? Any of those who watch, as the rights of all have just been read."""
        while self._subscribers:
            self._begin()
            viewer = await self._viewer_of_all()
            if viewer is not None:
                return viewer
        # It ends as when the last of them leaves.
        self._streams.forget(self)
        raise asyncio.CancelledError

    async def _viewer_of_all(self) -> Viewer | None:
        """One viewer of those who see what this stream shows, once all others are gone; None if there is nobody.

        Who may watch no more is told, by whatever token; who sees otherwise by now is moved to a stream of that.
        """
        parties = list(dict.fromkeys(self._subscribers.values()))
        credentials = [party.credential for party in parties]
        found = await self._streams.authenticator.viewers(self.sight.company_id, credentials)
        chosen: Viewer | None = None
        moving: dict[Party, Viewer] = {}
        endings: dict[Party, Ending] = {}
        for number, (party, viewer) in enumerate(zip(parties, found, strict=True), 1):
            if isinstance(viewer, Unauthenticated):
                endings[party] = Ending(signed_out=str(viewer))
            elif (refusal := scope_refusal(viewer, self._request_id)) is not None:
                endings[party] = Ending(refusal)
            elif self.asked.seen_by(viewer) != self.sight:
                moving[party] = viewer
            else:
                chosen = viewer
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
        endings |= dict.fromkeys(self._move(moving), NO_ROOM)
        for party in endings:
            self._streams.dissolve(party)
        leaving = {subscriber: endings[party] for subscriber, party in self._subscribers.items() if party in endings}
        await self._tell(leaving, lambda subscriber: self._end(leaving[subscriber], subscriber))
        return chosen

    def _move(self, moving: Mapping[Party, Viewer]) -> list[Party]:
        """The parties go on in the streams of what they see; those are left for whose stream there is no room."""
        members: dict[Party, list[Subscriber]] = {}
        for subscriber, party in self._subscribers.items() if moving else ():
            if party in moving:
                members.setdefault(party, []).append(subscriber)
        left = []
        for party, subscribers in members.items():
            other = self._streams.stream_of(self.asked, moving[party], self._request_id, moving=True)
            if other is None:
                left.append(party)
                continue
            for subscriber in subscribers:
                self._take_out(subscriber)
            other.take(party, subscribers, begun=self._watch.begun)
        return left

    def _begin(self) -> None:
        """The reading that begins is for all who are there now."""
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
        party = self._take_out(subscriber)
        if party is not None:
            party.size -= 1
            if party.size == 0:
                self._streams.dissolve(party)

    def _take_in(self, party: Party, subscriber: Subscriber) -> None:
        self._subscribers[subscriber] = party
        self._joined[subscriber] = None
        self._watch.hearing.wake()

    def _take_out(self, subscriber: Subscriber) -> Party | None:
        for kept in (self._expecting, self._joined):
            kept.pop(subscriber, None)
        return self._subscribers.pop(subscriber, None)


async def told(event: str, subscriber: Subscriber) -> None:
    await subscriber.next(event)
