"""Which part of a list does a client ask for, and where in it is a row?

Keyset pages after the Relay connections specification, and `offset` for interfaces with page numbers.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

import orjson

from resolvers.errors import ClientError, ErrorCode
from store.sql_types import AnyExpression, AnyRow

MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20
MAX_OFFSET = 2**31 - 1
CURSOR_PARTS = 5


class Direction(StrEnum):
    ASC = "ASC"
    DESC = "DESC"


class SortKind(StrEnum):
    """What the values that a list is sorted by look like in a cursor."""

    TEXT = "TEXT"
    TIME = "TIME"
    NUMBER = "NUMBER"
    KEY = "KEY"


@dataclass(frozen=True)
class Sort:
    """One order of a list: an indexed expression, never null; rows with equal values stand by their key."""

    expression: AnyExpression
    kind: SortKind


@dataclass(frozen=True)
class Cursor:
    """A place in one list (of one parent, in one order): the sort value as text, and the key as text."""

    edge: str
    parent: str
    order: str
    value: str | None
    key: str

    def encode(self) -> str:
        parts = orjson.dumps([self.edge, self.parent, self.order, self.value, self.key])
        return urlsafe_b64encode(parts).rstrip(b"=").decode()


def decode_cursor(text: str) -> Cursor:
    """Raises INVALID_CURSOR; whether the cursor belongs to the list at hand is still to be checked."""
    try:
        parts = orjson.loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except ValueError:
        raise invalid_cursor() from None
    if not isinstance(parts, list) or len(parts) != CURSOR_PARTS:
        raise invalid_cursor()
    edge, parent, order, value, key = parts
    texts = (edge, parent, order, key, "" if value is None else value)
    if not all(isinstance(part, str) and "\x00" not in part for part in texts):
        raise invalid_cursor()
    return Cursor(edge, parent, order, value, key)


def invalid_cursor() -> ClientError:
    return ClientError(ErrorCode.INVALID_CURSOR, "This is not a cursor of this list in this order.")


def checked_value(kind: SortKind, value: str | None) -> str | None:
    """The sort value, in a spelling that PostgreSQL's cast is sure to take; raises INVALID_CURSOR."""
    if kind is SortKind.KEY:
        if value is not None:
            raise invalid_cursor()
        return None
    if value is None:
        raise invalid_cursor()
    if kind is SortKind.TEXT or (kind is SortKind.TIME and value == "infinity"):
        return value
    try:
        return checked_number(value) if kind is SortKind.NUMBER else checked_time(value)
    except (ValueError, OverflowError):
        raise invalid_cursor() from None


def checked_number(value: str) -> str:
    number = int(value)
    if not -(2**31) <= number < 2**31:
        raise ValueError("beyond PostgreSQL's integers")
    return str(number)


def checked_time(value: str) -> str:
    """In UTC, as PostgreSQL refuses offsets that Python takes."""
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("a time without its offset")
    return time.astimezone(UTC).isoformat()


@dataclass(frozen=True)
class PageArguments:
    """What one connection field was asked for; hashable, so that loaders and statements can be kept by it.

    `filters` holds (name, value) pairs, lists as tuples. `rows` and `total` say what the selection needs.
    """

    size: int
    order: str
    direction: Direction
    backward: bool = False
    after: Cursor | None = None
    before: Cursor | None = None
    offset: int = 0
    filters: tuple[tuple[str, object], ...] = ()
    rows: bool = True
    total: bool = False

    def needing(self, *, rows: bool, total: bool) -> PageArguments:
        return replace(self, rows=rows, total=total)


@dataclass(frozen=True)
class RequestedPage:
    """The arguments of a connection field as the client wrote them."""

    first: int | None
    last: int | None
    after: str | None
    before: str | None
    offset: int | None


def page_arguments(
    requested: RequestedPage,
    order: str,
    direction: Direction,
    filters: tuple[tuple[str, object], ...],
    default_size: int,
) -> PageArguments:
    """Checked arguments of a page; raises BAD_USER_INPUT or INVALID_CURSOR."""
    if requested.first is not None and requested.last is not None:
        raise bad_page("Give `first` or `last`, not both.")
    backward = requested.last is not None
    size = requested.last if backward else requested.first
    if size is None:
        size = default_size
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise bad_page(f"`{'last' if backward else 'first'}` must be between 1 and {MAX_PAGE_SIZE}.")
    if requested.offset is not None:
        if backward or requested.after is not None or requested.before is not None:
            raise bad_page("`offset` goes with `first` alone, not with cursors or `last`.")
        if not 0 <= requested.offset <= MAX_OFFSET:
            raise bad_page(f"`offset` must be between 0 and {MAX_OFFSET}.")
    return PageArguments(
        size=size,
        order=order,
        direction=direction,
        backward=backward,
        after=None if requested.after is None else decode_cursor(requested.after),
        before=None if requested.before is None else decode_cursor(requested.before),
        offset=requested.offset or 0,
        filters=filters,
    )


def bad_page(message: str) -> ClientError:
    return ClientError(ErrorCode.BAD_USER_INPUT, message)


@dataclass(frozen=True)
class PageInfo:
    """Relay's page information."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@dataclass(frozen=True)
class PageEdge:
    cursor: str
    node: AnyRow


class Page:
    """One page of one parent's list, as the connection type of the schema reads it."""

    def __init__(
        self,
        edge: str,
        parent: object,
        arguments: PageArguments,
        rows: list[AnyRow],
        total: int | None,
    ) -> None:
        """`rows` are in the order of the statement, with one more than asked when there are more."""
        self._edge = edge
        self._parent = str(parent)
        self._arguments = arguments
        self._more = len(rows) > arguments.size
        kept = rows[: arguments.size]
        self.nodes = kept[::-1] if arguments.backward else kept
        self.total_count = total

    @property
    def edges(self) -> list[PageEdge]:
        return [PageEdge(self._cursor(row), row) for row in self.nodes]

    @property
    def cursors(self) -> list[str]:
        return [self._cursor(row) for row in self.nodes]

    @property
    def page_info(self) -> PageInfo:
        arguments = self._arguments
        before = arguments.after is not None or arguments.offset > 0
        after = arguments.before is not None
        return PageInfo(
            has_next_page=after if arguments.backward else self._more,
            has_previous_page=self._more if arguments.backward else before,
            start_cursor=self._cursor(self.nodes[0]) if self.nodes else None,
            end_cursor=self._cursor(self.nodes[-1]) if self.nodes else None,
        )

    def _cursor(self, row: AnyRow) -> str:
        value = row.sort_value
        order = f"{self._arguments.order} {self._arguments.direction}"
        text = None if value is None else str(value)
        return Cursor(self._edge, self._parent, order, text, str(row.sort_key)).encode()
