"""What is still to be done by the workers, for whichever company?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from store.models.base import Base, Owned, one_of


class JobKind(StrEnum):
    TEST_MAIL = "TEST_MAIL"
    EXPORT = "EXPORT"
    CAMPAIGN = "CAMPAIGN"
    NOTICE = "NOTICE"


class Job(Owned, Base):
    """A note that the row `subject_id` waits for a worker; it holds no data of people.

    `claimed_until`: a worker has it until then (by the database's clock); `attempt` counts who has had it, and
    `failures` how many of them could not do it: being stopped or killed is no failure. `unheard`: how many of the last
    were not heard of again.
    """

    __tablename__ = "jobs"
    __table_args__ = (one_of("kind", JobKind),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    kind: Mapped[JobKind] = mapped_column(Text)
    subject_id: Mapped[UUID]
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    claimed_until: Mapped[datetime | None]
    attempt: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[int] = mapped_column(server_default="0")
    unheard: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


# Workers look over all companies.
Index("jobs_due_idx", Job.due_at, Job.id)
# Attempts are counted by the job, so a row has one.
Index("jobs_subject_key", Job.company_id, Job.subject_id, Job.kind, unique=True)
