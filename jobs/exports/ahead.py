"""How are ranges of rows read while those before them are still being kept?

Each of several connections in one snapshot reads a range; they are given in their order. What was read waits in
memory, or on the disk where it is much.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jobs.exports.copying import Copying, Place
from jobs.queue import Write, nothing

# Of a range; more is kept in a file without a name.
BYTES_IN_MEMORY = 8 * 2**20
# Nobody knows how long rows are: the first range is short, and the next ones are as long as their bytes allow.
FIRST_KEYS = 1_000
MOST_KEYS = 50_000
GROWTH = 8


@dataclass(frozen=True)
class Chunk:
    """`lines`: the rows of a range, open until the next chunk is asked for; `place`: its last key; `rows`: how many.

    `record`: what is written in the transaction that says that they are done.
    """

    place: Place
    rows: int
    lines: IO[bytes]
    bytes: int
    record: Write = nothing


@asynccontextmanager
async def reading_ahead(
    sources: Sequence[Copying], after: Place | None, folder: Path, most_keys: int = MOST_KEYS
) -> AsyncIterator[AsyncIterator[Chunk]]:
    """The chunks from a place on; whatever is still being read at the end is given up."""
    begun: deque[asyncio.Task[Chunk]] = deque()
    try:
        async with aclosing(chunks(sources, after, folder, most_keys, begun)) as found:
            yield found
    finally:
        for task in begun:
            task.cancel()
        for left in await asyncio.gather(*begun, return_exceptions=True):
            if isinstance(left, Chunk):
                left.lines.close()


async def chunks(
    sources: Sequence[Copying],
    after: Place | None,
    folder: Path,
    most_keys: int,
    begun: deque[asyncio.Task[Chunk]],
) -> AsyncGenerator[Chunk]:
    """`begun`: what is being read, the next chunk first; the one that was given last stands before it."""
    turns = itertools.cycle(sources)
    size = min(FIRST_KEYS, most_keys)
    ended = False
    given = 0
    while True:
        # A source has its turn again when the chunk that it read is there, and before that is looked at.
        while not ended and len(begun) < len(sources) + given:
            source = next(turns)
            until = await source.end_of_range(after, size)
            ended = until is None
            if until is not None:
                begun.append(asyncio.create_task(read(source, after, until, folder)))
                after = until
        if given:
            yield begun[0].result()
            begun.popleft().result().lines.close()
            given = 0
        if not begun:
            return
        size = fitting(size, (await begun[0]).bytes, most_keys)
        given = 1


def fitting(size: int, given: int, most_keys: int) -> int:
    """How many keys are to be read next, when so many gave so many bytes."""
    return max(1, min(most_keys, size * GROWTH, size * BYTES_IN_MEMORY // max(1, given)))


async def read(source: Copying, after: Place | None, until: Place, folder: Path) -> Chunk:
    lines = tempfile.SpooledTemporaryFile(BYTES_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed when the chunk is over
    try:
        rows = await source.copy(after, until, lines.write)
    except BaseException:
        lines.close()
        raise
    size = lines.tell()
    lines.seek(0)
    return Chunk(until, rows, lines, size)
