"""How does a user read what they are told?"""

from __future__ import annotations

from sqlalchemy import Boolean

from resolvers.campaigns import CAMPAIGN
from resolvers.edges import Filter, One, Paged
from resolvers.pages import Direction, Sort, SortKind
from resolvers.sources import Source
from store import access
from store.models import Notification

NOTIFICATION = Source("Notification", Notification, access.notifications)

# A user's own are all that anybody sees, so that no row leads to them but the one who asks.
NOTIFICATIONS = Paged(
    "Query.notifications",
    NOTIFICATION,
    key="user_id",
    child_key="user_id",
    sorts={"CREATED_AT": Sort(Notification.created_at, SortKind.TIME)},
    order="CREATED_AT",
    direction=Direction.DESC,
    filters={"unread": Filter(Boolean(), lambda wanted: Notification.read_at.is_(None) == wanted)},
)

NOTIFICATION_CAMPAIGN = One("Notification.campaign", CAMPAIGN, key="campaign_id")
