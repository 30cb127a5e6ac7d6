"""What keeps a change from being made, and what of it is the client's to mend?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from content.problems import ContentProblemCode

Path = tuple[str, ...]


class UserErrorCode(StrEnum):
    """What a client can switch on."""

    REQUIRED = "REQUIRED"
    TOO_LONG = "TOO_LONG"
    TOO_MANY = "TOO_MANY"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    INVALID_CHARACTER = "INVALID_CHARACTER"
    INVALID_EMAIL = "INVALID_EMAIL"
    INVALID_URL = "INVALID_URL"
    INVALID_DOMAIN_SLUG = "INVALID_DOMAIN_SLUG"
    INVALID_TIME = "INVALID_TIME"
    NOT_IN_FUTURE = "NOT_IN_FUTURE"
    NOT_AFTER = "NOT_AFTER"
    NOT_FOUND = "NOT_FOUND"
    FORBIDDEN = "FORBIDDEN"
    DUPLICATE = "DUPLICATE"
    IN_USE = "IN_USE"
    DOMAIN_MISSING = "DOMAIN_MISSING"
    SENDER_NOT_OF_DOMAIN = "SENDER_NOT_OF_DOMAIN"
    TEMPLATE_TYPE_MISMATCH = "TEMPLATE_TYPE_MISMATCH"
    TEMPLATE_DELETED = "TEMPLATE_DELETED"
    NOT_AN_EMAIL = "NOT_AN_EMAIL"
    ALREADY_SENT = "ALREADY_SENT"
    NOT_APPROVED = "NOT_APPROVED"
    ALREADY_APPROVED = "ALREADY_APPROVED"
    WRONG_STATUS = "WRONG_STATUS"
    PAUSED = "PAUSED"
    NOT_PAUSED = "NOT_PAUSED"
    EMPTY_AUDIENCE = "EMPTY_AUDIENCE"
    RECIPIENT_COUNT_CHANGED = "RECIPIENT_COUNT_CHANGED"
    NOTHING_UNKNOWN = "NOTHING_UNKNOWN"
    VERSION_CONFLICT = "VERSION_CONFLICT"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    RATE_LIMITED = "RATE_LIMITED"
    STORAGE_LIMIT = "STORAGE_LIMIT"
    EXPORT_NOT_FOUND = "EXPORT_NOT_FOUND"
    EXPORT_NOT_EXPIRED = "EXPORT_NOT_EXPIRED"
    INVALID_FILTER = "INVALID_FILTER"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    OPERATOR_NOT_ALLOWED = "OPERATOR_NOT_ALLOWED"
    INVALID_VALUE = "INVALID_VALUE"
    FILTER_TOO_COMPLEX = "FILTER_TOO_COMPLEX"
    UNKNOWN_MERGE_FIELD = "UNKNOWN_MERGE_FIELD"
    MERGE_FIELD_MISPLACED = "MERGE_FIELD_MISPLACED"
    CONTENT_FIELD_MISSING = "CONTENT_FIELD_MISSING"
    INVALID_MJML = "INVALID_MJML"


CONTENT_CODES = {
    ContentProblemCode.UNKNOWN_MERGE_FIELD: UserErrorCode.UNKNOWN_MERGE_FIELD,
    ContentProblemCode.TOO_MANY_MERGE_FIELDS: UserErrorCode.TOO_MANY,
    ContentProblemCode.MERGE_FIELD_IN_URL: UserErrorCode.MERGE_FIELD_MISPLACED,
    ContentProblemCode.MERGE_FIELD_IN_STYLE: UserErrorCode.MERGE_FIELD_MISPLACED,
    ContentProblemCode.MERGE_FIELD_IN_TAG: UserErrorCode.MERGE_FIELD_MISPLACED,
    ContentProblemCode.CONTENT_MISSING: UserErrorCode.CONTENT_FIELD_MISSING,
    ContentProblemCode.CONTENT_REPEATED: UserErrorCode.MERGE_FIELD_MISPLACED,
    ContentProblemCode.CONTENT_MISPLACED: UserErrorCode.MERGE_FIELD_MISPLACED,
    ContentProblemCode.CONTROL_CHARACTER: UserErrorCode.INVALID_CHARACTER,
    ContentProblemCode.INVALID_MJML: UserErrorCode.INVALID_MJML,
}


@dataclass(frozen=True)
class UserError:
    """One reason why a change was not made; `path` leads from the mutation's arguments to the value."""

    path: Path
    code: UserErrorCode
    message: str

    def below(self, *prefix: str) -> UserError:
        """The same error, of a value that stands deeper."""
        return UserError((*prefix, *self.path), self.code, self.message)


class Refused(Exception):
    """The change is not made: raised within the unit of work, so that all of it is undone."""

    def __init__(self, errors: Iterable[UserError]) -> None:
        self.errors = tuple(errors)
        super().__init__(", ".join(error.code for error in self.errors))


def refused(path: Sequence[str], code: UserErrorCode, message: str) -> Refused:
    """A refusal for one reason."""
    return Refused([UserError(tuple(path), code, message)])


def absent(typename: str, path: Iterable[str]) -> UserError:
    """A row that is not there, or is another company's: the same answer for both."""
    return UserError(tuple(path), UserErrorCode.NOT_FOUND, f"There is no {typename} with this id.")


def text_errors(path: Path, value: str, longest: int) -> list[UserError]:
    """What keeps a text from being stored."""
    if len(value) > longest:
        return [UserError(path, UserErrorCode.TOO_LONG, f"This may have at most {longest:,} characters.")]
    if "\x00" in value:
        return [UserError(path, UserErrorCode.INVALID_CHARACTER, "This holds a character that no text here can hold.")]
    return []


def line_errors(path: Path, value: str, longest: int) -> list[UserError]:
    """What keeps a text of one line (a name, a subject, an address) from being stored.

    Control characters and Unicode's line breaks: in a header they would begin another one (RFC 5322, 2.2).
    """
    if len(value) <= longest and any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in value):
        return [UserError(path, UserErrorCode.INVALID_CHARACTER, "This must be one line, without control characters.")]
    return text_errors(path, value, longest)
