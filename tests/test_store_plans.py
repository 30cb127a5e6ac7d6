"""Does a page of a list read no more than the page, wherever in the list it begins?

The plans are those of the application's role, under row security, with sorting and reading whole tables made so
dear that PostgreSQL does them only where no index serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Column, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint, select, text

from resolvers import (
    campaigns,
    contacts,
    exports,
    notifications,
    people,
    recipients,
    suppressions,
    tasks,
    templates,
)
from resolvers.edges import Paged
from resolvers.global_ids import KeyKind
from resolvers.pages import Cursor, Direction, PageArguments, SortKind
from store.database import Database, Scope, owner_transaction
from store.models import Base
from tests.databases import Databases, as_application, undone
from tests.statements import heard

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.store_databases"]

PAGED = list(
    dict.fromkeys(
        edge
        for module in (
            campaigns,
            contacts,
            exports,
            notifications,
            people,
            recipients,
            suppressions,
            tasks,
            templates,
        )
        for edge in vars(module).values()
        if isinstance(edge, Paged)
    )
)
COMPANY_LISTS = [edge for edge in PAGED if edge.key == "company_id"]
PARENTS_LISTS = [edge for edge in PAGED if edge.key != "company_id"]
REFERENCES = [
    key
    for table in Base.metadata.sorted_tables
    for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name))
    if len(key.columns) > 1
]
ADMINISTRATOR = Scope(1, 1, True)
PLACES = {
    SortKind.TEXT: "8",
    SortKind.TIME: "2026-01-01T01:00:00+00:00",
    SortKind.NUMBER: "3",
    SortKind.KEY: None,
}
DEAR = ("enable_incremental_sort", "enable_seqscan", "enable_bitmapscan")
TIMES = "'2026-01-01'::timestamptz + i * interval '1 minute'"
FILL = f"""
INSERT INTO companies (name) VALUES ('Acme'), ('Globex');
INSERT INTO groups (company_id, name) SELECT c, 'g' || i FROM generate_series(1, 2) c, generate_series(1, 10) i;
INSERT INTO teams (company_id, group_id, name) SELECT company_id, id, 't' || i FROM groups, generate_series(1, 20) i;
INSERT INTO users (company_id, first_name, last_name, email, created_at)
    SELECT c, md5(i::text), md5(i || 'x'), i || '@x', {TIMES} FROM generate_series(1, 2) c, generate_series(1, 400) i;
INSERT INTO accounts (company_id, name) SELECT c, md5(i::text) FROM generate_series(1, 2) c, generate_series(1, 40) i;
INSERT INTO relations_paths (company_id, name)
    SELECT c, md5(i::text) FROM generate_series(1, 2) c, generate_series(1, 40) i;
INSERT INTO contact_lists (company_id, name, created_at)
    SELECT c, md5(i::text), {TIMES} FROM generate_series(1, 2) c, generate_series(1, 200) i;
INSERT INTO fields (company_id, owner, custom, type, name, label, sort_order)
    SELECT c, 'CONTACT', true, 'TEXT', 'f' || i, 'F', i FROM generate_series(1, 2) c, generate_series(1, 400) i;
CREATE TEMP TABLE parents AS
    SELECT u.company_id, i, u.id AS user_id, t.id AS team_id, t.group_id, a.id AS account_id, r.id AS path_id
    FROM generate_series(0, 1999) i
    JOIN (SELECT *, row_number() OVER (PARTITION BY company_id ORDER BY id) - 1 AS n FROM users) u ON u.n = i % 40
    JOIN (SELECT *, row_number() OVER (PARTITION BY company_id ORDER BY id) - 1 AS n FROM teams) t
        ON t.company_id = u.company_id AND t.n = i % 41
    JOIN (SELECT *, row_number() OVER (PARTITION BY company_id ORDER BY id) - 1 AS n FROM accounts) a
        ON a.company_id = u.company_id AND a.n = i % 37
    JOIN (SELECT *, row_number() OVER (PARTITION BY company_id ORDER BY id) - 1 AS n FROM relations_paths) r
        ON r.company_id = u.company_id AND r.n = i % 39;
INSERT INTO team_members SELECT DISTINCT company_id, team_id, user_id FROM parents;
INSERT INTO templates (company_id, user_id, team_id, group_id, type, title, created_at, updated_at)
    SELECT company_id, user_id, team_id, group_id, 'EMAIL', md5(i::text), {TIMES}, {TIMES} FROM parents;
