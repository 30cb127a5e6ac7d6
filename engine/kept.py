"""What can be read in the place of values that reading takes away, when others must find them as they were?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from operator import is_
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from graphql import GraphQLResolveInfo
from graphql.execution import default_field_resolver
from graphql.pyutils import is_awaitable

from engine.leaves import Unanswerable

# Values of these never are what only shows when it runs: no awaitable, no error, not `Undefined`.
PLAIN = frozenset({str, int, float, bool, type(None), dict, list, tuple})
LISTS = frozenset({list, tuple})


class Kept:
    """Values that stood where they were found, and that reading takes away: what others can read in their place.

    Whoever runs the operation again must find them as they were.
    """

    def __init__(self) -> None:
        # With what it is for, as only what lives has an identity.
        self._kept: dict[int, tuple[object, object]] = {}

    def lasting(self, value: object) -> object:
        """The value itself, or what can be read as often as one likes."""
        if value.__class__ in PLAIN and value.__class__ not in LISTS:
            return value
        if id(value) in self._kept:
            return self._kept[id(value)][1]
        lasting = self._made(value)
        if lasting is not value:
            self._kept[id(value)] = value, lasting
        return lasting

    def resolver(self, source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> object:
        """graphql-core's default resolver, with these values in the place of those."""
        found = default_field_resolver(source, info, **arguments)
        return self._kept[id(found)][1] if id(found) in self._kept else found

    def _made(self, value: object) -> object:
        if is_awaitable(value):
            return Remembered(value)
        if isinstance(value, GeneratorType):
            return Again(value)
        if isinstance(value, AsyncGeneratorType):
            return AsyncAgain(value)
        if isinstance(value, Iterator | AsyncIterator):
            raise Unanswerable("an iterator that can be read only once")
        if isinstance(value, list | tuple):
            items = [self._made(item) for item in value]
            return value if all(map(is_, items, value)) else items
        return value


class Again:
    """A generator that can be run again, and gives the same."""

    def __init__(self, values: Iterator[object]) -> None:
        self._values = values
        self._items: list[object] = []
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[object]:
        try:
            self._items.extend(self._values)
        except Exception as error:  # noqa: BLE001 - raised below, each time
            self._error = error
        yield from self._items
        if self._error is not None:
            raise self._error


class AsyncAgain:
    """The same for asynchronous ones."""

    def __init__(self, values: AsyncIterator[object]) -> None:
        self._values = values
        self._items: list[object] = []
        self._error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[object]:
        try:
            async for item in self._values:
                self._items.append(item)
        except Exception as error:  # noqa: BLE001 - as above
            self._error = error
        for item in self._items:
            yield item
        if self._error is not None:
            raise self._error


class Remembered:
    """An awaitable that can be waited for again, and comes to the same."""

    def __init__(self, awaitable: Awaitable[object]) -> None:
        self._awaitable: Awaitable[object] | None = awaitable
        self._value: object = None
        self._error: BaseException | None = None

    def __await__(self) -> Generator[Any, Any, object]:
        awaitable, self._awaitable = self._awaitable, None
        if awaitable is not None:
            try:
                self._value = yield from awaitable.__await__()
            except BaseException as error:  # noqa: BLE001 - raised below, each time
                self._error = error
        if self._error is not None:
            raise self._error
        return self._value
