"""What can a client write wrongly into each argument of each mutation? Made from the schema, place by place."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
    is_required_input_field,
)

from resolvers.global_ids import encode
from tests.graph import NEVER_NUMBER, NEVER_UUID
from tests.valid_calls import Calls
from tests.written_calls import MUTATIONS, Call, Raw

Step = str | int
MISSING = object()
NEAR_THE_LARGEST_BODY = 900_000
# Texts that may have several lines; all others are one line.
OF_LINES = {
    "CampaignInput.description",
    "UpdateCampaignInput.description",
    "MessageInput.content",
    "TemplateInput.content",
    "UpdateTemplateInput.content",
    "ConsentInput.subject",
    "ConsentInput.content",
    "ConsentInput.helpText",
    "previewTemplate.content",
}
LIMIT = re.compile(r"at most ([\d,]+) characters", re.IGNORECASE)
ID_TYPES = {
    "teamId": "Team",
    "groupId": "Group",
    "templateId": "Template",
    "distributeUserIds": "User",
    "relationsPathId": "RelationsPath",
    "contactId": "Contact",
    "contactIds": "Contact",
    "listIds": "ContactList",
    "campaignId": "Campaign",
    "ids": "Notification",
}
# The types whose ids mutations take as `id`, by what stands in the mutations' names; all others take a campaign's.
NAMED_TYPES = {"Template": "Template", "Export": "Export", "Task": "CampaignTask", "Suppression": "Suppression"}
BY_UUID = ("Campaign", "CampaignTask", "Contact", "Export", "Notification", "RelationsPath")
# Of what may be so many, one more is too many.
LONGEST_LISTS = {"contactIds": 10_000, "ids": 100}
WRONG_TYPES: Mapping[str, object] = {
    "a text": "x",
    "a whole number": 7,
    "a fraction": 1.5,
    "a boolean": True,
    "a list": ["x"],
    "an object": {"x": 1},
}
MATCH = {"field": "contact.fixed_fields.last_name", "operator": "ct", "value": "e"}


@dataclass(frozen=True)
class Place:
    """An argument, a field of an input, or an entry of a list; `coordinate` names it wherever its input stands."""

    mutation: str
    path: tuple[Step, ...]
    type: GraphQLInputType
    coordinate: str
    description: str = ""
    required: bool = False

    def __str__(self) -> str:
        return f"{self.mutation}({'.'.join(map(str, self.path))})"

    @property
    def kind(self) -> str:
        """The name of the scalar or of the sort of type; of a list `list`."""
        nullable = get_nullable_type(self.type)
        if is_list_type(nullable):
            return "list"
        if isinstance(nullable, GraphQLEnumType):
            return "enum"
        return "object" if isinstance(nullable, GraphQLInputObjectType) else get_named_type(nullable).name

    @property
    def id_type(self) -> str:
        """The type whose ids belong here."""
        name = next(step for step in reversed(self.path) if isinstance(step, str))
        of_mutation = (typename for name, typename in NAMED_TYPES.items() if name in self.mutation)
        return ID_TYPES.get(name) or next(of_mutation, "Campaign")

    def filled(self, calls: Calls, value: object) -> dict[str, Any]:
        """The valid arguments, with a key of their own, and with this value in its place, or without any."""
        arguments = copy.deepcopy(calls.arguments(self.mutation))
        if "idempotencyKey" in MUTATIONS.types(self.mutation):
            # Of what is refused the key must not stay either.
            arguments["idempotencyKey"] = uuid4().hex
        if self.path[:2] == ("scope", "period"):
            arguments["scope"] = {"period": calls.choices()["period"]}
        put(arguments, MUTATIONS.types(self.mutation), self.path, value)
        return arguments


def put(given: dict[str, Any], types: Mapping[str, GraphQLInputType], path: tuple[Step, ...], value: object) -> None:
    """Sets a value deep in arguments; where one member is to be chosen it is the only one then."""
    name, *rest = path
    assert isinstance(name, str)
    if not rest:
        given.pop(name, None)
        if value is not MISSING:
            given[name] = value
        return
    type_ = get_nullable_type(types[name])
    if isinstance(type_, GraphQLList):
        entry = type_.of_type
        if len(rest) == 1:
            given[name] = [] if value is MISSING else [value]
            return
        given[name], rest, type_ = [{}], rest[1:], get_nullable_type(entry)
        below = given[name][0]
    else:
        below = given.setdefault(name, {})
    assert isinstance(type_, GraphQLInputObjectType)
    if is_one_of(type_):
        for other in [other for other in below if other != rest[0]]:
            del below[other]
    put(below, {name: field.type for name, field in type_.fields.items()}, tuple(rest), value)


def is_one_of(type_: GraphQLInputObjectType) -> bool:
    """Whether exactly one member is to be given; graphql-core is not told by Strawberry."""
    return bool(type_.extensions["strawberry-definition"].is_one_of)


def places(mutation: str) -> Iterator[Place]:
    """All that can be written into a mutation's arguments; of what nests in itself one level."""
    for name, argument in MUTATIONS.fields[mutation].args.items():
        place = Place(
            mutation,
            (name,),
            argument.type,
            f"{mutation}.{name}",
            argument.description or "",
            is_required_argument(argument),
        )
        yield from below(place, ())


