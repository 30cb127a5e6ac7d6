"""How are campaigns, and what hangs on them, read?"""

from __future__ import annotations

from sqlalchemy import ARRAY, ColumnElement, Integer, Text, any_, exists

from resolvers.contacts import RELATIONS_PATH
from resolvers.edges import Filter, Link, Many, One, Paged
from resolvers.pages import Direction, Sort, SortKind
from resolvers.people import GROUP, TEAM, USER
from resolvers.search import containing, like_pattern
from resolvers.sources import Source
from resolvers.templates import TEMPLATE
from store import access
from store.models import Campaign, CampaignStatus, CampaignTaskUser, DeliveryStatus, Recipient
from store.models.campaigns import BEGUN


def any_recipient(*statuses: DeliveryStatus) -> ColumnElement[bool]:
    """Whether the campaign has a recipient with one of these."""
    return exists().where(
        Recipient.company_id == Campaign.company_id,
        Recipient.campaign_id == Campaign.id,
        Recipient.status.in_(statuses),
    )


CAMPAIGN = Source(
    "Campaign",
    Campaign,
    access.campaigns,
    extra={
        "has_unknown": any_recipient(DeliveryStatus.UNKNOWN),
        # The campaign's own columns tell of it a second later.
        "has_begun": any_recipient(*BEGUN),
    },
)


def current_statuses(statuses: object) -> tuple[str, ...]:
    """The statuses as rows hold them: the old API's `sent` is COMPLETED."""
    assert isinstance(statuses, tuple)
    return tuple(CampaignStatus.COMPLETED if status == CampaignStatus.SENT else str(status) for status in statuses)


SORTS = {
    "CREATED_AT": Sort(Campaign.created_at, SortKind.TIME),
    "UPDATED_AT": Sort(Campaign.updated_at, SortKind.TIME),
    "NAME": Sort(Campaign.sort_name, SortKind.TEXT),
    "SEND_AT": Sort(Campaign.sort_send_at, SortKind.TIME),
    "SENT_AT": Sort(Campaign.sort_sent_at, SortKind.TIME),
}
FILTERS = {
    "status_in": Filter(ARRAY(Text()), lambda wanted: Campaign.status == any_(wanted), current_statuses),
    "type_in": Filter(ARRAY(Text()), lambda wanted: Campaign.type == any_(wanted)),
    "team_id_in": Filter(ARRAY(Integer()), lambda wanted: Campaign.team_id == any_(wanted), TEAM.keys),
    "search": Filter(Text(), lambda words: containing(Campaign.search_text, words), like_pattern),
    "type": Filter(Text(), lambda wanted: Campaign.type == wanted),
}


def campaigns_of(name: str, *, key: str, child_key: str, link: Link | None = None) -> Paged:
    """The campaigns of a parent, newest first."""
    return Paged(
        name,
        CAMPAIGN,
        key=key,
        child_key=child_key,
        sorts=SORTS,
        order="CREATED_AT",
        direction=Direction.DESC,
        filters=FILTERS,
        link=link,
    )


CAMPAIGNS = campaigns_of("Query.campaigns", key="company_id", child_key="company_id")
USER_CAMPAIGNS = campaigns_of("User.campaigns", key="id", child_key="user_id")
USER_TASK_CAMPAIGNS = campaigns_of(
    "User.taskCampaigns",
    key="id",
    child_key="id",
    link=Link(CampaignTaskUser, parent="user_id", child="campaign_id"),
)
TEAM_CAMPAIGNS = campaigns_of("Team.campaigns", key="id", child_key="team_id")
GROUP_CAMPAIGNS = campaigns_of("Group.campaigns", key="id", child_key="group_id")
TEMPLATE_CAMPAIGNS = campaigns_of("Template.campaigns", key="id", child_key="template_id")
RELATIONS_PATH_CAMPAIGNS = campaigns_of("RelationsPath.campaigns", key="id", child_key="task_relations_path_id")

CAMPAIGN_USER = One("Campaign.user", USER, key="user_id")
CAMPAIGN_TEAM = One("Campaign.team", TEAM, key="team_id")
CAMPAIGN_GROUP = One("Campaign.group", GROUP, key="group_id")
CAMPAIGN_TEMPLATE = One("Campaign.template", TEMPLATE, key="template_id")
TASK_RELATIONS_PATH = One("Task.relationsPath", RELATIONS_PATH, key="task_relations_path_id")
TASK_USERS = Many(
    "Task.distributeUsers",
    USER,
    key="id",
    child_key="id",
    order=[CampaignTaskUser.position, CampaignTaskUser.user_id],
    link=Link(CampaignTaskUser, parent="campaign_id", child="user_id"),
)
