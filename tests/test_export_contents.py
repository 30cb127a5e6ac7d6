"""What does an export hold, to the character?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import text

from jobs.exports.copying import copying
from store.database import owner_transaction
from store.exports import FORMATS
from store.models import (
    Contact,
    ContactList,
    ContactListMember,
    DeliveryReport,
    ExportFormat,
    ExportKind,
    Field,
    Recipient,
)
from store.models.base import JsonValue
from tests.build import NOW, Builder
from tests.conftest import World
from tests.export_copies import chunk_of, copied, opened, order, records, rest

pytestmark = pytest.mark.anyio

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1")
HOSTILE = (
    *FORMULAS,
    "",
    " ",
    ",",
    '"',
    "'",
    '"quoted"',
    "a,b\nc\r\nd",
    "\\",
    "\\.",
    "\\N",
    "NULL",
    "$1 $2 $$ $a$b$a$",
    "%s %(name)s {0}",
    "'; DROP TABLE contacts; --",
    "E'\\x27'",
    "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\ufeff",
    "\x01\x02",
    "👩‍👩‍👧 🇩🇰 ﷽",
    "שלום \u202eabc\u202c",
    "＝1+1",
    "x" * 100_000,
    '"' * 100_000,
)
DAY = timedelta(days=1)


async def add_contacts(world: World, *rows: Mapping[str, Any]) -> list[str]:
    """Contacts of acme a second apart, after those of the small world; their ids."""
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        return [
            str(
                await build.add(
                    Contact,
                    **{"company_id": world.acme.id, "created_at": NOW + 2 * DAY + timedelta(seconds=place), **row},
                )
            )
            for place, row in enumerate(rows)
        ]


async def test_a_contact(world: World) -> None:
    """A contact is written with its account, user and team; times are in UTC, nothing stands for null."""
    async with opened(world.url) as database:
        found = await records(database, order(world.acme))
        whole = await copied(database, order(world.acme))
    rows = world.acme.rows
    assert [row["ID"] for row in found] == [str(rows["contact"]), str(rows["other_contact"])]
    contact = found[0]
    assert contact["Created at"] == "2026-11-21T12:00:00Z"
    assert contact["E-mail consent updated at"] == "2026-11-21T12:00:00Z"
    assert (contact["E-mail consent given"], contact["Letter consent given"]) == ("true", "")
    assert (contact["B2C"], contact["Status"], contact["date of birth"]) == ("false", "LEAD", "1980-02-29")
    assert (contact["Account"], contact["Account ID"]) == ("Byron Ltd", str(rows["account"]))
    assert (contact["User ID"], contact["Team ID"], contact["Team"]) == (
        str(world.acme.manager),
        str(rows["sales"]),
        "Sales",
    )
    assert "@" in contact["User"]
    assert contact["Cars"] == "2"
    assert whole.decode().count("\n") == 3
    assert b"\r" not in whole


@pytest.mark.parametrize("raw", [False, True])
async def test_hostile_text_in_csv(world: World, raw: bool) -> None:
    """Text comes back from CSV as it is, but that an apostrophe stands before what could be a formula, unless raw."""
    await add_contacts(world, *({"first_name": value} for value in HOSTILE))
    async with opened(world.url) as database:
        found = await records(database, order(world.acme, parameters={"raw": raw}))
    written = [row["first name"] for row in found[2:]]
    assert written == [f"'{value}" if value in FORMULAS and not raw else value for value in HOSTILE]


@pytest.mark.parametrize("format", [ExportFormat.JSONL, ExportFormat.XLSX])
async def test_hostile_text_in_json(world: World, format: ExportFormat) -> None:
    """Text in JSON is the same, to the last control character, and each row is one line."""
    await add_contacts(world, *({"first_name": value} for value in HOSTILE))
    async with opened(world.url) as database:
        found = await records(database, order(world.acme, format=format))
    assert [row["first_name"] for row in found[2:]] == list(HOSTILE)


async def test_null_and_empty_text(world: World) -> None:
    """In CSV null is nothing and an empty text is two quotes; in JSON they are null and an empty text."""
    await add_contacts(world, {"title": "", "city": None, "custom_fields": {"cars": ""}})
    parameters: dict[str, JsonValue] = {"columns": ["title", "city", "custom_fields.cars"]}
    async with opened(world.url) as database:
        in_csv = await copied(database, order(world.acme, parameters=parameters))
        in_json = await copied(database, order(world.acme, format=ExportFormat.XLSX, parameters=parameters))
    assert in_csv.splitlines()[-1] == b'"",,""'
    assert in_json.splitlines()[-1] == b'["",null,""]'


CUSTOM: tuple[tuple[JsonValue, str, JsonValue], ...] = (
    # The stored JSON, the cell in CSV, the value of a text column in a line for a workbook.
    ("=cmd", "'=cmd", "=cmd"),
    (["golf", "sailing"], "golf; sailing", "golf; sailing"),
    (["=a", "b"], "'=a; b", "=a; b"),
    ([None, "=a"], "'=a", "=a"),
    ([*"abcdefgh"], "a; b; c; d; e; f; g; h", "a; b; c; d; e; f; g; h"),
    (["-a", *"bcdefgh"], "'-a; b; c; d; e; f; g; h", "-a; b; c; d; e; f; g; h"),
    ([1, True, None, ["x"], {"y": "z"}], '1; true; ["x"]; {"y": "z"}', '1; true; ["x"]; {"y": "z"}'),
    ([], "", ""),
    ("[not a list]", "[not a list]", "[not a list]"),
    ("[", "[", "["),
    (True, "true", "true"),
    (-5, "-5", "-5"),
    (1.50, "1.5", "1.5"),
    (10**30, "1" + "0" * 30, "1" + "0" * 30),
    ({"a": "=b"}, '{"a": "=b"}', '{"a": "=b"}'),
    (None, "", None),
    ("", "", ""),
    ("2020-01-01", "2020-01-01", "2020-01-01"),
    ('say "hi"\n', 'say "hi"\n', 'say "hi"\n'),
)


@pytest.mark.parametrize("type_", ["TEXT", "NUMBER", "BOOLEAN", "DATE", "MULTIPLE_CHOICE"])
async def test_custom_values_of_any_type(world: World, type_: str) -> None:
    """Whatever JSON stands under a custom field is written, whether it fits the field's type or not."""
    async with owner_transaction(world.url) as connection:
        await Builder(connection).add(
            Field, company_id=world.acme.id, custom=True, type=type_, name="any", label="Any", sort_order=9
        )
    await add_contacts(world, *({"custom_fields": {"any": stored}} for stored, _cell, _text in CUSTOM), {})
    parameters: dict[str, JsonValue] = {"columns": ["custom_fields.any", "id"]}
    async with opened(world.url) as database:
        in_csv, in_json, in_sheet = [
            (await records(database, order(world.acme, format=format, parameters=parameters)))[2:]
            for format in (ExportFormat.CSV, ExportFormat.JSONL, ExportFormat.XLSX)
        ]
    assert [row["Any"] for row in in_csv] == [*(cell for _stored, cell, _text in CUSTOM), ""]
    stored = [read_by_orjson(value) for value, _cell, _text in CUSTOM]
    assert [row["custom_fields.any"] for row in in_json] == [*stored, None]
    texts = [text for _stored, _cell, text in CUSTOM] if type_ in ("TEXT", "MULTIPLE_CHOICE") else stored
    assert [row["custom_fields.any"] for row in in_sheet] == [*texts, None]


