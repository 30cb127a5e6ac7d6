"""What does the database itself refuse, and what goes with a row that is deleted?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, cast, get_args, get_type_hints

import pytest
from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    null,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import Database
from store.models import (
    AccessToken,
    Account,
    Base,
    Campaign,
    CampaignDelivery,
    CampaignMessage,
    CampaignSettings,
    CampaignStatus,
    CampaignTask,
    Company,
    Contact,
    Export,
    Field,
    File,
    Recipient,
    RelationsPath,
    Template,
    TestDelivery,
    User,
)
from tests.build import NOW, Builder
from tests.conftest import World
from tests.databases import (
    CHECK_VIOLATION,
    FOREIGN_KEY_VIOLATION,
    UNIQUE_VIOLATION,
    refusal,
)

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.store_databases"]

OWNED = [table for table in Base.metadata.sorted_tables if table.name != "companies"]
REFERENCES = [
    key
    for table in OWNED
    for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name))
    if key.referred_table.name != "companies"
]
EVERY_REFERENCE = pytest.mark.parametrize("key", REFERENCES, ids=lambda key: key.name)


def table_of(model: type[Base]) -> Table:
    return cast("Table", model.__table__)


def pairs(key: ForeignKeyConstraint) -> dict[str, str]:
    """The referring columns beside the company's, with the columns that they refer to."""
    return {element.parent.name: element.column.name for element in key.elements if element.parent.name != "company_id"}


def enums() -> list[tuple[Table, str, type[StrEnum]]]:
    """Every column whose values are an enum's, by the annotations of the models."""
    found = []
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__):
        for name, hint in get_type_hints(mapper.class_).items():
            types = [part for argument in get_args(hint) for part in (argument, *get_args(argument))]
            found += [
                (table_of(mapper.class_), name, part)
                for part in types
                if isinstance(part, type) and issubclass(part, StrEnum)
            ]
    return found


def checks(table: Table) -> set[str]:
    """The names of the rules that a table's rows keep."""
    return {str(rule.name) for rule in table.constraints if isinstance(rule, CheckConstraint)}


async def row_of(connection: AsyncConnection, table: Table, columns: Iterable[str], company_id: int) -> dict[str, Any]:
    """A row of the company that has a value in each of the columns; without what the database derives."""
    written = [column for column in table.columns if column.computed is None]
    wanted = select(*written).where(table.c.company_id == company_id, *(table.c[name].is_not(None) for name in columns))
    # The newest: nothing refers to it yet.
    newest = wanted.order_by(*(column.desc() for column in table.primary_key)).limit(1)
    return dict((await connection.execute(newest)).mappings().one())


def same_row(table: Table, row: Mapping[str, object]) -> Any:
    return [column == row[column.name] for column in table.primary_key]


async def twin_of_parent(connection: AsyncConnection, key: ForeignKeyConstraint, company_id: int) -> dict[str, Any]:
    """A new row like those that the reference leads to, and that nothing refers to yet."""
    parent = key.referred_table
    row = await row_of(connection, parent, ["id"], company_id)
    changed: dict[str, object] = {"email": "twin@example.com"} if parent.name == "users" else {}
    if parent.name == "recipients":
        changed = {"contact_id": None}
    del row["id"]
    made = await connection.execute(insert(parent).values({**row, **changed}).returning(parent))
    return dict(made.mappings().one())


def test_every_table_belongs_to_a_company() -> None:
    """The key of every owned table starts with the company, and the company's rows go with it."""
    for table in OWNED:
        assert next(iter(table.primary_key)).name == "company_id", table
        (key,) = (key for key in table.foreign_key_constraints if key.referred_table.name == "companies")
        assert (key.column_keys, key.ondelete) == (["company_id"], "CASCADE"), table


@EVERY_REFERENCE
def test_reference_is_composite_by_company(key: ForeignKeyConstraint) -> None:
    """A reference names the company on both sides, and a row by the rest."""
    assert ("company_id", "company_id") in [(element.parent.name, element.column.name) for element in key.elements]
    assert "id" in pairs(key).values()


