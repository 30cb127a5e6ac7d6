"""What is to be sent, and to whom? Frozen when the sending begins, and read again by whoever goes on with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    Integer,
    Uuid,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from content.addresses import address_problem, ascii_domain, domain_of
from jobs.delivery.problems import (
    EMPTY_AUDIENCE,
    NO_CONTENT,
    NO_DOMAIN,
    NO_FILTER,
    NOT_APPROVED,
    TEMPLATE_DELETED,
    Unsendable,
    broken_filter,
)
from store.audience import Audience, classified
from store.filters import CATALOGUE_ROWS, Catalogue, read_filter
from store.long_statements import rows_in_time
from store.models import (
    Campaign,
    CampaignDelivery,
    CampaignSettings,
    CampaignType,
    Recipient,
    Template,
)
from store.sender_domain import find_sender_domain
from store.sql_types import AnyRow


@dataclass(frozen=True)
class Plan:
    """`unsubscribe_url`: the company's own page, in the place of ours in the text. `sender`: an address (e-mails)."""

    company_id: int
    campaign_id: UUID
    author_id: int
    type: CampaignType
    subject: str
    content: str
    template: str | None
    sender: str
    unsubscribe_url: str | None
    started_at: datetime
    deadline_at: datetime | None


PLAN = (
    select(
        Campaign.user_id,
        Campaign.type,
        Campaign.message_subject,
        Campaign.message_content,
        CampaignDelivery.template_content,
        CampaignDelivery.sender,
        CampaignDelivery.started_at,
        CampaignDelivery.deadline_at,
        CampaignSettings.consent_enabled,
        CampaignSettings.consent_unsubscribe_url,
    )
    .join(
        CampaignDelivery,
        (CampaignDelivery.company_id == Campaign.company_id) & (CampaignDelivery.campaign_id == Campaign.id),
    )
    .outerjoin(CampaignSettings, CampaignSettings.company_id == Campaign.company_id)
)


async def read_plan(session: AsyncSession, company_id: int, campaign_id: UUID) -> Plan:
    """Of a campaign whose audience is frozen."""
    row = (await session.execute(PLAN.where(Campaign.company_id == company_id, Campaign.id == campaign_id))).one()
    return Plan(
        company_id,
        campaign_id,
        row.user_id,
        CampaignType(row.type),
        row.message_subject or "",
        row.message_content or "",
        row.template_content,
        row.sender or "",
        row.consent_unsubscribe_url if row.consent_enabled else None,
        row.started_at,
        row.deadline_at,
    )


async def freeze(session: AsyncSession, campaign: AnyRow, deadline: timedelta) -> None:
    """Writes down whom the campaign goes to, and what it is set in, in the place of an earlier try.

    `campaign`: the whole row, locked; `deadline`: for how long its e-mails are tried again. Raises `Unsendable`, and
    has then written no more than how many were left out, and removed the earlier try.
    """
    mine = campaign.company_id, campaign.id
    await forget(session, *mine)
    audience = await audience_of(session, campaign)
    if campaign.type != CampaignType.TELEPHONE and not campaign.message_content:
        raise Unsendable(NO_CONTENT)
    sender = await sender_of(session, campaign)
    template = await template_of(session, campaign)
    excluded = await write_recipients(session, *mine, audience)
    recipients = excluded.pop(None, 0)
    row = {
        "company_id": mine[0],
        "campaign_id": mine[1],
        "recipients": recipients,
        "excluded": excluded,
        "sender": sender,
        "deadline_at": None if sender is None else func.now() + deadline,
        "heartbeat_at": func.clock_timestamp(),
        **template,
    }
    await session.execute(insert(CampaignDelivery).values(row))
    # The text is as it was when its author saw it last; of what was sent before there is nothing any more.
    await session.execute(
        update(Campaign)
        .where(Campaign.company_id == mine[0], Campaign.id == mine[1])
        .values(total_sent=0, sent_at=null())
    )
    if not recipients:
        raise Unsendable(EMPTY_AUDIENCE)


async def forget(session: AsyncSession, company_id: int, campaign_id: UUID) -> None:
    """Removes what an earlier try left."""
    await session.execute(
        delete(CampaignDelivery).where(
            CampaignDelivery.company_id == company_id, CampaignDelivery.campaign_id == campaign_id
        )
    )
    mine = Recipient.company_id == company_id, Recipient.campaign_id == campaign_id
    gone = delete(Recipient).where(*mine).returning(Recipient.id).cte("gone")
    await rows_in_time(session, select(func.count()).select_from(gone))


async def write_recipients(
    session: AsyncSession, company_id: int, campaign_id: UUID, audience: Audience
) -> dict[str | None, int]:
    """Makes a recipient of each contact that is reached, by one statement; the numbers of all by reason (None)."""
    verdicts = classified(company_id, audience).cte("verdicts")
    reached = (
        select(
            literal(company_id, Integer()),
            literal(campaign_id, Uuid()),
            verdicts.c.contact_id,
            verdicts.c.address,
        )
        .where(verdicts.c.reason.is_(None))
        .order_by(verdicts.c.created_at, verdicts.c.contact_id)
    )
    frozen = (
        insert(Recipient)
        .from_select(["company_id", "campaign_id", "contact_id", "address"], reached)
        .returning(Recipient.id)
        .cte("frozen")
    )
    counted = select(verdicts.c.reason, func.count().label("contacts")).group_by(verdicts.c.reason).add_cte(frozen)
    return {
        None if reason is None else str(reason): int(str(contacts))
        for reason, contacts in await rows_in_time(session, counted)
    }


async def audience_of(session: AsyncSession, campaign: AnyRow) -> Audience:
    if not campaign.approved:
        raise Unsendable(NOT_APPROVED)
    catalogue = await session.execute(CATALOGUE_ROWS, {"company_id": campaign.company_id})
    reading = read_filter(campaign.filter, Catalogue.of_rows(catalogue.all()))
    if reading.problems:
        raise Unsendable(broken_filter(reading.problems[0].message))
    if reading.filter is None:
        raise Unsendable(NO_FILTER)
    return Audience(CampaignType(campaign.type), reading.filter)


async def sender_of(session: AsyncSession, campaign: AnyRow) -> str | None:
    """Where e-mails come from: the campaign's sender, if it is still one of the company's domain (rule 14)."""
    if campaign.type != CampaignType.EMAIL:
        return None
    domain = await find_sender_domain(session, campaign.company_id)
    if domain is None:
        raise Unsendable(NO_DOMAIN)
    sender = campaign.message_sender or ""
    if not campaign.message_subject or not sender:
        raise Unsendable(NO_CONTENT)
    own = address_problem(sender) is None and domain_of(sender) == ascii_domain(domain)
    return sender if own else f"noreply@{domain}"


async def template_of(session: AsyncSession, campaign: AnyRow) -> dict[str, object]:
    """The columns of the delivery that hold what the template is now."""
    if campaign.template_deleted:
        raise Unsendable(TEMPLATE_DELETED)
    if campaign.template_id is None:
        return {}
    wanted = select(
        Template.content.label("template_content"),
        Template.margin_top,
        Template.margin_right,
        Template.margin_bottom,
        Template.margin_left,
    ).where(Template.company_id == campaign.company_id, Template.id == campaign.template_id)
    return dict((await session.execute(wanted)).mappings().one())