def read_by_orjson(value: JsonValue) -> JsonValue:
    """Numbers beyond 64 bits are read as floats."""
    return float(value) if isinstance(value, int) and value > 2**64 else value


async def test_hostile_names_and_labels(world: World) -> None:
    """A custom field's name finds its value whatever is in it; its label is a header like any text."""
    name, label = "a'b\"c\\d $1 % é", '=HYPERLINK("x"),\n$2'
    async with owner_transaction(world.url) as connection:
        await Builder(connection).add(
            Field, company_id=world.acme.id, custom=True, name=name, label=label, sort_order=9
        )
    await add_contacts(world, {"custom_fields": {name: "found"}})
    column = f"custom_fields.{name}"
    parameters: dict[str, JsonValue] = {"columns": ["last_name", column]}
    async with opened(world.url) as database:
        in_csv = await records(database, order(world.acme, parameters=parameters))
        in_raw = await records(database, order(world.acme, parameters={**parameters, "raw": True}))
        in_json = await records(database, order(world.acme, format=ExportFormat.JSONL, parameters=parameters))
    assert in_csv[-1] == {"last name": "Mertz", f"'{label}": "found"}
    assert in_raw[-1] == {"last name": "Mertz", label: "found"}
    assert in_json[-1] == {"last_name": "Mertz", column: "found"}


