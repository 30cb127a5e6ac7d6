"""Which columns does the operation select, below one field?

Every field of an object type carries a plan (`schema.fields`) that says which columns of its row it reads; this
module walks the selection set and adds them up, so that a statement reads those and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLResolveInfo,
    InlineFragmentNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)
from strawberry.types.field import StrawberryField

from resolvers.context import Context

Nodes = Sequence[FieldNode]
ResolveInfo = GraphQLResolveInfo[Context]


class Reading(Protocol):
    """What this module needs to know of a field's plan."""

    columns: tuple[str, ...]
    same_row: bool


@dataclass(frozen=True)
class PageSelection:
    """What a selection on a connection needs: the columns of its nodes, rows at all, the total."""

    columns: tuple[str, ...]
    rows: bool
    total: bool


def field_definition(type_: GraphQLObjectType, name: str) -> StrawberryField | None:
    """The Strawberry field behind a field; None for `__typename`, which every object has."""
    field = type_.fields.get(name)
    if field is None:
        return None
    definition = field.extensions["strawberry-definition"]
    assert isinstance(definition, StrawberryField)
    return definition


def selected_columns(info: ResolveInfo, type_: GraphQLObjectType, nodes: Nodes) -> tuple[str, ...]:
    """The columns that the selection sets of these nodes read from the row behind `type_`, sorted."""
    context = info.context
    kept_as = (type_.name, *map(id, nodes))
    found = context.selections.get(kept_as)
    if not isinstance(found, tuple):
        columns: set[str] = set()
        add_columns(info, type_, nodes, columns)
        found = context.selections[kept_as] = tuple(sorted(columns))
    return found


def add_columns(info: ResolveInfo, type_: GraphQLObjectType, nodes: Nodes, columns: set[str]) -> None:
    for name, selected in selected_fields(info, type_, nodes).items():
        definition = field_definition(type_, name)
        if definition is None:
            continue
        plan: Reading = definition.metadata["plan"]
        columns.update(plan.columns)
        if plan.same_row:
            child = get_named_type(type_.fields[name].type)
            assert isinstance(child, GraphQLObjectType)
            add_columns(info, child, selected, columns)


def selected_page(info: ResolveInfo, type_: GraphQLObjectType, nodes: Nodes) -> PageSelection:
    """What the selection on a connection type needs of the page."""
    context = info.context
    kept_as = (type_.name, *map(id, nodes))
    found = context.selections.get(kept_as)
    if not isinstance(found, PageSelection):
        fields = selected_fields(info, type_, nodes)
        edge_type = get_named_type(type_.fields["edges"].type)
        assert isinstance(edge_type, GraphQLObjectType)
        edges = selected_fields(info, edge_type, fields.get("edges", []))
        row_nodes = [*fields.get("nodes", []), *edges.get("node", [])]
        row_type = get_named_type(type_.fields["nodes"].type)
        assert isinstance(row_type, GraphQLObjectType)
        found = context.selections[kept_as] = PageSelection(
            columns=selected_columns(info, row_type, row_nodes),
            rows=any(name in fields for name in ("edges", "nodes", "pageInfo")),
            total="totalCount" in fields,
        )
    return found


def selected_fields(info: ResolveInfo, type_: GraphQLObjectType, nodes: Nodes) -> dict[str, list[FieldNode]]:
    """The fields that these nodes select on `type_`, by name (not alias), fragments followed."""
    found: dict[str, list[FieldNode]] = {}
    followed: set[str] = set()
    for node in nodes:
        if node.selection_set is not None:
            collect(info, type_, node.selection_set, found, followed)
    return found


def collect(
    info: ResolveInfo,
    type_: GraphQLObjectType,
    selections: SelectionSetNode,
    found: dict[str, list[FieldNode]],
    followed: set[str],
) -> None:
    for node in included(info, selections):
        if isinstance(node, FieldNode):
            found.setdefault(node.name.value, []).append(node)
            continue
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name in followed:
                continue
            followed.add(name)
            fragment = info.fragments[name]
            condition: str | None = fragment.type_condition.name.value
            inner = fragment.selection_set
        else:
            condition = None if node.type_condition is None else node.type_condition.name.value
            inner = node.selection_set
        if condition is None or is_type(info, type_, condition):
            collect(info, type_, inner, found, followed)


def is_type(info: ResolveInfo, type_: GraphQLObjectType, condition: str) -> bool:
    return condition == type_.name or any(interface.name == condition for interface in type_.interfaces)


def included(
    info: ResolveInfo, selections: SelectionSetNode
) -> Iterable[FieldNode | FragmentSpreadNode | InlineFragmentNode]:
    """The selections that @skip and @include leave."""
    for node in selections.selections:
        assert isinstance(node, FieldNode | FragmentSpreadNode | InlineFragmentNode)
        if all(leaves(info, directive) for directive in node.directives or ()):
            yield node


def leaves(info: ResolveInfo, directive: DirectiveNode) -> bool:
    """Whether a directive leaves its selection in; both that can take one out have the one argument `if`."""
    if directive.name.value not in ("skip", "include"):
        return True
    assert directive.arguments
    given = directive.arguments[0].value
    if isinstance(given, VariableNode):
        # Strawberry gives resolvers the coerced values alone, where graphql-core's type names its own container.
        condition = cast("dict[str, object]", info.variable_values)[given.name.value]
    else:
        assert isinstance(given, BooleanValueNode)
        condition = given.value
    return bool(condition) is (directive.name.value == "include")
