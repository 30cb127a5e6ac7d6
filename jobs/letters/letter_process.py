"""How does the program that sets letters run? As a child that sets one letter after another, and ends with its parent.

It is started as `python -m jobs.letters.letter_process`, apart from the worker, whose signs of life go on meanwhile.
Each line of its input is a `Task` as JSON, and for each it answers a line of JSON: `{"bytes": 16725}`, and behind it so
many bytes of PDF, or `{"failure": "ValueError in press.py:9"}`: never what the exception says, which could be people's
data. The end of its input means that it is not needed any longer, or that its parent is gone, killed perhaps: it ends
at once, whatever it is doing. It leaves no files.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import resource
import sys
import threading
import traceback
from pathlib import Path
from typing import Final, TypedDict

from content.letters import Margins, letter_data
from jobs.letters.press import CannotBeSet, Press

_LOWER_PRIORITY: Final = 5
# Of address space: a letter of a megabyte takes half of a gigabyte.
_MOST_MEMORY: Final = 2 << 30


class Task(TypedDict):
    """A letter as HTML, with its margins in millimetres: top, right, bottom, left."""

    document: str
    margins: list[float | None]


def read_tasks(tasks: queue.SimpleQueue[bytes]) -> None:
    """Passes on the lines of the input, and ends the process when that ends."""
    for line in sys.stdin.buffer:
        tasks.put(line)
    os._exit(0)


def set_letter(press: Press, line: bytes) -> bytes:
    """The answer to a task."""
    task: Task = json.loads(line)
    try:
        pdf = press.pdf(letter_data(task["document"], Margins(*task["margins"])))
    except (CannotBeSet, MemoryError, RecursionError, TypeError, ValueError) as error:
        return json.dumps({"failure": place_of(error)}).encode() + b"\n"
    return b'{"bytes": %d}\n%b' % (len(pdf), pdf)


def place_of(error: BaseException) -> str:
    """What kind of exception it is, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"


def main() -> None:
    os.nice(_LOWER_PRIORITY)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    press = Press()
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=read_tasks, args=(tasks,), daemon=True).start()
    # Without a parent there is nobody to answer.
    with contextlib.suppress(BrokenPipeError):
        while True:
            sys.stdout.buffer.write(set_letter(press, tasks.get()))
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
