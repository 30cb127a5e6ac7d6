"""What does a client see of campaigns?"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers import campaigns as campaign_edges
from resolvers import contacts as contact_edges
from resolvers import deliveries as sending_edges
from resolvers import exports as export_edges
from resolvers import recipients as recipient_edges
from resolvers import tasks as task_edges
from resolvers import test_deliveries as delivery_edges
from resolvers.actions import ACTION_COLUMNS, campaign_actions
from resolvers.audiences import campaign_audience
from schema import inputs
from schema.actions import CampaignActionState
from schema.audiences import Audience
from schema.exports import DownloadUrl
from schema.fields import column, computed, connection, grouped, to_many, to_one
from schema.nodes import Node, global_id
from schema.registry import object_type, row_type
from schema.scalars import EmailAddress
from store.models import CampaignScope, CampaignStatus, CampaignType, DistributionStrategy


@row_type(campaign_edges.CAMPAIGN, "What a campaign says.")
class CampaignContent:
    subject: str | None = column("message_subject", "The subject line.")
    content: str | None = column("message_content", "The text (HTML), before it is set into the template.")
    sender: EmailAddress | None = column("message_sender", "The address it is sent from.")


@row_type(campaign_edges.CAMPAIGN, "The work that a campaign makes for users.")
class Task:
    distribution_strategy: DistributionStrategy = column("task_distribution_strategy", "How the tasks are shared out.")
    start_at: datetime = column("task_start_at", "From when the tasks are to be done.")
    end_at: datetime = column("task_end_at", "By when the tasks are to be done.")

    relations_path = to_one(campaign_edges.TASK_RELATIONS_PATH, "The path of the cases that the tasks are made on.")
    distribute_users = to_many(campaign_edges.TASK_USERS, "The users that the tasks go to, in the given order.")


@object_type(campaign_edges.CAMPAIGN, "One mailing, or round of calls, to all contacts that its filter selects.")
class Campaign(Node):
    id: strawberry.ID = global_id(campaign_edges.CAMPAIGN)
    database_id: UUID = column("id", "The campaign's id as the old API had it.")
    name: str = column("name", "The campaign's name.")
    description: str = column("description", "What the campaign is about.")
    type: CampaignType = column("type", "How it reaches people.")
    status: CampaignStatus = column("status", "Where it is in its life.")
    scope: CampaignScope = column("scope", "Who sees it.")
    approved: bool = column("approved", "Whether it may be sent.")
    message: CampaignContent = grouped("What the campaign says.")
    filter: JSON | None = column(
        "filter",
        "Which contacts it goes to: a list of {field, operator, value}, or nested {and: […]}, {or: […]}.",
    )
    send_at: datetime | None = column("send_at", "When it is to be sent.")
    sent_at: datetime | None = column("sent_at", "When it was sent.")
    total_sent: int | None = column("total_sent", "How many recipients it was sent to.")
    task: Task | None = grouped("The work it makes for users.", present="task_distribution_strategy")
    version: int = column("version", "Counts the changes; give it as `expectedVersion` to change what you saw.")
    paused_at: datetime | None = column("paused_at", "Since when it waits to be resumed; null when it does not.")
    audience: Audience | None = computed(
        ("type", "filter"),
        campaign_audience,
        "Whom it would reach now; null without a filter, or with one whose fields are no longer there.",
    )
    template_deleted: bool = column(
        "template_deleted",
        "Whether its template was deleted: it cannot be sent before an update gives it another, or none.",
    )
    letter_archive: DownloadUrl | None = computed(
        ("id",),
        sending_edges.letter_archive,
        "A link to its newest letters as a ZIP archive, good for some minutes and made anew each time that it is asked "
        "for; null unless they can be had now. Takes the scope `export`.",
    )
    actions: list[CampaignActionState] = computed(
        ACTION_COLUMNS,
        campaign_actions,
        "What you may do with it now, and if not, why. How many it would reach is for `audience` to say.",
    )
    created_at: datetime = column("created_at", "When the campaign was made.")
    updated_at: datetime = column("updated_at", "When the campaign was last changed.")

    user = to_one(campaign_edges.CAMPAIGN_USER, "Who wrote the campaign.")
    team = to_one(campaign_edges.CAMPAIGN_TEAM, "The team it belongs to.", nullable=True)
    group = to_one(campaign_edges.CAMPAIGN_GROUP, "The group it belongs to.", nullable=True)
    template = to_one(
        campaign_edges.CAMPAIGN_TEMPLATE,
        "The template it is set in; null when there is none, or none that you may see.",
        nullable=True,
    )
    delivery = to_one(
        sending_edges.CAMPAIGN_DELIVERY,
        "How its sending goes, or went; null before it was settled whom it goes to.",
        nullable=True,
    )
    statistics = to_one(sending_edges.CAMPAIGN_STATISTICS, "How many recipients it has, now, and how far each is.")
    recipients = connection(
        recipient_edges.CAMPAIGN_RECIPIENTS,
        "Whom it goes to, once it is being sent.",
        inputs.RecipientOrder,
        inputs.DeliveryFilter,
    )
    messages = connection(
        recipient_edges.CAMPAIGN_MESSAGES,
        "What was actually sent, contact by contact.",
        inputs.RecipientOrder,
        inputs.DeliveryFilter,
    )
    delivery_reports = connection(
        recipient_edges.CAMPAIGN_REPORTS,
        "What became of its messages.",
        inputs.DeliveryReportOrder,
        inputs.DeliveryFilter,
    )
    tasks = connection(
        task_edges.CAMPAIGN_TASKS,
        "The calls that it makes for users, once it is being sent; only of campaigns by telephone.",
        inputs.CampaignTaskOrder,
        inputs.CampaignTaskFilter,
    )
    test_deliveries = connection(
        delivery_edges.CAMPAIGN_TEST_DELIVERIES,
        "The test mails of this campaign that you may see.",
        inputs.TestDeliveryOrder,
        inputs.TestDeliveryFilter,
    )
    exports = connection(
        export_edges.CAMPAIGN_EXPORTS,
        "The exports of this campaign.",
        inputs.ExportOrder,
        inputs.ExportFilter,
    )


@object_type(contact_edges.RELATIONS_PATH, "The path of a case that a campaign's tasks are made on.")
class RelationsPath(Node):
    id: strawberry.ID = global_id(contact_edges.RELATIONS_PATH)
    database_id: UUID = column("id", "The path's id as the old API had it.")
    name: str = column("name", "The path's name.")

    campaigns = connection(
        campaign_edges.RELATIONS_PATH_CAMPAIGNS,
        "The campaigns whose tasks are made on this path.",
        inputs.CampaignOrder,
        inputs.CampaignFilter,
    )
