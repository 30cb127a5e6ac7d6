"""How is a campaign by telephone carried out? Its recipients become tasks of users, all at once."""

from __future__ import annotations

from sqlalchemy import exists, select

from jobs.delivery.plan import Plan
from store.database import Database
from store.delivery import moved
from store.models import Campaign, CampaignStatus, CampaignTask, DeliveryStatus, Recipient
from store.tasks import make_tasks

# Seconds after which a campaign that was stopped in between is looked at again.
LOOK_AGAIN = 1.0
NO_USER = "There is no user to make the call, or the contact was deleted."
HAS_TASK = exists().where(CampaignTask.company_id == Recipient.company_id, CampaignTask.recipient_id == Recipient.id)


async def share_out_calls(database: Database, plan: Plan) -> float | None:
    """Makes the tasks; who gets none could not be reached. Seconds to wait when the campaign does not go on now."""
    mine = plan.company_id, plan.campaign_id
    waiting = (DeliveryStatus.QUEUED,)
    goes_on = (
        select(Campaign.id)
        .where(Campaign.company_id == plan.company_id, Campaign.id == plan.campaign_id)
        .where(Campaign.status == CampaignStatus.SENDING, Campaign.paused_at.is_(None))
        .with_for_update()
    )
    async with database.writing(plan.company_id) as session:
        if await session.scalar(goes_on) is None:
            return LOOK_AGAIN
        await make_tasks(session, *mine)
        await moved(session, *mine, waiting, DeliveryStatus.SENT, only=HAS_TASK)
        await moved(session, *mine, waiting, DeliveryStatus.FAILED, reply=NO_USER)
    return None
