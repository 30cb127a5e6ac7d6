"""How does the code reach the database: as whom, within which company, and who commits?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
import orjson
from sqlalchemy import Executable, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine

from store.readings import Readings
from store.sql_types import AnyRow

APPLICATION_ROLE = "campaign_gateway"
GRACE_SECONDS = 5
SET_COMPANY = text("SELECT set_config('app.company_id', :company_id, true)")
SET_WORKER = text("SELECT set_config('app.worker', 'on', true)")

Parameters = Mapping[str, object]


@dataclass(frozen=True)
class Scope:
    """Whose rows may be seen: the company's first, and within it those of one user.

    Its parameters fill the `viewer_*` names that the access rules of every statement are written with, so one
    statement serves every viewer.
    """

    company_id: int
    user_id: int
    sees_everything: bool
    team_ids: tuple[int, ...] = ()
    group_ids: tuple[int, ...] = ()

    def parameters(self) -> dict[str, object]:
        return {
            "viewer_company_id": self.company_id,
            "viewer_user_id": self.user_id,
            "viewer_sees_everything": self.sees_everything,
            "viewer_team_ids": list(self.team_ids),
            "viewer_group_ids": list(self.group_ids),
        }


class Reader:
    """One read-only snapshot of one company's rows, for one operation.

    The connection is taken at the first statement and given back at the end; statements of sibling fields wait
    for each other, as a PostgreSQL connection runs one at a time. After an error the rest is read from another
    snapshot, but what failed is not tried again: it may have taken all the time that it had. Nothing outlives the
    operation: a statement that still runs at its end, because the fields that wanted its rows were given up, is
    stopped, and none follows it.
    """

    def __init__(self, readings: Readings, scope: Scope) -> None:
        self.scope = scope
        self._readings = readings
        self._parameters = scope.parameters()
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[object] | None = None
        self._over = False
        self._failed: list[tuple[Executable, Parameters, Exception]] = []

    async def rows(self, statement: Executable, parameters: Parameters) -> Sequence[AnyRow]:
        """The rows of a statement; the viewer's parameters are added to the given ones."""
        async with self._turn:
            if self._over:
                raise RuntimeError("The operation that this statement belongs to is over.")
            for failed, given, error in self._failed:
                if failed is statement and given == parameters:
                    raise error
            self._running = asyncio.current_task()
            try:
                if self._connection is None:
                    self._connection = await self._readings.begin(self.scope.company_id)
                try:
                    return await self._readings.rows(self._connection, statement, {**parameters, **self._parameters})
                except (DBAPIError, TimeoutError) as error:
                    self._failed.append((statement, parameters, error))
                    raise
            except BaseException:
                # PostgreSQL refuses all that follows in this transaction, also after a statement that was stopped; the
                # other fields get a new one.
                await self._give_back()
                raise
            finally:
                self._running = None

    async def renew(self) -> None:
        """Gives the snapshot up; the next statement reads another, in which what was committed since is seen."""
        async with self._turn:
            self._failed.clear()
            await self._give_back()

    async def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._readings.end(connection)

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the operation; doing it again changes nothing."""
        self._over = True
        if self._running is not None:
            self._running.cancel()
        async with self._turn:
            await self._give_back()


class Database:
    """Two pools of connections, for changes and for readings, that act as the application's role.

    Row security binds that role.
    """

    def __init__(self, url: str, *, pool_size: int = 10, command_timeout: float = 30) -> None:
        """`url` is SQLAlchemy's (`postgresql+asyncpg://…`); its user must be a member of the application's role.

        `pool_size`: how many connections each of the pools may have; none is made before it is needed.
        `command_timeout`: seconds after which a statement is given up by the server, and a little later, in case
        the server is not there any more, by this side.
        """
        options = connection_options(command_timeout)
        self.engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=command_timeout,
            pool_pre_ping=True,
            # Parameters are people's data: an error's text must not carry them into a log.
            hide_parameters=True,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args=options,
        )
        self.readings = Readings(self.engine, read_only(options), size=pool_size, patience=command_timeout)

    def reading(self, scope: Scope) -> Reader:
        """Reads within a scope: `async with database.reading(scope) as reader`."""
        return Reader(self.readings, scope)

    @asynccontextmanager
    async def writing(self, company_id: int) -> AsyncIterator[AsyncSession]:
        """One unit of work in one company: committed at the end, rolled back on an error."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            await session.execute(SET_COMPANY, {"company_id": str(company_id)})
            yield session

    @asynccontextmanager
    async def working(self) -> AsyncIterator[AsyncSession]:
        """One unit of work of a worker in no company: it sees the jobs of all, may sweep, and sees nothing else."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            await session.execute(SET_WORKER)
            yield session

    @asynccontextmanager
    async def signing_in(self) -> AsyncIterator[AsyncConnection]:
        """A read-only transaction in which no company is known yet; row security shows nothing until one is named."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(postgresql_readonly=True)

    async def ping(self) -> str | None:
        """The revision of the schema that the database holds, if any; fails when the database cannot be reached."""
        async with self.engine.connect() as connection:
            if not await connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
                return None
            revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
            return None if revision is None else str(revision)

    async def close(self) -> None:
        await self.readings.close()
        await self.engine.dispose()


def read_only(options: Mapping[str, Any]) -> dict[str, object]:
    """The same, for connections on which nothing can be changed whatever is asked."""
    settings = {**options["server_settings"], "default_transaction_read_only": "on"}
    return {**options, "server_settings": settings}


def connection_options(command_timeout: float) -> dict[str, Any]:
    """How the driver connects."""
    return {
        "timeout": 10,
        "command_timeout": command_timeout + GRACE_SECONDS,
        "server_settings": {
            "role": APPLICATION_ROLE,
            "application_name": "campaign-gateway",
            "timezone": "UTC",
            "statement_timeout": str(int(command_timeout * 1000)),
            "idle_in_transaction_session_timeout": "60000",
            # Otherwise a statement whose asker died without a word would run on to its limit.
            "client_connection_check_interval": "1000",
            # Compiling a plan costs more than these short statements take.
            "jit": "off",
        },
    }


@asynccontextmanager
async def owner_transaction(url: str) -> AsyncIterator[AsyncConnection]:
    """One transaction as the owner of the tables, for the commands of operators: committed at the end."""
    engine = create_async_engine(url, hide_parameters=True)
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()
