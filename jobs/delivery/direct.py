"""How is one statement run thousands of times a second? On a connection of its own, past SQLAlchemy, prepared once."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
from sqlalchemy import PoolProxiedConnection

from jobs.faults import is_lost_database
from store.database import Database, Parameters
from store.faults import UNREACHABLE_STATES
from store.sql_types import AnySelect
from store.statements import driver_statement

CLOSING_SECONDS = 2.0
# For all that this connection does; a transaction of its own for each statement would be three more messages.
SET_COMPANY = "SELECT set_config('app.company_id', $1, false)"


class DirectConnection:
    """A connection in one company, made when it is used and made again after it was lost."""

    def __init__(self, database: Database, company_id: int, statement: AnySelect) -> None:
        """`statement`: what is run; its parameters are named when it is."""
        self._database = database
        self._company_id = company_id
        self._statement = driver_statement(statement, database.engine.dialect)
        self._connection: asyncpg.Connection | None = None

    async def rows(self, parameters: Sequence[Parameters]) -> list[tuple[object, ...]]:
        """What the statement answers to each of these, in one transaction and one message.

        Raises `ConnectionError` for what passes by itself: whether the statement was carried out is not known.
        """
        arguments = [self._statement.arguments(each) for each in parameters]
        try:
            connection = await self._opened()
            found = await connection.fetchmany(self._statement.sql, arguments)
        except BaseException as error:
            self._drop()
            if isinstance(error, Exception) and passes(error):
                raise ConnectionError("The database could not carry the statement out.") from error
            raise
        return [tuple(row) for row in found]

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(timeout=CLOSING_SECONDS)

    async def _opened(self) -> asyncpg.Connection:
        if self._connection is None:
            pooled = await self._pooled()
            connection = pooled.driver_connection
            assert connection is not None
            pooled.detach()
            self._connection = connection
            await connection.execute(SET_COMPANY, str(self._company_id))
        return self._connection

    async def _pooled(self) -> PoolProxiedConnection:
        engine = self._database.engine
        try:
            return await engine.raw_connection()
        except engine.dialect.loaded_dbapi.Error as error:
            # Connecting failed, whatever the server's reason.
            raise ConnectionError("The database cannot be reached.") from error

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def passes(error: Exception) -> bool:
    """Whether trying again on another connection may help: it was lost, or the transaction given up for others'."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(UNREACHABLE_STATES)
    return is_lost_database(error)
