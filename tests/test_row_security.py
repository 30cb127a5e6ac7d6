"""Does the database itself keep companies apart, whatever a statement of the application says?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Table, delete, func, insert, make_url, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from store.checkup import examine
from store.database import APPLICATION_ROLE, Database, owner_transaction
from store.identity import find_company_of_user, find_identity, find_token
from store.migrate import migrate
from store.models import AccessToken, Base, Company, Group, Role, TokenScope, User
from store.tokens import TokenRecord, UnknownUser, count_working, role_holders, store_token
from tests.build import NEVER_EXPIRES
from tests.conftest import World, make_world, on_server
from tests.databases import (
    CHECK_VIOLATION,
    INSUFFICIENT_PRIVILEGE,
    UNIQUE_VIOLATION,
    Databases,
    as_application,
    become_application,
    refusal,
    undone,
)

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.store_databases"]

OWNED = [table for table in Base.metadata.sorted_tables if table.name != "companies"]
TABLES = pytest.mark.parametrize("table", Base.metadata.sorted_tables, ids=lambda table: table.name)
OWNED_TABLES = pytest.mark.parametrize("table", OWNED, ids=lambda table: table.name)
# Workers delete their old rows in all companies.
SWEPT = ("idempotency_keys", "previews", "test_deliveries")
NO_COMPANY = ("", "0", "-1", "2147483647")


def company_column(table: Table) -> str:
    return "id" if table.name == "companies" else "company_id"


async def companies_seen(connection: AsyncConnection, table: Table) -> dict[int, int]:
    """How many rows of the table can be seen, by company."""
    column = table.c[company_column(table)]
    found = await connection.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in found}


@TABLES
async def test_nothing_is_seen_without_a_company(table: Table, rows: AsyncConnection) -> None:
    """Until a company is named, every table looks empty; the same for one that does not exist."""
    assert len(await companies_seen(rows, table)) == 2
    await become_application(rows)
    assert await companies_seen(rows, table) == {}
    for company_id in NO_COMPANY:
        await rows.execute(text("SELECT set_config('app.company_id', :id, true)"), {"id": company_id})
        assert await companies_seen(rows, table) == {}


@TABLES
async def test_only_the_companys_rows_are_seen(table: Table, rows: AsyncConnection, shared_world: World) -> None:
    """Every row of the named company is seen, and none of another."""
    acme = shared_world.acme.id
    everything = await companies_seen(rows, table)
    await become_application(rows, acme)
    assert await companies_seen(rows, table) == {acme: everything[acme]}


@TABLES
async def test_no_row_is_made_for_another_company(table: Table, rows: AsyncConnection, shared_world: World) -> None:
    """A new row of another company is refused, also where it would break nothing else."""
    written = [column for column in table.columns if column.computed is None]
    theirs = table.c[company_column(table)] == shared_world.globex.id
    row = (await rows.execute(select(*written).where(theirs).limit(1))).mappings().one()
    await become_application(rows, shared_world.acme.id)
    said = await refusal(rows, insert(table).values(dict(row)))
    assert said is not None
    assert said.state == INSUFFICIENT_PRIVILEGE


@OWNED_TABLES
async def test_another_companys_rows_stay_as_they_are(table: Table, rows: AsyncConnection, shared_world: World) -> None:
    """Changing or deleting the rows of another company finds none, and giving rows away is refused."""
    acme, globex = shared_world.acme.id, shared_world.globex.id
    before = await companies_seen(rows, table)
    await become_application(rows, acme)
    theirs = table.c.company_id == globex
    found = await rows.execute(update(table).where(theirs).values(company_id=globex))
    assert found.rowcount == 0
    found = await rows.execute(delete(table).where(theirs))
    assert found.rowcount == 0
    given_away = await refusal(rows, update(table).values(company_id=globex))
    assert given_away is not None
    assert given_away.state == INSUFFICIENT_PRIVILEGE
    await rows.execute(text("RESET ROLE"))
    assert await companies_seen(rows, table) == before


@OWNED_TABLES
async def test_application_works_on_its_own_rows(table: Table, rows: AsyncConnection, shared_world: World) -> None:
    """Within its company the application may read, add, change and delete in every table."""
    await become_application(rows, shared_world.acme.id)
    written = [column for column in table.columns if column.computed is None]
    row = (await rows.execute(select(*written).limit(1))).mappings().one()
    same = [column == row[column.name] for column in table.primary_key]
    changed = await rows.execute(update(table).where(*same).values(dict(row)))
    assert changed.rowcount == 1
    await rows.execute(text("RESET ROLE"))
    await rows.execute(text("SET LOCAL session_replication_role = replica"))  # references do not matter here
    await become_application(rows, shared_world.acme.id)
    assert (await rows.execute(delete(table).where(*same))).rowcount == 1
    assert await refusal(rows, insert(table).values(dict(row))) is None


async def test_every_table_has_forced_row_security(rows: AsyncConnection) -> None:
    """Row security is on, for the owner too, in every table of the schema but the one that holds the revision."""
    found = await rows.execute(
        text(
            "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        )
    )
    secured = {row[0]: row[1] for row in found}
    assert secured.pop("alembic_version") is False
    assert secured == {table.name: True for table in Base.metadata.sorted_tables}


async def test_policies_read_the_company_once_a_statement(rows: AsyncConnection) -> None:
    """Every table has the one policy of its company, whose setting is read in a sub-select; two let one sign in."""
    found = (await rows.execute(text("SELECT * FROM pg_policies WHERE schemaname = 'public'"))).all()
    of_company = {row.tablename: row for row in found if row.policyname == "company"}
    assert set(of_company) == {table.name for table in Base.metadata.sorted_tables}
    for row in of_company.values():
        assert row.cmd == "ALL"
        assert row.qual == row.with_check
    signing_in = {(row.tablename, row.cmd) for row in found if row.policyname == "sign_in"}
    assert signing_in == {("users", "SELECT"), ("access_tokens", "SELECT")}
    working = {(row.tablename, row.policyname, row.cmd) for row in found if "app.worker" in row.qual}
    assert working == {
        ("jobs", "worker", "ALL"),
        *((table, "sweep", "SELECT") for table in (*SWEPT, "campaigns", "exports", "files")),
        *((table, "sweep_away", "DELETE") for table in SWEPT),
    }
    assert len(found) == len(of_company) + len(signing_in) + len(working)
    assert all("( SELECT " in row.qual for row in found)

    await become_application(rows, 1)
    plan = "\n".join((await rows.scalars(text("EXPLAIN SELECT * FROM contacts"))).all())
    assert "InitPlan" in plan
    assert "SubPlan" not in plan


@pytest.mark.parametrize("name", ["campaigns", "exports", "files"])
async def test_worker_looks_over_all_companies(name: str, rows: AsyncConnection) -> None:
    """A worker in no company sees the campaigns, exports and files of all, as it looks for work, and changes none."""
    table = Base.metadata.tables[name]
    everything = await companies_seen(rows, table)
    await become_application(rows)
    await rows.execute(text("SET LOCAL app.worker = 'on'"))
    assert await companies_seen(rows, table) == everything
    assert len(everything) == 2
    assert (await rows.execute(update(table).values(company_id=table.c.company_id))).rowcount == 0
    assert (await rows.execute(delete(table))).rowcount == 0


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE contacts DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE contacts NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY company ON contacts",
        "CREATE POLICY mine ON contacts USING (true)",
        "TRUNCATE contacts CASCADE",
        "CREATE TABLE mine (id integer)",
        "INSERT INTO companies (name) VALUES ('Mine')",
        "UPDATE companies SET name = 'Mine'",
        "DELETE FROM companies",
        "UPDATE alembic_version SET version_num = '0'",
        "SELECT nextval('companies_id_seq')",
        "ALTER ROLE campaign_gateway BYPASSRLS",
        "SET LOCAL row_security = off; SELECT count(*) FROM contacts",
    ],
)
async def test_application_cannot_lift_the_bar(statement: str, rows: AsyncConnection, shared_world: World) -> None:
    """The application's role owns nothing: it may not change tables, policies, companies, the revision or itself."""
    await become_application(rows, shared_world.acme.id)
    *before, last = statement.split("; ")
    for preparation in before:
        await rows.execute(text(preparation))
    said = await refusal(rows, text(last))
    assert said is not None
    assert said.state == INSUFFICIENT_PRIVILEGE


