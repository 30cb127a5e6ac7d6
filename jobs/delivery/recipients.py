"""How do recipients move from status to status, so that nobody is written to twice?

A message is handed over only after its recipient was made SENDING, which the database lets happen once an attempt.
What comes of it is written under the number of that attempt: also when it is late, and others took it for unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest
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
    Subquery,
    Text,
    Uuid,
    all_,
    and_,
    any_,
    bindparam,
    case,
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
# For one who is found by their id: no index serves this comparison, so that none but the id's is left. A planner that
# has not heard yet how many a campaign reaches takes any that knows the campaign for as good, and reads them all.
ONE_OF_MINE = Recipient.company_id == COMPANY_ID, Recipient.campaign_id.is_not_distinct_from(CAMPAIGN_ID)


def has_one_of(statuses: Sequence[DeliveryStatus]) -> ColumnElement[bool]:
    return Recipient.status == any_(literal([status.value for status in statuses], ARRAY(Text())))


def is_final(status: ColumnElement[str]) -> ColumnElement[bool]:
    return status != all_(literal([each.value for each in WAITING], ARRAY(Text())))


def domain_as_written() -> ColumnElement[str]:
    """The domain of a recipient's address; one that is written in letters beyond ASCII is not recognised."""
    return func.coalesce(func.lower(func.split_part(Recipient.address, "@", 2)), "")


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
    .where(domain_as_written() != all_(bindparam("without", type_=ARRAY(Text()))))
    .order_by(Recipient.id)
    .limit(bindparam("most", type_=Integer()))
)
NEXT_DUE = select(func.extract("epoch", func.min(func.coalesce(Recipient.due_at, func.now())) - func.now())).where(
    *MINE, IS_WAITING
)


BEGUN_NAMES = "begun_id", "begun_attempt", "begun_subject", "begun_content"
ENDED_NAMES = "ended_id", "ended_attempt", "ended_status", "ended_reply", "ended_pause"
NOBODY: Mapping[str, None] = dict.fromkeys((*BEGUN_NAMES, *ENDED_NAMES))


def given(names: Sequence[str], *types: TypeEngine[Any]) -> Subquery:
    """One row whose columns are parameters."""
    columns = zip(names, types, strict=True)
    return select(*(bindparam(name, type_=kind).label(name.partition("_")[2]) for name, kind in columns)).subquery()


BEGUN = given(BEGUN_NAMES, BigInteger(), Integer(), Text(), Text())
ENDED = given(ENDED_NAMES, BigInteger(), Integer(), Text(), Text(), Interval())


@dataclass(frozen=True)
class Begun:
    """A message that is to be handed over: whose, under which attempt, and what it says."""

    id: int
    attempt: int
    subject: str = field(repr=False)
    html: str = field(repr=False)

    def parameters(self) -> dict[str, object]:
        return dict(zip(BEGUN_NAMES, (self.id, self.attempt, self.subject, self.html), strict=True))


@dataclass(frozen=True)
class Ended:
    """What became of an attempt; `pause`: until the next one, in seconds (DEFERRED)."""

    id: int
    attempt: int
    status: DeliveryStatus
    reply: str | None = field(default=None, repr=False)
    pause: float | None = None

    def parameters(self) -> dict[str, object]:
        pause = None if self.pause is None else timedelta(seconds=self.pause)
        return dict(zip(ENDED_NAMES, (self.id, self.attempt, self.status.value, self.reply, pause), strict=True))


def ending(before: Sequence[DeliveryStatus]) -> CTE:
    """Writes what became of an attempt whose recipient has one of these statuses, with a report."""
    changed = (
        update(Recipient)
        .where(
            *ONE_OF_MINE,
            Recipient.id == ENDED.c.id,
            Recipient.attempt == ENDED.c.attempt,
            has_one_of(before),
            # What others took for unknown comes to its end, but is not left to be gone on with: nobody might.
            or_(Recipient.status != DeliveryStatus.UNKNOWN, is_final(ENDED.c.status)),
        )
        .values(
            status=ENDED.c.status,
            sent_at=case((ENDED.c.status == DeliveryStatus.SENT, func.now()), else_=Recipient.sent_at),
            due_at=func.now() + ENDED.c.pause,
            updated_at=func.now(),
        )
        .returning(Recipient.id, ENDED.c.status, ENDED.c.reply)
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
    """Makes a recipient SENDING, if the campaign goes on and they may be written to, and keeps what they are sent.

    Their id.

    `again`: this may have been done a moment ago, and the answer was lost. As nobody else has begun anything since
    the job was claimed, what is SENDING under the attempt is then what was meant.
    """
    untouched = and_(IS_WAITING, Recipient.attempt == BEGUN.c.attempt - ONE)
    already = and_(
        bindparam("again", type_=Boolean()),
        Recipient.status == DeliveryStatus.SENDING,
        Recipient.attempt == BEGUN.c.attempt,
    )
    marked = (
        update(Recipient)
        .where(
            *ONE_OF_MINE,
            Recipient.id == BEGUN.c.id,
            or_(untouched, already),
            GOES_ON,
            AGREES,
            ~IS_SUPPRESSED,
            exists(select(HELD.c.id)),
        )
        .values(status=DeliveryStatus.SENDING, attempt=BEGUN.c.attempt, due_at=null(), updated_at=func.now())
        .returning(Recipient.id, BEGUN.c.subject, BEGUN.c.content)
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


# What a ledger writes, as one statement: of one that ended, and of the next one that is begun.
TURN: AnySelect = beginning().add_cte(ending(OPEN))
SETTLING: AnySelect = select(func.count()).select_from(ending(WAITING))


def turn_parameters(
    claim: Claim, begun: Sequence[Begun], ended: Sequence[Ended], *, again: bool
) -> list[dict[str, object]]:
    """The parameters of `TURN`, as often as it takes; `claim`: on the job of the campaign."""
    always: dict[str, object] = {**NOBODY, **of_campaign(claim.company_id, claim.subject_id)}
    always |= {"of_job": claim.job_id, "of_claim": claim.attempt, "again": again}
    pairs = zip_longest(ended, begun)
    return [
        {**always, **(end.parameters() if end else {}), **(begin.parameters() if begin else {})} for end, begin in pairs
    ]


def of_campaign(company_id: int, campaign_id: UUID) -> dict[str, object]:
    return {"of_company": company_id, "of_campaign": campaign_id}


async def due(
    session: AsyncSession, company_id: int, campaign_id: UUID, *, after: int, most: int, without: Sequence[str] = ()
) -> list[AnyRow]:
    """The next recipients that may be written to now, beyond an id, but for those of some domains."""
    parameters = {**of_campaign(company_id, campaign_id), "after": after, "most": most, "without": list(without)}
    return list((await session.execute(DUE, parameters)).all())


async def settle(session: AsyncSession, company_id: int, campaign_id: UUID, ended: Sequence[Ended]) -> None:
    """Writes what is found before anything was begun."""
    always = of_campaign(company_id, campaign_id)
    # Past the session, which would look for rows in the answer, of which there are none for several at once.
    connection = await session.connection()
    await connection.execute(SETTLING, [{**always, **each.parameters()} for each in ended])


async def next_due(session: AsyncSession, company_id: int, campaign_id: UUID) -> float | None:
    """In how many seconds somebody may be written to again; None when nobody waits."""
    found = await session.scalar(NEXT_DUE, of_campaign(company_id, campaign_id))
    return None if found is None else max(0.0, float(found))
