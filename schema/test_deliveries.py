"""What does a client see of test mails?"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from resolvers import test_deliveries as delivery_edges
from resolvers.context import Context
from schema.fields import column, computed, to_one
from schema.nodes import Node, global_id
from schema.registry import object_type
from schema.scalars import EmailAddress
from store.models import TestDeliveryStatus
from store.sql_types import AnyRow


@strawberry.type(description="A header of a mail (RFC 5322, 2.2).")
class MailHeader:
    name: str = strawberry.field(description="The header's name.")
    value: str = strawberry.field(description="Its value, decoded (RFC 2047) and unfolded.")


def headers(row: AnyRow, _context: Context) -> list[MailHeader]:
    return [MailHeader(name=name, value=value) for name, value in row.headers]


@object_type(
    delivery_edges.TEST_DELIVERY,
    "One test mail to one address: what goes out, and what the mail server said. It counts in no statistics.",
)
class TestDelivery(Node):
    __test__ = False  # pytest would take the name for a test's

    id: strawberry.ID = global_id(delivery_edges.TEST_DELIVERY)
    database_id: UUID = column("id", "The test mail's own id.")
    status: TestDeliveryStatus = column("status", "How far it is.")
    email: EmailAddress = column("email", "Where it goes.")
    sender: EmailAddress = column("sender", "Where it comes from.")
    subject: str = column("subject", "The subject line, with its merge fields filled in.")
    html: str = column("html", "The HTML part, as it goes out.")
    text: str = column("text", "The plain-text part, as it goes out.")
    headers: list[MailHeader] = computed(("headers",), headers, "All headers, in their order.")
    reply: str | None = column("reply", "What the mail server answered; null until it has.")
    created_at: datetime = column("created_at", "When it was asked for.")
    finished_at: datetime | None = column("finished_at", "When it was handed over or given up; null until then.")

    user = to_one(delivery_edges.TEST_DELIVERY_USER, "Who asked for it.")
    campaign = to_one(
        delivery_edges.TEST_DELIVERY_CAMPAIGN,
        "The campaign it tries out; null for one that was not saved, or is deleted.",
        nullable=True,
    )
