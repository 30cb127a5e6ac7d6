"""What do mail servers say of messages after they took them, and what does it change?"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from store.consent import withdraw_consent
from store.models import CampaignType, DeliveryReport, DeliveryStatus, SuppressionReason
from store.recipient_states import add_report, advance, locked_recipient
from store.sql_types import AnyRow
from store.suppression import suppress

# Whoever got a message knows its return path: more than this is not kept of what is said of one.
MOST_REPORTS = 10


class FeedbackKind(StrEnum):
    """DEFERRED: it is still tried. COMPLAINED: the recipient told their provider that they do not want it."""

    DELIVERED = "DELIVERED"
    DEFERRED = "DEFERRED"
    BOUNCED = "BOUNCED"
    COMPLAINED = "COMPLAINED"


STATUSES = {
    FeedbackKind.DELIVERED: DeliveryStatus.DELIVERED,
    FeedbackKind.DEFERRED: DeliveryStatus.DEFERRED,
    FeedbackKind.BOUNCED: DeliveryStatus.BOUNCED,
    FeedbackKind.COMPLAINED: DeliveryStatus.UNSUBSCRIBED,
}


@dataclass(frozen=True)
class Feedback:
    """`permanent`: nothing sent to the address will ever arrive (BOUNCED). `reply`: one line. `occurred_at`: None for
    now.
    """

    recipient_id: int
    kind: FeedbackKind
    permanent: bool = False
    reply: str | None = field(default=None, repr=False)
    occurred_at: datetime | None = None


async def take(session: AsyncSession, company_id: int, feedback: Feedback) -> bool:
    """Writes down what is said of an e-mail; whether it is news. The same again, or of what was not sent, is none.

    What it says of the person or the address counts even if no more than that is new.
    """
    recipient = await locked_recipient(session, company_id, feedback.recipient_id)
    if recipient is None or recipient.type != CampaignType.EMAIL or not recipient.heard:
        return False
    status = STATUSES[feedback.kind]
    reported = False
    if feedback.kind is FeedbackKind.COMPLAINED:
        reply, occurred_at = feedback.reply, feedback.occurred_at
        reported = await withdraw_consent(session, company_id, recipient.id, reply=reply, occurred_at=occurred_at)
    suppressed = await suppress_address(session, recipient, feedback)
    if reported or await is_known(session, recipient, status, feedback.reply):
        return reported or suppressed
    if feedback.kind in (FeedbackKind.DELIVERED, FeedbackKind.BOUNCED):
        await advance(session, recipient, status)
    await add_report(session, recipient, status, feedback.reply, feedback.occurred_at)
    return True


async def is_known(session: AsyncSession, recipient: AnyRow, status: DeliveryStatus, reply: str | None) -> bool:
    """Whether it is reported already, or more is reported than is kept."""
    same = func.coalesce(func.bool_or(DeliveryReport.reply.is_not_distinct_from(reply)), False)
    reports = select(func.count().label("reports"), same.label("same")).where(
        DeliveryReport.company_id == recipient.company_id,
        DeliveryReport.recipient_id == recipient.id,
        DeliveryReport.status == status,
    )
    found = (await session.execute(reports)).one()
    return bool(found.same) or found.reports >= MOST_REPORTS


async def suppress_address(session: AsyncSession, recipient: AnyRow, feedback: Feedback) -> bool:
    """Whether the address is not mailed to any more from now on. What a report says the address is counts for nothing:
    its sender is not known, the recipient is.
    """
    if feedback.kind is FeedbackKind.COMPLAINED:
        reason = SuppressionReason.COMPLAINED
    elif feedback.kind is FeedbackKind.BOUNCED and feedback.permanent:
        reason = SuppressionReason.BOUNCED
    else:
        return False
    if recipient.address is None:
        return False
    return await suppress(session, recipient.company_id, [recipient.address], reason, recipient.campaign_id) > 0
