"""Do filters select whom their rules say, whatever is stored and asked, and refuse what they cannot mean?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import owner_transaction
from store.filters import (
    OPERATORS,
    Operator,
    condition,
)
from store.models import Contact
from tests import filter_oracle as oracle
from tests.databases import Databases, as_application
from tests.filter_world import ACME, CATALOGUE, GLOBEX, PEOPLE, checked, fill

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.filter_databases"]

TEXT, NUMBER, DAY = (f"contact.custom_fields.{name}" for name in ("text", "number", "date"))
LAST_NAME, CREATED = "contact.fixed_fields.last_name", "contact.created_at"
SEVERAL = st.lists(oracle.FILTERS, min_size=6, max_size=8)
AT_LENGTH = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def compared(field: str, operator: str, value: oracle.Json) -> dict[str, oracle.Json]:
    return {"field": field, "operator": operator, "value": value}


async def found(connection: AsyncConnection, filters: list[oracle.Json], company_id: int = ACME) -> list[list[UUID]]:
    """The ids of the contacts that each filter selects in a company, of what the connection sees."""
    columns = [
        func.array(
            select(Contact.id)
            .where(Contact.company_id == company_id, condition(checked(given)))
            .order_by(Contact.id)
            .scalar_subquery()
        )
        for given in filters
    ]
    (row,) = (await connection.execute(select(*columns))).all()
    return [list(column) for column in row]


def expected(filters: list[oracle.Json], people: list[oracle.Person] = PEOPLE) -> list[list[UUID]]:
    return [[person.row["id"] for person in people if oracle.selected(given, person)] for given in filters]


@AT_LENGTH
@given(SEVERAL)
async def test_filters_select_whom_the_rules_say(acme: AsyncConnection, filters: list[oracle.Json]) -> None:
    """Whatever is stored and asked, beneath row security exactly the company's contacts that satisfy it are found."""
    assert await found(acme, filters) == expected(filters)


async def test_companies_stay_apart_without_row_security(unbound: AsyncConnection) -> None:
    """Accounts and lists of another company count for nothing even where the ids are the same and all rows are seen."""
    filters = [[compared(path, "exists", True)] for path in oracle.PLACES]
    filters += [[compared("contact.list.id", operator, [id])] for id in oracle.LISTS for operator in oracle.SETS]
    filters += [[compared("account.name", operator, "a")] for operator in ("sw", "nct")]
    assert await found(unbound, filters) == expected(filters)


async def test_filters_see_one_company(acme: AsyncConnection) -> None:
    """The other company's contacts are not there for a statement that forgets to name its own."""
    everybody = condition(checked([compared(CREATED, "exists", True)]))
    assert await acme.scalar(select(func.count()).where(everybody).select_from(Contact)) == len(PEOPLE)
    assert await found(acme, [[compared(CREATED, "exists", True)]], GLOBEX) == [[]]


async def test_letters_of_the_rules_are_folded_alike(acme: AsyncConnection) -> None:
    """The database makes the characters that these tests are written with small as Python does."""
    folded = await acme.scalar(select(func.lower(oracle.ALPHABET)))
    assert folded == oracle.ALPHABET.lower()


@settings(AT_LENGTH, max_examples=200)
@given(oracle.FILTERS)
def test_stored_filter_is_the_same(asked: oracle.Json) -> None:
    """What is stored of a filter survives JSON, reads as an equal filter with an equal hash, and selects the same."""
    filter = checked(asked)
    stored = json.loads(json.dumps(filter.as_json()))
    assert checked(stored) == filter
    assert hash(checked(stored)) == hash(filter)
    assert expected([stored], PEOPLE[:40]) == expected([asked], PEOPLE[:40])


# Four contacts: `a` and `b` have values, `c` has empty texts and JSON of other types, `d` has nothing.
def table_person(letter: str, account: oracle.Row | None, lists: set[int], **values: oracle.Json) -> oracle.Person:
    row: oracle.Row = dict.fromkeys(PEOPLE[0].row)
    row |= {"id": UUID(int=ord(letter)), "b2c": False, "custom_fields": {}, "created_at": T0, "updated_at": T0}
    return oracle.Person({**row, "account_id": account["id"] if account else None, **values}, account, lists)


