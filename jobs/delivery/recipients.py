"""How do recipients move from status to status, so that nobody is written to twice?

A message is handed over only after its recipient was made SENDING, which the database lets happen once an attempt.
What comes of it is written under the number of that attempt: also when it is late, and others took it for unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    Interval,
    TableValuedAlias,
    Text,
    Uuid,
    all_,
    and_,
    any_,
    bindparam,
    case,
    column,
    exists,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeEngine

from jobs.queue import Claim
from store.models import (
    Campaign,
    CampaignMessage,
    CampaignStatus,
    Contact,
    DeliveryReport,
    DeliveryStatus,
    Job,
    Recipient,
    Suppression,
)
from store.models.campaigns import WAITING
from store.sql_types import AnyRow, AnySelect

# Of these the worker that handed the message over may still say what became of it.
OPEN = (DeliveryStatus.SENDING, DeliveryStatus.UNKNOWN)

ONE = literal_column("1", Integer())
COMPANY_ID = bindparam("of_company", type_=Integer())
CAMPAIGN_ID = bindparam("of_campaign", type_=Uuid())
MINE = Recipient.company_id == COMPANY_ID, Recipient.campaign_id == CAMPAIGN_ID


def has_one_of(statuses: Sequence[DeliveryStatus]) -> ColumnElement[bool]:
    return Recipient.status == any_(literal([status.value for status in statuses], ARRAY(Text())))


def is_final(status: ColumnElement[str]) -> ColumnElement[bool]:
    return status != all_(literal([each.value for each in WAITING], ARRAY(Text())))


IS_WAITING = has_one_of(WAITING)
IS_DUE = or_(Recipient.due_at.is_(None), Recipient.due_at <= func.now())
# While a turn has the job of its claim locked, nobody else can have it; whoever has lost it begins nothing any more.
HELD = (
    select(Job.id)
    .where(
        Job.company_id == COMPANY_ID,
        Job.id == bindparam("of_job", type_=BigInteger()),
        Job.attempt == bindparam("of_claim", type_=Integer()),
        Job.claimed_until.is_not(None),
    )
    .with_for_update(read=True)
    .cte("held")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
GOES_ON = exists().where(
    Campaign.company_id == Recipient.company_id,
    Campaign.id == Recipient.campaign_id,
    Campaign.status == CampaignStatus.SENDING,
    Campaign.paused_at.is_(None),
)
IS_SUPPRESSED = exists().where(
    Suppression.company_id == Recipient.company_id, Suppression.address == func.lower(Recipient.address)
)
AGREES = exists().where(
    Contact.company_id == Recipient.company_id,
    Contact.id == Recipient.contact_id,
    Contact.email_consent_given.is_(True),
)
# Whoever withdrew their consent since the audience was frozen is not written to.
DUE = (
    select(
        Recipient.id,
        Recipient.contact_id,
        Recipient.address,
        Recipient.attempt,
        Contact.email_consent_given.label("consent"),
        IS_SUPPRESSED.label("suppressed"),
    )
    .outerjoin(Contact, and_(Contact.company_id == Recipient.company_id, Contact.id == Recipient.contact_id))
    .where(*MINE, IS_WAITING, IS_DUE, Recipient.id > bindparam("after", type_=BigInteger()))
    .order_by(Recipient.id)
    .limit(bindparam("most", type_=Integer()))
)
NEXT_DUE = select(func.extract("epoch", func.min(func.coalesce(Recipient.due_at, func.now())) - func.now())).where(
    *MINE, IS_WAITING
)


@dataclass(frozen=True)
class Begun:
    """A message that is to be handed over: whose, under which attempt, and what it says."""

    id: int
    attempt: int
    subject: str = field(repr=False)
    html: str = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """What became of an attempt; `pause`: until the next one, in seconds (DEFERRED)."""

    id: int
    attempt: int
    status: DeliveryStatus
    reply: str | None = field(default=None, repr=False)
    pause: float | None = None


GIVEN_ENDED: Mapping[str, TypeEngine[Any]] = {
    "id": BigInteger(),
    "attempt": Integer(),
    "status": Text(),
    "reply": Text(),
    "pause": Interval(),
}
GIVEN_BEGUN: Mapping[str, TypeEngine[Any]] = {
    "id": BigInteger(),
    "attempt": Integer(),
    "subject": Text(),
    "content": Text(),
}


def table_of(name: str, columns: Mapping[str, TypeEngine[Any]]) -> TableValuedAlias:
    """The rows whose columns are parameters, each a list: `<name>_id`, `<name>_attempt` and so on."""
    lists = (bindparam(f"{name}_{each}", type_=ARRAY(kind)) for each, kind in columns.items())
    typed = (column(each, kind) for each, kind in columns.items())
    return func.unnest(*lists).table_valued(*typed, name=name).render_derived()


def ending(before: Sequence[DeliveryStatus]) -> CTE:
    """Writes what became of attempts whose recipients have one of these statuses, with a report each."""
    ended = table_of("ended", GIVEN_ENDED)
    changed = (
        update(Recipient)
        .where(
            *MINE,
            Recipient.id == ended.c.id,
            Recipient.attempt == ended.c.attempt,
            has_one_of(before),
            # What others took for unknown comes to its end, but is not left to be gone on with: nobody might.
            or_(Recipient.status != DeliveryStatus.UNKNOWN, is_final(ended.c.status)),
        )
        .values(
            status=ended.c.status,
            sent_at=case((ended.c.status == DeliveryStatus.SENT, func.now()), else_=Recipient.sent_at),
            due_at=func.now() + ended.c.pause,
            updated_at=func.now(),
        )
        .returning(Recipient.id, ended.c.status, ended.c.reply)
        .cte("changed")
    )
    reported = select(COMPANY_ID, CAMPAIGN_ID, changed.c.id, changed.c.status, changed.c.reply)
    return (
        insert(DeliveryReport)
        .from_select(
            ["company_id", "campaign_id", "recipient_id", "status", "reply"],
            reported.where(changed.c.status != DeliveryStatus.QUEUED),
        )
        .returning(DeliveryReport.id)
        .cte("reported")
    )


def beginning() -> AnySelect:
    """Makes recipients SENDING, if the campaign goes on and they still agree, and keeps what they are sent; their ids.

    `again`: this may have been done a moment ago, and the answer was lost. As nobody else has begun anything since
    the job was claimed, what is SENDING under the attempt is then what was meant.
    """
    begun = table_of("begun", GIVEN_BEGUN)
    untouched = and_(IS_WAITING, Recipient.attempt == begun.c.attempt - ONE)
    already = and_(
        bindparam("again", type_=Boolean()),
        Recipient.status == DeliveryStatus.SENDING,
        Recipient.attempt == begun.c.attempt,
    )
    marked = (
        update(Recipient)
        .where(*MINE, Recipient.id == begun.c.id, or_(untouched, already), GOES_ON, AGREES, exists(select(HELD.c.id)))
        .values(status=DeliveryStatus.SENDING, attempt=begun.c.attempt, due_at=null(), updated_at=func.now())
        .returning(Recipient.id, begun.c.subject, begun.c.content)
        .cte("marked")
    )
    message = upsert(CampaignMessage).from_select(
        ["company_id", "id", "subject", "content"], select(COMPANY_ID, marked.c.id, marked.c.subject, marked.c.content)
    )
    kept = message.on_conflict_do_update(
        index_elements=[CampaignMessage.company_id, CampaignMessage.id],
        set_={
            "subject": message.excluded.subject,
            "content": message.excluded.content,
            "updated_at": func.now(),
        },
    )
    return select(marked.c.id).add_cte(kept.returning(CampaignMessage.id).cte("kept"))


# What a turn of a ledger writes, as one statement.
TURN: AnySelect = beginning().add_cte(ending(OPEN))
# What is found before anything was begun.
SETTLING: AnySelect = select(func.count()).select_from(ending(WAITING))


def turn_parameters(claim: Claim, begun: Sequence[Begun], ended: Sequence[Ended], *, again: bool) -> dict[str, object]:
    """The parameters of `TURN`; `claim`: on the job of the campaign."""
    return {
        **settling_parameters(claim.company_id, claim.subject_id, ended),
        "of_job": claim.job_id,
        "of_claim": claim.attempt,
        "begun_id": [each.id for each in begun],
        "begun_attempt": [each.attempt for each in begun],
        "begun_subject": [each.subject for each in begun],
        "begun_content": [each.html for each in begun],
        "again": again,
    }


def settling_parameters(company_id: int, campaign_id: UUID, ended: Sequence[Ended]) -> dict[str, object]:
    """The parameters of `SETTLING`."""
    return {
        "of_company": company_id,
        "of_campaign": campaign_id,
        "ended_id": [each.id for each in ended],
        "ended_attempt": [each.attempt for each in ended],
        "ended_status": [each.status.value for each in ended],
        "ended_reply": [each.reply for each in ended],
        "ended_pause": [None if each.pause is None else timedelta(seconds=each.pause) for each in ended],
    }


async def due(session: AsyncSession, company_id: int, campaign_id: UUID, *, after: int, most: int) -> list[AnyRow]:
    """The next recipients that may be written to now, beyond an id."""
    parameters = {"of_company": company_id, "of_campaign": campaign_id, "after": after, "most": most}
    return list((await session.execute(DUE, parameters)).all())


async def next_due(session: AsyncSession, company_id: int, campaign_id: UUID) -> float | None:
    """In how many seconds somebody may be written to again; None when nobody waits."""
    found = await session.scalar(NEXT_DUE, {"of_company": company_id, "of_campaign": campaign_id})
    return None if found is None else max(0.0, float(found))
