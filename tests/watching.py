"""How does a test watch a subscription, without the transport that carries it to a client?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import UUID

import anyio
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry.types import ExecutionResult

from gateway.auth import Authenticator
from resolvers.context import Context, DownloadLink, Services, StoredFile, StoredPreview, StreamPace, Watch
from schema.build import build_schema
from store.database import Database, owner_transaction
from store.models import Export
from store.signals import Channel, Signals, signal
from tests.build import NEVER_EXPIRES, NOW, Builder, TestCompany
from tests.conftest import World
from tests.post import until
from tests.statements import heard, in_use

EXPORT = """
subscription ($id: ID!, $after: BigInt) {
  exportProgress(id: $id, afterSequence: $after) { sequence isFinal export { status rowsProcessed } }
}
"""
EXPORTS = """
subscription ($filter: ExportFilter, $first: Int) {
  exportsProgress(filter: $filter, first: $first) { exports { status rowsProcessed } }
}
"""
CAMPAIGN = "subscription ($id: ID!) { campaignChanged(id: $id) { campaign { name version } } }"
CAMPAIGNS = """
subscription ($filter: CampaignFilter, $first: Int) {
  campaignsChanged(filter: $filter, first: $first) { campaigns { name } }
}
"""
NEVER = 3600.0
SOON = 0.01
PATIENCE = 20
# Who asks is read too, but is not counted.
SET_UP = ("set_config", "signed_in_by", "access_tokens", "my_teams")
OF_LISTENERS = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"


def no_link(_stored: StoredFile | StoredPreview) -> DownloadLink:
    raise AssertionError("nothing here asks for a link")


class Watched:
    """The events of one subscription; whoever watches serves them as a transport does."""

    def __init__(self, results: AsyncGenerator[ExecutionResult, None], context: Context) -> None:
        self._results = results
        self._latest: object = None
        self.context = context

    async def result(self) -> ExecutionResult:
        """The next result that is news, after which the context rests."""
        with anyio.fail_after(PATIENCE):
            while True:
                found = await anext(self._results)
                await self.context.rest()
                if found.errors or found.data != self._latest:
                    self._latest = found.data
                    return found

    async def event(self) -> Any:
        """What the one root field of the next event holds; there must be no errors."""
        found = await self.result()
        assert found.errors is None, found.errors
        assert found.data is not None
        (held,) = found.data.values()
        return held

    async def codes(self) -> list[object]:
        """The codes of the errors that the next result consists of."""
        found = await self.result()
        assert found.data is None
        return [(error.extensions or {}).get("code") for error in found.errors or ()]

    async def is_over(self) -> bool:
        """Whether it completes, instead of another event."""
        with anyio.fail_after(PATIENCE):
            return await anext(self._results, None) is None


class Stand:
    """A process in which subscriptions run: a pool, one listener, and the means to change what is watched."""

    def __init__(self, world: World, database: Database, signals: Signals, pace: StreamPace) -> None:
        self.world = world
        self.database = database
        self.signals = signals
        self.authenticator = Authenticator(database, None, lambda: NOW, accept_demo_tokens=False)
        self.services = Services(
            database=database,
            now=lambda: NOW,
            mint_link=no_link,
            mint_preview=no_link,
            inert_unsubscribe_url="https://campaigns.example/unsubscribe",
            domain_suffix="campaigns.example",
            test_mails_per_hour=1,
            exports_waiting=100,
            export_bytes=2**30,
            signals=signals,
            stream_pace=pace,
        )
        self._schema = build_schema()

    async def context(self, token: str) -> Context:
        async def reauthorise() -> Any:
            return await self.authenticator.viewer(f"Bearer {token}")

        viewer = await reauthorise()
        reader = self.database.reading(viewer.identity.scope)
        return Context(viewer, reader, "request", self.services, Watch(reauthorise))

    @asynccontextmanager
    async def watching(
        self, document: str, token: str, variables: Mapping[str, object] | None = None
    ) -> AsyncIterator[Watched]:
        """The subscription, as the holder of the token."""
        context = await self.context(token)
        results: Any = await self._schema.subscribe(
            document, dict(variables or {}), context_value=context, root_value=context.viewer
        )
        try:
            async with aclosing(results):
                yield Watched(results, context)
        finally:
            await context.close()

    async def change(self, document: str, token: str, variables: Mapping[str, object]) -> Any:
        """What the one field of a mutation answers; it must be made."""
        context = await self.context(token)
        result = await self._schema.execute(document, dict(variables), context_value=context, root_value=context.viewer)
        await context.close()
        assert result.errors is None, result.errors
        assert result.data is not None
        (answer,) = result.data.values()
        assert answer["userErrors"] == []
        return answer

    async def progress(self, company: TestCompany, id: UUID, **values: object) -> None:
        """What a worker does: another state of an export, and the signal, in one transaction."""
        async with self.database.writing(company.id) as session:
            mine = (Export.company_id == company.id, Export.id == id)
            await session.execute(update(Export).where(*mine).values(sequence=Export.sequence + 1, **values))
            await signal(session, Channel.EXPORTS, company.id, id)

    async def told(self, company: TestCompany, id: UUID) -> None:
        """A signal alone, of a change that was made elsewhere, or of none."""
        async with self.database.writing(company.id) as session:
            await signal(session, Channel.EXPORTS, company.id, id)

    async def sql(self, statement: str, **parameters: object) -> Any:
        """The first value of a statement of the tables' owner, without a signal."""
        async with owner_transaction(self.world.url) as connection:
            return await first_value(connection, statement, parameters)

    async def cut_off(self) -> None:
        """Ends the listener's connection, as a server that goes down does."""
        await self.sql(f"SELECT count(pg_terminate_backend(pid)) {OF_LISTENERS}")

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[list[str]]:
        """The statements that read rows while this lasts; those that tell who is asking do not count."""
        statements: list[str] = []

        def keep(statement: str, _parameters: object) -> None:
            if not any(mark in statement for mark in (*SET_UP, "pg_notify", "UPDATE")):
                statements.append(statement)

        with heard(self.database, keep):
            yield statements