@EVERY_REFERENCE
async def test_reference_cannot_leave_the_company(
    key: ForeignKeyConstraint, rows: AsyncConnection, shared_world: World
) -> None:
    """Neither a new row nor a changed one may refer to a row of another company."""
    table, columns = key.table, pairs(key)
    parent = await row_of(rows, key.referred_table, columns.values(), shared_world.globex.id)
    theirs = {name: parent[target] for name, target in columns.items()}
    mine = await row_of(rows, table, columns, shared_world.acme.id)
    changed = await refusal(rows, update(table).where(*same_row(table, mine)).values(theirs))
    assert changed is not None
    assert (changed.state, changed.constraint) == (FOREIGN_KEY_VIOLATION, key.name)

    given_out = "id" in table.c and (table.c.id.identity is not None or table.c.id.server_default is not None)
    unique = any(isinstance(constraint, UniqueConstraint) for constraint in table.constraints)
    if unique or (not given_out and not columns.keys() & {column.name for column in table.primary_key}):
        await rows.execute(delete(table).where(*same_row(table, mine)))
    new = {name: value for name, value in mine.items() if not (given_out and name == "id")}
    made = await refusal(rows, insert(table).values({**new, **theirs}))
    assert made is not None
    assert (made.state, made.constraint) == (FOREIGN_KEY_VIOLATION, key.name)


@EVERY_REFERENCE
async def test_delete_does_to_referring_rows_what_the_reference_says(
    key: ForeignKeyConstraint, rows: AsyncConnection, shared_world: World
) -> None:
    """CASCADE takes the row along, SET NULL empties the one column, and otherwise the delete is refused."""
    table, columns = key.table, pairs(key)
    row = await row_of(rows, table, columns, shared_world.acme.id)
    if "file_id" in columns:
        await rows.execute(update(table).where(*same_row(table, row)).values(status="EXPIRED"))
    parent = await twin_of_parent(rows, key, shared_world.acme.id)
    referring = {name: parent[target] for name, target in columns.items()}
    await rows.execute(update(table).where(*same_row(table, row)).values(referring))
    gone = delete(key.referred_table).where(*same_row(key.referred_table, parent))
    found = select(*(table.c[name] for name in columns)).where(*same_row(table, {**row, **referring}))
    if key.ondelete is None:
        said = await refusal(rows, gone)
        assert said is not None
        assert (said.state, said.constraint) == (FOREIGN_KEY_VIOLATION, key.name)
        return
    await rows.execute(gone)
    if key.ondelete == "CASCADE":
        assert (await rows.execute(found)).all() == []
    else:
        (name,) = columns
        assert key.ondelete == f"SET NULL ({name})"
        assert (await rows.scalars(found)).all() == [None]


async def test_deleting_a_company_deletes_all_it_owns(rows: AsyncConnection, shared_world: World) -> None:
    """Every row of the company goes in one statement, and none of another's."""
    acme, globex = shared_world.acme.id, shared_world.globex.id

    async def counts(company_id: int) -> dict[str, int | None]:
        return {
            table.name: await rows.scalar(
                select(func.count()).select_from(table).where(table.c.company_id == company_id)
            )
            for table in OWNED
        }

    before = await counts(globex)
    assert all(before.values())
    await rows.execute(delete(Company).where(Company.id == acme))
    assert not any((await counts(acme)).values())
    assert await counts(globex) == before


async def test_file_of_a_completed_export_stays(rows: AsyncConnection, shared_world: World) -> None:
    """A file can be deleted only once its export no longer says that it is there."""
    file = table_of(Export).metadata.tables["files"]
    said = await refusal(rows, delete(file).where(file.c.id == shared_world.acme.rows["file"]))
    assert said is not None
    assert (said.state, said.constraint) == (CHECK_VIOLATION, "exports_completed_file_check")


