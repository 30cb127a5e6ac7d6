"""How does a contact take back that they agreed to be reached?"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from store.models import CampaignType, Contact, DeliveryStatus
from store.recipient_states import add_report, advance, locked_recipient
from store.sql_types import AnyRow

# The beginnings of the columns that hold the consent of a campaign's channel.
CONSENTS = {CampaignType.EMAIL: "email", CampaignType.LETTER: "letter", CampaignType.TELEPHONE: "call"}


async def withdraw_consent(
    session: AsyncSession,
    company_id: int,
    recipient_id: int,
    *,
    reply: str | None = None,
    occurred_at: datetime | None = None,
) -> bool:
    """The recipient's contact is not reached any more by the channel of the campaign, and the recipient has
    unsubscribed; whether that is news. `reply`: what is kept of how it was said.

    The contact may be gone. A campaign that did not reach the recipient stays as it is.
    """
    recipient = await locked_recipient(session, company_id, recipient_id)
    if recipient is None:
        return False
    withdrawn = await withdraw_from_contact(session, recipient)
    moved = await advance(session, recipient, DeliveryStatus.UNSUBSCRIBED)
    if withdrawn or moved:
        await add_report(session, recipient, DeliveryStatus.UNSUBSCRIBED, reply, occurred_at)
    return withdrawn or moved


async def withdraw_from_contact(session: AsyncSession, recipient: AnyRow) -> bool:
    if recipient.contact_id is None:
        return False
    channel = CONSENTS[recipient.type]
    given = getattr(Contact, f"{channel}_consent_given")
    changed = (
        update(Contact)
        .where(
            Contact.company_id == recipient.company_id,
            Contact.id == recipient.contact_id,
            given.is_distinct_from(False),
        )
        .values(
            {
                f"{channel}_consent_given": False,
                f"{channel}_consent_updated_at": func.now(),
                "updated_at": func.now(),
            }
        )
        .returning(Contact.id)
        .execution_options(synchronize_session=False)
    )
    return (await session.execute(changed)).one_or_none() is not None
