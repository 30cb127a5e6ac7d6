"""How can a field be answered for all objects of one level of an operation at once?

The schema says it by plans; a field without one is answered by its resolver. Objects whose fields have plans are rows:
what a fetch gave, with the key of the parent that it belongs to first and then the columns that were asked for, in
their order, each also an attribute by its name. Above the first fetch an object is whatever its parent's field gave,
and its columns are attributes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from graphql import GraphQLField, GraphQLObjectType

# Rows, keys and the context are the schema's own: what they are is nothing to the engine.
Row: TypeAlias = Any
Key: TypeAlias = Any
Context: TypeAlias = Any
Columns: TypeAlias = tuple[str, ...]
Arguments: TypeAlias = Mapping[str, Any]


class PageInfo(Protocol):
    """Relay's page information; its attributes are columns of the fields of `PageInfo`."""

    @property
    def has_next_page(self) -> bool: ...
    @property
    def has_previous_page(self) -> bool: ...
    @property
    def start_cursor(self) -> str | None: ...
    @property
    def end_cursor(self) -> str | None: ...


class Page(Protocol):
    """A page of one parent's rows; `cursors` has one for each of the `nodes`."""

    @property
    def nodes(self) -> Sequence[Row]: ...
    @property
    def cursors(self) -> Sequence[str]: ...
    @property
    def page_info(self) -> PageInfo: ...
    @property
    def total_count(self) -> int | None: ...


@dataclass(frozen=True)
class Column:
    """The value of a column."""

    name: str

    @property
    def columns(self) -> Columns:
        return (self.name,)


@dataclass(frozen=True)
class Computed:
    """A function of the row, which has these columns, and the context. A coroutine function's are awaited together."""

    columns: Columns
    compute: Callable[[Row, Context], object]


@dataclass(frozen=True)
class SameRow:
    """An object whose fields read the parent's row; null where the column `present` is."""

    present: str | None = None

    @property
    def columns(self) -> Columns:
        return () if self.present is None else (self.present,)


@dataclass(frozen=True)
class ToRows:
    """Rows that the value of the parent's column `key` leads to.

    `fetch(context, columns, keys)`. `sql(columns)`: what it asks the database, for people.
    """

    key: str
    fetch: Callable[[Context, Columns, Sequence[Key]], Awaitable[Sequence[Row]]]
    sql: Callable[[Columns], str]

    @property
    def columns(self) -> Columns:
        return (self.key,)


@dataclass(frozen=True)
class ToOne(ToRows):
    """The one row, if any."""


@dataclass(frozen=True)
class ToMany(ToRows):
    """All rows."""


@dataclass(frozen=True)
class Named:
    """The one row that the field's arguments name, wherever it stands; without such a row the field fails.

    `key(arguments)`: the key, or None if there can be no such row. The rest is the same as for `ToRows`.
    """

    key: Callable[[Arguments], Key | None]
    fetch: Callable[[Context, Columns, Sequence[Key]], Awaitable[Sequence[Row]]]
    sql: Callable[[Columns], str]
    columns: Columns = ()


@dataclass(frozen=True)
class PageRequest:
    """What the selection on a connection needs: the columns of its nodes, rows at all, the total."""

    columns: Columns
    rows: bool
    total: bool


@dataclass(frozen=True)
class ToPage:
    """A page of the rows that the value of the parent's column `key` leads to, for a connection type of Relay's.

    `fetch(context, request, keys, arguments)`: the page of each key. `sql(request, arguments)`: what that asks the
    database, for people; the arguments are those that are written in the document.
    """

    key: str
    fetch: Callable[[Context, PageRequest, Sequence[Key], Arguments], Awaitable[Mapping[Key, Page]]]
    sql: Callable[[PageRequest, Arguments], str]

    @property
    def columns(self) -> Columns:
        return (self.key,)


Plan: TypeAlias = Column | Computed | SameRow | ToOne | ToMany | Named | ToPage


class Planner(Protocol):
    """Says how the fields of a schema are answered; `None`: by the field's resolver.

    A plan must answer what the field's resolver does, for whoever may see it: permissions and other wrappings of a
    resolver are not looked at.
    """

    def __call__(self, type_: GraphQLObjectType, name: str, field: GraphQLField, /) -> Plan | None: ...


def unplanned(_type: GraphQLObjectType, _name: str, _field: GraphQLField, /) -> Plan | None:
    """Every field by its resolver."""
    return None
