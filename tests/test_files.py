"""Is a file on the disk whole or not there, whatever goes wrong, and does no key lead elsewhere?"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import hashlib
import os
import secrets
import signal
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from store.files import LocalFiles, Piece, Stored
from store.files.local import CHUNK_BYTES

pytestmark = pytest.mark.anyio

KEY = "7/00000000-0000-0000-0000-000000000001/1.csv"
BAD_KEYS = (
    "",
    "/",
    "/etc/passwd",
    "..",
    "../secret",
    "7/../../secret",
    "7/..",
    "./a",
    "7/./a",
    "7//a",
    "7/a/",
    ".hidden",
    "7/.a.0123456789abcdef.part",
    "%2e%2e/secret",
    "7/%2e%2e%2fsecret",
    "..\\secret",
    "C:\\secret",
    "7/a\0.csv",
    "7/a\n.csv",
    "7/a b.csv",
    "7/ä.csv",
    "7/․․/a",
    "a" * 513,
)


def piece(folder: Path, content: bytes, *, of: int | None = None) -> Piece:
    """A piece of the content, or of the first so many bytes of it."""
    path = folder / f"piece-{secrets.token_hex(4)}"
    path.write_bytes(content)
    return Piece(path, len(content) if of is None else of)


def everything(root: Path) -> list[str]:
    """All files and folders below the root."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


async def put(files: LocalFiles, key: str, *pieces: Piece) -> Stored:
    return await files.put(key, pieces, name="contacts.csv", content_type="text/csv")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def files(root: Path) -> LocalFiles:
    return LocalFiles(root)


