"""How many SQL statements does each edge of the graph cost? One, however many rows ask."""

from __future__ import annotations

from inspect import iscoroutinefunction

import pytest
from graphql import GraphQLObjectType

from schema.build import build_schema
from schema.fields import ComputedPlan, EdgePlan, NamedPlan, PagePlan, PlannedField
from tests.client import Gateway
from tests.conftest import World

pytestmark = pytest.mark.anyio

# Where rows of each type are found, several at a time where the small world has several.
PLACES = {
    "Account": "{ contacts { nodes { account { %s } } } }",
    "Campaign": "{ campaigns { nodes { %s } } }",
    "CampaignMessage": "{ campaigns { nodes { messages { nodes { %s } } } } }",
    "CampaignTask": "{ campaigns { nodes { tasks { nodes { %s } } } } }",
    "CampaignSettings": "{ campaignSettings { %s } }",
    "ConsentSettings": "{ campaignSettings { consent { %s } } }",
    "Contact": "{ contacts { nodes { %s } } }",
    "ContactList": "{ contactLists { nodes { %s } } }",
    "DeliveryReport": "{ campaigns { nodes { deliveryReports { nodes { %s } } } } }",
    "Export": "{ exports { nodes { %s } } }",
    "File": "{ exports { nodes { file { %s } } } }",
    "Group": "{ groups { nodes { %s } } }",
    "Notification": "{ notifications { nodes { %s } } }",
    "Query": "{ %s }",
    "Recipient": "{ campaigns { nodes { recipients { nodes { %s } } } } }",
    "RelationsPath": "{ relationsPaths { nodes { %s } } }",
    "Suppression": "{ suppressions { nodes { %s } } }",
    "Task": "{ campaigns { nodes { task { %s } } } }",
    "TestDelivery": "{ testDeliveries { nodes { %s } } }",
    "Team": "{ teams { nodes { %s } } }",
    "Template": "{ templates { nodes { %s } } }",
    "User": "{ users { nodes { %s } } }",
    "Viewer": "{ viewer { %s } }",
}

# What following each edge adds, in statements. A new edge needs a line here.
STATEMENTS = {
    "Account.contacts": 1,
    "Account.customFields": 1,
    "Account.fixedFields": 1,
    # The fields of the company, its domain, the users of the tasks.
    "Campaign.actions": 3,
    # The fields of the company, the counts.
    "Campaign.audience": 2,
    "Campaign.delivery": 1,
    "Campaign.deliveryReports": 1,
    "Campaign.exports": 1,
    "Campaign.group": 1,
    "Campaign.letterArchive": 1,
    "Campaign.messages": 1,
    "Campaign.recipients": 1,
    "Campaign.statistics": 1,
    "Campaign.tasks": 1,
    "Campaign.team": 1,
    "Campaign.template": 1,
    "Campaign.testDeliveries": 1,
    "Campaign.user": 1,
    "CampaignMessage.campaign": 1,
    "CampaignMessage.contact": 1,
    "CampaignMessage.recipient": 1,
    "CampaignTask.campaign": 1,
    "CampaignTask.contact": 1,
    "CampaignTask.doneBy": 1,
    "CampaignTask.recipient": 1,
    "CampaignTask.user": 1,
    "ConsentSettings.template": 1,
    "Contact.account": 1,
    "Contact.customFields": 1,
    "Contact.fixedFields": 1,
    "Contact.lists": 1,
    "Contact.messages": 1,
    "Contact.recipients": 1,
    "Contact.team": 1,
    "Contact.user": 1,
    "ContactList.contacts": 1,
    "DeliveryReport.campaign": 1,
    "DeliveryReport.recipient": 1,
    "Export.campaign": 1,
    "Export.file": 1,
    "Export.regeneratedFrom": 1,
    "Export.regenerations": 1,
    "Export.requestedBy": 1,
    "File.export": 1,
    "Group.campaigns": 1,
    "Group.teams": 1,
    "Group.templates": 1,
    "Notification.campaign": 1,
    "Query.campaign": 1,
    "Query.campaignSettings": 1,
    "Query.campaigns": 1,
    "Query.contact": 1,
    "Query.contactFields": 1,
    "Query.contactLists": 1,
    "Query.contacts": 1,
    "Query.export": 1,
    "Query.exports": 1,
    "Query.groups": 1,
    "Query.notifications": 1,
    "Query.relationsPaths": 1,
    "Query.suppressions": 1,
    "Query.teams": 1,
    "Query.template": 1,
    "Query.templates": 1,
    "Query.testDeliveries": 1,
    "Query.testDelivery": 1,
    "Query.user": 1,
    "Query.users": 1,
    "Recipient.campaign": 1,
    "Recipient.contact": 1,
    "Recipient.deliveryReports": 1,
    "Recipient.message": 1,
    "RelationsPath.campaigns": 1,
    "Suppression.campaign": 1,
    "Task.distributeUsers": 1,
    "Task.relationsPath": 1,
    "Team.campaigns": 1,
    "Team.contacts": 1,
    "Team.group": 1,
    "Team.templates": 1,
    "Team.users": 1,
    "Template.campaigns": 1,
    "Template.company": 1,
    "Template.group": 1,
    "Template.team": 1,
    "Template.user": 1,
    "User.campaigns": 1,
    "User.contacts": 1,
    "User.exports": 1,
    "User.taskCampaigns": 1,
    "User.tasks": 1,
    "User.teams": 1,
    "TestDelivery.campaign": 1,
    "TestDelivery.user": 1,
    "User.templates": 1,
    "User.testDeliveries": 1,
    "Viewer.company": 1,
    "Viewer.user": 1,
}


