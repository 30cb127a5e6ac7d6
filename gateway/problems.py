"""What does a client read of an error, and what does the log keep of it?

Errors that the client made are shown as they are; all others are masked, and the request id leads to the log line
that holds the detail. The log gets no statement's parameters: they are people's data.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

import structlog
from graphql import GraphQLError, GraphQLFormattedError, GraphQLSyntaxError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from resolvers.errors import ErrorCode

log = structlog.get_logger("gateway")

SYNTAX_ERROR = "GRAPHQL_PARSE_FAILED"
VALIDATION_ERROR = "GRAPHQL_VALIDATION_FAILED"
INTERNAL_ERROR = "INTERNAL_SERVER_ERROR"
UNAVAILABLE = "SERVICE_UNAVAILABLE"
UNREACHABLE_STATES = ("08", "53", "57P")


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database could not be reached, is going down, or has no room for another connection."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        return error.connection_invalidated or state.startswith(UNREACHABLE_STATES)
    return isinstance(error, PoolTimeoutError | OSError)


def answered_errors(errors: Sequence[GraphQLError], request_id: str) -> list[GraphQLFormattedError]:
    """The errors of an operation as the client reads them; those that are masked are logged."""
    return [answered(error, request_id) for error in errors]


def answered(error: GraphQLError, request_id: str) -> GraphQLFormattedError:
    cause = error.original_error
    if cause is not None and not isinstance(cause, GraphQLError):
        return masked(error, cause, request_id)
    found = error.formatted
    extensions = dict(found.get("extensions") or {})
    if "code" not in extensions:
        extensions["code"] = code_of(error)
    return {**found, "extensions": extensions}


def code_of(error: GraphQLError) -> str:
    """The code of an error that graphql-core made."""
    if isinstance(error, GraphQLSyntaxError):
        return SYNTAX_ERROR
    # Arguments that do not fit are found while the field is executed, and have its path.
    return VALIDATION_ERROR if error.path is None else ErrorCode.BAD_USER_INPUT.value


def masked(error: GraphQLError, cause: Exception, request_id: str) -> GraphQLFormattedError:
    report(cause, request_id)
    unavailable = is_unavailable(cause)
    found: GraphQLFormattedError = {
        "message": "The service is unavailable; try again." if unavailable else "Something went wrong.",
        "extensions": {"code": UNAVAILABLE if unavailable else INTERNAL_ERROR, "requestId": request_id},
    }
    if error.path is not None:
        found["path"] = error.path
    if error.locations is not None:
        found["locations"] = [location.formatted for location in error.locations]
    return found


def report(cause: BaseException, request_id: str) -> None:
    """Writes what is needed to find the fault: where it happened, and its text unless the database wrote it."""
    frames = traceback.extract_tb(cause.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
    if isinstance(cause, DBAPIError):
        detail = f"SQLSTATE {getattr(cause.orig, 'sqlstate', None)}"
    else:
        detail = str(cause)
    log.error("request.failed", request_id=request_id, error=type(cause).__name__, detail=detail, where=where)
