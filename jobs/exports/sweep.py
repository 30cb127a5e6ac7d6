"""What is left of exports that nobody can have any more, and what is to become of it?"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, exists, func, or_, select, update

from jobs.exports.spool import Spool, Spooled, folder_of
from jobs.faults import report
from store.database import Database
from store.files import Files
from store.jobs import enqueue
from store.models import Export, ExportStatus, File, Job, JobKind
from store.signals import Channel, signal
from store.sql_types import AnyRow

MOST_FILES = 500
IN_THE_MAKING = (ExportStatus.PENDING, ExportStatus.RUNNING, ExportStatus.CANCELING)


async def sweep_files(database: Database, files: Files) -> None:
    """Ends exports whose file's life is over, and deletes files that are over or belong to no export.

    The row of a file goes last, so whatever cuts this off is done by the next sweep. A file that cannot be deleted
    keeps its row, and keeps no other file.
    """
    found: dict[int, list[AnyRow]] = defaultdict(list)
    async with database.working() as session:
        for row in await session.execute(OVER):
            found[row.company_id].append(row)
    for company_id, rows in found.items():
        await expire(database, company_id, [row.id for row in rows])
        gone = [row.id for row in rows if await is_deleted(files, row.key)]
        async with database.writing(company_id) as session:
            # Exports before files, as whoever deletes an export takes them: they would wait for each other.
            holding = select(Export.id).where(Export.company_id == company_id, Export.file_id.in_(gone))
            await session.execute(holding.with_for_update())
            await session.execute(delete(File).where(File.company_id == company_id, File.id.in_(gone)))


async def is_deleted(files: Files, key: str) -> bool:
    try:
        await files.delete(key)
    except Exception as error:  # noqa: BLE001 - reported; the others are deleted all the same
        report(error, "deleting a file")
        return False
    return True


async def sweep_spool(database: Database, files: Files, spool: Spool) -> None:
    """Removes what attempts have left of exports that are over, wherever their workers were killed."""
    for spooled in await asyncio.to_thread(spool.all):
        await clear(database, files, spooled)


async def clear(database: Database, files: Files, spooled: Spooled) -> None:
    """Removes all that there is of an export but the file that its row names; nothing while it is in the making."""
    wanted = (
        select(Export.status, File.key)
        .join(File, (File.company_id == Export.company_id) & (File.id == Export.file_id), isouter=True)
        .where(Export.company_id == spooled.company_id, Export.id == spooled.export_id)
    )
    async with database.writing(spooled.company_id) as session:
        row = (await session.execute(wanted)).one_or_none()
    if row is not None and row.status in IN_THE_MAKING:
        return
    for key in await files.keys(folder_of(spooled.company_id, spooled.export_id)):
        if row is None or key != row.key:
            await files.delete(key)
    await asyncio.to_thread(spooled.remove)


OVER = (
    select(File.company_id, File.id, File.key)
    .where(
        or_(
            File.expires_at <= func.now(),
            ~exists().where(Export.company_id == File.company_id, Export.file_id == File.id),
        )
    )
    .order_by(File.expires_at.desc())
    .limit(MOST_FILES)
)

WITHOUT_JOB = (
    Export.status.in_(IN_THE_MAKING),
    ~exists().where(Job.company_id == Export.company_id, Job.kind == JobKind.EXPORT, Job.subject_id == Export.id),
)


async def expire(database: Database, company_id: int, file_ids: Sequence[UUID]) -> None:
    ended = (
        update(Export)
        .where(Export.company_id == company_id, Export.file_id.in_(file_ids), Export.status == ExportStatus.COMPLETED)
        .values(
            status=ExportStatus.EXPIRED,
            sequence=Export.sequence + 1,
            updated_at=func.now(),
            updated_in_db_at=func.now(),
        )
        .returning(Export.id)
        .execution_options(synchronize_session=False)
    )
    async with database.writing(company_id) as session:
        for export_id in (await session.scalars(ended)).all():
            await signal(session, Channel.EXPORTS, company_id, export_id)


async def take_up(database: Database) -> None:
    """A job for each export that nobody would ever make: those of demo data, and of whatever went wrong."""
    async with database.working() as session:
        forgotten = (await session.execute(select(Export.company_id, Export.id).where(*WITHOUT_JOB))).all()
    for row in forgotten:
        named = Export.company_id == row.company_id, Export.id == row.id
        async with database.writing(row.company_id) as session:
            # The lock first, by a statement of its own: the next one sees what another sweep has left meanwhile.
            await session.execute(select(Export.id).where(*named).with_for_update())
            if await session.scalar(select(Export.id).where(*named, *WITHOUT_JOB)) is not None:
                await enqueue(session, row.company_id, JobKind.EXPORT, row.id)
