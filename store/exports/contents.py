"""Which rows does an export hold, in which order, and how are they read in bounded steps?

The rows follow a key that an index has. A step is a range of that key, whatever the export keeps of the rows in it, so
that each statement reads about as much as the one before. Statements are written over the parameters of the access
rules (`Scope.parameters()`); whatever a person wrote is a parameter too, and so are the ends of a step: the statements
of all steps are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Label,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    exists,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import array

from store import access
from store.exports.cells import Cell, cells_of
from store.exports.columns import CannotExport, CompanyFields, ExportColumn
from store.exports.values import Form, constant
from store.filters import Catalogue, condition, read_filter
from store.models import Base, Contact, ContactListMember, DeliveryReport, ExportKind, JsonValue, Recipient
from store.sql_types import AnyColumn, AnySelect

# PostgreSQL's lists of results, and the parameters that one statement can be given, are limited.
MOST_COLUMNS = 500

Parameters = Mapping[str, JsonValue]
SIZE = bindparam("size", type_=Integer())
ONE = literal_column("1", Integer())
Rules = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True)
class Contents:
    """`key`: what the rows are sorted by, unique and never null, within the range of an index that `within` describes;
    `kept`: which of the rows there are in the export.
    """

    table: type[Base]
    key: tuple[AnyColumn, ...]
    within: Rules
    kept: Rules
    cells: tuple[Cell, ...]

    @property
    def columns(self) -> tuple[ExportColumn, ...]:
        return tuple(cell.column for cell in self.cells)

    def count(self) -> AnySelect:
        """How many rows it has."""
        return select(func.count()).select_from(self.table).where(*self.within, *self.kept)

    def key_on(self, *, onward: bool) -> AnySelect:
        """The `size`th (a parameter) key, each part as text; no row when there are fewer.

        From the first, or `onward` beyond the key whose parts are the parameters `after_0`, `after_1`…
        """
        keys = self._keys(onward=onward).order_by(*self.key).limit(ONE).offset(SIZE - ONE).subquery()
        return select(*(cast(part, Text()) for part in keys.c))

    def last_key(self, *, onward: bool) -> AnySelect:
        """The last of all keys, as `key_on` has it; no row when there is none, or none beyond."""
        keys = self._keys(onward=onward).order_by(*(part.desc() for part in self.key)).limit(ONE).subquery()
        return select(*(cast(part, Text()) for part in keys.c))

    def lines(self, form: Form, *, onward: bool) -> AnySelect:
        """The rows up to the key `until_0`, `until_1`…, in order: the cells of CSV, or one text of JSON.

        From the first, or `onward` from beyond the key `after_0`, `after_1`…
        """
        rows: FromClause = self.table.__table__
        for source in dict.fromkeys(cell.source for cell in self.cells):
            if source is not None:
                rows = rows.outerjoin(source.table, source.on)
        until = self._place("until")
        # Of a comparison of rows PostgreSQL does not know that it can stop: it would go on to the end of the index.
        up_to = self.key[0] <= until[0], tuple_(*self.key) <= tuple_(*until)
        ranged = (*self.within, *(self._beyond() if onward else ()), *up_to)
        return select(*self._written(form)).select_from(rows).where(*ranged, *self.kept).order_by(*self.key)

    def _keys(self, *, onward: bool) -> AnySelect:
        return select(*self.key).where(*self.within, *(self._beyond() if onward else ()))

    def _beyond(self) -> Rules:
        return (tuple_(*self.key) > tuple_(*self._place("after")),)

    def _place(self, name: str) -> list[AnyColumn]:
        parts = enumerate(self.key)
        return [cast(bindparam(f"{name}_{place}", type_=Text()), part.type) for place, part in parts]

    def _written(self, form: Form) -> list[Label[str]]:
        if form in (Form.CSV, Form.RAW_CSV):
            return [cell.value.written(form).label(f"c{place}") for place, cell in enumerate(self.cells)]
        line = array_line(self.cells) if form is Form.ARRAY else object_line(self.cells)
        return [line.label("line")]


def array_line(cells: Sequence[Cell]) -> AnyColumn:
    values = array([cell.value.written(Form.ARRAY) for cell in cells])
    return constant("[").concat(func.array_to_string(values, constant(","), constant("null"))).concat(constant("]"))


def object_line(cells: Sequence[Cell]) -> AnyColumn:
    """Names and values in turn, joined by nothing; a name brings its punctuation along."""
    parts: list[AnyColumn] = []
    for place, cell in enumerate(cells):
        name = f"{',' if place else '{'}{orjson.dumps(cell.column.name).decode()}:"
        parts += [literal(name, Text()), cell.value.written(Form.OBJECT)]
    line = func.array_to_string(array(parts), constant(""), constant("null"))
    return line.concat(constant("}"))


def contents_of(kind: ExportKind, parameters: Parameters, as_of: datetime, fields: CompanyFields) -> Contents:
    """What an export holds; `parameters` as they stand on its row. Raises `CannotExport`."""
    makers: Mapping[ExportKind, Callable[[Given], Contents]] = {
        ExportKind.CONTACTS: contacts,
        ExportKind.DELIVERY_REPORTS: delivery_reports,
        ExportKind.CAMPAIGN_RECIPIENTS: campaign_recipients,
        ExportKind.MAILING: mailing,
    }
    if kind not in makers:
        raise CannotExport("UNSUPPORTED_KIND", f"Exports of the kind {kind} have no rows.")
    cells = chosen(cells_of(kind, fields), parameters.get("columns"))
    return makers[kind](Given(parameters, literal(as_of, DateTime(timezone=True)), fields, cells))


@dataclass(frozen=True)
class Given:
    """What the contents of every kind are made of."""

    parameters: Parameters
    as_of: ColumnElement[datetime]
    fields: CompanyFields
    cells: tuple[Cell, ...]


def chosen(cells: Sequence[Cell], names: JsonValue) -> tuple[Cell, ...]:
    """The cells of these names in their order; all of them without names."""
    known = {cell.column.name: cell for cell in cells}
    wanted = list(known) if names is None else names
    if not isinstance(wanted, list) or not wanted:
        raise malformed("columns")
    missing = [name for name in wanted if not isinstance(name, str) or name not in known]
    if missing:
        raise CannotExport("UNKNOWN_COLUMN", f"There is no column {missing[0]} (any more).")
    if len(wanted) > MOST_COLUMNS:
        raise CannotExport("TOO_MANY_COLUMNS", f"There are {len(wanted)} columns; choose up to {MOST_COLUMNS}.")
    return tuple(known[str(name)] for name in wanted)


def contacts(given: Given) -> Contents:
    """All contacts, those of some lists, or those that are named."""
    list_ids, contact_ids = given.parameters.get("listIds"), given.parameters.get("contactIds")
    if contact_ids is not None:
        named = Contact.id == any_(
            literal([uuid_of("contactIds", text) for text in entries("contactIds", contact_ids)], ARRAY(Uuid()))
        )
        within = (access.of_company(Contact.company_id), named)
        return Contents(Contact, (Contact.id.expression,), within, (Contact.created_at <= given.as_of,), given.cells)
    if list_ids is None:
        return of_contacts(given)
    ids = [number_of("listIds", entry) for entry in entries("listIds", list_ids)]
    listed = exists().where(
        ContactListMember.company_id == Contact.company_id,
        ContactListMember.contact_id == Contact.id,
        ContactListMember.list_id == any_(literal(ids, ARRAY(Integer()))),
    )
    return of_contacts(given, listed)


def mailing(given: Given) -> Contents:
    """The contacts that a filter selects."""
    catalogue = Catalogue.of(given.fields.definitions, given.fields.zone)
    reading = read_filter(given.parameters.get("filter"), catalogue)
    if reading.problems:
        raise CannotExport("INVALID_FILTER", f"The filter cannot be used (any more): {reading.problems[0].message}")
    return of_contacts(given) if reading.filter is None else of_contacts(given, condition(reading.filter))


def of_contacts(given: Given, *kept: ColumnElement[bool]) -> Contents:
    within = (access.of_company(Contact.company_id), Contact.created_at <= given.as_of)
    return Contents(Contact, (Contact.created_at.expression, Contact.id.expression), within, kept, given.cells)


def delivery_reports(given: Given) -> Contents:
    """Those of a campaign, or of a period: from its start on, up to its end and without it."""
    parameters = given.parameters
    if "campaignId" in parameters:
        span: Rules = (DeliveryReport.campaign_id == literal(uuid_of("campaignId", parameters["campaignId"]), Uuid()),)
    else:
        start, end = (moment_of(name, parameters.get(name)) for name in ("startDateTime", "endDateTime"))
        span = (DeliveryReport.occurred_at >= start, DeliveryReport.occurred_at < end)
    company = access.of_company(DeliveryReport.company_id)
    within = (company, *span, DeliveryReport.occurred_at <= given.as_of)
    key = (DeliveryReport.occurred_at.expression, DeliveryReport.id.expression)
    return Contents(DeliveryReport, key, within, (access.delivery_reports(),), given.cells)


def campaign_recipients(given: Given) -> Contents:
    campaign_id = literal(uuid_of("campaignId", given.parameters.get("campaignId")), Uuid())
    within = (access.of_company(Recipient.company_id), Recipient.campaign_id == campaign_id)
    kept = (Recipient.created_at <= given.as_of, access.recipients())
    return Contents(Recipient, (Recipient.id.expression,), within, kept, given.cells)


def malformed(name: str) -> CannotExport:
    return CannotExport("INVALID_PARAMETERS", f"The parameter {name} of the export cannot be read.")


def entries(name: str, value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise malformed(name)
    return value


def number_of(name: str, value: JsonValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise malformed(name)
    return value


def uuid_of(name: str, value: JsonValue) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise malformed(name) from None


def moment_of(name: str, value: JsonValue) -> ColumnElement[datetime]:
    """With an offset; one without would be read in the zone of the process."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise malformed(name) from None
    if moment.tzinfo is None:
        raise malformed(name)
    return literal(moment, DateTime(timezone=True))
