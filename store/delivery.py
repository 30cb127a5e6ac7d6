"""What do people decide about the sending of a campaign: that it begins, stops for good, or what is unclear goes again?

Each is done in the transaction that changes the campaign, whose row is locked: the sending sees both or neither.

Whoever locks more than one of these locks them in this order, or two wait for each other: the campaign, its job, its
delivery, its recipients.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, Text, Update, case, func, insert, literal, literal_column, null, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from store.jobs import hasten
from store.long_statements import rows_in_time
from store.models import (
    CampaignDelivery,
    DeliveryReport,
    DeliveryStatus,
    Export,
    ExportKind,
    ExportStatus,
    Job,
    JobKind,
    Recipient,
)
from store.models.campaigns import WAITING
from store.signals import Channel, signal

# More recipients than this are left to the worker: it would take a request longer than a second to change them.
MOST_AT_ONCE = 10_000


async def carry_out(session: AsyncSession, company_id: int, campaign_id: UUID) -> None:
    """Has the workers begin with a campaign that is SENDING, or go on with it."""
    await hasten(session, company_id, JobKind.CAMPAIGN, campaign_id)


async def stop_the_clock(session: AsyncSession, company_id: int, campaign_id: UUID) -> None:
    """For a campaign that is paused: the time for which its e-mails are tried begins anew when it goes on."""
    await session.execute(delivery_becomes(company_id, campaign_id, deadline_at=null()))


async def lock_job(session: AsyncSession, company_id: int, campaign_id: UUID) -> None:
    """Until the unit of work ends no worker begins a message of the campaign: for whoever changes recipients."""
    mine = Job.company_id == company_id, Job.subject_id == campaign_id, Job.kind == JobKind.CAMPAIGN
    await session.execute(select(Job.id).where(*mine).with_for_update())


async def cancel_waiting(session: AsyncSession, company_id: int, campaign_id: UUID) -> None:
    """Nothing goes to those any more who have not been written to yet. The sending is over.

    Of many, the worker who finds the campaign canceled writes it down.
    """
    many = await more_than(session, company_id, campaign_id, WAITING, MOST_AT_ONCE)
    if many:
        await carry_out(session, company_id, campaign_id)
    else:
        await lock_job(session, company_id, campaign_id)
    ended_at = func.coalesce(CampaignDelivery.ended_at, func.now())
    await session.execute(delivery_becomes(company_id, campaign_id, ended_at=ended_at))
    if not many:
        await moved(session, company_id, campaign_id, WAITING, DeliveryStatus.CANCELED)
    await cancel_letters(session, company_id, campaign_id)


async def more_than(
    session: AsyncSession, company_id: int, campaign_id: UUID, statuses: tuple[DeliveryStatus, ...], most: int
) -> bool:
    """Whether more recipients than this have one of the statuses."""
    beyond = select(Recipient.id).where(
        Recipient.company_id == company_id, Recipient.campaign_id == campaign_id, Recipient.status.in_(statuses)
    )
    return await session.scalar(beyond.offset(most).limit(1)) is not None


async def cancel_letters(session: AsyncSession, company_id: int, campaign_id: UUID) -> None:
    """Stops the export that makes a campaign's letters: at once if no worker has begun it."""
    stopped = (
        update(Export)
        .where(
            Export.company_id == company_id,
            Export.campaign_id == campaign_id,
            Export.kind == ExportKind.LETTERS,
            Export.status.in_((ExportStatus.PENDING, ExportStatus.RUNNING)),
        )
        .values(
            status=case((Export.status == ExportStatus.PENDING, ExportStatus.CANCELED), else_=ExportStatus.CANCELING),
            sequence=Export.sequence + 1,
            updated_at=func.now(),
            updated_in_db_at=func.now(),
        )
        .returning(Export.id)
    )
    await signal(session, Channel.EXPORTS, company_id, *(await session.scalars(stopped)).all())


async def queue_unknown(session: AsyncSession, company_id: int, campaign_id: UUID) -> int:
    """Has the messages go again of which nobody knows whether they went out; how many they are.

    The sending is under way again, if it had ended.
    """
    again = {"ended_at": null(), "deadline_at": null(), "problem_code": null(), "problem_message": null()}
    unknown = (DeliveryStatus.UNKNOWN,)
    await lock_job(session, company_id, campaign_id)
    if not await more_than(session, company_id, campaign_id, unknown, 0):
        return 0
    await session.execute(delivery_becomes(company_id, campaign_id, **again))
    return await moved(session, company_id, campaign_id, unknown, DeliveryStatus.QUEUED)


def delivery_becomes(company_id: int, campaign_id: UUID, **values: object) -> Update:
    return (
        update(CampaignDelivery)
        .where(CampaignDelivery.company_id == company_id, CampaignDelivery.campaign_id == campaign_id)
        .values(values)
    )


async def moved(
    session: AsyncSession,
    company_id: int,
    campaign_id: UUID,
    before: tuple[DeliveryStatus, ...],
    after: DeliveryStatus,
    *,
    reply: str | None = None,
    only: ColumnElement[bool] | None = None,
) -> int:
    """Changes the status of all recipients that have one of these, with a report for each; how many there were.

    `only`: a condition beside. They may be a whole audience, so it may take long.
    """
    conditions = () if only is None else (only,)
    sent_at = func.now() if after is DeliveryStatus.SENT else Recipient.sent_at
    changed = (
        update(Recipient)
        .where(
            Recipient.company_id == company_id,
            Recipient.campaign_id == campaign_id,
            Recipient.status.in_(before),
            *conditions,
        )
        .values(status=after, sent_at=sent_at, due_at=None, updated_at=func.now())
        .returning(Recipient.id)
        .cte("changed")
    )
    reports = (
        insert(DeliveryReport)
        .from_select(
            ["company_id", "campaign_id", "recipient_id", "status", "reply"],
            select(
                literal(company_id), literal(campaign_id), changed.c.id, literal(after.value), literal(reply, Text())
            ),
        )
        .returning(DeliveryReport.id)
        .cte("reports")
    )
    ((count,),) = await rows_in_time(session, select(func.count(literal_column("1"))).select_from(reports))
    return int(str(count))
