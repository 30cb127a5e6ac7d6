"""Does the demonstration keep its promises: the same rows again, one of everything, and no contradictions?"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from enum import StrEnum

import pytest
from sqlalchemy import text

from store import models
from store.database import APPLICATION_ROLE, SET_COMPANY, owner_transaction
from store.demo import AlreadySeeded, Progress, Size, is_seeded, seed
from store.demo.files import as_csv
from store.demo.plan import FEWEST, SHAPES, companies
from store.sql_types import AnyRow

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
COMPANIES = (1, 2)
OWNED = [table.name for table in models.Base.metadata.sorted_tables if "company_id" in table.columns]
ENUMS: list[tuple[str, str, type[StrEnum]]] = [
    ("users", "role", models.Role),
    ("templates", "type", models.TemplateType),
    ("fields", "owner", models.FieldOwner),
    ("fields", "type", models.FieldType),
    ("contacts", "status", models.ContactStatus),
    ("campaigns", "scope", models.CampaignScope),
    ("campaigns", "task_distribution_strategy", models.DistributionStrategy),
    ("recipients", "status", models.DeliveryStatus),
    ("delivery_reports", "status", models.DeliveryStatus),
    ("exports", "kind", models.ExportKind),
    ("exports", "format", models.ExportFormat),
    ("exports", "status", models.ExportStatus),
]
UNDER_WAY = {models.DeliveryStatus.QUEUED, models.DeliveryStatus.SENDING, models.DeliveryStatus.DEFERRED}


class Files(dict[str, bytes]):
    """A file store that remembers what it was given."""

    async def write(self, key: str, content: bytes) -> None:
        assert key not in self, "a file is written once"
        self[key] = content


async def fill(url: str, files: Files, number: int = 7, progress: Progress = lambda *_: None) -> None:
    await seed(url, Size.SMALL, seed=number, now=NOW, write_file=files.write, progress=progress)


async def rows(url: str, sql: str) -> list[AnyRow]:
    """The rows of a query over `:company_id`, of one company after the other."""
    found: list[AnyRow] = []
    async with owner_transaction(url) as connection:
        for company_id in COMPANIES:
            await connection.execute(SET_COMPANY, {"company_id": str(company_id)})
            found += (await connection.execute(text(sql), {"company_id": company_id})).all()
    return found


async def digests(url: str) -> dict[str, list[object]]:
    """For each table, one digest of all rows of each company."""
    whole = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} AS t WHERE {} = :company_id"
    keys = {"companies": "id", **dict.fromkeys(OWNED, "company_id")}
    return {table: [row[0] for row in await rows(url, whole.format(table, key))] for table, key in keys.items()}


# What comes of people's doings.
NOT_SEEDED = {
    "access_tokens",
    "idempotency_keys",
    "jobs",
    "notifications",
    "previews",
    "suppressions",
    "test_deliveries",
}


async def execute(url: str, *statements: str) -> None:
    async with owner_transaction(url) as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def test_same_arguments_give_the_same_rows_and_files(empty_database: str) -> None:
    """Two seedings with the same seed, size and moment are equal row for row and byte for byte; another seed is not."""
    first, second, other = Files(), Files(), Files()
    await fill(empty_database, first)
    before = await digests(empty_database)
    assert {table for table, found in before.items() if None in found} == NOT_SEEDED

    await execute(empty_database, "TRUNCATE companies CASCADE")
    await fill(empty_database, second)
    assert await digests(empty_database) == before
    assert second == first

    await execute(empty_database, "TRUNCATE companies CASCADE")
    await fill(empty_database, other, number=8)
    after = await digests(empty_database)
    alike = {table for table in before if after[table] == before[table]}
    assert alike == {"companies", "campaign_settings", "fields", "team_members"} | NOT_SEEDED
    assert not first.keys() & other.keys()


async def test_companies_share_no_id(empty_database: str) -> None:
    """Ids are told apart across companies, although each company is made by the same statements."""
    await fill(empty_database, Files())
    for table in ("users", "templates", "fields", "contacts", "campaigns", "recipients", "exports", "files"):
        found = Counter(
            row[0] for row in await rows(empty_database, f"SELECT id FROM {table} WHERE company_id = :company_id")
        )
        assert found.most_common(1)[0][1] == 1, table


async def test_one_of_everything(empty_database: str) -> None:
    """Every value of every enum occurs, every campaign type in every status, and every combination of consents."""

    async def values(table: str, columns: str) -> set[tuple[object, ...]]:
        sql = f"SELECT DISTINCT {columns} FROM {table} WHERE company_id = :company_id"
        return {tuple(row) for row in await rows(empty_database, sql)}

    await fill(empty_database, Files())
    stored = set(models.CampaignStatus) - {models.CampaignStatus.SENT}
    for table, column, enum in ENUMS:
        # Nobody of the demo's canceled campaigns had been chosen yet.
        missing = set(enum) - {value for (value,) in await values(table, column)} - {models.DeliveryStatus.CANCELED}
        assert not missing, f"{table}.{column}"
    assert set(itertools.product(models.CampaignType, stored)) <= await values("campaigns", "type, status")
    states = await values("contacts", "status IS NULL, email IS NULL, custom_fields = '{}'")
    assert states >= {(True, False, False), (False, True, False), (False, False, True)}
    # Whatever the seed: the newest campaign's first recipients show what a completed one can come to.
    newest = """(SELECT r.status, r.company_id FROM recipients AS r JOIN (SELECT id FROM campaigns
        WHERE company_id = :company_id AND status = 'COMPLETED' ORDER BY sent_at DESC LIMIT 1) AS c
        ON c.id = r.campaign_id ORDER BY r.id LIMIT 10) AS first"""
    ends = set(models.DeliveryStatus) - UNDER_WAY - {models.DeliveryStatus.CANCELED}
    assert {status for (status,) in await values(newest, "status")} == ends
    channels = [f"{channel}_consent_given" for channel in ("email", "letter", "call", "sms")]
    assert await values("contacts", ", ".join(channels)) == set(itertools.product((None, True, False), repeat=4))
    domains = await values("campaign_settings", "domain IS NULL, domain_slug IS NULL")
    assert domains == {(False, False), (True, False)}


async def test_later_rows_get_fresh_ids(empty_database: str) -> None:
    """What is inserted after the seeding takes the next id of each sequence and collides with nothing."""
    await fill(empty_database, Files())
    counted = [
        table.name
        for table in models.Base.metadata.sorted_tables
        if "id" in table.c and table.c["id"].identity is not None and table.name not in NOT_SEEDED
    ]
    assert len(counted) == 9
    for table in counted:
        key = "id" if table == "companies" else "company_id"
        largest = await rows(empty_database, f"SELECT max(id) FROM {table} WHERE {key} = :company_id")
        following = await rows(empty_database, f"SELECT nextval(pg_get_serial_sequence('{table}', 'id'))")
        assert following[0][0] == max(row[0] for row in largest) + 1, table


async def test_refuses_a_database_with_companies(empty_database: str) -> None:
    """A second seeding is refused and changes nothing, neither rows nor files."""
    assert not await is_seeded(empty_database)
    await fill(empty_database, Files())
    assert await is_seeded(empty_database)
    before, files = await digests(empty_database), Files()
    with pytest.raises(AlreadySeeded):
        await fill(empty_database, files, number=8)
    assert await digests(empty_database) == before
    assert not files


async def test_two_at_once(empty_database: str) -> None:
    """Of two seedings at the same time one makes everything and the other is refused."""
    ended = await asyncio.gather(
        fill(empty_database, Files()), fill(empty_database, Files(), number=8), return_exceptions=True
    )
    assert sorted(type(end).__name__ for end in ended) == ["AlreadySeeded", "NoneType"]


async def test_failure_leaves_nothing(empty_database: str) -> None:
    """When a file cannot be written nothing stays in the database, and the next seeding succeeds."""

    async def fail(key: str, content: bytes) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        await seed(empty_database, Size.SMALL, seed=7, now=NOW, write_file=fail, progress=lambda *_: None)
    assert not await is_seeded(empty_database)
    await fill(empty_database, Files())


async def test_ordinary_owner(empty_database: str) -> None:
    """An owner whom row security binds seeds the same rows, and is refused the second time."""
    await fill(empty_database, Files())
    before = await digests(empty_database)
    await execute(
        empty_database,
        "TRUNCATE companies CASCADE",
        *(f"ALTER TABLE {table} OWNER TO {APPLICATION_ROLE}" for table in ("companies", *OWNED)),
        # The name of the database is known only to the server, and the setting takes a constant.
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET role = {APPLICATION_ROLE}', current_database()); END $$",
    )
    assert {row[0] for row in await rows(empty_database, "SELECT current_user")} == {APPLICATION_ROLE}
    assert not await is_seeded(empty_database)
    await fill(empty_database, Files())
    assert await digests(empty_database) == before
    assert await is_seeded(empty_database)
    with pytest.raises(AlreadySeeded):
        await fill(empty_database, Files())
    await execute(empty_database, "SELECT set_config('app.company_id', '1', true)", "DELETE FROM companies")
    assert await is_seeded(empty_database), "the second company is still there"


CONTRADICTIONS = {
    "a status and the plan behind it disagree": """
        SELECT id FROM campaigns WHERE company_id = :company_id AND NOT CASE status
            WHEN 'DRAFT' THEN (NOT approved OR send_at IS NULL) AND sent_at IS NULL AND total_sent IS NULL
            WHEN 'PENDING' THEN approved AND send_at > :now AND sent_at IS NULL AND total_sent IS NULL
            WHEN 'COMPLETED' THEN approved AND sent_at > send_at AND sent_at < :now AND total_sent IS NOT NULL
            WHEN 'CANCELED' THEN sent_at IS NULL AND total_sent IS NULL
            WHEN 'SENDING' THEN approved AND sent_at > send_at AND sent_at < :now AND total_sent IS NOT NULL
            ELSE approved AND send_at < :now AND sent_at IS NULL AND total_sent = 0 END""",
    "a campaign could not have been entered": """
        SELECT id FROM campaigns WHERE company_id = :company_id AND (
            (NOT approved OR type <> 'TELEPHONE') AND message_content IS NULL
            OR (NOT approved OR type = 'EMAIL') AND (message_subject IS NULL OR message_sender IS NULL)
            OR approved AND filter IS NULL OR task_start_at <= send_at OR created_at >= send_at)""",
    "a template is of another type, or not for campaigns": """
        SELECT c.id FROM campaigns AS c JOIN templates AS t ON t.company_id = c.company_id AND t.id = c.template_id
        WHERE c.company_id = :company_id AND (t.type <> c.type OR NOT t.campaign)""",
    "a task has no users, or users without a task": """
        SELECT c.id FROM campaigns AS c WHERE c.company_id = :company_id
            AND (task_start_at IS NULL) = EXISTS (SELECT FROM campaign_task_users AS u WHERE u.campaign_id = c.id)""",
    "the total is not the number of recipients sent": """
        SELECT c.id FROM campaigns AS c WHERE c.company_id = :company_id AND coalesce(total_sent, 0)
            <> (SELECT count(sent_at) FROM recipients AS r WHERE r.campaign_id = c.id)""",
    "a recipient was sent nothing, or was sent something before it was due": """
        SELECT r.id FROM recipients AS r JOIN campaigns AS c ON c.id = r.campaign_id WHERE r.company_id = :company_id
            AND ((r.sent_at IS NOT NULL) <> (r.status IN ('SENT', 'DELIVERED', 'BOUNCED', 'UNSUBSCRIBED'))
                OR r.sent_at < c.send_at OR r.sent_at > c.sent_at OR r.updated_at > :now)""",
    "a completed campaign has recipients still under way": """
        SELECT r.id FROM recipients AS r JOIN campaigns AS c ON c.id = r.campaign_id WHERE r.company_id = :company_id
            AND c.status = 'COMPLETED' AND r.status IN ('QUEUED', 'SENDING', 'DEFERRED')""",
    "a recipient is not in the campaign's audience": """
        SELECT r.id FROM recipients AS r JOIN campaigns AS c ON c.id = r.campaign_id
            JOIN contacts AS p ON p.id = r.contact_id WHERE r.company_id = :company_id AND (
            p.created_at > c.created_at OR c.type = 'EMAIL' AND r.address <> p.email
            OR c.filter -> 0 ->> 'operator' = 'ct' AND p.last_name NOT ILIKE '%e%'
            OR c.filter -> 0 ->> 'field' = 'contact.status' AND p.status IS DISTINCT FROM 'CUSTOMER'
            OR c.type = 'EMAIL' AND p.email_consent_given IS FALSE)""",
    "the last report is not the recipient's state": """
        SELECT r.id FROM recipients AS r WHERE r.company_id = :company_id AND status <> (
            SELECT d.status FROM delivery_reports AS d WHERE d.recipient_id = r.id
            ORDER BY occurred_at DESC, id DESC LIMIT 1)""",
    "a message was not sent, or is not kept": """
        SELECT r.id FROM recipients AS r JOIN campaigns AS c ON c.id = r.campaign_id
            LEFT JOIN campaign_messages AS m ON m.id = r.id WHERE r.company_id = :company_id
            AND (m.id IS NOT NULL) <> (r.sent_at IS NOT NULL AND c.type <> 'TELEPHONE')""",
    "a message has a merge field left": """
        SELECT id FROM campaign_messages WHERE company_id = :company_id AND content LIKE '%{{%'""",
    "a row was made after now, or changed before it was made": " UNION ALL ".join(
        f"SELECT '{table.name}' FROM {table.name}"
        f" WHERE company_id = :company_id AND (created_at > :now OR updated_at < created_at)"
        for table in models.Base.metadata.sorted_tables
        if {"company_id", "created_at", "updated_at"} <= set(table.columns.keys())
    ),
    "an export cannot be in that state": """
        SELECT e.id FROM exports AS e LEFT JOIN files AS f ON f.id = e.file_id WHERE e.company_id = :company_id
            AND NOT CASE e.status
                WHEN 'COMPLETED' THEN f.expires_at = :now + interval '7 days' AND rows_processed = rows_total
                WHEN 'EXPIRED' THEN f.expires_at < :now AND rows_processed = rows_total
                WHEN 'PENDING' THEN f.id IS NULL AND rows_processed = 0
                ELSE f.id IS NULL AND rows_processed <= rows_total END""",
    "a regenerated export differs from the one it stands for": """
        SELECT e.id FROM exports AS e JOIN exports AS old ON old.id = e.regenerated_from_id
        WHERE e.company_id = :company_id AND (old.status <> 'EXPIRED'
            OR (e.kind, e.format, e.parameters) <> (old.kind, old.format, old.parameters))""",
}


async def test_nothing_contradicts_itself(empty_database: str) -> None:
    """States, times, totals, audiences, reports, messages and exports agree with each other."""
    await fill(empty_database, Files())
    for contradiction, sql in CONTRADICTIONS.items():
        moment = f"timestamptz '{NOW.isoformat()}'"
        found = await rows(empty_database, sql.replace(":now", moment))
        assert not found, contradiction
    assert await rows(empty_database, "SELECT id FROM exports WHERE regenerated_from_id IS NOT NULL")


def fits(kind: str, value: object, choices: Sequence[str]) -> bool:
    """Whether a JSON value may stand in a field of that type."""
    match models.FieldType(kind), value:
        case (models.FieldType.BOOLEAN, bool()) | (models.FieldType.TEXT, str()):
            return True
        case (models.FieldType.INTEGER, int()) | (models.FieldType.NUMBER, int() | float()):
            return not isinstance(value, bool)
        case models.FieldType.DATE, str():
            return date.fromisoformat(value).isoformat() == value
        case models.FieldType.SINGLE_CHOICE, str():
            return value in choices
        case models.FieldType.MULTIPLE_CHOICE, list():
            return set(value) <= set(choices)
        case _:
            return False


VALUES = {
    ("CONTACT", True): "SELECT company_id, custom_fields FROM contacts WHERE company_id = :company_id",
    ("CONTACT", False): """SELECT company_id, jsonb_strip_nulls(jsonb_build_object('country', country)) FROM contacts
        WHERE company_id = :company_id""",
    ("ACCOUNT", True): "SELECT company_id, custom_fields FROM accounts WHERE company_id = :company_id",
    ("ACCOUNT", False): "SELECT company_id, fixed_fields FROM accounts WHERE company_id = :company_id",
}


async def test_field_values_are_of_their_types(empty_database: str) -> None:
    """Every custom value, and every country, has a definition of its name and is of that definition's type."""
    await fill(empty_database, Files())
    defined = await rows(empty_database, "SELECT * FROM fields WHERE company_id = :company_id")
    definitions = {(row.company_id, row.owner, row.custom, row.name): row for row in defined}
    seen = set()
    for (owner, custom), sql in VALUES.items():
        for row in await rows(empty_database, sql):
            company_id, values = row
            for name, value in values.items():
                definition = definitions[company_id, owner, custom, name]
                assert fits(definition.type, value, definition.choices), (name, value)
                seen.add(definition.type)
    assert seen == set(models.FieldType)
    thirteen = [row.name for row in defined if row.company_id == 1 and row.owner == "CONTACT" and not row.custom]
    assert len(thirteen) == 13
    assert set(thirteen) <= set(models.Base.metadata.tables["contacts"].columns.keys())


