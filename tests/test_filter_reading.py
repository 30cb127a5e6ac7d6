"""Is every filter that means nothing refused, with the place and the reason of everything that is wrong with it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from store.filters import (
    CATALOGUE_ROWS,
    MAX_CONDITIONS,
    MAX_NESTING,
    MAX_NUMBER,
    MAX_PROBLEMS,
    MAX_TEXT_LENGTH,
    MAX_VALUES,
    OPERATORS,
    Catalogue,
    FieldKind,
    FilterProblemCode,
    Operator,
    condition,
    read_filter,
    read_raw_id,
)
from store.models import Contact, FieldType
from tests import filter_oracle as oracle
from tests.filter_world import ACME, CATALOGUE, checked

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.filter_databases"]

INVALID_FILTER, UNKNOWN_FIELD, OPERATOR_NOT_ALLOWED, INVALID_VALUE, FILTER_TOO_COMPLEX = FilterProblemCode
TEXT, NUMBER = "contact.fixed_fields.last_name", "contact.custom_fields.number"
GOOD = {"field": TEXT, "operator": "ct", "value": "e"}
FIELDS = {
    FieldKind.TEXT: TEXT,
    FieldKind.NUMBER: NUMBER,
    FieldKind.DATE: "contact.fixed_fields.date_of_birth",
    FieldKind.TIME: "contact.created_at",
    FieldKind.BOOLEAN: "contact.b2c",
    FieldKind.MULTIPLE_CHOICE: "contact.custom_fields.multiple_choice",
    FieldKind.STATUS: "contact.status",
    FieldKind.ID: "contact.team.id",
}
VALUES = {
    FieldKind.TEXT: "e",
    FieldKind.NUMBER: 1,
    FieldKind.DATE: "2026-01-31",
    FieldKind.TIME: "2026-01-31",
    FieldKind.BOOLEAN: True,
    FieldKind.MULTIPLE_CHOICE: "e",
    FieldKind.STATUS: "LEAD",
    FieldKind.ID: 1,
}
# What each kind does not take; beside these none takes null, a list or an object.
WRONG: dict[FieldKind, list[oracle.Json]] = {
    FieldKind.TEXT: [1, True, "", "\x00", "a\x00b", "\ud800", "a\udfffb", "a" * (MAX_TEXT_LENGTH + 1)],
    FieldKind.NUMBER: ["1", True, float("nan"), float("inf"), -float("inf"), MAX_NUMBER, -MAX_NUMBER, 10**5000, 1e300],
    FieldKind.DATE: [20260131, True, "", "2026-1-31", "2026-02-29", "0000-01-01", "2026-01-31T00:00:00Z", "20260131",
        "٢٠٢٦-٠١-٣١", "2026-01-31\n", "2026-W01-1"],
    FieldKind.TIME: [1, True, "", "tomorrow", "2026-02-29", "2026-01-31T25:00:00Z", "2026-03-29 02:30:00",
        "2026-10-25 02:30:00", "0001-01-01", "9999-12-31T23:59:59-10:00"],
    FieldKind.BOOLEAN: ["true", 1, 0, ""],
    FieldKind.MULTIPLE_CHOICE: [1, False, "", "\x00", "\ud800"],
    FieldKind.STATUS: ["", "NEW", "LEAD ", 1, True, "cuſtomer"],
    FieldKind.ID: ["", "x", -1, 2**31, 10**5000, "9" * 5000, "01", 1.0, True, str(UUID(int=1))],
}  # fmt: skip


def shown(value: object) -> str:
    """A short name of a parameter, which may hold anything."""
    return "huge" if isinstance(value, int) and abs(value) > MAX_NUMBER else ascii(value)[:30]


def problems(
    given: oracle.Json, catalogue: Catalogue = CATALOGUE
) -> list[tuple[tuple[str | int, ...], FilterProblemCode]]:
    """Where and why a filter is refused; every message is a sentence that can be sent as UTF-8."""
    reading = read_filter(given, catalogue)
    assert reading.filter is None
    for problem in reading.problems:
        assert problem.message.endswith(".")
        assert problem.message.encode()
        assert len(problem.message) < 400
    return [(problem.path, problem.code) for problem in reading.problems]


def compared(kind: FieldKind, operator: Operator, value: oracle.Json) -> oracle.Json:
    return {"field": FIELDS[kind], "operator": str(operator), "value": value}


def fitting(kind: FieldKind, operator: Operator) -> oracle.Json:
    if operator is Operator.EXISTS:
        return True
    return [VALUES[kind]] if operator in (Operator.IN, Operator.NOT_IN) else VALUES[kind]


@pytest.mark.parametrize("operator", list(Operator))
@pytest.mark.parametrize("kind", list(FieldKind))
def test_operator_is_for_some_kinds_only(kind: FieldKind, operator: Operator) -> None:
    """An operator is taken by the kinds that it fits and refused by the others, at its place."""
    given = [GOOD, compared(kind, operator, fitting(kind, operator))]
    if operator in OPERATORS[kind]:
        assert checked(given).members[1].as_json() is not None
    else:
        assert problems(given) == [((1, "operator"), OPERATOR_NOT_ALLOWED)]


@pytest.mark.parametrize(
    ("kind", "wrong"), [(kind, wrong) for kind, values in WRONG.items() for wrong in values], ids=shown
)
def test_value_of_the_wrong_type_is_refused(kind: FieldKind, wrong: oracle.Json) -> None:
    """What is not of the field's kind, or cannot be stored or compared, is refused at its place, in lists as well."""
    assert problems([compared(kind, Operator.EQUALS, wrong)]) == [((0, "value"), INVALID_VALUE)]
    if Operator.IN in OPERATORS[kind]:
        listed = [VALUES[kind], wrong]
        assert problems([compared(kind, Operator.IN, listed)]) == [((0, "value", 1), INVALID_VALUE)]


