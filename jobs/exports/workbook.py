"""How does a worker make a workbook without stopping for it? It has a child process write it, and listens to that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from jobs.exports import workbook_process
from jobs.exports.workbook_process import Assignment, temporary_of
from store.exports import ExportColumn
from store.files import Piece

_ROOT: Final = Path(__file__).resolve().parents[2]


class WorkbookFailed(Exception):
    """The child ended without a workbook; the text says with which kind of exception and where, or how it ended."""


async def write_workbook(
    pieces: Sequence[Piece], target: Path, columns: Sequence[ExportColumn], progress: Callable[[int], None]
) -> None:
    """Writes rows as a workbook (.xlsx), which is at `target` as a whole or not at all.

    The pieces are together lines of JSON arrays, one a row, in the order of the columns: text, numbers, booleans, null,
    dates as "2026-11-21" and times as ISO 8601, which are shown in UTC. How they are written, and what is changed of
    what a workbook cannot hold, says `workbook_cells`. `progress` hears about four times a second, and at the end, how
    many rows are written. The same pieces and columns make the same bytes.

    OSError, with the child's `errno`: a file could not be read or written (ENOSPC: the disk is full). `WorkbookFailed`:
    anything else. Cancelling it ends the child; so does the death of this process, however it dies.
    """
    assignment = Assignment(
        pieces=[(str(piece.path), piece.bytes) for piece in pieces],
        target=str(target),
        headers=[column.header for column in columns],
        kinds=[column.kind.name for column in columns],
    )
    process = await asyncio.create_subprocess_exec(
        # Of the environment the child needs nothing but the way to this package; -P keeps the current folder out of it.
        *(sys.executable, "-P", "-m", workbook_process.__name__),
        stdin=PIPE,
        stdout=PIPE,
        env={"PYTHONPATH": str(_ROOT)},
        # A key pressed in the terminal of the worker is the worker's to answer.
        start_new_session=True,
    )
    try:
        await _carried_out(process, assignment, progress)
    finally:
        await _ended(process)
        await asyncio.to_thread(temporary_of(target, process.pid).unlink, missing_ok=True)


async def _carried_out(process: Process, assignment: Assignment, progress: Callable[[int], None]) -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(assignment).encode() + b"\n")
    # A child that is gone already has said why, or its exit code does.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await process.stdin.drain()
    failure = None
    async for line in process.stdout:
        answer = json.loads(line)
        if "rows" in answer:
            progress(answer["rows"])
        elif "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        else:
            failure = answer["failure"]
    code = await process.wait()
    if failure or code:
        raise WorkbookFailed(failure or f"ended with {code}")


async def _ended(process: Process) -> None:
    """Ends a child that still runs, and waits until it is gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()
    assert process.stdin
    process.stdin.close()
