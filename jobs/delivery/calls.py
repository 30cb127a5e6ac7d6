"""How is a campaign by telephone carried out? Its recipients become tasks of users, all at once."""

from __future__ import annotations

from sqlalchemy import exists

from jobs.delivery.plan import Plan
from store.database import Database
from store.delivery import moved
from store.models import CampaignTask, DeliveryStatus, Recipient
from store.tasks import make_tasks

NO_USER = "There is no user to make the call, or the contact was deleted."
HAS_TASK = exists().where(CampaignTask.company_id == Recipient.company_id, CampaignTask.recipient_id == Recipient.id)


async def share_out_calls(database: Database, plan: Plan) -> None:
    """Makes the tasks; who gets none could not be reached."""
    mine = plan.company_id, plan.campaign_id
    waiting = (DeliveryStatus.QUEUED,)
    async with database.writing(plan.company_id) as session:
        await make_tasks(session, *mine)
        await moved(session, *mine, waiting, DeliveryStatus.SENT, only=HAS_TASK)
        await moved(session, *mine, waiting, DeliveryStatus.FAILED, reply=NO_USER)
