"""How does a test mail go out: at most once, with its end recorded?

A handover that certainly failed is tried again. That one has begun is written down before, and taken back when it
has certainly failed: whoever finds it begun finds a worker gone in between. Whether the mail went out is then not
known, and it is not sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Null, case, func, literal, null, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.faults import through_outages
from jobs.queue import Claim, Write, is_held, nothing
from jobs.replies import readable
from jobs.transport import Answer, Mail, Outcome, Transport
from store.database import Database
from store.models import TestDelivery, TestDeliveryStatus
from store.sql_types import AnyRow

GIVEN_UP = Answer(Outcome.REFUSED, "Given up after a fault of the gateway; nothing was handed over.")
STOPPED = Answer(Outcome.UNCERTAIN, "The worker stopped while the mail was being handed over: it may have gone out.")


class MailTester:
    """Does the jobs of the kind TEST_MAIL: hands over the mail of the test delivery that the job names."""

    def __init__(self, database: Database, transport: Transport, *, pauses: Sequence[float] = (1, 5, 20)) -> None:
        """`pauses`: seconds before each further try of a handover that certainly failed and may succeed later."""
        self._database = database
        self._transport = transport
        self._pauses = pauses

    async def __call__(self, claim: Claim) -> Write:
        row = await through_outages(lambda: self._waiting(claim))
        if row is None:
            return nothing
        if row.handing_over_at is not None:
            return recording(claim, STOPPED)
        answer = await self._hand_over(claim, Mail(row.sender, row.email, row.message))
        return nothing if answer is None else recording(claim, answer)

    def given_up(self, claim: Claim, error: BaseException) -> Write:
        """The delivery failed by faults of ours; whether anything was handed over is what its row says."""
        begun = TestDelivery.handing_over_at.is_not(None)
        return ending(claim, TestDeliveryStatus.FAILED, case((begun, STOPPED.reply), else_=GIVEN_UP.reply))

    async def over(self, claim: Claim) -> None:
        """There is nothing to remove."""

    async def _waiting(self, claim: Claim) -> AnyRow | None:
        """None: the delivery is over, or gone with its user."""
        columns = (TestDelivery.sender, TestDelivery.email, TestDelivery.message, TestDelivery.handing_over_at)
        async with self._database.writing(claim.company_id) as session:
            return (await session.execute(select(*columns).where(*queued(claim)))).one_or_none()

    async def _hand_over(self, claim: Claim, mail: Mail) -> Answer | None:
        """None: the claim was lost before anything was handed over."""
        answer = await self._try(claim, mail)
        for pause in self._pauses:
            if answer is None or answer.outcome is not Outcome.NOT_NOW:
                break
            await asyncio.sleep(pause)
            answer = await self._try(claim, mail)
        return answer

    async def _try(self, claim: Claim, mail: Mail) -> Answer | None:
        if not await through_outages(lambda: self._mark(claim, func.now())):
            return None
        answer = await self._transport.hand_over(mail)
        if answer.outcome is Outcome.NOT_NOW:
            await through_outages(lambda: self._mark(claim, null()))
        return answer

    async def _mark(self, claim: Claim, moment: ColumnElement[datetime] | Null) -> bool:
        """False, and nothing is written, if another worker has the job by now."""
        marking = update(TestDelivery).where(*queued(claim)).values(handing_over_at=moment)
        async with self._database.writing(claim.company_id) as session:
            if not await is_held(session, claim):
                return False
            await session.execute(marking.execution_options(synchronize_session=False))
        return True


def queued(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        TestDelivery.company_id == claim.company_id,
        TestDelivery.id == claim.subject_id,
        TestDelivery.status == TestDeliveryStatus.QUEUED,
    )


def recording(claim: Claim, answer: Answer) -> Write:
    status = TestDeliveryStatus.SENT if answer.outcome is Outcome.TAKEN else TestDeliveryStatus.FAILED
    return ending(claim, status, literal(readable(answer.reply)))


def ending(claim: Claim, status: TestDeliveryStatus, reply: ColumnElement[str]) -> Write:
    statement = (
        update(TestDelivery)
        .where(*queued(claim))
        .values(status=status, reply=reply, finished_at=func.now())
        .execution_options(synchronize_session=False)
    )

    async def write(session: AsyncSession) -> None:
        await session.execute(statement)

    return write
