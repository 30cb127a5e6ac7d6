"""How do the bytes of pieces come, some at a time, and how is a put given up in good order?"""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import anyio

from store.files.contract import Piece, Stored

T = TypeVar("T")


class Abandoned(Exception):
    """Nobody waits for the file any more."""


class Reading:
    """One pass over the pieces; may go from thread to thread, but not be in two."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.total = sum(piece.bytes for piece in pieces)
        self._pieces = pieces
        self._done = 0
        self._digest = hashlib.sha256()
        self._abandoned = False

    def chunks(self, most: int) -> Iterator[bytes]:
        """At most so many bytes at a time; raises OSError, also for a file that is shorter than its piece."""
        for piece in self._pieces:
            left = piece.bytes
            with piece.path.open("rb", buffering=0) as file:
                while left:
                    self._check()
                    chunk = file.read(min(most, left))
                    if not chunk:
                        raise OSError(errno.EIO, "the file is shorter than its piece", str(piece.path))
                    self._digest.update(chunk)
                    self._done += len(chunk)
                    left -= len(chunk)
                    yield chunk

    def whole_file(self) -> Path | None:
        """The file that is the only piece, if there is nothing in it but that."""
        if len(self._pieces) != 1 or self._pieces[0].path.stat().st_size != self.total:
            return None
        return self._pieces[0].path

    def known(self) -> Stored | None:
        """What there is to be read, if that is known before."""
        known = self._pieces[0].sha256 if len(self._pieces) == 1 else None
        return None if known is None else Stored(self.total, known)

    def stored(self) -> Stored:
        """What was read; raises Abandoned, so that what nobody waits for is not completed."""
        self._check()
        return Stored(self._done, self._digest.hexdigest())

    def abandon(self) -> None:
        """Ends the reading at its next step with Abandoned."""
        self._abandoned = True

    def _check(self) -> None:
        if self._abandoned:
            raise Abandoned


async def outcome(work: asyncio.Future[T], reading: Reading) -> T:
    """What comes of a put; when it is cancelled the put is given up and waited for, so that nothing of it goes on."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        reading.abandon()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([work])
        # Asked for, so that nobody reports it as an error that was overlooked.
        work.exception()
        raise
