"""What does a worker write on the row of an export, and how is it kept from writing when the export is not its own?

Progress names the attempt: the row is changed by the worker whose claim began it last. The last write is in the
transaction that ends the claimed job, which nobody else can have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.queue import Claim, is_held
from store.database import Scope
from store.exports import CannotExport
from store.files import Stored
from store.identity import find_identity
from store.jobs import hasten
from store.models import Export, ExportFormat, ExportKind, ExportStatus, File, JobKind
from store.models.base import JsonValue
from store.signals import Channel, signal
from store.sql_types import AnyRow

# The first of the two numbers of an advisory lock; no other is like it.
COMPLETION_LOCK = 0x46494C45
TAKE_COMPANY = text("SELECT pg_advisory_xact_lock(:lock, :company_id)")
WAITING = (ExportStatus.PENDING, ExportStatus.RUNNING)


class NotOurs(Exception):
    """Somebody else has the export by now, or it is over: nothing more is to be written."""


class Canceled(Exception):
    """Nobody wants the export any longer: it was stopped, or its row is gone."""


@dataclass(frozen=True)
class Begun:
    """An export as it stands when an attempt begins; `bytes_left`: how much more the company's files may hold."""

    kind: ExportKind
    format: ExportFormat
    parameters: dict[str, JsonValue]
    campaign_id: UUID | None
    scope: Scope
    as_of: datetime
    columns: list[JsonValue] | None
    checkpoint: dict[str, JsonValue] | None
    rows_total: int | None
    bytes_left: int


@dataclass(frozen=True)
class Made:
    """The file that an export has become, and how long it lives."""

    name: str
    content_type: str
    key: str
    stored: Stored
    life: timedelta
    rows: int


async def begin(session: AsyncSession, claim: Claim, company_bytes: int) -> Begun:
    """Makes the export this attempt's. Raises `NotOurs` when there is nothing to do, `Canceled` when it was stopped."""
    if not await is_held(session, claim):
        raise NotOurs
    found = select(Export.status).where(*named(claim)).with_for_update()
    status = await session.scalar(found)
    if status == ExportStatus.CANCELING:
        raise Canceled
    if status not in WAITING:
        raise NotOurs
    begun = (
        update(Export)
        .where(*named(claim))
        .values(
            status=ExportStatus.RUNNING,
            attempt=claim.attempt,
            started_at=func.coalesce(Export.started_at, func.now()),
            as_of=func.coalesce(Export.as_of, func.now()),
            **signs_of_life(),
        )
        .returning(
            Export.kind,
            Export.format,
            Export.parameters,
            Export.campaign_id,
            Export.requested_by_id,
            Export.as_of,
            Export.columns,
            Export.checkpoint,
            Export.rows_total,
        )
    )
    row = (await session.execute(begun)).one()
    await tell(session, claim, row)
    identity = await find_identity(await session.connection(), claim.company_id, row.requested_by_id)
    assert identity is not None, "an export keeps its user"
    return Begun(
        ExportKind(row.kind),
        ExportFormat(row.format),
        row.parameters,
        row.campaign_id,
        identity.scope,
        row.as_of,
        row.columns,
        row.checkpoint,
        row.rows_total,
        company_bytes - await live_bytes(session, claim.company_id),
    )


async def live_bytes(session: AsyncSession, company_id: int) -> int:
    """What the files of a company hold whose life is not over."""
    total = select(func.coalesce(func.sum(File.bytes), 0)).where(
        File.company_id == company_id, File.expires_at > func.now()
    )
    return int(await session.scalar(total) or 0)


async def write_progress(session: AsyncSession, claim: Claim, values: dict[str, object], *, telling: bool) -> None:
    """Writes how far it is, with a sign of life. Raises `NotOurs` or `Canceled`, and then has written nothing."""
    written = (
        update(Export)
        .where(*named(claim), Export.attempt == claim.attempt, Export.status == ExportStatus.RUNNING)
        .values(**values, **signs_of_life())
        .returning(Export.kind, Export.campaign_id)
    )
    row = (await session.execute(written)).one_or_none()
    if row is None:
        raise await reason(session, claim)
    if telling:
        await tell(session, claim, row)


