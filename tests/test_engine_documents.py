"""What of a document becomes a function, and can a document be so odd, deep or large that its function does harm?"""

from __future__ import annotations

import ast
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
    OperationDefinitionNode,
    OperationType,
    build_schema,
    execute,
    parse,
    print_ast,
    validate,
)
from graphql.execution import Executor
from graphql.language import ArgumentNode, FieldNode, NameNode, SelectionSetNode, StringValueNode
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Compiled, Engine, NotCompilable, Way, compile_operation, plans
from engine.executor import running_by
from engine.plans import Planner, unplanned

SCHEMA = build_schema(
    "type Query { a: String self: Query others: [Query!] echo(text: String): String pet: Pet }"
    " interface Pet { a: String }"
    " type Dog implements Pet { a: String self: Pet } type Cat implements Pet { a: String self: Pet }"
)
QUERY = SCHEMA.query_type
assert QUERY is not None
QUERY.fields["echo"].resolve = lambda _source, _info, text=None: text


def compiled(document: str, plan_of: Planner = unplanned, schema: GraphQLSchema = SCHEMA) -> Compiled:
    """The function of the document's operation."""
    parsed = parse(document)
    operation = next(each for each in parsed.definitions if isinstance(each, OperationDefinitionNode))
    fragments = {each.name.value: each for each in parsed.definitions if isinstance(each, FragmentDefinitionNode)}
    return compile_operation(schema, operation, fragments, {}, plan_of)


def of_row(type_: GraphQLObjectType, name: str, _field: GraphQLField) -> plans.Plan | None:
    """Every object is its parent's row."""
    return plans.SameRow() if name in ("self", "pet") else plans.Column(name) if name == "a" else None


def shape(source: str) -> list[str]:
    """What a function is made of, without its constants and the names that it binds."""
    return [type(node).__name__ for node in ast.walk(ast.parse(source))]


ODD = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    [
        '"',
        "'",
        "\\",
        "\n",
        "{x}",
        "{{",
        "%s",
        "'''",
        '"""',
        "\\N{DIGIT ONE}",
        "#",
        "\0",
        "\u2028",
        "); raise SystemExit(",
    ]
)


@settings(max_examples=100, deadline=None)
@given(text=ODD, alias=ODD)
def test_nothing_of_a_document_becomes_source(text: str, alias: str) -> None:
    """Whatever stands in arguments and aliases, were it even no GraphQL, is a text in the answer, and never code."""
    field = FieldNode(
        name=NameNode(value="echo"),
        alias=NameNode(value=alias),
        arguments=(ArgumentNode(name=NameNode(value="text"), value=StringValueNode(value=text)),),
    )
    operation = OperationDefinitionNode(
        operation=OperationType.QUERY, selection_set=SelectionSetNode(selections=(field,))
    )  # fmt: skip
    document = DocumentNode(definitions=(operation,))
    engine = Engine(SCHEMA)
    found: Any = execute(SCHEMA, document, executor_class=running_by(engine, Executor))
    assert (found.data, found.errors) == ({alias: text}, None)
    assert engine.ways == {Way.COMPILED: 1}
    source = compile_operation(SCHEMA, operation, {}, {}, unplanned).source
    assert shape(source) == shape(compiled('{ x: echo(text: "y") }').source)


@settings(max_examples=50, deadline=None)
@given(name=ODD, value=ODD)
def test_nothing_of_an_enum_becomes_source(name: str, value: str) -> None:
    """Names and values of enums, which are a schema's own, are texts too."""
    mood = GraphQLEnumType("Mood", {"GOOD": GraphQLEnumValue(value)})
    schema = GraphQLSchema(
        GraphQLObjectType(
            "Query", {"mood": GraphQLField(mood, resolve=lambda *_: value), "a": GraphQLField(GraphQLString)}
        )
    )
    engine = Engine(schema)
    found: Any = execute(schema, parse("{ mood a }"), {"a": name}, executor_class=running_by(engine, Executor))
    assert found.data == {"mood": "GOOD", "a": name}
    assert engine.ways == {Way.COMPILED: 1}


