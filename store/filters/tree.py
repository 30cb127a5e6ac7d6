"""What is a checked filter: which fields and operators does it know, and what is wrong with one that is refused?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from store.models import JsonValue


class Operator(StrEnum):
    EQUALS = "eq"
    NOT_EQUALS = "neq"
    STARTS_WITH = "sw"
    ENDS_WITH = "ew"
    CONTAINS = "ct"
    NOT_CONTAINS = "nct"
    EXISTS = "exists"
    GREATER = "gt"
    GREATER_OR_EQUAL = "gte"
    LESS = "lt"
    LESS_OR_EQUAL = "lte"
    IN = "in"
    NOT_IN = "nin"


class FieldKind(StrEnum):
    """What the values of a field are, which decides its operators."""

    TEXT = "TEXT"
    NUMBER = "NUMBER"
    DATE = "DATE"
    TIME = "TIME"
    BOOLEAN = "BOOLEAN"
    MULTIPLE_CHOICE = "MULTIPLE_CHOICE"
    STATUS = "STATUS"
    ID = "ID"


class FieldRows(StrEnum):
    """Whose rows hold a field: the contact's own, its account's, or those that put it on lists."""

    CONTACT = "CONTACT"
    ACCOUNT = "ACCOUNT"
    LIST_MEMBER = "LIST_MEMBER"


_EQUALITY = (Operator.EQUALS, Operator.NOT_EQUALS)
_ORDER = (Operator.GREATER, Operator.GREATER_OR_EQUAL, Operator.LESS, Operator.LESS_OR_EQUAL)
_SETS = (Operator.IN, Operator.NOT_IN)
_PARTS = (Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS, Operator.NOT_CONTAINS)

OPERATORS: Mapping[FieldKind, tuple[Operator, ...]] = {
    FieldKind.TEXT: (*_EQUALITY, *_PARTS, *_SETS, Operator.EXISTS),
    FieldKind.NUMBER: (*_EQUALITY, *_ORDER, *_SETS, Operator.EXISTS),
    FieldKind.DATE: (*_EQUALITY, *_ORDER, *_SETS, Operator.EXISTS),
    FieldKind.TIME: (*_EQUALITY, *_ORDER, Operator.EXISTS),
    FieldKind.BOOLEAN: (*_EQUALITY, Operator.EXISTS),
    FieldKind.MULTIPLE_CHOICE: (*_EQUALITY, *_SETS, Operator.EXISTS),
    FieldKind.STATUS: (*_EQUALITY, *_SETS, Operator.EXISTS),
    FieldKind.ID: (*_EQUALITY, *_SETS, Operator.EXISTS),
}


@dataclass(frozen=True)
class FilterField:
    """A field that conditions may name, and where its values are kept.

    `column` is an attribute of the model; `key` is the key within it when it holds JSON. `id_of` is the type of
    the graph whose ids the values are.
    """

    path: str
    kind: FieldKind
    rows: FieldRows
    column: str
    key: str | None = None
    id_of: str | None = None


Scalar = str | bool | int | Decimal | date | datetime | UUID
# TEXT, STATUS, MULTIPLE_CHOICE: str; NUMBER: Decimal; TIME: datetime in UTC; ID: int or UUID. A tuple for in and nin.
FilterValue = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Condition:
    """One checked comparison of a field with a value of the field's kind (a bool for `exists`)."""

    field: FilterField
    operator: Operator
    value: FilterValue

    def as_json(self) -> JsonValue:
        value = self.value
        return {
            "field": self.field.path,
            "operator": str(self.operator),
            "value": [_json(part) for part in value] if isinstance(value, tuple) else _json(value),
        }


class Junction(StrEnum):
    AND = "and"
    OR = "or"


@dataclass(frozen=True)
class Group:
    """At least one condition or group, of which all or any must hold."""

    junction: Junction
    members: tuple[Condition | Group, ...]

    def as_json(self) -> JsonValue:
        return {str(self.junction): [member.as_json() for member in self.members]}


@dataclass(frozen=True)
class Filter:
    """At least one condition or group; all must hold. Hashable, so that statements and batches can be kept by it."""

    members: tuple[Condition | Group, ...]

    def as_json(self) -> list[JsonValue]:
        """The list that is stored, with raw database ids and times in UTC; read again it gives an equal filter."""
        return [member.as_json() for member in self.members]


def _json(value: Scalar) -> JsonValue:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
    return value


class FilterProblemCode(StrEnum):
    INVALID_FILTER = "INVALID_FILTER"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    OPERATOR_NOT_ALLOWED = "OPERATOR_NOT_ALLOWED"
    INVALID_VALUE = "INVALID_VALUE"
    FILTER_TOO_COMPLEX = "FILTER_TOO_COMPLEX"


Path = tuple[str | int, ...]


@dataclass(frozen=True)
class FilterProblem:
    """One thing that is wrong: where in the filter, e.g. `(0, "or", 1, "value")`, what, and a sentence for people."""

    path: Path
    code: FilterProblemCode
    message: str


@dataclass(frozen=True)
class FilterReading:
    """What was read: a filter, nothing (the given filter is empty), or the problems that it has."""

    filter: Filter | None
    problems: tuple[FilterProblem, ...] = ()
