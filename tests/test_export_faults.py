"""What becomes of an export when the disk is full, the database goes away, or the bucket does not answer?"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from jobs.worker import Pace
from store.database import owner_transaction
from store.files import LocalFiles
from store.migrate import migrate
from store.models import Company, User
from tests.bucket import IMPATIENCE, PREFIX, before, new_bucket, store_running
from tests.build import Builder, TestCompany
from tests.conftest import World
from tests.exporting import QUICK, Exports, exporting, exports_of, sweep
from tests.restarts import RestartableServer

pytestmark = pytest.mark.anyio

MANY = 12_000
SOON = Pace(poll=0.1, retry=0.05, lease=2)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
async def exports(world: World, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exports_of(world.url, world.acme, tmp_path) as found:
        yield found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own that holds one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@needs_root
@pytest.mark.parametrize("format", ["CSV", "XLSX"])
async def test_full_spool(exports: Exports, small_disk: Path, format: str) -> None:
    """When the rows do not fit on the worker's disk, the export fails after some tries; then the disk is free again."""
    await exports.add_contacts(MANY)
    async with exporting(exports.url, small_disk, files=exports.files):
        row = await exports.end_of(await exports.ask(format))
        assert (row.status, row.error_code) == ("FAILED", "DISK_FULL")
        small = await exports.ask(format, {"columns": ["email"], "contactIds": [str(await a_contact(exports))]})
        assert (await exports.end_of(small)).status == "COMPLETED"
    assert files_in(small_disk) == []


@needs_root
async def test_full_store(exports: Exports, small_disk: Path) -> None:
    """When the finished file does not fit into the store, the export fails, and neither disk keeps anything of it."""
    await exports.add_contacts(MANY)
    async with exporting(exports.url, exports.folder, files=LocalFiles(small_disk)):
        row = await exports.end_of(await exports.ask())
    assert (row.status, row.error_code) == ("FAILED", "DISK_FULL")
    assert exports.left() == set()
    assert files_in(small_disk) == []


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def a_contact(exports: Exports) -> object:
    return await exports.value("SELECT id FROM contacts WHERE company_id = :id LIMIT 1", id=exports.company_id)


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    """The port of an S3-compatible store."""
    with store_running() as port:
        yield port


async def test_bucket(exports: Exports, store: int) -> None:
    """With a bucket the file is in it, whole, and nothing else; the sweep takes it out again."""
    bucket = new_bucket(store)
    async with exporting(exports.url, exports.folder, files=bucket.files()):
        row = await exports.end_of(await exports.ask())
    assert (row.status, row.error_code) == ("COMPLETED", None)
    async with httpx.AsyncClient() as client:
        downloaded = await client.get(bucket.files().sign(row.key, timedelta(minutes=1)))
    assert hashlib.sha256(downloaded.content).hexdigest() == row.sha256
    assert bucket.contents() == ([f"{PREFIX}/{row.key}"], [])
    assert exports.left() == set()
    await exports.change("UPDATE files SET expires_at = now() WHERE id = :id", id=row.file_id)
    await sweep(exports, bucket.files())
    assert bucket.contents() == ([], [])
    assert (await exports.row(row.id)).status == "EXPIRED"


@pytest.mark.parametrize("status", [503, 403, None])
async def test_failing_bucket(exports: Exports, store: int, status: int | None) -> None:
    """When the store refuses every upload or never answers, the export fails with a reason, after so many tries."""
    bucket = new_bucket(store)
    async with before(store) as proxy:
        proxy.fails = lambda line: status if line.startswith("PUT") else 0
        files = bucket.files(proxy.url, patience=IMPATIENCE)
        async with exporting(exports.url, exports.folder, files=files):
            row = await exports.end_of(await exports.ask())
    assert (row.status, row.error_code, row.attempt) == ("FAILED", "STORAGE_UNAVAILABLE", QUICK.attempts)
    assert bucket.contents() == ([], [])
    assert exports.left() == set()


@pytest.fixture
async def restartable() -> AsyncIterator[RestartableServer]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-restart-") as directory:
        server = RestartableServer(Path(directory) / "postgres")
        yield server
        await server.stop()


async def test_database_restarted(restartable: RestartableServer, tmp_path: Path) -> None:
    """When the database is restarted in the middle, the export is completed afterwards, the same to the byte."""
    url = await restartable.start()
    await migrate(url)
    async with owner_transaction(url) as connection:
        build = Builder(connection)
        company = TestCompany(await build.add(Company))
        company.admin = await build.add(User, company_id=company.id)
    async with exports_of(url, company, tmp_path) as exports:
        await exports.add_contacts(MANY)
        async with exporting(url, tmp_path):
            expected = await exports.content_of(await exports.ask())
        async with exporting(url, tmp_path, chunk=50, pace=SOON):
            for _ in range(2):
                id = await exports.ask()
                await exports.until_rows(id, 500)
                await restartable.stop()
                await restartable.start()
                assert await exports.content_of(id) == expected
        assert exports.left() == await exports.known()