@pytest.mark.parametrize("kind", list(FieldKind))
@pytest.mark.parametrize("wrong", [None, [], {}, ["e"], [1]], ids=shown)
def test_no_field_takes_nothing_or_a_structure(kind: FieldKind, wrong: oracle.Json) -> None:
    """Null, lists and objects are no values of a comparison."""
    assert problems([compared(kind, Operator.EQUALS, wrong)]) == [((0, "value"), INVALID_VALUE)]


@pytest.mark.parametrize("kind", list(FieldKind))
def test_exists_takes_a_boolean(kind: FieldKind) -> None:
    """Whether there is a value is asked with true or false, whatever the field holds."""
    wrongs: list[oracle.Json] = [None, 1, "true", []]
    for wrong in wrongs:
        assert problems([compared(kind, Operator.EXISTS, wrong)]) == [((0, "value"), INVALID_VALUE)]


@pytest.mark.parametrize("wrong", [None, "e", {}, [], {"0": "e"}], ids=shown)
def test_set_operators_take_a_list(wrong: oracle.Json) -> None:
    """`in` and `nin` take a list with something in it."""
    for operator in (Operator.IN, Operator.NOT_IN):
        assert problems([compared(FieldKind.TEXT, operator, wrong)]) == [((0, "value"), INVALID_VALUE)]


@pytest.mark.parametrize("empty", [None, {}, [], {"and": []}, {"or": []}], ids=shown)
def test_empty_filter_is_not_present(empty: oracle.Json) -> None:
    """An empty filter is neither a filter nor a mistake."""
    reading = read_filter(empty, CATALOGUE)
    assert reading.filter is None
    assert reading.problems == ()


