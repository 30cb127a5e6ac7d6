"""What can be watched? The root of every subscription; an event is the whole state, not what is new in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any

import strawberry
from strawberry.types.field import StrawberryField

from resolvers import campaigns as campaign_edges
from resolvers import exports as export_edges
from resolvers import notifications as notification_edges
from resolvers import streams
from resolvers.edges import Columns
from resolvers.streams import MOST_ON_A_BOARD, USUAL_ON_A_BOARD
from schema.campaigns import Campaign
from schema.exports import Export
from schema.fields import ContextInfo, column, computed, filters_given, grouped, named_object, raw_info
from schema.inputs import CampaignFilter, ExportFilter, NotificationFilter
from schema.notifications import Notification
from schema.registry import row_type
from schema.scalars import BigInt
from schema.selection import selected_columns

PERSONAL = "personal"
FIRST = f"How many of the newest to show; 1 to {MOST_ON_A_BOARD}."
ExportId = Annotated[strawberry.ID, strawberry.argument(description="The export's global id, or its databaseId.")]
CampaignId = Annotated[strawberry.ID, strawberry.argument(description="The campaign's global id, or its databaseId.")]
Seen = Annotated[
    BigInt | None,
    strawberry.argument(
        description="The `sequence` that you saw last: what is not later is left out, but for the final state."
    ),
]
First = Annotated[int | None, strawberry.argument(description=FIRST)]
Exports = Annotated[
    ExportFilter | None, strawberry.argument(description="Which exports to show: all that is given must hold.")
]
Campaigns = Annotated[
    CampaignFilter | None, strawberry.argument(description="Which campaigns to show: all that is given must hold.")
]

Notifications = Annotated[
    NotificationFilter | None,
    strawberry.argument(description="Which notifications to show: all that is given must hold."),
]


@row_type(export_edges.EXPORT, "An export as it is now.")
class ExportEvent:
    sequence: BigInt = column("sequence", "Never falls from event to event; give it as `afterSequence` to go on.")
    is_final: bool = computed(
        ("status",),
        lambda row, _: streams.is_final(row),
        "Whether this is the last event: the export is COMPLETED, FAILED, CANCELED or EXPIRED.",
    )
    export: Export = grouped("The export.")


@row_type(export_edges.EXPORT, "The newest exports as they are now.")
class ExportBoard:
    exports: list[Export] = grouped("The exports, the newest first.")


@row_type(campaign_edges.CAMPAIGN, "A campaign as it is now.")
class CampaignEvent:
    campaign: Campaign | None = grouped(
        "The campaign; null when it is deleted or not to be seen any more, which is the last event.", present="id"
    )


@row_type(campaign_edges.CAMPAIGN, "The newest campaigns as they are now.")
class CampaignBoard:
    campaigns: list[Campaign] = grouped("The campaigns, the newest first.")


@row_type(notification_edges.NOTIFICATION, "The newest of your notifications as they are now.")
class NotificationBoard:
    notifications: list[Notification] = grouped("The notifications, the newest first.")


# Streams answer rows (a board: a list of them), which the fields of the events read: hence Any.
def export_progress(info: ContextInfo, id: ExportId, after_sequence: Seen = None) -> AsyncGenerator[Any, None]:
    return streams.export_progress(info.context, export_edges.EXPORT.parse(id), columns_of_event(info), after_sequence)


def exports_progress(
    info: ContextInfo, filter: Exports = None, first: First = USUAL_ON_A_BOARD
) -> AsyncGenerator[Any, None]:
    return board(info, streams.EXPORT_BOARD, filter, first)


def campaign_changed(info: ContextInfo, id: CampaignId) -> AsyncGenerator[Any, None]:
    return streams.campaign_changed(info.context, campaign_edges.CAMPAIGN.parse(id), columns_of_event(info))


def campaigns_changed(
    info: ContextInfo, filter: Campaigns = None, first: First = USUAL_ON_A_BOARD
) -> AsyncGenerator[Any, None]:
    return board(info, streams.CAMPAIGN_BOARD, filter, first)


def notifications_changed(
    info: ContextInfo, filter: Notifications = None, first: First = USUAL_ON_A_BOARD
) -> AsyncGenerator[Any, None]:
    return board(info, streams.NOTIFICATION_BOARD, filter, first)


def board(
    info: ContextInfo,
    watched: streams.Board,
    filter: ExportFilter | CampaignFilter | NotificationFilter | None,
    first: int | None,
) -> AsyncGenerator[Any, None]:
    size = USUAL_ON_A_BOARD if first is None else first
    return streams.board(info.context, watched, columns_of_event(info), size, filters_given(watched.edge, filter))


def columns_of_event(info: ContextInfo) -> Columns:
    """The columns that the operation selects of an event, which is a row or rows, and of what it holds of them."""
    raw = raw_info(info)
    return selected_columns(raw, named_object(raw.return_type), raw.field_nodes)


def subscription(
    resolver: Callable[..., AsyncGenerator[Any, None]], description: str, *, personal: bool = False
) -> Any:
    """A root field: Strawberry reads its arguments off the resolver. Any: what stands in the class is not called.

    `personal`: it shows what is the user's own, which others do not see who otherwise see the same.
    """
    return strawberry.subscription(resolver=resolver, description=description, metadata={PERSONAL: personal})


def is_personal(field: StrawberryField) -> bool:
    """Whether a field of the root shows what is the user's own."""
    return bool(field.metadata[PERSONAL])


@strawberry.type(
    description="Everything that can be watched. The first event is the state as it is; each later one is the state as "
    "it has become, read anew and as you may see it then."
)
class Subscription:
    export_progress: ExportEvent = subscription(
        export_progress,
        "One export until its end; NOT_FOUND where there is none, and when it is deleted or not to be seen any more.",
    )
    exports_progress: ExportBoard = subscription(
        exports_progress, "The newest exports, for as long as you like; at most 4 events a second."
    )
    campaign_changed: CampaignEvent = subscription(
        campaign_changed, "One campaign until it is deleted; NOT_FOUND where there is none."
    )
    campaigns_changed: CampaignBoard = subscription(
        campaigns_changed, "The newest campaigns, for as long as you like; at most 4 events a second."
    )
    notifications_changed: NotificationBoard = subscription(
        notifications_changed,
        "The newest of your notifications, for as long as you like; at most 4 events a second.",
        personal=True,
    )
