"""How is an export asked for, asked for again, stopped and deleted?

Whoever changes an export locks its row first, then its job and its file; of workers nobody waits for the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from sqlalchemy import BigInteger, cast, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.changes.campaign_drafts import FilterForm, FilterGiven
from resolvers.changes.campaigns import refuse_if
from resolvers.changes.export_drafts import ExportDraft, ExportGiven, PeriodGiven, read_export
from resolvers.changes.idempotency import Request, claim, keep_answer
from resolvers.changes.outcomes import Outcome
from resolvers.changes.user_errors import Refused, UserError, UserErrorCode, refused
from resolvers.context import Context, Viewer
from resolvers.exports import EXPORT
from store import access
from store.jobs import enqueue, withdraw
from store.models import (
    Campaign,
    CampaignStatus,
    Export,
    ExportFormat,
    ExportKind,
    ExportStatus,
    File,
    JobKind,
    JsonValue,
    Role,
)
from store.signals import Channel, signal
from store.sql_types import AnyRow

# The first of the two numbers of an advisory lock; any will do, as long as nothing else takes it.
EXPORT_LOCK = 7_364_204
TAKE_EXPORT_LOCK = text("SELECT pg_advisory_xact_lock(:lock, :company_id)")
WRITING = frozenset({ExportStatus.RUNNING, ExportStatus.CANCELING})
UNFINISHED = WRITING | {ExportStatus.PENDING}
COLUMNS = (
    "id",
    "kind",
    "format",
    "status",
    "parameters",
    "campaign_id",
    "requested_by_id",
    "file_id",
    "is_available_for_download",
)


async def request_export(context: Context, given: ExportGiven, *, idempotency_key: str | None) -> Outcome:
    """A new export that waits for a worker; the same key makes it once."""
    viewer = context.viewer
    request = Request("requestExport", {"export": given}, idempotency_key)
    async with context.writing() as session:
        claimed = await claim(session, viewer, request)
        if claimed is not None and claimed.answer is not None:
            return Outcome(tuple(UUID(key) for key in claimed.answer))
        draft, errors = await read_export(session, viewer, given)
        refuse_if(errors)
        export_id = await queued(context, session, draft)
        await keep_answer(session, viewer, claimed, [str(export_id)])
    return Outcome((export_id,))


async def regenerate_export(context: Context, id: str, *, idempotency_key: str | None) -> Outcome:
    """A new export of the viewer with the same kind, format and parameters as one whose file cannot be had any more."""
    viewer = context.viewer
    async with context.writing() as session:
        claimed = await claim(session, viewer, Request("regenerateExport", {"id": id}, idempotency_key))
        if claimed is not None and claimed.answer is not None:
            return Outcome(tuple(UUID(key) for key in claimed.answer))
        found = await find_export(session, viewer, id)
        refuse_if(not_expired(found))
        await refuse_while_sending(session, viewer, found)
        draft, errors = await read_again(session, viewer, found)
        refuse_if(errors, "export", "parameters")
        export_id = await queued(context, session, draft, regenerated_from_id=found.id)
        await keep_answer(session, viewer, claimed, [str(export_id)])
    return Outcome((export_id,))


async def cancel_export(context: Context, id: str) -> Outcome:
    """Stops an export: at once if no worker has it, else the worker is asked to; asking twice is asking once."""
    viewer = context.viewer
    async with context.writing() as session:
        found = await find_export(session, viewer, id)
        refuse_if(rights_missing(found, viewer))
        if found.status not in UNFINISHED:
            raise wrong_status(f"The export is {found.status} already: there is nothing to stop.")
        free = await withdraw(session, viewer.company_id, JobKind.EXPORT, found.id)
        if free or found.status == ExportStatus.PENDING:
            await store(session, viewer, found.id, {"status": ExportStatus.CANCELED})
        elif found.status == ExportStatus.RUNNING:
            await store(session, viewer, found.id, {"status": ExportStatus.CANCELING})
    return Outcome((found.id,))


async def delete_export(context: Context, id: str) -> Outcome:
    """Takes an export away, and ends the life of its file: links to it lead nowhere from now on."""
    viewer = context.viewer
    async with context.writing() as session:
        found = await find_export(session, viewer, id)
        refuse_if(rights_missing(found, viewer))
        if found.status in WRITING:
            raise wrong_status(f"The export is {found.status}: cancel it, and delete it once it has stopped.")
        await withdraw(session, viewer.company_id, JobKind.EXPORT, found.id)
        if found.file_id is not None:
            ended = update(File).where(File.company_id == viewer.company_id, File.id == found.file_id)
            await session.execute(ended.values(expires_at=func.least(File.expires_at, func.now())))
        await session.execute(delete(Export).where(Export.company_id == viewer.company_id, Export.id == found.id))
        await signal(session, Channel.EXPORTS, viewer.company_id, found.id)
    return Outcome((found.id,))


async def find_export(session: AsyncSession, viewer: Viewer, id: str) -> AnyRow:
    """The export as it is now; nobody else changes it until the unit of work ends. Raises EXPORT_NOT_FOUND."""
    key = EXPORT.parse_or_none(id)
    columns = [EXPORT.columns[name].label(name) for name in COLUMNS]
    visible = select(*columns).select_from(EXPORT.rows).where(access.exports())
    wanted = visible.where(Export.id == key).with_for_update(of=Export)
    parameters = viewer.identity.scope.parameters()
    row = None if key is None else (await session.execute(wanted, parameters)).one_or_none()
    if row is None:
        raise refused(["id"], UserErrorCode.EXPORT_NOT_FOUND, "There is no Export with this id.")
    return row


def rights_missing(found: AnyRow, viewer: Viewer) -> Iterator[UserError]:
    if found.requested_by_id != viewer.user_id and viewer.identity.role is not Role.ADMIN:
        said = "Only who asked for the export, and administrators, may do this."
        yield UserError(("id",), UserErrorCode.FORBIDDEN, said)


def wrong_status(message: str) -> Refused:
    return refused(["id"], UserErrorCode.WRONG_STATUS, message)


def not_expired(found: AnyRow) -> Iterator[UserError]:
    if found.status in UNFINISHED:
        said = "The export is still being made; wait for it, or cancel it."
        yield UserError(("id",), UserErrorCode.EXPORT_NOT_EXPIRED, said)
    elif found.is_available_for_download:
        yield UserError(("id",), UserErrorCode.EXPORT_NOT_EXPIRED, "The file of the export can still be downloaded.")


async def refuse_while_sending(session: AsyncSession, viewer: Viewer, found: AnyRow) -> None:
    """Raises WRONG_STATUS for letters whose campaign is being sent: that makes its letters itself."""
    if found.kind != ExportKind.LETTERS:
        return
    its = Campaign.company_id == viewer.company_id, Campaign.id == found.campaign_id
    if await session.scalar(select(Campaign.status).where(*its)) == CampaignStatus.SENDING:
        raise wrong_status("The campaign is being sent, which makes its letters; wait until it is over.")


async def read_again(session: AsyncSession, viewer: Viewer, found: AnyRow) -> tuple[ExportDraft, Sequence[UserError]]:
    """What an export was, as it would be now; letters have no parameters, and are those that were made before."""
    if found.kind == ExportKind.LETTERS:
        return ExportDraft(ExportKind.LETTERS, ExportFormat(found.format), {}, found.campaign_id), ()
    return await read_export(session, viewer, stored_given(found))


def stored_given(found: AnyRow) -> ExportGiven:
    """What an export was asked for with, to be read again: fields, lists and campaigns may have gone since."""
    parameters: Mapping[str, JsonValue] = found.parameters
    start, end = parameters.get("startDateTime"), parameters.get("endDateTime")
    wanted = parameters.get("filter")
    return ExportGiven(
        ExportKind(found.kind),
        ExportFormat(found.format),
        list_ids=texts(parameters.get("listIds")),
        contact_ids=texts(parameters.get("contactIds")),
        campaign_id=None if found.campaign_id is None else str(found.campaign_id),
        period=None if start is None else PeriodGiven(str(start), str(end)),
        filter=None if wanted is None else FilterGiven(wanted, FilterForm.STORED),
        columns=texts(parameters.get("columns")),
        raw=parameters.get("raw") is True,
        stored=True,
    )


def texts(value: JsonValue) -> list[str] | None:
    return [str(entry) for entry in value] if isinstance(value, list) else None


async def queued(
    context: Context, session: AsyncSession, draft: ExportDraft, *, regenerated_from_id: UUID | None = None
) -> UUID:
    """A new export of the viewer and its job; raises `Refused` when the company has too many, or too much, of them."""
    viewer = context.viewer
    await refuse_too_many(context, session)
    row = {
        "company_id": viewer.company_id,
        "kind": draft.kind,
        "format": draft.format,
        "parameters": dict(draft.parameters),
        "requested_by_id": viewer.user_id,
        "campaign_id": draft.campaign_id,
        "regenerated_from_id": regenerated_from_id,
    }
    export_id: UUID = (await session.execute(insert(Export).values(row).returning(Export.id))).scalar_one()
    await enqueue(session, viewer.company_id, JobKind.EXPORT, export_id)
    await signal(session, Channel.EXPORTS, viewer.company_id, export_id)
    return export_id


async def refuse_too_many(context: Context, session: AsyncSession) -> None:
    """Raises RATE_LIMITED or STORAGE_LIMIT; requests of one company wait for each other, so that all are counted."""
    company_id, services = context.viewer.company_id, context.services
    await session.execute(TAKE_EXPORT_LOCK, {"lock": EXPORT_LOCK, "company_id": company_id})
    waiting = select(func.count()).where(Export.company_id == company_id, Export.status.in_(UNFINISHED))
    stored_bytes = select(func.coalesce(cast(func.sum(File.bytes), BigInteger), 0)).where(
        File.company_id == company_id, File.expires_at > func.now()
    )
    counted = (await session.execute(select(waiting.scalar_subquery(), stored_bytes.scalar_subquery()))).one()
    if counted[0] >= services.exports_waiting:
        said = f"The company has {counted[0]:,} exports that wait or run, which is as many as it may have. Try later."
        raise refused([], UserErrorCode.RATE_LIMITED, said)
    if counted[1] >= services.export_bytes:
        said = (
            f"The files of the company's exports have {counted[1]:,} bytes, of {services.export_bytes:,} that they"
            " may have. Delete exports first."
        )
        raise refused([], UserErrorCode.STORAGE_LIMIT, said)


async def store(session: AsyncSession, viewer: Viewer, id: UUID, values: Mapping[str, object]) -> None:
    """Writes the columns, as a change that those who watch the export are told."""
    stamps = {"sequence": Export.sequence + 1, "updated_at": func.now(), "updated_in_db_at": func.now()}
    changed = update(Export).where(Export.company_id == viewer.company_id, Export.id == id)
    await session.execute(changed.values({**values, **stamps}))
    await signal(session, Channel.EXPORTS, viewer.company_id, id)
