"""Who does the jobs? A worker: it claims what is due, does several at a time, and outlives the database's restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jobs.faults import FIRST_PAUSE, about, log, report, through_outages
from jobs.housekeeping import sweep
from jobs.listening import listening
from jobs.queue import Claim, Queue, Write, nothing
from store.database import Database
from store.jobs import CHANNEL
from store.models import JobKind

Handler = Callable[[Claim], Awaitable[Write]]
"""Does a job and returns what to record of it. Cancelled when the claim is lost, or at the end of the grace time."""


@dataclass(frozen=True)
class Pace:
    """How a worker spends its time; all in seconds but for `attempts`.

    `lease`: how long a job is held without a sign of life. `poll`: how often is looked for jobs that no signal told
    of. `grace`: how long running jobs may take after `stop`. `sweep`: how often is tidied up. `retry`: the pause after
    the first attempt that raised, doubled by each further one, and `attempts`, how many there are. `reconnect`: the
    longest pause before listening is tried again.
    """

    lease: float = 60
    poll: float = 5
    grace: float = 8
    sweep: float = 300
    retry: float = 30
    attempts: int = 5
    reconnect: float = 30


class Worker:
    """Does the jobs of all companies for which there is a handler, until it is stopped or cancelled."""

    def __init__(
        self, database: Database, handlers: Mapping[JobKind, Handler], *, concurrency: int, pace: Pace | None = None
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._concurrency = concurrency
        self._pace = pace or Pace()
        self._queue = Queue(database, handlers.keys(), self._pace.lease)
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False

    def stop(self) -> None:
        """Takes no new jobs; `run` returns when the running ones are done, or after the grace time."""
        log.info("worker.stopping", running=len(self._running))
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Works until `stop`. A job that is cut off stays claimed until its lease is over."""
        log.info("worker.started", concurrency=self._concurrency)
        helpers = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_tidy())]
        try:
            while not self._stopping:
                await self._take_jobs()
            if self._running:
                await asyncio.wait(self._running, timeout=self._pace.grace)
        finally:
            await cancelled([*helpers, *self._running])
            log.info("worker.stopped")

    async def _take_jobs(self) -> None:
        """Starts what is due, as far as there is room; then waits for a signal, a job's end, or the next poll."""
        self._wake.clear()
        free = self._concurrency - len(self._running)
        if free:
            claimed_at = asyncio.get_running_loop().time()
            for claim in await self._claims(free):
                task = asyncio.create_task(self._do(claim, claimed_at))
                self._running.add(task)
                task.add_done_callback(self._done)
        try:
            await asyncio.wait_for(self._wake.wait(), self._pace.poll)
        except TimeoutError:
            return

    async def _claims(self, most: int) -> list[Claim]:
        try:
            return await self._queue.claim(most)
        except Exception as error:  # noqa: BLE001 - reported; the worker lives on, and tries again at the next poll
            report(error, "claiming")
            return []

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _do(self, claim: Claim, claimed_at: float) -> None:
        """One job, for as long as it is certainly ours: by this process's clock, counted from before the claim."""
        try:
            async with asyncio.timeout_at(claimed_at + self._pace.lease) as limit:
                await self._attempt(claim, limit)
        except Exception as error:  # noqa: BLE001 - reported; other jobs go on, and this one has another attempt
            if limit.expired():
                log.warning("job.claim_lost", **about(claim))
                return
            report(error, "job", claim)
            await self._try_later(claim)

    async def _attempt(self, claim: Claim, limit: asyncio.Timeout) -> None:
        keeping = asyncio.create_task(self._keep(claim, limit))
        try:
            write = await self._handlers[claim.kind](claim)
        finally:
            await cancelled([keeping])
        if await through_outages(lambda: self._queue.finish(claim, write)):
            log.info("job.done", **about(claim))
        else:
            log.warning("job.claim_lost", **about(claim))

    async def _keep(self, claim: Claim, limit: asyncio.Timeout) -> None:
        """Renews the claim while the job runs; without an answer the job ends when the lease does."""
        while True:
            await asyncio.sleep(self._pace.lease / 3)
            asked_at = asyncio.get_running_loop().time()
            try:
                ours = await self._queue.renew(claim)
            except Exception as error:  # noqa: BLE001 - reported; there is another renewal before the lease ends
                report(error, "renewing", claim)
                continue
            limit.reschedule(asked_at + self._pace.lease if ours else asked_at)

    async def _try_later(self, claim: Claim) -> None:
        """If this fails as well, the job is tried again when its lease is over."""
        try:
            if claim.attempt < self._pace.attempts:
                await self._queue.put_back(claim, self._pace.retry * 2 ** (claim.attempt - 1))
            elif await self._queue.finish(claim, nothing):
                log.error("job.given_up", **about(claim))
        except Exception as error:  # noqa: BLE001 - reported; see above
            report(error, "putting back", claim)

    async def _listen(self) -> None:
        """Wakes the worker at each signal; after a lost connection signals may have been missed, so then as well."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with listening(self._database, CHANNEL, self._wake.set) as lost:
                    log.info("worker.listening")
                    pause = FIRST_PAUSE
                    self._wake.set()
                    await lost.wait()
                log.warning("worker.connection_lost")
            except Exception as error:  # noqa: BLE001 - reported; polling goes on, and listening is tried again
                report(error, "listening")
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._pace.reconnect)

    async def _keep_tidy(self) -> None:
        while True:
            try:
                await sweep(self._database)
            except Exception as error:  # noqa: BLE001 - reported; it is tried again the next time
                report(error, "sweeping")
            await asyncio.sleep(self._pace.sweep)


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    """The worker runs beside the caller, on the same event loop, and is stopped at the end."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


async def cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Returns when all of them have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
