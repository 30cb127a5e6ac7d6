"""How is something left for the workers to do, in the same transaction as the rows it is about?"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from store.models import Job, JobKind

CHANNEL = "jobs"


async def enqueue(session: AsyncSession, company_id: int, kind: JobKind, subject_id: UUID) -> None:
    """Leaves a job about a row of the company; workers hear of it when, and only if, the transaction commits."""
    await session.execute(insert(Job).values(company_id=company_id, kind=kind, subject_id=subject_id))
    await wake_workers(session)


async def hasten(session: AsyncSession, company_id: int, kind: JobKind, subject_id: UUID) -> None:
    """Has the job about a row be done at once, or leaves one; a job that a worker has is left as it is."""
    job = insert(Job).values(company_id=company_id, kind=kind, subject_id=subject_id)
    due = job.on_conflict_do_update(
        index_elements=[Job.company_id, Job.subject_id, Job.kind],
        set_={"due_at": func.now()},
        where=or_(Job.claimed_until.is_(None), Job.claimed_until <= func.now()),
    )
    await session.execute(due)
    await wake_workers(session)


async def wake_workers(session: AsyncSession) -> None:
    """Has the workers look for jobs when, and only if, the transaction commits."""
    # The channel is the same for all companies, so the signal says nothing but that there is something to do.
    await session.execute(select(func.pg_notify(CHANNEL, "")))


async def withdraw(session: AsyncSession, company_id: int, kind: JobKind, subject_id: UUID) -> bool:
    """Takes the job about a row back, unless a worker has it or is about to have it: it never waits for one.

    True: nobody has it, nor will have it any more.
    """
    free = select(Job.id).where(
        Job.company_id == company_id,
        Job.kind == kind,
        Job.subject_id == subject_id,
        or_(Job.claimed_until.is_(None), Job.claimed_until <= func.now()),
    )
    found = (await session.scalars(free.with_for_update(skip_locked=True))).all()
    await session.execute(delete(Job).where(Job.company_id == company_id, Job.id.in_(found)))
    return bool(found)
