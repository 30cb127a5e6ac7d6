"""What does a user see of what they are told, and how do they say that they have seen it?"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry import Maybe

from resolvers import notifications as notification_edges
from resolvers.changes import notifications
from resolvers.changes.notifications import MOST_IDS, ReadGiven
from resolvers.changes.outcomes import Outcome
from schema.fields import ContextInfo, column, computed, to_one
from schema.mutation_fields import mutation, writing
from schema.nodes import Node, global_id
from schema.payloads import Payload
from schema.registry import object_type
from store.models import NotificationKind


@object_type(notification_edges.NOTIFICATION, "Something that you are told; nobody else sees it.")
class Notification(Node):
    id: strawberry.ID = global_id(notification_edges.NOTIFICATION)
    database_id: UUID = column("id", "The notification's own id.")
    kind: NotificationKind = column("kind", "What it tells.")
    created_at: datetime = column("created_at", "When you were told.")
    read_at: datetime | None = column("read_at", "When you marked it as read; null while it is unread.")
    is_read: bool = computed(("read_at",), lambda row, _: row.read_at is not None, "Whether you marked it as read.")

    campaign = to_one(
        notification_edges.NOTIFICATION_CAMPAIGN,
        "The campaign that it tells of; null for one that you may not see any more.",
        nullable=True,
    )


@strawberry.input(one_of=True, description="Which notifications you have seen. Exactly one of these.")
class NotificationsScope:
    all: Maybe[bool] = strawberry.field(description="True: all of yours.")
    ids: Maybe[list[strawberry.ID]] = strawberry.field(
        description=f"These; global ids, or databaseIds as text. 1 to {MOST_IDS}."
    )


Scope = Annotated[NotificationsScope, strawberry.argument(description="Which of your notifications.")]


def count_of(root: strawberry.Parent[Outcome]) -> int:
    return len(root.keys)


@strawberry.type(description="What came of markNotificationsRead.")
class MarkNotificationsReadPayload(Payload):
    marked_count: int = strawberry.field(resolver=count_of, description="How many of them were unread before.")


# Resolvers answer an `Outcome`, which the fields of the payloads read: hence Any.
async def mark_notifications_read(info: ContextInfo, scope: Scope) -> Any:
    ids = None if scope.ids is None else [str(id) for id in scope.ids.value]
    given = ReadGiven(everything=scope.all is not None and scope.all.value, ids=ids)
    return await writing(info, lambda: notifications.mark_read(info.context, given))


@strawberry.type
class NotificationMutations:
    """The mutations of notifications."""

    mark_notifications_read: MarkNotificationsReadPayload | None = mutation(
        mark_notifications_read, "Marks notifications of yours as read; those that are so already stay as they are."
    )
