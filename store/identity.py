"""Who does a token or a user's id name, and what may they do?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, Integer, Text, any_, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import SET_COMPANY, Scope
from store.models import AccessToken, Role, Team, TeamMember, User
from store.readings import Readings
from store.sql_types import AnyRow


@dataclass(frozen=True)
class Identity:
    """A user as the database knows them now."""

    scope: Scope
    role: Role


@dataclass(frozen=True)
class StoredToken:
    company_id: int
    user_id: int
    secret_sha256: bytes
    scopes: tuple[str, ...]
    expires_at: datetime
    revoked_at: datetime | None


BY_TOKEN = "SELECT * FROM signed_in_by_token($1, $2)"  # noqa: S105 - it is SQL
BY_USER = "SELECT * FROM signed_in_by_user($1)"
SET_TOKEN = text("SELECT set_config('app.token_id', :token_id, true)")
SET_USER = text("SELECT set_config('app.user_id', :user_id, true)")
USER_IDS = bindparam("user_ids", type_=ARRAY(Integer()))
TOKENS = select(
    AccessToken.id,
    AccessToken.company_id,
    AccessToken.user_id,
    AccessToken.secret_sha256,
    AccessToken.scopes,
    AccessToken.expires_at,
    AccessToken.revoked_at,
).where(AccessToken.id == any_(bindparam("token_ids", type_=ARRAY(Text()))))
COMPANY_OF_USER = select(User.company_id).where(User.id == bindparam("user_id", type_=Integer()))
MY_TEAMS = (
    select(
        TeamMember.user_id,
        func.array_agg(Team.id).label("team_ids"),
        func.array_agg(Team.group_id.distinct()).filter(Team.group_id.is_not(None)).label("group_ids"),
    )
    .join(TeamMember, (TeamMember.company_id == Team.company_id) & (TeamMember.team_id == Team.id))
    .where(Team.company_id == bindparam("company_id"), TeamMember.user_id == any_(USER_IDS))
    .group_by(TeamMember.user_id)
    .subquery("my_teams")
)
USERS = (
    select(User.id, User.role, MY_TEAMS.c.team_ids, MY_TEAMS.c.group_ids)
    .join(MY_TEAMS, MY_TEAMS.c.user_id == User.id, isouter=True)
    .where(User.company_id == bindparam("company_id"), User.id == any_(USER_IDS))
)


async def identity_of_token(
    readings: Readings, token_id: str, secret_sha256: bytes
) -> tuple[StoredToken, Identity] | None:
    """A token of whichever company, if this is its secret, and its user as the database knows them now."""
    for row in await readings.alone(BY_TOKEN, token_id, secret_sha256):
        stored = StoredToken(
            row.company_id, row.user_id, secret_sha256, tuple(row.scopes), row.expires_at, row.revoked_at
        )
        return stored, identity_of(row.company_id, row.user_id, row)
    return None


async def identity_of_user(readings: Readings, user_id: int) -> Identity | None:
    """A user of whichever company."""
    for row in await readings.alone(BY_USER, user_id):
        return identity_of(row.company_id, row.user_id, row)
    return None


async def find_token(connection: AsyncConnection, token_id: str) -> StoredToken | None:
    """The token with this id, of whichever company; its secret has still to be compared."""
    await connection.execute(SET_TOKEN, {"token_id": token_id})
    return (await find_tokens(connection, [token_id])).get(token_id)


async def find_tokens(connection: AsyncConnection, token_ids: Collection[str]) -> dict[str, StoredToken]:
    """By their ids, those of the tokens that may be seen: of the company that was named, or the one token that was."""
    rows = await connection.execute(TOKENS, {"token_ids": list(token_ids)})
    return {
        row.id: StoredToken(
            row.company_id, row.user_id, row.secret_sha256, tuple(row.scopes), row.expires_at, row.revoked_at
        )
        for row in rows
    }


async def find_company_of_user(connection: AsyncConnection, user_id: int) -> int | None:
    """The company of the user with this id, of whichever company."""
    await connection.execute(SET_USER, {"user_id": str(user_id)})
    company_id: int | None = await connection.scalar(COMPANY_OF_USER, {"user_id": user_id})
    return company_id


async def name_company(connection: AsyncConnection, company_id: int) -> None:
    """From here on the transaction sees the rows of this company."""
    await connection.execute(SET_COMPANY, {"company_id": str(company_id)})


async def find_identity(connection: AsyncConnection, company_id: int, user_id: int) -> Identity | None:
    """The user, read anew, with the teams and groups they are in."""
    await name_company(connection, company_id)
    return (await find_identities(connection, company_id, [user_id])).get(user_id)


async def find_identities(
    connection: AsyncConnection, company_id: int, user_ids: Collection[int]
) -> dict[int, Identity]:
    """The same for users of the company that was named, by their ids, in one statement."""
    rows = await connection.execute(USERS, {"company_id": company_id, "user_ids": list(user_ids)})
    return {row.id: identity_of(company_id, row.id, row) for row in rows}


def identity_of(company_id: int, user_id: int, row: AnyRow) -> Identity:
    role = Role(row.role)
    scope = Scope(company_id, user_id, role is Role.ADMIN, tuple(row.team_ids or ()), tuple(row.group_ids or ()))
    return Identity(scope, role)
