"""Which rows of `contacts` does a checked filter select, in SQL?

Values are parameters, never SQL. Texts are folded by the database's `lower` on both sides. No stored value makes
PostgreSQL raise: one of the wrong JSON type, or a date that no calendar has, counts as missing. A missing value
satisfies no positive operator and every negative one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    Numeric,
    Text,
    Uuid,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from store.filters.catalogue import UUID_TYPES
from store.filters.tree import (
    Condition,
    FieldKind,
    FieldRows,
    Filter,
    FilterField,
    FilterValue,
    Group,
    Junction,
    Operator,
)
from store.models import Account, Contact, ContactListMember
from store.sql_types import AnyColumn

# A negative operator holds where its positive does not, also where there is no value.
NEGATIVES = {
    Operator.NOT_EQUALS: Operator.EQUALS,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_IN: Operator.IN,
}
COMPARISONS: Mapping[Operator, Callable[[AnyColumn, AnyColumn], ColumnElement[bool]]] = {
    Operator.EQUALS: operator.eq,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
}
TYPES: Mapping[FieldKind, TypeEngine[Any]] = {
    FieldKind.TEXT: Text(),
    FieldKind.NUMBER: Numeric(),
    FieldKind.DATE: Date(),
    FieldKind.TIME: DateTime(timezone=True),
    FieldKind.BOOLEAN: Boolean(),
    FieldKind.STATUS: Text(),
}
# The last code point, which is no character: in the order "C" nothing that starts with a text sorts behind the text
# with this at its end.
LAST_CODE_POINT = literal_column("chr(1114111)", Text())
NO_TEXT = literal_column("''", Text())
# The days of the calendar, leap years included; PostgreSQL 15 has no cast that does not raise.
DAY = literal_column(
    "'^(?!0000)(?:"
    "[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29"
    ")$'",
    Text(),
)


def condition(filter: Filter) -> ColumnElement[bool]:
    """True for the contacts that the filter selects (null or false for the others), for a statement over `Contact`.

    It compares every other row's company with the contact's; the statement itself limits the contacts to one.
    """
    return and_(*(compiled(member) for member in filter.members))


def compiled(node: Condition | Group) -> ColumnElement[bool]:
    if isinstance(node, Group):
        join = and_ if node.junction is Junction.AND else or_
        return join(*(compiled(member) for member in node.members))
    negative = node.operator in NEGATIVES or (node.operator is Operator.EXISTS and node.value is False)
    holds = positive(node.field, NEGATIVES.get(node.operator, node.operator), node.value)
    if node.field.rows is FieldRows.CONTACT:
        return holds.is_not(true()) if negative else holds
    found = exists().where(*joined(node.field.rows), holds).correlate(Contact)
    return ~found if negative else found


def joined(rows: FieldRows) -> tuple[ColumnElement[bool], ...]:
    """Whose rows belong to the contact, which is of the same company."""
    if rows is FieldRows.ACCOUNT:
        return Account.company_id == Contact.company_id, Account.id == Contact.account_id
    return ContactListMember.company_id == Contact.company_id, ContactListMember.contact_id == Contact.id


def positive(field: FilterField, operator: Operator, value: FilterValue) -> ColumnElement[bool]:
    """True where the field has a value and the value satisfies the operator, which is not a negative one."""
    if field.kind is FieldKind.TEXT:
        folded, sortable = folded_text(field)
        return text_holds(folded, operator, value, sortable=sortable)
    if field.kind is FieldKind.MULTIPLE_CHOICE:
        return choices_hold(field, operator, value)
    stored, type_ = typed(field)
    if operator is Operator.EXISTS:
        return stored.is_not(None)
    if isinstance(value, tuple):
        return stored.in_(select(unnested([parameter(part, type_) for part in value], type_)))
    return COMPARISONS[operator](stored, literal(parameter(value, type_), type_))


def column(field: FilterField) -> AnyColumn:
    models = {FieldRows.CONTACT: Contact, FieldRows.ACCOUNT: Account, FieldRows.LIST_MEMBER: ContactListMember}
    found: AnyColumn = models[field.rows].__table__.columns[field.column]
    return found


def in_json(field: FilterField) -> AnyColumn:
    """The value under the field's key, null where there is none."""
    return column(field).op("->", return_type=JSONB())(literal(field.key, Text()))


