"""Does an engine run operations as graphql-core does: at once or awaited, with its errors, and nothing left running?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from inspect import CORO_CLOSED, getcoroutinestate, isawaitable
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute,
    parse,
    subscribe,
)
from graphql.execution import Executor

from engine import Engine, NotCompilable, Way, compile_operation
from engine.executor import MOST_VARIANTS, running_by
from engine.plans import unplanned

pytestmark = pytest.mark.anyio

SCHEMA = """
interface Named { name: String }
type Dog implements Named { name: String barks: Boolean }
type Cat implements Named { name: String lives: Int }
type Query { a: String b: String must: String! child: Query children: [Query!] listed: [Int]
             pet: Named pets: [Named] echo(text: String, list: [String], mood: Mood): String }
type Mutation { add: Int }
type Subscription { counted: Int }
enum Mood { GOOD BAD }
"""
Data = dict[str, Any]


def made(resolvers: dict[str, Callable[..., object]] | None = None) -> GraphQLSchema:
    schema = build_schema(SCHEMA)
    for name, resolve in (resolvers or {}).items():
        type_, field = name.split(".")
        type_map: Any = schema.type_map
        type_map[type_].fields[field].resolve = resolve
    return schema


def by(engine: Engine, schema: GraphQLSchema, document: str | DocumentNode, root: object = None, **more: Any) -> Any:
    """What execution with the engine gives: a result, or an awaitable of it."""
    parsed = parse(document) if isinstance(document, str) else document
    return execute(schema, parsed, root, executor_class=running_by(engine, Executor), **more)


def both(schema: GraphQLSchema, document: str, root: Callable[[], object] = dict, **more: Any) -> Engine:
    """An engine that has answered as graphql-core does, without waiting."""
    engine = Engine(schema)
    assert by(engine, schema, document, root(), **more) == execute(schema, parse(document), root(), **more)
    return engine


async def both_awaited(schema: GraphQLSchema, document: str, root: Callable[[], object] = dict) -> Engine:
    """The same for what has to be waited for."""
    engine = Engine(schema)
    alone = execute(schema, parse(document), root())
    found = by(engine, schema, document, root())
    assert isawaitable(found)
    assert isawaitable(alone)
    assert await found == await alone
    return engine


def test_what_needs_no_waiting_is_answered_at_once() -> None:
    """A query of plain values gives its result, not an awaitable, with no event loop."""
    engine = both(made(), "{ a child { b } children { a } }", lambda: {"a": "x", "child": {"b": "y"}, "children": [{}]})
    assert engine.ways == {Way.COMPILED: 1}


async def test_what_waits_is_awaited() -> None:
    """A query with coroutines on some levels gives an awaitable of its result."""

    async def later(_source: object, _info: object) -> Data:
        await asyncio.sleep(0)
        return {"b": "y"}

    engine = await both_awaited(made({"Query.child": later}), "{ a child { b child { b } } }", lambda: {"a": "x"})
    assert engine.ways == {Way.COMPILED: 1}


async def test_sync_errors_before_any_waiting_are_answered_at_once() -> None:
    """Where graphql-core fails without waiting, so does the engine, and no coroutine is left that nobody awaits."""

    async def later(_source: object, _info: object) -> str:
        raise AssertionError

    def fails(_source: object, _info: object) -> str:
        raise ValueError("no")

    both(made({"Query.a": later, "Query.must": fails}), "{ a must }")
    both(made({"Query.a": later}), "{ a must }")
    both(made(), "{ children { a } }", lambda: {"children": [soon({}), None]})


async def test_nothing_that_was_begun_is_left_when_telling_a_type_fails() -> None:
    """Where the second object's type cannot be told, the coroutine that tells the first one's is closed."""
    begun: list[Any] = []

    def told(value: Data, _info: object, _type: object) -> object:
        if "name" not in value:
            raise ValueError("no")
        begun.append(soon("Dog"))
        return begun[-1]

    schema = made()
    named: Any = schema.type_map["Named"]
    named.resolve_type = told
    await both_awaited(schema, "{ pets { name } }", lambda: {"pets": [{"name": "x"}, {}]})
    assert [getcoroutinestate(each) for each in begun] == [CORO_CLOSED] * 3


@pytest.mark.parametrize(
    ("document", "root"),
    [
        ("{ must }", {}),
        ("{ child { must a } a }", {"child": {"a": "x"}, "a": "y"}),
        ("{ children { must } a }", {"children": [{"must": "x"}, {}], "a": "y"}),
        ("{ children { a } a }", {"children": [{"a": "x"}, None], "a": "y"}),
        ("{ listed a }", {"listed": [1, "two", 2**40, None], "a": "x"}),
        ("{ listed a }", {"listed": 5, "a": "x"}),
        ("{ a child { b } }", {"a": ValueError("kept"), "child": {"b": KeyError("b")}}),
        ("{ pet { name } a }", {"pet": {"name": "x"}, "a": "y"}),
        ("{ pets { name } a }", {"pets": [{"__typename": "Dog"}, {"__typename": "Query"}], "a": "y"}),
        ("query ($m: Mood) { echo(mood: $m) }", {}),
    ],
)
def test_errors_are_graphql_cores(document: str, root: Data) -> None:
    """Messages, paths, places and what becomes null are those of graphql-core."""
    both(made(), document, lambda: dict(root))


async def test_an_error_of_a_coroutine_is_graphql_cores() -> None:
    """A coroutine that fails nulls what it nulls in graphql-core, and those beside it are answered."""

    async def fails(_source: object, _info: object) -> str:
        raise ValueError("no")

    async def later(_source: object, _info: object) -> str:
        await asyncio.sleep(0)
        return "x"

    schema = made({"Query.must": fails, "Query.b": later})
    engine = await both_awaited(schema, "{ b child { must b } }", lambda: {"child": {}})
    assert engine.ways == {Way.GIVEN_UP: 1}


async def soon(value: object) -> object:
    for _ in range(3):
        await asyncio.sleep(0)
    return value


async def failing() -> object:
    raise ValueError("no")


async def counting(*items: object) -> AsyncIterator[object]:
    for item in items:
        yield item


class Counting:
    """An iterator, asynchronous or not, that ends with an error."""

    def __init__(self) -> None:
        self._next = 0

    def __iter__(self) -> Counting:
        return self

    def __next__(self) -> int:
        self._next += 1
        if self._next > 2:
            raise ValueError("no more")
        return self._next


@pytest.mark.parametrize(
    ("document", "data", "way"),
    [
        ("{ a b }", lambda: {"a": soon("x"), "b": soon("y")}, Way.COMPILED),
        ("{ a b }", lambda: {"a": failing(), "b": soon("y")}, Way.GIVEN_UP),
        ("{ b child { must } }", lambda: {"b": soon("y"), "child": soon({"must": failing()})}, Way.GIVEN_UP),
        ("{ listed }", lambda: {"listed": iter([1, soon(2)])}, Way.COMPILED),
        ("{ listed }", lambda: {"listed": counting(1, soon(2))}, Way.COMPILED),
        ("{ listed a }", lambda: {"listed": iter([1, soon(2)]), "a": failing()}, Way.GIVEN_UP),
        ("{ listed a }", lambda: {"listed": iter([1, soon("two"), 3]), "a": soon("x")}, Way.GIVEN_UP),
        ("{ listed a }", lambda: {"listed": counting(1, soon("two"), 3), "a": soon("x")}, Way.GIVEN_UP),
        ("{ listed a }", lambda: {"listed": [soon(1), failing(), soon(3)], "a": soon("x")}, Way.GIVEN_UP),
        ("{ listed a }", lambda: {"listed": Counting(), "a": soon("x")}, Way.GIVEN_UP),
        ("{ listed child { must } }", lambda: {"listed": soon(iter([1, 2])), "child": {}}, Way.GIVEN_UP),
        ("{ one: listed two: listed a }", lambda: {"listed": iter([1, 2]), "a": soon("x")}, Way.COMPILED),
    ],
)
async def test_what_stands_in_the_data_is_there_for_both(document: str, data: Callable[[], Data], way: Way) -> None:
    """Coroutines and iterators of the data, read by the engine, are there for graphql-core when it gives up."""
    engine = await both_awaited(made(), document, data)
    assert engine.ways == {way: 1}


async def test_types_are_told_by_coroutines() -> None:
    """Objects of an interface are answered by type, also where telling the type has to be waited for."""

    async def is_dog(value: Data, _info: object) -> bool:
        return "barks" in value

    schema = made()
    for name, told in (("Dog", is_dog), ("Cat", lambda value, _info: "lives" in value)):
        type_: Any = schema.type_map[name]
        type_.is_type_of = told
    root = {"pets": [{"name": "a", "barks": True}, None, {"name": "b", "lives": 9}]}
    engine = await both_awaited(
        schema, "{ pets { __typename name ... on Cat { lives } ...D } } fragment D on Dog { barks }", lambda: root
    )
    assert engine.ways == {Way.COMPILED: 1}


async def test_cancelling_stops_what_was_begun() -> None:
    """Who cancels the operation gets that, and what its resolvers were doing has ended."""
    begun, ended = asyncio.Event(), []

    async def waits(_source: object, _info: object) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("resolver")
        raise AssertionError

    async def stands() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("data")
        raise AssertionError

    schema = made({"Query.b": waits})
    engine, before = Engine(schema), asyncio.all_tasks()
    running = asyncio.ensure_future(by(engine, schema, "{ a b }", {"a": stands()}))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sorted(ended) == ["data", "resolver"]
    assert asyncio.all_tasks() == before
    assert engine.ways == {}


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_functions_are_kept_by_operation(steps: int) -> None:
    """An operation has one function however often it is run; of the operations, those that ran last are kept."""
    schema = made()
    engine = Engine(schema, most_kept=2)
    documents = [parse(f"query {name} {{ {name}: a }} query other {{ b }}") for name in "xyz"[:steps]]
    operations = [definition for document in documents for definition in document.definitions]
    for _ in range(3):
        for operation in operations:
            assert isinstance(operation, OperationDefinitionNode)
            kept = engine.prepared(operation, {})
            assert engine.prepared(operation, {}) is kept
            assert kept.compiled({}) is kept.compiled({})
    assert len(engine._kept) == 2


def test_what_ran_last_is_kept() -> None:
    """A new operation takes the place of the one that has not run for longest."""
    engine = Engine(made(), most_kept=2)
    first, second, third = (parse(f"{{ {name}: a }}").definitions[0] for name in "xyz")
    assert isinstance(first, OperationDefinitionNode)
    assert isinstance(second, OperationDefinitionNode)
    assert isinstance(third, OperationDefinitionNode)
    kept = engine.prepared(first, {})
    for operation in (second, first, third):
        engine.prepared(operation, {})
    assert engine.prepared(first, {}) is kept


def test_operations_of_one_document_are_told_apart() -> None:
    """Each operation of a document runs by its own function."""
    schema, document = made(), parse("query one { x: a } query two { y: b }")
    engine = Engine(schema)
    for name, expected in [("one", {"x": "1"}), ("two", {"y": "2"}), ("one", {"x": "1"})]:
        assert by(engine, schema, document, {"a": "1", "b": "2"}, operation_name=name).data == expected
    assert engine.ways == {Way.COMPILED: 3}


def test_variants_of_skip_and_include_are_bounded() -> None:
    """Each choice of what is skipped has its function, up to so many; graphql-core answers the others, as rightly."""
    schema, root = made(), {"a": "x"}
    count = MOST_VARIANTS.bit_length()
    given = ", ".join(f"$v{index}: Boolean!" for index in range(count))
    fields = " ".join(f"f{index}: a @{'skip' if index % 2 else 'include'}(if: $v{index})" for index in range(count))
    document = parse(f"query ({given}) {{ b {fields} }}")
    engine = Engine(schema)
    for chosen in range(2**count):
        values = {f"v{index}": bool(chosen >> index & 1) for index in range(count)}
        found = by(engine, schema, document, root, variable_values=values)
        assert found == execute(schema, document, root, variable_values=values)
    assert engine.ways == {Way.COMPILED: MOST_VARIANTS, Way.NOT_COMPILABLE: 2**count - MOST_VARIANTS}


def test_only_booleans_make_variants() -> None:
    """Values of other variables, lists among them, make no function of their own, also where a fragment takes them."""
    schema = made({"Query.echo": lambda _source, _info, **given: repr(given)})
    document = parse(
        "query ($on: Boolean = true, $list: [String])"
        " { ...F(list: $list, shown: $on) child { ...F(list: [], shown: $on) } }"
        " fragment F($list: [String], $shown: Boolean) on Query"
        " { echo(list: $list) @include(if: $shown) a ...G(inner: $list) }"
        " fragment G($inner: [String]) on Query { inner: echo(list: $inner) }",
        experimental_fragment_arguments=True,
    )
    engine = Engine(schema)
    for given in ({}, {"list": ["x"]}, {"list": ["y"]}, {"on": False}, {"on": False, "list": ["x"]}):
        found = by(engine, schema, document, {"child": {}}, variable_values=given)
        assert found == execute(schema, document, {"child": {}}, variable_values=given)
    assert engine.ways == {Way.COMPILED: 5}
    (kept,) = engine._kept.values()
    assert len(kept.variants) == 2


async def test_mutations_and_subscriptions_are_graphql_cores() -> None:
    """An engine has no part in what is no query."""

    async def counted(_source: object, _info: object) -> AsyncIterator[Data]:
        yield {"counted": 1}

    schema = made({"Mutation.add": lambda _source, _info: 1})
    assert schema.subscription_type is not None
    schema.subscription_type.fields["counted"].subscribe = counted
    engine = Engine(schema)
    assert by(engine, schema, "mutation { add }") == ExecutionResult({"add": 1}, None)
    stream: Any = subscribe(schema, parse("subscription { counted }"), executor_class=running_by(engine, Executor))
    assert [event.data async for event in stream] == [{"counted": 1}]
    assert engine.ways == {}
    for document in ("mutation { add }", "subscription { counted }"):
        (operation,) = parse(document).definitions
        assert isinstance(operation, OperationDefinitionNode)
        with pytest.raises(NotCompilable):
            compile_operation(schema, operation, {}, {}, unplanned)
