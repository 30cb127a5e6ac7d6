"""What is a column of an export, and what does a company's definition of its fields say of it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Integer, bindparam, select

from store.filters import FieldDefinition
from store.models import Company, ExportFormat, ExportKind, Field, FieldOwner, FieldType
from store.sql_types import AnySelect


class CannotExport(Exception):
    """An export that no attempt can write: `code` is for programs, `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class ColumnKind(StrEnum):
    """What the values of a column are; a custom field may still hold another one, as its JSON is not checked."""

    TEXT = "TEXT"
    INTEGER = "INTEGER"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"
    TIME = "TIME"


@dataclass(frozen=True)
class ExportColumn:
    """`name` is the column's own within its kind of export; `header` is what people read above it."""

    name: str
    header: str
    kind: ColumnKind


# What each kind can be written as; the first is meant when nobody says.
FORMATS: Mapping[ExportKind, tuple[ExportFormat, ...]] = {
    ExportKind.CONTACTS: (ExportFormat.CSV, ExportFormat.XLSX, ExportFormat.JSONL),
    ExportKind.DELIVERY_REPORTS: (ExportFormat.CSV, ExportFormat.XLSX, ExportFormat.JSONL),
    ExportKind.CAMPAIGN_RECIPIENTS: (ExportFormat.XLSX, ExportFormat.CSV, ExportFormat.JSONL),
    ExportKind.MAILING: (ExportFormat.CSV, ExportFormat.XLSX),
    ExportKind.LETTERS: (ExportFormat.ZIP,),
}
KINDS = {
    FieldType.TEXT: ColumnKind.TEXT,
    FieldType.DATE: ColumnKind.DATE,
    FieldType.INTEGER: ColumnKind.INTEGER,
    FieldType.NUMBER: ColumnKind.NUMBER,
    FieldType.BOOLEAN: ColumnKind.BOOLEAN,
    FieldType.SINGLE_CHOICE: ColumnKind.TEXT,
    FieldType.MULTIPLE_CHOICE: ColumnKind.TEXT,
}

# The time zone and the fields of the company `:company_id` in their order; one row without field when it has none.
COMPANY_FIELDS: AnySelect = (
    select(Company.time_zone, Field.id, Field.owner, Field.custom, Field.type, Field.name, Field.label)
    .outerjoin(Field, Field.company_id == Company.id)
    .where(Company.id == bindparam("company_id", type_=Integer()))
    .order_by(Field.sort_order, Field.id)
)


@dataclass(frozen=True)
class CompanyFields:
    """The fields of a company in its order, their labels by their ids, and its time zone."""

    zone: ZoneInfo
    definitions: tuple[FieldDefinition, ...] = ()
    labels: Mapping[int, str] | None = None

    def header(self, definition: FieldDefinition) -> str:
        return (self.labels or {}).get(definition.id) or plain_header(definition.name)

    def custom(self) -> Iterable[FieldDefinition]:
        """The custom fields of contacts."""
        return (
            definition
            for definition in self.definitions
            if definition.owner is FieldOwner.CONTACT and definition.custom
        )

    def fixed_headers(self) -> Mapping[str, str]:
        """What the company calls the fixed fields of contacts, as far as it says."""
        return {
            definition.name: self.header(definition)
            for definition in self.definitions
            if definition.owner is FieldOwner.CONTACT and not definition.custom
        }


def fields_of_rows(rows: Iterable[Sequence[Any]]) -> CompanyFields:
    """Of the rows of `COMPANY_FIELDS`, by position, of which there is at least one (unless the company is gone)."""
    known = [tuple(row) for row in rows]
    if not known:
        raise CannotExport("COMPANY_NOT_FOUND", "The company is not there any more.")
    given = [row[1:] for row in known if row[1] is not None]
    definitions = tuple(
        FieldDefinition(id, FieldOwner(owner), custom, FieldType(type_), name)
        for id, owner, custom, type_, name, _label in given
    )
    labels = {row[0]: row[5] for row in given}
    return CompanyFields(ZoneInfo(known[0][0]), definitions, labels)


def plain_header(name: str) -> str:
    """`first_name` as `First name`, for what nobody has labelled."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
