"""Does the engine answer what graphql-core does? The gateway's operations with the engine and without, side by side."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema
from strawberry.extensions import ParserCache, ValidationCache

from engine import Engine, Way
from engine.plans import Plan, Planner
from gateway.app import documents_of, limits_of
from gateway.auth import Authenticator
from gateway.documents import Documents
from gateway.downloads import Downloads
from gateway.limits import limits_extension
from gateway.operations import Operation, Operations, Outcome
from gateway.previews import Previews
from gateway.settings import Settings
from gateway.signing import SignedLinks
from resolvers import global_ids
from resolvers.context import Services, Viewer
from schema.build import Schema, build_schema
from schema.registry import SOURCES
from store.database import Database, owner_transaction
from store.files import LocalFiles
from store.signals import Signals
from tests.build import NOW, TestCompany
from tests.client import DOWNLOAD_SECRET
from tests.conftest import World
from tests.graph import Graph
from tests.operation_values import Known
from tests.operations import GeneratedOperation

# A fault of ours is none the less one when both ways have it.
FAULT = b'"code":"INTERNAL_SERVER_ERROR"'
REQUEST_ID = "of-the-tests"
ROLES = ("admin", "member")
RESOLVER = "resolver"


@dataclass
class CountingPlanner:
    """Plans as another planner does, and counts the kinds."""

    plan_of: Planner
    kinds: Counter[str] = field(default_factory=Counter)
    coordinates: set[str] = field(default_factory=set)

    def __call__(self, type_: GraphQLObjectType, name: str, definition: GraphQLField, /) -> Plan | None:
        plan = self.plan_of(type_, name, definition)
        self.kinds[RESOLVER if plan is None else type(plan).__name__] += 1
        self.coordinates.add(f"{type_.name}.{name}")
        return plan


@dataclass
class Asker:
    """One who asks; `company` is 0 or 1."""

    name: str
    company: int
    viewer: Viewer


@dataclass
class Sides:
    """The same operations of the same database, run both ways.

    `kinds`: of the plans of what ran by its function. `faultless`: how many of the `answers` had no errors.
    """

    with_engine: Operations
    without: Operations
    schema: GraphQLSchema
    engine: Engine
    askers: Sequence[Asker]
    known: Known
    planner: CountingPlanner
    kinds: Counter[str] = field(default_factory=Counter)
    faultless: int = 0
    answers: int = 0

    def two(self, operation: GeneratedOperation) -> list[Asker]:
        """The administrator of one company and the member of the other; which, depends on the operation alone."""
        first, second, third, fourth = self.askers
        return [first, fourth] if len(operation.document) % 2 else [third, second]

    async def compare(self, operation: GeneratedOperation, askers: Sequence[Asker] | None = None) -> None:
        """Asks as these, or as everybody; raises unless both ways answer the same bytes."""
        kinds, compiled = self.planner.kinds.copy(), self.compiled
        await asyncio.gather(*(self._compare(operation, asker) for asker in askers or self.askers))
        if self.compiled > compiled:
            self.kinds += self.planner.kinds - kinds

    async def _compare(self, operation: GeneratedOperation, asker: Asker) -> None:
        asked = Operation(operation.document, dict(operation.variables[asker.company]), None)
        outcome = await outcome_of(self.without, asked, asker.viewer)
        expected = written(outcome)
        found = written(await outcome_of(self.with_engine, asked, asker.viewer))
        self.answers += 1
        self.faultless += not outcome.errors
        if found != expected or FAULT in expected:
            raise Different(operation, asker, expected, found)

    @property
    def compiled(self) -> int:
        return self.engine.ways[Way.COMPILED]


class Different(AssertionError):
    """Two answers that should be one."""

    def __init__(self, operation: GeneratedOperation, asker: Asker, expected: bytes, found: bytes) -> None:
        variables = orjson.dumps(operation.variables[asker.company]).decode()
        texts = (operation.document, variables, asker.name, f"without: {expected!r}", f"with:    {found!r}")
        super().__init__("\n".join(texts))


async def outcome_of(operations: Operations, operation: Operation, viewer: Viewer) -> Outcome:
    """As the transport asks for it."""
    refusal = operations.refusal(operation, viewer, REQUEST_ID)
    return refusal or await operations.execute(operation, viewer, REQUEST_ID)


def written(outcome: Outcome) -> bytes:
    """The body of the answer."""
    return orjson.dumps(outcome.answer())


def schema_of(settings: Settings, *, compiling: bool) -> Schema:
    """The schema as the application has it."""
    kept = 100
    extensions = [
        lambda: ParserCache(maxsize=kept),
        lambda: ValidationCache(maxsize=kept),
        limits_extension(limits_of(settings)),
    ]
    return build_schema(extensions, compiling=compiling)


def unread(documents: Documents) -> Documents:
    """Documents of which nothing is known in advance: Strawberry reads, validates and measures each operation."""
    read = documents.read
    documents.read = lambda source: replace(read(source), queries={})  # type: ignore[method-assign]  # for this object
    return documents


def services_of(database: Database, settings: Settings) -> Services:
    links = SignedLinks(DOWNLOAD_SECRET, "https://campaigns.example", lambda: NOW)
    return Services(
        database=database,
        now=lambda: NOW,
        mint_link=Downloads(links, LocalFiles(Path("/nonexistent")), database, timedelta(minutes=5), lambda: NOW).mint,
        mint_preview=Previews(links, database, lambda: NOW).mint,
        inert_unsubscribe_url="https://campaigns.example/unsubscribe-test",
        domain_suffix=settings.campaign_domain_suffix,
        test_mails_per_hour=settings.test_mails_per_hour,
        exports_waiting=settings.exports_waiting_per_company,
        export_bytes=settings.export_bytes_per_company,
        signals=Signals(database),
    )


@asynccontextmanager
async def both_sides(world: World, **chosen: Any) -> AsyncIterator[Sides]:
    """Both ways over the database of a world, whose rows must not change meanwhile; `chosen`: settings."""
    settings = Settings(**{"log_level": "ERROR", **chosen})
    database = Database(world.url, pool_size=8)
    try:
        services = services_of(database, settings)
        compiling = schema_of(settings, compiling=True)
        engine = compiling.engine
        assert engine is not None
        planner = engine._plan_of = CountingPlanner(engine._plan_of)
        with_engine = Operations(compiling, services, documents_of(settings, compiling))
        without = Operations(schema_of(settings, compiling=False), services, unread(documents_of(settings, compiling)))
        askers = await askers_of(world, database)
        known = Known(await keys_of(world), await cursors_of(without, compiling._schema, askers, await keys_of(world)))
        yield Sides(with_engine, without, compiling._schema, engine, askers, known, planner)
    finally:
        await database.close()


async def askers_of(world: World, database: Database) -> list[Asker]:
    authenticator = Authenticator(database, None, lambda: NOW, accept_demo_tokens=False)
    return [
        Asker(f"{role} of {name}", company, await authenticator.viewer(f"Bearer {tokens.tokens[role]}"))
        for company, (name, tokens) in enumerate(companies_of(world))
        for role in ROLES
    ]


def companies_of(world: World) -> list[tuple[str, TestCompany]]:
    return [("Acme", world.acme), ("Globex", world.globex)]


async def keys_of(world: World) -> list[dict[str, list[str]]]:
    """The keys of the rows of each company, by type."""
    found: list[dict[str, list[str]]] = []
    async with owner_transaction(world.url) as connection:
        for _, company in companies_of(world):
            found.append({})
            for typename, source in SOURCES.items():
                columns = source.table.columns
                own = columns["id" if source.table.name == "companies" else "company_id"] == company.id
                rows = await connection.scalars(
                    source.table.select().with_only_columns(source.key_column).where(own).order_by(source.key_column)
                )
                found[-1][typename] = [str(key) for key in rows]
    return found


async def cursors_of(
    operations: Operations, schema: GraphQLSchema, askers: Sequence[Asker], keys: Sequence[Mapping[str, Sequence[str]]]
) -> dict[tuple[str, str], list[str]]:
    """Cursors of all lists of the root and of rows, by their administrators' own eyes."""
    found: dict[tuple[str, str], list[str]] = {}
    graph = Graph(schema)
    for asker in askers[:: len(ROLES)]:
        for type_, name in graph.connections():
            coordinate, selected = f"{type_}.{name}", f"{name}(first: 3) {{ edges {{ cursor }} }}"
            if type_ == graph.query.name:
                answer = await data_of(operations, f"{{ {selected} }}", {}, asker)
                keep(found, (coordinate, str(asker.company)), answer.get(name))
            elif type_ in graph.rows:
                own = keys[asker.company][type_]
                ids = [global_ids.encode(type_, key) for key in own]
                document = f"query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on {type_} {{ {selected} }} }} }}"
                rows = (await data_of(operations, document, {"ids": ids}, asker))["nodes"]
                for key, row in zip(own, rows, strict=True):
                    keep(found, (coordinate, key), (row or {}).get(name))
    return found


def keep(found: dict[tuple[str, str], list[str]], place: tuple[str, str], page: Mapping[str, Any] | None) -> None:
    edges = page["edges"] if page else []
    if edges:
        found[place] = [edge["cursor"] for edge in edges]


async def data_of(operations: Operations, document: str, variables: dict[str, object], asker: Asker) -> dict[str, Any]:
    """JSON, hence Any."""
    outcome = await operations.execute(Operation(document, variables, None), asker.viewer, REQUEST_ID)
    assert isinstance(outcome.data, dict), outcome.errors
    return outcome.data
