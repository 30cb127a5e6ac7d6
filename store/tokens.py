"""How do personal access tokens come to be stored, and for whom?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import SET_COMPANY
from store.identity import find_company_of_user
from store.models import AccessToken, Company, Role, TokenScope, User


class UnknownUser(Exception):
    """There is no user with this id."""


@dataclass(frozen=True)
class TokenRecord:
    """What is kept of a token: never its secret."""

    id: str
    secret_sha256: bytes
    name: str
    scopes: Sequence[TokenScope]
    expires_at: datetime


async def store_token(connection: AsyncConnection, user_id: int, token: TokenRecord) -> None:
    """Keeps a token for a user of whichever company; raises `UnknownUser`. The caller commits."""
    company_id = await find_company_of_user(connection, user_id)
    if company_id is None:
        raise UnknownUser(f"There is no user {user_id}.")
    await connection.execute(SET_COMPANY, {"company_id": str(company_id)})
    await connection.execute(
        insert(AccessToken).values(
            company_id=company_id,
            user_id=user_id,
            id=token.id,
            secret_sha256=token.secret_sha256,
            name=token.name,
            scopes=list(token.scopes),
            expires_at=token.expires_at,
        )
    )


@dataclass(frozen=True)
class RoleHolder:
    """The first user of a company who has a role."""

    company: str
    user_id: int
    role: Role
    email: str


async def role_holders(connection: AsyncConnection, company_id: int) -> list[RoleHolder]:
    """One person for each role in a company, by role; empty when there is no such company."""
    await connection.execute(SET_COMPANY, {"company_id": str(company_id)})
    found = await connection.execute(
        select(Company.name, User.id, User.role, User.email)
        .join(Company, Company.id == User.company_id)
        .where(User.company_id == company_id, User.is_system_user.is_(False))
        .ext(distinct_on(User.role))
        .order_by(User.role, User.id)
    )
    return [RoleHolder(row.name, row.id, Role(row.role), row.email) for row in found]


async def count_working(connection: AsyncConnection, company_id: int, token_ids: Sequence[str]) -> int:
    """How many of these tokens belong to the company and still open the door."""
    await connection.execute(SET_COMPANY, {"company_id": str(company_id)})
    found = await connection.scalar(
        select(func.count())
        .select_from(AccessToken)
        .where(
            AccessToken.company_id == company_id,
            AccessToken.id.in_(token_ids),
            AccessToken.revoked_at.is_(None),
            AccessToken.expires_at > func.now(),
        )
    )
    return found or 0