@pytest.mark.parametrize("value", [value for value in HOSTILE if 0 < len(value) < 1000])
async def test_hostile_filters(world: World, value: str) -> None:
    """A filter finds the contacts with the text that it holds, whatever the text is."""
    await add_contacts(world, *({"city": city, "title": "it"} for city in {value, f"{value}x", "$1"}))
    found: list[JsonValue] = [{"field": "contact.fixed_fields.city", "operator": "eq", "value": value}]
    parameters: dict[str, JsonValue] = {"filter": found, "raw": True}
    async with opened(world.url) as database:
        rows = await records(database, order(world.acme, ExportKind.MAILING, parameters=parameters))
    assert [row["City"] for row in rows] == [value]


async def test_times_that_never_are(world: World) -> None:
    """A time or a day without end is written as PostgreSQL calls it, and fractions of a second are kept."""
    (id,) = await add_contacts(world, {"created_at": NOW + 3 * DAY + timedelta(microseconds=120)})
    async with owner_transaction(world.url) as connection:
        await connection.execute(
            text(
                "UPDATE contacts SET latest_activity_at = 'infinity', email_consent_updated_at = '-infinity',"
                " date_of_birth = 'infinity', updated_at = '0044-03-15 00:00:00 BC' WHERE id = :id"
            ),
            {"id": id},
        )
        await connection.execute(
            text("UPDATE contacts SET created_at = '-infinity' WHERE id = :id"), {"id": world.acme.rows["contact"]}
        )
    async with opened(world.url) as database:
        for format in FORMATS[ExportKind.CONTACTS]:
            found = [list(row.values()) for row in await records(database, order(world.acme, format=format), 1)]
            assert [row[0] for row in found] == [
                *(str(world.acme.rows[name]) for name in ("contact", "other_contact")),
                id,
            ]
            assert found[0][1] == "-infinity"
            assert found[2][1] == "2026-11-24T12:00:00.00012Z"
            assert [value for value in found[2] if "infinity" in str(value)] == ["infinity", "infinity", "-infinity"]


async def many_rows(world: World) -> None:
    """Contacts, recipients and reports, many of them at the same time."""
    async with owner_transaction(world.url) as connection:
        build, own = Builder(connection), {"company_id": world.acme.id}
        for number in range(7):
            contact = await build.add(Contact, **own, created_at=NOW, first_name=f"=N{number}")
            await build.add(ContactListMember, **own, list_id=world.acme.rows["list"], contact_id=contact)
            recipient = await build.add(
                Recipient, **own, campaign_id=world.acme.rows["sent"], contact_id=contact, address="+45"
            )
            for status in ("SENT", "DELIVERED"):
                await build.add(
                    DeliveryReport, **own, campaign_id=world.acme.rows["sent"], recipient_id=recipient,
                    status=status, occurred_at=NOW + DAY, reply="-ok",
                )  # fmt: skip


ORDERS: tuple[tuple[ExportKind, str], ...] = (
    (ExportKind.CONTACTS, "all"),
    (ExportKind.CONTACTS, "lists"),
    (ExportKind.CONTACTS, "named"),
    (ExportKind.CAMPAIGN_RECIPIENTS, "campaign"),
    (ExportKind.DELIVERY_REPORTS, "campaign"),
    (ExportKind.DELIVERY_REPORTS, "period"),
    (ExportKind.MAILING, "filter"),
)


