"""Where do filters run in tests? In two companies of made-up people, who share their ids as far as ids can be shared.

A test file has the fixtures by `pytest_plugins = ["tests.filter_databases"]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import owner_transaction
from store.models import Field
from tests.databases import Databases, as_application, undone
from tests.filter_oracle import DEFINITIONS
from tests.filter_world import ACME, GLOBEX, PEOPLE, STRANGERS, fill

pytest_plugins = ["tests.store_databases"]


@pytest.fixture(scope="session")
def people_database(store_databases: Databases, migrated: str) -> str:
    """The URL of a database that holds both companies; tests leave it as it is."""

    async def make() -> str:
        url = await store_databases.copy(migrated)
        async with owner_transaction(url) as connection:
            await fill(connection, ACME, PEOPLE)
            await fill(connection, GLOBEX, STRANGERS)
            definitions = [
                {
                    "company_id": ACME,
                    "id": definition.id,
                    "owner": definition.owner,
                    "custom": definition.custom,
                    "type": definition.type,
                    "name": definition.name,
                    "label": "F",
                }
                for definition in DEFINITIONS
            ]
            await connection.execute(insert(Field), definitions)
            await connection.execute(text("ANALYZE"))
        return url

    return asyncio.run(make())


@pytest.fixture(scope="module")
async def acme(people_database: str) -> AsyncIterator[AsyncConnection]:
    """In the company of `PEOPLE`, as the application's role."""
    async with as_application(people_database, ACME) as connection:
        yield connection


@pytest.fixture(scope="module")
async def unbound(people_database: str) -> AsyncIterator[AsyncConnection]:
    """As a superuser, whom row security does not bind."""
    async with undone(people_database) as connection:
        yield connection
