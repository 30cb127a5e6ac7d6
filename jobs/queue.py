"""Which jobs are due, who has them, and when is one over?

A job is claimed for a time (the lease) by the database's clock. Its number of attempts tells claims apart: whoever
had it before changes nothing any more, however late they come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Delete, Update, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from store.database import Database
from store.models import Job, JobKind

Write = Callable[[AsyncSession], Awaitable[None]]
"""What is to be recorded of a job's outcome, in the transaction that ends the job."""


@dataclass(frozen=True)
class Claim:
    """One worker's hold on a job; `attempt` counts from 1."""

    company_id: int
    job_id: int
    kind: JobKind
    subject_id: UUID
    attempt: int


class Queue:
    """The jobs of some kinds, of all companies; any number of processes may claim from it."""

    def __init__(self, database: Database, kinds: Collection[JobKind], lease: float) -> None:
        """`lease`: seconds that a claim holds, unless it is renewed."""
        self._database = database
        self._kinds = list(kinds)
        self._lease = timedelta(seconds=lease)

    async def claim(self, most: int) -> list[Claim]:
        """Up to `most` jobs that are due and that nobody holds, those that have been due longest first."""
        # Materialised, or the planner might look for rows to lock once for each row that it joins.
        due = (
            select(Job.company_id, Job.id)
            .where(
                Job.kind.in_(self._kinds),
                Job.due_at <= func.now(),
                or_(Job.claimed_until.is_(None), Job.claimed_until <= func.now()),
            )
            .order_by(Job.due_at, Job.id)
            .limit(most)
            .with_for_update(skip_locked=True)
            .cte("due")
            .prefix_with("MATERIALIZED", dialect="postgresql")
        )
        statement = (
            update(Job)
            .where(Job.company_id == due.c.company_id, Job.id == due.c.id)
            .values(attempt=Job.attempt + 1, claimed_until=func.now() + self._lease)
            .returning(Job.company_id, Job.id, Job.kind, Job.subject_id, Job.attempt)
            .execution_options(synchronize_session=False)
        )
        async with self._database.working() as session:
            rows = (await session.execute(statement)).all()
        return [Claim(row.company_id, row.id, JobKind(row.kind), row.subject_id, row.attempt) for row in rows]

    async def renew(self, claim: Claim) -> bool:
        """Holds the job for another lease from now on; False if somebody else has claimed it, or it is over."""
        renewed = update(Job).where(*held(claim)).values(claimed_until=func.now() + self._lease)
        async with self._database.writing(claim.company_id) as session:
            return await changed(session, renewed)

    async def finish(self, claim: Claim, write: Write) -> bool:
        """Ends the job and records its outcome, both or neither; False (and neither) if the claim was lost."""
        async with self._database.writing(claim.company_id) as session:
            # Deleted first: the lock keeps others off the job until the outcome is recorded.
            if not await changed(session, delete(Job).where(*held(claim))):
                return False
            await write(session)
            return True

    async def put_back(self, claim: Claim, pause: float) -> None:
        """Lets the job be claimed again `pause` seconds from now; does nothing if the claim was lost."""
        due_at = func.now() + timedelta(seconds=pause)
        released = update(Job).where(*held(claim)).values(claimed_until=None, due_at=due_at)
        async with self._database.writing(claim.company_id) as session:
            await changed(session, released)


def held(claim: Claim) -> list[ColumnElement[bool]]:
    return [Job.company_id == claim.company_id, Job.id == claim.job_id, Job.attempt == claim.attempt]


async def is_held(session: AsyncSession, claim: Claim) -> bool:
    """Whether the job is still ours; until the transaction ends nobody else can claim it."""
    return await session.scalar(select(Job.id).where(*held(claim)).with_for_update()) is not None


async def changed(session: AsyncSession, statement: Update | Delete) -> bool:
    """Whether the statement found the job."""
    result = await session.execute(statement.returning(Job.id).execution_options(synchronize_session=False))
    return result.one_or_none() is not None


async def nothing(_session: AsyncSession) -> None:
    """The outcome of a job of which nothing is to be recorded."""