async def parameters_of(world: World, what: str) -> dict[str, JsonValue]:
    """What an order for acme's rows names."""
    async with owner_transaction(world.url) as connection:
        wanted = {"company_id": world.acme.id}
        ids = (await connection.scalars(text("SELECT id FROM contacts WHERE company_id = :company_id"), wanted)).all()
    given: dict[str, dict[str, JsonValue]] = {
        "all": {},
        "lists": {"listIds": [world.acme.rows["list"]]},
        "named": {"contactIds": [str(id) for id in ids]},
        "campaign": {"campaignId": str(world.acme.rows["sent"])},
        "period": {"startDateTime": "2026-11-01T00:00:00Z", "endDateTime": "2026-12-01T00:00:00Z"},
        "filter": {"filter": [{"field": "contact.list.id", "operator": "in", "value": [str(world.acme.rows["list"])]}]},
    }
    return given[what]


@pytest.mark.parametrize(("kind", "what"), ORDERS)
async def test_resumed(world: World, kind: ExportKind, what: str) -> None:
    """Stopped after any chunk and gone on with in another snapshot, the export is the same byte for byte."""
    await many_rows(world)
    async with opened(world.url) as database:
        for format in FORMATS[kind]:
            wanted = order(world.acme, kind, format, await parameters_of(world, what))
            whole = await copied(database, wanted, 1000)
            assert whole.count(b"\n") >= 8
            async with copying(database, wanted) as source:
                lines = [source.header()]
                place = None
                while (chunk := await chunk_of(source, place, lines.append, 3)) is not None:
                    place = orjson.loads(orjson.dumps(chunk.place))
                    async with copying(database, wanted) as resumed:
                        others: list[bytes] = []
                        await rest(resumed, place, others, 2)
                    assert b"".join([*lines, *others]) == whole
            assert b"".join(lines) == whole


@pytest.mark.parametrize(("kind", "what"), ORDERS)
async def test_another_companys_rows(world: World, kind: ExportKind, what: str) -> None:
    """An order of a company that names the rows of another holds none of these."""
    await many_rows(world)
    parameters = await parameters_of(world, what)
    async with opened(world.url) as database:
        for format in FORMATS[kind]:
            ours = await copied(database, order(world.acme, kind, format, parameters))
            theirs = await copied(database, order(world.globex, kind, format, parameters))
            there_is_more = what in ("all", "period")
            header = theirs.split(b"\n")[0] if format is ExportFormat.CSV else b""
            assert (len(theirs) > len(header) + 1) is there_is_more
            left = set(theirs.splitlines()) & set(ours.splitlines())
            assert left == ({header} if header else set())


async def test_a_scope_of_another_company(world: World) -> None:
    """Even with the scope of somebody else, row security shows the rows of the order's own company alone."""
    wanted = order(world.acme)
    crossed = type(wanted)(world.globex.id, wanted.kind, wanted.format, wanted.parameters, wanted.scope, wanted.as_of)
    async with opened(world.url) as database:
        assert await records(database, crossed) == []


@pytest.mark.parametrize(("role", "reports"), [("admin", 2), ("manager", 2), ("member", 1)])
async def test_reports_of_visible_campaigns(world: World, role: str, reports: int) -> None:
    """Delivery reports of a period are those of the campaigns that whoever asked for them may see."""
    rows = world.acme.rows
    async with owner_transaction(world.url) as connection:
        await Builder(connection).add(
            DeliveryReport,
            company_id=world.acme.id,
            recipient_id=rows["hidden_recipient"],
            campaign_id=rows["personal"],
            occurred_at=NOW,
        )
    period = await parameters_of(world, "period")
    hidden: dict[str, JsonValue] = {"campaignId": str(rows["personal"])}
    async with opened(world.url) as database:
        found = await records(database, order(world.acme, ExportKind.DELIVERY_REPORTS, parameters=period, role=role))
        assert len(found) == reports
        for kind in (ExportKind.DELIVERY_REPORTS, ExportKind.CAMPAIGN_RECIPIENTS):
            of_hidden = await records(database, order(world.acme, kind, parameters=hidden, role=role))
            assert len(of_hidden) == (0 if role == "member" else 1)


