"""Who in a company sees which campaigns and templates, and what hangs on them, by whichever way they come to them?

The company and the table of who sees what are those of `tests.house`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from graphql import is_list_type, is_non_null_type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from schema.build import build_schema
from store.database import owner_transaction
from store.models import Campaign, CampaignScope, Company, Group, Role, Team, TeamMember, User
from tests.build import Builder
from tests.client import Gateway, running_gateway
from tests.conftest import database, on_server
from tests.graph import NO_LIMITS, Graph, never_id, never_key, object_of
from tests.house import (
    CAMPAIGNS,
    LIMITED,
    TEMPLATES,
    VIEWERS,
    Case,
    House,
    build_house,
    campaigns_seen_by,
    sees,
    template_of,
)

pytestmark = pytest.mark.anyio

GRAPH = Graph(build_schema()._schema)
HOUSE = "house_of_tests"
PAGE = "{ totalCount nodes { databaseId } edges { node { databaseId } } }"
# The lists of campaigns that hang on other rows, and on which of those rows a case's campaign hangs.
LISTS: dict[tuple[str, str], Callable[[Case], str | None]] = {
    ("User", "campaigns"): lambda case: case.author,
    ("User", "taskCampaigns"): lambda case: case.author,
    ("Team", "campaigns"): lambda case: case.team,
    ("Group", "campaigns"): lambda case: case.group,
    ("Template", "campaigns"): template_of,
    ("RelationsPath", "campaigns"): lambda _: "path",
}


@pytest.fixture(scope="session")
def house(server: str, template: str) -> House:
    """The cases, in the database `HOUSE`; nothing here writes to it."""

    async def make() -> House:
        await on_server(server, f"CREATE DATABASE {HOUSE} TEMPLATE {template}")
        return await build_house(database(server, HOUSE))

    return asyncio.run(make())


@pytest.fixture(scope="module")
async def gateway(server: str, house: House) -> AsyncIterator[Gateway]:
    """A gateway over the house."""
    async with running_gateway(database(server, HOUSE), **NO_LIMITS) as running:
        yield running


async def pages(gateway: Gateway, token: str, field: str, ids: Mapping[str, str]) -> dict[str, Any]:
    """The pages of a list (`Type.field`) of several rows, by the rows' names."""
    typename, _, name = field.partition(".")
    document = f"query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on {typename} {{ {name}(first: 100) {PAGE} }} }} }}"
    answer = await gateway.ask(document, token, {"ids": list(ids.values())})
    return {row: found[name] for row, found in zip(ids, answer.data["nodes"], strict=True)}


def shown(house: House, typename: str, page: Any) -> list[str]:
    """The cases on a page (sorted), after a look at whether its parts agree."""
    keys = [node["databaseId"] for node in page["nodes"]]
    assert [edge["node"]["databaseId"] for edge in page["edges"]] == keys
    assert page["totalCount"] == len(keys)
    return house.names(typename, keys)


