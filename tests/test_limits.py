"""Does the gateway know, before execution, how much an operation asks for?"""

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import graphql
import pytest
import strawberry
from graphql import FieldNode, GraphQLError, OperationDefinitionNode, SelectionSetNode, parse, validate
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.extensions import ParserCache, ValidationCache

from gateway.limits import SATURATED, Limits, Measure, document_limits, limits_extension, measure

SCHEMA = graphql.build_schema("""
    interface Node { id: ID! }
    type Company implements Node {
        id: ID! name: String! tags: [String!]! parent: Company campaigns(first: Int = 20): Campaigns!
    }
    type Campaign implements Node {
        id: ID! copies(first: Int, last: Int): Campaigns! groups: [Group!]! calendar: [[Group!]!]!
        audience: Group actions: [Group!]!
    }
    type Group { name: String! latest(first: Int!): [Campaign!]! }
    type Campaigns { edges: [CampaignEdge!]! nodes: [Campaign!]! pageInfo: PageInfo! totalCount: Int! }
    type CampaignEdge { cursor: String! node: Campaign! }
    type PageInfo { hasNextPage: Boolean! endCursor: String }
    type Graph { nodes: [Group!]! }
    union Subject = Company | Campaign  scalar JSON  input Filter { and: [Filter!] }
    type Query {
        node(id: ID!): Node nodes(ids: [ID!]!): [Node]! subjects(ids: ID): [Subject!]! graph: Graph!
        company(filter: Filter, json: JSON): Company! campaigns(first: Int, last: Int): Campaigns!
    }
    type Mutation { touch: Company! }
""")
LIMITS = Limits()


def operation_of(source: str) -> tuple[graphql.DocumentNode, OperationDefinitionNode]:
    document = parse(source)
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    return document, operation


def ask(source: str, variables: Mapping[str, object] | None = None) -> Measure:
    return measure(SCHEMA, *operation_of(source), variables or {}, LIMITS)


def doubling(levels: int, last: str) -> str:
    """A document whose fragments each spread the next one twice."""
    chain = "".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}\n" for i in range(levels))
    return f"{{ ...F0 }}\n{chain}fragment F{levels} on Query {{ {last} }}"


# Hand-computed figures: 1 a field, 10 a totalCount, the lists `edges` and `nodes` free.
COSTS = {
    "{ company { id name } }": 1 + 2,
    "{ company { tags } }": 1 + 1,
    "{ campaigns(first: 50) { edges { cursor node { id } } } }": 1 + 50 * 3,
    "{ campaigns(first: 7, last: 9) { nodes { id } } }": 1 + 9,
    "{ campaigns(first: 7) { nodes { id } pageInfo { hasNextPage endCursor } totalCount } }": 1 + 7 + 3 + 10,
    "{ campaigns { nodes { id } } }": 1 + 20,
    "{ company { campaigns { nodes { id } } } }": 1 + 1 + 20,
    "{ campaigns(first: 3) { nodes { copies(first: 5) { edges { node { id } } } } } }": 1 + 3 * (1 + 5 * 2),
    "{ campaigns(first: 3) { nodes { groups { name } } } }": 1 + 3 * (1 + 10),
    "{ campaigns(first: 3) { nodes { calendar { name } } } }": 1 + 3 * (1 + 100),
    "{ campaigns(first: 3) { nodes { audience { name } } } }": 1 + 3 * (200 + 1),
    "{ campaigns(first: 3) { nodes { actions { name } } } }": 1 + 3 * (10 + 10),
    "{ campaigns(first: 3) { nodes { groups { latest(first: 2) { id } } } } }": 1 + 3 * (1 + 10 * (1 + 2)),
    '{ nodes(ids: ["a", "b", "c"]) { id } }': 1 + 3,
    '{ nodes(ids: "a") { id } }': 1 + 1,
    '{ subjects(ids: "a") { ... on Company { id name } ... on Campaign { id } } }': 1 + 10 * 3,
    '{ node(id: "a") { id ... on Campaign { copies(first: 4) { ...P } } } } fragment P on Campaigns '
    "{ totalCount ... { edges { ...E } } } fragment E on CampaignEdge { cursor }": 2 + (1 + 10 + 4),
    "{ graph { nodes { name } } }": 1 + 10,
    "mutation { touch { id } }": 1 + 1,
}