@pytest.mark.parametrize("depth", [20, 60, 100, 130])
@pytest.mark.parametrize("plan_of", [unplanned, of_row])
def test_deep_documents_are_answered(depth: int, plan_of: Planner) -> None:
    """However deep a document goes, it is answered as by graphql-core, by a function or without."""
    document = parse("{ " + "self { " * depth + "a" + " }" * depth + " }", no_location=True)
    root: Any = Root()
    engine = Engine(SCHEMA, plan_of)
    found = execute(SCHEMA, document, root, executor_class=running_by(engine, Executor))
    assert found == execute(SCHEMA, document, root)
    assert sum(engine.ways.values()) == 1
    if depth <= 60:
        assert engine.ways == {Way.COMPILED: 1}


class Root:
    """An object whose `self` is itself, and its `pet`."""

    a = "x"

    @property
    def self(self) -> Root:
        return self

    pet = self


def spreading(depth: int, field: str = "self") -> str:
    """A small document that unfolds to 2 ** depth fields."""
    fragments = (
        f"fragment F{index} on Query {{ x: {field} {{ ...F{index + 1} }} y: {field} {{ ...F{index + 1} }} }}"
        for index in range(depth)
    )
    return f"{{ ...F0 }} {' '.join(fragments)} fragment F{depth} on Query {{ a }}"


@pytest.mark.parametrize("plan_of", [unplanned, of_row])
def test_documents_that_unfold_to_much_are_not_compiled(plan_of: Planner) -> None:
    """A small document with fragments in fragments that unfolds to very many fields is left before it costs much."""
    assert not validate(SCHEMA, parse(spreading(4)))
    assert compiled(spreading(4), plan_of).source.count("'a'") >= 1
    for depth in (12, 40):
        with pytest.raises(NotCompilable, match="more fields"):
            compiled(spreading(depth), plan_of)


def test_functions_that_are_long_are_not_compiled() -> None:
    """Nor is what has fewer fields, and yet makes a function on which Python would spend seconds."""
    with pytest.raises(NotCompilable, match="more lines"):
        compiled(spreading(9))


def rows_of_rows(_type: GraphQLObjectType, name: str, _field: GraphQLField) -> plans.Plan | None:
    return plans.ToMany("a", never, str) if name == "others" else of_row(_type, name, _field)


async def never(*_given: object) -> list[object]:
    raise AssertionError


def test_rows_whose_parts_unfold_to_much_are_not_compiled() -> None:
    """The same where only the columns of rows are looked for."""
    with pytest.raises(NotCompilable, match="more fields"):
        compiled(f"{{ others {{ ...F0 }} }}{spreading(40).partition('}')[2]}", rows_of_rows)


def test_types_of_an_interface_unfold_to_no_more() -> None:
    """Each type of an interface has a copy of the selections, and copies of copies are counted too."""
    fragments = (
        f"fragment F{index} on Pet"
        f" {{ ...on Dog {{ self {{ ...F{index + 1} }} }} ...on Cat {{ self {{ ...F{index + 1} }} }} }}"
        for index in range(40)
    )
    with pytest.raises(NotCompilable, match="more fields"):
        compiled(f"{{ pet {{ ...F0 }} }} {' '.join(fragments)} fragment F40 on Pet {{ a }}")


def test_many_fields_side_by_side_are_compiled() -> None:
    """A large document that asks for no more than it says has its function."""
    document = "{ " + " ".join(f"f{index}: a" for index in range(1000)) + " }"
    engine = Engine(SCHEMA, of_row)
    found: Any = execute(SCHEMA, parse(document), Root(), executor_class=running_by(engine, Executor))
    assert found.data == {f"f{index}": "x" for index in range(1000)}
    assert engine.ways == {Way.COMPILED: 1}


def test_a_document_is_not_changed() -> None:
    """Compiling leaves the document as it was, for whoever runs it next."""
    document = parse(spreading(3))
    before = print_ast(document)
    execute(SCHEMA, document, Root(), executor_class=running_by(Engine(SCHEMA), Executor))
    assert print_ast(document) == before


def test_a_column_that_is_no_name_is_not_compiled() -> None:
    """A column that would be read as an attribute must be one that can be written."""
    for column in ("class", "a b", "a-b", ""):
        with pytest.raises(NotCompilable):
            compiled("{ a }", lambda *_, column=column: plans.Column(column))
