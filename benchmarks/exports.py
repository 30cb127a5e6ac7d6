"""How fast is an export, and how much memory does its worker take? Side by side with psql's \\copy of the same columns.

Run by hand (`python -m benchmarks.exports`): a database of its own is made, filled and thrown away. The worker is a
process of its own; its time is from asking for the export to COMPLETED, with counting, checkpoints, digest and file.
psql runs as the tables' owner and copies the bare columns. Absolute figures belong to the machine that is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import truediv
from pathlib import Path
from uuid import UUID

import psutil
import uvloop
from rich.console import Console
from rich.table import Table
from sqlalchemy import insert, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from jobs.exports.attempt import ExportLimits, Means
from jobs.exports.exporter import Exporter
from jobs.exports.spool import Spool
from jobs.worker import Duty, Worker
from store.database import Database, owner_transaction
from store.embedded import embedded_server
from store.files import LocalFiles
from store.jobs import enqueue
from store.migrate import migrate
from store.models import Export, JobKind

FILL = """
INSERT INTO companies (name) VALUES ('Acme');
INSERT INTO users (company_id, first_name, last_name, email, role)
VALUES (1, 'Ada', 'Byron', 'ada@example.com', 'ADMIN');
INSERT INTO contacts (company_id, b2c, status, salutation, first_name, last_name, email, mobile_phone_number, address,
    zip_code, city, country, date_of_birth, email_consent_given, email_consent_updated_at, call_consent_given,
    created_at, latest_activity_at)
SELECT 1, n % 2 = 0, (ARRAY['LEAD', 'OPPORTUNITY', 'CUSTOMER', NULL])[1 + n % 4], 'Mr',
    initcap(substr(md5(n || 'f'), 1, 6)), initcap(substr(md5(n::text), 1, 8)), 'person.' || n || '@example.com',
    '+45 20 ' || to_char(n, 'FM00 00 00'),
    'Street ' || n % 120 || ', st. "tv"', to_char(n % 9000, 'FM0000'), 'City ' || n % 300, 'Denmark',
    '1950-01-01'::date + n % 20000, n % 3 = 0, '2026-01-01'::timestamptz - n * interval '1 minute', n % 5 = 0,
    '2026-01-01'::timestamptz - (:contacts - n) * interval '1 second',
    '2026-02-01'::timestamptz - n * interval '1 second'
FROM generate_series(1, :contacts) AS n
"""
# Twenty columns of the table itself, so that psql can name the same ones.
COLUMNS = [
    "id", "created_at", "updated_at", "status", "b2c", "salutation", "first_name", "last_name", "title", "email",
    "mobile_phone_number", "landline_phone_number", "address", "zip_code", "city", "country", "date_of_birth",
    "latest_activity_at", "email_consent_given", "call_consent_given",
]  # fmt: skip
LIMITS = ExportLimits(rows=10**9, company_bytes=10**12, file_life=timedelta(days=1))
SPAWNING = multiprocessing.get_context("spawn")


@dataclass
class Measured:
    """Seconds of every round, the size of the file, and the most memory that the processes took, in MB."""

    seconds: list[float] = field(default_factory=list)
    bytes: int = 0
    worker: float = 0
    workbook: float = 0


async def prepare(url: str, contacts: int) -> None:
    await migrate(url)
    async with owner_transaction(url) as connection:
        for statement in FILL.split(";\n"):
            await connection.execute(text(statement.replace(":contacts", str(contacts))))
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("VACUUM (ANALYZE)"))
    await engine.dispose()


def work(url: str, folder: Path) -> None:
    async def run() -> None:
        database = Database(url, pool_size=4, command_timeout=600)
        means = Means(database, LocalFiles(folder / "files"), LIMITS, time.monotonic)
        exporter = Exporter(means, Spool(folder / "spool"))
        worker = Worker(database, {JobKind.EXPORT: Duty(exporter, at_once=True)}, concurrency=1)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()
        await database.close()

    uvloop.run(run())


def copied(url: str, target: Path) -> Callable[[], None]:
    """Runs psql's \\copy of the columns."""
    found = make_url(url)
    host = found.query.get("host", found.host)
    program = shutil.which("psql")
    if program is None:
        raise SystemExit("psql is not installed")
    given = ["-U", found.username or "postgres", "-h", str(host), "-d", str(found.database)]
    command = f"\\copy (SELECT {', '.join(COLUMNS)} FROM contacts WHERE company_id = 1) TO '{target}' CSV HEADER"

    def run() -> None:
        subprocess.run([program, *given, "-qc", command], check=True)

    return run


