"""Which columns can an export of each kind have, and where do their values come from?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Executable, FromClause, Text, func, literal_column

from store.exports.columns import (
    COMPANY_FIELDS,
    KINDS,
    ColumnKind,
    CompanyFields,
    ExportColumn,
    fields_of_rows,
    plain_header,
)
from store.exports.values import Custom, Day, Key, Moment, Truth, Value, Words
from store.filters.catalogue import CONSENT_CHANNELS, FIXED_FIELDS
from store.filters.tree import FieldKind
from store.models import Account, Base, Campaign, Contact, DeliveryReport, ExportKind, Recipient, Team, User
from store.sql_types import AnyColumn, AnyRow


@dataclass(frozen=True, eq=False)
class LookedUp:
    """The row of another table, at most one, that belongs to a row."""

    table: FromClause
    on: ColumnElement[bool]

    def column(self, name: str) -> AnyColumn:
        return self.table.c[name]


def looked_up(model: type[Base], name: str, company_id: AnyColumn, key: AnyColumn) -> LookedUp:
    """The name keeps it apart from the same table in a rule or a filter."""
    table = model.__table__.alias(name)
    return LookedUp(table, (table.c.company_id == company_id) & (table.c.id == key))


CONTACT, REPORT, REACHED = Contact.__table__.c, DeliveryReport.__table__.c, Recipient.__table__.c
ACCOUNT = looked_up(Account, "account", CONTACT.company_id, CONTACT.account_id)
RESPONSIBLE = looked_up(User, "responsible", CONTACT.company_id, CONTACT.user_id)
TEAM = looked_up(Team, "team", CONTACT.company_id, CONTACT.team_id)
RECIPIENT = looked_up(Recipient, "recipient", REPORT.company_id, REPORT.recipient_id)
REPORTED_CAMPAIGN = looked_up(Campaign, "campaign", REPORT.company_id, REPORT.campaign_id)
RECIPIENTS_CAMPAIGN = looked_up(Campaign, "campaign", REACHED.company_id, REACHED.campaign_id)
RECIPIENTS_CONTACT = looked_up(Contact, "contact", REACHED.company_id, REACHED.contact_id)

HEADERS = {
    "id": "ID",
    "b2c": "B2C",
    "account_id": "Account ID",
    "account_name": "Account",
    "user_id": "User ID",
    "user_email": "User",
    "team_id": "Team ID",
    "team_name": "Team",
    "campaign_id": "Campaign ID",
    "campaign_name": "Campaign",
    "recipient_id": "Recipient ID",
    "contact_id": "Contact ID",
    "state_region": "State / region",
    "email": "E-mail",
    "zip_code": "ZIP code",
    "zip": "ZIP",
    "sms_consent_given": "SMS consent given",
    "sms_consent_updated_at": "SMS consent updated at",
    "email_consent_given": "E-mail consent given",
    "email_consent_updated_at": "E-mail consent updated at",
}


@dataclass(frozen=True)
class Cell:
    """A column, its value, and where the value is looked up, if it is not the row's own."""

    column: ExportColumn
    value: Value
    source: LookedUp | None = None


def cell(name: str, value: Value, source: LookedUp | None = None, *, header: str | None = None) -> Cell:
    return Cell(ExportColumn(name, header or HEADERS.get(name) or plain_header(name), value.kind), value, source)


async def available_columns(
    rows_of: Callable[[Executable, Mapping[str, object]], Awaitable[Iterable[AnyRow]]],
    company_id: int,
    kind: ExportKind,
) -> list[ExportColumn]:
    """The columns that an export of this kind can have, in the order that they stand in when nobody chooses.

    `rows_of`: gives the rows of a statement with its parameters.
    """
    rows = await rows_of(COMPANY_FIELDS, {"company_id": company_id})
    return [cell.column for cell in cells_of(kind, fields_of_rows(list(rows)))]


def cells_of(kind: ExportKind, fields: CompanyFields) -> list[Cell]:
    makers: Mapping[ExportKind, Callable[[CompanyFields], Iterable[Cell]]] = {
        ExportKind.CONTACTS: contact_cells,
        ExportKind.DELIVERY_REPORTS: report_cells,
        ExportKind.CAMPAIGN_RECIPIENTS: recipient_cells,
        ExportKind.MAILING: mailing_cells,
        ExportKind.LETTERS: lambda _fields: (),
    }
    return list(makers[kind](fields))


