"""Who does the jobs? A worker: it claims what is due, does several at a time, and outlives the database's restarts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from jobs.faults import FIRST_PAUSE, about, is_lost_database, log, report, through_outages
from jobs.queue import Claim, Later, Queue, Write
from store.database import Database
from store.jobs import CHANNEL
from store.models import JobKind
from store.signals import listening

# So long after the grace time the jobs that were cut off may take to end, and to be handed back.
HAND_BACK_SECONDS = 1.5
# Of a job that is to be gone on with.
SHORTEST_PAUSE = 0.01


@dataclass(frozen=True)
class Chore:
    """What is done beside the jobs, from time to time; `every`: so many seconds (None: as the pace has it)."""

    do: Callable[[], Awaitable[None]]
    every: float | None = None


class Handler(Protocol):
    """Does the jobs of one kind."""

    async def __call__(self, claim: Claim) -> Write:
        """Does a job and returns what to record of it; raises `Later` when it is to be gone on with after a while.

        Cancelled when the claim is lost, and when the worker must end; the job is then claimed again later.
        """

    def given_up(self, claim: Claim, error: BaseException) -> Write:
        """What to record when there is no further attempt, because of the error."""

    async def over(self, claim: Claim) -> None:
        """Removes what is not needed any more, after the job's end was committed, given up or not.

        The job is gone: whatever this raises changes nothing. It may be cut off, or be left out when the worker goes
        away first or does not hear that the end was committed.
        """


@dataclass(frozen=True)
class Duty:
    """A kind of job that a worker does.

    `at_once`: a worker that is asked to stop hands such a job back at once, as the next can go on with it; others
    have the grace time to end. `per_company`: how many run at a time in one company, over all workers. `slots`: how
    many one worker does at a time, so that long jobs leave room for short ones of other kinds (None: any number).
    `patient`: such a job is begun as often as it takes, as long as its workers outlive it.
    """

    handler: Handler
    at_once: bool = False
    per_company: int | None = None
    slots: int | None = None
    patient: bool = False


@dataclass(frozen=True)
class Pace:
    """How a worker spends its time; all in seconds but for `attempts`, `claims` and `deaths`.

    `lease`: how long a job is held without a sign of life. `poll`: how often is looked for jobs that no signal told
    of; a job of a worker that was killed runs again after both. `grace`: how long running jobs may take after `stop`.
    `sweep`: how often is tidied up. `retry`: the pause after the first attempt that failed, doubled by each further
    one, and `attempts`, how many may fail. `claims`: how often a job is begun at most, as one that ends its workers
    never fails; of a patient one, `deaths`: how many claims in a row may end with their workers. `reconnect`: the
    longest pause before listening is tried again. `over`: how long it may take to remove what a job leaves behind.
    """

    lease: float = 10
    poll: float = 2
    grace: float = 8
    sweep: float = 60
    retry: float = 5
    attempts: int = 5
    claims: int = 100
    deaths: int = 20
    reconnect: float = 30
    over: float = 30


class BegunTooOften(Exception):
    """A job was claimed again and again, and neither ended nor failed."""


class Worker:
    """Does the jobs of all companies that are among its duties, until it is stopped or cancelled."""

    def __init__(
        self,
        database: Database,
        duties: Mapping[JobKind, Duty],
        *,
        concurrency: int,
        chores: Sequence[Chore] = (),
        pace: Pace | None = None,
    ) -> None:
        """`chores`: what is done from time to time, beside the jobs."""
        self._database = database
        self._duties = duties
        self._concurrency = concurrency
        self._chores = chores
        self._pace = pace or Pace()
        limits = {kind: duty.per_company for kind, duty in duties.items()}
        self._queue = Queue(database, limits, self._pace.lease)
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._over: set[int] = set()
        self._wake = asyncio.Event()
        self._stopping = False

    def stop(self) -> None:
        """Takes no new jobs; `run` returns when the running ones are done or handed back."""
        log.info("worker.stopping", running=len(self._running))
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Works until `stop`. If it is cancelled instead, the running jobs stay claimed until their leases are over."""
        log.info("worker.started", concurrency=self._concurrency)
        helpers = [asyncio.create_task(self._listen())]
        helpers += [asyncio.create_task(self._repeat(chore)) for chore in self._chores]
        try:
            while not self._stopping:
                await self._take_jobs()
            await self._end_jobs()
        finally:
            await cancelled([*helpers, *self._running])
            log.info("worker.stopped")

    async def _take_jobs(self) -> None:
        """Starts what is due, as far as there is room; then waits for a signal, a job's end, or the next poll."""
        self._wake.clear()
        while (room := self._room()) and not self._stopping:
            # As many as there is room for whichever of the kinds they are: so those due longest come first.
            most = min(room.values())
            if await self._start_jobs(most, room) < most:
                break
        try:
            await asyncio.wait_for(self._wake.wait(), self._pace.poll)
        except TimeoutError:
            return

    def _room(self) -> dict[JobKind, int]:
        """How many more jobs may begin, by kind; those without room are left out."""
        free = self._concurrency - len(self._running)
        running = Counter(claim.kind for claim in self._running.values())
        room = {
            kind: free if duty.slots is None else min(free, duty.slots - running[kind])
            for kind, duty in self._duties.items()
        }
        return {kind: number for kind, number in room.items() if number > 0}

    async def _start_jobs(self, most: int, kinds: Collection[JobKind]) -> int:
        """Starts up to so many that are due, and gives their number."""
        claimed_at = asyncio.get_running_loop().time()
        claims = await self._claims(most, kinds)
        for claim in claims:
            task = asyncio.create_task(self._do(claim, claimed_at))
            self._running[task] = claim
            task.add_done_callback(self._done)
        return len(claims)

    async def _end_jobs(self) -> None:
        """Hands back what others can go on with, and at the end of the grace time what is not done by then."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._pace.grace
        jobs = dict(self._running)
        # What is over is only being tidied up after; there is nothing to hand back.
        at_once = {
            task for task, claim in jobs.items() if self._duties[claim.kind].at_once and claim.job_id not in self._over
        }
        handing_back = [asyncio.create_task(self._hand_back(task, jobs[task])) for task in at_once]
        if others := jobs.keys() - at_once:
            _, late = await asyncio.wait(others, timeout=self._pace.grace)
            handing_back += [asyncio.create_task(self._hand_back(task, jobs[task])) for task in late]
        if handing_back:
            _, lost = await asyncio.wait(handing_back, timeout=end - clock() + HAND_BACK_SECONDS)
            await cancelled([*lost])

    async def _hand_back(self, task: asyncio.Task[None], claim: Claim) -> None:
        """Cuts a job off and lets other workers have it; nothing is put back if it has come to its end meanwhile."""
        await cancelled([task])
        try:
            if await self._queue.put_back(claim, 0, failed=False):
                log.info("job.handed_back", **about(claim))
        except Exception as error:  # noqa: BLE001 - reported; others have the job when its lease is over
            report(error, "handing back", claim)

    async def _claims(self, most: int, kinds: Collection[JobKind]) -> list[Claim]:
        try:
            return await self._queue.claim(most, kinds)
        except Exception as error:  # noqa: BLE001 - reported; the worker lives on, and tries again at the next poll
            report(error, "claiming")
            return []

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wake.set()

    async def _do(self, claim: Claim, claimed_at: float) -> None:
        """One job, for as long as it is certainly ours: by this process's clock, counted from before the claim."""
        unanswered = asyncio.Event()
        try:
            async with asyncio.timeout_at(claimed_at + self._pace.lease) as limit:
                ended = await self._attempt(claim, limit, unanswered)
        except Later as pause:
            await self._wait(claim, pause.seconds)
            return
        except Exception as error:  # noqa: BLE001 - reported; other jobs go on, and this one has another attempt
            if limit.expired():
                log.warning("job.claim_lost", **about(claim))
                if unanswered.is_set():
                    await self._excuse(claim)
                return
            report(error, "job", claim)
            ended = await self._try_later(claim, error)
        if ended:
            await self._tidy_up_after(claim)

    async def _attempt(self, claim: Claim, limit: asyncio.Timeout, unanswered: asyncio.Event) -> bool:
        """Whether the job has come to its end; False if the claim was lost. `unanswered`: as `_keep` sets it."""
        if self._begun_too_often(claim):
            raise BegunTooOften
        keeping = asyncio.create_task(self._keep(claim, limit, unanswered))
        try:
            write = await self._duties[claim.kind].handler(claim)
        finally:
            await cancelled([keeping])
        ended = await through_outages(lambda: self._queue.finish(claim, write))
        if ended:
            log.info("job.done", **about(claim))
        else:
            log.warning("job.claim_lost", **about(claim))
        return ended

    def _begun_too_often(self, claim: Claim) -> bool:
        if self._duties[claim.kind].patient:
            return claim.unheard > self._pace.deaths
        return claim.attempt > self._pace.claims

    async def _tidy_up_after(self, claim: Claim) -> None:
        self._over.add(claim.job_id)
        try:
            async with asyncio.timeout(self._pace.over):
                await self._duties[claim.kind].handler.over(claim)
        except Exception as error:  # noqa: BLE001 - reported; the job has come to its end all the same
            report(error, "tidying up", claim)
        finally:
            self._over.discard(claim.job_id)

    async def _keep(self, claim: Claim, limit: asyncio.Timeout, unanswered: asyncio.Event) -> None:
        """Renews the claim while the job runs; without an answer the job ends when the lease does.

        `unanswered` is set from a question until its answer: if the lease ends meanwhile, it is the database's fault.
        """
        while True:
            await asyncio.sleep(self._pace.lease / 3)
            asked_at = asyncio.get_running_loop().time()
            if not is_past(limit, asked_at):
                unanswered.set()
            try:
                ours = await self._queue.renew(claim)
            except Exception as error:  # noqa: BLE001 - reported; there is another renewal before the lease ends
                report(error, "renewing", claim)
                continue
            unanswered.clear()
            limit.reschedule(asked_at + self._pace.lease if ours else asked_at)

    async def _wait(self, claim: Claim, seconds: float) -> None:
        """If this fails, the job goes on when its lease is over."""
        try:
            # Never in the turn that it had: others that are due come first.
            await self._queue.put_back(claim, max(seconds, SHORTEST_PAUSE), failed=False, done=True)
        except Exception as error:  # noqa: BLE001 - reported; see above
            report(error, "putting back", claim)
            await self._excuse(claim)
        self._wake.set()

    async def _try_later(self, claim: Claim, error: Exception) -> bool:
        """Whether there is no other attempt. If this fails as well, the job is tried again when its lease is over."""
        failed = not is_lost_database(error)
        again = claim.failures + failed < self._pace.attempts and not self._begun_too_often(claim)
        try:
            if again:
                await self._queue.put_back(claim, self._pace.retry * 2**claim.failures, failed=failed)
            elif await self._queue.finish(claim, self._duties[claim.kind].handler.given_up(claim, error)):
                log.error("job.given_up", **about(claim))
                return True
        except Exception as fault:  # noqa: BLE001 - reported; see above
            report(fault, "putting back", claim)
            await self._excuse(claim)
        return False

    async def _excuse(self, claim: Claim) -> None:
        """Says as soon as the database is there that the worker has outlived the job, which could not be said."""
        try:
            await through_outages(lambda: self._queue.excuse(claim))
        except Exception as error:  # noqa: BLE001 - reported; the job goes on, and counts one more of its claims
            report(error, "excusing", claim)

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

    async def _repeat(self, chore: Chore) -> None:
        while True:
            try:
                await chore.do()
            except Exception as error:  # noqa: BLE001 - reported; it is tried again the next time
                report(error, "a chore")
            await asyncio.sleep(self._pace.sweep if chore.every is None else chore.every)


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    """The worker runs beside the caller, on the same event loop, and is stopped at the end."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


def is_past(limit: asyncio.Timeout, moment: float) -> bool:
    """Whether a moment of the loop's clock is beyond the limit: something has held the loop up."""
    end = limit.when()
    return end is not None and moment >= end


async def cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Returns when all of them have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