async def test_connection_acts_as_the_applications_role(shared_world: World) -> None:
    """Whoever signs in, every connection of the pool acts as the application's role, also after a reset."""
    database = Database(shared_world.url, pool_size=1)
    try:
        async with database.engine.connect() as connection:
            assert await connection.scalar(text("SELECT current_user")) == "campaign_gateway"
            assert await connection.scalar(text("SELECT session_user")) != "campaign_gateway"
            await connection.execute(text("RESET ROLE"))
            await connection.execute(text("RESET ALL"))
            assert await connection.scalar(text("SELECT current_user")) == "campaign_gateway"
            assert await connection.scalar(select(func.count()).select_from(Company)) == 0
    finally:
        await asyncio.shield(database.close())


async def test_error_does_not_carry_peoples_data(own_world: World) -> None:
    """The text of an error that the application may log has neither a statement's parameters nor a row's values."""
    database = Database(own_world.url, pool_size=1)
    person = {"first_name": "Ada", "last_name": "Byron", "email": "secret@example.com"}
    try:
        async with database.writing(own_world.acme.id) as session:
            connection = await session.connection()
            await connection.execute(insert(User).values(company_id=own_world.acme.id, **person))
            for values in (person, {**person, "email": "secret2@example.com", "role": "secret"}):
                said = await refusal(connection, insert(User).values(company_id=own_world.acme.id, **values))
                assert said is not None
                assert said.state in (UNIQUE_VIOLATION, CHECK_VIOLATION)
                assert "secret" not in said.message
            said = await refusal(
                connection, update(User).where(User.id == own_world.acme.member).values(email="secret@example.com")
            )
            assert said is not None
            assert "secret" not in said.message
    finally:
        await asyncio.shield(database.close())