async def reason(session: AsyncSession, claim: Claim) -> Exception:
    """Why this attempt may not write any more."""
    found = await session.execute(select(Export.status, Export.attempt).where(*named(claim)))
    row = found.one_or_none()
    if row is None or (row.attempt == claim.attempt and row.status == ExportStatus.CANCELING):
        return Canceled()
    return NotOurs()


async def complete(session: AsyncSession, claim: Claim, made: Made, company_bytes: int) -> None:
    """Records the file; the export ends otherwise when it was stopped meanwhile, or others took the company's room."""
    await hasten_sending(session, claim)
    still = select(Export.id).where(
        *named(claim), Export.attempt == claim.attempt, Export.status == ExportStatus.RUNNING
    )
    if await session.scalar(still.with_for_update()) is None:
        await write_end(session, claim, status=ExportStatus.CANCELED)
        return
    await session.execute(TAKE_COMPANY, {"lock": COMPLETION_LOCK, "company_id": claim.company_id})
    if await live_bytes(session, claim.company_id) + made.stored.bytes > company_bytes:
        refusal = storage_limit()
        await write_end(
            session, claim, status=ExportStatus.FAILED, error_code=refusal.code, error_message=refusal.message
        )
        return
    row = {
        "company_id": claim.company_id,
        "name": made.name,
        "content_type": made.content_type,
        "key": made.key,
        "bytes": made.stored.bytes,
        "sha256": made.stored.sha256,
        "expires_at": func.now() + made.life,
    }
    file_id: UUID | None = await session.scalar(insert(File).values(row).returning(File.id))
    await write_end(
        session,
        claim,
        status=ExportStatus.COMPLETED,
        file_id=file_id,
        bytes=made.stored.bytes,
        sha256=made.stored.sha256,
        rows_total=made.rows,
        rows_processed=made.rows,
        exported_at=func.now(),
    )


def storage_limit() -> CannotExport:
    return CannotExport("STORAGE_LIMIT", "The company's files would hold more than they may; delete exports.")


async def end(session: AsyncSession, claim: Claim, **values: object) -> None:
    """The last write of an attempt, for whatever reason it ends; an export that is over already stays as it is."""
    await hasten_sending(session, claim)
    await write_end(session, claim, **values)


async def hasten_sending(session: AsyncSession, claim: Claim) -> None:
    """Has the campaign go on that waits for its letters.

    Before the export is locked: whoever cancels the campaign locks its job first, and then its exports.
    """
    found = (await session.execute(select(Export.kind, Export.campaign_id).where(*named(claim)))).one_or_none()
    campaign_id = None if found is None else letters_of(found)
    if campaign_id is not None:
        await hasten(session, claim.company_id, JobKind.CAMPAIGN, campaign_id)


async def write_end(session: AsyncSession, claim: Claim, **values: object) -> None:
    ended = (
        update(Export)
        .where(*named(claim), Export.status.in_([*WAITING, ExportStatus.CANCELING]))
        .values(**values, checkpoint=None, **signs_of_life())
        .returning(Export.kind, Export.campaign_id)
    )
    row = (await session.execute(ended)).one_or_none()
    if row is not None:
        await tell(session, claim, row)


def named(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return Export.company_id == claim.company_id, Export.id == claim.subject_id


def signs_of_life() -> dict[str, object]:
    return {
        "sequence": Export.sequence + 1,
        "heartbeat_at": func.clock_timestamp(),
        "updated_at": func.now(),
        "updated_in_db_at": func.now(),
    }


async def tell(session: AsyncSession, claim: Claim, row: AnyRow) -> None:
    """Of the export, and of the campaign whose letters it makes: that is as far as they are."""
    await signal(session, Channel.EXPORTS, claim.company_id, claim.subject_id)
    if (campaign_id := letters_of(row)) is not None:
        await signal(session, Channel.CAMPAIGNS, claim.company_id, campaign_id)


def letters_of(row: AnyRow) -> UUID | None:
    """The campaign whose letters an export makes; None of an export of another kind."""
    found: UUID | None = row.campaign_id if row.kind == ExportKind.LETTERS else None
    return found
