"""What is said to a client who asked for something that cannot be answered?"""

from __future__ import annotations

from enum import StrEnum

from graphql import GraphQLError


class ErrorCode(StrEnum):
    """`extensions.code` of a top-level error; README.md lists them for clients."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    INVALID_CURSOR = "INVALID_CURSOR"
    INVALID_ID = "INVALID_ID"
    NOT_FOUND = "NOT_FOUND"
    FORBIDDEN = "FORBIDDEN"


class ClientError(GraphQLError):
    """An error that the client made; its message is written for them and is shown as it is."""

    def __init__(self, code: ErrorCode, message: str, **details: object) -> None:
        """`details` stand beside the code in `extensions`."""
        super().__init__(message, extensions={"code": code.value, **details})


def not_found(typename: str) -> ClientError:
    """Absent and not to be seen look the same."""
    return ClientError(ErrorCode.NOT_FOUND, f"There is no {typename} with this id.")
