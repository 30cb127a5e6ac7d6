"""Which fields can a company's filters name, and how are their values read?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, select

from store.filters.tree import FieldKind, FieldRows, FilterField
from store.models import Company, Field, FieldOwner, FieldType
from store.sql_types import AnyRow, AnySelect

ReadId = Callable[[str, str], int | UUID | None]

WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,29}")
KINDS = {
    FieldType.TEXT: FieldKind.TEXT,
    FieldType.DATE: FieldKind.DATE,
    FieldType.INTEGER: FieldKind.NUMBER,
    FieldType.NUMBER: FieldKind.NUMBER,
    FieldType.BOOLEAN: FieldKind.BOOLEAN,
    FieldType.SINGLE_CHOICE: FieldKind.TEXT,
    FieldType.MULTIPLE_CHOICE: FieldKind.MULTIPLE_CHOICE,
}
# The fixed fields of a contact are columns, so every company has them and their kinds are the columns'.
FIXED_FIELDS = {
    "salutation": FieldKind.TEXT,
    "first_name": FieldKind.TEXT,
    "last_name": FieldKind.TEXT,
    "title": FieldKind.TEXT,
    "email": FieldKind.TEXT,
    "mobile_phone_number": FieldKind.TEXT,
    "landline_phone_number": FieldKind.TEXT,
    "address": FieldKind.TEXT,
    "zip_code": FieldKind.TEXT,
    "city": FieldKind.TEXT,
    "state_region": FieldKind.TEXT,
    "country": FieldKind.TEXT,
    "date_of_birth": FieldKind.DATE,
}
# The types whose ids are UUIDs; those of the others are whole numbers.
UUID_TYPES = ("Account",)
CONSENT_CHANNELS = ("email", "letter", "call", "sms")

# The time zone and the field definitions of the company `:company_id`; one row without definition when it has none.
CATALOGUE_ROWS: AnySelect = (
    select(Company.time_zone, Field.id, Field.owner, Field.custom, Field.type, Field.name)
    .outerjoin(Field, Field.company_id == Company.id)
    .where(Company.id == bindparam("company_id"))
    .order_by(Field.id)
)


@dataclass(frozen=True)
class FieldDefinition:
    """A row of `fields`, as far as filters are concerned."""

    id: int
    owner: FieldOwner
    custom: bool
    type: FieldType
    name: str


def read_raw_id(typename: str, text: str) -> int | UUID | None:
    """The database id that a text spells plainly, or None."""
    if typename not in UUID_TYPES:
        return int(text) if WHOLE_NUMBER.fullmatch(text) else None
    try:
        key = UUID(text)
    except ValueError:
        return None
    return key if str(key) == text.lower() else None


@dataclass(frozen=True)
class Catalogue:
    """What the filters of one company are read by: its fields by their paths, its time zone, and its ids.

    `read_id` gives the database id that a client's text names for a type (`Account`, `User`, `Team`, `ContactList`),
    or None for what is no such id; it does not raise.
    """

    fields: dict[str, FilterField]
    zone: ZoneInfo
    read_id: ReadId

    @classmethod
    def of(cls, definitions: Iterable[FieldDefinition], zone: ZoneInfo, read_id: ReadId = read_raw_id) -> Catalogue:
        """Of a company's field definitions; a field that a path by name and one by id could mean is the latter."""
        known = tuple(definitions)
        fields = [*contact_fields(), *account_fields()]
        fields += [field for definition in known for field in defined_by_name(definition)]
        fields += [field for definition in known for field in defined_by_id(definition)]
        return cls({field.path: field for field in fields}, zone, read_id)

    @classmethod
    def of_rows(cls, rows: Sequence[AnyRow], read_id: ReadId = read_raw_id) -> Catalogue:
        """Of the rows of `CATALOGUE_ROWS`, of which there is at least one."""
        definitions = [
            FieldDefinition(row.id, FieldOwner(row.owner), row.custom, FieldType(row.type), row.name)
            for row in rows
            if row.id is not None
        ]
        return cls.of(definitions, ZoneInfo(rows[0].time_zone), read_id)


def contact_fields() -> list[FilterField]:
    """The fields that every contact has, whatever the company defines."""

    def field(path: str, kind: FieldKind, column: str, id_of: str | None = None) -> FilterField:
        return FilterField(f"contact.{path}", kind, FieldRows.CONTACT, column, id_of=id_of)

    times = ("created_at", "updated_at", "latest_activity_at")
    ids = {"account": "Account", "user": "User", "team": "Team"}
    return [
        field("status", FieldKind.STATUS, "status"),
        field("b2c", FieldKind.BOOLEAN, "b2c"),
        FilterField("contact.list.id", FieldKind.ID, FieldRows.LIST_MEMBER, "list_id", id_of="ContactList"),
        *(field(time, FieldKind.TIME, time) for time in times),
        *(field(f"{name}.id", FieldKind.ID, f"{name}_id", typename) for name, typename in ids.items()),
        *(field(f"fixed_fields.{name}", kind, name) for name, kind in FIXED_FIELDS.items()),
        *(
            field(f"consent.{channel}.{part}", kind, f"{channel}_consent_{column}")
            for channel in CONSENT_CHANNELS
            for part, kind, column in (
                ("consent_given", FieldKind.BOOLEAN, "given"),
                ("updated_at", FieldKind.TIME, "updated_at"),
            )
        ),
    ]


def account_fields() -> list[FilterField]:
    """The fields that every account has."""
    kinds = {
        "name": FieldKind.TEXT,
        "b2c": FieldKind.BOOLEAN,
        "created_at": FieldKind.TIME,
        "updated_at": FieldKind.TIME,
    }
    return [FilterField(f"account.{name}", kind, FieldRows.ACCOUNT, name) for name, kind in kinds.items()]


def defined_by_name(definition: FieldDefinition) -> list[FilterField]:
    if definition.owner is FieldOwner.CONTACT and not definition.custom:
        return []
    return [defined(definition, definition.name)]


def defined_by_id(definition: FieldDefinition) -> list[FilterField]:
    if definition.owner is FieldOwner.ACCOUNT or not (definition.custom or definition.name in FIXED_FIELDS):
        return []
    return [defined(definition, f"id.{definition.id}")]


def defined(definition: FieldDefinition, name: str) -> FilterField:
    """The field of a definition under a name: a column for a contact's fixed fields, else a key of JSON."""
    group = "custom_fields" if definition.custom else "fixed_fields"
    if definition.owner is FieldOwner.ACCOUNT:
        path, rows = f"account.{group}.{name}", FieldRows.ACCOUNT
    else:
        path, rows = f"contact.{group}.{name}", FieldRows.CONTACT
        if not definition.custom:
            return FilterField(path, FIXED_FIELDS[definition.name], rows, definition.name)
    return FilterField(path, KINDS[definition.type], rows, group, definition.name)
