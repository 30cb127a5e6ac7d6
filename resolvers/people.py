"""How are companies, users, teams and groups read?"""

from __future__ import annotations

from sqlalchemy import ARRAY, Text, any_

from resolvers.edges import Filter, Link, Many, One, Paged
from resolvers.pages import Sort, SortKind
from resolvers.search import containing, like_pattern
from resolvers.sources import Source
from store import access
from store.models import Company, Group, Team, TeamMember, User

COMPANY = Source("Company", Company, access.own_company)
USER = Source("User", User, access.whole_company(User))
TEAM = Source("Team", Team, access.whole_company(Team))
GROUP = Source("Group", Group, access.whole_company(Group))

USER_SORTS = {
    "NAME": Sort(User.sort_name, SortKind.TEXT),
    "CREATED_AT": Sort(User.created_at, SortKind.TIME),
}
USER_FILTERS = {
    "role_in": Filter(ARRAY(Text()), lambda roles: User.role == any_(roles)),
    "search": Filter(Text(), lambda words: containing(User.sort_name, words), like_pattern),
}
TEAM_SORTS = {"NAME": Sort(Team.sort_name, SortKind.TEXT)}
GROUP_SORTS = {"NAME": Sort(Group.sort_name, SortKind.TEXT)}

VIEWER_COMPANY = One("Viewer.company", COMPANY, key="company_id")
VIEWER_USER = One("Viewer.user", USER, key="user_id")
USERS = Paged(
    "Query.users",
    USER,
    key="company_id",
    child_key="company_id",
    sorts=USER_SORTS,
    order="NAME",
    filters=USER_FILTERS,
)
TEAMS = Paged("Query.teams", TEAM, key="company_id", child_key="company_id", sorts=TEAM_SORTS, order="NAME")
GROUPS = Paged("Query.groups", GROUP, key="company_id", child_key="company_id", sorts=GROUP_SORTS, order="NAME")

USER_TEAMS = Many(
    "User.teams",
    TEAM,
    key="id",
    child_key="id",
    order=[Team.sort_name, Team.id],
    link=Link(TeamMember, parent="user_id", child="team_id"),
)
TEAM_GROUP = One("Team.group", GROUP, key="group_id")
TEAM_USERS = Paged(
    "Team.users",
    USER,
    key="id",
    child_key="id",
    sorts=USER_SORTS,
    order="NAME",
    filters=USER_FILTERS,
    link=Link(TeamMember, parent="team_id", child="user_id"),
)
GROUP_TEAMS = Paged("Group.teams", TEAM, key="id", child_key="group_id", sorts=TEAM_SORTS, order="NAME")