def contact_cells(fields: CompanyFields) -> Iterable[Cell]:
    yield cell("id", Key(CONTACT.id))
    yield cell("created_at", Moment(CONTACT.created_at))
    yield cell("updated_at", Moment(CONTACT.updated_at))
    yield cell("status", Key(CONTACT.status))
    yield cell("b2c", Truth(CONTACT.b2c))
    yield cell("account_id", Key(CONTACT.account_id))
    yield cell("account_name", Words(ACCOUNT.column("name")), ACCOUNT)
    yield cell("user_id", Key(CONTACT.user_id, ColumnKind.INTEGER))
    yield cell("user_email", Words(RESPONSIBLE.column("email")), RESPONSIBLE)
    yield cell("team_id", Key(CONTACT.team_id, ColumnKind.INTEGER))
    yield cell("team_name", Words(TEAM.column("name")), TEAM)
    headers = fields.fixed_headers()
    for name in FIXED_FIELDS:
        yield cell(name, fixed_value(name, CONTACT[name]), header=headers.get(name))
    yield cell("latest_activity_at", Moment(CONTACT.latest_activity_at))
    for channel in CONSENT_CHANNELS:
        given, changed = f"{channel}_consent_given", f"{channel}_consent_updated_at"
        yield cell(given, Truth(CONTACT[given]))
        yield cell(changed, Moment(CONTACT[changed]))
    for field in fields.custom():
        value = Custom(CONTACT.custom_fields, field.name, KINDS[field.type])
        yield cell(f"custom_fields.{field.name}", value, header=fields.header(field))


def fixed_value(name: str, stored: AnyColumn) -> Value:
    return Day(stored) if FIXED_FIELDS[name] is FieldKind.DATE else Words(stored)


def report_cells(_fields: CompanyFields) -> Iterable[Cell]:
    yield cell("id", Key(REPORT.id, ColumnKind.INTEGER))
    yield cell("campaign_id", Key(REPORT.campaign_id))
    yield cell("campaign_name", Words(REPORTED_CAMPAIGN.column("name")), REPORTED_CAMPAIGN)
    yield cell("recipient_id", Key(REPORT.recipient_id, ColumnKind.INTEGER))
    yield cell("contact_id", Key(RECIPIENT.column("contact_id")), RECIPIENT)
    yield cell("address", Words(RECIPIENT.column("address")), RECIPIENT)
    yield cell("status", Key(REPORT.status))
    yield cell("occurred_at", Moment(REPORT.occurred_at))
    yield cell("reply", Words(REPORT.reply))


def recipient_cells(fields: CompanyFields) -> Iterable[Cell]:
    """The contact's own fields stand as `contact_…`: its postal address is not the address that was written to."""
    yield cell("id", Key(REACHED.id, ColumnKind.INTEGER))
    yield cell("campaign_id", Key(REACHED.campaign_id))
    yield cell("campaign_name", Words(RECIPIENTS_CAMPAIGN.column("name")), RECIPIENTS_CAMPAIGN)
    yield cell("contact_id", Key(REACHED.contact_id))
    yield cell("status", Key(REACHED.status))
    yield cell("address", Words(REACHED.address), header="Reached at")
    yield cell("sent_at", Moment(REACHED.sent_at))
    yield cell("created_at", Moment(REACHED.created_at))
    yield cell("updated_at", Moment(REACHED.updated_at))
    headers = fields.fixed_headers()
    for name in FIXED_FIELDS:
        header = headers.get(name) or HEADERS.get(name) or plain_header(name)
        yield cell(
            f"contact_{name}", fixed_value(name, RECIPIENTS_CONTACT.column(name)), RECIPIENTS_CONTACT, header=header
        )


def mailing_cells(fields: CompanyFields) -> Iterable[Cell]:
    """What the letters of a mail merge take; the lines of the address stand apart."""
    headers = fields.fixed_headers()
    first, second, third = address_lines(CONTACT.address)
    values = {
        "salutation": ("salutation", CONTACT.salutation),
        "title": ("title", CONTACT.title),
        "first_name": ("first_name", CONTACT.first_name),
        "last_name": ("last_name", CONTACT.last_name),
        "address_line_1": (None, first),
        "address_line_2": (None, second),
        "address_line_3": (None, third),
        "zip": ("zip_code", CONTACT.zip_code),
        "city": ("city", CONTACT.city),
        "region": ("state_region", CONTACT.state_region),
        "country": ("country", CONTACT.country),
    }
    for name, (field, stored) in values.items():
        yield cell(name, Words(stored), header=headers.get(field) if field else None)


def address_lines(address: AnyColumn) -> tuple[AnyColumn, AnyColumn, AnyColumn]:
    """The first two lines and the rest, whose lines a comma parts; null for what there is not."""
    line_feed, nothing = literal_column("chr(10)", Text()), literal_column("''", Text())
    any_break = literal_column("'\\r\\n?'", Text())
    lines = func.regexp_replace(address, any_break, line_feed, literal_column("'g'", Text()), type_=Text())
    first, second = (func.split_part(lines, line_feed, literal_column(str(place)), type_=Text()) for place in (1, 2))
    head = literal_column(r"'^[^\n]*\n[^\n]*\n?|^[^\n]*$'", Text())
    rest = func.rtrim(func.regexp_replace(lines, head, nothing, type_=Text()), line_feed)
    third = func.replace(rest, line_feed, literal_column("', '", Text()), type_=Text())
    return func.nullif(first, nothing), func.nullif(second, nothing), func.nullif(third, nothing)
