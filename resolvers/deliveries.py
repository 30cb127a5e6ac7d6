"""How is the sending of campaigns read: how far it is, what came of it, and where the letters are?"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Interval,
    and_,
    case,
    cast,
    exists,
    func,
    join,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.orm import aliased

from resolvers.context import Context, DownloadLink
from resolvers.edges import One
from resolvers.exports import DOWNLOAD_COLUMNS, EXPORT, STALLED_AFTER, download_link, require_download_scope
from resolvers.sources import Source
from store import access
from store.models import (
    Campaign,
    CampaignDelivery,
    CampaignStatus,
    CampaignType,
    DeliveryStatus,
    Export,
    ExportKind,
    ExportStatus,
    Recipient,
)
from store.models.campaigns import HANDED_OVER, UNDER_WAY
from store.sql_types import AnyColumn, AnyRow


class CampaignOutcome(StrEnum):
    """Whether a campaign has reached its recipients: those whose message was handed over and did not come back.

    Of whom it is unknown, it is neither all nor nobody.
    """

    ALL_REACHED = "ALL_REACHED"
    PARTLY_REACHED = "PARTLY_REACHED"
    NOBODY_REACHED = "NOBODY_REACHED"


REACHED = (DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.UNSUBSCRIBED)
# Recipients a second: what is slower says nothing of when it will end.
SLOWEST = 0.0001


def of_delivery(*statuses: DeliveryStatus) -> ColumnElement[bool]:
    """The recipients of a delivery's campaign that have one of these."""
    return and_(
        Recipient.company_id == CampaignDelivery.company_id,
        Recipient.campaign_id == CampaignDelivery.campaign_id,
        Recipient.status.in_(statuses),
    )


def any_of(*statuses: DeliveryStatus) -> ColumnElement[bool]:
    return exists().where(of_delivery(*statuses))


def is_due() -> ColumnElement[bool]:
    """Whether there is a recipient whom a worker would be busy with."""
    overdue = exists().where(of_delivery(DeliveryStatus.DEFERRED), Recipient.due_at < func.now() - STALLED_AFTER)
    return or_(any_of(DeliveryStatus.QUEUED, DeliveryStatus.SENDING), overdue)


def letters_of_sending() -> FromClause:
    """At most one row for each campaign by letter: how far the export is that makes the letters of its last sending."""
    sending = aliased(CampaignDelivery)
    return (
        select(
            Export.heartbeat_at,
            EXPORT.columns["percent"].label("percent"),
            EXPORT.columns["stalled"].label("stalled"),
            # Of one that is over, the pace says nothing any more.
            case((Export.status == ExportStatus.RUNNING, Export.rows_per_second)).label("per_second"),
            (Export.rows_total - Export.rows_processed).label("waiting"),
        )
        .join(sending, and_(sending.company_id == Export.company_id, sending.campaign_id == Export.campaign_id))
        .where(
            Campaign.type == CampaignType.LETTER,
            Export.company_id == Campaign.company_id,
            Export.campaign_id == Campaign.id,
            Export.kind == ExportKind.LETTERS,
            Export.created_at >= sending.started_at,
            # What people ask for again is no part of the sending.
            Export.regenerated_from_id.is_(None),
        )
        .order_by(Export.created_at.desc(), Export.id.desc())
        .limit(1)
        .correlate(Campaign)
        .lateral("letters")
    )


LETTERS = letters_of_sending()
BY_LETTER = Campaign.type == CampaignType.LETTER
GOES_ON = and_(
    Campaign.status == CampaignStatus.SENDING, Campaign.paused_at.is_(None), CampaignDelivery.ended_at.is_(None)
)
# Letters are made one by one, but handed over together.
PER_SECOND = case((BY_LETTER, LETTERS.c.per_second), else_=CampaignDelivery.per_second)
WAITING = select(func.count()).select_from(Recipient).where(of_delivery(*UNDER_WAY)).scalar_subquery()
LEFT = case((BY_LETTER, LETTERS.c.waiting), else_=WAITING)
MEASURED = and_(GOES_ON, PER_SECOND > SLOWEST)
SECONDS_LEFT = cast(LEFT, Double()) / PER_SECOND
HEARTBEAT = func.greatest(CampaignDelivery.heartbeat_at, LETTERS.c.heartbeat_at)
LAST_SIGN = func.coalesce(HEARTBEAT, CampaignDelivery.started_at)
OTHERS = tuple(status for status in DeliveryStatus if status not in REACHED)