async def first_value(connection: AsyncConnection, statement: str, parameters: Mapping[str, object]) -> Any:
    result = await connection.execute(text(statement), parameters)
    return result.scalar() if result.returns_rows else None


@asynccontextmanager
async def stand_of(world: World, pace: StreamPace | None = None) -> AsyncIterator[Stand]:
    """Unless a pace is given, whatever is read again is read because of a signal."""
    database = Database(world.url, pool_size=3)
    signals = Signals(database, longest_pause=SOON, spread=0)
    try:
        async with heard_by(signals):
            yield Stand(world, database, signals, pace or StreamPace(reread=NEVER, spacing=0, longest_pause=SOON))
    finally:
        await database.close()


@asynccontextmanager
async def heard_by(signals: Signals) -> AsyncIterator[None]:
    """They listen, from the beginning of this on."""
    with signals.hearing(Channel.EXPORTS, 0) as connected:
        listener = asyncio.create_task(signals.run())
        await connected.wait(PATIENCE)
    try:
        yield
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def running_export(stand: Stand, **values: object) -> Any:
    """The id of a new export of acme that a worker has in hand; however long a test takes, it does not stall."""
    acme = stand.world.acme
    row = {
        "company_id": acme.id,
        "requested_by_id": acme.member,
        "status": "RUNNING",
        "sequence": 3,
        "heartbeat_at": NEVER_EXPIRES,
        **values,
    }
    async with owner_transaction(stand.world.url) as connection:
        return await Builder(connection).add(Export, **row)


async def after_one_reading(stand: Stand, watched: Watched, then: Callable[[], Awaitable[None]]) -> Any:
    """The next event, asked for before something happens that happens after a reading without an event."""
    async with stand.counting() as statements:
        event = asyncio.create_task(watched.event())
        await until(lambda: any_of(statements))
        await then()
        return await event


async def at_rest(stand: Stand) -> bool:
    """Whether no connection of the pool is in use."""
    return in_use(stand.database) == 0


async def any_of(statements: Sequence[str]) -> bool:
    return bool(statements)
