"""Is an archive that was written in parts one that every program can read, and are those who set letters well kept?"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import anyio
import psutil
import pytest

from content.letters import Margins, compile_letter
from jobs.letters import children
from jobs.letters.archive import LOCAL, DamagedArchive, directory, entry, entry_name
from jobs.letters.children import NoLetter, setting_letters
from jobs.letters.letter_process import set_letter
from jobs.letters.press import CannotBeSet, Press
from jobs.letters.writer import MOST_CHARACTERS, MOST_LETTERS, most_letters
from store.merge_values import LONGEST_VALUE
from tests.lettering import archived, setters, text_of
from tests.post import until

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 21, 12, 0, 59, tzinfo=UTC)


def archive_of(*parts: Sequence[bytes]) -> bytes:
    """The archive whose entries were written in these parts."""
    joined = [b"".join(part) for part in parts]
    return b"".join((*joined, *directory([(io.BytesIO(part), len(part)) for part in joined])))


def entries(count: int, first: int = 1) -> list[bytes]:
    return [entry(entry_name(n, "Ann"), b"%d" % n, NOON) for n in range(first, first + count)]


def test_parts() -> None:
    """However the entries are divided among parts, the archive is the same, and Python reads it."""
    whole = archive_of(entries(7))
    assert archive_of(entries(3), [], entries(4, 4)) == whole
    found = zipfile.ZipFile(io.BytesIO(whole)).infolist()
    assert archived(whole) == {f"{n:06}-ann.pdf": b"%d" % n for n in range(1, 8)}
    assert {each.date_time for each in found} == {(2026, 11, 21, 12, 0, 58)}
    assert {(each.compress_type, each.flag_bits, each.external_attr >> 16) for each in found} == {(0, 0, 0o100644)}
    assert archived(archive_of()) == {}


def test_what_counts_of_a_part() -> None:
    """What stands in a part behind its last checkpoint is none of the archive."""
    part = b"".join(entries(2))
    ending = b"".join(directory([(io.BytesIO(part + entries(1, 3)[0][:20]), len(part))]))
    assert list(archived(part + ending)) == ["000001-ann.pdf", "000002-ann.pdf"]


def test_times() -> None:
    """Times are UTC's, and those before 1980, which the format does not know, are of its first year."""
    east = NOON.astimezone(timezone(timedelta(hours=9)))
    assert entry("a", b"", east) == entry("a", b"", NOON)
    early = archive_of([entry("a", b"", datetime(1970, 5, 6, tzinfo=UTC))])
    assert zipfile.ZipFile(io.BytesIO(early)).infolist()[0].date_time == (1980, 5, 6, 0, 0, 0)


@pytest.mark.parametrize("count", [1, 65_534, 65_535, 70_000])
def test_other_programs(count: int, tmp_path: Path) -> None:
    """Info-ZIP finds nothing wrong, also with more entries than the plain form can count."""
    path = tmp_path / "letters.zip"
    path.write_bytes(archive_of(entries(count)))
    assert len(zipfile.ZipFile(path).namelist()) == count
    if shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    tested = subprocess.run(["unzip", "-tq", str(path)], capture_output=True, text=True, check=False)
    assert (tested.returncode, tested.stdout.startswith("No errors")) == (0, True)


def test_more_than_four_gigabytes(tmp_path: Path) -> None:
    """Entries beyond 4 GiB are found where they are; those before are holes, which take no room on the disk."""
    path = tmp_path / "letters.zip"
    hole = 1 << 30
    checksum = zlib.crc32(bytes(1 << 20))
    with path.open("w+b") as file:
        for number in range(5):
            name = b"hole%d" % number
            file.write(LOCAL.pack(b"PK\x03\x04", 20, 0, 0, 0, 33, checksum, hole, hole, len(name), 0) + name)
            file.seek(hole, os.SEEK_CUR)
        beyond = file.tell()
        assert beyond > 1 << 32
        file.write(entry("last.pdf", b"the last letter", NOON))
        ending = b"".join(directory([(file, file.tell())]))
        file.seek(0, os.SEEK_END)
        file.write(ending)
    with zipfile.ZipFile(path) as found:
        assert found.infolist()[-1].header_offset == beyond
        assert found.infolist()[0].file_size == hole
        assert found.read("last.pdf") == b"the last letter"
    if shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    shown = subprocess.run(["unzip", "-p", str(path), "last.pdf"], capture_output=True, check=True)
    assert shown.stdout == b"the last letter"


@pytest.mark.parametrize("damage", [b"x", b"PK\x03\x04", b"PK\x03\x04" + bytes(40)])
def test_damage(damage: bytes) -> None:
    """What is no entry is not passed over."""
    part = b"".join(entries(2))
    for broken in (part + damage, damage + part, part[:-1]):
        with pytest.raises(DamagedArchive):
            list(directory([(io.BytesIO(broken), len(broken))]))


NAMES = [
    "",
    "Jørgen Ærø",
    "../../etc/passwd",
    "C:\\con",
    "a\0b\r\nc",
    "李雷",
    "-rf *",
    "x" * 300,
    "é" * 300,
    "a/b",
    ".",
]


@pytest.mark.parametrize("person", NAMES)
def test_names(person: str) -> None:
    """A name is short and plain, whoever it is of, and each number's is its own."""
    name = entry_name(7, person)
    assert re.fullmatch(r"000007-[a-z0-9]+(-[a-z0-9]+)*\.pdf", name)
    assert len(name) <= 71
    assert entry_name(8, person) != name
    assert entry_name(1_234_567, person).startswith("1234567-")