async def test_sign_in_sees_the_one_token_or_user_it_names(shared_world: World) -> None:
    """Before the company is known, a request sees the row that it names, and no other of any company."""
    acme = shared_world.acme
    token_id = acme.tokens["member"].split("_")[1]
    async with as_application(shared_world.url) as connection:
        assert await find_token(connection, "00000000") is None
        assert await find_token(connection, "") is None
        assert await connection.scalar(select(func.count()).select_from(AccessToken)) == 0
        found = await find_token(connection, token_id)
        assert found is not None
        assert (found.company_id, found.user_id, found.revoked_at) == (acme.id, acme.member, None)
        assert found.scopes == tuple(TokenScope)
        assert (await connection.scalars(select(AccessToken.id))).all() == [token_id]
        assert (await connection.scalars(select(User.id))).all() == []
        changed = await refusal(connection, update(AccessToken).values(name="Mine"))
        assert changed is None
        assert (await connection.execute(update(AccessToken).values(name="Mine"))).rowcount == 0
    async with as_application(shared_world.url) as connection:
        assert await find_company_of_user(connection, 2**31 - 1) is None
        assert await find_company_of_user(connection, acme.member) == acme.id
        assert (await connection.scalars(select(User.id))).all() == [acme.member]
        assert (await connection.scalars(select(AccessToken.id))).all() == []


async def test_identity_is_read_anew_with_teams_and_groups(shared_world: World) -> None:
    """The viewer's role, teams, groups and time zone are those of now; a user of another company is nobody."""
    acme, globex = shared_world.acme, shared_world.globex
    async with as_application(shared_world.url) as connection:
        manager = await find_identity(connection, acme.id, acme.manager)
        assert manager is not None
        assert manager.role is Role.MANAGER
        assert manager.scope.team_ids == (acme.rows["sales"],)
        assert manager.scope.group_ids == (acme.rows["group"],)
        assert not manager.scope.sees_everything
        member = await find_identity(connection, acme.id, acme.member)
        assert member is not None
        assert (member.scope.team_ids, member.scope.group_ids) == ((acme.rows["support"],), ())
        admin = await find_identity(connection, acme.id, acme.admin)
        assert admin is not None
        assert admin.scope.sees_everything
        assert (admin.scope.team_ids, admin.scope.group_ids) == ((), ())
        assert await find_identity(connection, acme.id, globex.member) is None
        assert await find_identity(connection, globex.id, acme.member) is None


