"""Does the engine answer whatever can be asked as graphql-core does, and each viewer what is theirs alone?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from engine import Compiled, Way, compile_operation, executor
from engine.compiler import Function
from engine.run import Run
from gateway.operations import Operation, Operations, Outcome
from resolvers import global_ids
from tests.conftest import World
from tests.engine_sides import RESOLVER, Asker, Sides, both_sides, outcome_of, written
from tests.graph import NO_LIMITS, Graph, never_id, never_key
from tests.holes import add_holes
from tests.operations import Asked, GeneratedOperation

PARTS = 4
OPERATIONS = 500
SHARED_OPERATIONS = 50
PLAN_KINDS = {"Column", "Computed", "SameRow", "ToOne", "ToMany", "ToPage", "Named", RESOLVER}
# Of the answers without errors; of what has errors graphql-core must tell them.
LEAST_COMPILED = 0.95
LEAST_FAULTLESS = 0.5
UNIQUE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def holed(world: World) -> World:
    """The small world with rows of which much is missing."""
    asyncio.run(add_holes(world.url, world.globex.id))
    return world


@pytest.mark.parametrize("part", range(PARTS))
def test_generated_operations_are_answered_alike(holed: World, part: int) -> None:
    """Whatever is asked, by whomever: the same bytes with the engine as without, and by a function where it can be."""
    with asyncio.Runner() as runner:
        sides_of_world = both_sides(holed)
        sides = runner.run(sides_of_world.__aenter__())
        try:
            asked = Asked(sides.schema, sides.known)
            compare_many(lambda operation: runner.run(sides.compare(operation, sides.two(operation))), asked, part)
        finally:
            runner.run(sides_of_world.__aexit__(None, None, None))
    assert sides.answers >= OPERATIONS * 2
    assert sides.faultless >= sides.answers * LEAST_FAULTLESS
    assert sides.compiled >= sides.faultless * LEAST_COMPILED
    assert set(sides.kinds) == PLAN_KINDS


def compare_many(compare: Callable[[GeneratedOperation], None], asked: Asked, part: int) -> None:
    @seed(part)
    @settings(
        max_examples=OPERATIONS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def check(random: Random) -> None:
        compare(asked.operation(random))

    check()


@pytest.mark.anyio
async def test_viewers_share_functions_and_never_rows(holed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One document has one function for viewers of both companies, at the same time too, and each sees their own."""
    used = watched_functions(monkeypatch)
    async with both_sides(holed, **NO_LIMITS) as sides:
        admins = [asker for asker in sides.askers if asker.name.startswith("admin")]
        assert [asker.company for asker in admins] == [0, 1]
        operations = await shared_operations(sides, admins)
        alternately = [(operation, asker) for operation in operations for asker in admins]
        expected = [written(await ask(sides.without, operation, asker)) for operation, asker in alternately]
        one_by_one = [written(await ask(sides.with_engine, *each)) for each in alternately]
        at_once = await asyncio.gather(*(ask(sides.with_engine, *each) for each in alternately * 2))
        assert one_by_one == expected
        assert [written(each) for each in at_once] == expected * 2
        owners = owners_of(sides)
        for (_, asker), answer in zip(alternately * 2, at_once, strict=True):
            assert set(companies_in(answer.data, owners)) <= {asker.company}
        both = {holed.acme.id, holed.globex.id}
        assert list(used.values()) == [both] * len(operations)
        assert not sides.engine.reasons


@pytest.mark.anyio
@pytest.mark.parametrize(
    "document",
    [
        # Loaded by now, the second would fail before the first.
        f'{{ template(id: "{never_key("Template")}") {{ id }} node(id: "{never_id("Campaign")}") {{ id }} }}',
        # The first fails while the others are being loaded.
        '{ exportColumns(kind: CONTACTS) { name } node(id: "nothing") { id } }',
        f'{{ node(id: "nothing") {{ id }} nodes(ids: ["{never_id("Campaign")}", "{never_id("User")}"]) {{ id }} }}',
    ],
)
async def test_failures_leave_no_trace(world: World, document: str) -> None:
    """What a function could not answer is answered as if it had not been tried, the order of the errors included."""
    async with both_sides(world) as sides:
        await sides.compare(GeneratedOperation(document, ({}, {})))
        assert sides.engine.ways == {Way.GIVEN_UP: len(sides.askers)}


