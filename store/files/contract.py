"""What may be asked of any store of files?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

STEP = "[A-Za-z0-9_-][A-Za-z0-9._-]*"
KEY = re.compile(f"{STEP}(/{STEP})*")
LONGEST_KEY = 512


class FilesUnavailable(Exception):
    """The store of files does not answer, or refuses; trying again later may help. The message holds no secret."""


@dataclass(frozen=True)
class Piece:
    """The first `bytes` bytes of a local file; `sha256`: of these, in hexadecimal, if it is known."""

    path: Path
    bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Stored:
    """What a file came to; `sha256` is hexadecimal."""

    bytes: int
    sha256: str


class Files(Protocol):
    """Whole files by keys such as `7/<uuid>/1.csv`.

    The steps of a key are letters, digits, `-`, `_` and `.`, which none begins with; other keys raise ValueError.
    Whatever a method raises, a file is there whole or not at all.
    """

    async def put(self, key: str, pieces: Sequence[Piece], *, name: str, content_type: str) -> Stored:
        """Makes the file of the pieces, one after the other; it is to be saved as `name`, made safe.

        A single piece that is a whole file may be taken as it is: nobody may write to that file any more.
        Returns when it is durable. Raises OSError for this machine's disk (ENOSPC and EDQUOT: full) and
        FilesUnavailable for a store elsewhere, and leaves nothing behind that can be reached. When it is cancelled it
        ends only after it has given up.
        """

    async def delete(self, key: str) -> None:
        """Removes the file, and what was left of it where a put was cut off; one that is not there is fine."""

    async def keys(self, prefix: str) -> list[str]:
        """The keys below a folder (`7/<uuid>/`; the empty one is all) that take up room, in order."""


def checked_key(key: str) -> str:
    """The key; raises ValueError for what is none, or could lead elsewhere."""
    if not KEY.fullmatch(key) or len(key) > LONGEST_KEY:
        raise ValueError(f"not a key of a file: {key!r}")
    return key


def checked_folder(prefix: str) -> str:
    """The folder without the slash at its end, or nothing; raises ValueError as `checked_key` does."""
    return checked_key(prefix.removesuffix("/")) if prefix else ""
