"""What does a worker make of an export that waits: its row on the way, its file at the end, or why there is none?"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from jobs.exports.ahead import fitting
from jobs.exports.exporter import Exporter
from jobs.exports.states import NotOurs, write_progress
from jobs.queue import Claim, Queue, Write, nothing
from jobs.worker import Duty, Worker, running
from store.files import FilesUnavailable, LocalFiles, Piece, Stored
from store.models import JobKind
from store.signals import Channel
from tests.conftest import World
from tests.exporting import LIMITS, QUICK, Exports, exporter_of, exporting, exports_of
from tests.post import until

pytestmark = pytest.mark.anyio

MANY = 2_000


@pytest.fixture
async def exports(world: World, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exports_of(world.url, world.acme, tmp_path) as found:
        yield found


async def soon(event: anyio.Event) -> None:
    with anyio.fail_after(30):
        await event.wait()


class HeldFiles(LocalFiles):
    """A store that takes a file only when it is told to; `asked` is set when one waits."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = anyio.Event()
        self.going_on = anyio.Event()

    async def put(self, key: str, pieces: Sequence[Piece], *, name: str, content_type: str) -> Stored:
        self.asked.set()
        await self.going_on.wait()
        return await super().put(key, pieces, name=name, content_type=content_type)


class BrokenFiles(LocalFiles):
    """A store that fails so many times before it takes a file."""

    def __init__(self, root: Path, failures: int) -> None:
        super().__init__(root)
        self.failures = failures

    async def put(self, key: str, pieces: Sequence[Piece], *, name: str, content_type: str) -> Stored:
        if self.failures:
            self.failures -= 1
            raise FilesUnavailable
        return await super().put(key, pieces, name=name, content_type=content_type)


async def test_complete(exports: Exports) -> None:
    """A complete export has rows, bytes, digest, columns, times and a file that we named, and nothing else is left."""
    async with exporting(exports.url, exports.folder):
        id = await exports.ask(parameters={"columns": ["email", "custom_fields.cars"]})
        content = await exports.content_of(id)
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [list(row.values()) for row in rows] == [["maegan@example.com", "2"], ["", ""]]
    row = await exports.row(id)
    assert (row.rows_total, row.rows_processed, row.attempt) == (2, 2, 1)
    assert [column["name"] for column in row.columns] == ["email", "custom_fields.cars"]
    assert row.created_at <= row.as_of <= row.started_at <= row.heartbeat_at
    assert row.exported_at is not None
    assert row.checkpoint is None
    name = await exports.value("SELECT name FROM files WHERE id = :id", id=row.file_id)
    assert name == f"contacts-{row.as_of:%Y-%m-%d}-{str(id)[:8]}.csv"
    assert exports.left() == await exports.known() == {f"files/{exports.company_id}/{id}/1.csv"}
    assert await exports.value("SELECT count(*) FROM jobs WHERE kind = 'EXPORT'") == 0


@pytest.mark.parametrize("format", ["CSV", "XLSX", "JSONL"])
async def test_progress_grows(exports: Exports, format: str) -> None:
    """What is seen of the row on the way never goes back: sequence, rows, place; and what a signal told is there."""
    await exports.add_contacts(MANY)
    seen: list[Any] = []
    async with exporting(exports.url, exports.folder, chunk=50):
        id = await exports.ask(format)
        with anyio.fail_after(60):
            while not seen or seen[-1].status in ("PENDING", "RUNNING"):
                seen.append(await exports.row(id))
                await anyio.sleep(0.001)
    running = [row for row in seen if row.status == "RUNNING"]
    assert len({row.sequence for row in running}) > 5
    for field in ("sequence", "rows_processed", "heartbeat_at"):
        values = [getattr(row, field) for row in running]
        assert values == sorted(values), field
    assert {row.rows_total for row in running[1:]} <= {None, MANY + 2}
    assert seen[-1].rows_processed == MANY + 2


