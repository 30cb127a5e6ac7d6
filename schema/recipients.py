"""What does a client see of recipients, messages and delivery reports?"""

from __future__ import annotations

from datetime import datetime

import strawberry

from resolvers import recipients as recipient_edges
from schema.fields import column, to_many, to_one
from schema.nodes import Node, global_id
from schema.registry import object_type
from schema.scalars import BigInt
from store.models import DeliveryStatus


@object_type(recipient_edges.RECIPIENT, "One contact of one campaign, with the state of its delivery.")
class Recipient(Node):
    id: strawberry.ID = global_id(recipient_edges.RECIPIENT)
    database_id: BigInt = column("id", "The recipient's number.")
    status: DeliveryStatus = column("status", "How far the delivery has come.")
    address: str | None = column("address", "Where it was sent: an e-mail or postal address or a phone number.")
    sent_at: datetime | None = column("sent_at", "When it was handed over.")
    created_at: datetime = column("created_at", "When the contact was chosen.")
    updated_at: datetime = column("updated_at", "When the state last changed.")

    campaign = to_one(recipient_edges.RECIPIENT_CAMPAIGN, "The campaign.")
    contact = to_one(recipient_edges.RECIPIENT_CONTACT, "The contact; null when it was deleted since.", nullable=True)
    message = to_one(recipient_edges.RECIPIENT_MESSAGE, "What was actually sent; null until it is.", nullable=True)
    delivery_reports = to_many(recipient_edges.RECIPIENT_REPORTS, "What happened, the oldest first.")


@object_type(recipient_edges.MESSAGE, "What one contact was actually sent.")
class CampaignMessage(Node):
    id: strawberry.ID = global_id(recipient_edges.MESSAGE)
    database_id: BigInt = column("id", "The message's number, as the old API had it.")
    subject: str | None = column("subject", "The subject line; null for letters.")
    content: str = column("content", "The content, merge fields filled in.")
    status: DeliveryStatus = column("status", "How far the delivery has come.")
    sent_at: datetime | None = column("sent_at", "When it was handed over.")
    created_at: datetime = column("created_at", "When the content was made.")
    updated_at: datetime = column("updated_at", "When the message was last changed.")

    campaign = to_one(recipient_edges.MESSAGE_CAMPAIGN, "The campaign.")
    contact = to_one(recipient_edges.MESSAGE_CONTACT, "The contact; null when it was deleted since.", nullable=True)
    recipient = to_one(recipient_edges.MESSAGE_RECIPIENT, "The recipient, with the state of the delivery.")


@object_type(recipient_edges.REPORT, "One event in the delivery of one message.")
class DeliveryReport(Node):
    id: strawberry.ID = global_id(recipient_edges.REPORT)
    database_id: BigInt = column("id", "The report's number.")
    status: DeliveryStatus = column("status", "What happened.")
    occurred_at: datetime = column("occurred_at", "When it happened.")
    reply: str | None = column("reply", "What the other server answered.")

    recipient = to_one(recipient_edges.REPORT_RECIPIENT, "Whose message it was.")
    campaign = to_one(recipient_edges.REPORT_CAMPAIGN, "The campaign.")
