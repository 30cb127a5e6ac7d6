"""Who works with campaigns: companies, their users, teams and groups, and the tokens that users sign in with."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ARRAY, Identity, Index, Integer, String, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from store.models.base import Base, Owned, Stamped, derived, one_of, refers_to


class Role(StrEnum):
    ADMIN = "ADMIN"
    MANAGER = "MANAGER"
    MEMBER = "MEMBER"


class TokenScope(StrEnum):
    READ = "READ"
    WRITE = "WRITE"
    SEND = "SEND"
    EXPORT = "EXPORT"


class Company(Stamped, Base):
    __tablename__ = "companies"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    time_zone: Mapped[str] = mapped_column(String(64), server_default="UTC")


class Group(Owned, Stamped, Base):
    __tablename__ = "groups"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    sort_name: Mapped[str] = derived("lower(name)")


class Team(Owned, Stamped, Base):
    __tablename__ = "teams"
    __table_args__ = (refers_to("groups", "group_id", ondelete="SET NULL (group_id)"),)

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    group_id: Mapped[int | None]
    name: Mapped[str] = mapped_column(String(255))
    sort_name: Mapped[str] = derived("lower(name)")


class User(Owned, Stamped, Base):
    __tablename__ = "users"
    __table_args__ = (one_of("role", Role),)

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    first_name: Mapped[str] = mapped_column(String(255))
    last_name: Mapped[str] = mapped_column(String(255))
    phone_number: Mapped[str | None] = mapped_column(String(64))
    job_title: Mapped[str | None] = mapped_column(String(255))
    email: Mapped[str] = mapped_column(String(320))
    email_notifications: Mapped[bool] = mapped_column(server_default="true")
    profile_picture: Mapped[str | None]
    is_system_user: Mapped[bool] = mapped_column(server_default="false")
    role: Mapped[Role] = mapped_column(Text, server_default=Role.MEMBER)
    sort_name: Mapped[str] = derived("lower(last_name || ' ' || first_name)")


class TeamMember(Owned, Base):
    __tablename__ = "team_members"
    __table_args__ = (
        refers_to("teams", "team_id", ondelete="CASCADE"),
        refers_to("users", "user_id", ondelete="CASCADE"),
    )

    team_id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(primary_key=True)


class AccessToken(Owned, Base):
    """A personal access token `mcg_<id>_<secret>`; only a hash of the secret is kept."""

    __tablename__ = "access_tokens"
    __table_args__ = (refers_to("users", "user_id", ondelete="CASCADE"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int]
    name: Mapped[str] = mapped_column(String(255))
    secret_sha256: Mapped[bytes]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


Index("groups_name_idx", Group.company_id, Group.sort_name, Group.id)
Index("teams_name_idx", Team.company_id, Team.sort_name, Team.id)
Index("teams_group_idx", Team.company_id, Team.group_id, Team.sort_name, Team.id)
Index("users_name_idx", User.company_id, User.sort_name, User.id)
Index("users_created_idx", User.company_id, User.created_at, User.id)
Index("users_email_key", User.company_id, func.lower(User.email), unique=True)
Index("users_id_key", User.id, unique=True)
Index("team_members_user_idx", TeamMember.company_id, TeamMember.user_id)
Index("access_tokens_id_key", AccessToken.id, unique=True)
Index("access_tokens_user_idx", AccessToken.company_id, AccessToken.user_id)
