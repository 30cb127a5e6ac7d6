"""How does one worker write an export, from the last checkpoint to the file in the store?"""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import IO, TypeVar

from jobs.exports import states
from jobs.exports.ahead import MOST_KEYS, Chunk
from jobs.exports.copying import Place
from jobs.exports.spool import Part, PartFile, Spooled, folder_of, size_of
from jobs.exports.states import Begun, Canceled, Made, NotOurs
from jobs.exports.workbook import write_workbook
from jobs.exports.writers import Opening, Writer, writing_rows
from jobs.faults import through_outages
from jobs.queue import Claim, Write, nothing
from store.database import Database
from store.exports import CannotExport
from store.files import Files, Piece
from store.models import ExportFormat, ExportKind
from store.models.base import JsonValue

T = TypeVar("T")

# A sign of life at least this often, and a signal at most this often; in seconds.
BEAT = 1.0
BETWEEN_SIGNALS = 0.25
# How many seconds of the past tell how fast it goes.
WINDOW = 10.0
EXTENSIONS = {format: format.lower() for format in ExportFormat}
CONTENT_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ExportFormat.JSONL: "application/jsonl",
    ExportFormat.ZIP: "application/zip",
}


@dataclass(frozen=True)
class ExportLimits:
    """`rows`: of one export. `company_bytes`: of all files of a company. `file_life`: after which a file is deleted."""

    rows: int
    company_bytes: int
    file_life: timedelta


@dataclass(frozen=True)
class Means:
    """What every attempt of a worker uses.

    `most_keys`: how many keys are read between two checkpoints at most. `writers`: those of the kinds whose files are
    no rows.
    """

    database: Database
    files: Files
    limits: ExportLimits
    monotonic: Callable[[], float]
    most_keys: int = MOST_KEYS
    writers: Mapping[ExportKind, Opening] = field(default_factory=lambda: MappingProxyType({}))


@dataclass
class Speed:
    """How many rows a second were done lately."""

    monotonic: Callable[[], float]
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def after(self, rows: int) -> float | None:
        """The pace now that so many are done; None until there is a stretch of time to tell it by."""
        now = self.monotonic()
        self.seen.append((now, rows))
        while len(self.seen) > 2 and self.seen[0][0] < now - WINDOW:
            self.seen.popleft()
        since, before = self.seen[0]
        return (rows - before) / (now - since) if now - since > BETWEEN_SIGNALS else None


@dataclass(frozen=True)
class Checkpoint:
    """What is safely written: whatever stands before `place`, in these parts."""

    place: Place | None = None
    rows: int = 0
    parts: tuple[Part, ...] = ()

    def as_json(self) -> dict[str, JsonValue]:
        return {"place": self.place, "rows": self.rows, "parts": [asdict(part) for part in self.parts]}


def read_checkpoint(stored: Mapping[str, JsonValue] | None) -> Checkpoint:
    """Of what `as_json` gave; the beginning without it."""
    if stored is None:
        return Checkpoint()
    place, rows, parts = stored["place"], stored["rows"], stored["parts"]
    assert isinstance(place, list | None)
    assert isinstance(rows, int)
    assert isinstance(parts, list)
    return Checkpoint(place, rows, tuple(Part(**part) for part in parts if isinstance(part, dict)))  # type: ignore[arg-type]  # as written above


