"""How does one operation become one function?"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from itertools import islice
from typing import Any, TypeAlias

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
)

from engine.completion import Values, completed, resolved
from engine.leaves import is_leaves
from engine.plans import Column, Computed, Planner, SameRow
from engine.relations import related
from engine.run import Run
from engine.selection import Groups, NotCompilable, Selections
from engine.source import NAME
from engine.writing import TYPENAME, Fetch, Field, Loop, PathsNeeded, Place, Writer, named_object

# Python takes a tenth of a second to compile a function of so many lines, and ten times that for three times as many.
MOST_LINES = 3_000

Function: TypeAlias = Callable[[list[Any], Any, Run], Coroutine[Any, Any, dict[str, Any]]]


@dataclass(frozen=True)
class Compiled:
    """An operation as a function, with its source and what it fetches."""

    function: Function
    source: str
    fetches: tuple[Fetch, ...]


def compile_operation(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    booleans: Mapping[str, bool],
    plan_of: Planner,
) -> Compiled:
    """The function of a validated query, given the values of the booleans that steer @skip and @include.

    Raises `NotCompilable`.
    """
    if operation.operation is not OperationType.QUERY:
        raise NotCompilable(f"a {operation.operation.value}")
    if operation.directives:
        raise NotCompilable("a directive on the operation")
    selections = Selections(schema, fragments, booleans)
    try:
        try:
            return Compiler(selections, plan_of, with_paths=False).compiled(operation)
        except PathsNeeded:
            return Compiler(selections, plan_of, with_paths=True).compiled(operation)
    except RecursionError:
        raise NotCompilable("selections that are nested too deeply") from None


class Compiler(Writer):
    """Compiles one operation: says of each field how it is answered."""

    def compiled(self, operation: OperationDefinitionNode) -> Compiled:
        root = self.selections.schema.get_root_type(operation.operation)
        if root is None:
            raise NotCompilable("an operation that the schema does not have")
        paths = None
        if self.with_paths:
            paths = "root_paths"
            self.code.level(0).opening.append(f"{paths} = [None]")
        groups = self.selections.of_operation(root, operation)
        built = self.objects(root, groups, Place("roots", 0, None, paths))
        source = self.code.text(f"{built}[0]")
        if source.count("\n") > MOST_LINES:
            raise NotCompilable("a function of more lines than are worth it")
        values = {**self.code.environment.values, "islice": islice}
        try:
            # Texts of the document are in the source as `repr` has them, or not at all.
            exec(compile(source, "<operation>", "exec"), values)  # noqa: S102 - see above
        except SyntaxError as error:
            # Of Python's limits, as that of parentheses in parentheses.
            raise NotCompilable(f"a function that Python does not take: {error.msg}") from error
        return Compiled(function_of(values), source, tuple(self.fetches))

    def members(self, type_: GraphQLObjectType, groups: Groups, place: Place, loop: Loop) -> str:
        found = {key: self._member(type_, key, nodes, place, loop) for key, nodes in groups.items()}
        return "{" + ", ".join(f"{key!r}: {source}" for key, source in found.items()) + "}"

    def _member(self, type_: GraphQLObjectType, key: str, nodes: Sequence[FieldNode], place: Place, loop: Loop) -> str:
        self.count()
        name = nodes[0].name.value
        if name == TYPENAME:
            return repr(type_.name)
        definition = self.selections.schema.get_field(type_, name)
        if definition is None:
            raise NotCompilable(f"{type_.name}.{name}, which there is not")
        here = Field(type_, key, name, definition, nodes)
        match self.plan_of(type_, name, definition):
            case None:
                return resolved(self, here, place, loop)
            case Column() as plan:
                return self._column(here, plan, place, loop)
            case Computed() as plan:
                return self._computed(here, plan, place, loop)
            case SameRow() as plan:
                return self._same_row(here, plan, place, loop)
            case relation:
                return related(self, here, relation, place, loop)

    def _column(self, here: Field, plan: Column, place: Place, loop: Loop) -> str:
        if is_leaves(here.type):
            return self.leaf(here, self.local(plan.name, place, loop))
        return self._called(here, f"{place.read(plan.name)} for row in {place.sources}", place, loop)

    def _computed(self, here: Field, plan: Computed, place: Place, loop: Loop) -> str:
        compute = self.bound("compute", plan.compute)
        if not is_leaves(here.type) or iscoroutinefunction(plan.compute):
            return self._called(here, f"{compute}(row, context) for row in {place.sources}", place, loop)
        value = self.fresh("value")
        loop.lines.append(f"{value} = {compute}({place.variable}, context)")
        return self.leaf(here, value)

    def _called(self, here: Field, values: str, place: Place, loop: Loop) -> str:
        """Values that are not in the answer as they are, or not yet there."""
        if place.variable != "row":
            raise NotCompilable(f"more than values in a part of a page, at {here}")
        name = self.fresh("values")
        self.level(place).calls.append(f"{name} = run.begun({values})")
        return completed(self, Values(here, name, place.depth, place.below(here)), loop)

    def _same_row(self, here: Field, plan: SameRow, place: Place, loop: Loop) -> str:
        type_ = named_object(here.type)
        present = None if plan.present is None else self.local(plan.present, place, loop)
        members = self.members(type_, self.selections.of(type_, here.nodes), place.part(here), loop)
        return members if present is None else f"None if {present} is None else {members}"


def function_of(values: Mapping[str, Any]) -> Function:
    function: Function = values[NAME]
    return function
