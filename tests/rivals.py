"""Which rows would show up if companies were not kept apart?

The small world, with two rivals of acme: globex, whose rows have ids of their own, and a twin, whose rows have the
same ids as acme's (keys are those of one company, so they may). Every text of theirs holds `MARK`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from sqlalchemy import String, Table, Text, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from resolvers import global_ids
from schema.registry import SOURCES
from store.database import owner_transaction
from store.models import Base, CampaignDelivery, Company, Export, File, Template, User
from store.sql_types import AnyRow
from tests.build import NOW, Builder, TestCompany

MARK = "globex"
# Users are found by their id alone when they sign in, so theirs are the only ids that no two companies share.
TWIN_USERS = 1_000_000
OWNED = [
    table for table in Base.metadata.sorted_tables if "company_id" in table.columns and table.name != "access_tokens"
]

Keys = Mapping[str, list[object]]


@dataclass(frozen=True)
class Crowd:
    """Acme and its rivals; `own` and `foreign` are the keys of acme's and globex's rows by type."""

    acme: TestCompany
    globex: TestCompany
    own: Keys
    foreign: Keys

    @property
    def admin(self) -> str:
        """The token of acme's administrator."""
        return self.acme.tokens["admin"]

    @property
    def own_ids(self) -> dict[str, list[str]]:
        return encoded(self.own)

    @property
    def foreign_ids(self) -> dict[str, list[str]]:
        return encoded(self.foreign)

    @cached_property
    def traces(self) -> tuple[str, ...]:
        """The texts that only globex's rows have: their global ids, and the keys that are unique."""
        keys = (str(key) for keys in self.foreign.values() for key in keys if isinstance(key, UUID))
        return (*keys, *(id_ for ids in self.foreign_ids.values() for id_ in ids))

    def is_foreign(self, value: object) -> bool:
        """Whether a text in the value comes from a rival's row."""
        found = str(value)
        return MARK in found.lower() or any(trace in found for trace in self.traces)


def encoded(keys: Keys) -> dict[str, list[str]]:
    return {typename: [global_ids.encode(typename, key) for key in found] for typename, found in keys.items()}


async def crowd_in(url: str, acme: TestCompany, globex: TestCompany) -> Crowd:
    """Makes the small world at `url` the crowd."""
    async with owner_transaction(url) as connection:
        # The only type of which the small world has no row with all its groups of fields.
        margins = dict.fromkeys(("margin_top", "margin_right", "margin_bottom", "margin_left"), 20.0)
        build = Builder(connection)
        await build.add(Template, company_id=acme.id, user_id=acme.admin, type="LETTER", title="Letter", **margins)
        file_id = await build.add(File, company_id=acme.id, name="letters.zip")
        archive = {
            "kind": "LETTERS",
            "format": "ZIP",
            "status": "COMPLETED",
            "campaign_id": acme.rows["sent"],
            "created_at": NOW,
        }
        await build.add(Export, company_id=acme.id, requested_by_id=acme.admin, file_id=file_id, **archive)
        # An expired export has no other text that could be marked.
        await connection.execute(update(Export).values(parameters={"search": "Ada"}))
        # Of acme's alone: marked, the names in it would not be found.
        columns = [{"name": "id", "header": "Id"}]
        await connection.execute(update(Export).where(Export.company_id == acme.id).values(columns=columns))
        await mark(connection, globex.id)
        await add_twin(build, connection, acme.id)
        # Of acme's alone as well: marked, it would be no code.
        problem = {"problem_code": "NOBODY_REACHED", "problem_message": "Nobody could be reached."}
        await connection.execute(
            update(CampaignDelivery).where(CampaignDelivery.company_id == acme.id).values(**problem)
        )
        own, foreign = await keys_of(connection, acme.id), await keys_of(connection, globex.id)
    return Crowd(acme, globex, own, foreign)


async def keys_of(connection: AsyncConnection, company_id: int) -> Keys:
    """The keys of all rows of a company, by the types of the graph."""
    found: dict[str, list[object]] = {}
    for typename, source in SOURCES.items():
        company = source.table.c.id if source.table.name == "companies" else source.table.c.company_id
        keys = select(source.key_column).where(company == company_id).order_by(source.key_column)
        found[typename] = list(await connection.scalars(keys))
    return found


async def mark(connection: AsyncConnection, company_id: int) -> None:
    """Puts the mark into all texts of a company's rows."""
    for table in OWNED:
        for row in await rows_of(connection, table, company_id):
            this = [column == row._mapping[column.name] for column in table.primary_key.columns]
            await connection.execute(update(table).where(*this).values(marked_row(table, row)))


async def add_twin(build: Builder, connection: AsyncConnection, company_id: int) -> None:
    """Copies a company's rows to another company, under the same ids, with the mark in all texts."""
    twin_id = await build.add(Company, name=marked("Twin"))
    for table in OWNED:
        users = columns_of_users(table)
        copies = []
        for row in await rows_of(connection, table, company_id):
            copy = {**marked_row(table, row), "company_id": twin_id}
            copies.append({name: shifted(value) if name in users else value for name, value in copy.items()})
        if copies:
            await connection.execute(insert(table).values(copies))


async def rows_of(connection: AsyncConnection, table: Table, company_id: int) -> list[AnyRow]:
    found = await connection.execute(select(table).where(table.c.company_id == company_id))
    return list(found.all())


def columns_of_users(table: Table) -> set[str]:
    """The columns that hold a user's id."""
    referring = {
        key.parent.name for key in table.foreign_keys if key.column.table is User.__table__ and key.column.name == "id"
    }
    return referring | ({"id"} if table is User.__table__ else set())


def shifted(user_id: object) -> object:
    return user_id + TWIN_USERS if isinstance(user_id, int) else user_id


def marked_row(table: Table, row: AnyRow) -> dict[str, object]:
    """The row's values for the columns that are not derived, marked."""
    texts = free_texts(table)
    return {
        column.name: marked(row._mapping[column.name], column.type)
        if column.name in texts
        else row._mapping[column.name]
        for column in table.columns
        if column.computed is None
    }


def marked(value: object, type_: object = None) -> object:
    """The value with the mark before all its texts, those in JSON too, cut to the column's length."""
    if isinstance(value, str):
        return f"{MARK} {value}"[: type_.length if isinstance(type_, String) else None]
    if isinstance(value, dict):
        return {marked(key): marked(child) for key, child in value.items()}
    return [marked(child) for child in value] if isinstance(value, list) else value


def free_texts(table: Table) -> set[str]:
    """The columns that may hold any text, alone or in JSON."""
    checks = " ".join(str(getattr(constraint, "sqltext", "")) for constraint in table.constraints)
    return {
        column.name
        for column in table.columns
        if isinstance(column.type, String | Text | JSONB) and f"{column.name} IN (" not in checks
    }


async def leave_alone(url: str, company: TestCompany) -> None:
    """Deletes all other companies."""
    async with owner_transaction(url) as connection:
        await connection.execute(text("DELETE FROM companies WHERE id <> :id"), {"id": company.id})


async def switch_row_security_off(url: str) -> None:
    async with owner_transaction(url) as connection:
        for table in Base.metadata.sorted_tables:
            await connection.execute(text(f"ALTER TABLE {table.name} DISABLE ROW LEVEL SECURITY"))
