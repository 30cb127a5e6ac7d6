"""How is a campaign by letter carried out? By an export that makes the letters, and is waited for.

While the campaign is paused the letters that were begun are still made, but nobody is SENT one, and it does not end.
"""

from __future__ import annotations

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.delivery import ending
from jobs.delivery.plan import Plan
from jobs.delivery.problems import LETTERS_FAILED, Unsendable
from store.database import Database
from store.delivery import moved
from store.jobs import enqueue
from store.models import (
    Campaign,
    CampaignStatus,
    DeliveryStatus,
    Export,
    ExportFormat,
    ExportKind,
    ExportStatus,
    JobKind,
)
from store.signals import Channel, signal

# The export's end has the campaign go on at once; this is for when that was missed.
LOOK_AGAIN = 30.0
# Of one that was paused or stopped a moment ago: whoever takes it up sees what is to be done with it now.
AT_ONCE = 0.0
NOT_MADE = "The letter could not be made."


async def write_letters(database: Database, plan: Plan) -> float | None:
    """Asks for the letters; the seconds until it is to be looked again, None when they are there.

    Raises `Unsendable` when they cannot be made.
    """
    async with database.writing(plan.company_id) as session:
        if not await goes_on(session, plan):
            return AT_ONCE
        status = await status_of_letters(session, plan)
        if status is None:
            await ask_for_letters(session, plan)
        # An archive whose life is over was made.
        if status in (ExportStatus.COMPLETED, ExportStatus.EXPIRED):
            await move(session, plan, DeliveryStatus.SENT)
            return None
        if status in (None, ExportStatus.PENDING, ExportStatus.RUNNING, ExportStatus.CANCELING):
            return LOOK_AGAIN
        await move(session, plan, DeliveryStatus.FAILED, NOT_MADE)
    raise Unsendable(LETTERS_FAILED)


async def goes_on(session: AsyncSession, plan: Plan) -> bool:
    """Whether the campaign is being sent and not paused; people change neither until the unit of work ends.

    Rows that refer to the campaign can be written meanwhile.
    """
    mine = Campaign.company_id == plan.company_id, Campaign.id == plan.campaign_id
    found = select(Campaign.id).where(*mine, Campaign.status == CampaignStatus.SENDING, Campaign.paused_at.is_(None))
    await session.execute(ending.LET_GO)
    return await session.scalar(found.with_for_update(key_share=True)) is not None


async def status_of_letters(session: AsyncSession, plan: Plan) -> ExportStatus | None:
    """Of the export that was asked for when the sending began; None before that."""
    newest = (
        select(Export.status)
        .where(
            Export.company_id == plan.company_id,
            Export.campaign_id == plan.campaign_id,
            Export.kind == ExportKind.LETTERS,
            Export.created_at >= plan.started_at,
            # What people ask for again decides nothing about the sending.
            Export.regenerated_from_id.is_(None),
        )
        .order_by(Export.created_at.desc(), Export.id.desc())
        .limit(1)
    )
    found = await session.scalar(newest)
    return None if found is None else ExportStatus(found)


async def ask_for_letters(session: AsyncSession, plan: Plan) -> None:
    row = {
        "company_id": plan.company_id,
        "kind": ExportKind.LETTERS,
        "format": ExportFormat.ZIP,
        "requested_by_id": plan.author_id,
        "campaign_id": plan.campaign_id,
        "created_at": func.clock_timestamp(),
    }
    id = (await session.execute(insert(Export).values(row).returning(Export.id))).scalar_one()
    await enqueue(session, plan.company_id, JobKind.EXPORT, id)
    await signal(session, Channel.EXPORTS, plan.company_id, id)


async def move(session: AsyncSession, plan: Plan, after: DeliveryStatus, reply: str | None = None) -> None:
    await moved(session, plan.company_id, plan.campaign_id, (DeliveryStatus.QUEUED,), after, reply=reply)
