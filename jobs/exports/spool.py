"""Where does a worker keep what it has written of an export, so that another one can go on with it?

An export has a folder, and each attempt a file of its own in it, to which it only appends. What counts of a file is
what the last checkpoint says: an attempt that is over and does not know it yet can write on behind that without harm.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO
from uuid import UUID

from store.files import Piece

COPIED_AT_A_TIME = 2**20


@dataclass(frozen=True)
class Part:
    """The first `bytes` of what an attempt wrote."""

    attempt: int
    bytes: int


@dataclass(frozen=True)
class Spooled:
    """The folder of one export, known by its company and id."""

    company_id: int
    export_id: UUID
    path: Path

    def pieces(self, parts: Sequence[Part]) -> list[Piece]:
        return [Piece(self._part(part.attempt), part.bytes) for part in parts]

    def holds(self, parts: Sequence[Part]) -> bool:
        """Whether all of these parts are here: another machine's are not."""
        return all(size_of(piece.path) >= piece.bytes for piece in self.pieces(parts))

    def keep_only(self, parts: Sequence[Part]) -> None:
        """Removes what earlier attempts have left beside these parts; makes the folder if there is none."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = {piece.path for piece in self.pieces(parts)}
        for entry in self.path.iterdir():
            if entry not in kept:
                entry.unlink()

    @contextmanager
    def writing(self, attempt: int) -> Iterator[BinaryIO]:
        """The new file of an attempt."""
        descriptor = os.open(self._part(attempt), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file

    def beside(self, name: str) -> Path:
        """The path of a further file in the folder."""
        return self.path / name

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def _part(self, attempt: int) -> Path:
        return self.path / f"{attempt}.part"


class Spool:
    """The folders of all exports that are being written on this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, company_id: int, export_id: UUID) -> Spooled:
        return Spooled(company_id, export_id, self._root / f"{company_id}-{export_id}")

    def all(self) -> list[Spooled]:
        """The folders that there are; whatever else is there is not ours."""
        if not self._root.is_dir():
            return []
        found = []
        for path in self._root.iterdir():
            company_id, _, export_id = path.name.partition("-")
            try:
                found.append(Spooled(int(company_id), UUID(export_id), path))
            except ValueError:
                continue
        return found


def size_of(path: Path) -> int:
    """-1: there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def appended(file: BinaryIO, lines: IO[bytes]) -> int:
    """Writes the lines behind the rest and puts them on the disk; the size of the file."""
    shutil.copyfileobj(lines, file, COPIED_AT_A_TIME)
    return synced(file)


def synced(file: BinaryIO) -> int:
    """Puts on the disk what was written; the size of the file."""
    file.flush()
    os.fsync(file.fileno())
    return file.tell()
