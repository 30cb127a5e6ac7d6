"""How do the types become one schema, which errors may a client read, and what is logged of the others?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import isawaitable
from typing import Any

import strawberry
from graphql import DocumentNode, ExecutionResult, GraphQLError, GraphQLSchema
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types import ExecutionContext

from engine.executor import Engine, running_by
from resolvers.context import Context

# Imported for what they register: the types that edges lead to by name.
from schema import (
    campaigns,
    contacts,
    deliveries,
    exports,
    notifications,
    people,
    recipients,
    settings,
    suppressions,
    tasks,
    templates,
    test_deliveries,
)
from schema.execution import FieldPlans, forget_loaded, write_plainly
from schema.mutation import Mutation
from schema.query import Query
from schema.registry import OBJECT_TYPES
from schema.scalars import SCALARS
from schema.selection import field_definition
from schema.subscription import Subscription, is_personal

TYPE_MODULES = (
    campaigns,
    contacts,
    deliveries,
    exports,
    notifications,
    people,
    recipients,
    settings,
    suppressions,
    tasks,
    templates,
    test_deliveries,
)


class Schema(strawberry.Schema):
    """Strawberry's schema, silent: errors are reported where they are masked, once, without people's data."""

    engine: Engine | None = None

    def compiling(self) -> None:
        """From here on, queries are run by functions that are made of them."""
        write_plainly(self._schema)
        self.engine = Engine(self._schema, FieldPlans(self.schema_converter, self.config), forget=forget_loaded)
        self.execution_context_class = running_by(self.engine, StrawberryGraphQLCoreExecutionContext)

    @property
    def core(self) -> GraphQLSchema:
        """graphql-core's schema; Strawberry gives it no public name."""
        return self._schema

    async def answer(
        self, document: DocumentNode, name: str | None, variables: dict[str, Any] | None, context: Context
    ) -> ExecutionResult:
        """Runs a query of a valid document: what Strawberry does before and after is done already, or not needed."""
        root = context.viewer
        executor = self.execution_context_class.build(self._schema, document, root, context, variables, name)
        if isinstance(executor, list):
            return ExecutionResult(None, executor)
        result = executor.execute_operation()
        result = await result if isawaitable(result) else result
        assert isinstance(result, ExecutionResult)
        return result

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Strawberry would log each error with its original text."""

    def is_personal(self, fields: Iterable[str]) -> bool:
        """Whether one of these fields of the subscription's root shows each user what is theirs alone."""
        root = self._schema.subscription_type
        assert root is not None
        definitions = (field_definition(root, name) for name in fields)
        return any(is_personal(definition) for definition in definitions if definition is not None)


def build_schema(extensions: Sequence[Callable[[], SchemaExtension]] = (), *, compiling: bool = True) -> Schema:
    """The schema of the gateway, with the given extensions made anew for each operation.

    `compiling`: whether the engine runs queries; otherwise graphql-core does, with the same answers.
    """
    schema = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=list(OBJECT_TYPES.values()),
        extensions=list(extensions),
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    if compiling:
        schema.compiling()
    return schema
