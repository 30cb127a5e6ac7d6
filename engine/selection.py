"""Which fields does an operation select on a type, when the values that steer @skip and @include are known?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    is_abstract_type,
)

STEERING = frozenset({"skip", "include"})

# The fields of one object by their response names, each with all its nodes, as they are merged.
Groups = Mapping[str, Sequence[FieldNode]]


class NotCompilable(Exception):
    """The operation holds something that only graphql-core runs; says what."""


@dataclass(frozen=True)
class Selections:
    """The selections of one operation."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    booleans: Mapping[str, bool]

    def of(self, type_: GraphQLObjectType, nodes: Sequence[FieldNode]) -> Groups:
        """What these nodes of one field select on objects of the type."""
        return self.merged(type_, [node.selection_set for node in nodes if node.selection_set is not None])

    def merged(self, type_: GraphQLObjectType, selection_sets: Sequence[SelectionSetNode]) -> Groups:
        collecting = Collecting(self, type_)
        for selections in selection_sets:
            collecting.add(selections)
        return collecting.found

    def includes(self, node: SelectionNode) -> bool:
        return all(self._leaves(directive) for directive in node.directives or ())

    def _leaves(self, directive: DirectiveNode) -> bool:
        name = directive.name.value
        if name not in STEERING:
            raise NotCompilable(f"the directive @{name}")
        given = directive.arguments[0].value if directive.arguments else None
        if isinstance(given, VariableNode):
            if given.name.value not in self.booleans:
                raise NotCompilable(f"@{name} by a variable without a value")
            condition = self.booleans[given.name.value]
        elif isinstance(given, BooleanValueNode):
            condition = given.value
        else:
            raise NotCompilable(f"@{name} without a condition")
        return condition is (name == "include")


@dataclass
class Collecting:
    """The fields of one type, while they are collected; a fragment counts once, as in graphql-core."""

    selections: Selections
    type: GraphQLObjectType
    found: dict[str, list[FieldNode]] = field(default_factory=dict)
    spread: set[str] = field(default_factory=set)

    def add(self, selection_set: SelectionSetNode) -> None:
        for node in selection_set.selections:
            if not self.selections.includes(node):
                continue
            if isinstance(node, FieldNode):
                self.found.setdefault(response_name(node), []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._is(node.type_condition.name.value):
                    self.add(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                self._add_fragment(node)

    def _add_fragment(self, node: FragmentSpreadNode) -> None:
        name = node.name.value
        fragment = self.selections.fragments.get(name)
        if fragment is None or name in self.spread or not self._is(fragment.type_condition.name.value):
            return
        if fragment.variable_definitions:
            raise NotCompilable("variables of a fragment")
        self.spread.add(name)
        self.add(fragment.selection_set)

    def _is(self, condition: str) -> bool:
        if condition == self.type.name:
            return True
        named: object = self.selections.schema.get_type(condition)
        return is_abstract_type(named) and self.selections.schema.is_sub_type(abstract(named), self.type)


def abstract(type_: object) -> GraphQLAbstractType:
    assert is_abstract_type(type_)
    return type_


def response_name(node: FieldNode) -> str:
    return node.alias.value if node.alias else node.name.value


def steering_variables(
    operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> tuple[str, ...]:
    """The names of the variables that an @skip or @include looks at, in any fragment of the document, sorted."""
    found = {
        argument.value.name.value
        for node in (operation, *fragments.values())
        for directive in directives_below(node)
        if directive.name.value in STEERING
        for argument in directive.arguments or ()
        if isinstance(argument.value, VariableNode)
    }
    return tuple(sorted(found))


def directives_below(top: Node) -> Iterator[DirectiveNode]:
    """The directives on the selections below a node; without recursion, as documents may be nested deeply."""
    waiting: list[Node] = [top]
    while waiting:
        node = waiting.pop()
        if isinstance(node, SelectionNode):
            yield from node.directives or ()
        selections = getattr(node, "selection_set", None)
        if selections is not None:
            waiting.extend(selections.selections)
