"""How do several processes serve one port: who starts them, replaces those that end, and stops them all?

The parent listens and does what must be done once; its children accept on the socket that they inherit, so that a
connection that nobody has accepted outlives any of them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from socket import socket

import structlog

from gateway.app import Deployment, worker_inside
from gateway.files import files_of
from gateway.server import STOP_SECONDS
from gateway.serving_process import HELD_BACK, serve_beside
from gateway.settings import Settings
from gateway.stopping import stopping
from gateway.worker import pool_size_of

log = structlog.get_logger("gateway")

SPAWNING = multiprocessing.get_context("spawn")
# Before a process is started again that has ended before it could serve.
PAUSE_SECONDS = 1.0


class NotServing(Exception):
    """A process has ended before it could serve."""


def connections_of(settings: Settings) -> int:
    """How many an embedded database must grant: to each process its pool and one to listen, and to other commands."""
    return max(100, settings.server_processes * (2 * settings.database_pool_size + 1) + pool_size_of(settings) + 20)


async def serve_in_processes(
    settings: Settings, deployment: Deployment, listener: socket, ready: Callable[[], None]
) -> int:
    """Serves in `settings.server_processes` until a signal asks to stop; which one it was.

    `ready` is called once all of them serve. Raises `NotServing` if one of the first does not get that far.
    """

    def start(name: str) -> Child:
        return started(name, settings, replace(deployment, worker=False), listener)

    files = files_of(settings, deployment.files)
    working = worker_inside(settings, deployment, files, lambda: datetime.now(UTC))
    async with working if deployment.worker else nullcontext():
        names = [f"serve-{number}" for number in range(1, settings.server_processes + 1)]
        children = Children(names, start, ready, listener.close)
        with stopping(children.stop) as received:
            await children.run()
        return received[0]


@dataclass(frozen=True)
class Child:
    """A process that was started; `says` has a message once it serves, or comes to its end."""

    process: BaseProcess
    says: Connection

    async def serves(self) -> bool:
        """Returns when it serves, or has ended before it could."""
        await readable(self.says.fileno())
        try:
            return bool(self.says.recv_bytes())
        except EOFError:
            return False

    async def ended(self) -> int | None:
        """Its exit status; below 0 the signal that ended it."""
        await readable(self.process.sentinel)
        self.process.join()
        return self.process.exitcode

    def send(self, number: int) -> None:
        if self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


class Children:
    """Processes by their names, each of which is replaced when it ends, until they are stopped."""

    def __init__(
        self,
        names: list[str],
        start: Callable[[str], Child],
        when_ready: Callable[[], None],
        when_stopped: Callable[[], None],
    ) -> None:
        self._names = names
        self._start = start
        self._when_ready = when_ready
        self._when_stopped = when_stopped
        self._awaited = set(names)
        self._running: dict[str, Child] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Returns when all have ended after `stop`; leaves none behind, whatever happens."""
        keepers = [asyncio.create_task(self._keep(name)) for name in self._names]
        try:
            await asyncio.gather(*keepers)
        finally:
            for child in self._running.values():
                child.send(signal.SIGKILL)
                child.process.join()
            for keeper in keepers:
                keeper.cancel()

    def stop(self, number: int) -> None:
        """They end what they have begun to answer; a second Ctrl-C cuts that short."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._when_stopped()
            asyncio.get_running_loop().call_later(STOP_SECONDS, self._send, signal.SIGKILL)
            self._send(signal.SIGTERM)
        elif number == signal.SIGINT:
            self._send(signal.SIGINT)

    async def _keep(self, name: str) -> None:
        while not self._stopping.is_set():
            child = self._running[name] = self._start(name)
            log.info("process.started", name=name, pid=child.process.pid)
            serves = await child.serves()
            if serves:
                log.info("process.serving", name=name, pid=child.process.pid)
                self._noted(name)
            status = await child.ended()
            del self._running[name]
            child.says.close()
            if not self._stopping.is_set():
                log.warning("process.ended", name=name, pid=child.process.pid, status=status, served=serves)
                await self._pause(serves)

    def _noted(self, name: str) -> None:
        if name in self._awaited:
            self._awaited.remove(name)
            if not self._awaited:
                self._when_ready()

    async def _pause(self, served: bool) -> None:
        """Before the next attempt; there is none if it could not be started at all."""
        if served:
            return
        if self._awaited:
            raise NotServing("A process has ended before it could serve; what it wrote says why.")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), PAUSE_SECONDS)

    def _send(self, number: int) -> None:
        for child in self._running.values():
            child.send(number)


def started(name: str, settings: Settings, deployment: Deployment, listener: socket) -> Child:
    says, tells = SPAWNING.Pipe(duplex=False)
    process = SPAWNING.Process(target=serve_beside, name=name, args=(name, settings, deployment, listener, tells))
    # Started here, as it would let through what is held back.
    resource_tracker.ensure_running()
    with held_back():
        process.start()
    # With the child's alone, the pipe ends with the child.
    tells.close()
    return Child(process, says)


@contextmanager
def held_back() -> Iterator[None]:
    """Signals wait while this lasts; a process that is started meanwhile lets them through itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def readable(descriptor: int) -> None:
    """Returns when something can be read, the end too."""
    loop, found = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, found.set)
    try:
        await found.wait()
    finally:
        loop.remove_reader(descriptor)
