"""How does a worker set letters without stopping for it? It has child processes set them, and listens to these."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Final

from content.letters import Margins
from jobs.letters import letter_process
from jobs.letters.letter_process import Task

_ROOT: Final = Path(__file__).resolve().parents[2]
# Seconds for one letter. A megabyte of text takes three.
# Seconds for one letter; a megabyte of text takes three. No PDF is larger than so many bytes.
PATIENCE: Final = 60.0
MOST_BYTES: Final = 256 << 20
# A process may end for a reason that is not the letter's, such as that the machine had no memory left.
TRIES: Final = 2


class NoLetter(Exception):
    """The letter cannot be set. The text says why, and nothing of the letter."""


class LetterSetters:
    """Child processes, up to `most`, each of which is started when it is first needed."""

    def __init__(self, margins: Margins, most: int, patience: float = PATIENCE) -> None:
        """`patience`: seconds for one letter."""
        self._margins = list(astuple(margins))
        self._patience = patience
        self._running: set[Process] = set()
        # Those that run are taken first; None is one that is not started.
        self._idle: asyncio.LifoQueue[Process | None] = asyncio.LifoQueue()
        for _ in range(most):
            self._idle.put_nowait(None)

    async def pdf(self, document: str) -> bytes:
        """The PDF of a letter's HTML. Raises `NoLetter`."""
        for _ in range(TRIES):
            answer = await self._tried(document)
            if isinstance(answer, bytes):
                return answer
            if answer is not None:
                raise NoLetter(answer)
        raise NoLetter("it takes too long, or too much memory")

    async def close(self) -> None:
        """Ends the processes, whatever they are doing, and waits until they are gone."""
        for process in list(self._running):
            await self._end(process)

    async def _tried(self, document: str) -> bytes | str | None:
        """The PDF, or why there is none; None when the process ended, or had to be ended, without an answer."""
        process = await self._idle.get()
        answer = None
        try:
            async with asyncio.timeout(self._patience):
                process = process or await self._started()
                answer = await self._answer(process, document)
        except (EOFError, ConnectionError, TimeoutError):
            pass
        finally:
            # It may still be busy with a letter that nobody waits for.
            if process is not None and answer is None:
                await self._end(process)
                process = None
            self._idle.put_nowait(process)
        return answer

    async def _answer(self, process: Process, document: str) -> bytes | str:
        assert process.stdin
        assert process.stdout
        task = Task(document=document, margins=self._margins)
        process.stdin.write(json.dumps(task).encode() + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readuntil(b"\n")
        answer = json.loads(line)
        if "failure" in answer:
            return str(answer["failure"])
        if answer["bytes"] > MOST_BYTES:
            raise EOFError
        return await process.stdout.readexactly(answer["bytes"])

    async def _started(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            # Of the environment it needs nothing but the way to this package; -P keeps the current folder out of it.
            *(sys.executable, "-P", "-m", letter_process.__name__),
            stdin=PIPE,
            stdout=PIPE,
            # One thread each: there are as many of them as there are processors to be used.
            env={"PYTHONPATH": str(_ROOT), "RAYON_NUM_THREADS": "1"},
            # A key pressed in the terminal of the worker is the worker's to answer.
            start_new_session=True,
        )
        self._running.add(process)
        return process

    async def _end(self, process: Process) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        assert process.stdin
        process.stdin.close()
        self._running.discard(process)


@asynccontextmanager
async def setting_letters(margins: Margins, most: int, patience: float = PATIENCE) -> AsyncIterator[LetterSetters]:
    """Sets letters of these margins, as many at a time as `most`; no process is left at the end."""
    setters = LetterSetters(margins, most, patience)
    try:
        yield setters
    finally:
        await setters.close()
