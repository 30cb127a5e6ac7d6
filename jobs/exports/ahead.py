"""How are ranges of rows read while those before them are still being kept?

Each of several connections in one snapshot reads a range; they are given in their order. What was read waits in
memory, or on the disk where it is much.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jobs.exports.copying import Copying, Place

# Of a range; more is kept in a file without a name.
BYTES_IN_MEMORY = 16 * 2**20


@dataclass(frozen=True)
class Chunk:
    """`lines`: the rows of a range, open until the next chunk is asked for; `place`: its last key; `rows`: how many."""

    place: Place
    rows: int
    lines: IO[bytes]


@asynccontextmanager
async def reading_ahead(
    sources: Sequence[Copying], after: Place | None, folder: Path
) -> AsyncIterator[AsyncIterator[Chunk]]:
    """The chunks from a place on; whatever is still being read at the end is given up."""
    async with aclosing(chunks(sources, after, folder)) as found:
        yield found


async def chunks(sources: Sequence[Copying], after: Place | None, folder: Path) -> AsyncGenerator[Chunk]:
    begun: deque[asyncio.Task[Chunk]] = deque()
    turn = 0
    try:
        while True:
            if len(begun) == len(sources):
                yield await begun[0]
                begun.popleft().result().lines.close()
            source = sources[turn % len(sources)]
            until = await source.end_of_range(after)
            if until is None:
                break
            begun.append(asyncio.create_task(read(source, after, until, folder)))
            after, turn = until, turn + 1
        while begun:
            yield await begun[0]
            begun.popleft().result().lines.close()
    finally:
        for task in begun:
            task.cancel()
        for left in await asyncio.gather(*begun, return_exceptions=True):
            if isinstance(left, Chunk):
                left.lines.close()


async def read(source: Copying, after: Place | None, until: Place, folder: Path) -> Chunk:
    lines = tempfile.SpooledTemporaryFile(BYTES_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed by `chunks`
    try:
        rows = await source.copy(after, until, lines.write)
    except BaseException:
        lines.close()
        raise
    lines.seek(0)
    return Chunk(until, rows, lines)
