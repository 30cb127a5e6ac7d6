"""Which campaigns are due? By the database's clock, so that a schedule survives whatever happens to its workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.faults import report
from store.database import Database
from store.delivery import carry_out
from store.models import Campaign, CampaignStatus, Job, JobKind
from store.signals import Channel, signal
from store.sql_types import AnySelect

MOST_AT_A_TIME = 100

IS_DUE = (
    Campaign.status == CampaignStatus.PENDING,
    Campaign.approved,
    Campaign.send_at <= func.now(),
    Campaign.paused_at.is_(None),
)
DUE: AnySelect = (
    select(Campaign.company_id, Campaign.id).where(*IS_DUE).order_by(Campaign.send_at).limit(MOST_AT_A_TIME)
)
HAS_JOB = exists().where(
    Job.company_id == Campaign.company_id, Job.subject_id == Campaign.id, Job.kind == JobKind.CAMPAIGN
)
LEFT_ALONE: AnySelect = (
    select(Campaign.company_id, Campaign.id)
    .where(Campaign.status == CampaignStatus.SENDING, ~HAS_JOB)
    .limit(MOST_AT_A_TIME)
)


async def start_due(database: Database) -> None:
    """Has every campaign be carried out whose time has come; one that is due twice over is begun once."""
    await of_each(database, DUE, start)


async def take_up_campaigns(database: Database) -> None:
    """Gives campaigns that are being sent and have no job one, whatever it was that took it from them."""
    await of_each(database, LEFT_ALONE, carry_out)


async def start(session: AsyncSession, company_id: int, campaign_id: UUID) -> None:
    begun = (
        update(Campaign)
        .where(Campaign.company_id == company_id, Campaign.id == campaign_id, *IS_DUE)
        .values(status=CampaignStatus.SENDING, version=Campaign.version + 1, updated_at=func.now())
        .returning(Campaign.id)
    )
    if await session.scalar(begun) is not None:
        await carry_out(session, company_id, campaign_id)
        await signal(session, Channel.CAMPAIGNS, company_id, campaign_id)


async def of_each(
    database: Database, statement: AnySelect, do: Callable[[AsyncSession, int, UUID], Awaitable[None]]
) -> None:
    """Does it for every campaign that the statement finds; one that fails holds up no other."""
    async with database.working() as session:
        found = (await session.execute(statement)).all()
    for row in found:
        try:
            async with database.writing(row.company_id) as session:
                await do(session, row.company_id, row.id)
        except Exception as error:  # noqa: BLE001 - reported; it is tried again the next time
            report(error, "beginning a campaign")
