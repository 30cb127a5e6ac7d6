"""What does a worker do with the job of an export, and what is recorded of it and removed when it is over?"""

from __future__ import annotations

import errno

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.exports import states
from jobs.exports.attempt import Attempt, Means
from jobs.exports.spool import Spool
from jobs.exports.states import Begun, Canceled, Made, NotOurs
from jobs.exports.sweep import clear
from jobs.faults import through_outages
from jobs.queue import Claim, Write, nothing
from store.exports import CannotExport
from store.files import FilesUnavailable
from store.models import ExportStatus

# What is written for people when an attempt could not be made good by another one.
DISK_FULL = CannotExport("DISK_FULL", "There was no room for the file.")
STORAGE_UNAVAILABLE = CannotExport("STORAGE_UNAVAILABLE", "The file store could not be reached, or refused the file.")
GIVEN_UP = CannotExport("INTERNAL_ERROR", "Something went wrong while it was written.")


class Exporter:
    """Does the jobs of the kind EXPORT."""

    def __init__(self, means: Means, spool: Spool) -> None:
        self._means = means
        self._spool = spool

    async def __call__(self, claim: Claim) -> Write:
        try:
            begun = await through_outages(lambda: self._begin(claim))
            spooled = self._spool.of(claim.company_id, claim.subject_id)
            made = await Attempt(self._means, claim, begun, spooled).run()
        except NotOurs:
            return nothing
        except Canceled:
            return ending(claim, status=ExportStatus.CANCELED)
        except CannotExport as refusal:
            return failing(claim, refusal)
        return self._completing(claim, made)

    def given_up(self, claim: Claim, error: BaseException) -> Write:
        """FAILED, with the reason as far as it is one that people can do something about."""
        return failing(claim, reason_of(error))

    async def over(self, claim: Claim) -> None:
        """Removes what attempts have left in the store and in the spool; what is left all the same is swept."""
        spooled = self._spool.of(claim.company_id, claim.subject_id)
        await clear(self._means.database, self._means.files, spooled)

    async def _begin(self, claim: Claim) -> Begun:
        async with self._means.database.writing(claim.company_id) as session:
            return await states.begin(session, claim, self._means.limits.company_bytes)

    def _completing(self, claim: Claim, made: Made) -> Write:
        async def write(session: AsyncSession) -> None:
            await states.complete(session, claim, made, self._means.limits.company_bytes)

        return write


def failing(claim: Claim, refusal: CannotExport) -> Write:
    return ending(claim, status=ExportStatus.FAILED, error_code=refusal.code, error_message=refusal.message)


def ending(claim: Claim, **values: object) -> Write:
    async def write(session: AsyncSession) -> None:
        await states.end(session, claim, **values)

    return write


def reason_of(error: BaseException) -> CannotExport:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    return STORAGE_UNAVAILABLE if isinstance(error, FilesUnavailable) else GIVEN_UP