async def test_signals_are_few(exports: Exports) -> None:
    """An export of a hundred ranges tells of itself at its beginning and its end, and four times a second between."""
    await exports.add_contacts(MANY)
    heard: list[str] = []
    pooled = await exports.database.engine.raw_connection()
    connection = pooled.driver_connection
    assert connection is not None
    await connection.add_listener(Channel.EXPORTS, lambda *told: heard.append(told[-1]))
    async with exporting(exports.url, exports.folder, chunk=50):
        id = await exports.ask()
        row = await exports.end_of(id)
        await until(lambda: exports.value("SELECT true"))
    await connection.reset()
    pooled.close()
    assert set(heard) == {f"{exports.company_id}:{id}"}
    seconds = (row.updated_at - row.started_at).total_seconds()
    assert 2 <= len(heard) <= 4 + 4 * seconds < row.sequence


async def test_canceled_on_the_way(exports: Exports) -> None:
    """An export that is being stopped ends soon, keeps no file, and leaves nothing behind."""
    files = HeldFiles(exports.folder / "files")
    async with exporting(exports.url, exports.folder, files=files):
        id = await exports.ask()
        await soon(files.asked)
        await exports.change("UPDATE exports SET status = 'CANCELING' WHERE id = :id", id=id)
        row = await exports.end_of(id)
    assert (row.status, row.file_id, row.checkpoint) == ("CANCELED", None, None)
    assert exports.left() == set()


async def test_canceled_at_the_last_moment(exports: Exports) -> None:
    """An export that is stopped when its file is in the store already has no file either."""

    class LateFiles(LocalFiles):
        async def put(self, key: str, pieces: Sequence[Piece], *, name: str, content_type: str) -> Stored:
            stored = await super().put(key, pieces, name=name, content_type=content_type)
            await exports.change("UPDATE exports SET status = 'CANCELING' WHERE status = 'RUNNING'")
            return stored

    async with exporting(exports.url, exports.folder, files=LateFiles(exports.folder / "files")):
        row = await exports.end_of(await exports.ask())
    assert (row.status, row.file_id) == ("CANCELED", None)
    assert exports.left() == set()


async def test_canceled_before(exports: Exports) -> None:
    """An export that is to be stopped, and that no worker has, is CANCELED by the next one; one that is over stays."""
    stopping, over = await exports.ask(status="CANCELING"), await exports.ask(status="CANCELED")
    async with exporting(exports.url, exports.folder):
        assert (await exports.end_of(stopping)).status == "CANCELED"
        await until(lambda: exports.value("SELECT count(*) = 0 FROM jobs WHERE kind = 'EXPORT'"))
    assert (await exports.row(over)).sequence == 0


async def test_deleted_on_the_way(exports: Exports) -> None:
    """An export whose row is gone, with its campaign for instance, ends without a trace."""
    files = HeldFiles(exports.folder / "files")
    async with exporting(exports.url, exports.folder, files=files):
        id = await exports.ask()
        await soon(files.asked)
        await exports.change("DELETE FROM exports WHERE id = :id", id=id)
        files.going_on.set()
        await until(lambda: exports.value("SELECT count(*) = 0 FROM jobs WHERE kind = 'EXPORT'"))
    assert exports.left() == set()


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (replace(LIMITS, rows=1), "TOO_MANY_ROWS"),
        (replace(LIMITS, company_bytes=50), "STORAGE_LIMIT"),
    ],
)
async def test_limits(exports: Exports, limits: object, code: str) -> None:
    """An export beyond a limit fails at once, with a reason for people, and leaves nothing behind."""
    async with exporting(exports.url, exports.folder, limits=limits):  # type: ignore[arg-type]  # see above
        row = await exports.end_of(await exports.ask())
    assert (row.status, row.error_code, row.attempt) == ("FAILED", code, 1)
    assert row.error_message.endswith((".", "exports."))
    assert exports.left() == set()


async def test_files_of_the_company_count(exports: Exports) -> None:
    """What the company's other files hold counts towards its limit."""
    files = "SELECT coalesce(sum(bytes), 0) FROM files WHERE company_id = :company AND expires_at > now()"
    async with exporting(exports.url, exports.folder):
        first = await exports.end_of(await exports.ask())
    held = int(await exports.value(files, company=exports.company_id))
    limits = replace(LIMITS, company_bytes=held + first.bytes)
    async with exporting(exports.url, exports.folder, limits=limits):
        assert (await exports.end_of(await exports.ask())).status == "COMPLETED"
        assert (await exports.end_of(await exports.ask())).error_code == "STORAGE_LIMIT"


