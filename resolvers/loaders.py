"""How do single requests for an edge become batches? One aiodataloader for each edge, columns and arguments.

Loaders live as long as one operation: they remember what they loaded, and what one operation saw is neither fresh
nor allowed for another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any

from aiodataloader import DataLoader

from resolvers.edges import Columns, Edge, Many, One, Paged
from resolvers.pages import Page, PageArguments
from store.database import Reader
from store.sql_types import AnyRow

Batch = Callable[[list[Any]], Coroutine[Any, Any, list[object]]]


class Loaders:
    """The loaders of one operation, made when first asked for."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._loaders: dict[Hashable, DataLoader[object, object]] = {}

    def one(self, edge: One, columns: Columns, key: object) -> Awaitable[object]:
        """The row, or None where there is none that the viewer may see."""
        loader = self._loaders.get((edge, columns))
        if loader is None:
            loader = self._keep((edge, columns), self._one(edge, columns))
        return loader.load(key)

    def many(self, edge: Many, columns: Columns, key: object) -> Awaitable[object]:
        """The list of rows."""
        loader = self._loaders.get((edge, columns))
        if loader is None:
            loader = self._keep((edge, columns), self._many(edge, columns))
        return loader.load(key)

    def page(self, edge: Paged, columns: Columns, arguments: PageArguments, key: object) -> Awaitable[object]:
        """The `Page`."""
        loader = self._loaders.get((edge, columns, arguments))
        if loader is None:
            loader = self._keep((edge, columns, arguments), self._page(edge, columns, arguments))
        return loader.load(key)

    def through(self, name: str, batch: Batch, key: Hashable) -> Awaitable[object]:
        """What a batch function of its own answers for the key; `name` tells it from the others."""
        loader = self._loaders.get(name)
        if loader is None:
            loader = self._keep(name, batch)
        return loader.load(key)

    def _keep(self, kept_as: Hashable, batch: Batch) -> DataLoader[object, object]:
        loader = self._loaders[kept_as] = DataLoader(batch)
        return loader

    def _one(self, edge: One, columns: Columns) -> Batch:
        async def batch(keys: list[Any]) -> list[object]:
            found: dict[object, AnyRow] = {row[0]: row for row in await edge.fetch(self._reader, columns, keys)}
            return [found.get(key) for key in keys]

        return batch

    def _many(self, edge: Many, columns: Columns) -> Batch:
        async def batch(keys: list[Any]) -> list[object]:
            found = grouped(await edge.fetch(self._reader, columns, keys))
            return [found.get(key, []) for key in keys]

        return batch

    def _page(self, edge: Paged, columns: Columns, arguments: PageArguments) -> Batch:
        async def batch(keys: list[Any]) -> list[object]:
            found = grouped(await edge.fetch(self._reader, columns, keys, arguments))
            return [page_of(edge, key, arguments, found.get(key, [])) for key in keys]

        return batch


def grouped(rows: Sequence[AnyRow]) -> dict[object, list[AnyRow]]:
    found: dict[object, list[AnyRow]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found


def page_of(edge: Edge, key: object, arguments: PageArguments, rows: list[AnyRow]) -> Page:
    total = rows[0].total if arguments.total else None
    # A parent without rows still has one that carries its total; its first column is null.
    nodes = rows if arguments.rows and rows and rows[0].sort_key is not None else []
    return Page(edge.name, key, arguments, nodes, total)
