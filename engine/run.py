"""What does a generated function do with values whose kind only shows when it runs?"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any

from graphql import (
    FieldNode,
    GraphQLAbstractType,
    GraphQLField,
    GraphQLObjectType,
    GraphQLResolveInfo,
    Undefined,
    is_object_type,
)
from graphql.execution import Executor, default_field_resolver
from graphql.execution.values import FragmentVariableValues, get_argument_values, get_fragment_variable_values
from graphql.pyutils import Path, gather_with_cancel, is_awaitable
from graphql.pyutils.is_awaitable import is_async_iterable

from engine.kept import PLAIN, Kept
from engine.leaves import Unanswerable, items_of
from engine.selection import Scope


class Suspended:
    """Awaited before the first value that is waited for: until then the function can be run without an event loop."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass(frozen=True, eq=False)
class CallSite:
    """A field that its resolver answers: what a resolver can ask about it is the same for all objects of the place.

    `path`: of the field, where the places of objects in lists are not told apart.
    """

    parent: GraphQLObjectType
    name: str
    field: GraphQLField
    nodes: Sequence[FieldNode]
    path: Path


@dataclass
class Run:
    """One execution. `executor`: graphql-core's of the same operation, which knows what resolvers are told."""

    executor: Executor[Any]
    # Lists of what was called and may have to be waited for.
    pending: list[list[Any]] = field(default_factory=list)
    suspended: bool = False
    kept: Kept = field(init=False)

    def __post_init__(self) -> None:
        executor = self.executor
        usual = executor.is_awaitable is is_awaitable and executor.is_async_iterable is is_async_iterable
        self.kept = Kept(usual=usual)

    def arguments(self, definition: GraphQLField, node: FieldNode, scope: Scope | None) -> dict[str, Any]:
        """The arguments of a field, as a client gave them."""
        executor = self.executor
        variables = self._variables(scope)
        return get_argument_values(definition, node, executor.variable_values, variables, executor.hide_suggestions)

    def _variables(self, scope: Scope | None) -> FragmentVariableValues | None:
        """The values of a fragment's own variables."""
        if scope is None:
            return None
        executor = self.executor
        signatures = executor.fragments[scope.fragment.name.value].variable_signatures or {}
        outer = self._variables(scope.outer)
        return get_fragment_variable_values(
            scope.spread, signatures, executor.variable_values, outer, executor.hide_suggestions
        )

    def paths(self, paths: Sequence[Path | None], key: str, typename: str) -> list[Path]:
        """The places of a field of objects; the root's is None."""
        return [Path(path, key, typename) for path in paths]

    def item_paths(self, paths: Sequence[Path], sizes: Sequence[int | None]) -> list[Path]:
        """The places of the items of lists."""
        return [
            path.add_key(index, None) for path, size in zip(paths, sizes, strict=True) for index in range(size or 0)
        ]

    def call(
        self, site: CallSite, sources: Sequence[object], paths: Sequence[Path] | None, arguments: dict[str, Any]
    ) -> list[Any]:
        """What the resolver answers for each of these objects."""
        resolve = site.field.resolve or self.executor.field_resolver
        values: list[Any] = []
        self.pending.append(values)
        for index, source in enumerate(sources):
            values.append(resolve(source, self.info(site, None if paths is None else paths[index]), **arguments))
        return values

    def taken(
        self, site: CallSite, sources: Sequence[object], paths: Sequence[Path] | None, arguments: dict[str, Any]
    ) -> list[Any]:
        """As `call` for graphql-core's default resolver: the value of that name, called if it can be."""
        if self.executor.field_resolver is not default_field_resolver:
            return self.call(site, sources, paths, arguments)
        name = site.name
        values: list[Any] = []
        self.pending.append(values)
        for index, source in enumerate(sources):
            found = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
            if callable(found):
                found = found(self.info(site, None if paths is None else paths[index]), **arguments)
            else:
                found = self.kept.lasting(found, site.field.type)
            values.append(found)
        return values

    def begun(self, values: Iterable[Any]) -> list[Any]:
        """A list of what was called, some of which may have to be waited for."""
        found: list[Any] = []
        self.pending.append(found)
        # One at a time, as what was begun before a call that fails is to be closed.
        for value in values:
            found.append(value)  # noqa: PERF402 - see above
        return found

    def keys(self, values: Iterable[Any]) -> list[Any]:
        """Each once, in the order in which they come first; null leads nowhere."""
        return [key for key in dict.fromkeys(values) if key is not None]

    def info(self, site: CallSite, path: Path | None) -> GraphQLResolveInfo[Any]:
        return self.executor.build_resolve_info(site.field, list(site.nodes), site.parent, path or site.path)

    async def settled(self, *lists: list[Any]) -> tuple[list[Any], ...]:
        """The lists with what their awaitables come to; raises the first error that is among the values."""
        unsettled = [values for values in lists if not PLAIN.issuperset(map(type, values))]
        if unsettled:
            await self._settle(unsettled)
        return lists

    async def _settle(self, lists: list[list[Any]]) -> None:
        self._check(lists)
        is_awaitable = self.executor.is_awaitable
        waiting = [(values, index) for values in lists for index, value in enumerate(values) if is_awaitable(value)]
        if waiting:
            await self.begun_waiting()
            # Those beside one that fails are cut off, as graphql-core does; what loaders keep of them is forgotten
            # before they are asked again (`Engine`, `forget`).
            found = await gather_with_cancel(*(values[index] for values, index in waiting))
            for (values, index), value in zip(waiting, found, strict=True):
                values[index] = value
            self._check(lists)

    def _check(self, lists: Sequence[list[Any]]) -> None:
        for values in lists:
            for index, value in enumerate(values):
                if isinstance(value, Exception):
                    raise value
                if value is Undefined:
                    values[index] = None

    async def begun_waiting(self) -> None:
        if not self.suspended:
            self.suspended = True
            await Suspended()

    def require(self, values: Sequence[object]) -> None:
        """Raises where one is missing."""
        if any(value is None for value in values):
            raise Unanswerable("null where there must be a value")

    async def flatten(self, values: Sequence[Any]) -> tuple[list[Any], list[int | None]]:
        """The items of all lists, one after the other, and how many each has; None for a list that is null."""
        flat: list[Any] = []
        sizes: list[int | None] = []
        self.pending.append(flat)
        for value in values:
            if value is None:
                sizes.append(None)
                continue
            before = len(flat)
            if self.executor.is_async_iterable(value):
                await self.begun_waiting()
                flat.extend([item async for item in value])
            else:
                flat.extend(items_of(value))
            sizes.append(len(flat) - before)
        return flat, sizes

    def regroup(self, sizes: Sequence[int | None], items: Sequence[object]) -> list[list[object] | None]:
        """Lists of these sizes again."""
        found: list[list[object] | None] = []
        start = 0
        for size in sizes:
            if size is None:
                found.append(None)
            else:
                found.append(list(items[start : start + size]))
                start += size
        return found

    async def check(self, type_: GraphQLObjectType, site: CallSite, values: Sequence[object]) -> None:
        """Raises unless all are objects of the type."""
        belongs = type_.is_type_of
        assert belongs is not None
        info = self.info(site, None)
        answers = self.begun(belongs(value, info) for value in values)
        await self.settled(answers)
        if not all(answers):
            raise Unanswerable("an object of another type")

    async def types(self, abstract: GraphQLAbstractType, site: CallSite, values: Sequence[object]) -> list[str | None]:
        """The names of the types of these objects; None where there is none."""
        resolve = abstract.resolve_type or self.executor.type_resolver
        info = self.info(site, None)
        names = self.begun(None if value is None else resolve(value, info, abstract) for value in values)
        await self.settled(names)
        schema = self.executor.schema
        for value, name in zip(values, names, strict=True):
            if value is None:
                continue
            found = schema.get_type(name) if isinstance(name, str) else None
            if not is_object_type(found) or not schema.is_sub_type(abstract, found):
                raise Unanswerable("an object of a type that cannot stand here")
        return names

    def give_up(self) -> None:
        """Closes what was begun and is not waited for any more."""
        for values in self.pending:
            for value in values:
                if isinstance(value, CoroutineType):
                    value.close()

    def end(self) -> None:
        """As `give_up`, where nobody runs the operation again."""
        self.give_up()
        self.kept.cancel()
