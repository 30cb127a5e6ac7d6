"""How does a field of an object type get its value from the row behind it?

Every field carries a plan: a column, a function of columns, a group of columns, or an edge to other rows. A plan
says which columns it reads, so that only those are selected, and an edge names the type it leads to, so that types
that refer to each other need not import each other. `metadata["plan"]` is where both executors find it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from graphql import GraphQLObjectType, GraphQLOutputType, get_named_type
from strawberry import ID, UNSET, Info
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import UNRESOLVED, FieldType, StrawberryField

from resolvers import edges
from resolvers.audiences import read_condition
from resolvers.context import Context
from resolvers.edges import Edge, Many, One, Paged
from resolvers.errors import not_found
from resolvers.pages import PageArguments, RequestedPage, page_arguments
from schema.connections import Connection
from schema.filters import ContactSelection, filter_given
from schema.paging import OrderInput, page_arguments_of
from schema.registry import OBJECT_TYPES
from schema.selection import ResolveInfo, selected_columns, selected_page
from store.filters import Filter
from store.sql_types import AnyRow

ContextInfo = Info[Context, None]


class Plan:
    """How one field is answered. `columns`: of the parent's row. `same_row`: its fields read that row too."""

    columns: tuple[str, ...] = ()
    same_row = False

    def resolve(self, row: Any, info: ContextInfo, arguments: dict[str, object]) -> object:
        raise NotImplementedError

    def arguments(self) -> list[StrawberryArgument]:
        return []


class PlannedField(StrawberryField):
    """A Strawberry field that is answered by its plan."""

    @property
    def plan(self) -> Plan:
        plan = self.metadata["plan"]
        assert isinstance(plan, Plan)
        return plan

    @property
    def is_basic_field(self) -> bool:
        return isinstance(self.plan, ColumnPlan) and self.plan.name == self.python_name

    @property
    def is_graphql_generic(self) -> bool:
        return False

    def resolve_type(self, **options: Any) -> FieldType:
        """Looked up when the schema is built: by then every module of types has been imported."""
        plan = self.plan
        if not isinstance(plan, EdgePlan):
            return super().resolve_type(**options)
        if plan.edge.source.typename not in OBJECT_TYPES:
            return UNRESOLVED  # type: ignore[return-value]  # the class itself is the mark, as in Strawberry
        return StrawberryAnnotation(plan.result_type(OBJECT_TYPES[plan.edge.source.typename])).resolve()

    def get_result(
        self, source: Any, info: ContextInfo | None, args: list[Any], kwargs: dict[str, Any]
    ) -> Awaitable[Any] | Any:
        if info is None:
            return getattr(source, self.python_name)
        return self.plan.resolve(source, info, kwargs)


def planned(plan: Plan, description: str, deprecation_reason: str | None) -> Any:
    """A class attribute of an object type. Any: what stands in the class is read by Strawberry, not by callers."""
    field = PlannedField(description=description, deprecation_reason=deprecation_reason, metadata={"plan": plan})
    field.arguments = plan.arguments()
    return field


class ColumnPlan(Plan):
    """A column of the row, as it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.columns = (name,)

    def resolve(self, row: AnyRow, info: ContextInfo, arguments: dict[str, object]) -> object:
        return getattr(row, self.name)


class ComputedPlan(Plan):
    """A function of the row (of the named columns) and the context; it may be a coroutine function."""

    def __init__(self, columns: tuple[str, ...], compute: Callable[[AnyRow, Context], object]) -> None:
        self.columns = columns
        self.compute = compute

    def resolve(self, row: AnyRow, info: ContextInfo, arguments: dict[str, object]) -> object:
        return self.compute(row, info.context)


class GroupPlan(Plan):
    """Columns of the same row under a type of their own; null when the `present` column is."""

    same_row = True

    def __init__(self, present: str | None) -> None:
        self.present = present
        self.columns = () if present is None else (present,)

    def resolve(self, row: AnyRow, info: ContextInfo, arguments: dict[str, object]) -> object:
        if self.present is not None and getattr(row, self.present) is None:
            return None
        return row


class EdgePlan(Plan):
    """Rows that another row leads to."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.columns = (edge.key,)

    def result_type(self, target: Any) -> object:
        """The field's annotation, given the class of the rows that the edge leads to."""
        raise NotImplementedError


class OnePlan(EdgePlan):
    edge: One

    def __init__(self, edge: One, *, nullable: bool) -> None:
        super().__init__(edge)
        self.nullable = nullable

    def result_type(self, target: Any) -> object:
        return target | None if self.nullable else target

    def resolve(self, row: AnyRow, info: ContextInfo, arguments: dict[str, object]) -> object:
        key = getattr(row, self.edge.key)
        if key is None:
            return None
        raw = raw_info(info)
        columns = selected_columns(raw, named_object(raw.return_type), raw.field_nodes)
        return info.context.load.one(self.edge, columns, key)


class ManyPlan(EdgePlan):
    edge: Many

    def result_type(self, target: Any) -> object:
        return list[target]

    def resolve(self, row: AnyRow, info: ContextInfo, arguments: dict[str, object]) -> object:
        raw = raw_info(info)
        columns = selected_columns(raw, named_object(raw.return_type), raw.field_nodes)
        return info.context.load.many(self.edge, columns, getattr(row, self.edge.key))