def test_shapes_that_mean_the_same_are_equal() -> None:
    """A group of which all must hold, and a condition on its own, are stored as the list that they mean."""
    assert checked({"and": [GOOD, GOOD]}).as_json() == [GOOD, GOOD]
    assert checked(GOOD).as_json() == [GOOD]
    assert checked({"or": [GOOD, GOOD]}).as_json() == [{"or": [GOOD, GOOD]}]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("x", ()),
        (0, ()),
        (False, ()),
        ([0], (0,)),
        ([GOOD, []], (1,)),
        ([[GOOD]], (0,)),
        ([{"and": []}], (0, "and")),
        ([{"or": {}}], (0, "or")),
        ([{"and": None}], (0, "and")),
        ({"or": [GOOD], "and": [GOOD]}, ()),
        ({"or": [GOOD], **GOOD}, ()),
        ({"or": [GOOD, "x"]}, ("or", 1)),
        ([{**GOOD, "extra": 1}], (0,)),
        ([{**GOOD, "\ud800": 1}], (0,)),
        ([{"field": TEXT, "operator": "eq"}], (0,)),
        ([{"field": TEXT, "value": "x"}], (0,)),
        ([{"operator": "eq", "value": "x"}], (0,)),
        ([{**GOOD, "field": 1}], (0, "field")),
        ([{**GOOD, "operator": ["eq"]}], (0, "operator")),
    ],
    ids=shown,
)
def test_wrong_shape_is_refused(given: oracle.Json, path: tuple[str | int, ...]) -> None:
    """What is neither a list, a group nor a condition is refused where it stands."""
    assert problems(given) == [(path, INVALID_FILTER)]


def test_empty_object_in_a_list_lacks_everything() -> None:
    """An object without keys is a condition that lacks all of them."""
    assert problems([{}]) == [((0,), INVALID_FILTER)] * 3


@pytest.mark.parametrize(
    "path",
    [
        "", "contact", "contact.", "last_name", "contact.last_name", "contact.fixed_fields", "contact.fixed_fields.id",
        "contact.fixed_fields.id.7", "contact.fixed_fields.id.9999", "contact.custom_fields.unknown", "contact.id",
        "contact.custom_fields.id.31", "contact.company_id", "account.id", "account.sort_name", "Contact.status",
        "contact.consent.fax.consent_given", "contact.folded_email", "contact.fixed_fields.custom_fields", "\ud800",
        "account.fixed_fields.last_name", "contact.account.name", "x" * 100_000,
    ],
    ids=shown,
)  # fmt: skip
def test_unknown_field_is_refused(path: str) -> None:
    """Only the fields of the documentation and of the company's definitions are known."""
    assert problems([{**GOOD, "field": path}]) == [((0, "field"), UNKNOWN_FIELD)]


def test_all_problems_are_told_at_once() -> None:
    """Every part that is wrong is named with its path, also within one condition."""
    given = {
        "or": [
            {"field": "contact.nothing", "operator": "like", "value": 1},
            GOOD,
            {"and": [{**GOOD, "value": 1}, {"or": [GOOD, {**GOOD, "operator": "gt"}]}, 7]},
            {"field": NUMBER, "operator": "in", "value": [1, "2", None]},
        ]
    }
    assert problems(given) == [
        (("or", 0, "field"), UNKNOWN_FIELD),
        (("or", 0, "operator"), OPERATOR_NOT_ALLOWED),
        (("or", 2, "and", 0, "value"), INVALID_VALUE),
        (("or", 2, "and", 1, "or", 1, "operator"), OPERATOR_NOT_ALLOWED),
        (("or", 2, "and", 2), INVALID_FILTER),
        (("or", 3, "value", 1), INVALID_VALUE),
        (("or", 3, "value", 2), INVALID_VALUE),
    ]


def nested(depth: int) -> oracle.Json:
    given: oracle.Json = GOOD
    for level in range(depth):
        given = {"and" if level % 2 else "or": [given]}
    return given


def test_nesting_is_limited() -> None:
    """Groups stand within each other ten deep, and a stored filter is never deeper than the client's was."""
    deepest = checked(nested(MAX_NESTING))
    assert checked(deepest.as_json()) == deepest
    assert checked([nested(MAX_NESTING)]).members
    path = tuple(part for level in reversed(range(1, MAX_NESTING + 1)) for part in ("and" if level % 2 else "or", 0))
    assert problems(nested(MAX_NESTING + 1)) == [(path, FILTER_TOO_COMPLEX)]


def test_conditions_are_limited() -> None:
    """A filter has at most 100 conditions, wherever they stand."""
    assert len(checked([GOOD] * MAX_CONDITIONS).members) == MAX_CONDITIONS
    assert problems([GOOD] * (MAX_CONDITIONS + 1)) == [((), FILTER_TOO_COMPLEX)]
    spread = [{"or": [GOOD] * 10}] * 10
    assert checked(spread).members
    assert problems([*spread, {"or": [{"and": [GOOD]}]}]) == [((), FILTER_TOO_COMPLEX)]


