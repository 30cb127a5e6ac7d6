"""What does a JSON value of a filter mean for a field of some kind?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

from store.filters.catalogue import UUID_TYPES, Catalogue
from store.filters.tree import FieldKind, FilterField, Scalar
from store.models import ContactStatus, JsonValue
from store.times import InvalidTime, read_moment

MAX_TEXT_LENGTH = 1_000
# Exclusive; what lies within fits the 64 bits that JSON is written with.
MAX_NUMBER = 2**63
# PostgreSQL's integers, which ids are, end here.
MAX_ID = 2**31 - 1

# Characters that PostgreSQL's text cannot hold: NUL and halves of surrogate pairs.
NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class InvalidValue(ValueError):
    """The value is not one of the field's kind; the message is a sentence for people."""


def read_scalar(field: FilterField, value: JsonValue, catalogue: Catalogue) -> Scalar:
    """The value of one comparison, typed as the field's kind; raises `InvalidValue`."""
    if value is None:
        raise InvalidValue("To find contacts with or without a value, use the operator exists.")
    return READERS[field.kind](field, value, catalogue)


def read_text(_field: FilterField, value: JsonValue, _catalogue: Catalogue) -> str:
    if not isinstance(value, str):
        raise InvalidValue("The value must be a text.")
    if not value:
        raise InvalidValue("The text must not be empty; to find contacts without a value, use the operator exists.")
    if len(value) > MAX_TEXT_LENGTH:
        raise InvalidValue(f"A text has at most {MAX_TEXT_LENGTH:,} characters.")
    if NOT_STORABLE.search(value):
        raise InvalidValue("The text holds a character that no text here can hold.")
    return value


def read_number(_field: FilterField, value: JsonValue, _catalogue: Catalogue) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidValue("The value must be a number.")
    # Compared before anything else is done with it: a whole number may have any size, and NaN is in no range.
    if not -MAX_NUMBER < value < MAX_NUMBER:
        raise InvalidValue("The number is too large.")
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))


def read_boolean(_field: FilterField, value: JsonValue, _catalogue: Catalogue) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue("The value must be true or false.")
    return value


def read_date(_field: FilterField, value: JsonValue, _catalogue: Catalogue) -> date:
    if not isinstance(value, str) or not DATE.fullmatch(value):
        raise InvalidValue("The value must be a date such as 2026-11-30.")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise InvalidValue("There is no such date.") from None


def read_time(field: FilterField, value: JsonValue, catalogue: Catalogue) -> datetime:
    """A moment; a date is the first moment that clocks in the company's zone show it."""
    if not isinstance(value, str):
        raise InvalidValue("The value must be a time such as 2026-11-30T09:00:00Z or a date such as 2026-11-30.")
    try:
        if DATE.fullmatch(value):
            midnight = datetime.combine(read_date(field, value, catalogue), time(), catalogue.zone)
            return midnight.astimezone(UTC)
        return read_moment(value, catalogue.zone)
    except InvalidTime as error:
        raise InvalidValue(str(error)) from None
    except OverflowError:
        raise InvalidValue("There is no such time.") from None


def read_status(_field: FilterField, value: JsonValue, _catalogue: Catalogue) -> str:
    known = {str(status) for status in ContactStatus}
    # Names of ASCII letters: other characters must not become one of them in capitals.
    if not isinstance(value, str) or not value.isascii() or value.upper() not in known:
        raise InvalidValue(f"The value must be one of {', '.join(ContactStatus)}.")
    return value.upper()


def read_id(field: FilterField, value: JsonValue, catalogue: Catalogue) -> int | UUID:
    """A number as it is, a text by the catalogue; refused unless it is of the type that the field's ids have."""
    assert field.id_of is not None, "fields of ids say whose"
    key: JsonValue | UUID = value
    if isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH:
        key = catalogue.read_id(field.id_of, value)
    if field.id_of in UUID_TYPES:
        if isinstance(key, UUID):
            return key
    elif isinstance(key, int) and not isinstance(key, bool) and 0 <= key <= MAX_ID:
        return key
    raise InvalidValue(f"The value must be the id of {field.id_of}.")


READERS: Mapping[FieldKind, Callable[[FilterField, JsonValue, Catalogue], Scalar]] = {
    FieldKind.TEXT: read_text,
    FieldKind.NUMBER: read_number,
    FieldKind.DATE: read_date,
    FieldKind.TIME: read_time,
    FieldKind.BOOLEAN: read_boolean,
    FieldKind.MULTIPLE_CHOICE: read_text,
    FieldKind.STATUS: read_status,
    FieldKind.ID: read_id,
}
