"""Is a campaign's filter taken in both shapes alike, and is what is wrong with it told where the client wrote it?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from resolvers import global_ids
from tests.build import TestCompany
from tests.campaign_documents import CREATE, EMAIL, SEND_AT, TEST_EMAIL, UPDATE, Desk, broken_rules, desk_of_a_module

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


def match(field: str, operator: str, value: object) -> dict[str, Any]:
    return {"match": {"field": field, "operator": operator, "value": value}}


def plain(field: str, operator: str, value: object) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


NAME = "contact.fixed_fields.last_name"
CARS = "contact.custom_fields.cars"
A, B, C = ((NAME, "ct", "e"), (CARS, "gt", 1), (NAME, "in", ["x", "y"]))
ONE, TWO, THREE = (plain(*condition) for condition in (A, B, C))
FIRST, SECOND, THIRD = (match(field, operator.upper(), value) for field, operator, value in (A, B, C))
# As input objects, as the old API's JSON, and as both are stored.
SHAPES: dict[str, tuple[object, object, object]] = {
    "condition": (FIRST, ONE, [ONE]),
    "list": ({"and": [FIRST, SECOND]}, [ONE, TWO], [ONE, TWO]),
    "and": ({"and": [FIRST, SECOND]}, {"and": [ONE, TWO]}, [ONE, TWO]),
    "or": ({"or": [FIRST, SECOND]}, {"or": [ONE, TWO]}, [{"or": [ONE, TWO]}]),
    "nested": (
        {"and": [FIRST, {"or": [SECOND, {"and": [FIRST, THIRD]}]}]},
        [ONE, {"or": [TWO, {"and": [ONE, THREE]}]}],
        [ONE, {"or": [TWO, {"and": [ONE, THREE]}]}],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_both_shapes(shared_desk: Desk, shape: str) -> None:
    """The same filter is stored, whichever way it is written, and read again as it is stored."""
    as_input, as_json, stored = SHAPES[shape]
    made = await shared_desk.made(CREATE, input={**EMAIL, "filter": as_input})
    other = await shared_desk.made(CREATE, input={**EMAIL, "filter": {"json": as_json}})
    assert made["filter"] == other["filter"] == stored
    again = await shared_desk.made(UPDATE, id=made["id"], input={"filter": {"json": made["filter"]}})
    assert again["filter"] == stored


async def test_values_are_stored_as_they_are_compared(shared_desk: Desk) -> None:
    """Global ids become the database's, local times UTC, whichever way the filter is written."""
    account = global_ids.encode("Account", shared_desk.names["$account"])
    given = [("contact.account.id", "eq", account), ("contact.created_at", "gte", "2026-07-01 00:00:00")]
    stored = [
        plain("contact.account.id", "eq", shared_desk.names["$account"]),
        plain("contact.created_at", "gte", "2026-06-30T22:00:00Z"),
    ]
    in_objects = {"and": [match(field, operator.upper(), value) for field, operator, value in given]}
    for shape in (in_objects, {"json": [plain(*condition) for condition in given]}):
        assert (await shared_desk.made(CREATE, input={**EMAIL, "filter": shape}))["filter"] == stored


# What is wrong, where in the filter.
PATHS: dict[str, tuple[object, str]] = {
    "field": (match("contact.nose", "EQ", "x"), "UNKNOWN_FIELD match.field"),
    "operator": (match(NAME, "GT", "x"), "OPERATOR_NOT_ALLOWED match.operator"),
    "value": (match(CARS, "EQ", "x"), "INVALID_VALUE match.value"),
    "in groups": (
        {"and": [FIRST, {"or": [match(CARS, "EQ", "x"), SECOND, match("contact.nose", "CT", "x")]}]},
        "INVALID_VALUE and.1.or.0.match.value; UNKNOWN_FIELD and.1.or.2.match.field",
    ),
    "empty group": ({"and": [FIRST, {"or": []}]}, "INVALID_FILTER and.1.or"),
    "JSON, field": ({"json": [plain("contact.nose", "eq", "x")]}, "UNKNOWN_FIELD json.0.field"),
    "JSON, operator": ({"json": plain(NAME, "gt", "x")}, "OPERATOR_NOT_ALLOWED json.operator"),
    "JSON, value of a list": ({"json": [ONE, plain(CARS, "in", [1, "x"])]}, "INVALID_VALUE json.1.value.1"),
    "JSON, in groups": ({"json": {"or": [ONE, {"and": [{"field": NAME}]}]}}, "INVALID_FILTER json.or.1.and.0"),
    "JSON, empty group": ({"json": [{"and": []}]}, "INVALID_FILTER json.0.and"),
    "JSON, a text": ({"json": "everybody"}, "INVALID_FILTER json"),
    "value of a list": (match(CARS, "IN", [1, "x"]), "INVALID_VALUE match.value.1"),
    "value of a list in a group": ({"or": [match(CARS, "NIN", ["x"])]}, "INVALID_VALUE or.0.match.value.0"),
}


async def check_paths(desk: Desk, filter: object, errors: str) -> None:
    """The problems stand at these places below the filter's, for campaigns, old and new, and test mails.

    A condition without its keys has a problem for each of them, at one place.
    """
    expected = {problem.replace(" ", " input.filter.", 1) for problem in errors.split("; ")}
    given = {**EMAIL, "filter": filter}
    campaign_id = await desk.campaign()
    for payload in (
        await desk.payload(CREATE, input=given),
        await desk.payload(TEST_EMAIL, input=given),
        await desk.payload(UPDATE, id=campaign_id, input={"filter": filter}),
    ):
        found = [f"{error['code']} {'.'.join(error['field'])}" for error in payload["userErrors"]]
        assert set(found) == expected


@pytest.mark.parametrize("case", PATHS)
async def test_problem_stands_where_it_was_written(shared_desk: Desk, case: str) -> None:
    """Each problem of a filter has the path that leads to it through the input as the client wrote it."""
    await check_paths(shared_desk, *PATHS[case])


async def test_shapes_are_not_mixed(shared_desk: Desk) -> None:
    """JSON is a whole filter; within input objects, or beside them, it is none."""
    for filter in ({"and": [{"json": [ONE]}]}, {"json": [ONE], "and": [FIRST]}, {"json": None}, {}):
        answer = await shared_desk.ask(CREATE, input={**EMAIL, "filter": filter})
        assert set(answer.codes) == {"GRAPHQL_VALIDATION_FAILED"}


HUGE = """
mutation ($name: String!, $time: Moment!, $key: String) {
  createCampaign(idempotencyKey: $key, input: {
    name: $name, type: TELEPHONE, sendAt: $time,
    filter: {match: {field: "contact.custom_fields.cars", operator: EQ, value: 100000000000000000000}}
  }) { campaign { id } userErrors { code field message } }
}
"""


async def test_number_beyond_64_bits(shared_desk: Desk) -> None:
    """A number that no field can hold is the client's error, also where the document itself holds it."""
    payload = await shared_desk.payload(HUGE, name="Spring", time=SEND_AT, key="huge")
    assert broken_rules(payload) == {"INVALID_VALUE input.filter.match.value"}
