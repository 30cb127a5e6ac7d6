"""What is left of exports that nobody can have any more, and what is to become of it?"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, exists, func, or_, select, update

from jobs.exports.spool import Spool, Spooled
from store.database import Database
from store.files import Files
from store.jobs import enqueue
from store.models import Export, ExportStatus, File, Job, JobKind
from store.signals import Channel, signal
from store.sql_types import AnyRow

MOST_FILES = 500
IN_THE_MAKING = (ExportStatus.PENDING, ExportStatus.RUNNING, ExportStatus.CANCELING)


async def sweep_exports(database: Database, files: Files, spool: Spool) -> None:
    """Ends exports whose file's life is over, deletes files that are over or belong to no export, tidies the spool,
    and gives a job to exports that wait for a worker without one.

    The row of a file goes last, so whatever cuts this off is done by the next sweep.
    """
    await sweep_files(database, files)
    for spooled in await asyncio.to_thread(spool.all):
        if not await is_in_the_making(database, spooled):
            await asyncio.to_thread(spooled.remove)
    await take_up(database)


async def sweep_files(database: Database, files: Files) -> None:
    found: dict[int, list[AnyRow]] = defaultdict(list)
    async with database.working() as session:
        for row in await session.execute(OVER):
            found[row.company_id].append(row)
    for company_id, rows in found.items():
        file_ids = [row.id for row in rows]
        await expire(database, company_id, file_ids)
        for row in rows:
            await files.delete(row.key)
        async with database.writing(company_id) as session:
            # Exports before files, as whoever deletes an export takes them: they would wait for each other.
            holding = select(Export.id).where(Export.company_id == company_id, Export.file_id.in_(file_ids))
            await session.execute(holding.with_for_update())
            await session.execute(delete(File).where(File.company_id == company_id, File.id.in_(file_ids)))


OVER = (
    select(File.company_id, File.id, File.key)
    .where(
        or_(
            File.expires_at <= func.now(),
            ~exists().where(Export.company_id == File.company_id, Export.file_id == File.id),
        )
    )
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


async def is_in_the_making(database: Database, spooled: Spooled) -> bool:
    wanted = select(Export.status).where(Export.company_id == spooled.company_id, Export.id == spooled.export_id)
    async with database.writing(spooled.company_id) as session:
        return await session.scalar(wanted) in IN_THE_MAKING


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
