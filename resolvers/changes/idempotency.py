"""How does a request that is sent twice have its effect once?

The key is claimed in the transaction that makes the change. A second transaction with the same key waits for the first
at the primary key: if the first commits, the second answers what the first answered; if it is undone, the second
goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.changes.user_errors import Refused, UserErrorCode, line_errors, refused
from resolvers.context import Viewer
from store.models.requests import KEYS_ARE_KEPT, IdempotencyKey
from store.sql_types import AnyRow

LONGEST_KEY = 255
PATH = ("idempotencyKey",)


@dataclass(frozen=True)
class Request:
    """What was asked for: the mutation, its arguments as the client wrote them, and the key that they gave it."""

    mutation: str
    arguments: Mapping[str, object]
    key: str | None

    def sha256(self) -> bytes:
        written = json.dumps([self.mutation, self.arguments], sort_keys=True, default=plain)
        return hashlib.sha256(written.encode()).digest()


@dataclass(frozen=True)
class Claim:
    """`answer`: what the same request made before; None when it is the first."""

    key: str
    answer: Sequence[str] | None


def plain(value: object) -> object:
    return [getattr(value, part.name) for part in fields(value)] if is_dataclass(value) else str(value)


def checked_key(key: str) -> str:
    if not key.strip():
        raise refused(PATH, UserErrorCode.REQUIRED, "An idempotency key must not be empty.")
    if errors := line_errors(PATH, key, LONGEST_KEY):
        raise Refused(errors)
    return key


async def earlier_answer(session: AsyncSession, viewer: Viewer, request: Request) -> Sequence[str] | None:
    """What the same request made within 24 hours, if it did; the key is not taken. Raises `Refused` as `claim` does."""
    if request.key is None:
        return None
    key = checked_key(request.key)
    recent = IdempotencyKey.created_at >= func.now() - KEYS_ARE_KEPT
    wanted = select(IdempotencyKey.request_sha256, IdempotencyKey.result).where(*named(viewer, key), recent)
    known = (await session.execute(wanted)).one_or_none()
    return None if known is None else answer_of(known, request)


def answer_of(known: AnyRow, request: Request) -> Sequence[str]:
    if known.request_sha256 != request.sha256():
        message = "This key was used for another request within the last 24 hours."
        raise refused(PATH, UserErrorCode.IDEMPOTENCY_KEY_REUSED, message)
    return [str(entry) for entry in known.result]


async def claim(session: AsyncSession, viewer: Viewer, request: Request) -> Claim | None:
    """Takes the key for 24 hours; None without a key. Raises `Refused` when it was used for another request."""
    if request.key is None:
        return None
    key, request_sha256 = checked_key(request.key), request.sha256()
    row = {"company_id": viewer.company_id, "user_id": viewer.user_id, "key": key, "request_sha256": request_sha256}
    taking = insert(IdempotencyKey).values(row)
    taken = await session.scalar(
        taking.on_conflict_do_update(
            index_elements=["company_id", "user_id", "key"],
            set_={"request_sha256": request_sha256, "result": text("'[]'"), "created_at": func.now()},
            where=IdempotencyKey.created_at < func.now() - KEYS_ARE_KEPT,
        ).returning(IdempotencyKey.key)
    )
    if taken is not None:
        return Claim(key, None)
    wanted = select(IdempotencyKey.request_sha256, IdempotencyKey.result).where(*named(viewer, key))
    return Claim(key, answer_of((await session.execute(wanted)).one(), request))


async def keep_answer(session: AsyncSession, viewer: Viewer, claimed: Claim | None, answer: Sequence[str]) -> None:
    """Remembers what the request made, for those that come again."""
    if claimed is not None:
        statement = update(IdempotencyKey).where(*named(viewer, claimed.key)).values(result=list(answer))
        await session.execute(statement)


def named(viewer: Viewer, key: str) -> tuple[ColumnElement[bool], ...]:
    return (
        IdempotencyKey.company_id == viewer.company_id,
        IdempotencyKey.user_id == viewer.user_id,
        IdempotencyKey.key == key,
    )
