"""Workers for campaigns in processes of their own, to be killed and stopped: forked from a server that has imported
everything.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess

from jobs.smtp import SmtpTransport, mail_server
from jobs.worker import Pace
from store.database import Database
from tests.sending import mail_means, worker_of

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Orders:
    """What a worker is told; `pace`, `connections`, `deadline` and `retry` as in `Pace` and `MailMeans`."""

    url: str
    mail_url: str
    pace: Pace
    connections: int = 4
    deadline: timedelta = timedelta(hours=1)
    retry: float = 0.05


async def work(orders: Orders) -> None:
    database = Database(orders.url, pool_size=6)
    transport = SmtpTransport(mail_server(orders.mail_url))
    means = mail_means(transport, connections=orders.connections, deadline=orders.deadline, retry=orders.retry)
    worker = worker_of(database, means, pace=orders.pace)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()
    await database.close()


def main(orders: Orders) -> None:
    asyncio.run(work(orders))


def started(orders: Orders) -> BaseProcess:
    process = FORKING.Process(target=main, args=(orders,), daemon=True)
    process.start()
    return process


@contextmanager
def worker_process(orders: Orders) -> Iterator[BaseProcess]:
    """Killed at the end."""
    with crew(orders, 1) as (process,):
        yield process


@contextmanager
def crew(orders: Orders, count: int) -> Iterator[list[BaseProcess]]:
    """Some workers, who may be replaced in the list; killed at the end."""
    processes: list[BaseProcess] = []
    try:
        processes += (started(orders) for _ in range(count))
        yield processes
    finally:
        for process in processes:
            end(process)


def kill(process: BaseProcess, number: signal.Signals) -> None:
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, number)


def end(process: BaseProcess) -> None:
    """It is gone when this returns, stopped or not."""
    kill(process, signal.SIGKILL)
    process.join()
