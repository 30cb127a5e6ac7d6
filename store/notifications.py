"""How is a user told of something, so that they see it at once, and by mail if they want to?"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from store.jobs import enqueue
from store.models import JobKind, Notification, NotificationKind, User
from store.signals import Channel, signal


async def notify(
    session: AsyncSession, company_id: int, user_id: int, kind: NotificationKind, campaign_id: UUID
) -> UUID:
    """Tells a user of a campaign; a mail follows for those who want mails. The id of the notification."""
    told = insert(Notification).values(company_id=company_id, user_id=user_id, kind=kind, campaign_id=campaign_id)
    notification_id: UUID = (await session.execute(told.returning(Notification.id))).scalar_one()
    await signal(session, Channel.NOTIFICATIONS, company_id, notification_id)
    wants_mail = select(User.email_notifications).where(User.company_id == company_id, User.id == user_id)
    if await session.scalar(wants_mail):
        await enqueue(session, company_id, JobKind.NOTICE, notification_id)
    return notification_id
