"""How is something left for the workers to do, in the same transaction as the rows it is about?"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from store.models import Job, JobKind

CHANNEL = "jobs"


async def enqueue(session: AsyncSession, company_id: int, kind: JobKind, subject_id: UUID) -> None:
    """Leaves a job about a row of the company; workers hear of it when, and only if, the transaction commits."""
    await session.execute(insert(Job).values(company_id=company_id, kind=kind, subject_id=subject_id))
    # The channel is the same for all companies, so the signal says nothing but that there is something to do.
    await session.execute(select(func.pg_notify(CHANNEL, "")))
