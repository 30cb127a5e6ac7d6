"""How does a test ask for exports, have workers write them, and see what they became?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import create_async_engine

from jobs.exports.attempt import ExportLimits, Means
from jobs.exports.exporter import Exporter
from jobs.exports.spool import Spool
from jobs.exports.sweep import sweep_files, sweep_spool, take_up
from jobs.letters.writer import writing_letters
from jobs.worker import Duty, Pace, Worker, running
from store.database import Database
from store.files import Files, LocalFiles
from store.jobs import enqueue
from store.models import Export, ExportKind, JobKind
from store.models.base import JsonValue
from tests.build import TestCompany
from tests.post import until

# Several ranges of keys even in a small export, so that there are places to be cut off at.
CHUNK = 500
LIMITS = ExportLimits(rows=1_000_000, company_bytes=1_000_000_000, file_life=timedelta(days=7))
# Faults are retried soon.
QUICK = Pace(poll=0.05, retry=0.01)
OVER = ("COMPLETED", "FAILED", "EXPIRED", "CANCELED")
MANY_CONTACTS = """
    INSERT INTO contacts (company_id, first_name, last_name, email, city, custom_fields, created_at)
    SELECT :company_id, 'First ' || n, '=Last ' || n, n || '@example.com', repeat('x', n % 50),
        jsonb_build_object('cars', n), now() - make_interval(secs => n)
    FROM generate_series(1, :contacts) AS n
"""


class Exports:
    """The exports of one company: left as a resolver leaves them, looked at as the tables' owner.

    `folder` holds the files and the spool of the workers.
    """

    def __init__(self, url: str, company: TestCompany, folder: Path) -> None:
        self.url = url
        self.company_id = company.id
        self.folder = folder
        self._user_id = company.admin
        self.database = Database(url, pool_size=2)
        self._owner = create_async_engine(url, pool_pre_ping=True)

    @property
    def files(self) -> LocalFiles:
        return LocalFiles(self.folder / "files")

    async def ask(self, format: str = "CSV", parameters: dict[str, JsonValue] | None = None, **values: object) -> UUID:
        """Leaves an export (of contacts, unless told otherwise) and a job for it."""
        row = {
            "company_id": self.company_id,
            "kind": "CONTACTS",
            "format": format,
            "parameters": parameters or {},
            "requested_by_id": self._user_id,
            **values,
        }
        async with self.database.writing(self.company_id) as session:
            id = (await session.execute(insert(Export).values(row).returning(Export.id))).scalar_one()
            await enqueue(session, self.company_id, JobKind.EXPORT, id)
        return id

    async def add_contacts(self, contacts: int) -> None:
        await self.change(MANY_CONTACTS, company_id=self.company_id, contacts=contacts)

    async def change(self, sql: str, **parameters: object) -> None:
        async with self._owner.begin() as connection:
            await connection.execute(text(sql), parameters)

    async def value(self, sql: str, **parameters: object) -> Any:
        """One value of whichever company."""
        async with self._owner.connect() as connection:
            return await connection.scalar(text(sql), parameters)

    async def row(self, id: UUID) -> Any:
        """The export with the key of its file."""
        sql = "SELECT e.*, f.key FROM exports e LEFT JOIN files f ON f.id = e.file_id WHERE e.id = :id"
        async with self._owner.connect() as connection:
            return (await connection.execute(text(sql), {"id": id})).one()

    async def until_status(self, id: UUID, *wanted: str) -> Any:
        async def is_there() -> bool:
            return (await self.row(id)).status in wanted

        await until(is_there)
        return await self.row(id)

    async def until_rows(self, id: UUID, rows: int) -> None:
        """Returns in the middle of the export: when more rows than this are written."""
        await until(lambda: self.value("SELECT rows_processed > :rows FROM exports WHERE id = :id", id=id, rows=rows))

    async def end_of(self, id: UUID) -> Any:
        """The row, as soon as the export is over."""
        return await self.until_status(id, *OVER)

    async def content_of(self, id: UUID) -> bytes:
        """The file of a complete export; it is the one that the row tells of."""
        row = await self.end_of(id)
        assert row.status == "COMPLETED", (row.error_code, row.error_message)
        path = self.files.path_of(row.key)
        assert path is not None
        content = path.read_bytes()
        assert (row.bytes, row.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        return content

    async def end_the_leases(self) -> None:
        """As if the time had passed for which jobs were claimed."""
        await self.change("UPDATE jobs SET claimed_until = clock_timestamp() WHERE claimed_until IS NOT NULL")

    def left(self) -> set[str]:
        """Every file in the folder, but for those in the store that a row knows."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}

    async def known(self) -> set[str]:
        """The files that rows know, as `left` names them."""
        async with self._owner.connect() as connection:
            keys = await connection.scalars(text("SELECT key FROM files WHERE key <> 'k'"))
            return {f"files/{key}" for key in keys}

    async def close(self) -> None:
        await self.database.close()
        await self._owner.dispose()


@asynccontextmanager
async def exports_of(url: str, company: TestCompany, folder: Path) -> AsyncIterator[Exports]:
    exports = Exports(url, company, folder)
    try:
        # Rows of the small world are of days to come, which no export holds.
        await exports.change("UPDATE contacts SET created_at = now() WHERE created_at > now()")
        yield exports
    finally:
        await exports.close()


async def sweep(exports: Exports, files: Files | None = None) -> None:
    """What a worker tidies up from time to time."""
    found = exports.files if files is None else files
    await sweep_files(exports.database, found)
    await sweep_spool(exports.database, found, Spool(exports.folder / "spool"))
    await take_up(exports.database)


def exporter_of(
    database: Database, folder: Path, *, files: Files | None = None, limits: ExportLimits = LIMITS, chunk: int = CHUNK
) -> Exporter:
    found = LocalFiles(folder / "files") if files is None else files
    means = Means(database, found, limits, time.monotonic, chunk, {ExportKind.LETTERS: writing_letters(processes=2)})
    return Exporter(means, Spool(folder / "spool"))


@asynccontextmanager
async def exporting(
    url: str,
    folder: Path,
    *,
    files: Files | None = None,
    limits: ExportLimits = LIMITS,
    chunk: int = CHUNK,
    pace: Pace = QUICK,
    per_company: int = 2,
) -> AsyncIterator[Worker]:
    """A worker that writes exports, with a pool of its own."""
    database = Database(url, pool_size=6)
    exporter = exporter_of(database, folder, files=files, limits=limits, chunk=chunk)
    duties = {JobKind.EXPORT: Duty(exporter, at_once=True, per_company=per_company)}
    worker = Worker(database, duties, concurrency=4, pace=pace)
    try:
        async with running(worker):
            yield worker
    finally:
        await database.close()