@pytest.mark.parametrize(("table", "name", "enum"), enums(), ids=lambda part: getattr(part, "name", str(part)))
async def test_enum_column_holds_only_its_values(
    table: Table, name: str, enum: type[StrEnum], rows: AsyncConnection, shared_world: World
) -> None:
    """A value that the enum does not have is refused; its own are not (but SENT, which no campaign ever has)."""
    row = await row_of(rows, table, [], shared_world.acme.id)
    constraint = f"{table.name}_{name}_check"
    for other in checks(table) - {constraint}:
        await rows.execute(text(f"ALTER TABLE {table.name} DROP CONSTRAINT {other}"))

    async def refused_by(value: str) -> str | None:
        said = await refusal(rows, update(table).where(*same_row(table, row)).values({name: value}))
        return None if said is None else said.constraint

    assert await refused_by("NONSENSE") == constraint
    assert await refused_by(next(iter(enum)).lower()) == constraint
    refused_values = {value for value in enum if await refused_by(value) == constraint}
    assert refused_values == ({CampaignStatus.SENT} if enum is CampaignStatus else set())


BROKEN_RULES: list[tuple[str, type[Base], str, dict[str, object]]] = [
    ("campaigns_scope_team_check", Campaign, "global_", {"scope": "TEAM"}),
    ("campaigns_scope_group_check", Campaign, "global_", {"scope": "GROUP"}),
    ("campaigns_task_complete_check", Campaign, "global_", {"task_start_at": NOW}),
    ("campaigns_task_complete_check", Campaign, "global_", {"task_distribution_strategy": "DISTRIBUTE"}),
    ("campaigns_task_complete_check", Campaign, "sent", {"task_distribution_strategy": None}),
    ("campaigns_task_complete_check", Campaign, "sent", {"task_relations_path_id": None}),
    ("campaigns_task_complete_check", Campaign, "sent", {"task_end_at": None}),
    ("campaigns_task_window_check", Campaign, "sent", {"task_start_at": NOW, "task_end_at": NOW}),
    ("campaigns_total_sent_check", Campaign, "sent", {"total_sent": -1}),
    ("campaigns_paused_check", Campaign, "global_", {"paused_at": NOW}),
    ("campaigns_template_deleted_check", Campaign, "sent", {"template_deleted": True}),
    ("campaign_deliveries_recipients_check", CampaignDelivery, "", {"recipients": -1}),
    ("campaign_deliveries_problem_check", CampaignDelivery, "", {"problem_code": "EMPTY_AUDIENCE"}),
    ("campaign_tasks_window_check", CampaignTask, "task", {"end_at": NOW}),
    ("campaign_tasks_done_check", CampaignTask, "task", {"done_at": None}),
    ("test_deliveries_finished_check", TestDelivery, "test_delivery", {"finished_at": NOW}),
    ("test_deliveries_finished_check", TestDelivery, "test_delivery", {"status": "SENT"}),
    ("campaign_settings_consent_check", CampaignSettings, "", {"consent_enabled": True}),
    ("exports_campaign_check", Export, "export", {"campaign_id": None}),
    ("exports_campaign_check", Export, "expired_export", {"kind": "LETTERS"}),
    ("exports_completed_file_check", Export, "export", {"file_id": None}),
    ("exports_completed_file_check", Export, "expired_export", {"status": "COMPLETED"}),
    ("exports_failed_error_check", Export, "failed_export", {"error_code": None}),
    ("exports_failed_error_check", Export, "expired_export", {"error_code": "DISK_FULL"}),
    ("exports_failed_error_check", Export, "expired_export", {"status": "FAILED"}),
    ("exports_rows_processed_check", Export, "export", {"rows_processed": -1}),
    ("exports_rows_total_check", Export, "export", {"rows_total": -1}),
    ("exports_bytes_check", Export, "export", {"bytes": -1}),
    ("files_bytes_check", File, "file", {"bytes": -1}),
    ("templates_margins_check", Template, "template", {"margin_top": -0.1}),
    ("templates_margins_check", Template, "template", {"margin_right": -0.1}),
    ("templates_margins_check", Template, "template", {"margin_bottom": -0.1}),
    ("templates_margins_check", Template, "template", {"margin_left": -0.1}),
]


