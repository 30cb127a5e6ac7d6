"""What does a client read of an error, and what does the log keep of it?

Errors that the client made are shown as they are; all others are masked, and the request id leads to the log line
that holds the detail. The log gets no statement's parameters: they are people's data.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path

import structlog
from graphql import GraphQLError, GraphQLFormattedError, GraphQLSyntaxError
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from resolvers.errors import ErrorCode

log = structlog.get_logger("gateway")

SYNTAX_ERROR = "GRAPHQL_PARSE_FAILED"
VALIDATION_ERROR = "GRAPHQL_VALIDATION_FAILED"
INTERNAL_ERROR = "INTERNAL_SERVER_ERROR"
UNAVAILABLE = "SERVICE_UNAVAILABLE"
TIMED_OUT = "TIMEOUT"
MESSAGES = {
    INTERNAL_ERROR: "Something went wrong.",
    UNAVAILABLE: "The service is unavailable; try again.",
    TIMED_OUT: "This took too long; ask for less, or try again later.",
}
# 40: the server gave the transaction up for the sake of another (a deadlock); it can be tried again.
UNREACHABLE_STATES = ("08", "40", "53", "57P")
STATEMENT_TIMEOUT_STATE = "57014"
PROJECT = Path(__file__).parent.parent
LAYERS = ("gateway", "schema", "resolvers", "jobs", "content", "store")
OWN_CODE = tuple(f"{PROJECT / layer}{os.sep}" for layer in LAYERS)
KEPT_FRAMES = 12


def fault_code(error: BaseException) -> str:
    """Which kind of fault of ours it is.

    UNAVAILABLE: the database cannot be reached, is going down, or has no room for another connection. TIMED_OUT: a
    statement was given up, by the server or by the driver, whose clocks run alike.
    """
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        if state == STATEMENT_TIMEOUT_STATE:
            return TIMED_OUT
        # Without a statement it was connecting that failed, whatever the server's reason.
        unreachable = error.connection_invalidated or error.statement is None or state.startswith(UNREACHABLE_STATES)
        return UNAVAILABLE if unreachable else INTERNAL_ERROR
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    return UNAVAILABLE if isinstance(error, PoolTimeoutError | OSError) else INTERNAL_ERROR


def answered_errors(errors: Sequence[GraphQLError], request_id: str) -> list[GraphQLFormattedError]:
    """The errors of an operation as the client reads them; those that are masked are logged."""
    return [answered(error, request_id) for error in errors]


def answered(error: GraphQLError, request_id: str) -> GraphQLFormattedError:
    cause = error.original_error
    if cause is not None and not isinstance(cause, GraphQLError) and not refuses_value(error):
        return masked(error, cause, request_id)
    found = error.formatted
    extensions = dict(found.get("extensions") or {})
    if "code" not in extensions:
        extensions["code"] = code_of(error)
    return {**found, "extensions": extensions}


def refuses_value(error: GraphQLError) -> bool:
    """Whether a scalar could not read a value of the document or of the variables, which the message quotes."""
    return error.path is None and error.nodes is not None and isinstance(error.original_error, ValueError)


def code_of(error: GraphQLError) -> str:
    """The code of an error that graphql-core made."""
    if isinstance(error, GraphQLSyntaxError):
        return SYNTAX_ERROR
    # Arguments that do not fit are found while the field is executed, and have its path.
    return VALIDATION_ERROR if error.path is None else ErrorCode.BAD_USER_INPUT.value


def masked(error: GraphQLError, cause: Exception, request_id: str) -> GraphQLFormattedError:
    report(cause, request_id)
    code = fault_code(cause)
    found: GraphQLFormattedError = {
        "message": MESSAGES[code],
        "extensions": {"code": code, "requestId": request_id},
    }
    if error.path is not None:
        found["path"] = error.path
    if error.locations is not None:
        found["locations"] = [location.formatted for location in error.locations]
    return found


def report(cause: BaseException, request_id: str) -> None:
    """Writes what is needed to find the fault: where it happened, and its text unless the database wrote it."""
    frames = traceback.extract_tb(cause.__traceback__)
    # A statement fails deep in libraries: which of our functions asked for it is what tells.
    own = [frame for frame in frames[:-1] if frame.filename.startswith(OWN_CODE)]
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in (*own[-KEPT_FRAMES:], *frames[-1:])]
    if isinstance(cause, StatementError):
        detail = f"{type(cause.orig).__name__}, SQLSTATE {getattr(cause.orig, 'sqlstate', None)}"
    else:
        detail = str(cause)
    log.error("request.failed", request_id=request_id, error=type(cause).__name__, detail=detail, where=where)