def below(place: Place, seen: tuple[str, ...]) -> Iterator[Place]:
    yield place
    nullable = get_nullable_type(place.type)
    if isinstance(nullable, GraphQLList):
        item = Place(place.mutation, (*place.path, 0), nullable.of_type, f"{place.coordinate}.0")
        yield from below(item, seen)
    if isinstance(nullable, GraphQLInputObjectType) and nullable.name not in seen:
        for name, field in nullable.fields.items():
            path, coordinate = (*place.path, name), f"{nullable.name}.{name}"
            required = is_required_input_field(field)
            inner = Place(place.mutation, path, field.type, coordinate, field.description or "", required)
            yield from below(inner, (*seen, nullable.name))


@dataclass(frozen=True)
class Case:
    """A call with one bad value. `refused`: whether it has to be, or may have a meaning here."""

    place: Place
    name: str
    arguments: dict[str, Any]
    in_document: bool
    refused: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.name}{', in the document' * self.in_document}"

    @property
    def call(self) -> Call:
        return self.place.mutation, self.arguments

    def body(self) -> bytes:
        """The request."""
        write = MUTATIONS.in_document if self.in_document else MUTATIONS.with_variables
        return write([self.call])


def fits(value: object, type_: GraphQLInputType) -> bool:
    """Whether a value of `WRONG_TYPES` is right here by the specification's rules of coercion (3.5, 3.11)."""
    nullable = get_nullable_type(type_)
    if isinstance(nullable, GraphQLList):
        entries = value if isinstance(value, list) else [value]
        return all(fits(entry, nullable.of_type) for entry in entries)
    if isinstance(nullable, GraphQLInputObjectType | GraphQLEnumType):
        return False
    whole = isinstance(value, int) and not isinstance(value, bool)
    return {
        "ID": isinstance(value, str) or whole,
        "Int": whole,
        "Float": whole or isinstance(value, float),
        "Boolean": isinstance(value, bool),
        "JSON": True,
    }.get(get_named_type(nullable).name, isinstance(value, str))


def fits_number(name: str, type_: GraphQLInputType) -> bool:
    """The same of a number of `NUMBERS` in a document; whether such a float can be used is for the rules to say."""
    # Scalars of one's own take the name of an enum's value for a text.
    fitting = {"JSON": NUMBERS, "Moment": ("NaN", "Infinity"), "ID": (DIGITS,), "Float": (DIGITS, BEYOND)}
    return name in fitting.get(get_named_type(type_).name, ())


