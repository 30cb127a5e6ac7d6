"""How is a campaign carried out, from the moment it begins until everybody was written to, or nobody can be?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
from sqlalchemy import exists, func, null, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.delivery import ending
from jobs.delivery.calls import share_out_calls
from jobs.delivery.letters import write_letters
from jobs.delivery.mailing import Mailing, MailMeans
from jobs.delivery.plan import Plan, freeze, read_plan
from jobs.delivery.problems import DEADLINE_PASSED, INTERNAL_ERROR, Problem, Unsendable
from jobs.delivery.recipients import GOES_ON
from jobs.faults import through_outages
from jobs.queue import Claim, InOrder, Later, Write, nothing
from store.database import Database
from store.delivery import delivery_becomes, moved
from store.models import (
    Campaign,
    CampaignDelivery,
    CampaignStatus,
    CampaignType,
    DeliveryStatus,
    Recipient,
)
from store.models.campaigns import WAITING
from store.sql_types import AnyRow

# Seconds after which a campaign that is paused, or waits for something, is looked at again; a resumed one at once.
PAUSED = 10.0
LONGEST_WAIT = 60.0
SOON = 1.0
STOPPED = "The worker stopped while the message was being handed over: it may have gone out."
GIVEN_UP = "Given up after a fault of the gateway; nothing was handed over."
TOO_LATE = "Given up: the mail server could not be reached in time."

Step = Callable[[Plan, Claim], Awaitable[float | None]]
"""Does what can be done of a campaign now; the seconds until there is more to do, None when all is done.

Raises `Unsendable` when nothing can be done any more.
"""


class CampaignSender:
    """Does the jobs of the kind CAMPAIGN."""

    def __init__(self, database: Database, mail: MailMeans) -> None:
        self._database = database
        self._mail = mail
        self._steps: Mapping[CampaignType, Step] = {
            CampaignType.EMAIL: self._write_mails,
            CampaignType.LETTER: self._write_letters,
            CampaignType.TELEPHONE: self._share_out_calls,
        }

    async def __call__(self, claim: Claim) -> Write:
        try:
            plan = await through_outages(lambda: self._begin(claim))
        except asyncpg.ForeignKeyViolationError:
            # A contact was deleted while the audience was frozen.
            raise Later(SOON) from None
        if plan is None:
            return nothing
        problem = None
        try:
            wait = await self._steps[plan.type](plan, claim)
        except Unsendable as error:
            problem, wait = error.problem, None
        if wait:
            # Only now: whoever the server takes mails for is written to, however late it is.
            problem = await through_outages(lambda: self._too_late(plan, claim))
        if wait is not None and problem is None:
            raise Later(min(wait, LONGEST_WAIT))
        return InOrder(partial(locked, claim=claim), partial(ending.end, plan=plan, problem=problem))

    def given_up(self, claim: Claim, error: BaseException) -> Write:
        """What was not sent yet will not be."""

        async def write(session: AsyncSession) -> None:
            found = await locked(session, claim)
            if found is None or found.status != CampaignStatus.SENDING:
                return
            left = await move(session, claim, WAITING, DeliveryStatus.FAILED, GIVEN_UP)
            left += await move(session, claim, (DeliveryStatus.SENDING,), DeliveryStatus.UNKNOWN, STOPPED)
            if await delivery_of(session, claim) is None:
                await ending.refuse(session, claim.company_id, claim.subject_id, found.user_id, INTERNAL_ERROR)
            else:
                plan = await read_plan(session, claim.company_id, claim.subject_id)
                await ending.end(session, plan, INTERNAL_ERROR, cut_off=left > 0)

        return InOrder(partial(locked, claim=claim), write)

    async def over(self, claim: Claim) -> None:
        """Nothing is left behind."""

    async def _begin(self, claim: Claim) -> Plan | None:
        """What is to be sent, frozen now or before; None when nothing is. Raises `Later` while it is paused."""
        async with self._database.writing(claim.company_id) as session:
            found = await locked(session, claim)
            if found is None:
                return None
            if found.status != CampaignStatus.SENDING:
                await self._settle(session, claim, found)
                return None
            if found.paused_at is not None:
                raise Later(PAUSED)
            delivery = await delivery_of(session, claim)
            try:
                await resume(session, claim, found, delivery, self._mail.deadline)
            except Unsendable as error:
                await ending.refuse(session, claim.company_id, claim.subject_id, found.user_id, error.problem)
                return None
            return await read_plan(session, claim.company_id, claim.subject_id)

    async def _settle(self, session: AsyncSession, claim: Claim, campaign: AnyRow) -> None:
        """Of a campaign that was stopped: what was being handed over is written down, and how many it reached."""
        if campaign.status == CampaignStatus.CANCELED and await delivery_of(session, claim) is not None:
            await move(session, claim, (DeliveryStatus.SENDING,), DeliveryStatus.UNKNOWN, STOPPED)
            # Of these the server's answer came after the cancelling.
            await moved(session, claim.company_id, claim.subject_id, WAITING, DeliveryStatus.CANCELED)
            await ending.end(session, await read_plan(session, claim.company_id, claim.subject_id))

    async def _too_late(self, plan: Plan, claim: Claim) -> Problem | None:
        """Gives up on those who still wait when the time of an e-mail campaign is over."""
        if plan.deadline_at is None or self._mail.now() < plan.deadline_at:
            return None
        async with self._database.writing(plan.company_id) as session:
            mine = plan.company_id, plan.campaign_id
            await locked(session, claim)
            await moved(session, *mine, WAITING, DeliveryStatus.FAILED, reply=TOO_LATE, only=GOES_ON)
        return DEADLINE_PASSED

    async def _write_mails(self, plan: Plan, claim: Claim) -> float | None:
        return await Mailing(self._database, self._mail, plan, claim).run()

    async def _write_letters(self, plan: Plan, _claim: Claim) -> float | None:
        return await through_outages(lambda: write_letters(self._database, plan))

    async def _share_out_calls(self, plan: Plan, _claim: Claim) -> float | None:
        return await through_outages(lambda: share_out_calls(self._database, plan))


async def locked(session: AsyncSession, claim: Claim) -> AnyRow | None:
    """The campaign's row, which nobody else changes until the unit of work ends."""
    wanted = select(Campaign.__table__).where(Campaign.company_id == claim.company_id, Campaign.id == claim.subject_id)
    await session.execute(ending.LET_GO)
    return (await session.execute(wanted.with_for_update())).one_or_none()