@pytest.fixture
async def owned_by_plain_role(databases: Databases, migrated: str) -> AsyncIterator[World]:
    """The small world in a database whose owner may make no roles, but was granted the application's."""
    assert migrated, "the server has the application's role"
    name = databases.name()
    owner, password = f"{name}_owner", "secret"
    await on_server(
        databases.admin,
        f"CREATE ROLE {owner} LOGIN PASSWORD '{password}' IN ROLE {APPLICATION_ROLE}",
        f"CREATE DATABASE {name} OWNER {owner}",
    )
    admin = databases.url(name)
    url = make_url(admin).set(username=owner, password=password).render_as_string(hide_password=False)
    try:
        await migrate(url)
        yield World(url, *(await make_world(admin)))
    finally:
        await on_server(databases.admin, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {owner}")


async def test_plain_owner_is_bound_too(owned_by_plain_role: World) -> None:
    """An owner who is no superuser migrates, sees no more than the application, and can serve and make tokens."""
    world = owned_by_plain_role
    acme = world.acme
    async with undone(world.url) as connection:
        for table in Base.metadata.sorted_tables:
            assert await companies_seen(connection, table) == {}
        await connection.execute(text(f"SET LOCAL app.company_id = '{acme.id}'"))
        for table in Base.metadata.sorted_tables:
            assert set(await companies_seen(connection, table)) == {acme.id}
        assert (await connection.execute(delete(Company).where(Company.id == acme.id))).rowcount == 1
        for table in OWNED:
            assert await companies_seen(connection, table) == {}

    findings = await examine(world.url)
    assert [finding.what for finding in findings if not finding.good] == []
    database = Database(world.url, pool_size=1)
    try:
        async with database.signing_in() as signing_in:
            assert await find_company_of_user(signing_in, acme.member) == acme.id
    finally:
        await asyncio.shield(database.close())
    record = TokenRecord("0123456789abcdef", b"hash", "Mine", [TokenScope.READ], NEVER_EXPIRES)
    async with owner_transaction(world.url) as connection:
        await store_token(connection, acme.member, record)
        assert await count_working(connection, acme.id, [record.id, "00000000"]) == 1
        assert await count_working(connection, world.globex.id, [record.id]) == 0


async def test_owners_work_is_wholly_done_or_undone(own_world: World) -> None:
    """An operator's command commits at its end, and an error leaves nothing of it."""
    acme = own_world.acme

    async def work(name: str, *, fail: bool) -> None:
        async with owner_transaction(own_world.url) as connection:
            await connection.execute(insert(Group).values(company_id=acme.id, name=name))
            if fail:
                raise LookupError

    with pytest.raises(LookupError):
        await work("Owner's mistake", fail=True)
    await work("Owner's work", fail=False)
    async with undone(own_world.url) as connection:
        found = (await connection.scalars(select(Group.name))).all()
    assert "Owner's work" in found
    assert "Owner's mistake" not in found


async def test_tokens_are_kept_for_users_that_exist(own_world: World) -> None:
    """A token is stored in its user's company; for a user who is not there it is refused."""
    acme = own_world.acme
    record = TokenRecord("0123456789abcdef", b"hash", "Mine", [TokenScope.READ, TokenScope.EXPORT], NEVER_EXPIRES)
    async with owner_transaction(own_world.url) as connection:
        with pytest.raises(UnknownUser):
            await store_token(connection, 2**31 - 1, record)
        await store_token(connection, acme.member, record)
    async with as_application(own_world.url) as connection:
        found = await find_token(connection, record.id)
        assert found is not None
        assert (found.company_id, found.secret_sha256, found.scopes) == (acme.id, b"hash", ("READ", "EXPORT"))


async def test_role_holders_are_people(own_world: World) -> None:
    """One person for each role, the first by id, system users left out; nobody in a company that is not there."""
    acme = own_world.acme
    async with owner_transaction(own_world.url) as connection:
        await connection.execute(update(User).where(User.id == acme.manager).values(is_system_user=True))
        holders = await role_holders(connection, acme.id)
        assert [(holder.role, holder.user_id) for holder in holders] == [
            (Role.ADMIN, acme.admin),
            (Role.MEMBER, acme.member),
        ]
        assert {holder.company for holder in holders} == {"Acme"}
        assert await role_holders(connection, 2**31 - 1) == []
        await connection.execute(update(AccessToken).values(revoked_at=func.now()))
        assert await count_working(connection, acme.id, [acme.tokens["admin"].split("_")[1]]) == 0
