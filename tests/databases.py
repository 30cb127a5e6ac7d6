"""How does a test of the store get a database, act in it without a trace, and see what is refused?"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import Executable, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from store.database import APPLICATION_ROLE, SET_COMPANY
from tests.conftest import database, on_server
from tests.servers import system_server_available

CHECK_VIOLATION = "23514"
FOREIGN_KEY_VIOLATION = "23503"
UNIQUE_VIOLATION = "23505"
INSUFFICIENT_PRIVILEGE = "42501"


def servers() -> list[str]:
    """The servers that the tests of the store run on; what is not here is not mentioned."""
    found = ["embedded"]
    if system_server_available():
        found.append("system")
    if os.environ.get("TEST_DATABASE_URL"):
        found.append("named")
    return found


# For what does not depend on the server and takes long.
ONE_SERVER = pytest.mark.parametrize("store_server", servers()[:1], indirect=True, scope="session")


class Databases:
    """Makes databases on one server, which may be somebody's, and drops them at the end."""

    def __init__(self, admin: str) -> None:
        self.admin = admin
        self._made: list[str] = []
        self._numbers = itertools.count(1)

    def name(self) -> str:
        """A new name; whatever database comes to have it is dropped at the end."""
        self._made.append(f"mcg_tests_{os.getpid()}_{next(self._numbers)}")
        return self._made[-1]

    async def create(self, options: str = "") -> str:
        """The administrator's URL of a new database; `options` as in SQL."""
        name = self.name()
        await on_server(self.admin, f"CREATE DATABASE {name} {options}")
        return self.url(name)

    async def copy(self, url: str) -> str:
        """The URL of a copy (about 50 ms) of a database that nobody is connected to."""
        return await self.create(f"TEMPLATE {make_url(url).database}")

    def url(self, name: str) -> str:
        return database(self.admin, name)

    async def drop_made_since(self, count: int) -> None:
        names = self._made[count:]
        del self._made[count:]
        await on_server(self.admin, *(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names))

    @property
    def count(self) -> int:
        return len(self._made)


@asynccontextmanager
async def undone(url: str) -> AsyncIterator[AsyncConnection]:
    """A transaction that is rolled back, whatever was done in it."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


@asynccontextmanager
async def as_application(url: str, company_id: int | None = None) -> AsyncIterator[AsyncConnection]:
    """The same as the application's role, in a company or in none."""
    async with undone(url) as connection:
        await become_application(connection, company_id)
        yield connection


async def become_application(connection: AsyncConnection, company_id: int | None = None) -> None:
    await connection.execute(text(f"SET LOCAL ROLE {APPLICATION_ROLE}"))
    if company_id is not None:
        await connection.execute(SET_COMPANY, {"company_id": str(company_id)})


@dataclass(frozen=True)
class Refusal:
    """What the database says when it does not do something: the SQLSTATE, the constraint (if any), all of it."""

    state: str | None
    constraint: str | None
    message: str


async def refusal(
    connection: AsyncConnection, statement: Executable, parameters: Mapping[str, object] | None = None
) -> Refusal | None:
    """Tries a statement and takes it back; None when it was done."""
    savepoint = await connection.begin_nested()
    try:
        await connection.execute(statement, parameters)
    except DBAPIError as error:
        return refused(error)
    finally:
        await savepoint.rollback()
    return None


def refused(error: DBAPIError) -> Refusal:
    assert error.orig is not None
    constraint = getattr(error.orig.__cause__, "constraint_name", None)
    return Refusal(getattr(error.orig, "sqlstate", None), constraint, str(error))