async def test_files_are_those_of_the_exports(empty_database: str) -> None:
    """The files written are the completed exports', with their size, digest and rows, and safe in a spreadsheet."""
    files = Files()
    await fill(empty_database, files)
    sql = """SELECT f.key, f.bytes, f.sha256, e.bytes AS export_bytes, e.sha256 AS export_sha256, e.rows_total,
        e.format FROM exports AS e JOIN files AS f ON f.company_id = e.company_id AND f.id = e.file_id
        WHERE e.company_id = :company_id AND e.status = 'COMPLETED'"""
    exports = await rows(empty_database, sql)
    assert {row.key for row in exports} == set(files)
    assert {row.format for row in exports} == {"CSV", "JSONL"}
    for row in exports:
        content = files[row.key]
        digest = hashlib.sha256(content).hexdigest()
        assert (row.bytes, row.sha256) == (row.export_bytes, row.export_sha256) == (len(content), digest)
        lines = content.decode().splitlines()
        header = 1 if row.format == "CSV" else 0
        assert len(lines) == row.rows_total + header > 1
        if row.format == "CSV":
            cells = [cell for line in csv.reader(lines) for cell in line]
            assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_cells_are_no_formulas(start: str) -> None:
    """A cell that a spreadsheet would calculate begins with an apostrophe; other cells are as they were."""
    lines = as_csv(["name"], [[f"{start}1"], ["a=1"], [None]]).decode()
    assert list(csv.reader(lines.splitlines(keepends=True)))[1:] == [[f"'{start}1"], ["a=1"], [""]]