async def test_a_store_that_comes_back(exports: Exports) -> None:
    """When the store fails and then works, the export is complete, from where it was."""
    async with exporting(exports.url, exports.folder, files=BrokenFiles(exports.folder / "files", failures=2)):
        row = await exports.end_of(await exports.ask())
    assert (row.status, row.attempt) == ("COMPLETED", 3)
    assert exports.left() == await exports.known()


async def test_a_store_that_stays_away(exports: Exports) -> None:
    """When the store fails every time, the export fails with a reason, after so many attempts; nothing is left."""
    async with exporting(exports.url, exports.folder, files=BrokenFiles(exports.folder / "files", failures=100)):
        row = await exports.end_of(await exports.ask())
    assert (row.status, row.error_code, row.attempt) == ("FAILED", "STORAGE_UNAVAILABLE", QUICK.attempts)
    assert exports.left() == set()


async def test_new_columns_begin_anew(exports: Exports) -> None:
    """When the company gets another field while an export is cut off, the next attempt begins with the first row."""
    await exports.add_contacts(MANY)
    async with exporting(exports.url, exports.folder, chunk=50) as worker:
        id = await exports.ask()
        await exports.until_rows(id, 500)
        worker.stop()
    await exports.change(
        "INSERT INTO fields (company_id, owner, custom, type, name, label, sort_order)"
        " VALUES (:company, 'CONTACT', true, 'TEXT', 'shoe', 'Shoe', 99)",
        company=exports.company_id,
    )
    async with exporting(exports.url, exports.folder):
        content = await exports.content_of(id)
        again = await exports.content_of(await exports.ask())
    assert content == again
    assert content.splitlines()[0].endswith(b",Shoe")