def test_spelling() -> None:
    """Letters with marks are written by those that they are made of."""
    assert entry_name(1, "Jørgen Straße-Åkesson Dvořák") == "000001-joergen-strasse-aakesson-dvorak.pdf"


@pytest.mark.parametrize("content", ["{{contact.title}}" * 1_000, "x" * 500_000, "x" * 9_000_000, "short"])
def test_letters_at_a_time(content: str) -> None:
    """No more letters are held at once than have room, with the longest values that their fields may have."""
    letter = compile_letter(content=f"<p>{content}</p>", template=None)
    longest = len(letter.render({"contact.title": "x" * LONGEST_VALUE}))
    most = most_letters(letter)
    assert most == 1 or most * longest <= MOST_CHARACTERS
    assert most == min(MOST_LETTERS, max(1, MOST_CHARACTERS // longest))


LETTER = "<p>Some words</p>"


async def test_processes() -> None:
    """So many letters are set at a time as there may be processes; one that is not needed is not started."""
    async with setting_letters(Margins(), 2) as press:
        assert text_of(await press.pdf(LETTER)) == "Some words"
        await press.pdf(LETTER)
        assert len(setters()) == 1
        found = await asyncio.gather(*(press.pdf(f"<p>{n}</p>") for n in range(9)))
        assert [text_of(pdf) for pdf in found] == [str(n) for n in range(9)]
        assert len(setters()) == 2
    assert setters() == []


async def test_a_process_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process inherits nothing of the environment, and gives way to those who answer requests."""
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "hush")
    async with setting_letters(Margins(), 1) as press:
        await press.pdf(LETTER)
        (process,) = setters()
        assert set(process.environ()) <= {"PYTHONPATH", "RAYON_NUM_THREADS", "LC_CTYPE"}
        assert process.nice() == min(19, psutil.Process().nice() + 5)


async def test_a_letter_that_takes_too_long() -> None:
    """A letter is given up after its time, and its process ended; the next one is set by another."""
    async with setting_letters(Margins(), 1) as press:
        await press.pdf(LETTER)
        press._patience = 0.05
        (process,) = setters()
        process.suspend()
        with pytest.raises(NoLetter, match="too long"), anyio.fail_after(30):
            await press.pdf("lorem ipsum " * 100_000)
        press._patience = children.PATIENCE
        assert text_of(await press.pdf(LETTER)) == "Some words"
        assert process.pid not in {each.pid for each in setters()}


async def test_a_letter_that_takes_too_much_memory() -> None:
    """A process that has no more memory ends; that costs its letter, and no other."""
    async with setting_letters(Margins(), 1) as press:
        await press.pdf(LETTER)
        (process,) = setters()
        limit = process.memory_info().vms + (64 << 20)
        assert process.rlimit(psutil.RLIMIT_AS)[0] == 2 << 30
        process.rlimit(psutil.RLIMIT_AS, (limit, limit))
        # Its next process has the usual limit.
        assert (await press.pdf("lorem ipsum " * 85_000)).startswith(b"%PDF")
        assert setters()[0].pid != process.pid


async def test_cancelled() -> None:
    """Who no longer waits for a letter ends its process, as it would answer the next one with this."""
    async with setting_letters(Margins(), 1) as press:
        await press.pdf(LETTER)
        (process,) = setters()
        process.suspend()
        task = asyncio.create_task(press.pdf("<p>nobody wants this</p>"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert setters() == []
        assert text_of(await press.pdf(LETTER)) == "Some words"


class BrokenPress(Press):
    def pdf(self, letter: object) -> bytes:
        raise CannotBeSet(f"what the letter says: {letter}")


def test_a_failure_says_where() -> None:
    """What a process says of a letter that cannot be set is the place of the fault, not the letter."""
    task = json.dumps({"document": "<p>hush</p>", "margins": [None] * 4}).encode()
    answer = json.loads(set_letter(BrokenPress(), task))
    assert re.fullmatch(r"CannotBeSet in test_letter_archives\.py:\d+", answer["failure"])


async def test_a_failure_is_no_other_letter_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter that cannot be set leaves its process to the next one."""
    async with setting_letters(Margins(), 1) as press:
        await press.pdf(LETTER)
        before = setters()
        monkeypatch.setattr(press, "_margins", ["no number", None, None, None])
        with pytest.raises(NoLetter, match=r"^TypeError in \w+\.py:\d+$"):
            await press.pdf(LETTER)
        monkeypatch.setattr(press, "_margins", [None] * 4)
        assert text_of(await press.pdf(LETTER)) == "Some words"
        assert setters() == before


ROOT = Path(__file__).parents[1]
PARENT = """
import asyncio
from content.letters import Margins
from jobs.letters.children import setting_letters
async def main():
    async with setting_letters(Margins(), 1) as press:
        await press.pdf("<p>x</p>")
        print("ready", flush=True)
        while True:
            await press.pdf("lorem ipsum " * 100_000)
asyncio.run(main())
"""


async def test_processes_die_with_their_parent() -> None:
    """After kill -9 of the worker they end, in the middle of a letter, though nobody tells them to."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        assert await asyncio.wait_for(parent.stdout.readline(), 30) == b"ready\n"
        (process,) = setters(parent.pid)
    finally:
        parent.send_signal(signal.SIGKILL)
        await parent.wait()

    async def is_gone() -> bool:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE

    await until(is_gone)