def watched_functions(monkeypatch: pytest.MonkeyPatch) -> dict[Function, set[int]]:
    """The functions that are made from here on, in their order, each with the companies of those it was run for."""
    used: dict[Function, set[int]] = {}

    def watched(*arguments: Any) -> Compiled:
        compiled = compile_operation(*arguments)
        companies = used[compiled.function] = set()

        async def function(roots: list[Any], context: Any, run: Run) -> dict[str, Any]:
            companies.add(context.viewer.company_id)
            return await compiled.function(roots, context, run)

        return replace(compiled, function=function)

    monkeypatch.setattr(executor, "compile_operation", watched)
    return used


async def shared_operations(sides: Sides, admins: Sequence[Asker]) -> list[GeneratedOperation]:
    """Operations that both may ask: of all there is to read, and generated ones."""
    graph = Graph(sides.schema)
    rows = [await visible_ids(sides, asker) for asker in admins]
    found = [GeneratedOperation(graph.root_document(), ({}, {}))]
    for name, type_ in graph.rows.items():
        whole = f"{{ nodes(ids: $ids) {{ ... on {name} {graph.selection(type_, edges=True)} }} }}"
        document = graph.complete(f"query ($ids: [ID!]!) {whole}")
        found.append(GeneratedOperation(document, tuple({"ids": ids[name]} for ids in rows)))
    asked, number = Asked(sides.schema, sides.known), 0
    while len(found) < SHARED_OPERATIONS:
        operation = steered_alike(asked.operation(Random(number)))
        number += 1
        if operation.document in {each.document for each in found}:
            continue
        if not any([(await ask(sides.without, operation, asker)).errors for asker in admins]):
            found.append(operation)
    return found


async def visible_ids(sides: Sides, asker: Asker) -> dict[str, list[str]]:
    """The global ids of the rows that somebody may see, by type."""
    found = {}
    for typename, keys in sides.known.keys[asker.company].items():
        ids = [global_ids.encode(typename, key) for key in keys]
        document = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
        outcome = await ask(sides.without, GeneratedOperation(document, ({"ids": ids},) * 2), asker)
        assert isinstance(outcome.data, dict)
        found[typename] = [row["id"] for row in outcome.data["nodes"] if row is not None]
    return found


def steered_alike(operation: GeneratedOperation) -> GeneratedOperation:
    """With the same values of all booleans, as each combination of them has a function of its own."""
    first, second = operation.variables
    steering = {name: value for name, value in first.items() if name.startswith("when")}
    others = {name: value for name, value in second.items() if not name.startswith("when")}
    return GeneratedOperation(operation.document, (first, {**others, **steering}))


async def ask(operations: Operations, operation: GeneratedOperation, asker: Asker) -> Outcome:
    asked = Operation(operation.document, dict(operation.variables[asker.company]), None)
    return await outcome_of(operations, asked, asker.viewer)


def owners_of(sides: Sides) -> dict[str, int]:
    """Whose each row is: by its global id, and by its raw id where that is unique."""
    found: dict[str, int] = {}
    for company, types in enumerate(sides.known.keys):
        for typename, keys in types.items():
            owned = {global_ids.encode(typename, key) for key in keys} | {
                key for key in keys if UNIQUE_ID.fullmatch(key)
            }
            assert not owned & found.keys()
            found.update(dict.fromkeys(owned, company))
    return found


def companies_in(data: object, owners: Mapping[str, int]) -> Iterator[int]:
    """Whose rows are named in an answer, wherever in it."""
    if isinstance(data, list):
        for each in data:
            yield from companies_in(each, owners)
    elif isinstance(data, dict):
        # What has no global id, as a part of a row, is no row.
        named = global_ids.encode(str(data.get("__typename")), data.get("databaseId"))
        yield from [owners[named]] if named in owners else []
        for each in data.values():
            yield from companies_in(each, owners)
    elif isinstance(data, str) and data in owners:
        yield owners[data]