def visible_ids(house: House, viewer: str, typename: str) -> dict[str, str]:
    return {name: id_ for name, id_ in house.ids(typename).items() if sees(viewer, typename, name)}


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_campaigns_in_every_list(gateway: Gateway, house: House, viewer: str) -> None:
    """The root's list and those of users, teams, groups, templates and paths hold what the viewer sees, no more."""
    assert {("Query", "campaigns"), *LISTS} == {
        place for place, found in GRAPH.connections().items() if GRAPH.target(found) is GRAPH.rows["Campaign"]
    }
    token = house.tokens[viewer]
    root = (await gateway.ask(f"{{ campaigns(first: 100) {PAGE} }}", token)).data["campaigns"]
    assert shown(house, "Campaign", root) == sorted(case.name for case in campaigns_seen_by(viewer))
    for (typename, field), parent in LISTS.items():
        found = await pages(gateway, token, f"{typename}.{field}", visible_ids(house, viewer, typename))
        assert {name: shown(house, "Campaign", page) for name, page in found.items()} == {
            name: sorted(case.name for case in campaigns_seen_by(viewer) if parent(case) == name) for name in found
        }


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_campaigns_in_searches(gateway: Gateway, house: House, viewer: str) -> None:
    """A search finds what the viewer sees; the subject of any other campaign is found nowhere and counts nothing."""
    document = f"query ($words: String) {{ campaigns(first: 100, filter: {{ search: $words }}) {PAGE} }}"
    for words, matching in [("subject", CAMPAIGNS), *((f"<{case.name}>", [case]) for case in CAMPAIGNS)]:
        answer = await gateway.ask(document, house.tokens[viewer], {"words": words})
        expected = sorted(case.name for case in matching if case in campaigns_seen_by(viewer))
        assert shown(house, "Campaign", answer.data["campaigns"]) == expected


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_rows_by_id(gateway: Gateway, house: House, viewer: str) -> None:
    """Root fields and `node` find campaigns, templates and what hangs on them if seen; else they are as if absent."""
    token = house.tokens[viewer]
    for typename in LIMITED:
        fields = [name for name, named in GRAPH.named().items() if named == typename]
        raw_ids = {row: str(key) for row, key in house.rows[typename].items()}
        asked = [(name, never_id(typename), house.ids(typename)) for name in ("node", *fields)]
        asked += [(name, str(never_key(typename)), raw_ids) for name in fields]
        for name, absent, ids in asked:
            document = f"query ($id: ID!) {{ {name}(id: $id) {{ id }} }}"
            not_found = await gateway.ask(document, token, {"id": absent})
            assert not_found.codes == ["NOT_FOUND"]
            for row, id_ in ids.items():
                if row.startswith("again"):
                    continue
                answer = await gateway.ask(document, token, {"id": id_})
                found = {"data": {name: {"id": house.ids(typename)[row]}}}
                assert answer.body == (found if sees(viewer, typename, row) else not_found.body)


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_recipients_of_a_contact(gateway: Gateway, house: House, viewer: str) -> None:
    """A contact's recipients are those of campaigns that the viewer sees, and as many are counted."""
    found = await pages(gateway, house.tokens[viewer], "Contact.recipients", house.ids("Contact"))
    assert shown(house, "Recipient", found["contact"]) == sorted(case.name for case in campaigns_seen_by(viewer))


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_exports_in_every_list(gateway: Gateway, house: House, viewer: str) -> None:
    """Exports of campaigns that the viewer does not see are in no list, of the root or of a user."""
    token = house.tokens[viewer]
    expected = {name: "new" if name == "first" else "member" for name in house.rows["Export"]}
    expected |= {case.name: case.author for case in CAMPAIGNS}
    seen = {name: user for name, user in expected.items() if sees(viewer, "Export", name)}
    root = (await gateway.ask(f"{{ exports(first: 100) {PAGE} }}", token)).data["exports"]
    assert shown(house, "Export", root) == sorted(seen)
    found = await pages(gateway, token, "User.exports", house.ids("User"))
    assert {user: shown(house, "Export", page) for user, page in found.items()} == {
        user: sorted(name for name, asked_by in seen.items() if asked_by == user) for user in found
    }


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_edges_to_what_is_not_seen_are_null(gateway: Gateway, house: House, viewer: str) -> None:
    """A template, an export that was repeated and a consent template that the viewer does not see are null."""
    token = house.tokens[viewer]
    campaigns = "{ campaigns(first: 100) { nodes { databaseId template { databaseId } } } }"
    for row in (await gateway.ask(campaigns, token)).data["campaigns"]["nodes"]:
        [case] = [case for case in CAMPAIGNS if str(house.key("Campaign", case.name)) == row["databaseId"]]
        name = template_of(case)
        expected = {"databaseId": house.key("Template", name)} if sees(viewer, "Template", name) else None
        assert row["template"] == expected
    again = [house.ids("Export")[f"again {case.name}"] for case in CAMPAIGNS]
    exports = "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Export { regeneratedFrom { id } } } }"
    rows = (await gateway.ask(exports, token, {"ids": again})).data["nodes"]
    for case, row in zip(CAMPAIGNS, rows, strict=True):
        seen = case in campaigns_seen_by(viewer)
        assert row["regeneratedFrom"] == ({"id": house.ids("Export")[case.name]} if seen else None)
    settings = (await gateway.ask("{ campaignSettings { consent { template { id } } } }", token)).data
    assert (settings["campaignSettings"]["consent"]["template"] is not None) == (viewer == "admin")


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_templates_in_every_list(gateway: Gateway, house: House, viewer: str) -> None:
    """The list of the root and those of users, teams and groups hold the templates that the viewer sees, no more."""
    token = house.tokens[viewer]
    seen = [case for case in TEMPLATES if sees(viewer, "Template", case.name)]
    root = (await gateway.ask(f"{{ templates(first: 100) {PAGE} }}", token)).data["templates"]
    assert shown(house, "Template", root) == sorted(case.name for case in seen)
    for typename in ("User", "Team", "Group"):
        found = await pages(gateway, token, f"{typename}.templates", house.ids(typename))
        assert {name: shown(house, "Template", page) for name, page in found.items()} == {
            name: sorted(case.name for case in seen if LISTS[typename, "campaigns"](case) == name) for name in found
        }


