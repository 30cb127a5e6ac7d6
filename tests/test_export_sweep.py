"""What goes, and what stays, when exports are over and their workers were not there to tidy up?"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import anyio
import pytest

from jobs.exports.spool import Spool
from store.files import Piece
from tests.conftest import World
from tests.exporting import Exports, exporting, exports_of, sweep

pytestmark = pytest.mark.anyio


@pytest.fixture
async def exports(world: World, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exports_of(world.url, world.acme, tmp_path) as found:
        yield found


async def expire(exports: Exports, id: UUID) -> None:
    sql = "UPDATE files SET expires_at = now() WHERE id = (SELECT file_id FROM exports WHERE id = :id)"
    await exports.change(sql, id=id)


async def test_expired(exports: Exports) -> None:
    """When a file's life is over, its bytes and its row go, and the export is EXPIRED; others stay."""
    async with exporting(exports.url, exports.folder):
        id, other = await exports.ask(), await exports.ask()
        await exports.content_of(id)
        content = await exports.content_of(other)
    await expire(exports, id)
    before = await exports.row(id)
    await sweep(exports)
    after = await exports.row(id)
    assert (after.status, after.file_id, after.sha256) == ("EXPIRED", None, before.sha256)
    assert after.sequence == before.sequence + 1
    assert exports.left() == await exports.known()
    assert await exports.content_of(other) == content


async def test_files_without_an_export(exports: Exports) -> None:
    """The file of an export that was deleted goes with the next sweep."""
    async with exporting(exports.url, exports.folder):
        id = await exports.ask()
        await exports.content_of(id)
    await exports.change("DELETE FROM exports WHERE id = :id", id=id)
    await sweep(exports)
    assert exports.left() == set() == await exports.known()


async def test_spool_is_tidied(exports: Exports) -> None:
    """What an export left in the spool goes when it is over or gone; that of one in the making stays."""
    over, waiting = await exports.ask(status="CANCELED"), await exports.ask()
    spool = Spool(exports.folder / "spool")
    for id in (over, waiting, UUID(int=7)):
        spooled = spool.of(exports.company_id, id)
        spooled.keep_only([])
        with spooled.writing(1) as part:
            part.append(io.BytesIO(b"text"))
    (exports.folder / "spool" / "notes").mkdir()
    await sweep(exports)
    assert exports.left() == {f"spool/{exports.company_id}-{waiting}/1.part"}
    assert (exports.folder / "spool" / "notes").is_dir()


async def test_without_a_job(exports: Exports) -> None:
    """An export that waits and has no job is given one by a sweep, and only one."""
    id = await exports.ask()
    await exports.change("DELETE FROM jobs WHERE kind = 'EXPORT'")
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(sweep, exports)
    assert await exports.value("SELECT count(*) FROM jobs WHERE subject_id = :id", id=id) == 1
    async with exporting(exports.url, exports.folder):
        await exports.content_of(id)


async def test_leftovers(exports: Exports) -> None:
    """Whatever attempts left in the store goes when the export is over, but for its file; until then it stays."""
    async with exporting(exports.url, exports.folder):
        done = await exports.ask()
        await exports.content_of(done)
    canceled, waiting = await exports.ask(status="CANCELED"), await exports.ask()
    piece = exports.folder / "piece"
    piece.write_bytes(b"text")
    spool = Spool(exports.folder / "spool")
    for id in (done, canceled, waiting, UUID(int=7)):
        key = f"{exports.company_id}/{id}/7.csv"
        await exports.files.put(key, [Piece(piece, 4), Piece(piece, 0)], name="7.csv", content_type="text/csv")
        spool.of(exports.company_id, id).keep_only([])
    await sweep(exports)
    kept = {f"files/{exports.company_id}/{waiting}/7.csv", "piece"}
    assert exports.left() == kept | await exports.known()
    assert await exports.content_of(done)


async def test_a_file_that_cannot_be_deleted(exports: Exports) -> None:
    """A file that the store will not delete keeps its row, and keeps no other one from going."""
    async with exporting(exports.url, exports.folder):
        bad, good = await exports.ask(), await exports.ask()
        await exports.content_of(bad)
        await exports.content_of(good)
    renamed = "UPDATE files SET key = 'a b' WHERE id = (SELECT file_id FROM exports WHERE id = :id)"
    await exports.change(renamed, id=bad)
    await expire(exports, bad)
    await expire(exports, good)
    await sweep(exports)
    assert await exports.known() == {"files/a b"}
    assert {(await exports.row(id)).status for id in (bad, good)} == {"EXPIRED"}