async def test_another_machine_begins_anew(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the spool of the last attempt is not, the export is written from the beginning."""
    await exports.add_contacts(MANY)
    async with exporting(exports.url, exports.folder, chunk=50) as worker:
        id = await exports.ask()
        await exports.until_rows(id, 500)
        worker.stop()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    async with exporting(exports.url, elsewhere, files=exports.files):
        content = await exports.content_of(id)
        assert content == await exports.content_of(await exports.ask())


async def test_rows_are_no_archive(exports: Exports) -> None:
    """An export of rows in the format of letters fails, and says so."""
    async with exporting(exports.url, exports.folder):
        row = await exports.end_of(await exports.ask("ZIP"))
    assert (row.status, row.error_code) == ("FAILED", "UNSUPPORTED_FORMAT")


async def test_life_of_a_file(exports: Exports) -> None:
    """A file lives as long as the limits say, by the database's clock."""
    limits = replace(LIMITS, file_life=timedelta(hours=1, seconds=0.5))
    async with exporting(exports.url, exports.folder, limits=limits):
        row = await exports.end_of(await exports.ask())
    sql = "SELECT extract(epoch FROM expires_at - created_at)::float8 FROM files WHERE id = :id"
    assert await exports.value(sql, id=row.file_id) == 3600.5


async def test_two_at_a_time(exports: Exports) -> None:
    """Of two exports that are made at a time, the second fails when there is room for one file only."""
    files = HeldFiles(exports.folder / "files")
    async with exporting(exports.url, exports.folder):
        size = (await exports.end_of(await exports.ask())).bytes
    held = int(await exports.value("SELECT sum(bytes) FROM files WHERE company_id = :id", id=exports.company_id))
    limits = replace(LIMITS, company_bytes=held + size + size // 2)
    async with exporting(exports.url, exports.folder, files=files, limits=limits):
        ids = [await exports.ask(), await exports.ask()]
        for id in ids:
            await exports.until_rows(id, 1)
        files.going_on.set()
        rows = [await exports.end_of(id) for id in ids]
    assert sorted((row.status, row.error_code) for row in rows) == [("COMPLETED", None), ("FAILED", "STORAGE_LIMIT")]
    assert exports.left() == await exports.known()


async def test_a_workbook_is_smaller_than_its_rows(exports: Exports) -> None:
    """The limit is held against the workbook, not against what it is made of."""
    await exports.add_contacts(MANY)
    async with exporting(exports.url, exports.folder):
        size = (await exports.end_of(await exports.ask("XLSX"))).bytes
    held = int(await exports.value("SELECT sum(bytes) FROM files WHERE company_id = :id", id=exports.company_id))
    async with exporting(exports.url, exports.folder, limits=replace(LIMITS, company_bytes=held + size)):
        assert (await exports.end_of(await exports.ask("XLSX"))).status == "COMPLETED"


async def test_long_rows(exports: Exports) -> None:
    """Rows of megabytes are written as they are, by ranges that are short enough for them."""
    await exports.change(
        "INSERT INTO contacts (company_id, address, created_at)"
        " SELECT :company, repeat('x', 1000000) || n, now() - make_interval(secs => n) FROM generate_series(1, 40) n",
        company=exports.company_id,
    )
    async with exporting(exports.url, exports.folder, chunk=25_000):
        content = await exports.content_of(await exports.ask(parameters={"columns": ["address"]}))
    lines = content.decode().splitlines()[1:]
    assert sorted(len(line) for line in lines)[-40:] == sorted(1_000_000 + len(str(n)) for n in range(1, 41))


@pytest.mark.parametrize(
    ("size", "given", "most", "next"),
    [(1_000, 250_000, 25_000, 8_000), (8_000, 2_000_000, 25_000, 25_000), (1_000, 10**8, 25_000, 83), (1, 10**9, 9, 1)],
)
def test_ranges_fit(size: int, given: int, most: int, next: int) -> None:
    """The next range is as long as its bytes will allow, but not much longer than the one before."""
    assert fitting(size, given, most) == next


async def test_an_old_attempt(exports: Exports) -> None:
    """A write under an old attempt changes nothing, also while the export is being written under another one."""
    id = await exports.ask(status="RUNNING", attempt=2)
    before = await exports.row(id)
    old = Claim(exports.company_id, 1, JobKind.EXPORT, id, attempt=1, failures=0)
    with pytest.raises(NotOurs):
        async with exports.database.writing(exports.company_id) as session:
            await write_progress(session, old, {"rows_processed": 7}, telling=True)
    assert await exports.row(id) == before


class LosingFiles(LocalFiles):
    """A store during whose puts another worker begins the export anew."""

    def __init__(self, root: Path, exports: Exports) -> None:
        super().__init__(root)
        self._exports = exports
        self.put_keys: list[str] = []

    async def put(self, key: str, pieces: Sequence[Piece], *, name: str, content_type: str) -> Stored:
        stored = await super().put(key, pieces, name=name, content_type=content_type)
        await self._exports.change("UPDATE exports SET attempt = attempt + 1 WHERE status = 'RUNNING'")
        self.put_keys = await self.keys("")
        return stored


async def test_a_file_that_comes_too_late(exports: Exports) -> None:
    """A file that is in the store when its attempt is nobody's any more is taken out again by who put it there."""
    id = await exports.ask()
    (claim,) = await Queue(exports.database, {}, lease=60).claim(1, [JobKind.EXPORT])
    files = LosingFiles(exports.folder / "files", exports)
    exporter = exporter_of(exports.database, exports.folder, files=files)
    assert await exporter(claim) is nothing
    assert files.put_keys == [f"{exports.company_id}/{id}/{claim.attempt}.csv"]
    assert await files.keys("") == []
    assert (await exports.row(id)).status == "RUNNING"


class CanceledAtTheEnd:
    """An exporter that finds the export stopped when all is done but the last write."""

    def __init__(self, exporter: Exporter, exports: Exports) -> None:
        self._exporter = exporter
        self._exports = exports
        self.given_up = exporter.given_up
        self.over = exporter.over

    async def __call__(self, claim: Claim) -> Write:
        write = await self._exporter(claim)
        await self._exports.change("UPDATE exports SET status = 'CANCELING' WHERE id = :id", id=claim.subject_id)
        return write


async def test_canceled_before_the_last_write(exports: Exports) -> None:
    """An export that is stopped just before it is complete is CANCELED, and its file goes."""
    handler = CanceledAtTheEnd(exporter_of(exports.database, exports.folder), exports)
    worker = Worker(exports.database, {JobKind.EXPORT: Duty(handler, at_once=True)}, concurrency=1)
    async with running(worker):
        row = await exports.end_of(await exports.ask())
    assert (row.status, row.file_id) == ("CANCELED", None)
    assert exports.left() == set()