@pytest.mark.parametrize("broken", BROKEN_RULES, ids=lambda broken: f"{broken[0]}-{'-'.join(broken[3])}")
async def test_row_that_contradicts_itself_is_refused(
    broken: tuple[str, type[Base], str, dict[str, object]], rows: AsyncConnection, shared_world: World
) -> None:
    """A change that breaks a rule of the row is refused by that rule's name."""
    constraint, model, row, values = broken
    table = table_of(model)
    wanted = [table.c.company_id == shared_world.acme.id]
    if row:
        wanted.append(table.c.id == shared_world.acme.rows[row])
    said = await refusal(rows, update(table).where(*wanted).values(values))
    assert said is not None
    assert (said.state, said.constraint) == (CHECK_VIOLATION, constraint)


def test_every_rule_is_broken_here() -> None:
    """No check of the models is left without a test above."""
    rules = {name for table in Base.metadata.sorted_tables for name in checks(table)}
    of_enums = {f"{table.name}_{name}_check" for table, name, _ in enums()}
    assert rules == of_enums | {constraint for constraint, *_ in BROKEN_RULES}


async def test_rules_let_through_what_they_should(rows: AsyncConnection, shared_world: World) -> None:
    """Margins, tasks and consent may be given in part where that makes sense, and zero is not negative."""
    acme = shared_world.acme
    template, campaign = table_of(Template), table_of(Campaign)
    settings, export = table_of(CampaignSettings), table_of(Export)
    no_task = dict.fromkeys(("task_distribution_strategy", "task_relations_path_id", "task_start_at", "task_end_at"))
    for statement in (
        update(template).where(template.c.id == acme.rows["template"]).values(margin_top=0, margin_left=null()),
        update(campaign).where(campaign.c.id == acme.rows["sent"]).values(no_task),
        update(campaign).where(campaign.c.id == acme.rows["sent"]).values(total_sent=0, scope="TEAM"),
        update(settings).values(consent_enabled=True, consent_unsubscribe_url="https://example.com/u"),
        update(export).where(export.c.id == acme.rows["export"]).values(status="EXPIRED", file_id=None),
    ):
        assert await refusal(rows, statement) is None


async def test_email_is_unique_in_a_company_without_case(rows: AsyncConnection, shared_world: World) -> None:
    """Two users of a company cannot differ by the case of their e-mail alone; those of two companies may be equal."""
    build = Builder(rows)
    await build.add(User, company_id=shared_world.acme.id, email="Ada@example.com")
    person = {"first_name": "Ada", "last_name": "Byron", "email": "ada@EXAMPLE.com"}
    said = await refusal(rows, insert(User).values(company_id=shared_world.acme.id, **person))
    assert said is not None
    assert (said.state, said.constraint) == (UNIQUE_VIOLATION, "users_email_key")
    assert await refusal(rows, insert(User).values(company_id=shared_world.globex.id, **person)) is None


async def test_ids_that_sign_in_are_unique_across_companies(rows: AsyncConnection, shared_world: World) -> None:
    """A token's or a user's id alone names one row, whatever its company."""
    acme, globex = shared_world.acme, shared_world.globex
    user = {"first_name": "Ada", "last_name": "Byron", "email": "other@example.com"}
    said = await refusal(rows, insert(User).values(company_id=globex.id, id=acme.member, **user))
    assert said is not None
    assert said.constraint == "users_id_key"
    token = await row_of(rows, table_of(AccessToken), ["id"], acme.id)
    theirs = {**token, "company_id": globex.id, "user_id": globex.member}
    said = await refusal(rows, insert(AccessToken).values(theirs))
    assert said is not None
    assert said.constraint == "access_tokens_id_key"


