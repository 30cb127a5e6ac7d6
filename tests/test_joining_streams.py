"""Does who joins a running stream begin with the state as it is then, however many join, and whenever?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from gateway.auth import Authenticator, Credential, PersonalToken, Unauthenticated
from gateway.operations import Operation, Operations, Outcome, declared_variables, with_variables
from gateway.streams.shared import Ending, Order, SharedStreams
from resolvers.context import DownloadLink, KeptLinks, StoredFile, Viewer, Watch
from tests.build import NOW
from tests.client import Gateway, running_gateway
from tests.conftest import World
from tests.post import until
from tests.streaming import PROGRESS, running_export, signed_in, until_idle

pytestmark = pytest.mark.anyio


async def test_a_joiner_gets_links_that_are_good(world: World) -> None:
    """However long a stream has been running, the links that a joiner gets open their files."""
    clock = [NOW]
    document = "subscription { exportsProgress { exports { downloadUrl { expiresAt url } } } }"
    async with running_gateway(world.url, now=lambda: clock[0]) as gateway:
        token = world.acme.tokens["admin"]
        async with signed_in(gateway, token) as first, signed_in(gateway, token) as second:
            for socket in (first, second):
                await socket.subscribe(document)
                exports = (await socket.event())["exportsProgress"]["exports"]
                links = [export["downloadUrl"] for export in exports if export["downloadUrl"]]
                assert links
                assert all(link["expiresAt"] > clock[0].isoformat() for link in links)
                clock[0] += timedelta(hours=1)


def test_links_of_a_stream() -> None:
    """A link serves for half of its life, so that events do not differ for it, and is then made anew."""
    clock, hour = [NOW], timedelta(hours=1)
    file = StoredFile(1, UUID(int=1), "a.csv", "text/csv", NOW + 100 * hour, "key")
    links = KeptLinks(lambda file: DownloadLink(f"/{file.id}", clock[0] + hour), lambda: clock[0])
    first, other = links(file), links(replace(file, id=UUID(int=2)))
    assert other != first
    clock[0] += timedelta(minutes=29)
    assert links(file) == first
    clock[0] += timedelta(minutes=1)
    assert links(file).expires_at == clock[0] + hour
    assert len(links._kept) == 1


class Kept:
    """A subscriber that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.endings: list[Ending] = []

    async def next(self, event: str) -> None:
        self.events.append(event)

    async def end(self, ending: Ending) -> None:
        self.endings.append(ending)


async def test_many_who_join_at_once(gateway: Gateway, world: World) -> None:
    """Thousands who join a running stream at once are served by one or two readings."""
    id, authorization = await running_export(world.url, world.acme), f"Bearer {world.acme.tokens['admin']}"
    viewer = await gateway.streams.authenticator.viewer(authorization)
    operation, first = Operation(PROGRESS, {"id": id}, None), Kept()
    party = await gateway.streams.start(Order(operation, authorization, viewer, "a-request"), first)
    assert party is not None
    await until(lambda: has_events(first))
    joiners = [Kept() for _ in range(5_000)]
    async with gateway.counting() as statements:
        for joiner in joiners:
            assert gateway.streams.join(operation, authorization, None, joiner) is party
        await until(lambda: has_events(*joiners))
    assert sum("FROM exports" in statement for statement in statements) <= 2
    assert {tuple(kept.events) for kept in (first, *joiners)} == {tuple(first.events)}
    assert len(first.events) == 1
    for kept in (first, *joiners):
        party.leave(kept)
    await until_idle(gateway)


async def has_events(*subscribers: Kept) -> bool:
    return all(subscriber.events for subscriber in subscribers)


class Scripted(Operations):
    """One reading, during which others may join; then the end."""

    def __init__(self) -> None:
        self.asked: list[Operation] = []
        self.going_on = asyncio.Event()

    def is_personal(self, operation: Operation) -> bool:
        return False

    async def events(
        self, operation: Operation, viewer: Viewer, request_id: str, watch: Watch
    ) -> AsyncGenerator[Outcome, None]:
        self.asked.append(operation)
        await watch.reauthorise()
        await self.going_on.wait()
        yield Outcome({"reading": len(self.asked)}, [], refused=False)


class NoQuestions(Authenticator):
    """Everybody is who they were."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    def credential(self, authorization: str | None) -> Credential:
        return PersonalToken("id", b"")

    async def viewers(self, company_id: int, credentials: Sequence[Credential]) -> list[Viewer | Unauthenticated]:
        return [self._viewer for _ in credentials]


async def test_who_joins_while_the_end_is_read(gateway: Gateway, world: World) -> None:
    """A reading is for those alone who were there when it began, the last one as well: who came later has another."""
    authorization = f"Bearer {world.acme.tokens['admin']}"
    viewer = await gateway.streams.authenticator.viewer(authorization)
    operations = Scripted()
    streams = SharedStreams(operations, NoQuestions(viewer))
    operation, first, second = Operation(PROGRESS, {"id": "1", "unused": "much"}, None), Kept(), Kept()
    order = Order(operation, authorization, viewer, "a-request")
    assert world.acme.tokens["admin"] not in repr(order)
    party = await streams.start(order, first)

    async def asked() -> bool:
        return len(operations.asked) == 1

    async def ended() -> bool:
        return bool(second.endings)

    await until(asked)
    assert await streams.start(order, second) is party
    operations.going_on.set()
    await until(ended)
    assert [(kept.events, kept.endings) for kept in (first, second)] == [
        (['{"data":{"reading":1}}'], [Ending()]),
        (['{"data":{"reading":2}}'], [Ending()]),
    ]
    assert operations.asked[0].variables == {"id": "1"}
    assert len(streams) == 0


class ComingBack(Kept):
    """A subscriber that asks again as soon as it is told the end."""

    def __init__(self, streams: SharedStreams, order: Order) -> None:
        super().__init__()
        self._streams = streams
        self._order = order
        self.second = Kept()

    async def end(self, ending: Ending) -> None:
        await super().end(ending)
        assert len(self._streams) == 0
        await self._streams.start(self._order, self.second)
        assert len(self._streams) == 1


async def test_who_comes_while_the_end_is_told(gateway: Gateway, world: World) -> None:
    """A stream that has ended serves nobody any more: who comes before all have heard of it starts another."""
    authorization = f"Bearer {world.acme.tokens['admin']}"
    viewer = await gateway.streams.authenticator.viewer(authorization)
    operations = Scripted()
    operations.going_on.set()
    streams = SharedStreams(operations, NoQuestions(viewer))
    order = Order(Operation(PROGRESS, {"id": "1"}, None), authorization, viewer, "a-request")
    first, other = ComingBack(streams, order), Kept()
    await streams.start(order, first)
    await streams.start(order, other)

    async def ended() -> bool:
        return bool(first.second.endings)

    await until(ended)
    assert (other.events, other.endings) == (first.events, [Ending()])
    assert first.second.events == ['{"data":{"reading":2}}']
    assert len(streams) == len(streams._parties) == 0


def test_variables_that_an_operation_does_not_declare() -> None:
    """Of the variables, those are kept that the operation which is asked for declares."""
    both = "query a($x: Int) { __typename } subscription b($y: Int) { campaignsChanged(first: $y) { __typename } }"
    cases: list[tuple[str, str | None, dict[str, object]]] = [(both, "b", {"y": 2}), (both, "c", {}), ("{", None, {})]
    for document, name, expected in cases:
        operation = Operation(document, {"x": 1, "y": 2, "z": 3}, name)
        found = with_variables(operation, declared_variables(operation))
        assert found == Operation(document, expected, name)
