"""From which domain do a company's mails come? Its own before the one of its slug (rule 14)."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from store.models import CampaignSettings

SENDER_DOMAIN = func.coalesce(
    CampaignSettings.domain, CampaignSettings.domain_slug + "." + CampaignSettings.domain_slug_suffix
)


async def find_sender_domain(session: AsyncSession, company_id: int) -> str | None:
    """None until the company has set one."""
    found: str | None = await session.scalar(select(SENDER_DOMAIN).where(CampaignSettings.company_id == company_id))
    return found
