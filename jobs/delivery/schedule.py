"""Which campaigns are due? By the database's clock, so that a schedule survives whatever happens to its workers."""

from __future__ import annotations

from sqlalchemy import exists, func, select, update

from store.database import Database
from store.delivery import carry_out
from store.models import Campaign, CampaignStatus, Job, JobKind
from store.signals import Channel, signal
from store.sql_types import AnyRow, AnySelect

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
    for row in await found(database, DUE):
        begun = (
            update(Campaign)
            .where(Campaign.company_id == row.company_id, Campaign.id == row.id, *IS_DUE)
            .values(status=CampaignStatus.SENDING, version=Campaign.version + 1, updated_at=func.now())
            .returning(Campaign.id)
        )
        async with database.writing(row.company_id) as session:
            if await session.scalar(begun) is not None:
                await carry_out(session, row.company_id, row.id)
                await signal(session, Channel.CAMPAIGNS, row.company_id, row.id)


async def take_up_campaigns(database: Database) -> None:
    """Gives campaigns that are being sent and have no job one, whatever it was that took it from them."""
    for row in await found(database, LEFT_ALONE):
        async with database.writing(row.company_id) as session:
            await carry_out(session, row.company_id, row.id)


async def found(database: Database, statement: AnySelect) -> list[AnyRow]:
    async with database.working() as session:
        return list((await session.execute(statement)).all())
