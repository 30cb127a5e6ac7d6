"""Is an export the same file, however often its worker is killed, held up, or stopped on the way?"""

from __future__ import annotations

import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.conftest import World
from tests.export_worker import kill, worker_process
from tests.exporting import Exports, exporting, exports_of

pytestmark = pytest.mark.anyio

KILLS = 20
CONTACTS = 12_000
# So small that a worker is at it for a second.
CHUNK = 60


@pytest.fixture
async def exports(world: World, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exports_of(world.url, world.acme, tmp_path) as found:
        await found.add_contacts(CONTACTS)
        yield found


async def undisturbed(exports: Exports, format: str) -> bytes:
    async with exporting(exports.url, exports.folder):
        return await exports.content_of(await exports.ask(format))


async def begun(exports: Exports, id: Any, attempt: int) -> Any:
    """The row, as soon as this attempt is at it, or the export is over."""
    with anyio.fail_after(30):
        while (row := await exports.row(id)).attempt < attempt and row.status in ("PENDING", "RUNNING"):  # noqa: ASYNC110 - other processes tell nothing
            await anyio.sleep(0.002)
    return row


async def further(exports: Exports, id: Any, rows: int) -> None:
    """Returns when more rows than these are written, or the export is over."""
    with anyio.fail_after(30):
        while (row := await exports.row(id)).rows_processed <= rows and row.status == "RUNNING":  # noqa: ASYNC110 - see above
            await anyio.sleep(0.002)


@pytest.mark.parametrize(("format", "kills"), [("CSV", KILLS), ("XLSX", KILLS // 2)])
async def test_killed(exports: Exports, format: str, kills: int) -> None:
    """kill -9 at any point: the next worker goes on, the file is the same to the byte, and nothing else is left."""
    expected = await undisturbed(exports, format)
    moments = random.Random(format)
    resumed = 0
    while kills > 0:
        id, attempt = await exports.ask(format), 1
        while kills > 0:
            with worker_process(exports.url, exports.folder, CHUNK) as process:
                row = await begun(exports, id, attempt)
                # At the beginning, or somewhere behind the first rows of its own.
                if moments.random() < 0.6:
                    await further(exports, id, row.rows_processed)
                await anyio.sleep(moments.uniform(0, 0.1))
                kill(process, signal.SIGKILL)
            row = await exports.row(id)
            if row.status == "COMPLETED":
                break
            kills, attempt = kills - 1, attempt + 1
            resumed += row.rows_processed > 0
            await exports.end_the_leases()
        async with exporting(exports.url, exports.folder):
            assert await exports.content_of(id) == expected
            assert (await exports.row(id)).rows_processed == CONTACTS + 2
    assert resumed > 0, "no worker was killed in the middle"
    assert exports.left() == await exports.known()


async def test_running_again_soon(exports: Exports) -> None:
    """The job of a killed worker is running again within 15 seconds, by nothing but the leases."""
    id = await exports.ask()
    with (
        worker_process(exports.url, exports.folder, CHUNK) as first,
        worker_process(exports.url, exports.folder, CHUNK) as second,
    ):
        await begun(exports, id, 1)
        # One of them has it: the other one is idle, and goes on when it is killed.
        holder = await holder_of(exports, id, [first, second])
        kill(holder, signal.SIGKILL)
        with anyio.fail_after(15):
            while (await exports.row(id)).attempt < 2:  # noqa: ASYNC110 - other processes tell nothing
                await anyio.sleep(0.05)
        assert (await exports.end_of(id)).status == "COMPLETED"


def opened_by(pid: int) -> list[Path]:
    return [path.resolve() for path in Path(f"/proc/{pid}/fd").iterdir()]


async def holder_of(exports: Exports, id: Any, processes: list[Any]) -> Any:
    """Which of the processes writes the export: the one that holds its part open."""
    part = exports.folder / "spool" / f"{exports.company_id}-{id}" / "1.part"
    with anyio.fail_after(10):
        while True:
            for process in processes:
                if part in opened_by(process.pid):
                    return process
            await anyio.sleep(0.005)


async def test_held_up(exports: Exports) -> None:
    """A worker that was stopped longer than its lease and wakes up changes nothing, and goes on with other jobs."""
    expected = await undisturbed(exports, "CSV")
    id = await exports.ask()
    with worker_process(exports.url, exports.folder, CHUNK) as process:
        await begun(exports, id, 1)
        kill(process, signal.SIGSTOP)
        assert (await exports.row(id)).status == "RUNNING"
        await exports.end_the_leases()
        async with exporting(exports.url, exports.folder):
            assert await exports.content_of(id) == expected
        row = await exports.row(id)
        assert row.attempt == 2
        kill(process, signal.SIGCONT)
        another = await exports.ask()
        assert await exports.content_of(another) == expected
        assert await exports.row(id) == row
        assert await exports.content_of(id) == expected
    assert exports.left() == await exports.known()


async def test_terminated(exports: Exports) -> None:
    """SIGTERM hands the export back at once: no lease is waited for, and no failure counted."""
    expected = await undisturbed(exports, "CSV")
    id = await exports.ask()
    with worker_process(exports.url, exports.folder, CHUNK) as process:
        await begun(exports, id, 1)
        kill(process, signal.SIGTERM)
        await to_thread.run_sync(process.join, 10)
        assert process.exitcode == 0
    assert await exports.value("SELECT claimed_until IS NULL AND failures = 0 FROM jobs WHERE subject_id = :id", id=id)
    async with exporting(exports.url, exports.folder):
        assert await exports.content_of(id) == expected
