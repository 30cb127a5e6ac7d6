"""How does a user say what they have seen of what they were told?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.changes.campaigns import refuse_if
from resolvers.changes.company import find_rows
from resolvers.changes.outcomes import Outcome
from resolvers.changes.user_errors import UserError, UserErrorCode, absent
from resolvers.context import Context, Viewer
from resolvers.notifications import NOTIFICATION
from store import access
from store.models import Notification
from store.signals import Channel, signal

MOST_IDS = 100


@dataclass(frozen=True)
class ReadGiven:
    """Which notifications a client has seen; `ids`: None for all that there are, which `everything` must confirm."""

    everything: bool
    ids: Sequence[str] | None


async def mark_read(context: Context, given: ReadGiven) -> Outcome:
    """Of the viewer's own; the keys are those that were unread, as what is read stays as it is."""
    viewer = context.viewer
    refuse_if(malformed(given), "scope")
    async with context.writing() as session:
        unread = select(Notification.id).where(access.notifications(), Notification.read_at.is_(None))
        if given.ids is not None:
            unread = unread.where(Notification.id.in_(await named(session, viewer, given.ids)))
        # In one order, so that two who mark the same wait for each other, and not both for both.
        locked = unread.order_by(Notification.id).with_for_update().cte("locked")
        marked = (
            update(Notification)
            .where(Notification.company_id == viewer.company_id, Notification.id == locked.c.id)
            .values(read_at=func.now())
            .returning(Notification.id)
            .execution_options(synchronize_session=False)
        )
        found = tuple(await session.scalars(marked, viewer.identity.scope.parameters()))
        # Who watches hears of any row and reads the whole list again: one tells of all.
        await signal(session, Channel.NOTIFICATIONS, viewer.company_id, *found[:1])
    return Outcome(found)


def malformed(given: ReadGiven) -> Iterator[UserError]:
    if given.ids is None and not given.everything:
        yield UserError(("all",), UserErrorCode.INVALID_VALUE, "This can only be true; name ids for some of them.")
    elif given.ids is not None and not 1 <= len(given.ids) <= MOST_IDS:
        code = UserErrorCode.TOO_MANY if given.ids else UserErrorCode.REQUIRED
        yield UserError(("ids",), code, f"Name 1 to {MOST_IDS} notifications.")


async def named(session: AsyncSession, viewer: Viewer, texts: Sequence[str]) -> set[object]:
    """The keys of the ids, each of which must be one of the viewer's own."""
    keys = [NOTIFICATION.parse_or_none(text) for text in texts]
    found = await find_rows(session, viewer, NOTIFICATION, {key for key in keys if key is not None})
    missing = (str(place) for place, key in enumerate(keys) if key not in found)
    refuse_if((absent(NOTIFICATION.typename, [place]) for place in missing), "scope", "ids")
    return found