def loads_rows(field: PlannedField) -> bool:
    """Whether the field leads to other rows, or is computed from them."""
    plan = field.plan
    return isinstance(plan, EdgePlan) or (isinstance(plan, ComputedPlan) and iscoroutinefunction(plan.compute))


def edges_of_schema() -> dict[str, PlannedField]:
    """Every edge of the built schema, as `Type.field`."""
    found = {}
    for type_ in build_schema()._schema.type_map.values():
        if not isinstance(type_, GraphQLObjectType) or type_.name.endswith("Payload"):
            continue
        for name, field in type_.fields.items():
            definition = field.extensions.get("strawberry-definition")
            if isinstance(definition, PlannedField) and loads_rows(definition):
                found[f"{type_.name}.{name}"] = definition
    return found


def following(name: str, field: PlannedField, world: World) -> str:
    """The selection that follows an edge and reads what it can read."""
    if isinstance(field.plan, NamedPlan):
        rows = {"campaign": "sent", "testDelivery": "test_delivery"}
        key = world.acme.admin if name == "user" else world.acme.rows[rows.get(name, name)]
        return f'{name}(id: "{key}") {{ id }}'
    if isinstance(field.plan, PagePlan):
        return f"{name} {{ totalCount nodes {{ id }} edges {{ cursor }} pageInfo {{ hasNextPage }} }}"
    below = {
        "actions": "reasons { code }",
        "audience": "count exclusions { reason count }",
        "delivery": "recipients stalled outcome perSecond endsAt secondsRemaining excluded { count } problem { code }",
        "letterArchive": "url",
        "statistics": "total queued percent",
    }
    return f"{name} {{ {below.get(name, 'name' if isinstance(field.plan, ComputedPlan) else 'id')} }}"


async def test_every_edge_is_one_statement(gateway: Gateway, world: World) -> None:
    """Following any edge of the schema adds the statements of the table, and no edge is missing there."""
    token = world.acme.tokens["admin"]
    counted = {}
    for edge, field in edges_of_schema().items():
        type_name, name = edge.split(".")
        async with gateway.counting() as before:
            (await gateway.ask(PLACES[type_name] % "__typename", token)).data  # noqa: B018 - it must have no errors
        async with gateway.counting() as after:
            (await gateway.ask(PLACES[type_name] % following(name, field, world), token)).data  # noqa: B018 - the same
        counted[edge] = len(after) - len(before)
    assert counted == STATEMENTS