def test_values_are_limited() -> None:
    """A list has at most 1,000 values, a text 1,000 characters."""
    many = compared(FieldKind.NUMBER, Operator.IN, [7] * MAX_VALUES)
    assert checked([many]).members
    many["value"].append(7)
    assert problems([many]) == [((0, "value"), FILTER_TOO_COMPLEX)]
    assert checked([{**GOOD, "value": "a" * MAX_TEXT_LENGTH}]).members


class Watched(list[oracle.Json]):
    """A list that may not be read to its end."""

    def __iter__(self) -> Iterator[oracle.Json]:
        for index, entry in enumerate(super().__iter__()):
            assert index <= MAX_CONDITIONS + 1
            yield entry


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (nested(100_000), 1),
        ([nested(100_000)] * MAX_CONDITIONS, MAX_PROBLEMS),
        ([{"and": nested(100_000), "or": [nested(100_000)]}], 1),
        (Watched([GOOD] * 1_000), 1),
        ({"or": Watched([GOOD] * 1_000)}, 1),
        (Watched([7] * 1_000), MAX_PROBLEMS),
        (Watched([{"or": []}] * 1_000), MAX_PROBLEMS),
        (Watched([{"field": NUMBER, "operator": "in", "value": [None] * 1_000}] * 1_000), MAX_PROBLEMS),
    ],
    ids=["deep", "deep and wide", "two keys", "wide", "wide group", "wide and wrong", "empty groups", "values"],
)
def test_huge_filters_are_not_read_to_their_end(given: oracle.Json, found: int) -> None:
    """However deep or long the JSON is, no more than may be is looked at, and few problems are told."""
    assert len(problems(given)) == found


def test_messages_show_only_what_can_be_shown() -> None:
    """A client's text comes back shortened, and not at all when it holds characters that are not visible."""
    messages = [
        read_filter([{**GOOD, "field": path}], CATALOGUE).problems[0].message for path in ("x" * 999, "a\n\ud800")
    ]
    assert messages == [f'There is no field "{"x" * 80}".', 'There is no field "…".']


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-07-01", "2026-06-30T22:00:00Z"),
        ("2026-01-01", "2025-12-31T23:00:00Z"),
        ("2026-07-01 09:30:00", "2026-07-01T07:30:00Z"),
        ("2026-07-01T09:30:00.25+05:00", "2026-07-01T04:30:00.250000Z"),
    ],
)
def test_times_are_of_the_companys_zone(written: str, moment: str) -> None:
    """A time without an offset is local to the company, a date is its midnight there; UTC is stored."""
    (stored,) = checked([compared(FieldKind.TIME, Operator.LESS, written)]).as_json()
    assert isinstance(stored, dict)
    assert stored["value"] == moment


def test_date_begins_even_where_midnight_is_skipped() -> None:
    """Where clocks are put forward at midnight, the date begins at one o'clock; where back, with the first midnight."""
    for zone, day, moment in (
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z"),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"),
    ):
        reading = read_filter([compared(FieldKind.TIME, Operator.LESS, day)], replace(CATALOGUE, zone=ZoneInfo(zone)))
        assert reading.filter is not None
        assert str(moment) in str(reading.filter.as_json())


def test_ids_are_read_by_the_caller() -> None:
    """Texts of ids are read by the given function for the type of the field; plain numbers are taken as they are."""
    asked = []
    ids: dict[str, int | UUID] = {"a": UUID(int=7), "t": 9, "huge": 2**31}

    def read_id(typename: str, written: str) -> int | UUID | None:
        asked.append((typename, written))
        return ids.get(written)

    catalogue = replace(CATALOGUE, read_id=read_id)
    fields = {name: f"contact.{name}.id" for name in ("account", "user", "team", "list")}

    def given(name: str, value: oracle.Json) -> list[oracle.Json]:
        return [{"field": fields[name], "operator": "eq", "value": value}]

    assert checked(given("account", "a"), catalogue).as_json() == given("account", str(UUID(int=7)))
    for name in ("user", "team", "list"):
        assert checked(given(name, "t"), catalogue).as_json() == given(name, 9)
        assert checked(given(name, 12), catalogue).as_json() == given(name, 12)
        assert problems(given(name, "huge"), catalogue) == [((0, "value"), INVALID_VALUE)]
        assert problems(given(name, "unknown"), catalogue) == [((0, "value"), INVALID_VALUE)]
        assert problems(given(name, "a"), catalogue) == [((0, "value"), INVALID_VALUE)]
    assert problems(given("account", "t"), catalogue) == [((0, "value"), INVALID_VALUE)]
    assert problems(given("account", 9), catalogue) == [((0, "value"), INVALID_VALUE)]
    assert {typename for typename, _ in asked} == {"Account", "User", "Team", "ContactList"}