async def test_no_address_could_be_anybodys(empty_database: str) -> None:
    """Every mail and web address is on a domain that is reserved for examples, and every mailbox is plain ASCII."""
    reserved = re.compile(r"^(?:[a-z0-9-]+\.)*(?:example\.(?:com|org|net)|example)$")

    files = Files()
    await fill(empty_database, files)
    texts = [content.decode() for content in files.values()]
    for table in OWNED:
        sql = f"SELECT t::text FROM {table} AS t WHERE company_id = :company_id"
        texts += [str(row[0]) for row in await rows(empty_database, sql)]
    everything = "\n".join(texts)
    hosts = set(re.findall(r"(?:@|https?://)([\w.-]+)", everything))
    assert len(hosts) > 10
    assert not [host for host in hosts if not reserved.match(host)]
    mailboxes = re.findall(r"([^\s\",()<>']+)@", everything)
    assert not [mailbox for mailbox in mailboxes if not re.fullmatch(r"[a-z0-9.]+", mailbox)]


async def test_progress_runs_to_its_end(empty_database: str) -> None:
    """The rows done never fall, never pass the rows in all, and arrive there; every larger table is named."""
    shown: list[tuple[str, int, int]] = []

    await fill(empty_database, Files(), progress=lambda *step: shown.append(step))
    done = [rows_done for _, rows_done, _ in shown]
    assert done == sorted(done)
    assert {in_all for _, _, in_all in shown} == {done[-1]}
    assert {"contacts", "campaigns", "recipients", "delivery reports"} <= {what for what, _, _ in shown}


@pytest.mark.parametrize("size", Size)
def test_companies_share_the_totals(size: Size) -> None:
    """The companies of a size have its totals together, none is too small to show one of everything."""
    plans = companies(size)
    total = Counter[str]()
    for plan in plans:
        assert asdict(plan.before) == {name: total[name] for name in asdict(plan.before)}
        total.update(asdict(plan.counts))
        assert all(value >= asdict(FEWEST)[name] for name, value in asdict(plan.counts).items())
    assert total == asdict(SHAPES[size].total)
    assert 2 <= len(plans) <= 4
