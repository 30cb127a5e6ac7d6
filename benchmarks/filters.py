"""How long does an audience take to count? Filters of several kinds, interleaved, in a company of 200,000 contacts.

Run by hand (`python -m benchmarks.filters`): a database of its own is made, filled and thrown away. The statements
are those of the gateway, run as its role beneath row security. Absolute figures belong to the machine that is
printed with them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from store.audience import Audience, audience_counts
from store.database import Database, Scope, owner_transaction
from store.embedded import embedded_server
from store.filters import CATALOGUE_ROWS, Catalogue, Filter, read_filter
from store.migrate import migrate
from store.models import CampaignType, JsonValue

FILL = """
INSERT INTO companies (name) VALUES ('Acme'), ('Globex');
INSERT INTO fields (company_id, owner, custom, type, name, label) VALUES
    (1, 'CONTACT', true, 'TEXT', 'segment', 'Segment'), (1, 'CONTACT', true, 'INTEGER', 'cars', 'Cars'),
    (1, 'CONTACT', true, 'MULTIPLE_CHOICE', 'interests', 'Interests');
INSERT INTO accounts (company_id, name) SELECT 1, 'Organisation ' || n FROM generate_series(1, :contacts / 3) AS n;
CREATE TEMPORARY TABLE numbered AS SELECT id, row_number() OVER () AS place FROM accounts;
INSERT INTO contacts (company_id, account_id, status, first_name, last_name, email, mobile_phone_number, address,
    zip_code, city, country, custom_fields, email_consent_given, letter_consent_given, call_consent_given, created_at)
SELECT 1 + (n > :contacts)::integer, numbered.id, (ARRAY['LEAD', 'OPPORTUNITY', 'CUSTOMER', NULL])[1 + n % 4],
    initcap(substr(md5(n || 'first'), 1, 6)), initcap(substr(md5((n % 5000)::text), 1, 8)),
    CASE WHEN n % 12 > 0 THEN 'Person.' || n % 190000 || '@Example.com' END,
    CASE WHEN n % 5 > 0 THEN '+45 20 ' || to_char(n, 'FM00 00 00') END, 'Street ' || n % 120,
    to_char(n % 900, 'FM0000'), 'City ' || n % 300, (ARRAY['Denmark', 'Germany', 'France'])[1 + n % 3],
    jsonb_build_object('segment', (ARRAY['North', 'South', 'Coast'])[1 + n % 3], 'cars', n % 5,
        'interests', jsonb_build_array((ARRAY['Music', 'Food', 'Art'])[1 + n % 3], 'Travel')),
    (ARRAY[true, true, true, false, NULL])[1 + n % 5], n % 4 > 0, n % 7 > 0,
    '2026-01-01'::timestamptz - n * interval '1 minute'
FROM generate_series(1, :contacts + :contacts / 10) AS n LEFT JOIN numbered ON place = n % (:contacts / 2)
    AND n <= :contacts
"""
NAME, CITY, SEGMENT = "contact.fixed_fields.last_name", "contact.fixed_fields.city", "contact.custom_fields.segment"


def compared(field: str, operator: str, value: JsonValue) -> JsonValue:
    return {"field": field, "operator": operator, "value": value}


FILTERS: dict[str, list[JsonValue]] = {
    "last name eq (indexed)": [compared(NAME, "eq", "C4CA4238")],
    "last name sw (indexed)": [compared(NAME, "sw", "c4")],
    "city in 3 (indexed)": [compared(CITY, "in", ["city 1", "city 2", "city 3"])],
    "last name ct": [compared(NAME, "ct", "ca4")],
    "custom text eq": [compared(SEGMENT, "eq", "north")],
    "custom number gte": [compared("contact.custom_fields.cars", "gte", 4)],
    "custom choices in": [compared("contact.custom_fields.interests", "in", ["music", "art"])],
    "account name eq": [compared("account.name", "eq", "organisation 77")],
    "account name ct": [compared("account.name", "ct", "77")],
    "nested": [
        {
            "or": [
                compared(CITY, "eq", "city 7"),
                {"and": [compared(SEGMENT, "neq", "North"), compared(NAME, "sw", "c")]},
            ]
        },
        {"or": [compared("account.name", "nct", "7"), compared("contact.status", "eq", "lead")]},
    ],
    "all contacts": [compared("contact.created_at", "exists", True)],
}


async def prepare(url: str, contacts: int) -> float:
    """Fills the database; the seconds that the contacts took."""
    await migrate(url)
    async with owner_transaction(url) as connection:
        for statement in FILL.split(";\n"):
            started = time.perf_counter()
            await connection.execute(text(statement.replace(":contacts", str(contacts))))
    seconds = time.perf_counter() - started
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("VACUUM (ANALYZE)"))
    await engine.dispose()
    return seconds


async def measure(url: str, rounds: int) -> dict[tuple[str, CampaignType], tuple[int, list[float]]]:
    """For each filter and type: how many are reached, and the milliseconds of every round."""
    database = Database(url, pool_size=1)
    scope = Scope(1, 1, True)
    found: dict[tuple[str, CampaignType], tuple[int, list[float]]] = {}
    async with database.reading(scope) as reader:
        catalogue = Catalogue.of_rows(await reader.rows(CATALOGUE_ROWS, {"company_id": scope.company_id}))
        filters: dict[str, Filter] = {}
        for name, given in FILTERS.items():
            reading = read_filter(given, catalogue)
            assert reading.filter is not None, reading.problems
            filters[name] = reading.filter
        # The first round fills the caches and is not counted.
        for counted in range(rounds + 1):
            for name, filter in filters.items():
                for type in CampaignType:
                    started = time.perf_counter()
                    rows = await reader.rows(audience_counts(scope.company_id, [Audience(type, filter)]), {})
                    taken = (time.perf_counter() - started) * 1000
                    reached = sum(row.contacts for row in rows if row.reason is None)
                    _, times = found.setdefault((name, type), (reached, []))
                    if counted:
                        times.append(taken)
    await database.close()
    return found


def show(found: dict[tuple[str, CampaignType], tuple[int, list[float]]], contacts: int, seconds: float) -> None:
    table = Table("filter", "type", "reached", "milliseconds (median)")
    for (name, type), (reached, times) in found.items():
        table.add_row(name, type, f"{reached:,}", f"{statistics.median(times):.0f}")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    filled = f"{contacts:,} contacts in the company; {seconds / contacts / 1.1 * 1e6:.0f} µs to insert one"
    Console().print(f"{datetime.now(UTC):%Y-%m-%d} on {machine}; {filled}", table, sep="\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--contacts", type=int, default=200_000)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-bench-") as directory,
        embedded_server(Path(directory) / "postgres", durable=False, log=lambda _: None) as server,
    ):
        url = server.url("postgres")
        seconds = asyncio.run(prepare(url, given.contacts))
        show(asyncio.run(measure(url, given.rounds)), given.contacts, seconds)


if __name__ == "__main__":
    main()
