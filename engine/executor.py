"""How is an operation run: by its own function if it has one and all goes well, else by graphql-core?

The function is optimistic. Whatever is not as it must be (null where there must be a value, an error of a fetch or of
a resolver, a value that its type does not have) discards what it found, and graphql-core answers the whole query, with
errors, paths and nulls. So what a query calls may be called twice.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from copy import copy
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from graphql import ExecutionResult, FragmentDefinitionNode, GraphQLSchema, OperationDefinitionNode, OperationType
from graphql.execution import Executor, ExperimentalIncrementalExecutionResults, default_field_resolver

from engine.compiler import Compiled, compile_operation
from engine.leaves import Unanswerable
from engine.plans import Planner, unplanned
from engine.run import Run
from engine.selection import NotCompilable, steering_variables

Answered: TypeAlias = ExecutionResult | ExperimentalIncrementalExecutionResults
Result: TypeAlias = Awaitable[Answered] | Answered
Core: TypeAlias = Executor[Any]
ByCore: TypeAlias = Callable[[Core], Result]

# Of one operation, by the values of what steers it: those beyond are run by graphql-core.
MOST_VARIANTS = 16


class Way(Enum):
    """How an operation was run."""

    COMPILED = "by its function"
    NOT_COMPILABLE = "by graphql-core, as it has no function"
    GIVEN_UP = "by graphql-core, as its function could not answer"


@dataclass
class Prepared:
    """The functions of one operation, made when they are needed."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    plan_of: Planner
    variants: dict[tuple[object, ...], Compiled | NotCompilable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.steering = steering_variables(self.operation, self.fragments)

    def compiled(self, variables: Mapping[str, object]) -> Compiled:
        """The function for these values of the variables, coerced; raises `NotCompilable`."""
        given = (variables.get(name) for name in self.steering)
        # Others never steer, and may not be hashable.
        values = tuple(value if isinstance(value, bool) else None for value in given)
        found = self.variants.get(values)
        if found is None:
            if len(self.variants) >= MOST_VARIANTS:
                raise NotCompilable("more variants of @skip and @include than are kept")
            found = self.variants[values] = self._made(dict(zip(self.steering, values, strict=True)))
        if isinstance(found, NotCompilable):
            raise found
        return found

    def _made(self, values: Mapping[str, object]) -> Compiled | NotCompilable:
        booleans = {name: value for name, value in values.items() if isinstance(value, bool)}
        try:
            return compile_operation(self.schema, self.operation, self.fragments, booleans, self.plan_of)
        except NotCompilable as reason:
            return reason


def nothing_to_forget(_context: Any) -> None:
    """What a context keeps changes no answer, nor the order of errors."""


class Engine:
    """Runs the queries of one schema; keeps the functions of so many operations, of those that were run last."""

    def __init__(
        self,
        schema: GraphQLSchema,
        plan_of: Planner = unplanned,
        *,
        forget: Callable[[Any], None] = nothing_to_forget,
        most_kept: int = 1000,
    ) -> None:
        """`forget(context)`: called before graphql-core answers what a function could not, as if nothing had been."""
        self._schema = schema
        self._plan_of = plan_of
        self._forget = forget
        self._most_kept = most_kept
        # By the identity of an operation's node, which lives as long as its entry.
        self._kept: OrderedDict[int, Prepared] = OrderedDict()
        self.ways: Counter[Way] = Counter()
        self.reasons: Counter[str] = Counter()

    def prepared(self, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Prepared:
        """The functions of an operation of a validated document."""
        found = self._kept.get(id(operation))
        if found is None:
            found = self._kept[id(operation)] = Prepared(self._schema, operation, fragments, self._plan_of)
            if len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(id(operation))
        return found

    def run(self, executor: Core, by_core: ByCore) -> Result:
        """The result of the query that `executor` was built for; an awaitable if something had to be waited for.

        `by_core` runs the query of an executor with graphql-core.
        """
        compiled = self._compiled(executor)
        if compiled is None:
            return by_core(executor)
        run = Run(executor)
        running = compiled.function([executor.root_value], executor.context_value, run)
        try:
            running.send(None)
        except StopIteration as end:
            self.ways[Way.COMPILED] += 1
            return ExecutionResult(end.value, None)
        except Exception as reason:  # noqa: BLE001 - graphql-core meets it again, and says what it means
            return self._given_up(run, reason, by_core)
        except BaseException:
            run.end()
            raise
        return self._resumed(run, running, by_core)

    def _compiled(self, executor: Core) -> Compiled | None:
        try:
            require_usual(executor)
            prepared = self.prepared(executor.operation, executor.fragment_definitions)
            return prepared.compiled(executor.variable_values.coerced)
        except NotCompilable as reason:
            self.ways[Way.NOT_COMPILABLE] += 1
            self.reasons[str(reason)] += 1
            return None

    async def _resumed(self, run: Run, running: Coroutine[Any, Any, Any], by_core: ByCore) -> Answered:
        try:
            data = await Resumed(running)
        except Exception as reason:  # noqa: BLE001 - as above
            result = self._given_up(run, reason, by_core)
            return await result if isinstance(result, Awaitable) else result
        except BaseException:
            run.end()
            raise
        self.ways[Way.COMPILED] += 1
        return ExecutionResult(data, None)

    def _given_up(self, run: Run, reason: Exception, by_core: ByCore) -> Result:
        run.give_up()
        executor = run.executor
        self.ways[Way.GIVEN_UP] += 1
        # What errors say may be people's, and is different each time.
        self.reasons[str(reason) if isinstance(reason, Unanswerable) else type(reason).__name__] += 1
        if executor.field_resolver is default_field_resolver:
            executor = copy(executor)
            executor.field_resolver = run.kept.resolver
        self._forget(executor.context_value)
        return by_core(executor)


def running_by(engine: Engine, base: type[Core]) -> type[Core]:
    """An executor class as `base` that has its queries run by an engine."""

    class EngineExecutor(base):  # type: ignore[valid-type, misc]  # a class that is only known here
        def execute_operation(self, serially: bool | None = None) -> Any:
            if serially is not None or self.operation.operation is not OperationType.QUERY:
                return super().execute_operation(serially)
            return engine.run(self, base.execute_operation)

    return EngineExecutor


def require_usual(executor: Core) -> None:
    """Raises `NotCompilable` where something is to happen with the fields that only graphql-core does."""
    if executor.middleware_manager is not None and executor.middleware_manager.middlewares:
        raise NotCompilable("middleware")
    if executor.abort_signal is not None or executor.hooks is not None:
        raise NotCompilable("a signal or a hook")


class Resumed:
    """Waits for a coroutine that has begun to run."""

    def __init__(self, running: Coroutine[Any, Any, Any]) -> None:
        self._running = running

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._running.__await__())
