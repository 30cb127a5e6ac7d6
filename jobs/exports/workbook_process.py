"""How does the program that writes one workbook run? As a child that carries out one line, and ends with its parent.

It is started as `python -m jobs.exports.workbook_process`, apart from the worker, whose signs of life go on meanwhile.
The first line of its input is an `Assignment` as JSON. The input then stays open: its end means that the parent is
gone, killed perhaps, and the child removes its temporary file and ends, whatever it is doing. It answers in lines of
JSON: `{"rows": 20000}` now and then and at the end, or, before it fails, `{"errno": 28}` for a fault of a file and
`{"failure": "ValueError in workbook_cells.py:9"}` for any other: never what the exception says, which could be people's
data. It imports nothing of the other layers, so that it is small and starts at once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, TypedDict

from jobs.exports.workbook_file import Layout, write_workbook_file

_BLOCK: Final = 1 << 20
_BETWEEN_ANSWERS: Final = 0.25
_LOWER_PRIORITY: Final = 5


class Assignment(TypedDict):
    """`pieces`: the files with the rows, and how many bytes of each count. `kinds`: names of the columns' kinds."""

    pieces: list[tuple[str, int]]
    target: str
    headers: list[str]
    kinds: list[str]


def temporary_of(target: Path, process_id: int) -> Path:
    """Where the child of that id writes what will be `target`."""
    return target.with_name(f"{target.name}.{process_id}.writing")


def lines_of(pieces: Sequence[tuple[Path, int]]) -> Iterator[bytes]:
    """The lines that the pieces are together, without their ends. OSError, also for a file that has too few bytes."""
    rest = b""
    for path, size in pieces:
        left = size
        with path.open("rb", buffering=0) as file:
            while left:
                block = file.read(min(left, _BLOCK))
                if not block:
                    raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
                left -= len(block)
                *lines, rest = (rest + block).split(b"\n")
                yield from lines
    if rest:
        yield rest


def write(assignment: Assignment, temporary: Path, monotonic: Callable[[], float]) -> None:
    """The whole file under its name, or, after an exception, none."""
    target = Path(assignment["target"])
    lines = lines_of([(Path(path), size) for path, size in assignment["pieces"]])
    layout = Layout(assignment["headers"], assignment["kinds"])
    answered = monotonic()

    def written(rows: int) -> None:
        nonlocal answered
        if monotonic() - answered >= _BETWEEN_ANSWERS:
            answered = monotonic()
            answer(rows=rows)

    try:
        with temporary.open("xb") as out:
            rows = write_workbook_file(out, layout, lines, written)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
        synced(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
    answer(rows=rows)


def synced(folder: Path) -> None:
    """Puts on the disk which names there are in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def answer(**line: object) -> None:
    """Tells the parent; without one there is nobody to tell."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(line), flush=True)


def end_with_parent(temporary: Path) -> None:
    """Waits for the end of the input, and ends the process."""
    try:
        while os.read(sys.stdin.fileno(), 1):
            pass
        temporary.unlink(missing_ok=True)
    finally:
        os._exit(1)


def failed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Says what kind of exception ended the process, and where."""
    if isinstance(error, OSError) and error.errno:
        answer(errno=error.errno)
        return
    frames = traceback.extract_tb(trace)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    answer(failure=f"{kind.__name__}{place}")


def main() -> None:
    """Reads the assignment and carries it out. Without one the parent was gone before it had said what to do."""
    sys.excepthook = failed
    os.nice(_LOWER_PRIORITY)
    first = sys.stdin.buffer.readline()
    if not first:
        return
    assignment: Assignment = json.loads(first)
    temporary = temporary_of(Path(assignment["target"]), os.getpid())
    threading.Thread(target=end_with_parent, args=(temporary,), daemon=True).start()
    write(assignment, temporary, time.monotonic)


if __name__ == "__main__":
    main()