@pytest.mark.parametrize("viewer", VIEWERS)
async def test_no_edge_breaks_an_answer(gateway: Gateway, house: House, viewer: str) -> None:
    """All rows with all edges are read without an error but NOT_FOUND for the very rows that the viewer may not see."""
    variables = {typename: list(house.ids(typename).values()) for typename in house.rows}
    variables |= {typename: [] for typename in GRAPH.rows if typename not in variables}
    answer = await gateway.ask(GRAPH.rows_document(), house.tokens[viewer], variables)
    assert sorted(map(str, (error["path"] for error in answer.body.get("errors", [])))) == sorted(
        str([typename, place])
        for typename, names in house.rows.items()
        for place, name in enumerate(names)
        if not sees(viewer, typename, name)
    )
    assert set(answer.codes) <= {"NOT_FOUND"}


def test_edges_that_are_never_null() -> None:
    """Only from rows that are seen with their campaign do non-null edges lead to rows that not everyone sees."""
    found = {
        f"{typename}.{name}"
        for typename, type_ in GRAPH.types.items()
        for name, edge in type_.fields.items()
        if f"{typename}.{name}" in GRAPH.edges() and is_non_null_type(edge.type)
        if (target := object_of(edge)) is not None and target.name in LIMITED and not is_list_type(edge.type.of_type)
    }
    assert found == {
        "Recipient.campaign",
        "CampaignMessage.campaign",
        "CampaignMessage.recipient",
        "DeliveryReport.campaign",
        "DeliveryReport.recipient",
    }


@pytest.mark.parametrize("viewer", ["manager", "member", "new"])
async def test_regenerations_of_an_export(gateway: Gateway, house: House, viewer: str) -> None:
    """An export's repetitions are only those that the viewer sees."""
    found = await pages(gateway, house.tokens[viewer], "Export.regenerations", visible_ids(house, viewer, "Export"))
    assert shown(house, "Export", found["first"]) == sorted(case.name for case in campaigns_seen_by(viewer))


@dataclass(frozen=True)
class Drawn:
    """A campaign by chance: places in the lists of users, teams and groups."""

    scope: CampaignScope
    author: int
    team: int | None
    group: int | None


@dataclass(frozen=True)
class Occasion:
    """What the users of the office are, the places of their teams, and the campaigns there are."""

    roles: list[Role]
    teams: list[frozenset[int]]
    campaigns: list[Drawn]


@dataclass(frozen=True)
class Office:
    """A company without campaigns: the ids of its users (with their tokens), teams and groups."""

    id: int
    tokens: dict[int, str]
    teams: list[int]
    groups: list[int]


