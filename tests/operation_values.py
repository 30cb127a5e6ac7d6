"""Which values does a generated operation give its arguments? Good ones for the most part, of the world's own rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from graphql import (
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
)

from resolvers import global_ids
from tests.graph import never_id, never_key

T = TypeVar("T")

MALFORMED_IDS = ("", "0x1", "-1", "Q2FtcGFpZ24", "9" * 40, "ä")
TEXTS = ("", "a", "Ma", "hello", "%", "no such thing", 'qu"ote\\\n', "é😀")
TIMES = ("2026-11-21T12:00:00Z", "2026-11-22", "2027-01-01T00:00:00+02:00", "yesterday")
MATCHED = (
    "contact.fixed_fields.last_name",
    "contact.custom_fields.cars",
    "contact.status",
    "contact.b2c",
    "account.name",
    "contact.nothing",
)
WRONG: tuple[object, ...] = (None, 1, "x", True, [], {}, [[1]], 2**31, 1.5)
COMPANIES = 2
DEEPEST_INPUT = 3


@dataclass(frozen=True)
class Known:
    """What operations can name. `keys`: of each company, by type. `cursors`: by `Type.field` and the parent's key."""

    keys: Sequence[Mapping[str, Sequence[str]]]
    cursors: Mapping[tuple[str, str], Sequence[str]]


@dataclass(frozen=True)
class Variable:
    """`type`: what it is declared as. `values`: what each company's viewers send."""

    name: str
    type: str
    default: str | None
    values: tuple[Mapping[str, object], ...] = ()


