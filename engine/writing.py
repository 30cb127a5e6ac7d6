"""What does all code that writes a function for an operation share: its places, its loops, its names?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    VariableNode,
    get_named_type,
    is_object_type,
)
from graphql.execution.values import get_argument_values
from graphql.language import Node
from graphql.pyutils import Path

from engine.leaves import leaf_expression
from engine.plans import Arguments, Columns, Planner, SameRow
from engine.selection import Groups, NotCompilable, Selections
from engine.source import Level, Source

TYPENAME = "__typename"

# A document may be valid and small and yet unfold to much, as fragments are spread in many places.
MOST_FIELDS = 2_000


@dataclass(frozen=True)
class Fetch:
    """A fetch of a compiled operation: the place of its field, and what it asks the database, for people."""

    path: tuple[str, ...]
    sql: Callable[[], str]


class PathsNeeded(Exception):
    """A resolver may ask for the places of its objects, which are not kept unless somebody may."""


@dataclass(frozen=True)
class Field:
    """A selected field: the nodes are all that are merged under its response name, `key`."""

    parent: GraphQLObjectType
    key: str
    name: str
    definition: GraphQLField
    nodes: Sequence[FieldNode]

    @property
    def type(self) -> GraphQLOutputType:
        return self.definition.type

    def __str__(self) -> str:
        return f"{self.parent.name}.{self.name}"


@dataclass(frozen=True)
class Place:
    """Where objects of a selection stand: `sources` is the list of them, without null, at one level.

    `positions`: of a row's columns; None where columns are attributes. `paths`: the list of the objects' own paths,
    None where they are not told apart; `path`: of them all then. `variable`: the one object, in the loop over them.
    """

    sources: str
    depth: int
    path: Path | None
    paths: str | None = None
    positions: Mapping[str, int] | None = None
    variable: str = "row"

    def below(self, here: Field) -> Path:
        return Path(self.path, here.key, here.parent.name)

    def part(self, here: Field) -> Place:
        """The same objects, as the objects of one of their fields."""
        return replace(self, path=self.below(here), paths=None)

    def rows(self, here: Field, sources: str, columns: Columns) -> Place:
        """Rows that a field of the objects leads to; the parent's key comes first."""
        positions = {name: index for index, name in enumerate(columns, 1)}
        return Place(sources, self.depth + 1, self.below(here), None, positions)

    def read(self, column: str) -> str:
        """The source of an expression for a column of the object."""
        if self.positions is not None:
            return f"{self.variable}[{self.positions[column]}]"
        if not column.isidentifier():
            raise NotCompilable(f"the attribute {column!r}")
        return f"{self.variable}.{column}"


@dataclass
class Loop:
    """The loop over the objects of a place that builds what they are in the answer.

    `beside`: variables that run along, by the lists that they run over.
    """

    place: Place
    beside: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)

    def head(self) -> str:
        variables = ", ".join((self.place.variable, *self.beside))
        lists = ", ".join((self.place.sources, *self.beside.values()))
        return f"for {variables} in " + (f"zip({lists}):" if self.beside else f"{lists}:")


