"""How are the calls that campaigns by telephone make for users read?"""

from __future__ import annotations

from sqlalchemy import ARRAY, Boolean, Integer, and_, any_, func

from resolvers.campaigns import CAMPAIGN
from resolvers.contacts import CONTACT
from resolvers.edges import Filter, One, Paged
from resolvers.pages import Sort, SortKind
from resolvers.people import USER
from resolvers.recipients import RECIPIENT
from resolvers.sources import Source
from store import access
from store.models import CampaignTask

IS_DONE = CampaignTask.done_at.is_not(None)
IS_OVERDUE = and_(CampaignTask.done_at.is_(None), CampaignTask.end_at <= func.now())

CAMPAIGN_TASK = Source(
    "CampaignTask",
    CampaignTask,
    access.tasks,
    inherited=access.whole_company(CampaignTask),
    extra={"is_done": IS_DONE, "is_overdue": IS_OVERDUE},
)

SORTS = {
    "START_AT": Sort(CampaignTask.start_at, SortKind.TIME),
    "END_AT": Sort(CampaignTask.end_at, SortKind.TIME),
}
FILTERS = {
    "done": Filter(Boolean(), lambda wanted: wanted == IS_DONE),
    "overdue": Filter(Boolean(), lambda wanted: wanted == IS_OVERDUE),
    "user_id_in": Filter(ARRAY(Integer()), lambda wanted: CampaignTask.user_id == any_(wanted), USER.keys),
}


def tasks_of(name: str, *, child_key: str, parent_decides: bool = False) -> Paged:
    """The tasks of a parent, those first that may begin first."""
    return Paged(
        name,
        CAMPAIGN_TASK,
        key="id",
        child_key=child_key,
        sorts=SORTS,
        order="START_AT",
        filters=FILTERS,
        parent_decides=parent_decides,
    )


CAMPAIGN_TASKS = tasks_of("Campaign.tasks", child_key="campaign_id", parent_decides=True)
USER_TASKS = tasks_of("User.tasks", child_key="user_id")

TASK_RECIPIENT = One("CampaignTask.recipient", RECIPIENT, key="recipient_id")
TASK_CONTACT = One("CampaignTask.contact", CONTACT, key="contact_id")
TASK_CAMPAIGN = One("CampaignTask.campaign", CAMPAIGN, key="campaign_id")
TASK_USER = One("CampaignTask.user", USER, key="user_id")
TASK_DONE_BY = One("CampaignTask.doneBy", USER, key="done_by_id")
