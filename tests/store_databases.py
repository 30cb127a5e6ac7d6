"""On which servers do the store's tests run, and which databases do they find there?

The embedded server, a PostgreSQL of the system where one is installed, and the server at TEST_DATABASE_URL (an
administrator's) where it is set. A test file has the fixtures by `pytest_plugins = ["tests.store_databases"]`.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from store.migrate import migrate
from tests.conftest import World, make_world
from tests.databases import Databases, servers, undone
from tests.servers import system_server


@pytest.fixture(scope="session", params=servers())
def store_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The administrator's URL of each server in turn."""
    if request.param == "embedded":
        yield request.getfixturevalue("server")
    elif request.param == "system":
        with system_server(Path(tempfile.mkdtemp(dir="/tmp", prefix="mcg-system-"))) as url:
            yield url
    else:
        named = make_url(os.environ["TEST_DATABASE_URL"]).set(drivername="postgresql+asyncpg")
        yield named.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def store_databases(store_server: str) -> Iterator[Databases]:
    """Databases that last as long as their server is tested."""
    made = Databases(store_server)
    yield made
    asyncio.run(made.drop_made_since(0))


@pytest.fixture
def databases(store_databases: Databases) -> Iterator[Databases]:
    """Databases that last for one test."""
    count = store_databases.count
    yield store_databases
    asyncio.run(store_databases.drop_made_since(count))


@pytest.fixture(scope="session")
def migrated(store_databases: Databases) -> str:
    """A migrated database without rows, to copy."""
    url = asyncio.run(store_databases.create())
    asyncio.run(migrate(url))
    return url


@pytest.fixture(scope="session")
def small_world(store_databases: Databases, migrated: str) -> World:
    """The small world of two companies, to copy."""
    url = asyncio.run(store_databases.copy(migrated))
    return World(url, *asyncio.run(make_world(url)))


@pytest.fixture(scope="session")
def shared_world(store_databases: Databases, small_world: World) -> World:
    """The small world for all tests that leave it as it was."""
    return World(asyncio.run(store_databases.copy(small_world.url)), small_world.acme, small_world.globex)


@pytest.fixture
def own_world(databases: Databases, small_world: World) -> World:
    """The small world in a database of the test's own."""
    return World(asyncio.run(databases.copy(small_world.url)), small_world.acme, small_world.globex)


@pytest.fixture(scope="module")
async def connected(shared_world: World) -> AsyncIterator[AsyncConnection]:
    async with undone(shared_world.url) as connection:
        yield connection


@pytest.fixture
async def rows(connected: AsyncConnection) -> AsyncIterator[AsyncConnection]:
    """The small world, at first as the owner of the tables; all is undone."""
    async with connected.begin() as transaction:
        yield connected
        await transaction.rollback()