@pytest.mark.parametrize(("source", "cost"), COSTS.items())
def test_cost_by_hand(source: str, cost: int) -> None:
    """Pages, lists and ids multiply what is selected below them, exactly."""
    assert validate(SCHEMA, parse(source)) == []
    assert ask(source).cost == cost


IDS = 'query($ids: [ID!]! = ["a", "b", "c"]) { nodes(ids: $ids) { id } }'
PAGED = "query($n: Int = 4, $m: Int) { campaigns(first: $n, last: $m) { nodes { id } } }"


@pytest.mark.parametrize(
    ("source", "variables", "page"),
    [
        (PAGED, {"n": 30}, 30),
        (PAGED, {}, 4),
        (PAGED, {"m": 6}, 6),
        (PAGED, {"n": None}, 100),
        (PAGED, {"n": "30"}, 100),
        (PAGED, {"n": True}, 100),
        (PAGED, {"n": None, "m": 2}, 2),
        (PAGED, {"n": -5}, 0),
        (PAGED, {"n": 10**400}, SATURATED - 1),
        ("query($n: Int) { campaigns(first: $n) { nodes { id } } }", {}, 100),
        (f"{{ campaigns(first: -{'9' * 5000}) {{ nodes {{ id }} }} }}", {}, 0),
        (f"{{ campaigns(first: {'9' * 5000}) {{ nodes {{ id }} }} }}", {}, SATURATED - 1),
        ("{ campaigns(first: 1000000001) { nodes { id } } }", {}, SATURATED - 1),
        ("{ campaigns(first: 123456789) { nodes { id } } }", {}, 123456789),
        ("{ campaigns(first: null) { nodes { id } } }", {}, 100),
        (IDS, {"ids": ["a", "b"]}, 2),
        (IDS, {"ids": "a"}, 1),
        (IDS, {}, 3),
        (IDS, {"ids": None}, 100),
    ],
)
def test_sizes_by_argument(source: str, variables: dict[str, object], page: int) -> None:
    """A page is as large as the request's variables say; unknown is the greatest, absurd is harmless."""
    assert ask(source, variables).cost == 1 + page


def test_depth_aliases_and_fields() -> None:
    """Depth is the longest chain of fields, and fragments count as often as they are spread."""
    fragment = "fragment C on Company { x: name ... on Node { id } }"
    assert ask("{ a: company { ...C } b: company { id parent { ...C } } } " + fragment) == Measure(
        depth=3, aliases=4, fields=8, cost=8
    )


def test_exponential_fragments_are_measured_in_one_pass() -> None:
    """However often fragments double, each selection set is read once, and the sums saturate."""
    visits: list[int] = []

    class Counted(tuple[graphql.SelectionNode, ...]):
        def __iter__(self) -> Iterator[graphql.SelectionNode]:
            visits.append(1)
            return super().__iter__()

    class Count(graphql.Visitor):
        def leave_selection_set(self, node: SelectionSetNode, *_: object) -> SelectionSetNode:
            return replace(node, selections=Counted(node.selections))

    document = graphql.visit(parse(doubling(60, "a: company { id }")), Count())
    operation = document.definitions[0]
    visits.clear()
    measured = measure(SCHEMA, document, operation, {}, LIMITS)
    assert measured == Measure(depth=2, aliases=SATURATED, fields=SATURATED, cost=SATURATED)
    assert len(visits) == 1 + 61 + 1
    assert ask(doubling(9, "a: company { id }")) == Measure(depth=2, aliases=512, fields=1024, cost=1024)


INVALID = (
    "{ ...A } fragment A on Query { ...A }",
    "{ ...A } fragment A on Query { company { id } ...B } fragment B on Query { ...A ...B }",
    "{ company { ...C } } fragment C on Company { parent { ...C } }",
    "{ missing { a(first: 3) { b } } ...Missing ... on Missing { a } company { ... on String { a } } }",
    "subscription { a }",
)


