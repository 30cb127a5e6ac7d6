"""How is a value of a row written in a CSV file, in JSON, and in a line for a workbook? As SQL expressions.

No stored value makes PostgreSQL raise. Of a CSV cell null is nothing; a JSON text is null where there is no value.
The expressions were chosen by measuring: `to_char` takes twice as long for a time as a cast to text, and patterns and
`left` take twice as long to find a formula as `ascii`, which copies nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from sqlalchemy import ARRAY, Integer, Interval, Text, and_, any_, case, cast, func, literal, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB

from store.exports.columns import ColumnKind
from store.models import Contact
from store.sql_types import AnyColumn

# Spreadsheets take text that begins so for a formula (OWASP, CSV Injection).
FORMULA_STARTS = "=+-@\t\r\n"


class Form(Enum):
    """CSV: formulas disarmed; RAW_CSV: as they are. OBJECT: JSON as it is. ARRAY: JSON in which texts are texts."""

    CSV = auto()
    RAW_CSV = auto()
    OBJECT = auto()
    ARRAY = auto()


def escaped_text(text: str) -> str:
    """What `escaped` does, for text that is not in the database."""
    return f"'{text}" if text.startswith(tuple(FORMULA_STARTS)) else text


def constant(text: str) -> AnyColumn:
    """A text of our own, without quotes or backslashes in it, as a part of the statement."""
    return literal_column(f"'{text}'", Text())


def codes(characters: str) -> AnyColumn:
    numbers = ",".join(str(ord(character)) for character in characters)
    return any_(literal_column(f"'{{{numbers}}}'::integer[]", ARRAY(Integer())))


# Named by its offset, the zone is not looked up for each row.
UTC_OFFSET = literal_column("interval '0'", Interval())
QUOTE = literal_column("''''", Text())
# Digits and signs stand before letters: most texts are known for harmless by one comparison.
BEFORE_LETTERS = literal_column("65", Integer())
HARMFUL = codes(FORMULA_STARTS)
HARMFUL_OR_LIST = codes(FORMULA_STARTS + "[")
LIST_SEPARATOR = constant("; ")
SHORT_LIST = 4


def escaped(text: AnyColumn) -> AnyColumn:
    """The text, behind an apostrophe if it could be taken for a formula."""
    first = func.ascii(text)
    return case((and_(first < BEFORE_LETTERS, first == HARMFUL), QUOTE.concat(text)), else_=text)


def quoted(text: AnyColumn) -> AnyColumn:
    """JSON of a text that holds no character that JSON escapes."""
    return constant('"').concat(text).concat(constant('"'))


def as_json_text(text: AnyColumn) -> AnyColumn:
    return cast(func.to_json(text), Text())


class Value(Protocol):
    """`kind`: of its column."""

    @property
    def kind(self) -> ColumnKind: ...

    def written(self, form: Form) -> AnyColumn:
        """The cell of a CSV file, or the text of a JSON value."""


def is_csv(form: Form) -> bool:
    return form in (Form.CSV, Form.RAW_CSV)


@dataclass(frozen=True)
class Key:
    """An id or a word of ours: nothing in it has to be escaped."""

    stored: AnyColumn
    kind: ColumnKind = ColumnKind.TEXT

    def written(self, form: Form) -> AnyColumn:
        if is_csv(form):
            return self.stored
        text = cast(self.stored, Text())
        return quoted(text) if self.kind is ColumnKind.TEXT else text


@dataclass(frozen=True)
class Words:
    """Text that people wrote."""

    stored: AnyColumn
    kind: ColumnKind = ColumnKind.TEXT

    def written(self, form: Form) -> AnyColumn:
        if is_csv(form):
            return escaped(self.stored) if form is Form.CSV else self.stored
        return as_json_text(self.stored)


@dataclass(frozen=True)
class Truth:
    stored: AnyColumn
    kind: ColumnKind = ColumnKind.BOOLEAN

    def written(self, form: Form) -> AnyColumn:
        return case((self.stored, constant("true")), (~self.stored, constant("false")))


@dataclass(frozen=True)
class Day:
    """YYYY-MM-DD; PostgreSQL's own words for what no calendar has."""

    stored: AnyColumn
    kind: ColumnKind = ColumnKind.DATE

    def written(self, form: Form) -> AnyColumn:
        return self.stored if is_csv(form) else quoted(cast(self.stored, Text()))


@dataclass(frozen=True)
class Moment:
    """ISO 8601 in UTC with a `Z`, with the fractions of a second that there are; `infinity` for what never is."""

    stored: AnyColumn
    kind: ColumnKind = ColumnKind.TIME

    def written(self, form: Form) -> AnyColumn:
        shown = cast(func.timezone(UTC_OFFSET, self.stored), Text())
        moment = func.replace(shown, constant(" "), constant("T")).concat(constant("Z"))
        text = case((func.isfinite(self.stored), moment), else_=cast(self.stored, Text()))
        return text if is_csv(form) else quoted(text)


@dataclass(frozen=True)
class Custom:
    """The value under a key of a contact's JSON object, whatever its type; lists are joined, but in JSON objects.

    A value that does not fit the kind stays the text that it is in CSV, and the JSON that it is elsewhere.
    """

    stored: AnyColumn
    name: str
    kind: ColumnKind

    def written(self, form: Form) -> AnyColumn:
        # One parameter, however often it is named.
        key = literal(self.name, Text())
        member = self.stored.op("->", return_type=JSONB())(key)
        text = self.stored.op("->>", return_type=Text())(key)
        if is_csv(form):
            return cell(member, text, disarmed=form is Form.CSV)
        whole = cast(member, Text())
        if form is Form.OBJECT or self.kind is not ColumnKind.TEXT:
            return whole
        json_type = func.jsonb_typeof(member)
        return case(
            (json_type == constant("string"), whole),
            (json_type == constant("array"), as_json_text(joined(member))),
            else_=as_json_text(text),
        )


def cell(member: AnyColumn, text: AnyColumn, *, disarmed: bool) -> AnyColumn:
    """A JSON value as text; most are known by their first character for what needs no second look."""
    is_list = func.jsonb_typeof(member) == constant("array")
    first = func.ascii(text)
    if not disarmed:
        return case((and_(first == codes("["), is_list), joined(member)), else_=text)
    is_text = func.jsonb_typeof(member) == constant("string")
    # Numbers may begin with a minus.
    looked_at = case((is_list, escaped(joined(member))), (is_text, escaped(text)), else_=text)
    return case((first == HARMFUL_OR_LIST, looked_at), else_=text)


def joined(member: AnyColumn) -> AnyColumn:
    """The entries of a JSON list as one text; only where it is one.

    The entries of a short list are named one by one, which takes a tenth of the time that a query over them takes.
    """
    places = (member.op("->>", return_type=Text())(literal_column(str(place))) for place in range(SHORT_LIST))
    short = func.concat_ws(LIST_SEPARATOR, *places, type_=Text())
    entry = func.jsonb_array_elements_text(member, type_=Text()).column_valued("entry")
    entries = select(entry).correlate(Contact).scalar_subquery()
    long = func.array_to_string(func.array(entries), LIST_SEPARATOR, type_=Text())
    return case((func.jsonb_array_length(member) <= literal_column(str(SHORT_LIST)), short), else_=long)