INSERT INTO campaigns (company_id, user_id, team_id, group_id, template_id, task_relations_path_id, task_start_at,
        task_end_at, task_distribution_strategy, type, name, created_at, updated_at)
    SELECT p.company_id, p.user_id, p.team_id, p.group_id, t.id, p.path_id, '2026-01-01', '2026-01-02', 'DISTRIBUTE',
        'EMAIL', md5(i::text), {TIMES}, {TIMES}
    FROM parents p
    JOIN (SELECT *, row_number() OVER (PARTITION BY company_id ORDER BY id) - 1 AS n FROM templates) t
        ON t.company_id = p.company_id AND t.n = i % 40;
INSERT INTO contacts (company_id, account_id, user_id, team_id, last_name, created_at, updated_at)
    SELECT company_id, account_id, user_id, team_id, md5(i::text), {TIMES}, {TIMES} FROM parents;
INSERT INTO contact_list_members
    SELECT c.company_id, l.id, c.id
    FROM (SELECT *, row_number() OVER (PARTITION BY company_id ORDER BY id) AS n FROM contacts) c
    JOIN contact_lists l ON l.company_id = c.company_id AND l.id % 40 = c.n % 40;
INSERT INTO recipients (company_id, campaign_id, contact_id)
    SELECT c.company_id, p.id, c.id
    FROM (SELECT *, row_number() OVER (PARTITION BY company_id ORDER BY id) AS n FROM contacts) c
    JOIN (SELECT *, row_number() OVER (PARTITION BY company_id ORDER BY id) AS n FROM campaigns LIMIT 200) p
        ON p.company_id = c.company_id AND p.n % 40 = c.n % 40;
INSERT INTO campaign_messages (company_id, id, content) SELECT company_id, id, '' FROM recipients;
INSERT INTO delivery_reports (company_id, recipient_id, campaign_id, status, occurred_at)
    SELECT company_id, id, campaign_id, 'SENT', '2026-01-01'::timestamptz + id * interval '1 second' FROM recipients;
INSERT INTO exports (company_id, kind, format, requested_by_id, campaign_id, created_at)
    SELECT company_id, 'CONTACTS', 'CSV', user_id, id, created_at FROM campaigns;
INSERT INTO campaign_tasks (company_id, campaign_id, recipient_id, user_id, start_at, end_at)
    SELECT r.company_id, r.campaign_id, r.id, c.user_id, '2026-01-01'::timestamptz + r.id * interval '1 second',
        '2026-02-01'::timestamptz + r.id * interval '1 second'
    FROM recipients r JOIN campaigns c ON c.company_id = r.company_id AND c.id = r.campaign_id;
INSERT INTO suppressions (company_id, address, reason, created_at)
    SELECT c, 'a' || i, 'BOUNCED', {TIMES} FROM generate_series(1, 2) c, generate_series(1, 400) i;
INSERT INTO notifications (company_id, user_id, kind, campaign_id, created_at)
    SELECT company_id, user_id, 'LETTERS_READY', id, created_at FROM campaigns;
UPDATE exports e SET regenerated_from_id = f.id
    FROM (SELECT company_id, id, row_number() OVER (PARTITION BY company_id ORDER BY id) AS n FROM exports) f
    WHERE f.company_id = e.company_id AND f.n = 1 + abs(hashtext(e.id::text)) % 40;
