"""What came of a change?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from resolvers.changes.user_errors import Path, Refused, UserError, UserErrorCode, absent
from resolvers.context import Context, DownloadLink
from resolvers.errors import ClientError, ErrorCode
from resolvers.global_ids import Key
from resolvers.sources import Source
from store.models import JsonValue, TokenScope

FOREIGN_KEY_VIOLATION = "23503"


@dataclass(frozen=True)
class FieldConflict:
    """A value that the client would have changed without having seen what it is by now."""

    path: Path
    yours: JsonValue
    current: JsonValue


@dataclass(frozen=True)
class Outcome:
    """`keys`: of the rows that were made or changed (none when it was refused, or only tried). `link`: to a preview.

    `count`: how many others were changed with them, where the client is told.
    """

    keys: tuple[Key, ...] = ()
    errors: tuple[UserError, ...] = ()
    conflicts: tuple[FieldConflict, ...] = ()
    link: DownloadLink | None = None
    count: int = 0

    @property
    def key(self) -> Key | None:
        return self.keys[0] if self.keys else None


class Conflicting(Refused):
    """The row is not the one that the client saw."""

    def __init__(
        self, key: Key, conflicts: tuple[FieldConflict, ...], message: str, others: Sequence[UserError] = ()
    ) -> None:
        super().__init__([UserError(("expectedVersion",), UserErrorCode.VERSION_CONFLICT, message), *others])
        self.key = key
        self.conflicts = conflicts


async def carried_out(context: Context, scope: TokenScope, change: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Makes a change, or says why not; what is read afterwards shows it. Raises FORBIDDEN without the token's scope."""
    if scope not in context.viewer.token_scopes:
        raise ClientError(ErrorCode.FORBIDDEN, f"This token lacks the scope {scope}.")
    # Its connection goes back first: operations that hold one and wait for another would wait for each other.
    await context.forget()
    try:
        return await change()
    except Conflicting as conflict:
        return Outcome((conflict.key,), conflict.errors, conflict.conflicts)
    except Refused as refusal:
        return Outcome(errors=refusal.errors)
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != FOREIGN_KEY_VIOLATION:
            raise
        message = "Something that this names was deleted meanwhile."
        return Outcome(errors=(UserError((), UserErrorCode.NOT_FOUND, message),))


def named_key(source: Source, text: str, *path: str) -> Key:
    """The key that an id names; raises `Refused` with NOT_FOUND when nothing can have it."""
    key = source.parse_or_none(text)
    if key is None:
        raise not_found(source, *path)
    return key


def not_found(source: Source, *path: str) -> Refused:
    """Absent and foreign look the same."""
    return Refused([absent(source.typename, path)])