async def test_pieces_become_a_file(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """A file is the pieces one after the other, each as far as it is told to go; digest and size are the file's."""
    large = secrets.token_bytes(CHUNK_BYTES + 17)
    pieces = piece(tmp_path, b"a,b\n"), piece(tmp_path, large), piece(tmp_path, b""), piece(tmp_path, b"whole", of=2)
    stored = await put(files, KEY, *pieces)
    content = b"a,b\n" + large + b"wh"
    assert (root / KEY).read_bytes() == content
    assert stored == Stored(len(content), hashlib.sha256(content).hexdigest())
    assert files.path_of(KEY) == root / KEY
    assert await files.keys("") == [KEY]
    assert [path.stat().st_mode & 0o777 for path in (root / KEY, (root / KEY).parent)] == [0o600, 0o700]


async def test_an_empty_file(files: LocalFiles, root: Path) -> None:
    """No pieces are an empty file."""
    assert await put(files, KEY) == Stored(0, hashlib.sha256().hexdigest())
    assert (root / KEY).read_bytes() == b""


async def test_a_file_is_replaced_as_a_whole(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """Whoever has a file open reads it to its end, while the next one is already there under its key."""
    await put(files, KEY, piece(tmp_path, b"the first"))
    with (root / KEY).open("rb") as first:
        await put(files, KEY, piece(tmp_path, b"another"))
        assert first.read() == b"the first"
    assert (root / KEY).read_bytes() == b"another"


async def test_it_is_on_the_disk(
    files: LocalFiles, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are on the disk before they get their name, and the names of file and folders are before it returns."""
    synced: list[tuple[str, bool]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(root).as_posix()
        synced.append((name, (root / KEY).exists()))

    monkeypatch.setattr(os, "fsync", noted)
    await put(files, KEY, piece(tmp_path, b"a,b\n"))
    (part, named), *folders = synced
    folder = KEY.rpartition("/")[0]
    assert part.startswith(f"{folder}/.1.csv.")
    assert not named
    assert folders == [(folder, True), ("7", True), (".", True)]


async def test_a_disk_that_fails(
    files: LocalFiles, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk does not take the bytes the error is the disk's, and nothing is left."""

    def failing(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="the disk is broken"):
        await put(files, KEY, piece(tmp_path, b"a,b\n"))
    assert everything(root) == []


async def test_pieces_that_are_not_as_told(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """A piece that is shorter than it should be, or is gone, makes no file."""
    for wrong in (piece(tmp_path, b"short", of=6), Piece(tmp_path / "gone", 1), Piece(tmp_path, 1)):
        with pytest.raises(OSError, match=r"shorter than its piece|No such file|Is a directory"):
            await put(files, KEY, piece(tmp_path, b"a,b\n"), wrong)
        assert everything(root) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    libc = ctypes.CDLL(None, use_errno=True)
    place = tmp_path / "disk"
    place.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=2m") != 0:
        pytest.skip(f"no file system may be mounted here: {os.strerror(ctypes.get_errno())}")
    yield place
    assert libc.umount(os.fsencode(place)) == 0


async def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """A file for which there is no room is ENOSPC and leaves nothing, and a smaller one has room as before."""
    files = LocalFiles(small_disk)
    with pytest.raises(OSError) as full:  # noqa: PT011 - its number says which one it is
        await put(files, KEY, piece(tmp_path, secrets.token_bytes(3 * 2**20)))
    assert full.value.errno == errno.ENOSPC
    assert everything(small_disk) == []
    await put(files, KEY, piece(tmp_path, secrets.token_bytes(2**20)))
    assert await files.keys("7/") == [KEY]


@asynccontextmanager
async def pipe(folder: Path) -> AsyncIterator[tuple[Piece, int]]:
    """A piece that has no end until the descriptor is closed, and comes as it is written there."""
    path = folder / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        yield Piece(path, 10 * CHUNK_BYTES), descriptor
    finally:
        os.close(descriptor)


async def until_begun(root: Path) -> None:
    while not any(name.endswith(".part") for name in everything(root)):  # noqa: ASYNC110 - a disk has no event for it
        await asyncio.sleep(0.001)


async def test_a_put_that_is_cancelled(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """A put that is cancelled has ended when the canceller goes on: nothing is left, and nothing comes later."""
    async with pipe(tmp_path) as (endless, descriptor):
        task = asyncio.create_task(put(files, KEY, endless))
        await until_begun(root)
        os.write(descriptor, b"some bytes")
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        # The thread reads on until it looks up.
        os.write(descriptor, b"more bytes")
        with pytest.raises(asyncio.CancelledError):
            await task
    assert everything(root) == []


KILLED = """
import asyncio, sys
from pathlib import Path
from store.files import LocalFiles, Piece
asyncio.run(LocalFiles(Path(sys.argv[1])).put(sys.argv[2], [Piece(Path(sys.argv[3]), 10**9)], name="", content_type=""))
"""


async def test_a_process_that_is_killed(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """What a killed process leaves is no file to anybody, but its key is listed, and deleting that removes it."""
    async with pipe(tmp_path) as (endless, descriptor):
        os.write(descriptor, b"some bytes")
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, root, KEY, endless.path)
        await until_begun(root)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
    assert files.path_of(KEY) is None
    assert await files.keys("7/") == [KEY]
    await files.delete(KEY)
    assert everything(root) == []


async def test_memory_stays_flat(files: LocalFiles, tmp_path: Path) -> None:
    """A file of many chunks takes the memory of a few."""
    path = piece(tmp_path, b"").path
    os.truncate(path, 30 * CHUNK_BYTES)
    tracemalloc.start()
    try:
        stored = await put(files, KEY, Piece(path, 30 * CHUNK_BYTES))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored.bytes == 30 * CHUNK_BYTES
    assert peak < 4 * CHUNK_BYTES


async def test_what_is_there(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """The keys are those below the folder that is asked for, not of folders whose name begins alike, and no links."""
    assert await files.keys("") == []
    for key in ("7/a/2.csv", "7/a/1.csv", "7/ab/1.csv", "70/a/1.csv"):
        await put(files, key, piece(tmp_path, b"x"))
    (root / "7/a/link.csv").symlink_to(root / "70/a/1.csv")
    (root / "outside").symlink_to(tmp_path)
    assert await files.keys("7/a/") == await files.keys("7/a") == ["7/a/1.csv", "7/a/2.csv"]
    assert await files.keys("7/") == ["7/a/1.csv", "7/a/2.csv", "7/ab/1.csv"]
    assert len(await files.keys("")) == 4
    assert await files.keys("8/") == await files.keys("outside/") == []


async def test_delete(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """A deleted file takes the folders with it that it leaves empty, and no others; what is not there is fine."""
    for key in ("7/a/1.csv", "7/a/2.csv", "7/b/1.csv"):
        await put(files, key, piece(tmp_path, b"x"))
    await files.delete("7/a/1.csv")
    assert await files.keys("") == ["7/a/2.csv", "7/b/1.csv"]
    await files.delete("7/a/2.csv")
    assert everything(root) == ["7", "7/b", "7/b/1.csv"]
    for absent in ("7/a/2.csv", "8/c/1.csv", "7/b/1.csv/2.csv"):
        await files.delete(absent)
    await files.delete("7/b/1.csv")
    assert [name for name in everything(tmp_path) if not name.startswith("piece-")] == ["files"]


async def test_a_folder_that_is_taken_away(
    files: LocalFiles, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file finds its folder, although whoever deletes the last other one of it takes it away in between."""
    mkdir = Path.mkdir
    taken: list[Path] = []

    def made_and_taken(folder: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        mkdir(folder, mode, parents, exist_ok)
        if folder == root / "7/a" and len(taken) < 3:
            taken.append(folder)
            folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", made_and_taken)
    await put(files, "7/a/1.csv", piece(tmp_path, b"x"))
    assert await files.keys("7/a/") == ["7/a/1.csv"]
    assert len(taken) == 3


async def test_many_at_a_time(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """Files of the same folders come and go without waiting for each other."""
    source = piece(tmp_path, b"x")

    async def come_and_go(number: int) -> None:
        for _ in range(10):
            await put(files, f"7/a/{number}.csv", source)
            await files.delete(f"7/a/{number}.csv")

    await asyncio.gather(*(come_and_go(number) for number in range(8)))
    assert everything(root) == []


async def test_a_folder_that_goes_while_it_is_read(
    files: LocalFiles, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is deleted also where another takes the folder away at the same time."""
    await put(files, "7/a/1.csv", piece(tmp_path, b"x"))
    unlink = Path.unlink

    def last_one(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        path.parent.rmdir()

    monkeypatch.setattr(Path, "unlink", last_one)
    await files.delete("7/a/1.csv")
    assert everything(root) == []


async def test_keys_that_are_none(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """A key that could lead elsewhere is refused wherever it is given, and nothing is written or deleted."""
    (tmp_path / "secret").write_bytes(b"secret")
    source = piece(tmp_path, b"x")
    before = everything(tmp_path)
    for key in BAD_KEYS:
        with pytest.raises(ValueError, match="not a key"):
            await put(files, key, source)
        with pytest.raises(ValueError, match="not a key"):
            await files.delete(key)
        if key not in ("", "7/a/"):
            with pytest.raises(ValueError, match="not a key"):
                await files.keys(key)
        assert files.path_of(key) is None
    assert everything(tmp_path) == before


async def test_links_on_the_disk(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """A folder that is a link to elsewhere is not written to or deleted from; a file that is one is replaced."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.csv").write_bytes(b"theirs")
    (root / "8").mkdir(parents=True)
    (root / "7").symlink_to(elsewhere)
    (root / "8/1.csv").symlink_to(elsewhere / "1.csv")
    for refused in (put(files, "7/1.csv", piece(tmp_path, b"x")), files.delete("7/1.csv")):
        with pytest.raises(ValueError, match="leads out of the folder"):
            await refused
    await put(files, "8/1.csv", piece(tmp_path, b"ours"))
    assert (root / "8/1.csv").read_bytes() == b"ours"
    assert (elsewhere / "1.csv").read_bytes() == b"theirs"