def of_type(stored: AnyColumn, json_type: str, value: AnyColumn) -> AnyColumn:
    """The value where the stored JSON has a type; CASE keeps PostgreSQL from computing it elsewhere."""
    return case((func.jsonb_typeof(stored) == literal_column(f"'{json_type}'"), value))


def as_text(stored: AnyColumn) -> AnyColumn:
    """The text of a JSON value: of a text its characters, without quotes."""
    return stored.op("#>>", return_type=Text())(literal_column("'{}'"))


def typed(field: FilterField) -> tuple[AnyColumn, TypeEngine[Any]]:
    """The field's value (null where it is missing) and the type that it is compared as."""
    if field.kind is FieldKind.ID:
        return column(field), Uuid() if field.id_of in UUID_TYPES else Integer()
    type_ = TYPES[field.kind]
    if field.key is None:
        return column(field), type_
    stored = in_json(field)
    if field.kind is FieldKind.NUMBER:
        return of_type(stored, "number", cast(stored, type_)), type_
    if field.kind is FieldKind.BOOLEAN:
        return of_type(stored, "boolean", cast(stored, type_)), type_
    # ISO dates sort as texts.
    text = as_text(stored)
    return case((text.regexp_match(DAY), text)).collate("C"), Text()


def parameter(value: object, type_: TypeEngine[Any]) -> object:
    return value.isoformat() if isinstance(value, date) and isinstance(type_, Text) else value


def text_holds(
    folded: AnyColumn, operator: Operator, value: FilterValue, *, sortable: bool = False
) -> ColumnElement[bool]:
    """Of a text in small letters; a `sortable` one sorts by code point, so that an index finds its beginnings."""
    if operator is Operator.EXISTS:
        return folded != NO_TEXT
    if isinstance(value, tuple):
        # DISTINCT keeps the planner from comparing with `lower(…)` itself, which row security would not let it do
        # by an index.
        return folded.in_(select(func.lower(unnested(value, Text()))).distinct())
    assert isinstance(value, str), "values of texts are texts"
    if operator is Operator.EQUALS:
        return folded == func.lower(literal(value, Text()))
    if operator is Operator.STARTS_WITH and sortable:
        first = func.lower(literal(value, Text()))
        return and_(folded >= first, folded < first.op("||")(LAST_CODE_POINT))
    before = "" if operator is Operator.STARTS_WITH else "%"
    after = "" if operator is Operator.ENDS_WITH else "%"
    plain = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return folded.like(func.lower(literal(f"{before}{plain}{after}", Text())))


def folded_text(field: FilterField) -> tuple[AnyColumn, bool]:
    """The field's text in small letters, and whether it sorts by code point."""
    if field.key is not None:
        stored = in_json(field)
        return of_type(stored, "string", func.lower(as_text(stored))), False
    if field.rows is FieldRows.ACCOUNT:
        return Account.__table__.columns["sort_name"], False
    kept = Contact.__table__.columns.get(f"folded_{field.column}")
    return (func.lower(column(field)), False) if kept is None else (kept, True)


def unnested(values: Sequence[object], type_: TypeEngine[Any]) -> AnyColumn:
    """The values as the rows of one parameter: a statement takes fewer parameters than a filter may have values, and
    PostgreSQL compares with rows by a hash table or an index, with an array that is not constant one by one.
    """
    return func.unnest(literal(list(values), ARRAY(type_))).column_valued("value")


def choices_hold(field: FilterField, operator: Operator, value: FilterValue) -> ColumnElement[bool]:
    """One of the texts in the stored list satisfies the operator."""
    stored = in_json(field)
    listed = func.jsonb_array_elements(of_type(stored, "array", stored), type_=JSONB())
    choice = listed.column_valued("choice")
    folded = of_type(choice, "string", func.lower(as_text(choice)))
    # IS TRUE keeps the planner from joining all wanted values anew for each contact; it makes one hash table instead.
    holds = text_holds(folded, operator, value).is_(true())
    return exists().where(holds).correlate(Contact, Account)
