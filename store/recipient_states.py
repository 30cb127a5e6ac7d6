"""How does what is heard of a message later change its recipient? Forward only, each with a report."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, func, insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from store.models import Campaign, CampaignStatus, DeliveryReport, DeliveryStatus, Recipient
from store.signals import Channel, signal
from store.sql_types import AnyRow

OUT = (DeliveryStatus.SENDING, DeliveryStatus.SENT, DeliveryStatus.UNKNOWN, DeliveryStatus.DEFERRED)
# What each of these may follow; besides it follows what waits for another try.
BEFORE: dict[DeliveryStatus, tuple[DeliveryStatus, ...]] = {
    DeliveryStatus.DELIVERED: OUT,
    DeliveryStatus.BOUNCED: (*OUT, DeliveryStatus.DELIVERED),
    DeliveryStatus.UNSUBSCRIBED: (*OUT, DeliveryStatus.DELIVERED, DeliveryStatus.BOUNCED),
}
WAITS_AGAIN = and_(Recipient.status == DeliveryStatus.QUEUED, Recipient.attempt > 0)
# Of these something may be heard: a message of theirs went out, or may have.
MAY_BE_HEARD_OF = or_(
    Recipient.status.in_((*BEFORE[DeliveryStatus.UNSUBSCRIBED], DeliveryStatus.UNSUBSCRIBED)), WAITS_AGAIN
)


async def locked_recipient(session: AsyncSession, company_id: int, recipient_id: int) -> AnyRow | None:
    """`id`, `company_id`, `campaign_id`, `contact_id`, `address`, `created_at`, `sent_at`, the campaign's `type`,
    `over` (whether its sending is), `heard` (whether something may be heard of the message) and `now`, locked.

    The campaign is locked before, if the recipient may come to count as one whom it has reached.
    """
    not_counted = (
        select(Campaign.id)
        .join(Recipient, and_(Campaign.company_id == Recipient.company_id, Campaign.id == Recipient.campaign_id))
        .where(Recipient.company_id == company_id, Recipient.id == recipient_id, Recipient.sent_at.is_(None))
        .with_for_update(of=Campaign, key_share=True)
    )
    await session.execute(not_counted)
    wanted = (
        select(
            Recipient.id,
            Recipient.company_id,
            Recipient.campaign_id,
            Recipient.contact_id,
            Recipient.address,
            Recipient.created_at,
            Recipient.sent_at,
            Campaign.type,
            (Campaign.status != CampaignStatus.SENDING).label("over"),
            MAY_BE_HEARD_OF.label("heard"),
            func.now().label("now"),
        )
        .join(Campaign, and_(Campaign.company_id == Recipient.company_id, Campaign.id == Recipient.campaign_id))
        .where(Recipient.company_id == company_id, Recipient.id == recipient_id)
        .with_for_update(of=Recipient, key_share=True)
    )
    return (await session.execute(wanted)).one_or_none()


async def advance(session: AsyncSession, recipient: AnyRow, status: DeliveryStatus) -> bool:
    """Whether the status followed what was there. A message of which something is heard was sent, whoever knew it.

    `recipient`: as it was locked. Whoever ends a campaign counts all whom it has reached; after that, each is counted
    here.
    """
    moved = (
        update(Recipient)
        .where(
            Recipient.company_id == recipient.company_id,
            Recipient.id == recipient.id,
            or_(Recipient.status.in_(BEFORE[status]), WAITS_AGAIN),
        )
        .values(
            status=status,
            sent_at=func.coalesce(Recipient.sent_at, func.now()),
            due_at=null(),
            updated_at=func.now(),
        )
        .returning(Recipient.id)
        .execution_options(synchronize_session=False)
    )
    if (await session.execute(moved)).one_or_none() is None:
        return False
    if recipient.sent_at is None and recipient.over:
        counted = (
            update(Campaign)
            .where(Campaign.company_id == recipient.company_id, Campaign.id == recipient.campaign_id)
            .values(total_sent=func.coalesce(Campaign.total_sent, 0) + 1)
            .execution_options(synchronize_session=False)
        )
        await session.execute(counted)
    return True


async def add_report(
    session: AsyncSession,
    recipient: AnyRow,
    status: DeliveryStatus,
    reply: str | None,
    occurred_at: datetime | None = None,
) -> None:
    """Writes what was heard, and tells those who watch the campaign; `occurred_at` is held to when it can have been."""
    occurred_at = min(max(occurred_at or recipient.now, recipient.created_at), recipient.now)
    campaign_id: UUID = recipient.campaign_id
    report = insert(DeliveryReport).values(
        company_id=recipient.company_id,
        campaign_id=campaign_id,
        recipient_id=recipient.id,
        status=status,
        reply=reply,
        occurred_at=occurred_at,
    )
    await session.execute(report)
    await signal(session, Channel.CAMPAIGNS, recipient.company_id, campaign_id)
