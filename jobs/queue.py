"""Which jobs are due, who has them, and when is one over?

A job is claimed for a time (the lease) by the database's clock. Its number of attempts tells claims apart: whoever
had it before changes nothing any more, however late they come.

Of some kinds only so many run at a time in one company. Claims of these are made one after another, so that each sees
those before it; and a claim that ran out is ended before the others are counted, so that it cannot be renewed after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Delete,
    Select,
    Update,
    and_,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from store.database import Database
from store.jobs import wake_workers
from store.models import Job, JobKind

# The first of the two numbers of an advisory lock; any will do, as long as nothing else takes it.
CLAIMS_LOCK = 0x4A4F4253
# A worker that is stopped in the middle would keep the others from claiming: the server then ends its transaction.
TAKE_TURN = text(
    "SELECT set_config('idle_in_transaction_session_timeout', '3000', true), pg_advisory_xact_lock(:lock, 0)"
)
# Later than any lock that was waited for before the statement; the start of the transaction would be earlier.
NOW = func.statement_timestamp()
HEARD_OF = func.greatest(Job.unheard - 1, 0)

Write = Callable[[AsyncSession], Awaitable[None]]
"""What is to be recorded of a job's outcome, in the transaction that ends the job."""


class Later(Exception):
    """There is nothing to do for now: the job is to be claimed again after so many seconds, which is no failure."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True)
class InOrder:
    """A record of an outcome that begins with locking a row: whoever changes both locks it before its job.

    Otherwise two could wait for each other, as a job that ends is locked first.
    """

    lock: Callable[[AsyncSession], Awaitable[object]]
    write: Write

    async def __call__(self, session: AsyncSession) -> None:
        await self.write(session)


@dataclass(frozen=True)
class Claim:
    """One worker's hold on a job; `attempt` counts from 1, `failures` those of the attempts before.

    `unheard`: how many claims in a row, with this one, nothing was heard of.
    """

    company_id: int
    job_id: int
    kind: JobKind
    subject_id: UUID
    attempt: int
    failures: int
    unheard: int = 1


class Queue:
    """The jobs of some kinds, of all companies; any number of processes may claim from it."""

    def __init__(self, database: Database, limits: Mapping[JobKind, int | None], lease: float) -> None:
        """`limits`: how many jobs of each kind may run at a time in one company (None: any number).

        `lease`: seconds that a claim holds, unless it is renewed.
        """
        self._database = database
        self._limits = {kind: limit for kind, limit in limits.items() if limit is not None}
        self._lease = timedelta(seconds=lease)

    async def claim(self, most: int, kinds: Collection[JobKind]) -> list[Claim]:
        """Up to `most` jobs of these kinds that may run now, those that have been due longest first."""
        limits = {kind: limit for kind, limit in self._limits.items() if kind in kinds}
        unlimited = [kind for kind in kinds if kind not in limits]
        async with self._database.working() as session:
            taken = select(Job.company_id, Job.id).where(*due(unlimited))
            if limits:
                limited = await session.scalar(any_limited(kinds, limits, most))
                if limited is None:
                    return []
                if limited:
                    await session.execute(TAKE_TURN, {"lock": CLAIMS_LOCK})
                    await session.execute(end_lost_claims(limits))
                    taken = in_turn(unlimited, limits)
            rows = (await session.execute(self._claiming(taken.order_by(Job.due_at, Job.id).limit(most)))).all()
        return [
            Claim(row.company_id, row.id, JobKind(row.kind), row.subject_id, row.attempt, row.failures, row.unheard)
            for row in rows
        ]

    def _claiming(self, taken: Select[int, int]) -> Update:
        statement = updating(locked(taken)).values(
            attempt=Job.attempt + 1, unheard=Job.unheard + 1, claimed_until=NOW + self._lease
        )
        return statement.returning(
            Job.company_id, Job.id, Job.kind, Job.subject_id, Job.attempt, Job.failures, Job.unheard
        ).execution_options(synchronize_session=False)

    async def renew(self, claim: Claim) -> bool:
        """Holds the job for another lease from now on; False if somebody else has claimed it, or it is over."""
        renewed = update(Job).where(*held(claim)).values(claimed_until=NOW + self._lease)
        async with self._database.writing(claim.company_id) as session:
            return await changed(session, renewed)

    async def finish(self, claim: Claim, write: Write) -> bool:
        """Ends the job and records its outcome, both or neither; False (and neither) if the claim was lost."""
        async with self._database.writing(claim.company_id) as session:
            if isinstance(write, InOrder):
                await write.lock(session)
            # Deleted first: the lock keeps others off the job until the outcome is recorded.
            if not await changed(session, delete(Job).where(*held(claim))):
                return False
            await write(session)
            if claim.kind in self._limits:
                await wake_workers(session)
            return True

    async def put_back(self, claim: Claim, pause: float, *, failed: bool, done: bool = False) -> bool:
        """Lets the job be claimed again after `pause` seconds, or at once and in the turn that it had for 0.

        `failed`: whether the attempt counts as a failure; `done`: it did what there was to do, so those before count no
        more. False, and nothing is done, if the claim was lost.
        """
        failures = literal(0) if done else Job.failures + int(failed)
        unheard = literal(0) if done else HEARD_OF
        released = update(Job).where(*held(claim)).values(claimed_until=None, failures=failures, unheard=unheard)
        if pause:
            released = released.values(due_at=NOW + timedelta(seconds=pause))
        async with self._database.writing(claim.company_id) as session:
            if not await changed(session, released):
                return False
            if not pause or claim.kind in self._limits:
                await wake_workers(session)
            return True

    async def excuse(self, claim: Claim) -> None:
        """Has a claim not count as unheard of, whoever has the job by now: its worker lives, it lost the database."""
        mine = Job.company_id == claim.company_id, Job.id == claim.job_id
        async with self._database.writing(claim.company_id) as session:
            await session.execute(update(Job).where(*mine).values(unheard=HEARD_OF))


def any_limited(kinds: Collection[JobKind], limited: Collection[JobKind], most: int) -> Select[bool | None]:
    """Whether the next jobs are such that somebody must be asked for a turn; None if there are no next jobs."""
    following = select(Job.kind).where(*due(kinds)).order_by(Job.due_at, Job.id).limit(most).subquery()
    return select(func.bool_or(following.c.kind.in_(limited)))


def end_lost_claims(limited: Collection[JobKind]) -> Update:
    """A job that is locked has somebody who is doing something with it, and still counts as running."""
    lost = select(Job.company_id, Job.id).where(Job.kind.in_(limited), Job.claimed_until <= NOW)
    return updating(locked(lost)).values(claimed_until=None).execution_options(synchronize_session=False)


def in_turn(unlimited: Collection[JobKind], limits: Mapping[JobKind, int]) -> Select[int, int]:
    """Of limited kinds, the first of those that wait in a company, as many as it has room for."""
    running = (
        select(Job.company_id, Job.kind, func.count().label("number"))
        .where(Job.kind.in_(limits), Job.claimed_until.is_not(None))
        .group_by(Job.company_id, Job.kind)
        .subquery()
    )
    turn = func.row_number().over(partition_by=(Job.company_id, Job.kind), order_by=(Job.due_at, Job.id))
    waiting = (
        select(Job.id, Job.kind, (turn + func.coalesce(running.c.number, 0)).label("place"))
        .outerjoin(running, and_(running.c.company_id == Job.company_id, running.c.kind == Job.kind))
        .where(*due(limits), Job.claimed_until.is_(None))
        .subquery()
    )
    limit = case({kind.value: literal(number) for kind, number in limits.items()}, value=waiting.c.kind)
    may_run = select(waiting.c.id).where(waiting.c.place <= limit)
    return select(Job.company_id, Job.id).where(or_(and_(*due(unlimited)), Job.id.in_(may_run)))


def due(kinds: Collection[JobKind]) -> list[ColumnElement[bool]]:
    return [Job.kind.in_(kinds), Job.due_at <= NOW, or_(Job.claimed_until.is_(None), Job.claimed_until <= NOW)]


def locked(jobs: Select[int, int]) -> CTE:
    """Those of the jobs, by company and id, that nobody else is changing."""
    # Materialised, or the planner might look for rows to lock once for each row that it joins.
    chosen = jobs.with_for_update(skip_locked=True, of=Job).cte("chosen")
    return chosen.prefix_with("MATERIALIZED", dialect="postgresql")


def updating(jobs: CTE) -> Update:
    return update(Job).where(Job.company_id == jobs.c.company_id, Job.id == jobs.c.id)


def held(claim: Claim) -> list[ColumnElement[bool]]:
    """The job, as long as it is the claim's: not put back, and not claimed by another."""
    return [
        Job.company_id == claim.company_id,
        Job.id == claim.job_id,
        Job.attempt == claim.attempt,
        Job.claimed_until.is_not(None),
    ]


async def is_held(session: AsyncSession, claim: Claim) -> bool:
    """Whether the job is still ours; until the transaction ends nobody else can claim it."""
    return await session.scalar(select(Job.id).where(*held(claim)).with_for_update()) is not None


async def changed(session: AsyncSession, statement: Update | Delete) -> bool:
    """Whether the statement found the job."""
    result = await session.execute(statement.returning(Job.id).execution_options(synchronize_session=False))
    return result.one_or_none() is not None


async def nothing(_session: AsyncSession) -> None:
    """The outcome of a job of which nothing is to be recorded."""
