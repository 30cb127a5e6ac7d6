"""What can be asked? The root of every query."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from resolvers import campaigns as campaign_edges
from resolvers import contacts as contact_edges
from resolvers import exports as export_edges
from resolvers import notifications as notification_edges
from resolvers import people as people_edges
from resolvers import settings as settings_edges
from resolvers import suppressions as suppression_edges
from resolvers import templates as template_edges
from resolvers import test_deliveries as delivery_edges
from resolvers.context import Viewer as SignedIn
from resolvers.edges import One
from resolvers.export_columns import find_export_columns
from schema import inputs
from schema.exports import ExportColumn
from schema.fields import ContextInfo, connection, named, to_one
from schema.nodes import Node, load_node, load_nodes
from schema.registry import annotate
from store.models import ExportKind, TokenScope

NodeId = Annotated[strawberry.ID, strawberry.argument(description="A global id, as an object's `id` has it.")]
NodeIds = Annotated[list[strawberry.ID], strawberry.argument(description="Global ids, of any types; at most 100.")]
Kind = Annotated[ExportKind, strawberry.argument(description="What the export is to hold.")]
CAMPAIGN_BY_ID = One("Query.campaign", campaign_edges.CAMPAIGN, key="id")
USER_BY_ID = One("Query.user", people_edges.USER, key="id")
TEMPLATE_BY_ID = One("Query.template", template_edges.TEMPLATE, key="id")
CONTACT_BY_ID = One("Query.contact", contact_edges.CONTACT, key="id")
TEST_DELIVERY_BY_ID = One("Query.testDelivery", delivery_edges.TEST_DELIVERY, key="id")
EXPORT_BY_ID = One("Query.export", export_edges.EXPORT, key="id")


def scopes_in_order(root: strawberry.Parent[SignedIn]) -> list[TokenScope]:
    return [scope for scope in TokenScope if scope in root.token_scopes]


@strawberry.type(description="Who is asking: the user behind the token.")
@annotate
class Viewer:
    token_scopes: list[TokenScope] = strawberry.field(
        resolver=scopes_in_order, description="What the token lets its holder do."
    )

    user = to_one(people_edges.VIEWER_USER, "The user.")
    company = to_one(people_edges.VIEWER_COMPANY, "The user's company.")


# Resolvers answer rows (or the viewer of the context), which the fields of the types read: hence Any.
def signed_in(info: ContextInfo) -> Any:
    return info.context.viewer


async def find_node(info: ContextInfo, id: NodeId) -> Any:
    return await load_node(info, id)


async def find_nodes(info: ContextInfo, ids: NodeIds) -> Any:
    return await load_nodes(info, ids)


async def export_columns(info: ContextInfo, kind: Kind) -> Any:
    return await find_export_columns(info.context, kind)


@strawberry.type(description="Everything that can be read. What you may not see is as if it were not there.")
@annotate
class Query:
    viewer: Viewer = strawberry.field(resolver=signed_in, description="Who is asking.")
    node: Node | None = strawberry.field(
        resolver=find_node, description="The object with this global id; NOT_FOUND where there is none."
    )
    nodes: list[Node | None] = strawberry.field(
        resolver=find_nodes,
        description="The objects with these global ids, in their order; null and NOT_FOUND for each that is none.",
    )

    campaign = named(CAMPAIGN_BY_ID, "One campaign.")
    campaigns = connection(
        campaign_edges.CAMPAIGNS,
        "The campaigns that you may see, the newest first.",
        inputs.CampaignOrder,
        inputs.CampaignFilter,
    )
    user = named(USER_BY_ID, "One user.")
    users = connection(people_edges.USERS, "The users of the company.", inputs.UserOrder, inputs.UserFilter)
    teams = connection(people_edges.TEAMS, "The teams of the company.", inputs.NameOrder)
    groups = connection(people_edges.GROUPS, "The groups of the company.", inputs.NameOrder)
    template = named(TEMPLATE_BY_ID, "One template.")
    templates = connection(
        template_edges.TEMPLATES,
        "The templates that you may see.",
        inputs.TemplateOrder,
        inputs.TemplateFilter,
    )
    contact = named(CONTACT_BY_ID, "One contact.")
    contacts = connection(
        contact_edges.CONTACTS,
        "The contacts of the company, the newest first.",
        inputs.ContactOrder,
        inputs.ContactFilter,
    )
    contact_lists = connection(
        contact_edges.CONTACT_LISTS, "The contact lists of the company.", inputs.ContactListOrder
    )
    contact_fields = connection(
        contact_edges.CONTACT_FIELDS,
        "The definitions of the fields that contacts and accounts have.",
        inputs.ContactFieldOrder,
        inputs.ContactFieldFilter,
    )
    campaign_settings = to_one(settings_edges.COMPANY_SETTINGS, "How the company's campaigns are sent.", nullable=True)
    export = named(EXPORT_BY_ID, "One export.")
    exports = connection(
        export_edges.EXPORTS,
        "The exports of the company, the newest first.",
        inputs.ExportOrder,
        inputs.ExportFilter,
    )
    export_columns: list[ExportColumn] = strawberry.field(
        resolver=export_columns,
        description="The columns that an export of this kind may have, in the order that it has them unless you choose "
        "others.",
    )
    test_delivery = named(TEST_DELIVERY_BY_ID, "One test mail.")
    test_deliveries = connection(
        delivery_edges.TEST_DELIVERIES,
        "The test mails that you may see, the newest first: all for administrators, your own for others.",
        inputs.TestDeliveryOrder,
        inputs.TestDeliveryFilter,
    )
    notifications = connection(
        notification_edges.NOTIFICATIONS,
        "What you are told, the newest first; `totalCount` with the filter `unread` says how much of it is unread.",
        inputs.NotificationOrder,
        inputs.NotificationFilter,
    )
    suppressions = connection(
        suppression_edges.SUPPRESSIONS,
        "The addresses that nothing is mailed to any more, the latest first.",
        inputs.SuppressionOrder,
        inputs.SuppressionFilter,
    )
    relations_paths = connection(
        contact_edges.RELATIONS_PATHS, "The paths that tasks can be made on.", inputs.NameOrder
    )