class Attempt:
    """One worker's try to write one export, from the last checkpoint to the file in the store."""

    def __init__(self, means: Means, claim: Claim, begun: Begun, spooled: Spooled) -> None:
        self._means = means
        self._claim = claim
        self._begun = begun
        self._spooled = spooled
        self._speed = Speed(means.monotonic)
        self._told_at = float("-inf")
        self._reached = Checkpoint()
        self._written = 0

    async def run(self) -> Made:
        """Raises `NotOurs`, `Canceled`, `CannotExport`; all else is a fault that another attempt may not meet."""
        opening = self._means.writers.get(self._begun.kind, writing_rows)
        async with opening(self._means.database, self._claim, self._begun) as writer:
            await self._resume(writer)
            with self._spooled.writing(self._claim.attempt) as part:
                await self._copy(writer, part)
        pieces = await self._finished(writer, part)
        return await self._keep(pieces)

    async def _resume(self, writer: Writer) -> None:
        """Goes on from the checkpoint, if what it names is here and the columns are the same; else begins anew."""
        columns: list[JsonValue] = [{"name": column.name, "header": column.header} for column in writer.columns]
        checkpoint = read_checkpoint(self._begun.checkpoint)
        here = await asyncio.to_thread(self._spooled.holds, checkpoint.parts)
        total, most = self._begun.rows_total, self._means.limits.rows
        if total is None or not here or self._begun.columns != columns:
            checkpoint = Checkpoint()
            total = await self._while_beating(writer.count())
        if total > most:
            raise CannotExport("TOO_MANY_ROWS", f"It would have {total:,} rows; {most:,} are allowed.")
        self._reached = checkpoint
        await asyncio.to_thread(self._spooled.keep_only, checkpoint.parts)
        await self._write({"columns": columns, "rows_total": total, "checkpoint": checkpoint.as_json()})

    async def _copy(self, writer: Writer, part: PartFile) -> None:
        before = self._reached
        begins = before.place is None and not before.parts
        await self._append(part, io.BytesIO(writer.header() if begins else b""), before, None)
        async with writer.chunks(before.place, self._spooled.path, self._means.most_keys) as chunks:
            while (chunk := await self._while_beating(anext(chunks, None))) is not None:
                await self._append(part, chunk.lines, before, chunk)

    async def _append(self, part: PartFile, lines: IO[bytes], before: Checkpoint, chunk: Chunk | None) -> None:
        """Adds lines to this attempt's part, and then a checkpoint: they are on the disk."""
        size = await self._while_beating(asyncio.to_thread(part.append, lines))
        reached = self._reached if chunk is None else Checkpoint(chunk.place, self._reached.rows + chunk.rows)
        self._reached = replace(reached, parts=(*before.parts, Part(self._claim.attempt, size)))
        if self._begun.format is not ExportFormat.XLSX:
            self._refuse_beyond_limit(sum(each.bytes for each in self._reached.parts))
        await self._write({"checkpoint": self._reached.as_json()}, nothing if chunk is None else chunk.record)

    async def _finished(self, writer: Writer, part: PartFile) -> list[Piece]:
        """What the file is made of; nobody writes to its parts any more, or only behind what counts of them."""
        pieces = self._spooled.pieces(self._reached.parts)
        ending = self._spooled.beside(f"{self._claim.attempt}.ending")
        last = await self._while_beating(asyncio.to_thread(writer.ending, pieces, ending))
        if last is not None:
            pieces.append(last)
            self._refuse_beyond_limit(sum(piece.bytes for piece in pieces))
        if self._begun.format is not ExportFormat.XLSX:
            return [replace(pieces[0], sha256=part.digest.hexdigest())] if len(pieces) == 1 else pieces
        target = self._spooled.beside(f"{self._claim.attempt}.xlsx")
        await self._while_beating(write_workbook(pieces, target, writer.columns, self._count_written))
        size = await asyncio.to_thread(size_of, target)
        self._refuse_beyond_limit(size)
        return [Piece(target, size)]

    async def _keep(self, pieces: list[Piece]) -> Made:
        """Puts the file into the store, where it is nobody's until the export is complete."""
        claim, begun = self._claim, self._begun
        extension, content_type = EXTENSIONS[begun.format], CONTENT_TYPES[begun.format]
        key = f"{folder_of(claim.company_id, claim.subject_id)}{claim.attempt}.{extension}"
        name = f"{begun.kind.lower().replace('_', '-')}-{begun.as_of:%Y-%m-%d}-{str(claim.subject_id)[:8]}.{extension}"
        putting = self._means.files.put(key, pieces, name=name, content_type=content_type)
        try:
            stored = await self._while_beating(putting)
            await self._write({})
        except (NotOurs, Canceled):
            await self._means.files.delete(key)
            raise
        return Made(name, content_type, key, stored, self._means.limits.file_life, self._reached.rows)

    async def _while_beating(self, work: Awaitable[T]) -> T:
        """The work's result; while it lasts, signs of life are written, and it ends when they may not be."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=BEAT))[0]:
                await self._write({})
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _write(self, values: Mapping[str, object], record: Write = nothing) -> None:
        """Writes how far it is, as soon as the database can be reached; tells of it four times a second at most.

        `record`: what else is written in the same transaction.
        """
        now = self._means.monotonic()
        telling = now - self._told_at >= BETWEEN_SIGNALS
        rows = self._rows()
        progress = {"rows_processed": rows, "rows_per_second": self._speed.after(rows), **values}
        await through_outages(lambda: self._write_once(progress, record, telling=telling))
        if telling:
            self._told_at = now

    async def _write_once(self, progress: dict[str, object], record: Write, *, telling: bool) -> None:
        async with self._means.database.writing(self._claim.company_id) as session:
            await record(session)
            await states.write_progress(session, self._claim, progress, telling=telling)

    def _rows(self) -> int:
        """How many rows are done; the rows of a workbook are written twice, and each time counts as a half."""
        if self._begun.format is not ExportFormat.XLSX:
            return self._reached.rows
        return (self._reached.rows + self._written) // 2

    def _count_written(self, rows: int) -> None:
        self._written = rows

    def _refuse_beyond_limit(self, size: int) -> None:
        if size > self._begun.bytes_left:
            raise states.storage_limit()