DELIVERY = Source(
    "CampaignDelivery",
    CampaignDelivery,
    access.campaigns,
    inherited=access.whole_company(CampaignDelivery),
    key="campaign_id",
    rows=join(
        CampaignDelivery,
        Campaign,
        and_(Campaign.company_id == CampaignDelivery.company_id, Campaign.id == CampaignDelivery.campaign_id),
    ).join(LETTERS, true(), isouter=True),
    extra={
        "per_second": PER_SECOND,
        "heartbeat_at": HEARTBEAT,
        "seconds_remaining": case((MEASURED, SECONDS_LEFT)),
        # From the last sign of life on: the rate was measured then, and the guess stays until there is a better one.
        "ends_at": case((MEASURED, LAST_SIGN + SECONDS_LEFT * cast(literal(timedelta(seconds=1)), Interval()))),
        # What waits for something outside has a problem that says so.
        "stalled": and_(
            GOES_ON,
            CampaignDelivery.problem_code.is_(None),
            case(
                (BY_LETTER, func.coalesce(LETTERS.c.stalled, False)),
                else_=and_(func.now() - STALLED_AFTER > LAST_SIGN, is_due()),
            ),
        ),
        "outcome": case(
            (Campaign.status == CampaignStatus.SENDING, None),
            (~any_of(*REACHED, DeliveryStatus.UNKNOWN), CampaignOutcome.NOBODY_REACHED.value),
            (any_of(*OTHERS), CampaignOutcome.PARTLY_REACHED.value),
            else_=CampaignOutcome.ALL_REACHED.value,
        ),
    },
)


def counted_recipients() -> FromClause:
    """One row for each campaign: how many recipients it has, at all and of each status.

    They are counted once, by their status; looking at each for every number takes twice as long.
    """
    found = (
        select(Recipient.status, func.count().label("recipients"))
        .where(Recipient.company_id == Campaign.company_id, Recipient.campaign_id == Campaign.id)
        .correlate(Campaign)
        .group_by(Recipient.status)
        .lateral("found")
    )

    def having(*statuses: DeliveryStatus) -> AnyColumn:
        these = func.sum(found.c.recipients).filter(found.c.status.in_(statuses))
        return cast(func.coalesce(these, 0), Integer())

    counts = {status.value.lower(): having(status) for status in DeliveryStatus}
    counts |= {"total": having(*DeliveryStatus), "handed_over": having(*HANDED_OVER), "waiting": having(*UNDER_WAY)}
    return select(*(count.label(name) for name, count in counts.items())).select_from(found).lateral("counts")


COUNTS = counted_recipients()
DONE: AnyColumn = cast(COUNTS.c.total - COUNTS.c.waiting, Double())
PERCENT_DONE = DONE * 100 / cast(func.nullif(COUNTS.c.total, 0), Double())
# A campaign without recipients has statistics too, so the rows are those of campaigns.
STATISTICS = Source(
    "CampaignStatistics",
    Campaign,
    access.campaigns,
    inherited=access.whole_company(Campaign),
    rows=join(Campaign, COUNTS, true()).join(LETTERS, true(), isouter=True),
    extra={
        **dict(COUNTS.c.items()),
        # Nobody is SENT a letter before all letters are made.
        "percent": func.coalesce(case((Campaign.status == CampaignStatus.SENDING, LETTERS.c.percent)), PERCENT_DONE),
    },
)


def letters_to_be_had() -> ColumnElement[bool]:
    """Whether an export holds the letters of its campaign's last sending, which is over, and is there to be had."""
    of_this_sending = (
        exists()
        .where(
            Campaign.company_id == Export.company_id,
            Campaign.id == Export.campaign_id,
            Campaign.status == CampaignStatus.COMPLETED,
            CampaignDelivery.company_id == Campaign.company_id,
            CampaignDelivery.campaign_id == Campaign.id,
            CampaignDelivery.started_at <= Export.created_at,
        )
        .correlate(Export)
    )
    return and_(Export.kind == ExportKind.LETTERS, EXPORT.columns["is_available_for_download"], of_this_sending)


CAMPAIGN_DELIVERY = One("Campaign.delivery", DELIVERY, key="id", child_key="campaign_id", parent_decides=True)
CAMPAIGN_STATISTICS = One("Campaign.statistics", STATISTICS, key="id", parent_decides=True)
# Of several the last one counts, which is the newest.
CAMPAIGN_LETTERS = One(
    "Campaign.letterArchive",
    EXPORT,
    key="id",
    child_key="campaign_id",
    parent_decides=True,
    where=letters_to_be_had,
    order=[Export.created_at, Export.id],
)


async def letter_archive(row: AnyRow, context: Context) -> DownloadLink | None:
    """A new link to the newest archive of the campaign's letters; None where none can be had.

    Raises FORBIDDEN without the scope of downloads.
    """
    require_download_scope(context)
    found: Any = await context.load.one(CAMPAIGN_LETTERS, DOWNLOAD_COLUMNS, row.id)
    return None if found is None else download_link(found, context)
