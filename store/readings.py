"""How is a connection had for one reading: in a company, of one moment, unable to change anything?

These connections are the driver's own, beside SQLAlchemy's: a reading begins with one message and ends with one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
import orjson
from sqlalchemy import Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from store.sql_types import AnyRow
from store.statements import Row, kept_driver_statement

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT set_config('app.company_id', '{}', true)"
# The driver's: the last is its word for a connection that is lost while it answers.
FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
KEPT_PREPARED = 500
CLOSING_SECONDS = 5.0


class Readings:
    """A pool of connections for readings; `size`: how many there may be at a time."""

    def __init__(self, engine: AsyncEngine, options: Mapping[str, object], *, size: int, patience: float) -> None:
        """`engine`: says where the database is and how statements are written; `options`: how the driver connects.

        `patience`: seconds to wait for a connection when all are in use.
        """
        self._dialect = engine.dialect
        _, where = engine.dialect.create_connect_args(engine.url)
        self._options = {**where, **options}
        self.size = size
        self._patience = patience
        self._opening = asyncio.Lock()
        self._pool: asyncpg.Pool | None = None

    async def begin(self, company_id: int) -> asyncpg.Connection:
        """A connection in a transaction that sees one moment of the company; to be given to `end`.

        Raises `DBAPIError` and `OSError` as SQLAlchemy does, and its `TimeoutError` when all stay in use.
        """
        pool = self._pool or await self._opened()
        # As many may have been cut off while nobody used them; then comes a new one.
        for others in range(self.size, -1, -1):
            connection = await self._acquired(pool)
            try:
                await connection.execute(BEGIN.format(int(company_id)))
            except FAULTS as error:
                lost = is_gone(connection)
                await self.end(connection)
                if not (lost and others):
                    raise fault_of(error, BEGIN, lost=lost) from error
            except BaseException:
                await self.end(connection)
                raise
            else:
                return connection
        raise AssertionError("the last try returns or raises")

    async def alone(self, sql: str, *arguments: object) -> Sequence[AnyRow]:
        """The rows of one statement in a transaction of its own, in which no company is named.

        Raises as `begin` and `rows` do.
        """
        pool = self._pool or await self._opened()
        for others in range(self.size, -1, -1):
            connection = await self._acquired(pool)
            try:
                found: Sequence[AnyRow] = await connection.fetch(sql, *arguments, record_class=Row)
            except FAULTS as error:
                lost = is_gone(connection)
                if not (lost and others):
                    raise fault_of(error, sql, lost=lost) from error
            else:
                return found
            finally:
                await pool.release(connection)
        raise AssertionError("the last try returns or raises")

    async def rows(
        self, connection: asyncpg.Connection, statement: Executable, parameters: Mapping[str, object]
    ) -> Sequence[AnyRow]:
        """The rows of a statement; raises `DBAPIError`, and `TimeoutError` if the server does not answer in time."""
        asked = kept_driver_statement(statement, self._dialect)
        try:
            found: Sequence[AnyRow] = await connection.fetch(asked.sql, *asked.arguments(parameters), record_class=Row)
        except FAULTS as error:
            raise fault_of(error, asked.sql, lost=is_gone(connection)) from error
        return found

    async def end(self, connection: asyncpg.Connection) -> None:
        """Ends the transaction, and gives the connection to the next; one that cannot be ended is closed."""
        assert self._pool is not None
        if is_gone(connection):
            return
        try:
            await connection.execute("ROLLBACK", timeout=CLOSING_SECONDS)
        except BaseException as error:
            if not is_gone(connection):
                connection.terminate()
            if not isinstance(error, (*FAULTS, OSError, TimeoutError)):
                raise
        finally:
            if not is_gone(connection):
                await self._pool.release(connection)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), CLOSING_SECONDS)
            except TimeoutError:
                pool.terminate()

    async def _opened(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                # Empty at first, so nothing is connected to yet.
                self._pool = await asyncpg.create_pool(
                    **self._options,
                    min_size=0,
                    max_size=self.size,
                    max_inactive_connection_lifetime=0,
                    max_queries=2**31,
                    statement_cache_size=KEPT_PREPARED,
                    max_cached_statement_lifetime=0,
                    init=with_json,
                    reset=left_as_it_is,
                )
        return self._pool

    async def _acquired(self, pool: asyncpg.Pool) -> asyncpg.Connection:
        try:
            async with asyncio.timeout(self._patience) as waiting:
                return await pool.acquire()
        except TimeoutError as error:
            if waiting.expired():
                raise PoolTimeoutError("All connections to the database stay in use.") from error
            raise
        except FAULTS as error:
            raise fault_of(error, None) from error


def is_gone(connection: asyncpg.Connection) -> bool:
    """Whether the connection was lost; the pool takes it back then, and it answers nothing any more."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


async def with_json(connection: asyncpg.Connection) -> None:
    """JSON is read as what it says."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=orjson.loads, format="text")


async def left_as_it_is(_connection: asyncpg.Connection) -> None:
    """A transaction that was rolled back leaves nothing behind: what it had set went with it."""


def fault_of(error: Exception, sql: str | None, *, lost: bool = False) -> DBAPIError:
    """A fault of the driver's as SQLAlchemy tells of it, without the parameters, which are people's data.

    `sql`: None where it was connecting that failed.
    """
    return DBAPIError(sql, None, error, hide_parameters=True, connection_invalidated=lost)
