"""Which plan of the engine answers a field of this schema? One with the same edge or function as its resolver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from engine import plans
from engine.leaves import WRITTEN, Written
from engine.plans import Arguments, Columns, PageRequest
from resolvers.context import Context
from resolvers.edges import One, Rows, Whole
from resolvers.global_ids import Key
from resolvers.loaders import Loaders, grouped, page_of
from resolvers.pages import Page, PageArguments
from schema.fields import (
    ColumnPlan,
    ComputedPlan,
    EdgePlan,
    GroupPlan,
    ManyPlan,
    NamedPlan,
    OnePlan,
    PagePlan,
    PlannedField,
)

# As `schema.scalars` writes them, where the value is what the database gives.
WAYS_OF_WRITING: Mapping[str, Written] = {
    "DateTime": Written(
        "{0}.isoformat()[:-6] + 'Z'",
        "{0}.__class__ is datetime and {0}.tzinfo is UTC",
        {"datetime": datetime, "UTC": UTC},
    ),
    "UUID": Written("str({0})", "isinstance({0}, UUID)", {"UUID": UUID}),
}


def write_plainly(schema: GraphQLSchema) -> None:
    """Tells the engine how values of our scalars are written, so that it need not call them."""
    for name, written in WAYS_OF_WRITING.items():
        schema.type_map[name].extensions[WRITTEN] = written


@dataclass(frozen=True)
class FieldPlans:
    """The planner of a schema."""

    converter: GraphQLCoreConverter
    config: StrawberryConfig

    def __call__(self, type_: GraphQLObjectType, name: str, field: GraphQLField, /) -> plans.Plan | None:
        """A field with a permission or an extension has no plan, as plans know nothing of these: its resolver does."""
        definition = field.extensions.get("strawberry-definition")
        if not isinstance(definition, StrawberryField) or definition.permission_classes or definition.extensions:
            return None
        if not isinstance(definition, PlannedField):
            # What Strawberry calls basic is an attribute of the object.
            return plans.Column(definition.python_name) if definition.is_basic_field else None
        plan = definition.plan
        return self._of_edge(definition, plan) if isinstance(plan, EdgePlan) else of_row(plan)

    def _of_edge(self, definition: PlannedField, plan: EdgePlan) -> plans.Plan | None:
        match plan:
            case OnePlan(edge=edge):
                return plans.ToOne(edge.key, RowsOf(edge), edge.sql)
            case ManyPlan(edge=edge):
                return plans.ToMany(edge.key, RowsOf(edge), edge.sql)
            case NamedPlan(edge=edge):
                return plans.Named(KeyOf(edge), RowsOf(edge), edge.sql)
            case PagePlan(edge=edge):
                pages = PagesOf(plan, lambda given: self._converted(definition, given))
                return plans.ToPage(edge.key, pages, pages.sql)
            case _:
                return None

    def _converted(self, definition: PlannedField, given: Arguments) -> dict[str, object]:
        return convert_arguments(dict(given), definition.arguments, self.converter.scalar_registry, self.config)


def forget_loaded(context: Context) -> None:
    """What is loaded already comes at once, and so the errors of other fields later: in another order."""
    context.load = Loaders(context.reader)


def of_row(plan: object) -> plans.Plan | None:
    match plan:
        case ColumnPlan(name=name):
            return plans.Column(name)
        case ComputedPlan(columns=columns, compute=compute):
            return plans.Computed(columns, compute)
        case GroupPlan(present=present):
            return plans.SameRow(present)
        case _:
            return None


@dataclass(frozen=True)
class KeyOf:
    """The key of the object that the argument `id` names."""

    edge: One

    def __call__(self, given: Arguments) -> Key | None:
        return self.edge.source.parse(str(given["id"]))


@dataclass(frozen=True)
class RowsOf:
    """Fetches the rows of an edge."""

    edge: Whole

    async def __call__(self, context: Context, columns: Columns, keys: Sequence[object]) -> Rows:
        return await self.edge.fetch(context.reader, columns, keys)


@dataclass(frozen=True)
class PagesOf:
    """Fetches pages of an edge, as a field's arguments ask for them; `converted` makes them Strawberry's."""

    plan: PagePlan
    converted: Callable[[Arguments], dict[str, object]]

    async def __call__(
        self, context: Context, request: PageRequest, keys: Sequence[object], given: Arguments
    ) -> Mapping[object, Page]:
        edge = self.plan.edge
        asked = needing(await self.plan.asked(self.converted(given), context), request)
        for key in keys:
            edge.check(asked, key)
        found = grouped(await edge.fetch(context.reader, request.columns, keys, asked))
        return {key: page_of(edge, key, asked, found.get(key, [])) for key in keys}

    def sql(self, request: PageRequest, given: Arguments) -> str:
        """Without what a condition (`where`) adds: what it is depends on the company's fields."""
        asked = self.plan.asked_plainly(self.converted(given))
        return self.plan.edge.sql(request.columns, needing(asked, request))


def needing(asked: PageArguments, request: PageRequest) -> PageArguments:
    return asked.needing(rows=request.rows, total=request.total)
