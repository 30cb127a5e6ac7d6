"""Where does a worker keep what it has written of an export, so that another one can go on with it?

An export has a folder, and each attempt a file of its own in it, to which it only appends. What counts of a file is
what the last checkpoint says: an attempt that is over and does not know it yet can write on behind that without harm.
The folder stays until the export is over: it tells the sweep where something may be left.
"""

from __future__ import annotations

import hashlib
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


class PartFile:
    """What an attempt writes, and the SHA-256 of it so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def append(self, lines: IO[bytes]) -> int:
        """Writes the lines behind the rest and puts them on the disk; the size of the file."""
        while some := lines.read(COPIED_AT_A_TIME):
            self.digest.update(some)
            self._file.write(some)
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()


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
                entry.unlink(missing_ok=True)

    @contextmanager
    def writing(self, attempt: int) -> Iterator[PartFile]:
        """The new file of an attempt."""
        descriptor = os.open(self._part(attempt), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield PartFile(file)

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


def folder_of(company_id: int, export_id: UUID) -> str:
    """The folder in the store of files that holds whatever attempts make of an export."""
    return f"{company_id}/{export_id}/"
