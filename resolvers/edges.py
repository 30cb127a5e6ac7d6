"""How do the rows of one edge of the graph come, for many parents at once, in one statement?

Every edge is a batch function `fetch(connection, columns, keys, ...) -> rows` and the only source of its data. The
first column of each row is the parent's key; the columns that were asked for follow under their names. Statements
are built once for each shape (columns, order, filters present) and kept; the values are bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    func,
    null,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.types import TypeEngine

from resolvers.global_ids import parse_key
from resolvers.pages import (
    DEFAULT_PAGE_SIZE,
    Cursor,
    Direction,
    PageArguments,
    Sort,
    SortKind,
    checked_value,
    invalid_cursor,
)
from resolvers.sources import Source, array_of
from store.access import Rule
from store.database import Reader
from store.models import Base
from store.sql_types import AnyColumn, AnyExpression, AnyRow, AnySelect

Rows = Sequence[AnyRow]
Columns = tuple[str, ...]
Given = tuple[tuple[str, object], ...]
Condition = Callable[[BindParameter[Any]], ColumnElement[bool]]

KEPT_STATEMENTS = 512
PARENT_KEY = "parent_key"
SORT_TYPES: Mapping[SortKind, TypeEngine[Any]] = {
    SortKind.TEXT: Text(),
    SortKind.TIME: DateTime(timezone=True),
    SortKind.NUMBER: Integer(),
}


def as_given(value: object) -> object:
    return value


@dataclass(frozen=True)
class Link:
    """A table between parent and child; `parent` and `child` name its columns."""

    table: type[Base]
    parent: str
    child: str


@dataclass(frozen=True)
class Filter:
    """One way to narrow a list; what the client gave is prepared, then bound as `type`."""

    type: TypeEngine[Any]
    condition: Condition
    prepare: Callable[[object], object] = as_given


@dataclass(frozen=True)
class CompiledFilter:
    """A way to narrow a list whose SQL depends on what is given: something hashable, such as a checked tree."""

    condition: Callable[[Any], ColumnElement[bool]]


@dataclass(eq=False, repr=False)
class Edge:
    """What all edges know: whose column holds the key, which rows they lead to and by which column.

    `name` is `Type.field`. `key` is the parent's column, `child_key` the child's (or the link's target); by default the
    child's own key. `parent_decides`: a parent that may be seen shows all its children, so only the company is checked
    again. `where` narrows the rows for good.
    """

    name: str
    source: Source
    _: KW_ONLY
    key: str
    child_key: str = ""
    link: Link | None = None
    parent_decides: bool = False
    where: Rule | None = None

    def __post_init__(self) -> None:
        self.child_key = self.child_key or self.source.key

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def visible(self) -> ColumnElement[bool]:
        rule = self.source.inherited if self.parent_decides else self.source.visible
        return rule() if self.where is None else and_(rule(), self.where())

    def rows(self) -> FromClause:
        """The rows to select from, with the link joined where there is one."""
        if self.link is None:
            return self.source.rows
        link = self.link_table()
        child = self.source.columns[self.child_key]
        same = and_(link.c.company_id == self.source.table.c.company_id, link.c[self.link.child] == child)
        return self.source.rows.join(link, same)

    def key_column(self) -> AnyColumn:
        """The column that is compared with the parents' keys."""
        return self.source.columns[self.child_key] if self.link is None else self.link_table().c[self.link.parent]

    def link_table(self) -> Table:
        assert self.link is not None
        assert isinstance(self.link.table.__table__, Table)
        return self.link.table.__table__

    def selected(self, columns: Columns) -> list[AnyColumn]:
        return [self.source.columns[name].label(name) for name in columns]


@dataclass(eq=False, kw_only=True, repr=False)
class Whole(Edge):
    """All rows that the keys lead to, in one order."""

    order: Sequence[AnyExpression] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._statement = lru_cache(KEPT_STATEMENTS)(self._build)

    async def fetch(self, connection: Reader, columns: Columns, keys: Sequence[object]) -> Rows:
        return await connection.rows(self._statement(columns), {"keys": list(keys)})

    def sql(self, columns: Columns) -> str:
        """What is asked, as text for people."""
        return sql_of(self._statement(columns))

    def _build(self, columns: Columns) -> AnySelect:
        key = self.key_column()
        keys = bindparam("keys", type_=array_of(key))
        return (
            select(key.label(PARENT_KEY), *self.selected(columns))
            .select_from(self.rows())
            .where(self.visible(), key == any_(keys))
            .order_by(*self.order)
        )


class One(Whole):
    """The one row, if any, whose `child_key` is the parent's `key`."""


class Many(Whole):
    """All rows of each parent; for lists that are short by their nature."""


@dataclass(frozen=True)
class PageShape:
    """What decides the text of a page's statement; everything else is bound."""

    columns: Columns
    order: str
    direction: Direction
    backward: bool
    after: bool
    before: bool
    filters: tuple[str, ...]
    compiled: tuple[tuple[str, object], ...]
    rows: bool
    total: bool


@dataclass(eq=False, kw_only=True, repr=False)
class Paged(Edge):
    """A page of each parent's rows: lateral to the parents' keys, so one statement serves them all.

    `sorts` and `filters` are what a client may name; `order`, `direction` and `page_size` hold where it names none.
    """

    sorts: Mapping[str, Sort]
    order: str
    direction: Direction = Direction.ASC
    filters: Mapping[str, Filter | CompiledFilter] = field(default_factory=dict)
    page_size: int = DEFAULT_PAGE_SIZE

    def __post_init__(self) -> None:
        super().__post_init__()
        self._statement = lru_cache(KEPT_STATEMENTS)(self._build)

    async def fetch(
        self, connection: Reader, columns: Columns, keys: Sequence[object], arguments: PageArguments
    ) -> Rows:
        """At most `size + 1` rows a parent, the last telling that there are more.

        The columns follow the parent's key, then `sort_key`, `sort_value`, `total` (each where asked for). A parent
        without rows still has a row with its total, and null as the sort key.
        """
        _, plain = self._filters(arguments)
        parameters: dict[str, object] = {"keys": list(keys)}
        parameters.update({f"filter_{name}": bound(value) for name, value in plain})
        if arguments.rows:
            parameters.update({"limit": arguments.size + 1, "offset": arguments.offset})
            parameters.update(self._cursor_parameters("after", arguments.after, arguments))
            parameters.update(self._cursor_parameters("before", arguments.before, arguments))
        return await connection.rows(self._statement(self._shape(columns, arguments)), parameters)

    def sql(self, columns: Columns, arguments: PageArguments) -> str:
        """What is asked, as text for people."""
        return sql_of(self._statement(self._shape(columns, arguments)))

    def _filters(self, arguments: PageArguments) -> tuple[Given, Given]:
        """Those that are a part of the statement, and those whose values are bound."""
        compiled = tuple(given for given in arguments.filters if isinstance(self.filters[given[0]], CompiledFilter))
        return compiled, tuple(given for given in arguments.filters if given not in compiled)

    def _shape(self, columns: Columns, arguments: PageArguments) -> PageShape:
        compiled, plain = self._filters(arguments)
        return PageShape(
            columns=columns,
            order=arguments.order,
            direction=arguments.direction,
            backward=arguments.backward,
            after=arguments.after is not None,
            before=arguments.before is not None,
            filters=tuple(name for name, _ in plain),
            compiled=compiled,
            rows=arguments.rows,
            total=arguments.total,
        )

    def check(self, arguments: PageArguments, parent: object) -> None:
        """Raises INVALID_CURSOR unless the cursors were given out by this list of this parent in this order."""
        order = f"{arguments.order} {arguments.direction}"
        for cursor in (arguments.after, arguments.before):
            if cursor is not None and (cursor.edge, cursor.parent, cursor.order) != (
                self.name,
                str(parent),
                order,
            ):
                raise invalid_cursor()

    def _cursor_parameters(self, side: str, cursor: Cursor | None, arguments: PageArguments) -> dict[str, object]:
        if cursor is None:
            return {}
        sort = self.sorts[arguments.order]
        kind = self.source.key_kind
        key = parse_key(kind, cursor.key)
        if key is None or (isinstance(key, int) and key >= kind.value):
            raise invalid_cursor()
        value = checked_value(sort.kind, cursor.value)
        return {f"{side}_key": key} if value is None else {f"{side}_key": key, f"{side}_value": value}

    def _build(self, shape: PageShape) -> AnySelect:
        key = self.key_column()
        keys = func.unnest(bindparam("keys", type_=array_of(key))).table_valued(PARENT_KEY).render_derived("keys")
        parent = keys.c[PARENT_KEY]
        wanted = and_(
            self.visible(),
            key == parent,
            *(self._condition(name) for name in shape.filters),
            *(self._compiled(name, given) for name, given in shape.compiled),
        )
        selected: list[AnyColumn] = [parent.label(PARENT_KEY)]
        source: FromClause = keys
        if shape.rows:
            page = self._page(shape, wanted).lateral("page")
            selected += [page.c[name] for name in (*shape.columns, "sort_key", "sort_value")]
            source = source.join(page, true(), isouter=True)
        if shape.total:
            count = select(func.count().label("total")).select_from(self.rows()).where(wanted).lateral("count")
            selected.append(count.c.total)
            source = source.join(count, true())
        return select(*selected).select_from(source)

    def _page(self, shape: PageShape, wanted: ColumnElement[bool]) -> AnySelect:
        sort = self.sorts[shape.order]
        key = self.source.columns[self.source.key]
        by_key_alone = sort.kind is SortKind.KEY
        ordered = [key] if by_key_alone else [sort.expression, key]
        falling = shape.direction is Direction.DESC
        if shape.after:
            wanted = and_(wanted, self._beyond("after", sort, greater=not falling))
        if shape.before:
            wanted = and_(wanted, self._beyond("before", sort, greater=falling))
        return (
            select(
                key.label("sort_key"),
                (null() if by_key_alone else cast(sort.expression, Text)).label("sort_value"),
                *self.selected(shape.columns),
            )
            .select_from(self.rows())
            .where(wanted)
            .order_by(*(column.desc() if falling != shape.backward else column.asc() for column in ordered))
            .limit(bindparam("limit", type_=Integer()))
            .offset(bindparam("offset", type_=Integer()))
        )

    def _beyond(self, side: str, sort: Sort, *, greater: bool) -> ColumnElement[bool]:
        key = self.source.columns[self.source.key]
        place: AnyColumn = bindparam(f"{side}_key", type_=key.type)
        if sort.kind is not SortKind.KEY:
            value = cast(bindparam(f"{side}_value", type_=Text()), SORT_TYPES[sort.kind])
            here, there = tuple_(sort.expression, key), tuple_(value, place)
            return here > there if greater else here < there
        return key > place if greater else key < place

    def _compiled(self, name: str, given: object) -> ColumnElement[bool]:
        known = self.filters[name]
        assert isinstance(known, CompiledFilter)
        return known.condition(given)

    def _condition(self, name: str) -> ColumnElement[bool]:
        known = self.filters[name]
        assert isinstance(known, Filter)
        return known.condition(bindparam(f"filter_{name}", type_=known.type))


def bound(value: object) -> object:
    """Lists travel as tuples, so that arguments can be hashed; the driver wants lists."""
    return list(value) if isinstance(value, tuple) else value


def sql_of(statement: AnySelect) -> str:
    dialect = PGDialect()  # type: ignore[no-untyped-call]  # it has no types
    return str(statement.compile(dialect=dialect))
