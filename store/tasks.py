"""How does a campaign by telephone become calls for users to make?"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ARRAY, Integer, and_, case, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from store.long_statements import rows_in_time
from store.models import (
    Campaign,
    CampaignTask,
    CampaignTaskUser,
    Contact,
    DeliveryStatus,
    DistributionStrategy,
    Recipient,
)
from store.sql_types import AnySelect

COLUMNS = ("company_id", "campaign_id", "recipient_id", "contact_id", "user_id", "start_at", "end_at")
ONE = literal_column("1", Integer())


async def make_tasks(session: AsyncSession, company_id: int, campaign_id: UUID) -> int:
    """Makes the tasks of the recipients that wait (QUEUED), by the campaign's strategy; how many it made.

    The given users take turns in their order, over the recipients by their ids; with RESPONSIBLE_USER only over those
    whose contact has no user. None is made for a recipient who has one, whose contact is gone, or for whom there is no
    user; all are made by one statement, which may take long.
    """
    made = (
        insert(CampaignTask)
        .from_select(COLUMNS, shared_out(company_id, campaign_id))
        .on_conflict_do_nothing(index_elements=[CampaignTask.company_id, CampaignTask.recipient_id])
        .returning(CampaignTask.id)
        .cte("made")
    )
    ((count,),) = await rows_in_time(session, select(func.count(literal_column("1"))).select_from(made))
    return int(str(count))


def shared_out(company_id: int, campaign_id: UUID) -> AnySelect:
    """The values of `COLUMNS`, a row for each recipient that there is a user for."""
    by_contact = Campaign.task_distribution_strategy == DistributionStrategy.RESPONSIBLE_USER
    own_user = case((by_contact, Contact.user_id))
    waiting = (
        select(
            Recipient.company_id,
            Recipient.campaign_id,
            Recipient.id,
            Recipient.contact_id,
            Campaign.task_start_at,
            Campaign.task_end_at,
            own_user.label("own_user_id"),
            (func.row_number().over(partition_by=own_user.is_(None), order_by=Recipient.id) - ONE).label("turn"),
        )
        .join(Campaign, and_(Campaign.company_id == Recipient.company_id, Campaign.id == Recipient.campaign_id))
        .join(Contact, and_(Contact.company_id == Recipient.company_id, Contact.id == Recipient.contact_id))
        .where(
            Recipient.company_id == company_id,
            Recipient.campaign_id == campaign_id,
            Recipient.status == DeliveryStatus.QUEUED,
            Campaign.task_distribution_strategy.is_not(None),
        )
        .subquery("waiting")
    )
    # A list, as a planner that has not heard yet how many wait would look through rows of users for each of them.
    in_order = CampaignTaskUser.position, CampaignTaskUser.user_id
    in_turn = func.array_agg(CampaignTaskUser.user_id, type_=ARRAY(Integer())).aggregate_order_by(*in_order)
    given = (
        select(in_turn.label("users"))
        .where(CampaignTaskUser.company_id == company_id, CampaignTaskUser.campaign_id == campaign_id)
        .subquery("given")
    )
    next_user = given.c.users[waiting.c.turn % func.cardinality(given.c.users) + ONE]
    user_id = func.coalesce(waiting.c.own_user_id, next_user)
    return (
        select(
            waiting.c.company_id,
            waiting.c.campaign_id,
            waiting.c.id,
            waiting.c.contact_id,
            user_id,
            waiting.c.task_start_at,
            waiting.c.task_end_at,
        )
        .join(given, true())
        .where(user_id.is_not(None))
    )
