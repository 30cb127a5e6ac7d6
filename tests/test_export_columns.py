"""Which columns can an export have, and what stands above them?"""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from store.database import Database, owner_transaction
from store.exports import FORMATS, CannotExport, ColumnKind, ExportColumn, available_columns
from store.models import ExportFormat, ExportKind, Field
from tests.build import Builder
from tests.conftest import World
from tests.export_copies import copied, opened, order, records

pytestmark = pytest.mark.anyio


async def columns(database: Database, company_id: int, kind: ExportKind) -> list[ExportColumn]:
    async with database.writing(company_id) as session:
        assert isinstance(session, AsyncSession)
        return await available_columns(session.execute, company_id, kind)


async def test_contact_columns(world: World) -> None:
    """Contacts have their own columns, those of the people around them, the fixed fields and consent."""
    async with opened(world.url) as database:
        found = await columns(database, world.acme.id, ExportKind.CONTACTS)
    assert [column.name for column in found] == [
        *("id", "created_at", "updated_at", "status", "b2c", "account_id", "account_name", "user_id", "user_email"),
        *("team_id", "team_name", "salutation", "first_name", "last_name", "title", "email", "mobile_phone_number"),
        *("landline_phone_number", "address", "zip_code", "city", "state_region", "country", "date_of_birth"),
        *("latest_activity_at", "email_consent_given", "email_consent_updated_at", "letter_consent_given"),
        *("letter_consent_updated_at", "call_consent_given", "call_consent_updated_at", "sms_consent_given"),
        *("sms_consent_updated_at", "custom_fields.cars"),
    ]


async def test_other_kinds(world: World) -> None:
    """The other kinds have columns of their own; letters have none."""
    async with opened(world.url) as database:
        found = {kind: [column.name for column in await columns(database, world.acme.id, kind)] for kind in ExportKind}
    assert found[ExportKind.DELIVERY_REPORTS] == [
        *("id", "campaign_id", "campaign_name", "recipient_id", "contact_id", "address", "status", "occurred_at"),
        "reply",
    ]
    assert found[ExportKind.CAMPAIGN_RECIPIENTS][:9] == [
        *("id", "campaign_id", "campaign_name", "contact_id", "status", "address", "sent_at", "created_at"),
        "updated_at",
    ]
    assert found[ExportKind.MAILING] == [
        *("salutation", "title", "first_name", "last_name", "address_line_1", "address_line_2", "address_line_3"),
        *("zip", "city", "region", "country"),
    ]
    assert found[ExportKind.LETTERS] == []


async def test_custom_fields_in_the_companys_order(world: World) -> None:
    """Custom fields stand in the company's own order, by their labels, with a kind after their type."""
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        for place, type_ in enumerate(("MULTIPLE_CHOICE", "BOOLEAN", "NUMBER", "DATE")):
            await build.add(
                Field, company_id=world.acme.id, custom=True, type=type_, name=f"f{place}", label=f"L{place}",
                sort_order=-1 - place,
            )  # fmt: skip
        await build.add(Field, company_id=world.globex.id, custom=True, name="theirs", label="Theirs")
    async with opened(world.url) as database:
        found = await columns(database, world.acme.id, ExportKind.CONTACTS)
    assert [column for column in found if column.name.startswith("custom_fields.")] == [
        ExportColumn("custom_fields.f3", "L3", ColumnKind.DATE),
        ExportColumn("custom_fields.f2", "L2", ColumnKind.NUMBER),
        ExportColumn("custom_fields.f1", "L1", ColumnKind.BOOLEAN),
        ExportColumn("custom_fields.f0", "L0", ColumnKind.TEXT),
        ExportColumn("custom_fields.cars", "Cars", ColumnKind.INTEGER),
    ]


