"""When is a campaign over, and what has become of it?"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.delivery.plan import Plan
from jobs.delivery.problems import NOBODY_REACHED, Problem
from store.delivery import carry_out
from store.models import (
    Campaign,
    CampaignDelivery,
    CampaignStatus,
    CampaignType,
    DeliveryStatus,
    NotificationKind,
    Recipient,
)
from store.models.campaigns import HANDED_OVER, UNDER_WAY
from store.notifications import notify
from store.signals import Channel, signal
from store.sql_types import AnyRow

# A worker that is stopped while it has a campaign locked would keep everybody else from it: the server then ends its
# transaction.
LET_GO = select(func.set_config("idle_in_transaction_session_timeout", "3000", True))


async def statuses(session: AsyncSession, company_id: int, campaign_id: UUID) -> dict[DeliveryStatus, AnyRow]:
    """How many `recipients` there are of each status, and how many of them were `sent` something."""
    counted = (
        select(
            Recipient.status,
            func.count().label("recipients"),
            func.count(Recipient.sent_at).label("sent"),
        )
        .where(Recipient.company_id == company_id, Recipient.campaign_id == campaign_id)
        .group_by(Recipient.status)
    )
    return {DeliveryStatus(row.status): row for row in await session.execute(counted)}


def written_to(found: Mapping[DeliveryStatus, AnyRow]) -> int:
    """To how many something went out for certain."""
    return sum(found[each].sent for each in found.keys() & set(HANDED_OVER))


async def end(session: AsyncSession, plan: Plan, problem: Problem | None = None, *, cut_off: bool = False) -> None:
    """Ends a campaign that is SENDING: COMPLETED, or FAILED if nobody was reached; a canceled one stays canceled.

    `cut_off`: others would have been reached but for the problem, so it has FAILED however many were.
    When somebody still waits, as what is unclear may have been asked to go again meanwhile, it is carried on instead.
    """
    locked = (
        select(Campaign.status)
        .where(Campaign.company_id == plan.company_id, Campaign.id == plan.campaign_id)
        .with_for_update()
    )
    status = await session.scalar(locked)
    found = await statuses(session, plan.company_id, plan.campaign_id)
    if status is None:
        return
    if found.keys() & set(UNDER_WAY):
        if status == CampaignStatus.SENDING:
            await carry_out(session, plan.company_id, plan.campaign_id)
        return
    sent = written_to(found)
    reached = sent > 0 or DeliveryStatus.UNKNOWN in found
    await write_end(session, plan, sent, reached=reached)
    if status == CampaignStatus.SENDING:
        await close(session, plan, None if reached and not cut_off else problem or NOBODY_REACHED)


async def write_end(session: AsyncSession, plan: Plan, sent: int, *, reached: bool) -> None:
    """`reached`: whether anything went out, or may have."""
    mine = Campaign.company_id == plan.company_id, Campaign.id == plan.campaign_id
    sent_at = func.coalesce(Campaign.sent_at, func.now()) if reached else Campaign.sent_at
    await session.execute(update(Campaign).where(*mine).values(total_sent=sent, sent_at=sent_at))
    await session.execute(
        update(CampaignDelivery)
        .where(CampaignDelivery.company_id == plan.company_id, CampaignDelivery.campaign_id == plan.campaign_id)
        .values(
            ended_at=func.coalesce(CampaignDelivery.ended_at, func.now()),
            per_second=None,
            problem_code=None,
            problem_message=None,
        )
    )
    await signal(session, Channel.CAMPAIGNS, plan.company_id, plan.campaign_id)


async def close(session: AsyncSession, plan: Plan, problem: Problem | None) -> None:
    """The last change of status, which the author is told of."""
    kind = NotificationKind.CAMPAIGN_COMPLETED
    if plan.type is CampaignType.LETTER:
        kind = NotificationKind.LETTERS_READY
    await finish(
        session,
        plan.company_id,
        plan.campaign_id,
        CampaignStatus.COMPLETED if problem is None else CampaignStatus.FAILED,
    )
    if problem is not None:
        kind = NotificationKind.CAMPAIGN_FAILED
        await write_problem(session, plan.company_id, plan.campaign_id, problem)
    await notify(session, plan.company_id, plan.author_id, kind, plan.campaign_id)


async def finish(session: AsyncSession, company_id: int, campaign_id: UUID, status: CampaignStatus) -> None:
    await session.execute(
        update(Campaign)
        .where(Campaign.company_id == company_id, Campaign.id == campaign_id)
        .values(status=status, paused_at=None, version=Campaign.version + 1, updated_at=func.now())
    )


async def write_problem(session: AsyncSession, company_id: int, campaign_id: UUID, problem: Problem | None) -> None:
    await session.execute(
        update(CampaignDelivery)
        .where(CampaignDelivery.company_id == company_id, CampaignDelivery.campaign_id == campaign_id)
        .values(
            problem_code=None if problem is None else problem.code,
            problem_message=None if problem is None else problem.message,
        )
    )


async def refuse(session: AsyncSession, company_id: int, campaign_id: UUID, author_id: int, problem: Problem) -> None:
    """Ends a campaign that could not even begin; what its delivery may say of an earlier try is replaced."""
    row = {"company_id": company_id, "campaign_id": campaign_id, "ended_at": func.now()}
    made = insert(CampaignDelivery).values(**row, problem_code=problem.code, problem_message=problem.message)
    await session.execute(
        made.on_conflict_do_update(
            index_elements=[CampaignDelivery.company_id, CampaignDelivery.campaign_id],
            set_={
                "ended_at": func.now(),
                "problem_code": made.excluded.problem_code,
                "problem_message": made.excluded.problem_message,
            },
        )
    )
    await finish(session, company_id, campaign_id, CampaignStatus.FAILED)
    await notify(session, company_id, author_id, NotificationKind.CAMPAIGN_FAILED, campaign_id)
    await signal(session, Channel.CAMPAIGNS, company_id, campaign_id)
