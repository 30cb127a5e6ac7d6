"""What does an export hold? It is copied in small chunks, and read back by readers that know nothing of the writers."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from jobs.exports.copying import Copying, Order, Place, copying
from store.database import Database, Scope
from store.models import ExportFormat, ExportKind
from store.models.base import JsonValue
from tests.build import NOW, TestCompany

AS_OF = NOW + timedelta(days=30)
ROLES = ("admin", "manager", "member")


def scope_of(company: TestCompany, role: str = "admin") -> Scope:
    """What somebody of the small world may see."""
    teams = {"manager": (company.rows["sales"],), "member": (company.rows["support"],)}.get(role, ())
    groups = (company.rows["group"],) if role == "manager" else ()
    return Scope(company.id, getattr(company, role), role == "admin", teams, groups)


def order(
    company: TestCompany,
    kind: ExportKind = ExportKind.CONTACTS,
    format: ExportFormat = ExportFormat.CSV,
    parameters: Mapping[str, JsonValue] | None = None,
    *,
    role: str = "admin",
    as_of: datetime = AS_OF,
) -> Order:
    return Order(company.id, kind, format, parameters or {}, scope_of(company, role), as_of)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=2)
    try:
        yield database
    finally:
        await database.close()


@dataclass(frozen=True)
class Chunk:
    place: Place
    rows: int


async def chunk_of(source: Copying, after: Place | None, write: Callable[[bytes], object], size: int) -> Chunk | None:
    """Writes the next range of so many keys; None when there is none."""
    until = await source.end_of_range(after, size)
    return None if until is None else Chunk(until, await source.copy(after, until, write))


async def rest(source: Copying, after: Place | None, lines: list[bytes], size: int) -> list[tuple[Place, int]]:
    """Copies whatever stands after a place; the places of the chunks, and how many rows each has."""
    chunks = []
    while (chunk := await chunk_of(source, after, lines.append, size)) is not None:
        after = chunk.place
        chunks.append((chunk.place, chunk.rows))
    return chunks


async def copied(database: Database, wanted: Order, chunk_keys: int = 2) -> bytes:
    """The whole export; it has as many rows as it counts."""
    async with copying(database, wanted) as source:
        lines = [source.header()]
        chunks = await rest(source, None, lines, chunk_keys)
        assert sum(rows for _place, rows in chunks) == await source.count()
    return b"".join(lines)


async def records(database: Database, wanted: Order, chunk_keys: int = 2) -> list[dict[str, Any]]:
    """The rows by their headers (CSV), their names (JSONL), or the columns' names (XLSX)."""
    text = await copied(database, wanted, chunk_keys)
    if wanted.format is ExportFormat.CSV:
        return list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    lines = [orjson.loads(line) for line in text.split(b"\n")[:-1]]
    if wanted.format is ExportFormat.JSONL:
        return lines
    async with copying(database, wanted) as source:
        names = [column.name for column in source.columns]
    return [dict(zip(names, line, strict=True)) for line in lines]