@dataclass
class Values:
    """Draws values; `faulty`: whether some are to be wrong. Literals are of the company `home`."""

    random: Random
    known: Known
    faulty: bool
    home: int
    variables: list[Variable] = field(default_factory=list)

    def chance(self, percent: int) -> bool:
        """Less luck is simpler, which is what a failing example is reduced to."""
        return self.random.randrange(100) >= 100 - percent

    def wrong(self, percent: int) -> bool:
        return self.faulty and self.chance(percent)

    def one_of(self, among: Sequence[T]) -> T:
        return among[self.random.randrange(len(among))]

    def given(self, name: str, type_: GraphQLInputType, draw: Callable[[int], object], *, variable: int = 35) -> str:
        """The source of a value: written out, or a variable that has one for each company."""
        if self.chance(variable):
            return self.variable(name, type_, draw)
        return literal(type_, draw(self.home))

    def variable(self, name: str, type_: GraphQLInputType, draw: Callable[[int], object]) -> str:
        declared, default = str(type_), None
        if self.chance(25):
            default = literal(type_, draw(self.home))
            # With a default, one that may be null can stand where there must be a value.
            declared = str(get_nullable_type(type_)) if self.chance(50) else declared
        elif not is_non_null_type(type_) and self.chance(20):
            declared = f"{type_}!"
        label = f"{name}{len(self.variables)}"
        made = Variable(label, declared, default)
        values = tuple(self._values(made, type_, draw, company) for company in range(COMPANIES))
        self.variables.append(replace(made, values=values))
        return f"${label}"

    def _values(
        self, variable: Variable, type_: GraphQLInputType, draw: Callable[[int], object], company: int
    ) -> Mapping[str, object]:
        """What a company's viewers send for a variable, which may be nothing."""
        required = variable.type.endswith("!")
        if (variable.default is not None or not required) and self.chance(20):
            return {}
        if self.wrong(4):
            return {variable.name: self.one_of(WRONG)}
        if not required and (self.faulty or not is_non_null_type(type_)) and self.chance(10):
            return {variable.name: None}
        return {variable.name: draw(company)}

    def boolean(self) -> str:
        """What steers @skip or @include."""
        if not self.chance(60):
            return self.one_of(("false", "true"))
        steering = [each for each in self.variables if each.type == "Boolean!"]
        if steering and self.chance(50):
            return f"${self.one_of(steering).name}"
        name, default = f"when{len(self.variables)}", self.one_of((None, "false", "true"))
        values = tuple(
            {} if default is not None and self.chance(30) else {name: self.chance(50)} for _ in range(COMPANIES)
        )
        self.variables.append(Variable(name, "Boolean!", default, values))
        return f"${name}"

    def key(self, typename: str, company: int) -> str | None:
        keys = self.known.keys[company].get(typename, ())
        return self.one_of(keys) if keys else None

    def id(self, typename: str, company: int, *, raw: bool) -> tuple[str, str | None]:
        """An id of a type, and the key of the row that it names."""
        if self.wrong(20):
            return self.bad_id(typename, company), None
        key = self.key(typename, company)
        if key is None:
            return never_id(typename), None
        return (key if raw and self.chance(40) else global_ids.encode(typename, key)), key

    def bad_id(self, typename: str, company: int) -> str:
        key, other = self.key(typename, 1 - company), self.one_of(sorted(self.known.keys[company]))
        return self.one_of(
            (
                never_id(typename) if key is None else global_ids.encode(typename, key),
                never_id(typename),
                str(never_key(typename)),
                global_ids.encode(other, self.key(other, company)),
                self.one_of(MALFORMED_IDS),
            )
        )

    def page(
        self, names: Mapping[str, GraphQLInputType], cursors: Callable[[int], Sequence[str]], most: int
    ) -> list[str]:
        """Which part of a list: the arguments that Relay has, and `offset`."""

        def number(_: int) -> object:
            return self.one_of((0, -1, 101, 2**31 - 1)) if self.wrong(15) else self.random.randrange(1, most + 1)

        def offset(_: int) -> object:
            return -1 if self.wrong(15) else self.random.randrange(4)

        def cursor(company: int) -> object:
            found = cursors(company)
            return self.one_of(found) if found and not self.wrong(20) else "bm90aGluZw"

        chosen: tuple[str, ...] = ("first",)
        ways: list[tuple[str, ...]] = [("first",), ("last",), ("first", "offset"), ("offset",), ()]
        if (cursors(0) and cursors(1)) or self.faulty:
            ways += [("first", "after"), ("last", "before"), ("after",), ("first", "after", "before")]
        if self.wrong(20):
            ways = [("first", "last"), ("last", "offset"), ("offset", "after"), ("before", "offset", "first")]
        if most > 3 or self.chance(50):
            chosen = self.one_of(ways)
        draw = {"first": number, "last": number, "offset": offset, "after": cursor, "before": cursor}
        return [
            f"{name}: {self.given(name, names[name], draw[name], variable=90 if draw[name] is cursor else 30)}"
            for name in chosen
        ]

    def value(self, name: str, type_: GraphQLInputType, company: int, depth: int = 0) -> object:
        """Something of an input type, `name` being whose it is."""
        if is_non_null_type(type_):
            return self.value(name, type_.of_type, company, depth)
        if self.chance(7):
            return None
        if is_list_type(type_):
            return [self._item(name, type_.of_type, company, depth) for _ in range(self.random.randrange(4))]
        return self._item(name, type_, company, depth)

    def _item(self, name: str, type_: GraphQLInputType, company: int, depth: int) -> object:
        type_ = nullable(type_)
        if isinstance(type_, GraphQLEnumType):
            return self.one_of(list(type_.values))
        if isinstance(type_, GraphQLInputObjectType):
            return self._object(type_, company, depth)
        return self._scalar(name, str(type_), company)

    def _object(self, type_: GraphQLInputObjectType, company: int, depth: int) -> object:
        fields = [(name, each) for name, each in type_.fields.items() if depth < DEEPEST_INPUT or not nests(each)]
        if type_.is_one_of:
            name, each = self.one_of(fields)
            return {name: self._present(name, each.type, company, depth + 1)}
        return {
            name: self.value(name, each.type, company, depth + 1)
            for name, each in fields
            if is_non_null_type(each.type) or self.chance(40)
        }

    def _present(self, name: str, type_: GraphQLInputType, company: int, depth: int) -> object:
        if is_list_type(type_):
            return [self._item(name, type_.of_type, company, depth) for _ in range(self.random.randrange(1, 3))]
        return self._item(name, type_, company, depth)

    def _scalar(self, name: str, type_: str, company: int) -> object:
        if type_ == "ID":
            return self.id(self.type_named(name), company, raw=True)[0]
        if name == "field":
            return self.one_of(MATCHED if self.faulty else MATCHED[:-1])
        if name == "json" and not self.faulty:
            return []
        some: Mapping[str, Sequence[object]] = {
            "Boolean": (False, True),
            "Int": range(5),
            "BigInt": range(5),
            "Float": range(5),
            "DateTime": TIMES if self.faulty else TIMES[:1],
            "Moment": TIMES if self.faulty else TIMES[:1],
            "JSON": (*WRONG[1:], *TEXTS),
        }
        return self.one_of(some.get(type_, TEXTS))

    def type_named(self, name: str) -> str:
        """The type whose ids an argument takes, as far as its name tells."""
        beginning = name.removesuffix("In").removesuffix("Id").lower()
        found = [typename for typename in self.known.keys[0] if typename.lower() == beginning]
        return found[0] if found else "User"


def nullable(type_: GraphQLInputType) -> GraphQLInputType:
    return type_.of_type if is_non_null_type(type_) else type_


def nests(each: GraphQLInputField) -> bool:
    type_ = get_nullable_type(each.type)
    return is_list_type(type_) and isinstance(get_nullable_type(type_.of_type), GraphQLInputObjectType)


def literal(type_: GraphQLInputType, value: object) -> str:
    """A value as a document has it."""
    if value is None:
        return "null"
    type_ = nullable(type_)
    if isinstance(value, list) and is_list_type(type_):
        return f"[{', '.join(literal(type_.of_type, each) for each in value)}]"
    if isinstance(type_, GraphQLEnumType):
        return str(value)
    if isinstance(value, dict) and isinstance(type_, GraphQLInputObjectType):
        entries = (f"{name}: {literal(type_.fields[name].type, each)}" for name, each in value.items())
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, list | dict):
        return "{}" if isinstance(value, dict) else "[]"
    return json.dumps(value, ensure_ascii=False)
