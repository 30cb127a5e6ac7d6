"""What do rows look like of which much is missing? Copies of a world's rows, with null where the database takes it."""

from __future__ import annotations

from random import Random

from sqlalchemy import Column, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import owner_transaction
from store.models import Base

# Nobody reads these by the graph.
UNREAD = {"companies", "access_tokens", "jobs", "previews", "idempotency_keys"}
# There is one of each other row, so there can be no copies.
SINGLE = {"campaign_settings", "campaign_deliveries", "campaign_messages"}
NAMES = {"email", "name", "address"}
COPIES = 3
# The keys of the rows that there are, by company.
Keys = dict[int, list[object]]


async def add_holes(url: str, company_id: int) -> dict[str, int]:
    """How many rows there are now that lack something, by table; what a constraint refuses is left out.

    Copies hang on any rows of their company, copies too, so that many have a few below them and others none. Of what
    there is one only, that of this company is emptied.
    """
    made: dict[str, int] = {}
    keys: dict[str, Keys] = {}
    async with owner_transaction(url) as connection:
        for table in Base.metadata.sorted_tables:
            if table.name in SINGLE:
                made[table.name] = await emptied(connection, table, company_id)
            elif table.name not in UNREAD:
                made[table.name] = await copied(connection, table, keys)
            if "id" in table.columns and "company_id" in table.columns:
                keys[table.name] = await keys_of(connection, table)
    return made


async def keys_of(connection: AsyncConnection, table: Table) -> Keys:
    found: Keys = {}
    for row in await connection.execute(select(table.c.company_id, table.c.id).order_by(table.c.id)):
        found.setdefault(row.company_id, []).append(row.id)
    return found


async def copied(connection: AsyncConnection, table: Table, keys: dict[str, Keys]) -> int:
    made = 0
    rows = (await connection.execute(select(table).order_by(*table.primary_key.columns))).mappings().all()
    for number, row in enumerate(rows):
        for copy in range(COPIES):
            random = Random(f"{table.name} {number} {copy}")
            values = {
                column.name: value
                for column in table.columns
                if column.name != "id" and column.computed is None
                if (value := thinned(column, row[column.name], copy, random)) is not None
            }
            for name, referenced in references(table).items():
                # In a fixed order, and not of what leads to its own table.
                if name in values and referenced in keys:
                    values[name] = random.choice(keys[referenced][row["company_id"]])
            try:
                async with connection.begin_nested():
                    await connection.execute(insert(table).values(values))
                made += 1
            except IntegrityError:
                continue
    return made


def references(table: Table) -> dict[str, str]:
    """The columns that alone name rows of the same company, with the tables of those."""
    several = [set(each.column_keys) for each in table.foreign_key_constraints if len(each.elements) > 2]
    return {
        key.parent.name: key.column.table.name
        for constraint in table.foreign_key_constraints
        for key in constraint.elements
        if key.column.name == "id" and key.parent.name not in {"company_id"}.union(*several)
    }


def thinned(column: Column[object], value: object, copy: int, random: Random) -> object:
    """The first copy has nothing that it need not have; the others lack about a third. Names are new."""
    if column.nullable and (copy == 0 or random.randrange(3) == 0):
        return None
    return f"{copy}{value}" if isinstance(value, str) and column.name in NAMES else value


async def emptied(connection: AsyncConnection, table: Table, company_id: int) -> int:
    made = 0
    for column in table.columns:
        if column.nullable:
            try:
                async with connection.begin_nested():
                    found = await connection.execute(
                        update(table).where(table.c.company_id == company_id).values({column.name: None})
                    )
                made += found.rowcount
            except IntegrityError:
                continue
    return made
