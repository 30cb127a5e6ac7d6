"""Has anything in a database changed? One text for all rows of all tables, read as their owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from store.models import Base

ROWS = " UNION ALL ".join(
    f"SELECT '{name}' AS name, md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) AS rows FROM \"{name}\" t"
    for name in sorted(Base.metadata.tables)
)
FINGERPRINT = text(f"SELECT name, rows FROM ({ROWS}) AS found")


class Witness:
    """Tells which tables have changed since it was asked last."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._seen: dict[str, str | None] = {}

    async def changed(self) -> set[str]:
        """The tables in which a row was made, changed or deleted, by whomever."""
        found = {row.name: row.rows for row in await self._connection.execute(FINGERPRINT)}
        changed = {name for name, rows in found.items() if self._seen.get(name) != rows}
        self._seen = found
        return changed


@asynccontextmanager
async def witness(url: str) -> AsyncIterator[Witness]:
    """Of the database as it is now; row security binds everyone but the owner."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            found = Witness(connection)
            await found.changed()
            yield found
    finally:
        await engine.dispose()