ANALYZE;
"""

Plan = dict[str, Any]
Plans = Callable[[Paged, PageArguments], Awaitable[list[Plan]]]


@pytest.fixture(scope="module")
def filled(store_databases: Databases, migrated: str) -> str:
    """Two companies with some thousand rows in most tables, forty or so for each parent."""

    async def fill() -> str:
        url = await store_databases.copy(migrated)
        async with owner_transaction(url) as connection:
            for statement in FILL.split(";\n"):
                await connection.exec_driver_sql(statement)
        return url

    return asyncio.run(fill())


@pytest.fixture(scope="module")
async def plans(filled: str) -> AsyncIterator[Plans]:
    """The plan of the very statement that an edge runs for one parent: its nodes, the outermost first."""
    database = Database(filled, pool_size=1)
    ran: list[tuple[str, tuple[object, ...]]] = []

    def keep(statement: str, parameters: Sequence[object]) -> None:
        ran.append((statement, tuple(parameters)))

    async with undone(filled) as owner, as_application(filled, ADMINISTRATOR.company_id) as connection:
        for name in DEAR:
            await connection.execute(text(f"SET LOCAL {name} = off"))

        async def explain(edge: Paged, arguments: PageArguments) -> list[Plan]:
            column = edge.key_column()
            assert isinstance(column, Column)
            of_company = select(column).where(column.table.c.company_id == ADMINISTRATOR.company_id)
            parent = await owner.scalar(of_company.where(column.is_not(None)).limit(1))
            async with database.reading(ADMINISTRATOR) as reader:
                assert await edge.fetch(reader, ("id",), [parent], arguments)
            statement, parameters = ran[-1]
            await connection.execute(text(f"SET LOCAL enable_sort = {'off' if edge.link is None else 'on'}"))
            explained = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            return list(nodes(explained.scalar_one()[0]["Plan"]))

        with heard(database, keep):
            yield explain
    await database.close()


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def first_page(order: str, direction: Direction) -> PageArguments:
    return PageArguments(20, order, direction)


def later_page(edge: Paged, order: str, direction: Direction) -> PageArguments:
    key = str(UUID(int=2**127)) if edge.source.key_kind is KeyKind.UUID else "7"
    cursor = Cursor(edge.name, "", "", PLACES[edge.sorts[order].kind], key)
    return replace(first_page(order, direction), after=cursor)


def conditions(plan: list[Plan]) -> list[str]:
    """What the indexes are searched with."""
    return [node["Index Cond"] for node in plan if "Index Cond" in node]


def sorts(plan: list[Plan]) -> bool:
    return any("Sort" in node["Node Type"] for node in plan)


def cases(edges: list[Paged]) -> list[tuple[Paged, str]]:
    return [(edge, order) for edge in edges for order in edge.sorts]


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    ("edge", "order"), [pytest.param(edge, order, id=f"{edge.name} {order}") for edge, order in cases(COMPANY_LISTS)]
)
async def test_list_of_a_company_is_read_from_an_index(
    edge: Paged, order: str, direction: Direction, plans: Plans
) -> None:
    """In every order, both ways, the first page comes sorted from an index, and a later one begins at its place."""
    first = await plans(edge, first_page(order, direction))
    assert not sorts(first)
    assert any("company_id = 1" in condition for condition in conditions(first))
    later = await plans(edge, later_page(edge, order, direction))
    assert not sorts(later)
    assert any("ROW(" in condition for condition in conditions(later))


@pytest.mark.parametrize("edge", [pytest.param(edge, id=edge.name) for edge in PARENTS_LISTS if edge.link is None])
async def test_list_of_a_parent_is_read_from_an_index(edge: Paged, plans: Plans) -> None:
    """In the order that a client does not have to name, only the page's rows of the one parent are read."""
    # Of notifications the parent is the viewer, who stands in the rule who sees them, too.
    is_viewer = edge is notifications.NOTIFICATIONS
    of_parent = f"{edge.key_column().key} = {ADMINISTRATOR.user_id if is_viewer else 'keys.parent_key'}"
    first = await plans(edge, first_page(edge.order, edge.direction))
    assert any(of_parent in condition for condition in conditions(first))
    assert not sorts(first)
    later = await plans(edge, later_page(edge, edge.order, edge.direction))
    begins = "(id " if edge.sorts[edge.order].kind is SortKind.KEY else "ROW("
    # By the parent's index or, where the planner finds it cheaper, by the company's in this order.
    assert any(begins in condition for condition in conditions(later))
    assert not sorts(later)


@pytest.mark.parametrize("edge", [pytest.param(edge, id=edge.name) for edge in PARENTS_LISTS if edge.link is not None])
async def test_list_through_a_link_reads_the_links_of_its_parent(edge: Paged, plans: Plans) -> None:
    """The rows that a parent is linked with are found by the parent; only they are put in order."""
    of_parent = f"{edge.key_column().key} = keys.parent_key"
    for arguments in (
        first_page(edge.order, edge.direction),
        later_page(edge, edge.order, edge.direction),
    ):
        assert any(of_parent in condition for condition in conditions(await plans(edge, arguments)))


@pytest.mark.parametrize("key", [pytest.param(key, id=str(key.name)) for key in REFERENCES])
def test_reference_can_be_followed_backwards(key: ForeignKeyConstraint) -> None:
    """An index finds the rows that refer to a row: for the parent's list, and for its delete."""
    table = key.table
    (referring,) = (element.parent.name for element in key.elements if element.column.name == "id")
    unique = [rule.columns for rule in table.constraints if isinstance(rule, PrimaryKeyConstraint | UniqueConstraint)]
    indexed = [columns.keys()[:2] for columns in (*unique, *(index.columns for index in table.indexes))]
    one_row_a_company = [column.name for column in table.primary_key] == ["company_id"]
    assert one_row_a_company or ["company_id", referring] in indexed


async def test_trigrams_are_made_only_where_they_can_be_used(filled: str) -> None:
    """Row security lets LIKE be answered from an index only where it is marked leak-proof: else no index is made."""
    async with owner_transaction(filled) as owner:
        made = await owner.scalar(text("SELECT to_regclass('contacts_search_idx') IS NOT NULL"))
        marked = await owner.scalar(
            text("SELECT proleakproof FROM pg_proc WHERE oid = 'pg_catalog.textlike(text, text)'::regprocedure")
        )
    assert made is marked
