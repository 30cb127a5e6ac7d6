"""What kind of fault is it, and where in our own code did it come from?"""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

# Classes of SQLSTATE: connection exceptions, transactions given up for the sake of others (deadlocks), too little of
# something, and a server that goes down.
UNREACHABLE_STATES = ("08", "40", "53", "57P")
PROJECT = Path(__file__).parent.parent
LAYERS = ("engine", "gateway", "schema", "resolvers", "jobs", "content", "store")
OWN_CODE = tuple(f"{PROJECT / layer}{os.sep}" for layer in LAYERS)
KEPT_FRAMES = 12


def is_outage(error: BaseException) -> bool:
    """Whether the database cannot serve at the moment, so that trying again may help."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        # Without a statement it was connecting that failed, whatever the server's reason.
        return error.connection_invalidated or error.statement is None or state.startswith(UNREACHABLE_STATES)
    # The first is what the driver says, past SQLAlchemy, of a connection that is not closed yet and on which the server
    # has taken its leave.
    return isinstance(error, asyncpg.InternalClientError | PoolTimeoutError | OSError)


def places_of(error: BaseException) -> list[str]:
    """Which of our functions asked for what failed, which may be deep in libraries, and where it failed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames[:-1] if frame.filename.startswith(OWN_CODE)]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in (*own[-KEPT_FRAMES:], *frames[-1:])]