async def test_the_page_of_a_dashboard(gateway: Gateway, world: World) -> None:
    """A list with four edges, one of them nested, takes one statement for each edge and one for the list."""
    async with gateway.counting() as statements:
        answer = await gateway.ask(
            """
            { campaigns(first: 50) { nodes { name user { lastName } template { title } team { name }
                recipients(first: 20) { totalCount nodes { status contact { lastName } } } } } }
            """,
            world.acme.tokens["admin"],
        )
    assert len(answer.data["campaigns"]["nodes"]) == 5
    assert len(statements) == 6


async def test_only_selected_columns_are_read(gateway: Gateway, world: World) -> None:
    """A list of campaigns reads neither the content nor the filter unless they are selected."""
    token = world.acme.tokens["admin"]
    async with gateway.counting() as lean:
        await gateway.ask("{ campaigns { nodes { name ...Status } } } fragment Status on Campaign { status }", token)
    async with gateway.counting() as full:
        await gateway.ask("{ campaigns { edges { node { filter message { content } } } } }", token)
    assert "message_content" not in lean[0]
    assert "campaigns.filter" not in lean[0]
    assert "campaigns.status AS status" in lean[0]
    assert "message_content" in full[0]
    assert "campaigns.filter" in full[0]
    assert "campaigns.name" not in full[0]


async def test_skipped_fields_are_not_read(gateway: Gateway, world: World) -> None:
    """@skip and @include decide, by the variables, which columns are read and whether rows are counted."""
    query = """
        query ($yes: Boolean!, $no: Boolean!) {
          campaigns { totalCount @include(if: $no) nodes { name description @skip(if: $yes) filter @include(if: $no) } }
        }
    """
    async with gateway.counting() as statements:
        await gateway.ask(query, world.acme.tokens["admin"], {"yes": True, "no": False})
    assert "count(*)" not in statements[0]
    assert "campaigns.description" not in statements[0]
    assert "campaigns.filter" not in statements[0]


async def test_aliases_of_one_edge_with_other_arguments(gateway: Gateway, world: World) -> None:
    """The same edge asked for in two ways is two statements, each with its own answer."""
    async with gateway.counting() as statements:
        answer = await gateway.ask(
            """
            { teams { nodes { name one: campaigns(first: 1) { nodes { name } }
                all: campaigns(orderBy: {field: NAME}) { totalCount nodes { name } } } } }
            """,
            world.acme.tokens["admin"],
        )
    sales = next(team for team in answer.data["teams"]["nodes"] if team["name"] == "Sales")
    assert sales["one"]["nodes"] == [{"name": "Sent"}]
    assert sales["all"] == {"totalCount": 2, "nodes": [{"name": "Sent"}, {"name": "Team"}]}
    assert len(statements) == 3


async def test_nothing_is_asked_for_absent_references(gateway: Gateway, world: World) -> None:
    """An edge whose key is null for every row costs no statement."""
    query = '{ campaigns(filter: {search: "Global"}) { nodes { team { name } template { title } } } }'
    async with gateway.counting() as statements:
        answer = await gateway.ask(query, world.acme.tokens["admin"])
    assert answer.data["campaigns"]["nodes"] == [{"team": None, "template": None}]
    assert len(statements) == 1


async def test_operations_share_nothing(gateway: Gateway, world: World) -> None:
    """Two operations read the same row anew: what one saw is not kept for another."""
    query = "{ campaigns(first: 1) { nodes { user { lastName } } } }"
    async with gateway.counting() as statements:
        await gateway.ask(query, world.acme.tokens["admin"])
        await gateway.ask(query, world.acme.tokens["member"])
    assert len(statements) == 4
