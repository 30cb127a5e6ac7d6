"""How are templates read?"""

from __future__ import annotations

from sqlalchemy import ARRAY, Boolean, Text, any_

from resolvers.edges import Filter, One, Paged
from resolvers.pages import Sort, SortKind
from resolvers.people import COMPANY, GROUP, TEAM, USER
from resolvers.search import containing, like_pattern
from resolvers.sources import Source
from store import access
from store.models import Template

TEMPLATE = Source("Template", Template, access.templates)

SORTS = {
    "TITLE": Sort(Template.sort_title, SortKind.TEXT),
    "CREATED_AT": Sort(Template.created_at, SortKind.TIME),
    "UPDATED_AT": Sort(Template.updated_at, SortKind.TIME),
}
FILTERS = {
    "type_in": Filter(ARRAY(Text()), lambda wanted: Template.type == any_(wanted)),
    "campaign": Filter(Boolean(), lambda wanted: Template.campaign == wanted),
    "search": Filter(Text(), lambda words: containing(Template.sort_title, words), like_pattern),
}


def templates_of(name: str, *, key: str, child_key: str) -> Paged:
    """The templates of a parent, by title."""
    return Paged(name, TEMPLATE, key=key, child_key=child_key, sorts=SORTS, order="TITLE", filters=FILTERS)


TEMPLATES = templates_of("Query.templates", key="company_id", child_key="company_id")
USER_TEMPLATES = templates_of("User.templates", key="id", child_key="user_id")
TEAM_TEMPLATES = templates_of("Team.templates", key="id", child_key="team_id")
GROUP_TEMPLATES = templates_of("Group.templates", key="id", child_key="group_id")

TEMPLATE_COMPANY = One("Template.company", COMPANY, key="company_id")
TEMPLATE_USER = One("Template.user", USER, key="user_id")
TEMPLATE_TEAM = One("Template.team", TEAM, key="team_id")
TEMPLATE_GROUP = One("Template.group", GROUP, key="group_id")
