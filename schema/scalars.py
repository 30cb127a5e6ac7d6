"""Which scalars does the API have beyond GraphQL's own?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NewType
from uuid import UUID

import strawberry
from strawberry.types.scalar import ScalarDefinition

URL = NewType("URL", str)
EmailAddress = NewType("EmailAddress", str)
BigInt = NewType("BigInt", int)
# A time as a client writes it: in which zone is known only where the company is.
Moment = NewType("Moment", str)


def written_time(value: datetime) -> str:
    """ISO 8601 in UTC, as every answer has it."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("A DateTime is a text.")  # noqa: TRY004 - graphql-core shows these
    return datetime.fromisoformat(value)


def read_moment_text(value: object) -> Moment:
    if not isinstance(value, str):
        raise ValueError("A Moment is a text.")  # noqa: TRY004 - the same
    return Moment(value)


def read_whole_number(value: object) -> BigInt:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("A BigInt is a whole number.")  # noqa: TRY004 - the same
    return BigInt(value)


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment: ISO 8601, in UTC, such as 2026-11-21T09:30:00Z.",
        serialize=written_time,
        parse_value=read_time,
        specified_by_url="https://scalars.graphql.org/andimarek/date-time",
    ),
    UUID: strawberry.scalar(
        name="UUID",
        description="A universally unique identifier, as RFC 9562 writes it.",
        serialize=str,
        parse_value=lambda value: UUID(str(value)),
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
    ),
    URL: strawberry.scalar(name="URL", description="An absolute URL (RFC 3986).", serialize=str, parse_value=URL),
    EmailAddress: strawberry.scalar(
        name="EmailAddress",
        description="An e-mail address (RFC 5322 addr-spec).",
        serialize=str,
        parse_value=EmailAddress,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number that may be larger than an Int; JavaScript holds it exactly to 2^53.",
        serialize=int,
        parse_value=read_whole_number,
    ),
    Moment: strawberry.scalar(
        name="Moment",
        description="A time as you write it: ISO 8601 (2026-11-30T09:00:00Z), or `Y-m-d H:i:s` in the company's time "
        "zone (2026-11-30 09:00:00). What is no time, or two, is answered as a user error.",
        serialize=str,
        parse_value=read_moment_text,
    ),
}
