"""Does the database come to be what the models say, from nothing, from any revision, and whoever else migrates it?"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.checkup import examine
from store.database import APPLICATION_ROLE, owner_transaction
from store.migrate import (
    MIGRATION_LOCK,
    TRIGRAM_INDEXES,
    configuration,
    differences,
    ensure_database,
    migrate,
    newest_revision,
)
from store.models import Base
from tests.conftest import on_server
from tests.databases import ONE_SERVER, Databases, servers, undone

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.store_databases"]

# Tests that change what a whole server has in common stay away from somebody's server.
OWN_SERVERS = pytest.mark.parametrize(
    "store_server", [server for server in servers() if server != "named"], indirect=True, scope="session"
)
PATIENCE_SECONDS = 60  # ends a test that hangs
COLUMNS = """
SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
    pg_get_expr(adbin, adrelid)
FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid AND relnamespace = 'public'::regnamespace AND relkind = 'r'
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped AND relname <> 'alembic_version'
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conrelid::regclass::text <> 'alembic_version'
"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
POLICIES = "SELECT tablename, policyname, cmd, qual, with_check FROM pg_policies WHERE schemaname = 'public'"
GRANTS = f"""
SELECT relname, acl.privilege_type
FROM pg_class, aclexplode(relacl) acl
WHERE acl.grantee = (SELECT oid FROM pg_roles WHERE rolname = '{APPLICATION_ROLE}')
"""
LEAKPROOF = "SELECT proleakproof FROM pg_proc WHERE oid = 'pg_catalog.textlike(text, text)'::regprocedure"
RELATIONS = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v')"


async def rows(url: str, *queries: str) -> list[set[tuple[object, ...]]]:
    async with undone(url) as connection:
        return [{tuple(row) for row in await connection.execute(text(query))} for query in queries]


async def everything(url: str) -> list[set[tuple[object, ...]]]:
    return await rows(url, COLUMNS, CONSTRAINTS, INDEXES, POLICIES, GRANTS, LEAKPROOF)


async def with_alembic(url: str, order: Callable[[Config], None]) -> None:
    async with undone(url) as connection:
        await connection.run_sync(lambda sync: order(configuration(sync)))
        await connection.commit()


async def drift(url: str) -> list[object]:
    async with undone(url) as connection:
        return await connection.run_sync(differences)


async def revision(url: str) -> list[str]:
    async with undone(url) as connection:
        return list((await connection.scalars(text("SELECT version_num FROM alembic_version"))).all())


async def has_trigrams(url: str) -> bool:
    available = "SELECT true FROM pg_available_extensions WHERE name = 'pg_trgm'"
    return (await rows(url, available)) == [{(True,)}]


async def test_migrated_database_is_what_the_models_say(migrated: str) -> None:
    """From nothing to the newest revision, no difference is left, trigram indexes or not."""
    assert await revision(migrated) == [newest_revision()]
    assert await drift(migrated) == []


async def test_migrations_make_exactly_what_the_models_make(databases: Databases, migrated: str) -> None:
    """Columns with their defaults, constraints and indexes are to the letter those that the models would make."""
    made = await databases.create()
    async with owner_transaction(made) as connection:
        await connection.run_sync(Base.metadata.create_all)
    by_models = await rows(made, COLUMNS, CONSTRAINTS, INDEXES)
    by_migrations = await rows(migrated, COLUMNS, CONSTRAINTS, INDEXES)
    by_migrations[2] = {row for row in by_migrations[2] if row[0] not in TRIGRAM_INDEXES}
    assert by_migrations == by_models
    assert all(by_models)


async def test_trigram_indexes_are_where_they_can_be(migrated: str) -> None:
    """Where the server has pg_trgm the texts that people search in are indexed, and nowhere else."""
    (indexes,) = await rows(migrated, INDEXES)
    found = {name for name, definition in indexes if "gin_trgm_ops" in str(definition)}
    there = await has_trigrams(migrated)
    assert found == (set(TRIGRAM_INDEXES) if there else set())
    assert await rows(migrated, LEAKPROOF) == [{(there,)}]