class Cases:
    """The calls with bad values, from the valid ones."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def of_type(self, place: Place) -> Iterator[Case]:
        """What the schema itself refuses, as variables and in the document."""
        if place.required:
            yield self.in_document(place, "missing", MISSING)
            if len(place.path) > 1:
                yield self.with_variables(place, "missing", MISSING)
        if is_non_null_type(place.type):
            yield from self.both(place, "null", None)
        for name, value in WRONG_TYPES.items():
            if not fits(value, place.type):
                yield from self.both(place, name, value)
        for name, text in NUMBERS.items():
            if not fits_number(name, place.type):
                yield self.in_document(place, name, Raw(text))
        if place.kind == "enum":
            yield self.in_document(place, "a text in quotes", Raw('"EMAIL"'))

    def of_choice(self, place: Place) -> Iterator[Case]:
        """Of an input of which exactly one member is to be given: Strawberry finds the first of them alone."""
        type_ = get_nullable_type(place.type)
        if isinstance(type_, GraphQLInputObjectType) and is_one_of(type_):
            first, second, *_ = type_.fields
            two = {name: self._calls.choices()[name] for name in (first, second)}
            yield from self.both(place, "no member", {})
            yield from self.both(place, "two members", two)
            yield from self.both(place, "a member that is null", {first: None})
            yield from self.both(place, "a member and a null", {first: two[first], second: None})

    def of_spelling(self, place: Place) -> Iterator[Case]:
        """What is no JSON, or no GraphQL."""
        yield self.with_variables(place, "a lone surrogate", TEXT_WITH_SURROGATE)
        yield self.in_document(place, "a lone surrogate", TEXT_WITH_SURROGATE)
        for name, text in NO_JSON.items() if place.kind in ("Int", "Float", "JSON") else ():
            yield self.with_variables(place, name, Raw(text))
        for name, text in NO_GRAPHQL.items():
            yield self.in_document(place, name, Raw(text))

    def of_value(self, place: Place) -> Iterator[Case]:
        """What only the gateway's own rules can refuse, or the driver, or the database."""
        of_kind = {"String": self.texts, "Moment": self.texts, "ID": self.ids, "JSON": self.json, "list": self.lists}
        if place.kind in of_kind:
            yield from of_kind[place.kind](place)
        for value in NOT_IN_RANGE.get(place.kind, ()):
            yield self.with_variables(place, f"{value!r:.40}", value)
        for name, text in NUMBERS.items():
            if fits_number(name, place.type):
                yield self.in_document(place, name, Raw(text), refused=place.kind != "JSON")
        if place.kind == "object":
            yield self.with_variables(place, "an empty object", {}, refused=False)
        if not place.required:
            yield self.with_variables(place, "missing", MISSING, refused=False)
        if not is_non_null_type(place.type):
            yield self.with_variables(place, "null", None, refused=False)

    def ids(self, place: Place) -> Iterator[Case]:
        for name, text in malformed_ids(place.id_type).items():
            yield self.with_variables(place, name, text)

    def json(self, place: Place) -> Iterator[Case]:
        for value in ODD_JSON:
            yield self.with_variables(place, f"{value!r:.40}", value, refused=place.path[-1] == "json")

    def texts(self, place: Place) -> Iterator[Case]:
        one_line = place.coordinate not in OF_LINES and not place.coordinate.startswith("FieldMatch.")
        for name, text in BROKEN_LINES.items():
            yield self.with_variables(place, name, text, refused=one_line)
        yield self.with_variables(place, "NUL", "a\x00b", refused=not place.coordinate.startswith("FieldMatch."))
        yield self.with_variables(place, "empty", "", refused=False)
        yield self.with_variables(place, "white space", " \t ", refused=False)
        yield self.with_variables(place, "900 kB", "x" * NEAR_THE_LARGEST_BODY)
        limit = LIMIT.search(place.description)
        if limit is not None:
            too_long = "x" * (int(limit[1].replace(",", "")) + 1)
            yield self.with_variables(place, "one letter too long", too_long)

    def lists(self, place: Place) -> Iterator[Case]:
        (valid,) = self._calls.choices()[str(place.path[-1])]
        yield self.with_variables(place, "an empty list", [], refused=False)
        most = LONGEST_LISTS.get(str(place.path[-1]), 9_999)
        yield self.with_variables(place, f"{most + 1:,} entries", [valid] * (most + 1))
        yield self.with_variables(place, "a list in a list", [[valid]])
        yield self.with_variables(place, "null in a list", [None])

    def both(self, place: Place, name: str, value: object) -> Iterator[Case]:
        yield self.with_variables(place, name, value)
        yield self.in_document(place, name, value)

    def with_variables(self, place: Place, name: str, value: object, *, refused: bool = True) -> Case:
        return Case(place, name, place.filled(self._calls, value), False, refused)

    def in_document(self, place: Place, name: str, value: object, *, refused: bool = True) -> Case:
        return Case(place, name, place.filled(self._calls, value), True, refused)


