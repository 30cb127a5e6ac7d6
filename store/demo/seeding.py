"""How is an empty database filled with the demonstration, all of it or nothing?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from store.database import SET_COMPANY, owner_transaction
from store.demo.files import WriteFile, write_exports
from store.demo.plan import CompanyPlan, Size, companies
from store.demo.statements import Step, read
from store.models import Base

# What is being made, rows done, rows in all.
Progress = Callable[[str, int, int], None]

TOOLS = read("tools")
ROWS = [step for name in ("words", "people", "contacts", "campaigns", "recipients") for step in read(name)]
EXPORTS = read("exports")
EXPORT_PLANS, EXPORT_ROWS = EXPORTS[:-2], EXPORTS[-2:]
TABLES = [table.name for table in Base.metadata.sorted_tables]
COUNTED_TABLES = [
    table.name
    for table in Base.metadata.sorted_tables
    if "id" in table.columns and table.columns["id"].identity is not None
]
# The rows are of no use before the last statement, and the whole can be made again: nothing waits for the disk.
SETTINGS = {
    "synchronous_commit": "off",
    "timezone": "UTC",
    "jit": "off",
    "work_mem": "64MB",
    "temp_buffers": "128MB",
}


class AlreadySeeded(Exception):
    """The database holds a company already, so nothing was made."""


class Bar:
    """Counts the rows of the larger steps, as planned, so that the end is known from the start."""

    def __init__(self, plans: Sequence[CompanyPlan], show: Progress) -> None:
        self._show = show
        self._done = 0
        self._total = sum(sum(plan.rows().values()) for plan in plans)

    def add(self, what: str, rows: int) -> None:
        self._done += rows
        self._show(what, self._done, self._total)


async def is_seeded(url: str) -> bool:
    """Whether the database holds any company, made up or real; `url` signs in as the tables' owner."""
    async with owner_transaction(url) as connection:
        return await has_company(connection)


async def seed(
    url: str,
    size: Size,
    *,
    seed: int,
    now: datetime,
    write_file: WriteFile,
    progress: Progress,
) -> None:
    """Fill the migrated, empty database at `url`; its user owns the tables and may make temporary ones.

    The same seed, size and `now` (aware) give the same rows, ids included. Everything is one transaction; the
    files are written before it commits, so that no export can want its file. Raises AlreadySeeded when there is
    a company already.
    """
    plans = companies(size)
    bar = Bar(plans, progress)
    async with owner_transaction(url) as connection:
        # Two at once wait for each other here; reading goes on meanwhile.
        await connection.execute(text("LOCK TABLE companies IN SHARE ROW EXCLUSIVE MODE"))
        if await has_company(connection):
            raise AlreadySeeded("The database holds companies already; seeding needs an empty one.")
        for name, value in SETTINGS.items():
            await connection.execute(text(f"SET LOCAL {name} = '{value}'"))
        run = Run(connection, seed, now.replace(microsecond=0), write_file, bar)
        for plan in plans:
            await run.fill(plan)
    bar.add("statistics", 0)
    await count(url)
    bar.add("done", 0)


async def count(url: str) -> None:
    """Give the planner its statistics and index-only scans their visibility map, which cannot wait for autovacuum."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"VACUUM (ANALYZE) {', '.join(TABLES)}"))
    finally:
        await engine.dispose()


async def has_company(connection: AsyncConnection) -> bool:
    """Row security shows even the owner one company at a time, so every id that was ever given out is asked for.

    A superuser, whom it does not bind, gets the answer at the first.
    """
    last = await connection.scalar(text("SELECT last_value FROM companies_id_seq"))
    for company_id in range(1, (last or 0) + 1):
        await connection.execute(SET_COMPANY, {"company_id": str(company_id)})
        if await connection.scalar(text("SELECT EXISTS (SELECT FROM companies)")):
            return True
    return False


@dataclass(frozen=True)
class Run:
    """One seeding under way, inside its transaction."""

    connection: AsyncConnection
    seed: int
    now: datetime
    write_file: WriteFile
    bar: Bar

    async def fill(self, plan: CompanyPlan) -> None:
        """Make one company and everything of it."""
        await self.connection.execute(SET_COMPANY, {"company_id": str(plan.company_id)})
        salt = int.from_bytes(hashlib.sha256(f"{self.seed}/{plan.company_id}".encode()).digest()[:7], "big")
        for tool in TOOLS:
            sql = tool.sql.replace("__salt__", str(salt)).replace("__now__", self.now.isoformat())
            await self.connection.execute(text(sql))
        for step in (*ROWS, *EXPORT_PLANS):
            await self.take(step, plan)
        await write_exports(self.connection, plan.company_id, self.write_file)
        for step in EXPORT_ROWS:
            await self.take(step, plan)
        for table in COUNTED_TABLES:
            # What is added later gets the ids after these; the names are those of the models.
            advance = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"  # noqa: S608 - names of our own tables
            await self.connection.execute(text(advance))

    async def take(self, step: Step, plan: CompanyPlan) -> None:
        portions = list(step.portions(plan.sizes()))
        rows = plan.rows().get(step.name, 0)
        self.bar.add(step.name, 0)
        for done, (first, last) in enumerate(portions, start=1):
            parameters = {**plan.parameters(), "first": first, "last": last}
            await self.connection.execute(step.statement, parameters)
            self.bar.add(step.name, rows * done // len(portions) - rows * (done - 1) // len(portions))
