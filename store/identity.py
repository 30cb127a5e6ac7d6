"""Who does a token or a user's id name, and what may they do?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Integer, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import SET_COMPANY, Scope
from store.models import AccessToken, Role, Team, TeamMember, User


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


SET_TOKEN = text("SELECT set_config('app.token_id', :token_id, true)")
SET_USER = text("SELECT set_config('app.user_id', :user_id, true)")
TOKEN = select(
    AccessToken.company_id,
    AccessToken.user_id,
    AccessToken.secret_sha256,
    AccessToken.scopes,
    AccessToken.expires_at,
    AccessToken.revoked_at,
).where(AccessToken.id == bindparam("token_id"))
COMPANY_OF_USER = select(User.company_id).where(User.id == bindparam("user_id", type_=Integer()))
MY_TEAMS = (
    select(
        func.coalesce(func.array_agg(Team.id), text("'{}'")).label("team_ids"),
        func.coalesce(func.array_agg(Team.group_id.distinct()).filter(Team.group_id.is_not(None)), text("'{}'")).label(
            "group_ids"
        ),
    )
    .join(TeamMember, (TeamMember.company_id == Team.company_id) & (TeamMember.team_id == Team.id))
    .where(Team.company_id == bindparam("company_id"), TeamMember.user_id == bindparam("user_id"))
    .subquery("my_teams")
)
USER = (
    select(User.role, MY_TEAMS.c.team_ids, MY_TEAMS.c.group_ids)
    .join(MY_TEAMS, text("true"))
    .where(User.company_id == bindparam("company_id"), User.id == bindparam("user_id"))
)


async def find_token(connection: AsyncConnection, token_id: str) -> StoredToken | None:
    """The token with this id, of whichever company; its secret has still to be compared."""
    await connection.execute(SET_TOKEN, {"token_id": token_id})
    row = (await connection.execute(TOKEN, {"token_id": token_id})).one_or_none()
    if row is None:
        return None
    return StoredToken(
        row.company_id, row.user_id, row.secret_sha256, tuple(row.scopes), row.expires_at, row.revoked_at
    )


async def find_company_of_user(connection: AsyncConnection, user_id: int) -> int | None:
    """The company of the user with this id, of whichever company."""
    await connection.execute(SET_USER, {"user_id": str(user_id)})
    company_id: int | None = await connection.scalar(COMPANY_OF_USER, {"user_id": user_id})
    return company_id


async def find_identity(connection: AsyncConnection, company_id: int, user_id: int) -> Identity | None:
    """The user, read anew, with the teams and groups they are in."""
    await connection.execute(SET_COMPANY, {"company_id": str(company_id)})
    parameters = {"company_id": company_id, "user_id": user_id}
    row = (await connection.execute(USER, parameters)).one_or_none()
    if row is None:
        return None
    role = Role(row.role)
    scope = Scope(company_id, user_id, role is Role.ADMIN, tuple(row.team_ids), tuple(row.group_ids))
    return Identity(scope, role)
