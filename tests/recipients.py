"""To whom was something sent in a test, and what is known of them afterwards?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from gateway.return_paths import ReturnPaths
from store.database import Database, owner_transaction
from store.models import Campaign, Contact, DeliveryReport, Recipient, Suppression
from store.signals import Channel, listening_to
from tests.build import NOW, Builder, TestCompany
from tests.client import DOWNLOAD_SECRET
from tests.conftest import World

ADDRESS = "Ada@Example.com"
EARLIER = NOW - timedelta(days=1)
PATHS = ReturnPaths(DOWNLOAD_SECRET)
CHANNELS = {"EMAIL": "email", "LETTER": "letter", "TELEPHONE": "call"}


@dataclass(frozen=True)
class Sent:
    """A campaign's only recipient."""

    url: str
    company_id: int
    campaign_id: UUID
    contact_id: UUID
    recipient_id: int

    @property
    def return_path(self) -> str:
        return PATHS(self.company_id, self.recipient_id, "acme.campaigns.example")

    async def known(self) -> Known:
        """What the database holds now."""
        async with owner_transaction(self.url) as connection:
            mine = Recipient.company_id == self.company_id, Recipient.id == self.recipient_id
            status = await connection.scalar(select(Recipient.status).where(*mine))
            consents = tuple(getattr(Contact, f"{channel}_consent_given") for channel in CHANNELS.values())
            found = await connection.execute(select(*consents).where(Contact.id == self.contact_id))
            given = [
                channel for row in found for channel, consent in zip(CHANNELS.values(), row, strict=True) if consent
            ]
            wanted = select(DeliveryReport.status, DeliveryReport.reply)
            reports = await connection.execute(
                wanted.where(DeliveryReport.recipient_id == self.recipient_id).order_by(DeliveryReport.id)
            )
            suppressions = await connection.execute(
                select(Suppression.address, Suppression.reason).where(Suppression.campaign_id == self.campaign_id)
            )
            return Known(
                str(status), given, [(row[0], row[1]) for row in reports], {row[0]: row[1] for row in suppressions}
            )


@dataclass(frozen=True)
class Known:
    """`consents`: the channels that the contact agrees to. `reports`: status and reply. `suppressions`: the reasons by
    the addresses, of those that the campaign found.
    """

    status: str
    consents: list[str]
    reports: list[tuple[str, str | None]]
    suppressions: dict[str, str]


async def sent(
    world: World,
    status: str = "SENT",
    *,
    type: str = "EMAIL",
    company: TestCompany | None = None,
    attempt: int = 1,
    email: str = ADDRESS,
    created_at: datetime = EARLIER,
) -> Sent:
    """A campaign that has one recipient, who agrees to all channels; by default Acme's."""
    company = company or world.acme
    own = {"company_id": company.id}
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        campaign_id = await build.add(Campaign, **own, user_id=company.admin, type=type, status="COMPLETED")
        given = {f"{channel}_consent_given": True for channel in CHANNELS.values()}
        contact_id = await build.add(Contact, **own, email=email, **given)
        recipient_id = await build.add(
            Recipient,
            **own,
            campaign_id=campaign_id,
            contact_id=contact_id,
            status=status,
            address=email if type == "EMAIL" else None,
            attempt=attempt,
            created_at=created_at,
        )
    return Sent(world.url, company.id, campaign_id, contact_id, recipient_id)


@asynccontextmanager
async def told(url: str) -> AsyncIterator[list[str]]:
    """The signals about campaigns, as `company:campaign`."""
    heard: list[str] = []
    database = Database(url, pool_size=1)
    try:
        async with listening_to(database, {Channel.CAMPAIGNS.value: heard.append}):
            yield heard
    finally:
        await database.close()
