"""How does a value become a scalar's or an enum's in the answer? As graphql-core completes it, or with an exception."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLOutputType,
    GraphQLString,
    Undefined,
    get_nullable_type,
    is_enum_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from graphql.pyutils import is_iterable

from engine.source import Environment

Complete: TypeAlias = Callable[[object], object]

# Of a value of the exact class these scalars make what it is; all others go through their own function.
AS_IT_IS: dict[object, str] = {
    GraphQLString: "{0}.__class__ is str",
    GraphQLID: "{0}.__class__ is str",
    GraphQLBoolean: "{0}.__class__ is bool",
    GraphQLInt: "{0}.__class__ is int and -2147483648 <= {0} <= 2147483647",
    GraphQLFloat: "{0}.__class__ is float and {0} - {0} == 0",
}


class Unanswerable(Exception):
    """Something is not as it must be; graphql-core says what."""


def is_leaves(type_: GraphQLOutputType) -> bool:
    """Whether the type is a scalar, an enum, or lists of these."""
    nullable = get_nullable_type(type_)
    return is_leaves(nullable.of_type) if is_list_type(nullable) else is_leaf_type(nullable)


def leaf_expression(environment: Environment, type_: GraphQLOutputType, value: str) -> str:
    """The source of an expression for what the variable `value` is in the answer."""
    complete = environment.bound("leaf", completer(type_))
    nullable = get_nullable_type(type_)
    test = AS_IT_IS.get(nullable) if is_leaf_type(nullable) else None
    if test is None:
        return (
            f"{complete}({value})" if is_non_null_type(type_) else f"None if {value} is None else {complete}({value})"
        )
    fits = test.format(value)
    return f"{value} if {fits if is_non_null_type(type_) else f'{value} is None or {fits}'} else {complete}({value})"


def completer(type_: GraphQLOutputType) -> Complete:
    """A function that completes values of a type that `is_leaves`."""
    if is_non_null_type(type_):
        return required(completer(type_.of_type))
    if is_list_type(type_):
        return listed(completer(type_.of_type))
    assert is_leaf_type(type_)
    return known_names(type_) if is_enum_type(type_) else coerced(type_)


def required(complete: Complete) -> Complete:
    def completed(value: object) -> object:
        found = complete(value)
        if found is None:
            raise Unanswerable("null where there must be a value")
        return found

    return completed


def listed(complete: Complete) -> Complete:
    def completed(value: object) -> object:
        return None if value is None or value is Undefined else [complete(each) for each in items_of(value)]

    return completed


def items_of(value: object) -> Iterable[object]:
    if not is_iterable(value):
        raise Unanswerable("no list")
    return value


def coerced(type_: GraphQLLeafType) -> Complete:
    coerce = type_.coerce_output_value

    def completed(value: object) -> object:
        if value is None or value is Undefined:
            return None
        if isinstance(value, Exception):
            raise value
        found = coerce(value)
        if found is None or found is Undefined:
            raise Unanswerable("a value that the type does not have")
        return found

    return completed


def known_names(type_: GraphQLEnumType) -> Complete:
    """As `coerced`, with the names of the values kept that are written plainly."""
    otherwise = coerced(type_)
    names: dict[object, object] = {}
    for each in type_.values.values():
        if isinstance(each.value, str):
            names[each.value] = otherwise(each.value)

    def completed(value: object) -> object:
        # The class is compared too, as members of other enums may equal a text.
        found = names.get(value) if value.__class__ is str else None
        return otherwise(value) if found is None else found

    return completed