async def test_contact_is_once_in_a_campaign(rows: AsyncConnection, shared_world: World) -> None:
    """A campaign has a contact as a recipient at most once, and a field's name stands once for its kind."""
    acme = shared_world.acme
    twice = {"company_id": acme.id, "campaign_id": acme.rows["sent"], "contact_id": acme.rows["contact"]}
    said = await refusal(rows, insert(Recipient).values(twice))
    assert said is not None
    assert said.constraint == "recipients_company_id_contact_id_campaign_id_key"
    field = {"company_id": acme.id, "owner": "CONTACT", "type": "TEXT", "name": "cars", "label": "Cars"}
    said = await refusal(rows, insert(Field).values(custom=True, **field))
    assert said is not None
    assert said.constraint == "fields_name_key"
    assert await refusal(rows, insert(Field).values(custom=False, **field)) is None


async def test_recipient_has_at_most_one_message(rows: AsyncConnection, shared_world: World) -> None:
    """A message shares its recipient's id: there is no second one, and none without a recipient."""
    acme = shared_world.acme
    said = await refusal(rows, insert(CampaignMessage).values(company_id=acme.id, id=acme.rows["message"], content=""))
    assert said is not None
    assert (said.state, said.constraint) == (UNIQUE_VIOLATION, "campaign_messages_pkey")
    said = await refusal(rows, insert(CampaignMessage).values(company_id=acme.id, id=2**40, content=""))
    assert said is not None
    assert said.state == FOREIGN_KEY_VIOLATION


async def test_new_row_has_the_defaults(rows: AsyncConnection, shared_world: World) -> None:
    """What a new row does not say is filled in by the database, and its stamps are the transaction's time."""
    acme = shared_world.acme
    build = Builder(rows)
    campaign = table_of(Campaign)
    new = await build.add(Campaign, company_id=acme.id, user_id=acme.member, name="ÉTÉ", message_subject="Hi")
    row = (await rows.execute(select(campaign, func.now().label("now")).where(campaign.c.id == new))).one()
    assert (row.status, row.scope, row.description, row.approved, row.version) == ("DRAFT", "GLOBAL", "", True, 1)
    assert row.created_at == row.updated_at == row.now
    assert row.search_text.endswith("  hi")

    path, account = table_of(RelationsPath), table_of(Account)
    new = await build.add(RelationsPath, company_id=acme.id, name="New SALE")
    assert await rows.scalar(select(path.c.sort_name).where(path.c.id == new)) == "new sale"
    new = await build.add(Account, company_id=acme.id)
    found = (await rows.execute(select(account).where(account.c.id == new))).one()
    assert (found.b2c, found.fixed_fields, found.custom_fields) == (False, {}, {})

    contact = table_of(Contact)
    new = await build.add(Contact, company_id=acme.id, first_name=None, last_name="MERTZ", email=None)
    found = (await rows.execute(select(contact).where(contact.c.id == new))).one()
    assert (found.sort_name, found.search_text) == ("mertz ", " mertz ")
    assert (found.b2c, found.custom_fields, found.social_profile) == (False, {}, {})

    export = table_of(Export)
    wanted = {"company_id": acme.id, "kind": "MAILING", "format": "CSV", "requested_by_id": acme.member}
    made = (await rows.execute(insert(export).values(wanted).returning(export))).one()
    assert (made.status, made.rows_processed, made.parameters, made.file_id) == ("PENDING", 0, {}, None)


async def test_json_keeps_its_values(own_world: World) -> None:
    """What the application writes into a JSON column is read as it was, with its letters and large numbers."""
    value = {"ø": ["\u20ac", None, True, 2**53 + 1, 0.1], "": {}}
    database = Database(own_world.url, pool_size=1)
    try:
        async with database.writing(own_world.acme.id) as session:
            await session.execute(update(Contact).values(custom_fields=value))
            read = await session.execute(select(Contact.custom_fields, Contact.custom_fields["ø"][0].as_string()))
            assert [tuple(row) for row in read] == [(value, "\u20ac")] * 2
    finally:
        await database.close()
