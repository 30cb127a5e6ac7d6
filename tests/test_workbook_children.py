"""Is a workbook written by a child that makes the same bytes again, leaves nothing behind, and dies with its parent?"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path

import anyio
import psutil
import pytest

from jobs.exports.workbook import WorkbookFailed, write_workbook
from jobs.exports.workbook_file import Layout
from jobs.exports.workbook_process import lines_of
from store.exports import ColumnKind, ExportColumn
from store.files import Piece
from tests.test_workbooks import rows_of, workbook

pytestmark = pytest.mark.anyio


def column(name: str, kind: ColumnKind = ColumnKind.TEXT) -> ExportColumn:
    return ExportColumn(name, name.title(), kind)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows_file(path: Path, rows: Iterable[Sequence[object]]) -> Piece:
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path.write_bytes(content)
    return Piece(path, len(content))


async def test_the_same_rows_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written twice, by the child and in this process, at another time, a workbook is byte for byte the same."""
    columns = [column("name"), column("born", ColumnKind.DATE), column("=seen", ColumnKind.TIME)]
    rows = [[f"n{number}", "1980-01-01", f"2026-11-21T12:00:0{number % 10}Z"] for number in range(5000)]
    piece = rows_file(tmp_path / "rows", rows)
    heard: list[int] = []
    await write_workbook([piece], tmp_path / "a.xlsx", columns, heard.append)
    assert heard[-1] == 5000
    assert names_in(tmp_path) == ["a.xlsx", "rows"]

    monkeypatch.setattr(time, "time", lambda: 1e9)
    monkeypatch.setattr(time, "localtime", lambda *given: time.gmtime(1e9))
    halves = [b"".join(json.dumps(row).encode() + b"\n" for row in part) for part in (rows[:77], rows[77:])]
    pieces = []
    for number, half in enumerate(halves):
        (tmp_path / f"half{number}").write_bytes(half)
        pieces.append((tmp_path / f"half{number}", len(half)))
    layout = Layout([each.header for each in columns], [each.kind.name for each in columns])
    assert workbook(lines_of(pieces), layout) == (tmp_path / "a.xlsx").read_bytes()


async def test_a_workbook_replaces_what_was_there(tmp_path: Path) -> None:
    """An older file at the place of the workbook is replaced as a whole."""
    target = tmp_path / "a.xlsx"
    target.write_bytes(b"older")
    await write_workbook([rows_file(tmp_path / "rows", [["x"]])], target, [column("name")], lambda rows: None)
    assert rows_of(target.read_bytes()) == [["x"]]


async def test_a_failure_tells_nothing_of_the_rows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A row that cannot be read is an error that says where, not what; nothing is printed, and no file is left."""
    target = tmp_path / "a.xlsx"
    target.write_bytes(b"older")
    piece = rows_file(tmp_path / "rows", [["ann@example.com"], ["ann@example.com", "Ann"]])
    with pytest.raises(WorkbookFailed, match=r"^ValueError in workbook_cells\.py:\d+$"):
        await write_workbook([piece], target, [column("name")], lambda rows: None)
    assert capfd.readouterr() == ("", "")
    assert names_in(tmp_path) == ["a.xlsx", "rows"]
    assert target.read_bytes() == b"older"


async def test_a_missing_piece_is_an_error_of_a_file(tmp_path: Path) -> None:
    """A file that the child cannot read is the same OSError here."""
    with pytest.raises(FileNotFoundError):
        await write_workbook([Piece(tmp_path / "none", 5)], tmp_path / "a.xlsx", [column("name")], lambda rows: None)
    assert names_in(tmp_path) == []


async def endless(folder: Path) -> None:
    """A workbook whose rows never come: the child waits for somebody to write into the pipe."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    await write_workbook([Piece(pipe, 1000)], folder / "a.xlsx", [column("name")], lambda rows: None)


async def child_in(folder: Path) -> int:
    """The id of the child that has begun to write there."""
    await until(lambda: any(name.endswith(".writing") for name in names_in(folder)))
    (name,) = (name for name in names_in(folder) if name.endswith(".writing"))
    return int(name.split(".")[-2])


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110  # what another process does sets no event here
            await anyio.sleep(0.01)


def is_gone(process_id: int) -> bool:
    """Whether it runs no more; who has no parent left may wait long to be buried."""
    try:
        return psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextlib.asynccontextmanager
async def being_written(folder: Path) -> AsyncIterator[tuple[asyncio.Task[None], int]]:
    """The task and the child's id, while the child waits for rows."""
    task = asyncio.create_task(endless(folder))
    try:
        yield task, await child_in(folder)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_cancelling_ends_the_child(tmp_path: Path) -> None:
    """Whoever no longer wants the workbook gets rid of the child and of its temporary file, at once."""
    async with being_written(tmp_path) as (task, child):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert is_gone(child)
        assert names_in(tmp_path) == ["pipe"]


async def test_a_child_that_is_killed_is_a_failure(tmp_path: Path) -> None:
    """When the system ends the child, its parent says so and removes the temporary file."""
    async with being_written(tmp_path) as (task, child):
        os.kill(child, signal.SIGKILL)
        with pytest.raises(WorkbookFailed, match="ended with -9"):
            await task
        assert names_in(tmp_path) == ["pipe"]


async def test_the_child_knows_no_secrets_and_steps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child inherits nothing of the environment, and gives way to those who answer requests."""
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "hush")
    async with being_written(tmp_path) as (_, child):
        process = psutil.Process(child)
        assert set(process.environ()) <= {"PYTHONPATH", "LC_CTYPE"}
        assert process.nice() == min(19, psutil.Process().nice() + 5)


ROOT = Path(__file__).parents[1]
PARENT = """
import asyncio, sys
from pathlib import Path
from tests.test_workbook_children import endless
asyncio.run(endless(Path(sys.argv[1])))
"""


async def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    """After kill -9 of the worker the child ends, though nobody tells it to, and its temporary file is gone."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(tmp_path), cwd=ROOT)
    try:
        child = await child_in(tmp_path)
    finally:
        if parent.returncode is None:
            parent.kill()
        await parent.wait()
    await until(lambda: is_gone(child))
    assert names_in(tmp_path) == ["pipe"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


async def test_a_full_disk_is_an_error_of_a_file(tmp_path: Path, small_disk: Path) -> None:
    """When the disk is full there is an OSError that says so, an older file as it was, and no temporary one."""
    target = small_disk / "a.xlsx"
    target.write_bytes(b"older")
    chance = random.Random(7)
    piece = rows_file(tmp_path / "rows", ([chance.randbytes(500).hex()] for _ in range(10_000)))
    with pytest.raises(OSError, match="No space left") as caught:
        await write_workbook([piece], target, [column("name")], lambda rows: None)
    assert caught.value.errno == errno.ENOSPC
    assert names_in(small_disk) == ["a.xlsx"]
    assert target.read_bytes() == b"older"
