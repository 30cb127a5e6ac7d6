"""Whom are the letters of a campaign for, what do they say, and what is written down of them?

A letter is kept as it is (`campaign_messages`), with the checkpoint that says that it is in the archive: when the
archive is made again, later, it is the same letter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Integer,
    Text,
    Uuid,
    bindparam,
    column,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from content.letters import CompiledLetter, Margins
from store.merge_values import MERGE_ROWS, contact_values
from store.models import (
    Campaign,
    CampaignDelivery,
    CampaignMessage,
    Contact,
    DeliveryReport,
    DeliveryStatus,
    Recipient,
)
from store.sql_types import AnyRow

DELETED = "The contact was deleted before the letter was written."
WITHDRAWN = "The contact withdrew their consent before the letter was written."
# These get no letter; whatever became of the others, they are in the archive, also when it is made again.
WITHOUT = (DeliveryStatus.FAILED, DeliveryStatus.CANCELED)

# No parameter is called like a column: an UPDATE would set that.
COMPANY_ID = bindparam("of_company", type_=Integer())
CAMPAIGN_ID = bindparam("of_campaign", type_=Uuid())
MINE = Recipient.company_id == COMPANY_ID, Recipient.campaign_id == CAMPAIGN_ID
COUNT = select(func.count()).select_from(Recipient).where(*MINE, Recipient.status.not_in(WITHOUT))
NEXT = (
    select(Recipient.id, Recipient.contact_id, CampaignMessage.content, Contact.letter_consent_given.label("consent"))
    .outerjoin(
        CampaignMessage,
        (CampaignMessage.company_id == Recipient.company_id) & (CampaignMessage.id == Recipient.id),
    )
    .outerjoin(Contact, (Contact.company_id == Recipient.company_id) & (Contact.id == Recipient.contact_id))
    .where(*MINE, Recipient.status.not_in(WITHOUT), Recipient.id > bindparam("after", type_=BigInteger()))
    .order_by(Recipient.id)
    .limit(bindparam("most", type_=Integer()))
)
CAMPAIGN = (
    select(
        Campaign.message_content,
        Campaign.user_id,
        CampaignDelivery.template_content,
        *(getattr(CampaignDelivery, f"margin_{side}") for side in ("top", "right", "bottom", "left")),
    )
    .join_from(
        Campaign,
        CampaignDelivery,
        (CampaignDelivery.company_id == Campaign.company_id) & (CampaignDelivery.campaign_id == Campaign.id),
    )
    .where(Campaign.company_id == COMPANY_ID, Campaign.id == CAMPAIGN_ID)
)


@dataclass(frozen=True)
class Plan:
    """What all letters of a campaign have in common."""

    company_id: int
    campaign_id: UUID
    author_id: int
    content: str
    template: str | None
    margins: Margins


@dataclass(frozen=True)
class Letter:
    """The letter to a recipient. `kept`: it is in the database already. `failure`: why there is none."""

    recipient_id: int
    document: str = field(repr=False)
    kept: bool = False
    failure: str | None = None


@dataclass
class Outcomes:
    """What is to be written down of some letters: what those say that are new, and why some recipients get none."""

    documents: dict[int, str] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)


async def plan_of(session: AsyncSession, company_id: int, campaign_id: UUID) -> Plan | None:
    """None when the campaign was never sent."""
    row = (await session.execute(CAMPAIGN, {"of_company": company_id, "of_campaign": campaign_id})).one_or_none()
    if row is None:
        return None
    margins = Margins(row.margin_top, row.margin_right, row.margin_bottom, row.margin_left)
    return Plan(company_id, campaign_id, row.user_id, row.message_content or "", row.template_content, margins)


async def count(session: AsyncSession, plan: Plan) -> int:
    return int(await session.scalar(COUNT, parameters_of(plan)) or 0)


async def letters_after(
    session: AsyncSession, plan: Plan, letter: CompiledLetter, after: int, most: int
) -> list[Letter]:
    """The letters to the next recipients beyond an id, at most so many."""
    rows = (await session.execute(NEXT, {**parameters_of(plan), "after": after, "most": most})).all()
    wanted = [row.contact_id for row in rows if row.content is None and row.contact_id is not None]
    parameters = {"company_id": plan.company_id, "contact_ids": wanted, "author_id": plan.author_id}
    contacts = {row.id: row for row in await session.execute(MERGE_ROWS, parameters)} if wanted else {}
    return [letter_to(row, letter, contacts.get(row.contact_id)) for row in rows]


def letter_to(row: AnyRow, letter: CompiledLetter, contact: AnyRow | None) -> Letter:
    if row.content is not None:
        return Letter(row.id, row.content, kept=True)
    if contact is None:
        return Letter(row.id, "", failure=DELETED)
    if not row.consent:
        return Letter(row.id, "", failure=WITHDRAWN)
    # A letter has no link that could be followed to unsubscribe.
    return Letter(row.id, letter.render(contact_values(contact, unsubscribe_url="")))


async def write(session: AsyncSession, plan: Plan, outcomes: Outcomes) -> None:
    """Writes what became of letters; to do it again changes nothing."""
    if outcomes.documents:
        made = [
            {"company_id": plan.company_id, "id": id, "subject": None, "content": document}
            for id, document in outcomes.documents.items()
        ]
        await session.execute(upsert(CampaignMessage).on_conflict_do_nothing(), made)
    if outcomes.failures:
        failed = {"ids": list(outcomes.failures), "replies": list(outcomes.failures.values())}
        await session.execute(FAILED, {**parameters_of(plan), **failed})


def parameters_of(plan: Plan) -> dict[str, object]:
    return {"of_company": plan.company_id, "of_campaign": plan.campaign_id}


GIVEN = (
    func.unnest(bindparam("ids", type_=ARRAY(BigInteger())), bindparam("replies", type_=ARRAY(Text())))
    .table_valued(column("id", BigInteger()), column("reply", Text()), name="given")
    .render_derived()
)
CHANGED = (
    update(Recipient)
    .where(*MINE, Recipient.id == GIVEN.c.id, Recipient.status == DeliveryStatus.QUEUED)
    .values(status=DeliveryStatus.FAILED, updated_at=func.now())
    .returning(Recipient.company_id, Recipient.campaign_id, Recipient.id, GIVEN.c.reply)
    .cte("changed")
)
REPORTS = (
    insert(DeliveryReport)
    .from_select(
        ["company_id", "campaign_id", "recipient_id", "status", "reply"],
        select(
            *(CHANGED.c.company_id, CHANGED.c.campaign_id, CHANGED.c.id),
            *(literal(DeliveryStatus.FAILED.value), CHANGED.c.reply),
        ),
    )
    .returning(DeliveryReport.id)
    .cte("reports")
)
FAILED = select(func.count(literal_column("1"))).select_from(REPORTS)
