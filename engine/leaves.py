"""How does a value become a scalar's or an enum's in the answer? As graphql-core completes it, or with an exception."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Written:
    """How values of a scalar are written without a call of its own function, if they fit; otherwise by it.

    `expression` and `fits` are sources with `{0}` for the value; `names`: what they refer to. To be put into the
    scalar's `extensions` as `WRITTEN`.
    """

    expression: str
    fits: str
    names: Mapping[str, object]


WRITTEN = "written"


def leaf_expression(environment: Environment, type_: GraphQLOutputType, value: str) -> str:
    """The source of an expression for what the variable `value` is in the answer."""
    complete = environment.bound("leaf", completer(type_))
    nullable = get_nullable_type(type_)
    way = way_of(environment, nullable) if is_leaf_type(nullable) else None
    if way is None:
        return (
            f"{complete}({value})" if is_non_null_type(type_) else f"None if {value} is None else {complete}({value})"
        )
    expression, fits = (part.replace("{0}", value) for part in way)
    found = f"{expression} if {fits} else {complete}({value})"
    return found if is_non_null_type(type_) else f"None if {value} is None else {found}"


def way_of(environment: Environment, type_: GraphQLLeafType) -> tuple[str, str] | None:
    """An expression for the values of a type that fit, and whether one does."""
    if is_enum_type(type_):
        names = environment.bound("names", plain_names(type_))
        return f"{names}[{{0}}]", f"{{0}}.__class__ is str and {{0}} in {names}"
    if type_ in AS_IT_IS:
        return "{0}", AS_IT_IS[type_]
    written = type_.extensions.get(WRITTEN)
    if not isinstance(written, Written):
        return None
    environment.values.update(written.names)
    return written.expression, written.fits


def completer(type_: GraphQLOutputType) -> Complete:
    """A function that completes values of a type that `is_leaves`."""
    if is_non_null_type(type_):
        return required(completer(type_.of_type))
    if is_list_type(type_):
        return listed(completer(type_.of_type))
    assert is_leaf_type(type_)
    return coerced(type_)


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


def plain_names(type_: GraphQLEnumType) -> dict[str, object]:
    """The names of the values that are plain texts; a member of some enum may equal one, and be no value of this."""
    coerce = type_.coerce_output_value
    values = (each.value for each in type_.values.values())
    return {str(value): coerce(value) for value in values if isinstance(value, str)}
