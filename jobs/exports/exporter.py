"""How does an export become a file? Chunk by chunk into the spool, from there into the file store, at most once."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from typing import BinaryIO, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.exports import states
from jobs.exports.ahead import reading_ahead
from jobs.exports.copying import CHUNK_KEYS, Copying, Order, Place, copying
from jobs.exports.spool import Part, Spool, Spooled, appended, size_of, synced
from jobs.exports.states import Begun, Canceled, Made, NotOurs
from jobs.exports.workbook import write_workbook
from jobs.faults import through_outages
from jobs.queue import Claim, Write, nothing
from store.database import Database
from store.exports import CannotExport, ExportColumn
from store.files import Files, FilesUnavailable, Piece
from store.models import ExportFormat, ExportStatus
from store.models.base import JsonValue

T = TypeVar("T")

# A sign of life at least this often, and a signal at most this often; in seconds.
BEAT = 1.0
BETWEEN_SIGNALS = 0.25
# How many seconds of the past tell how fast it goes.
WINDOW = 10.0
EXTENSIONS = {ExportFormat.CSV: "csv", ExportFormat.XLSX: "xlsx", ExportFormat.JSONL: "jsonl", ExportFormat.ZIP: "zip"}
CONTENT_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ExportFormat.JSONL: "application/jsonl",
    ExportFormat.ZIP: "application/zip",
}
# What is written for people when an attempt could not be made good by another one.
DISK_FULL = CannotExport("DISK_FULL", "There was no room for the file.")
STORAGE_UNAVAILABLE = CannotExport("STORAGE_UNAVAILABLE", "The file store could not be reached, or refused the file.")
GIVEN_UP = CannotExport("INTERNAL_ERROR", "Something went wrong while it was written.")


@dataclass(frozen=True)
class ExportLimits:
    """`rows`: of one export. `company_bytes`: of all files of a company. `file_life`: after which a file is deleted."""

    rows: int
    company_bytes: int
    file_life: timedelta


class Exporter:
    """Does the jobs of the kind EXPORT."""

    def __init__(
        self,
        database: Database,
        files: Files,
        spool: Spool,
        limits: ExportLimits,
        monotonic: Callable[[], float],
        *,
        chunk_keys: int = CHUNK_KEYS,
    ) -> None:
        """`chunk_keys`: how many keys are read between two checkpoints."""
        self.database = database
        self.files = files
        self._spool = spool
        self.limits = limits
        self.monotonic = monotonic
        self.chunk_keys = chunk_keys

    async def __call__(self, claim: Claim) -> Write:
        spooled = self._spool.of(claim.company_id, claim.subject_id)
        try:
            begun = await through_outages(lambda: self._begin(claim))
            made = await Attempt(self, claim, begun, spooled).run()
        except NotOurs:
            return nothing
        except Canceled:
            await asyncio.to_thread(spooled.remove)
            return ending(claim, status=ExportStatus.CANCELED)
        except CannotExport as refusal:
            await asyncio.to_thread(spooled.remove)
            return failing(claim, refusal)
        return self._completing(claim, made)

    def given_up(self, claim: Claim, error: BaseException) -> Write:
        """FAILED, with the reason as far as it is one that people can do something about."""
        spooled = self._spool.of(claim.company_id, claim.subject_id)

        async def write(session: AsyncSession) -> None:
            await failing(claim, reason_of(error))(session)
            await asyncio.to_thread(spooled.remove)

        return write

    async def _begin(self, claim: Claim) -> Begun:
        async with self.database.writing(claim.company_id) as session:
            return await states.begin(session, claim, self.limits.company_bytes)

    def _completing(self, claim: Claim, made: Made) -> Write:
        async def write(session: AsyncSession) -> None:
            if not await states.complete(session, claim, made):
                await states.end(session, claim, status=ExportStatus.CANCELED)
                await self.files.delete(made.key)

        return write


@dataclass
class Pace:
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

    def __init__(self, exporter: Exporter, claim: Claim, begun: Begun, spooled: Spooled) -> None:
        self._exporter = exporter
        self._claim = claim
        self._begun = begun
        self._spooled = spooled
        self._pace = Pace(exporter.monotonic)
        self._told_at = float("-inf")
        self._reached = Checkpoint()
        self._written = 0

    async def run(self) -> Made:
        """Raises `NotOurs`, `Canceled`, `CannotExport`; all else is a fault that another attempt may not meet."""
        begun = self._begun
        order = Order(
            self._claim.company_id, begun.kind, begun.format, begun.parameters, begun.scope, as_of=begun.as_of
        )
        open_copying = partial(copying, self._exporter.database, order, chunk_keys=self._exporter.chunk_keys)
        async with open_copying() as source, open_copying(snapshot=source.snapshot) as second:
            await self._resume(source)
            with self._spooled.writing(self._claim.attempt) as file:
                await self._copy((source, second), file)
        pieces = await self._finished(source.columns)
        return await self._keep(pieces)

    async def _resume(self, source: Copying) -> None:
        """Goes on from the checkpoint, if what it names is here and the columns are the same; else begins anew."""
        columns: list[JsonValue] = [{"name": column.name, "header": column.header} for column in source.columns]
        checkpoint = read_checkpoint(self._begun.checkpoint)
        here = await asyncio.to_thread(self._spooled.holds, checkpoint.parts)
        total = self._begun.rows_total
        if total is None or not here or self._begun.columns != columns:
            checkpoint = Checkpoint()
            total = await self._while_beating(source.count())
        if total > self._exporter.limits.rows:
            raise CannotExport(
                "TOO_MANY_ROWS", f"It would have {total:,} rows; {self._exporter.limits.rows:,} are allowed."
            )
        self._reached = checkpoint
        await asyncio.to_thread(self._spooled.keep_only, checkpoint.parts)
        await self._write({"columns": columns, "rows_total": total, "checkpoint": checkpoint.as_json()})

    async def _copy(self, sources: Sequence[Copying], file: BinaryIO) -> None:
        before = self._reached
        if before.place is None and not before.parts:
            file.write(sources[0].header())
        async with reading_ahead(sources, before.place, self._spooled.path) as chunks:
            while (chunk := await self._while_beating(anext(chunks, None))) is not None:
                size = await asyncio.to_thread(appended, file, chunk.lines)
                await self._reach(chunk.place, self._reached.rows + chunk.rows, (*before.parts, self._part(size)))
        size = await asyncio.to_thread(synced, file)
        await self._reach(self._reached.place, self._reached.rows, (*before.parts, self._part(size)))

    def _part(self, size: int) -> Part:
        return Part(self._claim.attempt, size)

    async def _reach(self, place: Place | None, rows: int, parts: tuple[Part, ...]) -> None:
        """A checkpoint: whatever stands before the place is on the disk."""
        self._reached = Checkpoint(place, rows, parts)
        self._refuse_beyond_limit(sum(part.bytes for part in parts))
        await self._write({"checkpoint": self._reached.as_json()})

    async def _finished(self, columns: tuple[ExportColumn, ...]) -> list[Piece]:
        """What the file is made of."""
        pieces = self._spooled.pieces(self._reached.parts)
        if self._begun.format is not ExportFormat.XLSX:
            return pieces
        target = self._spooled.beside(f"{self._claim.attempt}.xlsx")
        await self._while_beating(write_workbook(pieces, target, columns, self._count_written))
        size = await asyncio.to_thread(size_of, target)
        self._refuse_beyond_limit(size)
        return [Piece(target, size)]

    async def _keep(self, pieces: list[Piece]) -> Made:
        """Puts the file into the store, and removes whatever other attempts have left there and in the spool."""
        claim, begun = self._claim, self._begun
        folder = f"{claim.company_id}/{claim.subject_id}/"
        extension = EXTENSIONS[begun.format]
        key = f"{folder}{claim.attempt}.{extension}"
        name = f"{begun.kind.lower().replace('_', '-')}-{begun.as_of:%Y-%m-%d}-{str(claim.subject_id)[:8]}.{extension}"
        content_type = CONTENT_TYPES[begun.format]
        try:
            stored = await self._while_beating(
                self._exporter.files.put(key, pieces, name=name, content_type=content_type)
            )
            await self._write({})
        except (NotOurs, Canceled):
            await self._exporter.files.delete(key)
            raise
        for left in await self._exporter.files.keys(folder):
            if left != key:
                await self._exporter.files.delete(left)
        await asyncio.to_thread(self._spooled.remove)
        life = self._exporter.limits.file_life.total_seconds()
        return Made(name, content_type, key, stored, life, self._reached.rows)

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

    async def _write(self, values: Mapping[str, object]) -> None:
        """Writes how far it is, as soon as the database can be reached; tells of it four times a second at most."""
        now = self._exporter.monotonic()
        telling = now - self._told_at >= BETWEEN_SIGNALS
        rows = self._rows()
        progress = {"rows_processed": rows, "rows_per_second": self._pace.after(rows), **values}
        await through_outages(lambda: self._write_once(progress, telling=telling))
        if telling:
            self._told_at = now

    async def _write_once(self, progress: dict[str, object], *, telling: bool) -> None:
        async with self._exporter.database.writing(self._claim.company_id) as session:
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
            raise CannotExport("STORAGE_LIMIT", "The company's files would hold more than they may; delete exports.")


def failing(claim: Claim, refusal: CannotExport) -> Write:
    return ending(claim, status=ExportStatus.FAILED, error_code=refusal.code, error_message=refusal.message)


def ending(claim: Claim, **values: object) -> Write:
    async def write(session: AsyncSession) -> None:
        await states.end(session, claim, **values)

    return write


def reason_of(error: BaseException) -> CannotExport:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    return STORAGE_UNAVAILABLE if isinstance(error, FilesUnavailable) else GIVEN_UP