async def test_a_report(world: World) -> None:
    """A report is written with its campaign, and with its recipient's contact and address."""
    rows = world.acme.rows
    wanted = order(world.acme, ExportKind.DELIVERY_REPORTS, ExportFormat.JSONL, {"campaignId": str(rows["sent"])})
    async with opened(world.url) as database:
        assert await records(database, wanted) == [
            {
                "id": rows["report"],
                "campaign_id": str(rows["sent"]),
                "campaign_name": "Sent",
                "recipient_id": rows["recipient"],
                "contact_id": str(rows["contact"]),
                "address": "maegan@example.com",
                "status": "SENT",
                "occurred_at": "2026-11-21T12:00:00Z",
                "reply": "250 OK",
            }
        ]


async def test_a_recipient(world: World) -> None:
    """A recipient is written with its delivery and its contact's fields; without a contact these are null."""
    rows = world.acme.rows
    async with owner_transaction(world.url) as connection:
        await Builder(connection).add(Recipient, company_id=world.acme.id, campaign_id=rows["sent"])
    wanted = order(world.acme, ExportKind.CAMPAIGN_RECIPIENTS, ExportFormat.JSONL, {"campaignId": str(rows["sent"])})
    async with opened(world.url) as database:
        with_contact, without = await records(database, wanted)
    assert (with_contact["id"], with_contact["status"], with_contact["address"]) == (
        rows["recipient"],
        "DELIVERED",
        "maegan@example.com",
    )
    assert (with_contact["sent_at"], with_contact["contact_first_name"]) == ("2026-11-21T12:00:00Z", "Maegan")
    assert with_contact["contact_date_of_birth"] == "1980-02-29"
    assert (without["contact_id"], without["contact_first_name"]) == (None, None)


@pytest.mark.parametrize(
    ("start", "end", "reports"),
    [
        ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00.000001Z", 1),
        ("2026-11-21T11:00:00Z", "2026-11-21T12:00:00Z", 0),
        ("2026-11-21T13:00:00+01:00", "2026-11-22T00:00:00+00:00", 1),
        ("2026-11-21T12:00:00.000001Z", "2026-11-22T00:00:00Z", 0),
    ],
)
async def test_period(world: World, start: str, end: str, reports: int) -> None:
    """A period begins with its start and ends before its end."""
    parameters: dict[str, JsonValue] = {"startDateTime": start, "endDateTime": end}
    async with opened(world.url) as database:
        found = await records(database, order(world.acme, ExportKind.DELIVERY_REPORTS, parameters=parameters))
    assert len(found) == reports


async def test_lists(world: World) -> None:
    """A contact that is in several of the lists stands once; one that is in none of them stands not at all."""
    rows = world.acme.rows
    async with owner_transaction(world.url) as connection:
        build, own = Builder(connection), {"company_id": world.acme.id}
        other = await build.add(ContactList, **own, name="Other")
        await build.add(ContactListMember, **own, list_id=other, contact_id=rows["contact"])
    async with opened(world.url) as database:
        both = await records(database, order(world.acme, parameters={"listIds": [rows["list"], other]}))
        none = await records(database, order(world.acme, parameters={"listIds": []}))
    assert [row["ID"] for row in both] == [str(rows["contact"])]
    assert none == []


async def test_named_contacts(world: World) -> None:
    """Contacts that are named stand once each in the order of their ids; those that are gone are left out."""
    ids = await add_contacts(world, *({} for _ in range(5)))
    named: list[JsonValue] = [*ids, *ids, str(uuid4())]
    async with opened(world.url) as database:
        found = await records(database, order(world.acme, parameters={"contactIds": named}))
    assert [row["ID"] for row in found] == sorted(ids)


async def test_rows_made_later(world: World) -> None:
    """What was made after the order's moment is neither counted nor written."""
    async with owner_transaction(world.url) as connection:
        await connection.execute(text("UPDATE recipients SET created_at = :at"), {"at": NOW})
    await many_rows(world)
    async with opened(world.url) as database:
        for kind, what in ORDERS:
            if what == "filter":
                continue
            wanted = order(world.acme, kind, parameters=await parameters_of(world, what), as_of=NOW - DAY)
            assert await records(database, wanted) == []
        at_once = order(
            world.acme, ExportKind.DELIVERY_REPORTS, parameters=await parameters_of(world, "period"), as_of=NOW
        )
        assert len(await records(database, at_once)) == 1
        recipients = order(
            world.acme, ExportKind.CAMPAIGN_RECIPIENTS, parameters=await parameters_of(world, "campaign"), as_of=NOW
        )
        assert len(await records(database, recipients)) == 1