@ONE_SERVER
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE campaigns ADD COLUMN extra text",
        "ALTER TABLE campaigns DROP COLUMN description CASCADE",
        "ALTER TABLE campaigns ALTER COLUMN status SET DEFAULT 'PENDING'",
        "ALTER TABLE campaigns ALTER COLUMN total_sent TYPE bigint",
        "ALTER TABLE contacts ALTER COLUMN email SET NOT NULL",
        "DROP INDEX campaigns_name_idx",
        "CREATE INDEX extra_idx ON campaigns (company_id)",
        "ALTER TABLE templates DROP CONSTRAINT templates_company_id_team_id_fkey",
        "DROP TABLE campaign_messages",
        "CREATE TABLE extra (id integer)",
    ],
)
async def test_drift_is_found(change: str, migrated: str) -> None:
    """Whatever somebody changed by hand is a difference."""
    async with undone(migrated) as connection:
        await connection.execute(text(change))
        assert await connection.run_sync(differences) != []


async def test_migrating_again_changes_nothing(databases: Databases, migrated: str) -> None:
    """A migrated database may be migrated at each start."""
    url = await databases.copy(migrated)
    before = await everything(url)
    await migrate(url)
    assert await everything(url) == before


async def test_every_revision_goes_down_and_up(databases: Databases) -> None:
    """Down to nothing and up again leads back to the same, with all rights and policies; nothing is left below."""
    url = await databases.create()
    await migrate(url, "0001")
    assert await revision(url) == ["0001"]
    tables_only = await everything(url)
    await migrate(url)
    at_newest = await everything(url)
    await with_alembic(url, lambda config: command.downgrade(config, "0001"))
    assert await everything(url) == tables_only
    await with_alembic(url, lambda config: command.downgrade(config, "base"))
    assert await rows(url, RELATIONS) == [{("alembic_version",)}]
    assert await revision(url) == []
    await migrate(url)
    assert await everything(url) == at_newest


async def waiting_for_the_lock(connection: AsyncConnection) -> int:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = :lock"
    return int(await connection.scalar(text(waiting), {"lock": MIGRATION_LOCK}) or 0)


def migrating_process(url: str) -> subprocess.Popen[bytes]:
    code = "import asyncio, sys; from store.migrate import migrate; asyncio.run(migrate(sys.argv[1]))"
    return subprocess.Popen([sys.executable, "-c", code, url], cwd=Path(__file__).parents[1])