class PagePlan(EdgePlan):
    edge: Paged

    def __init__(self, edge: Paged, order: type[OrderInput], filter_type: type | None) -> None:
        super().__init__(edge)
        self.order = order
        self.filter_type = filter_type

    def result_type(self, target: Any) -> object:
        return Connection[target]

    def arguments(self) -> list[StrawberryArgument]:
        return page_arguments_of(self.edge, self.order, self.filter_type)

    def resolve(self, row: AnyRow, info: ContextInfo, arguments: dict[str, object]) -> object:
        if self._condition(arguments) is None:
            return self._page(row, info, self.asked_plainly(arguments))
        return self._of_those(row, info, arguments)

    async def asked(self, arguments: dict[str, object], context: Context) -> PageArguments:
        """What the field's arguments ask for; a condition is read in the light of the company's fields."""
        condition = self._condition(arguments)
        if condition is None:
            return self.asked_plainly(arguments)
        return self._asked(arguments, await read_condition(context, filter_given(condition)))

    def asked_plainly(self, arguments: dict[str, object]) -> PageArguments:
        """The same, but for a condition."""
        return self._asked(arguments, None)

    async def _of_those(self, row: AnyRow, info: ContextInfo, arguments: dict[str, object]) -> object:
        return await self._page(row, info, await self.asked(arguments, info.context))

    def _page(self, row: AnyRow, info: ContextInfo, asked: PageArguments) -> Awaitable[object]:
        key = getattr(row, self.edge.key)
        self.edge.check(asked, key)
        raw = raw_info(info)
        needed = selected_page(raw, named_object(raw.return_type), raw.field_nodes)
        wanted = asked.needing(rows=needed.rows, total=needed.total)
        return info.context.load.page(self.edge, needed.columns, wanted, key)

    def _condition(self, arguments: dict[str, Any]) -> ContactSelection | None:
        found = getattr(arguments.get("filter"), "where", None)
        return found if isinstance(found, ContactSelection) else None

    def _asked(self, arguments: dict[str, Any], where: Filter | None) -> PageArguments:
        order: OrderInput | None = arguments.get("order_by")
        requested = RequestedPage(*(arguments.get(name) for name in ("first", "last", "after", "before", "offset")))
        return page_arguments(
            requested,
            self.edge.order if order is None else order.field.value,
            self.edge.direction if order is None else order.direction,
            (*filters_given(self.edge, arguments.get("filter")), *(() if where is None else (("where", where),))),
            self.edge.page_size,
        )


class NamedPlan(EdgePlan):
    """The one object of a type that an id names: NOT_FOUND where there is none that the viewer may see."""

    edge: One

    def result_type(self, target: Any) -> object:
        return target | None

    def arguments(self) -> list[StrawberryArgument]:
        description = f"The {self.edge.source.typename}'s global id, or its `databaseId` as text."
        return [StrawberryArgument("id", None, StrawberryAnnotation(ID), description=description)]

    async def resolve(self, row: AnyRow, info: ContextInfo, arguments: dict[str, object]) -> object:
        source = self.edge.source
        key = source.parse(str(arguments["id"]))
        raw = raw_info(info)
        columns = selected_columns(raw, named_object(raw.return_type), raw.field_nodes)
        found = None if key is None else await info.context.load.one(self.edge, columns, key)
        if found is None:
            raise not_found(source.typename)
        return found


def filters_given(edge: Paged, given: object) -> tuple[tuple[str, object], ...]:
    """The filters of a list that a client gave (null counts as not given), prepared for the statement."""
    if given is None:
        return ()
    values = ((name, known, getattr(given, name, None)) for name, known in edge.filters.items())
    return tuple(
        (name, known.prepare(tuple(value) if isinstance(value, list) else value))
        for name, known, value in values
        if isinstance(known, edges.Filter) and value is not None and value is not UNSET
    )


async def each_selected(info: ContextInfo, edge: One, keys: Iterable[object]) -> list[object]:
    """The rows of these keys with what the field selects of them, in their order; those not to be seen left out."""
    raw = raw_info(info)
    columns = selected_columns(raw, named_object(raw.return_type), raw.field_nodes)
    found = await asyncio.gather(*(info.context.load.one(edge, columns, key) for key in keys))
    return [row for row in found if row is not None]


def raw_info(info: ContextInfo) -> ResolveInfo:
    """graphql-core's own info; Strawberry gives it no public name."""
    return info._raw_info  # noqa: SLF001 - see above


def named_object(type_: GraphQLOutputType) -> GraphQLObjectType:
    named = get_named_type(type_)
    assert isinstance(named, GraphQLObjectType)
    return named


def column(name: str, description: str, *, deprecated: str | None = None) -> Any:
    """The value of a column."""
    return planned(ColumnPlan(name), description, deprecated)


def computed(
    columns: tuple[str, ...],
    compute: Callable[[AnyRow, Context], object],
    description: str,
    *,
    deprecated: str | None = None,
) -> Any:
    """A function of columns and the context."""
    return planned(ComputedPlan(columns, compute), description, deprecated)


def grouped(description: str, *, present: str | None = None) -> Any:
    """Columns of the same row, gathered under a type of their own."""
    return planned(GroupPlan(present), description, None)


def to_one(edge: One, description: str, *, nullable: bool = False, deprecated: str | None = None) -> Any:
    """The row that an edge leads to. `nullable`: there may be none, or none that the viewer may see."""
    return planned(OnePlan(edge, nullable=nullable), description, deprecated)


def to_many(edge: Many, description: str) -> Any:
    """All rows that an edge leads to."""
    return planned(ManyPlan(edge), description, None)


def connection(edge: Paged, description: str, order: type[OrderInput], filter_type: type | None = None) -> Any:
    """Pages of the rows that an edge leads to."""
    return planned(PagePlan(edge, order, filter_type), description, None)


def named(edge: One, description: str) -> Any:
    """A root field that takes an id."""
    return planned(NamedPlan(edge), description, None)