class Writer(ABC):
    """Writes the function of one operation."""

    def __init__(self, selections: Selections, plan_of: Planner, *, with_paths: bool) -> None:
        self.selections = selections
        self.plan_of = plan_of
        self.with_paths = with_paths
        self.code = Source()
        self.fetches: list[Fetch] = []
        self._fields = 0

    @abstractmethod
    def members(self, type_: GraphQLObjectType, groups: Groups, place: Place, loop: Loop) -> str:
        """The source of a dict: what one object of the place is in the answer."""

    def objects(self, type_: GraphQLObjectType, groups: Groups, place: Place) -> str:
        """The name of the list of what the objects of a place are in the answer, in their order."""
        built = self.fresh("built")
        self.build(type_, groups, place, f"{built} = []", f"{built}.append(", ")")
        return built

    def build(self, type_: GraphQLObjectType, groups: Groups, place: Place, before: str, *around: str) -> None:
        """Builds the objects; `around`: what stands before each of them in the source, and maybe after."""
        loop = Loop(place)
        members = members_between(self.members(type_, groups, place, loop), *around)
        self.code.build(before, loop.head(), *(f"    {line}" for line in (*loop.lines, members)))

    def local(self, column: str, place: Place, loop: Loop) -> str:
        """A variable of the loop that holds a column of the object."""
        kept_as = f"{place.variable}.{column}"
        if kept_as not in loop.columns:
            loop.columns[kept_as] = self.fresh("column")
            loop.lines.append(f"{loop.columns[kept_as]} = {place.read(column)}")
        return loop.columns[kept_as]

    def count(self) -> None:
        """To be called for each field that is looked at."""
        self._fields += 1
        if self._fields > MOST_FIELDS:
            raise NotCompilable("more fields than are worth it")

    def leaf(self, here: Field, value: str) -> str:
        return leaf_expression(self.code.environment, here.type, value)

    def columns(self, type_: GraphQLObjectType, groups: Groups) -> Columns:
        """The columns that a selection reads of rows, sorted, so that equal needs make equal statements."""
        found: set[str] = set()
        self._add_columns(type_, groups, found)
        return tuple(sorted(found))

    def arguments(self, here: Field, place: Place) -> str:
        """The name of a field's arguments, of which each run has its own where variables are among them."""
        node = here.nodes[0]
        if has_variables(node):
            name = self.fresh("arguments")
            definition, bound = self.bound("definition", here.definition), self.bound("node", node)
            scope = self.bound("scope", self.selections.scope(node))
            self.level(place).opening.append(f"{name} = run.arguments({definition}, {bound}, {scope})")
            return name
        try:
            return self.bound("arguments", get_argument_values(here.definition, node))
        except GraphQLError as error:
            raise NotCompilable(f"arguments that are not right, at {here}") from error

    def constants(self, arguments: str) -> Arguments:
        """Those of the arguments of this name that are known before any run."""
        found = self.code.environment.values.get(arguments, {})
        assert isinstance(found, Mapping)
        return found

    def told(self, here: Field, place: Place, sql: Callable[[], str]) -> None:
        """Remembers what is fetched for a field."""
        self.fetches.append(Fetch(tuple(map(str, place.below(here).as_list())), sql))

    def level(self, place: Place) -> Level:
        return self.code.level(place.depth)

    def fresh(self, prefix: str) -> str:
        return self.code.environment.fresh(prefix)

    def bound(self, prefix: str, value: object) -> str:
        return self.code.environment.bound(prefix, value)

    def _add_columns(self, type_: GraphQLObjectType, groups: Groups, found: set[str]) -> None:
        for nodes in groups.values():
            self.count()
            name = nodes[0].name.value
            definition = self.selections.schema.get_field(type_, name)
            if name == TYPENAME or definition is None:
                continue
            plan = self.plan_of(type_, name, definition)
            if plan is None:
                raise NotCompilable(f"a resolver of rows, {type_.name}.{name}")
            found.update(plan.columns)
            if isinstance(plan, SameRow):
                child = named_object(definition.type)
                self._add_columns(child, self.selections.of(child, nodes), found)


def members_between(members: str, before: str, after: str = "") -> str:
    return f"{before}{members}{after}"


def has_variables(node: FieldNode) -> bool:
    """Whether a variable is among the arguments of a field."""
    waiting: list[Node] = [argument.value for argument in node.arguments or ()]
    while waiting:
        value = waiting.pop()
        if isinstance(value, VariableNode):
            return True
        waiting += getattr(value, "values", ())
        waiting += (entry.value for entry in getattr(value, "fields", ()))
    return False


def named_object(type_: GraphQLOutputType) -> GraphQLObjectType:
    named: object = get_named_type(type_)
    if not is_object_type(named):
        raise NotCompilable(f"rows of {named}, which is no object type")
    return named