@ONE_SERVER
async def test_processes_that_migrate_at_once_wait_for_each_other(databases: Databases) -> None:
    """Two processes touch nothing while somebody migrates; then one migrates, the other waits, and both end well."""
    url = await databases.create()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        async with undone(url) as connection, asyncio.timeout(PATIENCE_SECONDS):
            await connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
            processes += [migrating_process(url), migrating_process(url)]
            while await waiting_for_the_lock(connection) < len(processes):
                assert all(process.poll() is None for process in processes)
                await asyncio.sleep(0.02)
            assert await rows(url, RELATIONS) == [set()]
        assert [await asyncio.to_thread(process.wait, PATIENCE_SECONDS) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert await revision(url) == [newest_revision()]
    assert await drift(url) == []


async def test_database_is_made_once(databases: Databases) -> None:
    """However many processes want the database at once, it is made once, and found from then on."""
    name = databases.name()
    await asyncio.gather(*(ensure_database(databases.admin, name) for _ in range(5)))
    url = databases.url(name)
    async with owner_transaction(url) as connection:
        await connection.execute(text("CREATE TABLE kept (id integer)"))
    await ensure_database(databases.admin, name)
    assert await rows(url, RELATIONS) == [{("kept",)}]


@OWN_SERVERS
async def test_owner_makes_the_role_where_there_is_none(databases: Databases, migrated: str) -> None:
    """On a server that never had the application's role, an owner who may make roles makes it and may act as it."""
    assert migrated, "the server has the role, which steps aside meanwhile"
    name = databases.name()
    owner = f"{name}_owner"
    url = make_url(databases.url(name)).set(username=owner, password="secret").render_as_string(hide_password=False)
    await on_server(
        databases.admin,
        f"ALTER ROLE {APPLICATION_ROLE} RENAME TO {name}_role",
        f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'secret'",
        f"CREATE DATABASE {name} OWNER {owner}",
    )
    try:
        await migrate(url)
        assert [finding.what for finding in await examine(url) if not finding.good] == []
        assert await drift(url) == []
    finally:
        await on_server(
            databases.admin,
            f"DROP DATABASE {name} WITH (FORCE)",
            f"DROP ROLE IF EXISTS {APPLICATION_ROLE}",
            f"DROP ROLE {owner}",
            f"ALTER ROLE {name}_role RENAME TO {APPLICATION_ROLE}",
        )


async def problems(url: str) -> str:
    return "; ".join(finding.what for finding in await examine(url) if not finding.good)


async def test_checkup_finds_a_good_database_good(migrated: str) -> None:
    """Nothing is wrong with a migrated database, and every line of the report says so."""
    assert await problems(migrated) == ""
    assert {str(finding).split()[0] for finding in await examine(migrated)} == {"ok"}


async def test_checkup_finds_a_database_that_is_not_migrated(databases: Databases, migrated: str) -> None:
    """A database without tables, one at an older revision and one with an open table are told apart."""
    assert f"schema at revision None (newest: {newest_revision()})" in await problems(await databases.create())
    url = await databases.copy(migrated)
    await with_alembic(url, lambda config: command.downgrade(config, "0001"))
    found = await problems(url)
    assert "schema at revision 0001" in found
    assert "contacts, delivery_reports" in found
    await migrate(url)
    await on_server(url, "ALTER TABLE contacts NO FORCE ROW LEVEL SECURITY")
    assert await problems(url) == "row security is forced in every table (without it: contacts)"


async def test_checkup_says_how_a_search_is_answered(databases: Databases, migrated: str) -> None:
    """Trigram indexes that row security keeps from being used, as in a restored dump, do not count."""
    url = await databases.copy(migrated)
    answers = {True: "searching uses trigram indexes", False: "searching reads all rows of the company"}
    assert (await examine(url))[-1].what == answers[await has_trigrams(url)]
    await on_server(url, "ALTER FUNCTION pg_catalog.textlike(text, text) NOT LEAKPROOF")
    assert (await examine(url))[-1].what == answers[False]


@OWN_SERVERS
@pytest.mark.parametrize("power", ["BYPASSRLS", "SUPERUSER"])
async def test_checkup_finds_a_role_that_nothing_binds(power: str, databases: Databases, migrated: str) -> None:
    """A role of the application that row security does not bind is a problem."""
    await on_server(databases.admin, f"ALTER ROLE {APPLICATION_ROLE} {power}")
    try:
        assert await problems(migrated) == f"row security binds the role {APPLICATION_ROLE}"
    finally:
        await on_server(databases.admin, f"ALTER ROLE {APPLICATION_ROLE} NO{power}")


async def test_checkup_finds_an_owner_who_may_not_act_as_the_role(databases: Databases, migrated: str) -> None:
    """An owner who was not granted the application's role, or not so as to act as it, is told so."""
    async with undone(migrated) as connection:
        version = int(await connection.scalar(text("SHOW server_version_num"))) // 10_000
    name = databases.name()
    owner = f"{name}_owner"
    url = make_url(databases.url(name)).set(username=owner, password="secret").render_as_string(hide_password=False)
    await on_server(
        databases.admin, f"CREATE ROLE {owner} LOGIN PASSWORD 'secret'", f"CREATE DATABASE {name} OWNER {owner}"
    )
    complaint = f"may act as the role {APPLICATION_ROLE}"
    try:
        assert complaint in await problems(url)
        if version >= 16:
            await on_server(databases.admin, f"GRANT {APPLICATION_ROLE} TO {owner} WITH SET FALSE")
            assert complaint in await problems(url)
        granted = "WITH SET TRUE" if version >= 16 else ""
        await on_server(databases.admin, f"GRANT {APPLICATION_ROLE} TO {owner} {granted}")
        assert complaint not in await problems(url)
    finally:
        await on_server(databases.admin, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {owner}")
