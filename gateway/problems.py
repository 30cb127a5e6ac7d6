"""What does a client read of an error, and what does the log keep of it?

Errors that the client made are shown as they are; all others are masked, and the request id leads to the log line
that holds the detail. The log gets no statement's parameters: they are people's data.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from graphql import GraphQLError, GraphQLFormattedError, GraphQLSyntaxError
from sqlalchemy.exc import DBAPIError, StatementError

from resolvers.errors import ErrorCode
from store.faults import is_outage, places_of

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
STATEMENT_TIMEOUT_STATE = "57014"


def fault_code(error: BaseException) -> str:
    """Which kind of fault of ours it is.

    UNAVAILABLE: the database cannot be reached, is going down, or has no room for another connection. TIMED_OUT: a
    statement was given up, by the server or by the driver, whose clocks run alike.
    """
    stopped = isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == STATEMENT_TIMEOUT_STATE
    if stopped or isinstance(error, TimeoutError):
        return TIMED_OUT
    return UNAVAILABLE if is_outage(error) else INTERNAL_ERROR


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
    if isinstance(cause, StatementError):
        detail = f"{type(cause.orig).__name__}, SQLSTATE {getattr(cause.orig, 'sqlstate', None)}"
    else:
        detail = str(cause)
    log.error(
        "request.failed", request_id=request_id, error=type(cause).__name__, detail=detail, where=places_of(cause)
    )