@pytest.mark.parametrize("source", INVALID)
def test_invalid_documents_do_no_harm(source: str) -> None:
    """Cycles, unknown fragments, fields and types are measured to an end: validation reports them."""
    assert ask(source).fields < 10


def test_measure_does_not_recurse() -> None:
    """A tree far deeper than Python's stack, as no parser would make it, is measured all the same."""
    node = FieldNode(name=graphql.NameNode(value="parent"))
    for _ in range(5000):
        node = replace(node, selection_set=SelectionSetNode(selections=(node,)))
    document, operation = operation_of("{ company { id } }")
    operation = replace(operation, selection_set=SelectionSetNode(selections=(node,)))
    assert measure(SCHEMA, document, operation, {}, LIMITS).depth == 5001


FIELDS = """{
    leaf: Int totalCount: Int one: Query list: [Query] grid: [[Query!]!]! edges: [Query] nodes: [Query!]!
    page(first: Int = 6, last: Int): Query some(first: Int, last: Int): [Query!] by(ids: [ID!]): [Query]
}"""
SAMPLES = graphql.build_schema(f"interface Any {FIELDS} type Query implements Any {FIELDS}")
SMALL = Limits(list_size=3, default_page_size=4, max_page_size=7)
# What a field costs, how often all below it counts, and the items of `edges` and `nodes` directly below it.
HEADS: dict[str, tuple[int, int, int]] = {
    "one": (1, 1, 3),
    "list": (1, 3, 3),
    "grid": (1, 9, 3),
    "page": (1, 1, 6),
    "page(last: $n)": (1, 1, 5),
    "page(first: $n, last: $m)": (1, 1, 11),
    "page(first: $absent)": (1, 1, 7),
    "some": (1, 4, 3),
    "some(first: 13)": (1, 13, 3),
    "by": (1, 3, 3),
    "by(ids: $ids)": (1, 4, 3),
}
PAGES = ("edges", "nodes")


def naive(document: graphql.DocumentNode, below: SelectionSetNode, page: int) -> Measure:
    """The definition of the measure, from the top down, expanding each fragment wherever it is spread."""
    total = Measure(0, 0, 0, 0)
    for node in below.selections:
        if isinstance(node, FieldNode):
            head = graphql.print_ast(replace(node, alias=None, selection_set=None))
            own, times, items = (0, page, 3) if head in PAGES else HEADS.get(head, (1, 1, 0))
            deep = naive(document, node.selection_set, items) if node.selection_set else Measure(0, 0, 0, 0)
            cost = (10 if head == "totalCount" else own) + times * deep.cost
            one = Measure(deep.depth + 1, deep.aliases + bool(node.alias), deep.fields + 1, cost)
        elif isinstance(node, graphql.InlineFragmentNode):
            one = naive(document, node.selection_set, page)
        else:
            assert isinstance(node, graphql.FragmentSpreadNode)
            fragment = document.definitions[1 + int(node.name.value[1:])]
            assert isinstance(fragment, graphql.FragmentDefinitionNode)
            one = naive(document, fragment.selection_set, page)
        sums = (total.aliases + one.aliases, total.fields + one.fields, total.cost + one.cost)
        total = Measure(max(total.depth, one.depth), *sums)
    return total