TEXT_WITH_SURROGATE = "a\ud800b"
DIGITS, BEYOND = "6000 digits", "beyond a double"
NO_JSON = {"NaN": "NaN", "Infinity": "-Infinity", BEYOND: "1e999", DIGITS: "9" * 6000}
NO_GRAPHQL = {"an escaped lone surrogate": '"a\\ud800"', "one in braces": '"\\u{DFFF}"', "Infinity": "-Infinity"}
NUMBERS = {"NaN": "NaN", "Infinity": "Infinity", BEYOND: "1e999", DIGITS: "9" * 6000}
BROKEN_LINES = {"CR LF": "a\r\nBcc: b@example.com", "line separator": "a\u2028b", "next line": "a\x85b"}
NOT_IN_RANGE: Mapping[str, tuple[object, ...]] = {
    "Int": (-1, 0, 2**31 - 1, 2**31, -(2**31) - 1, 2**63, 10**30),
    "Float": (-1, -1e-9, 200.1, 1e308, 2**63, 10**30),
    "enum": ("NOPE", "email", "", "__proto__", "EMAIL\x00", "x" * NEAR_THE_LARGEST_BODY),
}
ODD_JSON: tuple[object, ...] = (
    5,
    "x",
    True,
    [[]],
    [{}],
    [None],
    {"and": {}},
    {"and": [], "or": []},
    {"and": [1]},
    {"__proto__": 1},
    {"": {"": ""}},
    {"a\x00b": "a\x00b"},
    [{"field": "contact.status", "operator": "eq", "value": {"a": []}}],
    [{"field": "contact.fixed_fields.last_name", "operator": "eq", "value": "a\x00b"}],
    [{"field": "contact.custom_fields.cars", "operator": "gt", "value": 10**30}],
    [{"field": "x" * NEAR_THE_LARGEST_BODY, "operator": "eq", "value": 1}],
    [{"field": "contact.team.id", "operator": "in", "value": [1] * 10_000}],
    [{"field": "contact.b2c", "operator": "eq", "value": True}] * 10_000,
    dict.fromkeys(map(str, range(10_000)), 1),
    "x" * NEAR_THE_LARGEST_BODY,
)


def malformed_ids(typename: str) -> dict[str, str]:
    """Texts that are no id of the type."""
    other = "Contact" if typename == "RelationsPath" else "RelationsPath"
    return {
        "empty": "",
        "white space": " ",
        "no base64": "!!",
        "negative": "-1",
        "leading zero": "007",
        "an exponent": "1e3",
        "digits of another script": "٣",
        "NUL": "1\x00",
        "CR LF": "1\r\n",
        "too large for its column": str(2**31),
        "too large for any column": str(2**63),
        "forty digits": "9" * 40,
        "900 kB": "9" * NEAR_THE_LARGEST_BODY,
        "an id of another type": encode(other, NEVER_UUID),
        "no key in it": encode(typename, ""),
        "a key of another kind": encode(typename, NEVER_NUMBER if typename in BY_UUID else NEVER_UUID),
    }


@dataclass(frozen=True)
class Nested:
    """A condition within so many groups: as it is, and as JSON and GraphQL, written without recursion."""

    levels: int
    old_shape: bool

    @property
    def value(self) -> dict[str, Any]:
        found: dict[str, Any] = MATCH if self.old_shape else {"match": MATCH}
        for _ in range(self.levels):
            found = {"and": [found]}
        return {"json": found} if self.old_shape else found

    def written(self, *, in_document: bool) -> Raw:
        match = f'{{"field": "{MATCH["field"]}", "operator": "{"ct" if self.old_shape else "CT"}", "value": "e"}}'
        inmost = match if self.old_shape else f'{{"match": {match}}}'
        text = '{"and": [' * self.levels + inmost + "]}" * self.levels
        text = f'{{"json": {text}}}' if self.old_shape else text
        return Raw(re.sub(r'"(\w+)":', r"\1:", text).replace('"CT"', "CT") if in_document else text)