async def exported(database: Database, format: str, process: psutil.Process, measured: Measured) -> None:
    """Asks for an export and waits for it, with an eye on the memory of its worker."""
    row = {
        "company_id": 1,
        "kind": "CONTACTS",
        "format": format,
        "parameters": {"columns": COLUMNS},
        "requested_by_id": 1,
    }
    started = time.perf_counter()
    async with database.writing(1) as session:
        id: UUID = (await session.execute(insert(Export).values(row).returning(Export.id))).scalar_one()
        await enqueue(session, 1, JobKind.EXPORT, id)
    while True:
        await asyncio.sleep(0.05)
        watch(process, measured)
        async with database.writing(1) as session:
            found = await session.execute(
                text("SELECT status, bytes, error_code FROM exports WHERE company_id = 1 AND id = :id"), {"id": id}
            )
            status, size, error = found.one()
        if status == "COMPLETED":
            break
        if status not in ("PENDING", "RUNNING"):
            raise SystemExit(f"the export is {status}: {error}")
    measured.seconds.append(time.perf_counter() - started)
    measured.bytes = size


def watch(process: psutil.Process, measured: Measured) -> None:
    measured.worker = max(measured.worker, process.memory_info().rss / 1e6)
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            measured.workbook = max(measured.workbook, child.memory_info().rss / 1e6)


async def measure(
    url: str, folder: Path, process: psutil.Process, formats: list[str], rounds: int
) -> dict[str, Measured]:
    found = {name: Measured() for name in ("psql", *formats)}
    copy = copied(url, folder / "psql.csv")
    database = Database(url, pool_size=2)
    # The first round fills the caches and is not counted.
    for counted in range(rounds + 1):
        for name, measured in found.items():
            if name == "psql":
                started = time.perf_counter()
                await asyncio.to_thread(copy)
                measured.seconds.append(time.perf_counter() - started)
                measured.bytes = (folder / "psql.csv").stat().st_size
                (folder / "psql.csv").unlink()
            else:
                await exported(database, name, process, measured)
                # Each round finds the disk, and the memory that caches it, as the one before.
                shutil.rmtree(folder / "files")
            if not counted:
                measured.seconds.clear()
    await database.close()
    return found


def show(found: dict[str, Measured], contacts: int) -> None:
    table = Table("format", "seconds (median)", "rows/s", "× psql", "MB", "worker MB", "workbook MB")
    base = found["psql"].seconds
    for name, measured in found.items():
        seconds = statistics.median(measured.seconds)
        table.add_row(
            name,
            f"{seconds:.2f}",
            f"{contacts / seconds:,.0f}",
            f"{statistics.median(map(truediv, measured.seconds, base)):.2f}",
            f"{measured.bytes / 1e6:.0f}",
            f"{measured.worker:.0f}" if measured.worker else "",
            f"{measured.workbook:.0f}" if measured.workbook else "",
        )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    Console().print(f"{datetime.now(UTC):%Y-%m-%d} on {machine}; {contacts:,} contacts × {len(COLUMNS)} columns", table)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--contacts", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--formats", nargs="+", choices=["CSV", "JSONL", "XLSX"], default=["CSV", "JSONL", "XLSX"])
    given = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-bench-") as directory,
        embedded_server(Path(directory) / "postgres", durable=False, log=lambda _: None) as server,
    ):
        url, folder = server.url("postgres"), Path(directory)
        asyncio.run(prepare(url, given.contacts))
        process = SPAWNING.Process(target=work, args=(url, folder), daemon=False)
        process.start()
        try:
            found = asyncio.run(measure(url, folder, psutil.Process(process.pid), given.formats, given.rounds))
        finally:
            process.terminate()
            process.join()
    show(found, given.contacts)


if __name__ == "__main__":
    main()
