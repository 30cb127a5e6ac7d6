"""Which queries can be asked of a schema? Drawn from it as it is built, so that what comes later is asked too.

They are drawn from a `Random`: Hypothesis's, which reduces what fails, or a plain one. Depth and size are bounded, so
that few are refused as too complex.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from graphql import (
    GraphQLField,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_named_type,
    is_interface_type,
    is_leaf_type,
    is_object_type,
)

from tests.graph import Graph, is_connection, is_page, object_of
from tests.operation_values import COMPANIES, Known, Values

INTROSPECTION = (
    "__schema { queryType { name } mutationType { ...on __Type { name kind } } }",
    '__type(name: "Campaign") { kind name interfaces { name } fields(includeDeprecated: true) { name isDeprecated } }',
    '__type(name: "Nothing") { name }',
    '__type(name: "CampaignStatus") { enumValues(includeDeprecated: false) { name description } ofType { name } }',
    "__schema { directives { name locations args { name defaultValue type { kind ofType { name } } } } }",
)
DEEPEST = 7
MOST_FIELDS = 25


@dataclass(frozen=True)
class GeneratedOperation:
    """A document, and the values of its variables for each company's viewers."""

    document: str
    variables: tuple[Mapping[str, object], ...]


@dataclass(frozen=True)
class Place:
    """Where a selection stands. `depth`: how many levels there may be below. `pages`: of how many lists it is a part.

    `keys`: those of the one object of each company, where it is known. `likely`: the types that an abstract one is.
    """

    depth: int
    pages: int = 0
    keys: tuple[str | None, ...] = (None,) * COMPANIES
    likely: tuple[str, ...] = ()

    def below(self, *, page: bool = False) -> Place:
        return Place(self.depth - 1, self.pages + page)


@dataclass(frozen=True)
class Head:
    """A field as it is written before its selection; `key` is its response name."""

    name: str
    key: str
    arguments: str
    place: Place

    def __str__(self) -> str:
        return (self.name if self.key == self.name else f"{self.key}: {self.name}") + self.arguments


@dataclass(frozen=True)
class Fragment:
    name: str
    type: str
    depth: int
    text: str


class Asked:
    """What is asked: a schema, and what its operations can name."""

    def __init__(self, schema: GraphQLSchema, known: Known) -> None:
        self.schema = schema
        self.known = known
        self.graph = Graph(schema)
        self.named = self.graph.named()
        self.types = sorted(self.graph.rows)

    def operation(self, random: Random) -> GeneratedOperation:
        """One operation; most are without faults."""
        faulty = random.randrange(100) >= 70
        values = Values(random, self.known, faulty, random.randrange(COMPANIES))
        return Generator(self, values, random.randrange(1, MOST_FIELDS)).operation()


