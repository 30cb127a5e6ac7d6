"""What does a client see of the addresses that nothing is mailed to any more?"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry

from resolvers import suppressions as suppression_edges
from resolvers.changes import suppressions
from schema.fields import ContextInfo, column, to_one
from schema.mutation_fields import mutation, writing
from schema.nodes import Node, global_id
from schema.payloads import Payload, deleted
from schema.registry import object_type
from schema.scalars import BigInt, EmailAddress
from store.models import SuppressionReason

SuppressionId = Annotated[
    strawberry.ID, strawberry.argument(description="The suppression's global id, or its databaseId.")
]


@object_type(suppression_edges.SUPPRESSION, "An address that no campaign of the company mails to any more.")
class Suppression(Node):
    id: strawberry.ID = global_id(suppression_edges.SUPPRESSION)
    database_id: BigInt = column("id", "The suppression's number.")
    address: EmailAddress = column("address", "The address, in small letters.")
    reason: SuppressionReason = column("reason", "Why nothing is mailed to it.")
    created_at: datetime = column("created_at", "Since when.")

    campaign = to_one(
        suppression_edges.SUPPRESSION_CAMPAIGN,
        "The campaign whose mail was the reason; null for none, or one that you may not see.",
        nullable=True,
    )


@strawberry.type(description="What came of deleteSuppression.")
class DeleteSuppressionPayload(Payload):
    deleted_suppression_id: strawberry.ID | None = strawberry.field(
        resolver=deleted("Suppression"), description="The global id of what is no longer there; null when it still is."
    )


# Resolvers answer an `Outcome`, which the fields of the payloads read: hence Any.
async def delete_suppression(info: ContextInfo, id: SuppressionId) -> Any:
    return await writing(info, lambda: suppressions.delete_suppression(info.context, id))


@strawberry.type
class SuppressionMutations:
    """The mutations of suppressions."""

    delete_suppression: DeleteSuppressionPayload | None = mutation(
        delete_suppression, "Lets an address be mailed to again. Managers and administrators only."
    )
