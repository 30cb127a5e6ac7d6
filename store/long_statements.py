"""How does a statement over a whole audience get the time that it takes?"""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from store.faults import UNREACHABLE_STATES
from store.sql_types import AnySelect
from store.statements import driver_statement

# It reads or writes a row for each of hundreds of thousands of people; a usual statement may take less.
LONGEST_SECONDS = 600.0
# The server gives up first, and says why.
GRACE_SECONDS = 5.0


async def rows_in_time(
    session: AsyncSession, statement: AnySelect, seconds: float = LONGEST_SECONDS
) -> list[tuple[object, ...]]:
    """The rows of a statement in a session's transaction that may take longer than others, as those after it may.

    Raises `ConnectionError` when the database was lost, or gave the transaction up for others', and the driver's own
    errors for all else.
    """
    await session.execute(select(func.set_config("statement_timeout", str(int(seconds * 1000)), True)))
    connection = await session.connection()
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    assert driver is not None
    asked = driver_statement(statement, connection.dialect)
    try:
        # The driver has a limit of its own, which SQLAlchemy cannot change for one statement.
        found = await driver.fetch(asked.sql, *asked.arguments({}), timeout=seconds + GRACE_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        lost = driver.is_closed()
        if lost:
            # Otherwise the transaction's end would fail on it too.
            await connection.invalidate()
        if lost or str(getattr(error, "sqlstate", "")).startswith(UNREACHABLE_STATES):
            raise ConnectionError("The database could not carry the statement out.") from error
        raise
    return [tuple(row) for row in found]