def selection_sets(*spreads: str) -> st.SearchStrategy[str]:
    """Small selection sets of the samples' fields, and of `spreads`."""
    heads = st.sampled_from([*HEADS, *PAGES, *PAGES, "a: list", "b: edges", "...", "... on Any"])
    leaves = st.sampled_from(["leaf", "c: leaf", "totalCount", "__typename", *spreads * 2])

    def nest(below: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        inner = st.lists(below, min_size=1, max_size=3).map(" ".join)
        return st.builds("{} {{ {} }}".format, heads, inner)

    return st.recursive(leaves, nest, max_leaves=8)


@settings(max_examples=200, deadline=None)
@given(st.tuples(selection_sets("...F0", "...F1"), selection_sets("...F1"), selection_sets()))
def test_agrees_with_expanding_everything(written: tuple[str, ...]) -> None:
    """The one pass finds what a walk that expands every fragment finds, on any small document."""
    source = f"query($n: Int = 5, $m: Int, $absent: Int, $ids: [ID!]) {{ {written[0]} }}"
    source += "".join(f"\nfragment F{i} on Any {{ {below} }}" for i, below in enumerate(written[1:]))
    document, operation = operation_of(source)
    expected = naive(document, operation.selection_set, page=3)
    assert measure(SAMPLES, document, operation, {"m": 11, "ids": [*"abcd"]}, SMALL) == expected


resolved: list[str] = []


@strawberry.type
class Item:
    name: str = "one"

    @strawberry.field
    def items(self, first: int = 20) -> list["Item"]:
        return []


@strawberry.type
class Query:
    @strawberry.field
    def item(self) -> Item:
        resolved.append("item")
        return Item()


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def item(self) -> AsyncIterator[Item]:
        resolved.append("subscribed")
        yield Item()


Refusals = list[tuple[object, object, object]]


def refusals(errors: Sequence[GraphQLError | None] | None) -> Refusals:
    found = [(error and error.extensions) or {} for error in errors or ()]
    assert all(each["code"] == "QUERY_TOO_COMPLEX" for each in found)
    return [(each["limit"], each["value"], each["maximum"]) for each in found]


def serve(limits: Limits) -> strawberry.Schema:
    return strawberry.Schema(Query, subscription=Subscription, extensions=[limits_extension(limits)])


def run(schema: strawberry.Schema, source: str, name: str | None = None, **variables: object) -> Refusals:
    """Execute both ways and return what was refused; a refusal must keep the resolvers from running."""
    resolved.clear()
    first = refusals(schema.execute_sync(source, variables, operation_name=name).errors)
    second = asyncio.run(schema.execute(source, variables, operation_name=name))
    assert first == refusals(second.errors)
    assert resolved == ([] if first else ["item", "item"])
    return first


def test_introspection_passes() -> None:
    """The standard introspection query, with every option, keeps the default limits; its depth is its own."""
    source = graphql.get_introspection_query(True, True, True, True, True, True, True)
    assert document_limits(source) is None
    measured = ask(source)
    assert (measured.depth, measured.introspection_depth) == (1, 15)
    assert measured.cost == measured.fields < 300
    below = operation_of("{ one { __schema { types { name } } leaf } }")
    assert measure(SAMPLES, *below, {}, LIMITS) == Measure(2, 0, fields=5, cost=5, introspection_depth=3)
    with_item = source.replace("__schema", "item { name } __schema", 1)
    assert run(serve(Limits(max_depth=2)), with_item) == []
    assert run(serve(Limits(max_introspection_depth=14)), with_item) == [("introspection_depth", 15, 14)]


def test_all_broken_limits_at_once() -> None:
    """Every broken limit is reported, with its number and the maximum, and nothing is executed."""
    schema = serve(Limits(max_depth=2, max_aliases=0, max_fields=3, max_cost=30))
    assert run(schema, "{ item { name } }") == []
    broken = [("depth", 4, 2), ("aliases", 1, 0), ("fields", 4, 3), ("cost", 1 + 1 + 20 * (1 + 20), 30)]
    assert run(schema, "{ a: item { items { items { name } } } }") == broken
    broken = [("fields", SATURATED, 2000), ("cost", SATURATED, 50_000)]
    assert run(serve(LIMITS), doubling(60, "item { name }")) == broken


def test_only_the_executed_operation_counts() -> None:
    """Other operations of the document cost nothing, and fragments only where they are spread."""
    source = "query A { item { name } } query B { item { items(first: 90) { name } ...F } }"
    source += " fragment F on Item { name }"
    schema = serve(Limits(max_cost=50))
    assert run(schema, source, "A") == []
    assert run(schema, source) == []
    assert run(schema, source, "B") == [("cost", 1 + 1 + 90 + 1, 50)]


def test_caches_keep_no_verdict() -> None:
    """With parsed and validated documents cached, each request is judged by its own variables."""
    limits = limits_extension(Limits(max_cost=50))
    schema = strawberry.Schema(Query, extensions=[ParserCache, ValidationCache, limits])
    source = "query($n: Int!) { item { items(first: $n) { name } } }"
    assert run(schema, source, n=90) == [("cost", 92, 50)]
    assert run(schema, source, n=9) == []
    assert run(schema, source, n=91) == [("cost", 93, 50)]


def test_validation_comes_first() -> None:
    """An invalid document gets the validator's errors alone, a valid one the numbers and the place."""
    schema = serve(Limits(max_fields=1))
    [error] = schema.execute_sync("{ item { nam } }").errors or []
    assert error.message.startswith("Cannot query field 'nam'")
    [error] = schema.execute_sync("{ item { name } }").errors or []
    assert error.message == "Query too complex: fields is 2 and may be at most 1."
    assert error.formatted["locations"] == [{"line": 1, "column": 1}]


def test_subscriptions_are_refused_before_they_start() -> None:
    """A subscription over the limits yields one refusal and never reaches its resolver."""

    async def collect(source: str) -> list[Refusals]:
        results = await serve(Limits(max_aliases=0)).subscribe(source)
        return [refusals(result.errors) async for result in results]

    resolved.clear()
    assert asyncio.run(collect("subscription { a: item { name } }")) == [[("aliases", 1, 0)]]
    assert resolved == []
    assert asyncio.run(collect("subscription { item { name } }")) == [[]]


# Each nests `n` levels, by all the ways a document can.
NESTED: dict[str, Callable[[int], str]] = {
    "fields": lambda n: "{ company " + "{ parent " * (n - 2) + "{ id }" + " }" * (n - 1),
    "inline fragments": lambda n: "{ ... " * (n - 1) + "{ __typename }" + " }" * (n - 1),
    "merged": lambda n: "{" + ("company " + "{ parent " * (n - 2) + "{ id }" + " }" * (n - 2)) * 2 + "}",
    "objects": lambda n: "{ company(filter: " + "{ and: " * (n - 3) + "{}" + " }" * (n - 3) + ") { id } }",
    "lists": lambda n: "{ company(json: " + "[" * (n - 2) + "]" * (n - 2) + ") { id } }",
    "types": lambda n: f"query($v: {'[' * (n - 1)}Int{']' * (n - 1)}) {{ __typename }}",
}


@pytest.mark.parametrize("nest", NESTED.values(), ids=NESTED)
def test_nesting(nest: Callable[[int], str]) -> None:
    """60 levels leave parser, validation and walk more than half of Python's stack; more are refused."""
    assert document_limits(nest(60)) is None
    for levels in (61, 5000):
        assert refusals([document_limits(nest(levels), max_characters=10**6)]) == [("nesting", 61, 60)]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(traceback.extract_stack()) + 400)
    try:
        errors = validate(SCHEMA, parse(nest(60)))
    finally:
        sys.setrecursionlimit(before)
    assert [error.message for error in errors if "never used" not in error.message] == []


