"""What is an export of some kind made of? Whoever writes exports asks a writer of the kind, chunk by chunk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from jobs.exports.ahead import Chunk, reading_ahead
from jobs.exports.copying import Copying, Order, Place, copying
from jobs.exports.states import Begun
from jobs.queue import Claim
from store.database import Database
from store.exports import CannotExport, ExportColumn
from store.files import Piece
from store.models import ExportFormat


class Writer(Protocol):
    """What one export holds, as it is read; its methods raise `CannotExport`."""

    @property
    def columns(self) -> tuple[ExportColumn, ...]: ...

    async def count(self) -> int:
        """How many rows there are."""

    def header(self) -> bytes:
        """What stands before the first row."""

    def chunks(
        self, after: Place | None, folder: Path, most_keys: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """The rows from a place on, at most so many at a time; `folder` is for files without a name."""

    def ending(self, pieces: Sequence[Piece], path: Path) -> Piece | None:
        """Writes to the path what stands behind the last row, if anything does. Blocks; raises OSError."""


Opening = Callable[[Database, Claim, Begun], AbstractAsyncContextManager[Writer]]
"""Opens the writer of an export. Raises `CannotExport`."""


class RowsWriter:
    """Rows of the database, read by several connections in turn."""

    def __init__(self, sources: Sequence[Copying]) -> None:
        self._sources = sources

    @property
    def columns(self) -> tuple[ExportColumn, ...]:
        return self._sources[0].columns

    async def count(self) -> int:
        return await self._sources[0].count()

    def header(self) -> bytes:
        return self._sources[0].header()

    def chunks(
        self, after: Place | None, folder: Path, most_keys: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        return reading_ahead(self._sources, after, folder, most_keys)

    def ending(self, _pieces: Sequence[Piece], _path: Path) -> Piece | None:
        return None


@asynccontextmanager
async def writing_rows(database: Database, claim: Claim, begun: Begun) -> AsyncIterator[RowsWriter]:
    """For all kinds whose files are rows."""
    if begun.format is ExportFormat.ZIP:
        raise CannotExport("UNSUPPORTED_FORMAT", f"Exports of the kind {begun.kind} are no archives.")
    order = Order(claim.company_id, begun.kind, begun.format, begun.parameters, begun.scope, as_of=begun.as_of)
    async with copying(database, order) as source, copying(database, order, snapshot=source.snapshot) as second:
        yield RowsWriter((source, second))