async def delivery_of(session: AsyncSession, claim: Claim) -> AnyRow | None:
    wanted = select(CampaignDelivery.__table__).where(
        CampaignDelivery.company_id == claim.company_id, CampaignDelivery.campaign_id == claim.subject_id
    )
    return (await session.execute(wanted)).one_or_none()


async def resume(
    session: AsyncSession, claim: Claim, campaign: AnyRow, delivery: AnyRow | None, deadline: timedelta
) -> None:
    """Freezes the audience, or goes on where another worker was stopped, or with what is to go again."""
    gone_out = campaign.sent_at is not None or await has_gone_out(session, claim)
    if delivery is None or (delivery.ended_at is not None and not gone_out):
        await freeze(session, campaign, deadline)
        return
    await move(session, claim, (DeliveryStatus.SENDING,), DeliveryStatus.UNKNOWN, STOPPED)
    if campaign.type == CampaignType.EMAIL and (delivery.deadline_at is None or delivery.ended_at is not None):
        renewed = {"ended_at": null(), "deadline_at": func.now() + deadline}
        await session.execute(delivery_becomes(claim.company_id, claim.subject_id, **renewed))


async def has_gone_out(session: AsyncSession, claim: Claim) -> bool:
    """Whether somebody was written to, or may have been. A worker that was killed may not have told the campaign."""
    written_to = or_(
        Recipient.sent_at.is_not(None), Recipient.status.in_((DeliveryStatus.SENDING, DeliveryStatus.UNKNOWN))
    )
    found = exists().where(
        Recipient.company_id == claim.company_id, Recipient.campaign_id == claim.subject_id, written_to
    )
    return bool(await session.scalar(select(found)))


async def move(
    session: AsyncSession,
    claim: Claim,
    before: tuple[DeliveryStatus, ...],
    after: DeliveryStatus,
    reply: str,
) -> int:
    return await moved(session, claim.company_id, claim.subject_id, before, after, reply=reply)
