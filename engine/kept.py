"""What can be read in the place of values that reading takes away, when others must find them as they were?

Coroutines and iterators that stand in the data of an operation can be read once. They are read through what stands in
their place, and whoever runs the operation again gets what was read, then what is left.
"""

from __future__ import annotations

from asyncio import Future, ensure_future, shield
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from operator import is_
from typing import Any, TypeAlias

from graphql import GraphQLOutputType, GraphQLResolveInfo, get_nullable_type, is_list_type
from graphql.execution import default_field_resolver
from graphql.pyutils import is_awaitable

from engine.leaves import Unanswerable

# Values of these never are what only shows when it runs: no awaitable, no error, not `Undefined`.
PLAIN = frozenset({str, int, float, bool, type(None), dict, list, tuple})
LISTS = frozenset({list, tuple})


class Kept:
    """The values that stood where they were found, with what is read in their place."""

    def __init__(self, *, usual: bool) -> None:
        """`usual`: whether awaitables and asynchronous iterables are told as graphql-core does."""
        self._usual = usual
        # By identity, with what it is for, as only what lives has one.
        self._kept: dict[int, tuple[object, object]] = {}

    def lasting(self, value: object, type_: GraphQLOutputType) -> object:
        """The value itself, found for a field of the type, or what is to be read in its place."""
        if value.__class__ in PLAIN and value.__class__ not in LISTS:
            return value
        if id(value) in self._kept:
            return self._kept[id(value)][1]
        found = lasting(value, type_)
        if found is not value:
            if not self._usual:
                raise Unanswerable("a value that can be read only once, in the eyes of who runs the operation")
            self._kept[id(value)] = value, found
        return found

    def resolver(self, source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> object:
        """graphql-core's default resolver, for whoever runs the operation again."""
        found = default_field_resolver(source, info, **arguments)
        return again(self._kept[id(found)][1]) if id(found) in self._kept else found

    def cancel(self) -> None:
        """Ends what was begun, as nobody runs the operation again."""
        for _, found in self._kept.values():
            for value in found if isinstance(found, list) else [found]:
                if isinstance(value, Remembered):
                    value.cancel()


def lasting(value: object, type_: GraphQLOutputType) -> object:
    if is_awaitable(value):
        return Remembered(value, type_)
    nullable = get_nullable_type(type_)
    if not is_list_type(nullable):
        return value
    if isinstance(value, list | tuple):
        items = [lasting(item, nullable.of_type) for item in value]
        return value if all(map(is_, items, value)) else items
    if isinstance(value, AsyncIterator):
        return AsyncRead(value, nullable.of_type)
    if isinstance(value, Iterator):
        return Read(value, nullable.of_type)
    return value


def again(found: object) -> object:
    """What was read in the place of a value, from its beginning."""
    if isinstance(found, Read | AsyncRead | Remembered):
        return found.again()
    return [again(item) for item in found] if isinstance(found, list) else found


class Raised:
    """An error in the place of an item, or the end."""

    def __init__(self, error: Exception) -> None:
        self.error = error


Met: TypeAlias = deque[object]


class Read:
    """An iterator that is read, with what it gave."""

    def __init__(self, values: Iterator[object], type_: GraphQLOutputType) -> None:
        self._values = values
        self._type = type_
        self._met: Met = deque()

    def __iter__(self) -> Iterator[object]:
        self._values = iter(self._values)
        return self

    def __next__(self) -> object:
        try:
            item = lasting(next(self._values), self._type)
        except Exception as error:
            # Also the end, which is met again as well.
            self._met.append(Raised(error))
            raise
        self._met.append(item)
        return item

    def again(self) -> Iterator[object]:
        return ReadAgain(self._values, self._met)


class ReadAgain:
    """An iterator from its beginning: what was met, errors too, then what is left of it."""

    def __init__(self, values: Iterator[object], met: Met) -> None:
        self._values = values
        self._met = met

    def __iter__(self) -> Iterator[object]:
        return self

    def __next__(self) -> object:
        return given_again(self._met.popleft()) if self._met else next(self._values)


class AsyncRead:
    """As `Read`, for asynchronous ones."""

    def __init__(self, values: AsyncIterator[object], type_: GraphQLOutputType) -> None:
        self._values = values
        self._type = type_
        self._met: Met = deque()

    def __aiter__(self) -> AsyncIterator[object]:
        self._values = aiter(self._values)
        return self

    async def __anext__(self) -> object:
        try:
            item = lasting(await anext(self._values), self._type)
        except Exception as error:
            self._met.append(Raised(error))
            raise
        self._met.append(item)
        return item

    def again(self) -> AsyncIterator[object]:
        return AsyncReadAgain(self._values, self._met)


class AsyncReadAgain:
    """As `ReadAgain`, for asynchronous ones."""

    def __init__(self, values: AsyncIterator[object], met: Met) -> None:
        self._values = values
        self._met = met

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> object:
        return given_again(self._met.popleft()) if self._met else await anext(self._values)

    async def aclose(self) -> None:
        close = getattr(self._values, "aclose", None)
        if close is not None:
            await close()


def given_again(met: object) -> object:
    if isinstance(met, Raised):
        raise met.error
    return again(met)


class Remembered:
    """An awaitable that goes on when waiting for it is given up, as is what is called beside something that fails."""

    def __init__(self, awaitable: Awaitable[object], type_: GraphQLOutputType) -> None:
        self._awaitable = awaitable
        self._type = type_
        self._begun: Future[object] | None = None

    def __await__(self) -> Generator[Any, Any, object]:
        if self._begun is None:
            self._begun = ensure_future(self._awaitable)
            # Nobody may ask for its error again.
            self._begun.add_done_callback(lambda done: done.cancelled() or done.exception())
        found = yield from shield(self._begun).__await__()
        if lasting(found, self._type) is not found:
            raise Unanswerable("an awaitable of values that can be read only once")
        return found

    def again(self) -> Awaitable[object]:
        return self._awaitable if self._begun is None else self._begun

    def cancel(self) -> None:
        if self._begun is not None:
            self._begun.cancel()
