"""Is the database what the gateway needs? What `campaign-gateway doctor` finds out."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from store.database import APPLICATION_ROLE, owner_transaction
from store.migrate import newest_revision

OLDEST_VERSION = 15


@dataclass(frozen=True)
class Finding:
    good: bool
    what: str

    def __str__(self) -> str:
        return f"{'ok     ' if self.good else 'problem'}  {self.what}"


async def examine(url: str) -> list[Finding]:
    """What is right and wrong with the database at `url`, the owner's; fails when it cannot be reached."""
    async with owner_transaction(url) as connection:
        version = int(await connection.scalar(text("SHOW server_version_num"))) // 10_000
        revision = await connection.scalar(
            text("SELECT to_regclass('alembic_version') IS NOT NULL")
        ) and await connection.scalar(text("SELECT version_num FROM alembic_version"))
        member = await connection.scalar(
            text(
                "SELECT coalesce(bool_or(pg_has_role(current_user, oid, 'MEMBER')), false) FROM pg_roles"
                " WHERE rolname = :role"
            ),
            {"role": APPLICATION_ROLE},
        )
        bypasses = await connection.scalar(
            text("SELECT coalesce(bool_or(rolsuper OR rolbypassrls), false) FROM pg_roles WHERE rolname = :role"),
            {"role": APPLICATION_ROLE},
        )
        trigrams = await connection.scalar(text("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm')"))
    return [
        Finding(version >= OLDEST_VERSION, f"PostgreSQL {version} ({OLDEST_VERSION} or newer is needed)"),
        Finding(revision == newest_revision(), f"schema at revision {revision} (newest: {newest_revision()})"),
        Finding(bool(member), f"may act as the role {APPLICATION_ROLE}"),
        Finding(not bypasses, f"row security binds the role {APPLICATION_ROLE}"),
        Finding(True, f"pg_trgm {'is' if trigrams else 'is not'} there (searching works without it, more slowly)"),
    ]
