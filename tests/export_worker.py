"""Workers in processes of their own, to be killed and stopped: forked from a server that has imported everything."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from jobs.worker import Duty, Pace, Worker
from store.database import Database
from store.models import JobKind
from tests.exporting import exporter_of

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload([__name__])


async def work(url: str, folder: Path, chunk: int) -> None:
    database = Database(url, pool_size=4)
    exporter = exporter_of(database, folder, chunk=chunk)
    worker = Worker(database, {JobKind.EXPORT: Duty(exporter, at_once=True, per_company=2)}, concurrency=1, pace=Pace())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()
    await database.close()


def main(url: str, folder: Path, chunk: int) -> None:
    asyncio.run(work(url, folder, chunk))


@contextmanager
def worker_process(url: str, folder: Path, chunk: int) -> Iterator[BaseProcess]:
    """A worker that does one job at a time, at the pace that it has in earnest; killed at the end."""
    process = FORKING.Process(target=main, args=(url, folder, chunk), daemon=True)
    process.start()
    try:
        yield process
    finally:
        kill(process, signal.SIGKILL)
        process.join()


def kill(process: BaseProcess, number: signal.Signals) -> None:
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, number)
