"""What are the values of a contact's or an account's fields, beside the definitions of the company?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import cast

from resolvers import global_ids
from resolvers.contacts import FIELD
from resolvers.context import Context
from resolvers.edges import Many
from store.filters.catalogue import FIXED_FIELDS
from store.models import FieldType, JsonValue
from store.sql_types import AnyRow

FIXED_CONTACT_COLUMNS = tuple(FIXED_FIELDS)


@dataclass(frozen=True)
class FieldValue:
    """A field's definition with the value that one contact or account has."""

    id: str
    database_id: int
    type: FieldType
    name: str
    label: str
    value: JsonValue
    validation: str | None
    required: bool
    hidden: bool
    read_only: bool
    sort_order: int
    choices: list[str]


DEFINITION_COLUMNS = (
    "id",
    "type",
    "name",
    "label",
    "validation",
    "required",
    "hidden",
    "read_only",
    "sort_order",
    "choices",
)


async def field_values(
    edge: Many, values: Callable[[AnyRow], Mapping[str, JsonValue]], row: AnyRow, context: Context
) -> list[FieldValue]:
    """One value for each definition that the edge leads to, in its order; null where the row has none.

    `values` gives the row's values by the fields' names.
    """
    loaded = await context.load.many(edge, DEFINITION_COLUMNS, getattr(row, edge.key))
    definitions = cast("list[AnyRow]", loaded)
    known = values(row)
    return [field_value(definition, known.get(definition.name)) for definition in definitions]


def field_value(definition: AnyRow, value: JsonValue) -> FieldValue:
    found = {name: getattr(definition, name) for name in DEFINITION_COLUMNS}
    number = found.pop("id")
    return FieldValue(**found, id=global_ids.encode(FIELD.typename, number), database_id=number, value=value)


def fixed_contact_values(row: AnyRow) -> Mapping[str, JsonValue]:
    """The thirteen fixed fields of a contact stand in columns of their own."""
    columns = ((name, getattr(row, name)) for name in FIXED_CONTACT_COLUMNS)
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in columns}


def json_values(column: str) -> Callable[[AnyRow], Mapping[str, JsonValue]]:
    """Fields that stand together in a JSON column."""
    return lambda row: getattr(row, column)