def table_account(number: int, **values: oracle.Json) -> oracle.Row:
    row: oracle.Row = {"id": UUID(int=number), "b2c": False, "created_at": T0, "updated_at": T0}
    return {**row, "name": "", "fixed_fields": {}, "custom_fields": {}, **values}


T0, T1 = oracle.TIMES[:2]
A = table_person(
    "a",
    table_account(1, name="Byron Ltd", b2c=True, fixed_fields={"text": "DK1"}, custom_fields={"integer": 10}),
    {1},
    last_name="Mertz",
    status="LEAD",
    user_id=1,
    team_id=1,
    date_of_birth=date(1980, 2, 29),
    email_consent_given=True,
    email_consent_updated_at=T0,
    latest_activity_at=T0,
    custom_fields={
        "text": "100%_\\ North",
        "integer": 2,
        "number": 2.1,
        "date": "2026-01-31",
        "boolean": True,
        "single_choice": "Gold",
        "multiple_choice": ["Music", "Food"],
    },
)
B = table_person(
    "b",
    table_account(2, name="Østergård", created_at=T1, fixed_fields={"text": 1}, custom_fields={"integer": "10"}),
    {1, 2},
    last_name="ÖBERG",
    status="CUSTOMER",
    b2c=True,
    user_id=2,
    team_id=2,
    date_of_birth=date(1990, 1, 1),
    email_consent_given=False,
    created_at=T1,
    latest_activity_at=T1,
    custom_fields={
        "text": "100 xx South",
        "integer": 3,
        "number": -1,
        "date": "2024-02-29",
        "boolean": False,
        "single_choice": "SILVER",
        "multiple_choice": ["music"],
    },
)
C = table_person(
    "c",
    table_account(3),
    set(),
    last_name="",
    custom_fields={
        "text": 100,
        "integer": "2",
        "number": True,
        "date": "2026-02-29",
        "boolean": "true",
        "single_choice": ["Gold"],
        "multiple_choice": "Music",
    },
)
D = table_person("d", None, set())
TABLE: dict[str, list[tuple[str, oracle.Json, str]]] = {
    LAST_NAME: [
        ("eq", "MERTZ", "a"), ("neq", "mertz", "bcd"), ("sw", "öb", "b"), ("ew", "TZ", "a"), ("ct", "er", "ab"),
        ("nct", "ert", "bcd"), ("in", ["öberg", "nobody"], "b"), ("nin", ["Öberg", "x"], "acd"),
        ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    TEXT: [
        ("eq", "100%_\\ NORTH", "a"), ("neq", "100%_\\ north", "bcd"), ("sw", "100", "ab"), ("sw", "100%", "a"),
        ("sw", "1_", ""), ("ew", "th", "ab"), ("ct", "%", "a"), ("ct", "_", "a"), ("ct", "\\", "a"), ("ct", "xx", "b"),
        ("nct", "%", "bcd"), ("in", ["100%_\\ north", "100 XX SOUTH"], "ab"), ("nin", ["100 xx south"], "acd"),
        ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    "contact.custom_fields.single_choice": [
        ("eq", "gold", "a"), ("neq", "gold", "bcd"), ("sw", "SI", "b"), ("ew", "d", "a"), ("ct", "l", "ab"),
        ("nct", "o", "bcd"), ("in", ["Gold", "Silver"], "ab"), ("nin", ["Gold"], "bcd"), ("exists", True, "ab"),
    ],
    "contact.custom_fields.integer": [
        ("eq", 2, "a"), ("eq", 2.0, "a"), ("neq", 2, "bcd"), ("gt", 2, "b"), ("gte", 2, "ab"), ("lt", 2.5, "a"),
        ("lte", 3, "ab"), ("in", [3, 4], "b"), ("nin", [3, 4], "acd"), ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    NUMBER: [
        ("eq", 2.1, "a"), ("neq", 2.1, "bcd"), ("gt", -1, "a"), ("gte", -1, "ab"), ("lt", 0, "b"), ("lte", -2, ""),
        ("in", [-1.0, 2.1], "ab"), ("nin", [-1], "acd"), ("exists", False, "cd"),
    ],
    DAY: [
        ("eq", "2026-01-31", "a"), ("neq", "2026-01-31", "bcd"), ("gt", "2024-02-29", "a"), ("gte", "2024-02-29", "ab"),
        ("lt", "2025-01-01", "b"), ("lte", "2026-01-31", "ab"), ("in", ["2024-02-29"], "b"),
        ("nin", ["2024-02-29"], "acd"), ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    "contact.fixed_fields.date_of_birth": [
        ("eq", "1980-02-29", "a"), ("neq", "1980-02-29", "bcd"), ("gt", "1980-02-29", "b"), ("lt", "1990-01-01", "a"),
        ("in", ["1990-01-01"], "b"), ("exists", False, "cd"),
    ],
    "contact.latest_activity_at": [
        ("eq", "2026-01-01T00:00:00Z", "a"), ("neq", "2026-01-01T00:00:00Z", "bcd"), ("gt", "2026-01-01 01:00:00", "b"),
        ("gte", "2026-01-01 01:00:00", "ab"), ("lt", "2026-01-02", "ab"), ("lte", "2026-01-01T00:00:00Z", "a"),
        ("lt", "2026-01-01", ""), ("gt", "2026-01-01", "ab"), ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    "contact.custom_fields.boolean": [
        ("eq", True, "a"), ("eq", False, "b"), ("neq", True, "bcd"), ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    "contact.consent.email.consent_given": [
        ("eq", True, "a"), ("eq", False, "b"), ("neq", False, "acd"), ("exists", False, "cd"),
    ],
    "contact.consent.email.updated_at": [("exists", True, "a"), ("lte", "2026-01-01T00:00:00Z", "a")],
    "contact.b2c": [("eq", True, "b"), ("neq", True, "acd"), ("exists", True, "abcd")],
    "contact.custom_fields.multiple_choice": [
        ("eq", "MUSIC", "ab"), ("eq", "food", "a"), ("neq", "food", "bcd"), ("in", ["food", "art"], "a"),
        ("nin", ["food", "art"], "bcd"), ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    "contact.status": [
        ("eq", "lead", "a"), ("neq", "LEAD", "bcd"), ("in", ["Lead", "customer"], "ab"), ("nin", ["LEAD"], "bcd"),
        ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    "contact.user.id": [
        ("eq", 1, "a"), ("eq", "2", "b"), ("neq", 1, "bcd"), ("in", [1, "2"], "ab"), ("nin", [1], "bcd"),
        ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    "contact.account.id": [("eq", str(UUID(int=1)), "a"), ("nin", [str(UUID(int=1))], "bcd"), ("exists", False, "d")],
    "contact.list.id": [
        ("eq", 2, "b"), ("neq", 2, "acd"), ("in", [1, 2], "ab"), ("nin", [2, 3], "acd"), ("exists", True, "ab"),
        ("exists", False, "cd"),
    ],
    "account.name": [
        ("eq", "byron ltd", "a"), ("neq", "byron ltd", "bcd"), ("sw", "øst", "b"), ("nct", "r", "cd"),
        ("in", ["BYRON LTD", "x"], "a"), ("nin", ["x"], "abcd"), ("exists", True, "ab"), ("exists", False, "cd"),
    ],
    "account.b2c": [("eq", True, "a"), ("neq", True, "bcd"), ("exists", False, "d")],
    "account.created_at": [("gt", "2026-01-01T00:00:00Z", "b"), ("exists", True, "abc")],
    "account.fixed_fields.text": [("eq", "dk1", "a"), ("exists", False, "bcd")],
    "account.custom_fields.integer": [("gte", 10, "a"), ("neq", 10, "bcd"), ("exists", True, "a")],
}  # fmt: skip
ROWS: list[tuple[str, str, oracle.Json, str]] = [(field, *case) for field, cases in TABLE.items() for case in cases]


@pytest.fixture(scope="module")
def table_database(store_databases: Databases, migrated: str) -> str:
    async def make() -> str:
        url = await store_databases.copy(migrated)
        async with owner_transaction(url) as connection:
            await fill(connection, ACME, [A, B, C, D])
        return url

    return asyncio.run(make())


@pytest.fixture(scope="module")
async def table(table_database: str) -> AsyncIterator[AsyncConnection]:
    async with as_application(table_database, ACME) as connection:
        yield connection


@pytest.mark.parametrize(("field", "operator", "value", "who"), ROWS)
async def test_operator_selects(
    field: str, operator: str, value: oracle.Json, who: str, table: AsyncConnection
) -> None:
    """Each operator of each kind of field selects whom it should of a few contacts that can be overlooked."""
    (ids,) = await found(table, [[compared(field, operator, value)]])
    assert "".join(chr(id.int) for id in ids) == who


def test_table_has_every_operator_of_every_kind() -> None:
    """No operator of any kind of field goes without an example."""
    shown = {(CATALOGUE.fields[field].kind, Operator(operator)) for field, operator, _, _ in ROWS}
    assert shown == {(kind, operator) for kind, operators in OPERATORS.items() for operator in operators}
    assert {
        kind.lower().replace("multiple_choice", "choices"): tuple(o) for kind, o in OPERATORS.items()
    } == oracle.OPERATORS


MANY = """
INSERT INTO companies (name) VALUES ('Acme'), ('Globex');
INSERT INTO teams (company_id, name) SELECT 1 + n % 2, n FROM generate_series(0, 39) n;
INSERT INTO users (company_id, first_name, last_name, email) SELECT 1 + n % 2, n, n, n FROM generate_series(0, 39) n;
INSERT INTO accounts (company_id, name) SELECT 1 + n % 2, n FROM generate_series(0, 39) n;
INSERT INTO contacts (company_id, last_name, email, zip_code, city, status, created_at, team_id, user_id, account_id)
    SELECT 1 + n % 2, md5('l' || n), md5('e' || n) || '@X', md5('z' || n), md5('c' || n),
        CASE WHEN n % 40 > 1 THEN 'LEAD' END, '2026-01-01'::timestamptz + n * interval '1 hour', 1 + n % 40, 1 + n % 40,
        accounts.id
    FROM generate_series(0, 5999) n
    JOIN (SELECT id, company_id, row_number() OVER () AS place FROM accounts) AS accounts
        ON accounts.company_id = 1 + n % 2 AND place = 1 + n % 40;
ANALYZE
"""
INDEXED = ("last_name", "email", "zip_code", "city")


@pytest.fixture(scope="module")
def many_database(store_databases: Databases, migrated: str) -> str:
    """Two companies with some thousand contacts each."""

    async def make() -> str:
        url = await store_databases.copy(migrated)
        async with owner_transaction(url) as connection:
            for statement in MANY.split(";\n"):
                await connection.exec_driver_sql(statement)
        return url

    return asyncio.run(make())


@pytest.fixture(scope="module")
async def many(many_database: str) -> AsyncIterator[AsyncConnection]:
    """Reading the whole table is so dear that it is done only where no index serves."""
    async with as_application(many_database, ACME) as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        yield connection


@pytest.mark.parametrize(
    ("asked", "searched"),
    [
        *((compared(f"contact.fixed_fields.{name}", "eq", "0A"), f"folded_{name} = ") for name in INDEXED),
        *((compared(f"contact.fixed_fields.{name}", "in", ["0A", "0B"]), f"folded_{name} = ") for name in INDEXED),
        *((compared(f"contact.fixed_fields.{name}", "sw", "0A"), f"folded_{name} >= ") for name in INDEXED),
        (compared(CREATED, "gte", "2026-09-01"), "created_at >= "),
        (compared("contact.team.id", "eq", 1), "team_id = 1"),
        (compared("contact.user.id", "in", [1, 3]), "user_id = "),
        (compared("contact.account.id", "eq", str(UUID(int=7))), "account_id = "),
        (compared("account.name", "eq", "7"), "sort_name = "),
    ],
)
async def test_condition_is_searched_in_an_index(asked: oracle.Json, searched: str, many: AsyncConnection) -> None:
    """Beneath row security the usual conditions choose the part of an index that is read."""
    statement = select(Contact.id).where(Contact.company_id == ACME, condition(checked([asked])))
    compiled = statement.compile(dialect=many.dialect)
    parameters = tuple(compiled.params[name] for name in compiled.positiontup or ())
    plan = "\n".join((await many.exec_driver_sql(f"EXPLAIN {compiled}", parameters)).scalars())
    conditions = [line for line in plan.splitlines() if "Index Cond" in line]
    assert any(searched in line for line in conditions), plan