async def test_headers(world: World) -> None:
    """A header is the company's label of the field where there is one, else plain words."""
    async with opened(world.url) as database:
        found = {column.name: column for column in await columns(database, world.acme.id, ExportKind.CONTACTS)}
    assert found["first_name"] == ExportColumn("first_name", "first name", ColumnKind.TEXT)
    assert found["mobile_phone_number"].header == "Mobile phone number"
    assert found["id"].header == "ID"
    assert found["date_of_birth"].kind is ColumnKind.DATE
    assert found["b2c"].kind is ColumnKind.BOOLEAN
    assert found["user_id"].kind is ColumnKind.INTEGER
    assert found["created_at"].kind is ColumnKind.TIME


async def test_chosen_columns(world: World) -> None:
    """A choice of columns is kept in the order of the choice."""
    wanted = order(world.acme, parameters={"columns": ["custom_fields.cars", "last_name", "id"]})
    async with opened(world.url) as database:
        rows = (await copied(database, wanted)).decode().splitlines()
    assert rows[0] == "Cars,last name,ID"
    assert rows[1] == f"2,Mertz,{world.acme.rows['contact']}"


@pytest.mark.parametrize("kind", [kind for kind in ExportKind if kind is not ExportKind.LETTERS])
async def test_every_kind_and_format(world: World, kind: ExportKind) -> None:
    """Every kind can be written in each of its formats, with a value or null for every column."""
    rows = world.acme.rows
    parameters = {"campaignId": str(rows["sent"])} if kind in CAMPAIGNS else {}
    async with opened(world.url) as database:
        names = [column.name for column in await columns(database, world.acme.id, kind)]
        headers = [column.header for column in await columns(database, world.acme.id, kind)]
        for format in FORMATS[kind]:
            found = await records(database, order(world.acme, kind, format, parameters))
            assert found
            assert list(found[0]) == (headers if format is ExportFormat.CSV else names)


CAMPAIGNS = (ExportKind.DELIVERY_REPORTS, ExportKind.CAMPAIGN_RECIPIENTS)


@pytest.mark.parametrize(
    ("kind", "parameters", "code"),
    [
        (ExportKind.LETTERS, {"campaignId": "0" * 32}, "UNSUPPORTED_KIND"),
        (ExportKind.CONTACTS, {"columns": ["id", "custom_fields.gone"]}, "UNKNOWN_COLUMN"),
        (ExportKind.CONTACTS, {"columns": [["id"]]}, "UNKNOWN_COLUMN"),
        (ExportKind.CONTACTS, {"columns": []}, "INVALID_PARAMETERS"),
        (ExportKind.CONTACTS, {"columns": ["id"] * 501}, "TOO_MANY_COLUMNS"),
        (ExportKind.CONTACTS, {"contactIds": ["no uuid"]}, "INVALID_PARAMETERS"),
        (ExportKind.CONTACTS, {"listIds": ["1"]}, "INVALID_PARAMETERS"),
        (ExportKind.CONTACTS, {"listIds": 1}, "INVALID_PARAMETERS"),
        (ExportKind.CONTACTS, {"listIds": [2**31]}, "INVALID_PARAMETERS"),
        (ExportKind.CAMPAIGN_RECIPIENTS, {}, "INVALID_PARAMETERS"),
        (ExportKind.DELIVERY_REPORTS, {}, "INVALID_PARAMETERS"),
        (
            ExportKind.DELIVERY_REPORTS,
            {"startDateTime": "2026-01-01", "endDateTime": "2026-02-01"},
            "INVALID_PARAMETERS",
        ),
        (
            ExportKind.MAILING,
            {"filter": [{"field": "contact.custom_fields.gone", "operator": "eq", "value": 1}]},
            "INVALID_FILTER",
        ),
    ],
)
async def test_what_cannot_be_exported(world: World, kind: ExportKind, parameters: dict[str, Any], code: str) -> None:
    """What no attempt can write is refused by a code, before anything is read."""
    async with opened(world.url) as database:
        with pytest.raises(CannotExport) as refusal:
            await copied(database, order(world.acme, kind, parameters=parameters))
    assert refusal.value.code == code
    assert refusal.value.message
