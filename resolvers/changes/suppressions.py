"""How may an address be mailed to again?"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import delete, select

from resolvers.changes.campaigns import refuse_if
from resolvers.changes.outcomes import Outcome, named_key, not_found
from resolvers.changes.user_errors import UserError, UserErrorCode
from resolvers.context import Context, Viewer
from resolvers.suppressions import SUPPRESSION
from store.models import Role, Suppression


async def delete_suppression(context: Context, id: str) -> Outcome:
    """Campaigns that begin from now on reach the address again."""
    viewer = context.viewer
    async with context.writing() as session:
        key = named_key(SUPPRESSION, id, "id")
        wanted = select(Suppression.id).where(SUPPRESSION.visible(), Suppression.id == key).with_for_update()
        if await session.scalar(wanted, viewer.identity.scope.parameters()) is None:
            raise not_found(SUPPRESSION, "id")
        refuse_if(rights_missing(viewer), "id")
        mine = (Suppression.company_id == viewer.company_id, Suppression.id == key)
        await session.execute(delete(Suppression).where(*mine))
    return Outcome((key,))


def rights_missing(viewer: Viewer) -> Iterator[UserError]:
    if viewer.identity.role is Role.MEMBER:
        yield UserError((), UserErrorCode.FORBIDDEN, "Managers and administrators may do this.")