def test_tokens() -> None:
    """Tokens are counted up to the maximum, comments among them, and strings as one."""
    assert document_limits("{ a }", max_tokens=3) is None
    assert refusals([document_limits("{ a b }", max_tokens=3)]) == [("tokens", 4, 3)]
    assert refusals([document_limits("#\n" * 5001)]) == [("tokens", 5001, 5000)]
    assert document_limits('{ a(b: "' + "{" * 9999 + '") }') is None


@pytest.mark.parametrize("source", ["", "{", "}", '{ a(b: "', "{ a ? }", "{ ] } }"])
def test_syntax_errors_are_left_to_the_parser(source: str) -> None:
    """What does not parse is not the business of the limits."""
    assert document_limits(source) is None


def test_very_long_documents_are_refused() -> None:
    """A document of few tokens but many characters is refused: documents are kept in memory."""
    error = document_limits('{ a(text: "' + "x" * 100_000 + '") }')
    assert error is not None
    assert error.extensions is not None
    assert (error.extensions["code"], error.extensions["limit"]) == ("QUERY_TOO_COMPLEX", "characters")


def test_comparing_fields_is_bounded() -> None:
    """A field repeated hundreds of times is not compared with all its likes: validation gives up early."""
    schema = graphql.build_schema("type Query { a: A } type A { b: B c: Int } type B { d: Int }")
    document = graphql.parse("{" + "a { b { d } c } " * 400 + "}")
    (error,) = graphql.validate(schema, document)
    assert error.message == "Validation aborted."
