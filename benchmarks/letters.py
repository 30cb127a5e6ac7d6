"""How fast are letters written, and how much memory does that take, over thousands of them?

Run by hand (`python -m benchmarks.letters`): a database of its own is made, filled and thrown away. The worker is a
process of its own; its time is from asking for the archive to COMPLETED. Ten times a second it is looked at how much
memory the worker takes, and each process that sets letters, in the first half of the letters and in the second; and how
much of the processors all of them have used. Absolute figures belong to the machine that is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import tempfile
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psutil
import uvloop
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from jobs.exports.attempt import ExportLimits, Means
from jobs.exports.exporter import Exporter
from jobs.exports.spool import Spool
from jobs.letters.writer import writing_letters
from jobs.worker import Duty, Worker
from store.database import Database, owner_transaction
from store.embedded import embedded_server
from store.files import LocalFiles
from store.jobs import enqueue
from store.migrate import migrate
from store.models import ExportKind, JobKind

FILL = """
INSERT INTO companies (name) VALUES ('Acme');
INSERT INTO users (company_id, first_name, last_name, email, role)
VALUES (1, 'Ada', 'Byron', 'ada@example.com', 'ADMIN');
INSERT INTO contacts (company_id, first_name, last_name, address, zip_code, city, country)
SELECT 1, initcap(substr(md5(n || 'f'), 1, 6)), initcap(substr(md5(n::text), 1, 8)), 'Street ' || n % 120, '8000',
    'City ' || n % 300, 'Denmark'
FROM generate_series(1, :letters) AS n;
INSERT INTO campaigns (company_id, user_id, name, type, status, message_content)
VALUES (1, 1, 'Letters', 'LETTER', 'SENDING', :content);
INSERT INTO campaign_deliveries (company_id, campaign_id, template_content) SELECT 1, id, :template FROM campaigns;
INSERT INTO recipients (company_id, campaign_id, contact_id)
SELECT 1, campaigns.id, contacts.id FROM campaigns, contacts ORDER BY contacts.id
"""
ASK = """
INSERT INTO exports (company_id, kind, format, requested_by_id, campaign_id)
SELECT 1, 'LETTERS', 'ZIP', 1, id FROM campaigns RETURNING id
"""
PARAGRAPH = (
    "<p>Lorem ipsum dolor sit amet, {{contact.first_name}}, consectetur <b>adipiscing</b> elit, sed do <i>eiusmod</i>"
    " tempor incididunt ut labore et <a href='https://example.com/?a={{contact.last_name}}'>dolore</a> magna aliqua."
    " Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat.</p>"
)
CONTENT = f"<h1>Dear {{{{contact.first_name}}}}</h1>{PARAGRAPH * 5}<ul><li>one</li><li>two</li></ul>"
TEMPLATE = "<h2>Acme Ltd</h2>{{content}}<table border='1'><tr><th>Name</th><td>{{contact.last_name}}</td></tr></table>"
LIMITS = ExportLimits(rows=10**9, company_bytes=10**12, file_life=timedelta(days=1))
SPAWNING = multiprocessing.get_context("spawn")


@dataclass
class Used:
    """The most that was seen: memory in MB, and by the processes' ids the seconds of a processor."""

    worker: float = 0
    halves: list[float] = field(default_factory=lambda: [0, 0])
    seconds: dict[int, float] = field(default_factory=dict)


async def work(url: str, folder: Path, processes: int) -> None:
    database = Database(url, pool_size=4)
    writers = {ExportKind.LETTERS: writing_letters(processes)}
    means = Means(database, LocalFiles(folder / "files"), LIMITS, time.monotonic, writers=writers)
    exporter = Exporter(means, Spool(folder / "spool"))
    await Worker(database, {JobKind.EXPORT: Duty(exporter, at_once=True)}, concurrency=1).run()


def run_worker(url: str, folder: Path, processes: int) -> None:
    uvloop.run(work(url, folder, processes))


async def ask(database: Database) -> UUID:
    async with database.writing(1) as session:
        export_id: UUID = (await session.execute(text(ASK))).scalar_one()
        await enqueue(session, 1, JobKind.EXPORT, export_id)
    return export_id


async def watched(database: Database, export_id: UUID, letters: int, worker: int, used: Used) -> None:
    """Returns when the archive is complete."""
    process = psutil.Process(worker)
    while True:
        async with database.writing(1) as session:
            found = await session.execute(
                text("SELECT status, rows_processed, error_message FROM exports WHERE id = :id"), {"id": export_id}
            )
        row = found.one()
        assert row.status in {"PENDING", "RUNNING", "COMPLETED"}, row.error_message
        used.worker = max(used.worker, process.memory_info().rss / 1e6)
        used.seconds[worker] = sum(process.cpu_times()[:2])
        half = int(row.rows_processed * 2 > letters)
        for child in process.children():
            with suppress(psutil.Error):
                used.halves[half] = max(used.halves[half], child.memory_info().rss / 1e6)
                used.seconds[child.pid] = sum(child.cpu_times()[:2])
        if row.status == "COMPLETED":
            return
        await asyncio.sleep(0.1)


async def measured(url: str, folder: Path, letters: int, processes: int) -> list[str]:
    """A line of the table: one archive, written by a worker of its own."""
    database = Database(url, pool_size=2)
    worker = SPAWNING.Process(target=run_worker, args=(url, folder, processes))
    worker.start()
    assert worker.pid is not None
    used = Used()
    try:
        begun = time.perf_counter()
        await watched(database, await ask(database), letters, worker.pid, used)
        seconds = time.perf_counter() - begun
    finally:
        worker.kill()
        worker.join()
        await database.close()
    (path,) = (path for path in (folder / "files").rglob("*.zip"))
    with zipfile.ZipFile(path) as archive:
        sizes = [each.file_size for each in archive.infolist()]
    assert len(sizes) == letters
    milliseconds = 1000 * sum(used.seconds.values()) / letters
    figures = (letters / seconds, milliseconds, used.worker, *used.halves, sum(sizes) / len(sizes) / 1000)
    return [str(processes), f"{letters:,}", *(f"{figure:,.1f}" for figure in figures)]


async def main(letters: int) -> None:
    lines = []
    with (
        tempfile.TemporaryDirectory(prefix="mcg-letters-") as directory,
        embedded_server(Path(directory) / "postgres", durable=True, log=lambda _: None) as server,
    ):
        url = server.url("postgres")
        await migrate(url)
        values = {"letters": letters, "content": CONTENT, "template": TEMPLATE}
        async with owner_transaction(url) as connection:
            for statement in FILL.split(";\n"):
                given = {name: value for name, value in values.items() if f":{name}" in statement}
                await connection.execute(text(statement), given)
        for processes in (1, 2):
            async with owner_transaction(url) as connection:
                await connection.execute(text("DELETE FROM campaign_messages"))
            lines.append(await measured(url, Path(directory) / str(processes), letters, processes))
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    for header in (
        "processes",
        "letters",
        "letters/s",
        "CPU ms",
        "worker MB",
        "each, 1st half",
        "2nd half",
        "KB a letter",
    ):
        table.add_column(header, justify="right")
    for line in lines:
        table.add_row(*line)
    Console(width=120).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--letters", type=int, default=5_000)
    asyncio.run(main(parser.parse_args().letters))
