"""What does a client see of templates?"""

from __future__ import annotations

from datetime import datetime

import strawberry

from resolvers import campaigns as campaign_edges
from resolvers import templates as template_edges
from schema import inputs
from schema.fields import column, connection, grouped, to_one
from schema.nodes import Node, global_id
from schema.registry import object_type, row_type
from store.models import TemplateType


@row_type(template_edges.TEMPLATE, "The margins of a letter, in millimetres.")
class Margins:
    top: float | None = column("margin_top", "Above the text.")
    right: float | None = column("margin_right", "To the right of the text.")
    bottom: float | None = column("margin_bottom", "Below the text.")
    left: float | None = column("margin_left", "To the left of the text.")


@object_type(template_edges.TEMPLATE, "The frame that a campaign's content is set in.")
class Template(Node):
    id: strawberry.ID = global_id(template_edges.TEMPLATE)
    database_id: int = column("id", "The template's number, as the old API had it.")
    type: TemplateType = column("type", "What it is for.")
    title: str = column("title", "The template's title.")
    campaign: bool = column("campaign", "Whether it is made for campaigns.")
    content: str = column("content", "HTML that holds {{content}} and, for e-mail, {{subject}}.")
    margins: Margins | None = grouped("The margins of a letter; null for e-mail.", present="margin_top")
    created_at: datetime = column("created_at", "When the template was made.")
    updated_at: datetime = column("updated_at", "When the template was last changed.")

    company = to_one(template_edges.TEMPLATE_COMPANY, "The company it belongs to.")
    user = to_one(template_edges.TEMPLATE_USER, "Who wrote the template.")
    team = to_one(template_edges.TEMPLATE_TEAM, "The team it belongs to; null when it is not a team's.", nullable=True)
    group = to_one(
        template_edges.TEMPLATE_GROUP,
        "The group it belongs to; null when it is not a group's.",
        nullable=True,
    )
    campaigns = connection(
        campaign_edges.TEMPLATE_CAMPAIGNS,
        "The campaigns that use the template.",
        inputs.CampaignOrder,
        inputs.CampaignFilter,
    )
