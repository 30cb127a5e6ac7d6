"""Which fields does an operation select on a type, when the values that steer @skip and @include are known?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
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
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    is_abstract_type,
)

STEERING = frozenset({"skip", "include"})

# The fields of one object by their response names, each with all its nodes, as they are merged.
Groups = Mapping[str, Sequence[FieldNode]]


class NotCompilable(Exception):
    """The operation holds something that only graphql-core runs; says what."""


@dataclass(frozen=True)
class Scope:
    """A fragment with variables of its own, where it is spread; `outer`: the one that it is spread in, if any."""

    fragment: FragmentDefinitionNode
    spread: FragmentSpreadNode
    outer: Scope | None

    def given(self, name: str) -> tuple[ValueNode | None, Scope | None]:
        """What its variable is, and the scope of the variables in that."""
        for argument in self.spread.arguments or ():
            if argument.name.value == name:
                return argument.value, self.outer
        return next(each.default_value for each in self.definitions if each.variable.name.value == name), None

    def has(self, name: str) -> bool:
        return any(each.variable.name.value == name for each in self.definitions)

    @property
    def definitions(self) -> Sequence[VariableDefinitionNode]:
        return self.fragment.variable_definitions or ()


@dataclass(frozen=True)
class Selections:
    """The selections of one operation."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    booleans: Mapping[str, bool]
    # Nodes in a fragment with variables are copied for each place that it is spread in; by identity, with the copy.
    _scopes: dict[int, tuple[FieldNode, Scope]] = field(default_factory=dict)

    def of(self, type_: GraphQLObjectType, nodes: Sequence[FieldNode]) -> Groups:
        """What these nodes of one field select on objects of the type."""
        collecting = Collecting(self, type_)
        for node in nodes:
            if node.selection_set is not None:
                collecting.add(node.selection_set, self.scope(node))
        return collecting.found

    def of_operation(self, type_: GraphQLObjectType, operation: OperationDefinitionNode) -> Groups:
        """What an operation selects on its root."""
        collecting = Collecting(self, type_)
        collecting.add(operation.selection_set, None)
        return collecting.found

    def scope(self, node: FieldNode) -> Scope | None:
        """Where the variables in a node have their values, unless all are the operation's."""
        return self._scopes[id(node)][1] if id(node) in self._scopes else None

    def scoped(self, node: FieldNode, scope: Scope | None) -> FieldNode:
        if scope is None:
            return node
        copied = copy(node)
        self._scopes[id(copied)] = copied, scope
        return copied

    def includes(self, node: SelectionNode, scope: Scope | None) -> bool:
        return all(self._leaves(directive, scope) for directive in node.directives or ())

    def _leaves(self, directive: DirectiveNode, scope: Scope | None) -> bool:
        name = directive.name.value
        if name not in STEERING:
            raise NotCompilable(f"the directive @{name}")
        given: ValueNode | None = directive.arguments[0].value if directive.arguments else None
        while isinstance(given, VariableNode) and scope is not None and scope.has(given.name.value):
            given, scope = scope.given(given.name.value)
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

    def add(self, selection_set: SelectionSetNode, scope: Scope | None) -> None:
        for node in selection_set.selections:
            if not self.selections.includes(node, scope):
                continue
            if isinstance(node, FieldNode):
                self.found.setdefault(response_name(node), []).append(self.selections.scoped(node, scope))
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._is(node.type_condition.name.value):
                    self.add(node.selection_set, scope)
            elif isinstance(node, FragmentSpreadNode):
                self._add_fragment(node, scope)

    def _add_fragment(self, node: FragmentSpreadNode, scope: Scope | None) -> None:
        name = node.name.value
        fragment = self.selections.fragments.get(name)
        if fragment is None or name in self.spread or not self._is(fragment.type_condition.name.value):
            return
        self.spread.add(name)
        self.add(fragment.selection_set, Scope(fragment, node, scope) if fragment.variable_definitions else None)

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
    """The names of the variables that an @skip or @include may look at, in any fragment of the document, sorted."""
    found = {
        argument.value.name.value
        for node in (operation, *fragments.values())
        for steered in steered_below(node)
        for argument in steered.arguments or ()
        if isinstance(argument.value, VariableNode)
    }
    return tuple(sorted(found))


def steered_below(top: Node) -> Iterator[DirectiveNode | FragmentSpreadNode]:
    """The directives that steer, and what hands values on to them, below a node; without recursion, as documents may
    be nested deeply."""
    waiting: list[Node] = [top]
    while waiting:
        node = waiting.pop()
        if isinstance(node, SelectionNode):
            yield from (each for each in node.directives or () if each.name.value in STEERING)
        if isinstance(node, FragmentSpreadNode):
            yield node
        selections = getattr(node, "selection_set", None)
        if selections is not None:
            waiting.extend(selections.selections)
