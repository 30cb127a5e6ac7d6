"""What do tests share? One database server a run, a migrated template, and a database of its own for each test."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from store.database import owner_transaction
from store.embedded import embedded_server
from store.migrate import migrate
from tests.build import Builder, TestCompany, small_company
from tests.client import Gateway, running_gateway

TEMPLATE = "template_of_tests"
WORLD = "world_of_tests"


async def on_server(url: str, *statements: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()


def database(server: str, name: str) -> str:
    """The URL of another database of the same server."""
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@dataclass(frozen=True)
class World:
    """Two companies alike; `acme` and `globex` hold the ids of their rows."""

    url: str
    acme: TestCompany
    globex: TestCompany


async def make_world(url: str) -> tuple[TestCompany, TestCompany]:
    async with owner_transaction(url) as connection:
        build = Builder(connection)
        return await small_company(build, "Acme"), await small_company(build, "Globex")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The administrator's URL of the embedded server, without durability."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-tests-") as directory,
        embedded_server(Path(directory) / "postgres", durable=False, log=lambda _: None) as found,
    ):
        yield found.url("postgres")


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """A migrated database without rows, to copy."""
    asyncio.run(prepare_template(server))
    return TEMPLATE


async def prepare_template(server: str) -> None:
    await on_server(server, f"CREATE DATABASE {TEMPLATE}")
    await migrate(database(server, TEMPLATE))


@pytest.fixture(scope="session")
def world_template(server: str, template: str) -> tuple[str, TestCompany, TestCompany]:
    """The small world, made once, to copy."""

    async def make() -> tuple[str, TestCompany, TestCompany]:
        await on_server(server, f"CREATE DATABASE {WORLD} TEMPLATE {template}")
        acme, globex = await make_world(database(server, WORLD))
        return WORLD, acme, globex

    return asyncio.run(make())


numbers = itertools.count(1)


@pytest.fixture
def copy_of(server: str) -> Iterator[Callable[[str], str]]:
    """Copies a database for one test (about 20 ms) and drops it afterwards."""
    made: list[str] = []

    def copy(template: str) -> str:
        name = f"test_{next(numbers)}"
        asyncio.run(on_server(server, f"CREATE DATABASE {name} TEMPLATE {template}"))
        made.append(name)
        return database(server, name)

    yield copy
    asyncio.run(on_server(server, *(f"DROP DATABASE {name} WITH (FORCE)" for name in made)))


@pytest.fixture
def empty_database(copy_of: Callable[[str], str], template: str) -> str:
    """The owner's URL of a migrated database without rows."""
    return copy_of(template)


@pytest.fixture
def world(copy_of: Callable[[str], str], world_template: tuple[str, TestCompany, TestCompany]) -> World:
    """A database of its own that holds the small world."""
    name, acme, globex = world_template
    return World(copy_of(name), acme, globex)


@pytest.fixture
async def gateway(world: World) -> AsyncIterator[Gateway]:
    """A gateway over the small world."""
    async with running_gateway(world.url) as running:
        yield running