async def test_one_snapshot(world: World) -> None:
    """What changes while an export is copied changes nothing in it."""
    async with opened(world.url) as database, copying(database, order(world.acme)) as source:
        lines: list[bytes] = []
        first = await chunk_of(source, None, lines.append, 1)
        assert first is not None
        await add_contacts(world, {"first_name": "Late"})
        async with owner_transaction(world.url) as connection:
            await connection.execute(text("UPDATE contacts SET first_name = 'Changed'"))
        await rest(source, first.place, lines, 1)
        assert await source.count() == len(lines) == 2
        assert b"Changed" not in b"".join(lines)


async def test_ranges_that_a_filter_leaves_empty(world: World) -> None:
    """A chunk is a range of keys, so that one may be without rows and the next have some."""
    await add_contacts(world, {}, {"city": "Aarhus"}, {})
    found: list[JsonValue] = [{"field": "contact.fixed_fields.city", "operator": "eq", "value": "aarhus"}]
    wanted = order(world.acme, ExportKind.MAILING, parameters={"filter": found})
    async with opened(world.url) as database, copying(database, wanted) as source:
        chunks = await rest(source, None, [], 1)
        assert [rows for _place, rows in chunks] == [0, 0, 0, 1, 0]
        assert await source.count() == 1


@pytest.mark.parametrize(
    ("address", "lines"),
    [
        (None, (None, None, None)),
        ("", (None, None, None)),
        ("Main Street 1", ("Main Street 1", None, None)),
        ("Main Street 1\n", ("Main Street 1", None, None)),
        ("c/o Byron\r\nMain Street 1", ("c/o Byron", "Main Street 1", None)),
        ("a\rb\nc", ("a", "b", "c")),
        ("a\n\nc", ("a", None, "c")),
        ("a\nb\nc\nd\r\n\r\n", ("a", "b", "c, d")),
        ("=a\n=b\n=c", ("=a", "=b", "=c")),
    ],
)
async def test_address_lines(world: World, address: str | None, lines: tuple[str | None, ...]) -> None:
    """The address of a mailing is parted at its line breaks; the third line has whatever is left."""
    await add_contacts(world, {"address": address, "title": "Dr.", "zip_code": "0800", "state_region": "Midt"})
    names: list[JsonValue] = ["address_line_1", "address_line_2", "address_line_3"]
    wanted = order(world.acme, ExportKind.MAILING, ExportFormat.XLSX, {"columns": [*names, "zip", "region"]})
    async with opened(world.url) as database:
        found = await records(database, wanted)
        escaped = await records(database, order(world.acme, ExportKind.MAILING))
    assert tuple(found[-1].values()) == (*lines, "0800", "Midt")
    assert not any(value.startswith("=") for value in escaped[-1].values())


async def test_a_disk_that_is_full(world: World) -> None:
    """An error of the file ends the copying as it is, and the database's connection with it."""

    def full(_lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with opened(world.url) as database:
        with pytest.raises(OSError, match="No space left"):
            async with copying(database, order(world.acme)) as source:
                await chunk_of(source, None, full, 1_000)
        assert await connections(world) == 1


async def test_canceled(world: World) -> None:
    """Given up in the middle of a chunk, copying ends at once, and the database's connection with it."""
    await add_contacts(world, *({"first_name": "x" * 100_000} for _ in range(200)))
    async with opened(world.url) as database:
        begun = asyncio.Event()

        async def copy() -> None:
            async with copying(database, order(world.acme)) as source:
                await chunk_of(source, None, lambda _lines: begun.set(), 1_000)

        task = asyncio.create_task(copy())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while await connections(world) > 1:
            pass


async def connections(world: World) -> int:
    """How many there are in the world's database, with the one that asks."""
    async with owner_transaction(world.url) as connection:
        counted = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        return int(await connection.scalar(counted) or 0)
