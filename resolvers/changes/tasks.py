"""How is a call ticked off, and taken up again?"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.changes.campaigns import refuse_if
from resolvers.changes.outcomes import Outcome, named_key, not_found
from resolvers.changes.user_errors import UserError, UserErrorCode
from resolvers.context import Context, Viewer
from resolvers.tasks import CAMPAIGN_TASK
from store.models import CampaignTask, DeliveryReport, DeliveryStatus, Recipient, Role
from store.signals import Channel, signal
from store.sql_types import AnyRow

COLUMNS = ("id", "campaign_id", "recipient_id", "user_id", "is_done")


async def complete_task(context: Context, id: str) -> Outcome:
    """The call was made; one that is done already stays as it is."""
    return await ticked(context, id, done=True)


async def reopen_task(context: Context, id: str) -> Outcome:
    """The call is still to be made; one that is not done stays as it is."""
    return await ticked(context, id, done=False)


async def ticked(context: Context, id: str, *, done: bool) -> Outcome:
    """The recipient has got the call, or has not: the status follows, unless something else became of them since."""
    viewer = context.viewer
    async with context.writing() as session:
        found = await find_task(session, viewer, id)
        refuse_if(rights_missing(found, viewer), "id")
        if found.is_done != done:
            moment, by = (func.now(), viewer.user_id) if done else (null(), null())
            changed = update(CampaignTask).where(
                CampaignTask.company_id == viewer.company_id, CampaignTask.id == found.id
            )
            await session.execute(changed.values(done_at=moment, done_by_id=by, updated_at=func.now()))
            before, after = DeliveryStatus.SENT, DeliveryStatus.DELIVERED
            await move_recipient(session, viewer, found, *((before, after) if done else (after, before)))
            await signal(session, Channel.CAMPAIGNS, viewer.company_id, found.campaign_id)
    return Outcome((found.id,))


async def find_task(session: AsyncSession, viewer: Viewer, id: str) -> AnyRow:
    """The task as it is now; nobody else changes it until the unit of work ends. Raises NOT_FOUND."""
    key = named_key(CAMPAIGN_TASK, id, "id")
    columns = [CAMPAIGN_TASK.columns[name].label(name) for name in COLUMNS]
    wanted = select(*columns).where(CAMPAIGN_TASK.visible(), CampaignTask.id == key).with_for_update(of=CampaignTask)
    row = (await session.execute(wanted, viewer.identity.scope.parameters())).one_or_none()
    if row is None:
        raise not_found(CAMPAIGN_TASK, "id")
    return row


def rights_missing(found: AnyRow, viewer: Viewer) -> Iterator[UserError]:
    if viewer.identity.role is Role.MEMBER and found.user_id != viewer.user_id:
        yield UserError((), UserErrorCode.FORBIDDEN, "Members may tick off tasks of their own only.")


async def move_recipient(
    session: AsyncSession, viewer: Viewer, found: AnyRow, before: DeliveryStatus, after: DeliveryStatus
) -> None:
    """From the one status to the other, with a report; whoever has neither stays as they are."""
    moved = (
        update(Recipient)
        .where(
            Recipient.company_id == viewer.company_id,
            Recipient.id == found.recipient_id,
            Recipient.status == before,
        )
        .values(status=after, updated_at=func.now())
        .returning(Recipient.id)
    )
    if (await session.execute(moved)).one_or_none() is not None:
        report = {"recipient_id": found.recipient_id, "campaign_id": found.campaign_id, "status": after}
        await session.execute(insert(DeliveryReport).values(company_id=viewer.company_id, **report))