@dataclass
class Generator:
    """Draws one operation. `left`: how many fields it may still have."""

    asked: Asked
    values: Values
    left: int
    fragments: list[Fragment] = field(default_factory=list)
    # What a response name is, as fields of one name must be of one shape wherever they may meet.
    shapes: dict[str, str] = field(default_factory=dict)
    heads: dict[tuple[str, str], Head] = field(default_factory=dict)
    aliases: int = 0

    def operation(self) -> GeneratedOperation:
        selected = self.selection(self.asked.graph.query, Place(self.values.random.randrange(2, DEEPEST)), at_root=True)
        declared = ", ".join(
            f"${each.name}: {each.type}" + ("" if each.default is None else f" = {each.default}")
            for each in self.values.variables
        )
        head = f"query Asked({declared}) " if declared else self.values.one_of(("", "query ", "query Asked "))
        document = "\n".join([head + selected, *(each.text for each in self.fragments)])
        variables = tuple(
            {name: value for each in self.values.variables for name, value in each.values[company].items()}
            for company in range(COMPANIES)
        )
        return GeneratedOperation(document, variables)

    def selection(self, type_: GraphQLObjectType | GraphQLInterfaceType, place: Place, *, at_root: bool = False) -> str:
        """The fields and fragments of one object, in their braces."""
        found: list[str] = []
        own: list[tuple[Head, GraphQLField]] = []
        for _ in range(self.values.random.randrange(1, 8)):
            if found and self.left <= 0:
                break
            found.append(self.one(type_, place, own))
        if at_root and self.values.chance(4):
            found.append(self.values.one_of(INTROSPECTION))
        return f"{{ {' '.join(found)} }}"

    def one(
        self, type_: GraphQLObjectType | GraphQLInterfaceType, place: Place, own: list[tuple[Head, GraphQLField]]
    ) -> str:
        kind = self.values.random.randrange(100)
        if kind >= 93:
            return self.typename()
        if kind >= 85 and place.depth > 0:
            return self.inline(type_, place)
        if kind >= 77 and place.depth > 0:
            return self.spread(type_, place)
        if kind >= 72 and own:
            head, definition = self.values.one_of(own)
            return self.written(head, definition)
        if is_interface_type(type_) and kind >= 25:
            return self.inline(type_, place)
        return self.field(type_, place, own)

    def typename(self) -> str:
        self.left -= 1
        return "__typename" if not self.values.chance(30) else f"{self.alias()}: __typename"

    def field(
        self, type_: GraphQLObjectType | GraphQLInterfaceType, place: Place, own: list[tuple[Head, GraphQLField]]
    ) -> str:
        name = self.chosen(type_, place)
        if name is None:
            return self.typename()
        definition = type_.fields[name]
        head = self.head(type_, name, definition, place)
        own.append((head, definition))
        return self.written(head, definition)

    def chosen(self, type_: GraphQLObjectType | GraphQLInterfaceType, place: Place) -> str | None:
        leaves: list[str] = [name for name, each in type_.fields.items() if is_leaf_type(get_named_type(each.type))]
        others = [name for name in type_.fields if name not in leaves]
        # Of a page the rows are more than its total.
        percent = 75 if is_object_type(type_) and is_page(type_) else 50
        if others and place.depth > 0 and (not leaves or self.values.chance(percent)):
            leaves = others
        return self.values.one_of(leaves) if leaves else None

    def head(
        self, type_: GraphQLObjectType | GraphQLInterfaceType, name: str, definition: GraphQLField, place: Place
    ) -> Head:
        self.left -= 1
        shape = shape_of(definition.type)
        plain = self.shapes.setdefault(name, shape) == shape and not self.values.chance(20)
        if plain and (type_.name, name) in self.heads:
            return self.heads[type_.name, name]
        arguments, below = self.arguments(type_, name, definition, place)
        head = Head(name, name if plain else self.alias(), arguments, below)
        if plain:
            self.heads[type_.name, name] = head
        return head

    def written(self, head: Head, definition: GraphQLField) -> str:
        below = get_named_type(definition.type)
        text = f"{head}{self.directives()}"
        if isinstance(below, GraphQLObjectType | GraphQLInterfaceType):
            return f"{text} {self.selection(below, head.place)}"
        return text

    def inline(self, type_: GraphQLObjectType | GraphQLInterfaceType, place: Place) -> str:
        condition = self.condition(type_, place)
        inner = Place(place.depth - 1, place.pages, place.keys, place.likely)
        written = f"on {condition.name} " if condition is not type_ or self.values.chance(50) else ""
        return f"... {written}{self.directives()}{self.selection(condition, inner)}"

    def spread(self, type_: GraphQLObjectType | GraphQLInterfaceType, place: Place) -> str:
        condition = self.condition(type_, place)
        fitting = [each for each in self.fragments if each.type == condition.name and each.depth <= place.depth]
        if fitting and self.values.chance(50):
            return f"...{self.values.one_of(fitting).name} {self.directives()}"
        inner = Place(place.depth - 1, place.pages, place.keys, place.likely)
        selected = self.selection(condition, inner)
        name = f"F{len(self.fragments)}"
        text = f"fragment {name} on {condition.name} {selected}"
        self.fragments.append(Fragment(name, condition.name, place.depth, text))
        return f"...{name} {self.directives()}"

    def condition(
        self, type_: GraphQLObjectType | GraphQLInterfaceType, place: Place
    ) -> GraphQLObjectType | GraphQLInterfaceType:
        """The type of a fragment that can stand in a selection on a type."""
        if is_object_type(type_):
            fitting: list[GraphQLObjectType | GraphQLInterfaceType] = [type_, type_, *type_.interfaces]
            return self.values.one_of(fitting)
        assert is_interface_type(type_)
        if self.values.chance(15):
            return type_
        possible = self.asked.schema.get_possible_types(type_)
        likely = [each for each in possible if each.name in place.likely]
        return self.values.one_of(likely if likely and not self.values.chance(20) else list(possible))

    def directives(self) -> str:
        if not self.values.chance(10):
            return ""
        names = self.values.one_of((("skip",), ("include",), ("include", "skip")))
        return "".join(f" @{name}(if: {self.values.boolean()})" for name in names) + " "

    def arguments(
        self, type_: GraphQLObjectType | GraphQLInterfaceType, name: str, definition: GraphQLField, place: Place
    ) -> tuple[str, Place]:
        """The arguments in their brackets, and the place of what is selected below."""
        connection = object_of(definition)
        if connection is not None and is_connection(connection) and "first" in definition.args:
            given = self.page(f"{type_.name}.{name}", type_, definition, place)
            return bracketed(given), place.below(page=True)
        if type_ is self.asked.graph.query and name in self.asked.named:
            return self.named(self.asked.named[name], name, definition, place)
        if type_ is self.asked.graph.query and name in ("node", "nodes"):
            return self.nodes(name, definition, place)
        given = [
            f"{argument}: {self.values.given(argument, each.type, self.drawing(argument, each.type))}"
            for argument, each in definition.args.items()
        ]
        if is_object_type(type_) and is_page(type_):
            return bracketed(given), place
        known = (None,) * COMPANIES if type_.name in self.asked.graph.rows else place.keys
        return bracketed(given), Place(place.depth - 1, place.pages, known)

    def page(
        self,
        coordinate: str,
        type_: GraphQLObjectType | GraphQLInterfaceType,
        definition: GraphQLField,
        place: Place,
    ) -> list[str]:
        def cursors(company: int) -> Sequence[str]:
            key = str(company) if type_ is self.asked.graph.query else place.keys[company]
            return () if key is None else self.values.known.cursors.get((coordinate, key), ())

        types = {name: argument.type for name, argument in definition.args.items()}
        # Lists in lists multiply: those within others are short.
        given = self.values.page(types, cursors, 6 if place.pages == 0 else 3)
        paged = {"first", "last", "after", "before", "offset"}
        cut = any(each.startswith(("after", "before")) for each in given)
        for name, each in definition.args.items():
            if name not in paged and self.values.chance(25) and not (cut and name == "orderBy"):
                given.append(f"{name}: {self.values.given(name, each.type, self.drawing(name, each.type))}")
        return given

    def named(self, typename: str, name: str, definition: GraphQLField, place: Place) -> tuple[str, Place]:
        drawn = [self.values.id(typename, company, raw=True) for company in range(COMPANIES)]
        written = self.values.given(name, definition.args["id"].type, lambda company: drawn[company][0], variable=75)
        return f"(id: {written})", Place(place.depth - 1, 0, tuple(key for _, key in drawn))

    def nodes(self, name: str, definition: GraphQLField, place: Place) -> tuple[str, Place]:
        """`node` and `nodes`, of any types."""
        types = self.asked.types
        several = name == "nodes"
        count = self.values.random.randrange(5) if several else 1
        likely = tuple(self.values.one_of(types) for _ in range(count))
        drawn = [[self.values.id(typename, company, raw=False) for typename in likely] for company in range(COMPANIES)]

        def draw(company: int) -> object:
            ids = [given for given, _ in drawn[company]]
            return ids if several else ids[0]

        argument = "ids" if several else "id"
        written = self.values.given(argument, definition.args[argument].type, draw, variable=75)
        keys = tuple(None if several else each[0][1] for each in drawn)
        return f"({argument}: {written})", Place(place.depth - 1, 0, keys, likely)

    def drawing(self, name: str, type_: GraphQLInputType) -> Drawing:
        return Drawing(self.values, name, type_)

    def alias(self) -> str:
        self.aliases += 1
        return f"a{self.aliases}"


@dataclass(frozen=True)
class Drawing:
    """Draws values of one argument."""

    values: Values
    name: str
    type: GraphQLInputType

    def __call__(self, company: int) -> object:
        return self.values.value(self.name, self.type, company)


def bracketed(given: Sequence[str]) -> str:
    return f"({', '.join(given)})" if given else ""


def shape_of(type_: GraphQLOutputType) -> str:
    """What must be equal of fields with one response name: how a composite type is wrapped, and all of a leaf's."""
    named = get_named_type(type_)
    return str(type_) if is_leaf_type(named) else str(type_).replace(named.name, "*")