@pytest.mark.parametrize(
    ("typename", "written", "id"),
    [
        ("Team", "7", 7),
        ("Team", "07", None),
        ("Team", "+7", None),
        ("Team", "٧", None),
        ("Account", str(UUID(int=7)), UUID(int=7)),
        ("Account", str(UUID(int=255)).upper(), UUID(int=255)),
        ("Account", UUID(int=7).hex, None),
        ("Account", "{" + str(UUID(int=7)) + "}", None),
        ("Account", "7", None),
    ],
)
def test_raw_ids_are_spelled_plainly(typename: str, written: str, id: int | UUID | None) -> None:
    """A database id has one spelling, but for a UUID's capitals."""
    assert read_raw_id(typename, written) == id


async def test_values_are_never_sql(acme: AsyncConnection) -> None:
    """No value, and no name of a company's field, is part of the statement's text; equal shapes share their text."""
    marked = {FieldKind.TEXT: "x' OR 1=1 --", FieldKind.MULTIPLE_CHOICE: "x' OR 1=1 --", FieldKind.NUMBER: 987654321}
    given = [
        compared(kind, operator, fitting(kind, operator))
        for kind, operators in OPERATORS.items()
        for operator in operators
    ]
    other = [
        {
            **condition,
            "value": [marked.get(kind, VALUES[kind])] if isinstance(condition["value"], list) else marked[kind],
        }
        if (kind := CATALOGUE.fields[condition["field"]].kind) in marked and condition["operator"] != "exists"
        else condition
        for condition in given
    ]
    texts = [
        str(select(Contact.id).where(condition(checked(filters))).compile(dialect=acme.dialect))
        for filters in (given, other)
    ]
    assert texts[0] == texts[1]
    for hidden in ("OR 1=1", "987654321", "LEAD", "2026-01-31", "multiple_choice"):
        assert hidden not in texts[1]


async def test_catalogue_is_read_from_the_companys_rows(acme: AsyncConnection) -> None:
    """The definitions and the time zone of the one company make the same catalogue as given ones do."""
    rows = (await acme.execute(CATALOGUE_ROWS, {"company_id": ACME})).all()
    assert Catalogue.of_rows(rows) == CATALOGUE


async def test_company_without_definitions_has_the_fields_that_all_have(unbound: AsyncConnection) -> None:
    """Fixed fields of contacts can be named without definitions, others not; and nothing of another company."""
    rows = (await unbound.execute(CATALOGUE_ROWS, {"company_id": 2})).all()
    catalogue = Catalogue.of_rows(rows)
    assert catalogue == Catalogue.of([], oracle.ZONE)
    assert TEXT in catalogue.fields
    assert problems([compared(FieldKind.NUMBER, Operator.EQUALS, 1)], catalogue) == [((0, "field"), UNKNOWN_FIELD)]


def test_path_by_id_means_the_definition() -> None:
    """A field whose name looks like a path by id does not stand in the way of the one with that id."""
    looks_alike = replace(oracle.DEFINITIONS[0], id=99, name="id.1", type=FieldType.BOOLEAN)
    fields = Catalogue.of([looks_alike, *oracle.DEFINITIONS], oracle.ZONE).fields
    assert (fields["contact.custom_fields.id.1"].kind, fields["contact.custom_fields.id.1"].key) == (
        FieldKind.TEXT,
        "text",
    )
    assert fields["contact.custom_fields.id.99"].key == "id.1"
