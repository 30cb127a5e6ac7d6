"""What goes wrong in a worker: does it pass by itself, and what does the log keep of it?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
import structlog
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from jobs.queue import Claim
from store.faults import is_outage, places_of

T = TypeVar("T")

log = structlog.get_logger("worker")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
# Classes of SQLSTATE: connection exceptions, and a server that goes down.
LOST_STATES = ("08", "57P")


async def through_outages(operation: Callable[[], Awaitable[T]]) -> T:
    """What the operation returns, tried again for as long as the database is away; the caller sets the limit.

    It must do no harm that the operation is done twice: when a connection is lost, the commit may have happened.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await operation()
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            if not is_outage(error):
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def is_lost_database(error: BaseException) -> bool:
    """Whether a job was cut off because the database could not serve, which is no failure of the job.

    Jobs also write files and run programs, so only those faults of the operating system count that are a connection's.
    What is done past SQLAlchemy, as COPY is, raises the driver's own errors.
    """
    if isinstance(error, asyncpg.InterfaceError):
        # Its other texts tell of mistakes in the code, and no type sets this one apart.
        return str(error).endswith("connection is closed")
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(LOST_STATES)
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError)
    return is_outage(error)


def report(cause: BaseException, doing: str, claim: Claim | None = None) -> None:
    """Writes what is needed to find the fault: what it is and where it happened.

    Its text is left out: it may quote an address, a subject, or what a mail server said about them.
    """
    log.error(
        "worker.failed",
        doing=doing,
        error=type(cause).__name__,
        **({} if claim is None else about(claim)),
        **(of_statement(cause) if isinstance(cause, StatementError) else {}),
        where=places_of(cause),
    )


def of_statement(error: StatementError) -> dict[str, object]:
    return {"cause": type(error.orig).__name__, "sqlstate": getattr(error.orig, "sqlstate", None)}


def about(claim: Claim) -> dict[str, object]:
    """A job in the log, by numbers that mean something to operators only."""
    return {
        "kind": claim.kind.value,
        "company": claim.company_id,
        "job": claim.job_id,
        "subject": str(claim.subject_id),
        "attempt": claim.attempt,
        "failures": claim.failures,
    }