# The place of each team's group.
GROUPS_OF_TEAMS = (0, 0, 1, None)
USERS = 3
PLACES_OF_TEAMS = st.none() | st.integers(0, len(GROUPS_OF_TEAMS) - 1)
DRAWN = st.builds(
    Drawn, st.sampled_from(CampaignScope), st.integers(0, USERS - 1), PLACES_OF_TEAMS, st.none() | st.integers(0, 2)
).filter(
    lambda drawn: (
        (drawn.scope is not CampaignScope.TEAM or drawn.team is not None)
        and (drawn.scope is not CampaignScope.GROUP or drawn.group is not None)
    )
)
MEMBERS = st.lists(st.frozensets(st.integers(0, len(GROUPS_OF_TEAMS) - 1)), min_size=USERS, max_size=USERS)
ROLES = st.lists(st.sampled_from(Role), min_size=USERS, max_size=USERS)
OCCASIONS = st.builds(Occasion, ROLES, MEMBERS, st.lists(DRAWN, min_size=1, max_size=12))


def may_see(user: int, role: Role, teams: frozenset[int], drawn: Drawn) -> bool:
    """The rule in plain Python."""
    if role is Role.ADMIN or drawn.author == user or drawn.scope is CampaignScope.GLOBAL:
        return True
    if drawn.scope is CampaignScope.TEAM:
        return drawn.team in teams
    return drawn.scope is CampaignScope.GROUP and drawn.group in {GROUPS_OF_TEAMS[team] for team in teams}


async def open_office(url: str) -> Office:
    async with owner_transaction(url) as connection:
        build = Builder(connection)
        company = await build.add(Company)
        groups = [await build.add(Group, company_id=company) for _ in range(3)]
        of_teams = [None if place is None else groups[place] for place in GROUPS_OF_TEAMS]
        teams = [await build.add(Team, company_id=company, group_id=group) for group in of_teams]
        users = [await build.add(User, company_id=company) for _ in range(USERS)]
        return Office(company, {user: await build.token(company, user) for user in users}, teams, groups)


async def refill(url: str, office: Office, occasion: Occasion) -> None:
    """Makes the office what the occasion says; campaigns are named by their places."""
    users = list(office.tokens)
    async with owner_transaction(url) as connection:
        build = Builder(connection)
        await connection.execute(text("TRUNCATE campaigns, team_members CASCADE"))
        for user, role, teams in zip(users, occasion.roles, occasion.teams, strict=True):
            await connection.execute(text("UPDATE users SET role = :role WHERE id = :id"), {"role": role, "id": user})
            for team in teams:
                await build.add(TeamMember, company_id=office.id, team_id=office.teams[team], user_id=user)
        for place, campaign in enumerate(occasion.campaigns):
            await build.add(
                Campaign,
                company_id=office.id,
                name=str(place),
                scope=campaign.scope,
                user_id=users[campaign.author],
                team_id=None if campaign.team is None else office.teams[campaign.team],
                group_id=None if campaign.group is None else office.groups[campaign.group],
            )


@pytest.fixture
def office(empty_database: str) -> Office:
    return asyncio.run(open_office(empty_database))


@pytest.fixture
async def office_gateway(empty_database: str) -> AsyncIterator[Gateway]:
    async with running_gateway(empty_database) as running:
        yield running


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(occasion=OCCASIONS)
async def test_random_campaigns_and_viewers(
    empty_database: str, office: Office, office_gateway: Gateway, occasion: Occasion
) -> None:
    """Whatever the campaigns, roles and teams are, each user's list is what the rule in plain Python gives."""
    await refill(empty_database, office, occasion)
    for user, token in enumerate(office.tokens.values()):
        page = (await office_gateway.ask("{ campaigns(first: 100) { totalCount nodes { name } } }", token)).data
        expected = {
            str(place)
            for place, campaign in enumerate(occasion.campaigns)
            if may_see(user, occasion.roles[user], occasion.teams[user], campaign)
        }
        assert {row["name"] for row in page["campaigns"]["nodes"]} == expected
        assert page["campaigns"]["totalCount"] == len(expected)
