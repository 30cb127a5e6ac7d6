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


# From version 16 on a member may not act as a role unless the grant says SET, a word that version 15 does not know.
MAY_ACT = text(
    "SELECT coalesce(bool_or(pg_has_role(current_user, oid, CASE WHEN :version < 16 THEN 'MEMBER' ELSE 'SET' END)),"
    " false) FROM pg_roles WHERE rolname = :role"
)
BYPASSES = text("SELECT coalesce(bool_or(rolsuper OR rolbypassrls), false) FROM pg_roles WHERE rolname = :role")
UNSECURED = text(
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    " AND relname <> 'alembic_version' AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY relname"
)

# The mark on LIKE, without which row security keeps the index from being used, is lost when a dump is restored.
TRIGRAMS = text(
    "SELECT to_regclass('contacts_search_idx') IS NOT NULL AND proleakproof FROM pg_proc"
    " WHERE oid = 'pg_catalog.textlike(text, text)'::regprocedure"
)


async def examine(url: str) -> list[Finding]:
    """What is right and wrong with the database at `url`, the owner's; fails when it cannot be reached."""
    role = {"role": APPLICATION_ROLE}
    async with owner_transaction(url) as connection:
        version = int(await connection.scalar(text("SHOW server_version_num"))) // 10_000
        migrated = await connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
        revision = await connection.scalar(text("SELECT version_num FROM alembic_version")) if migrated else None
        may_act = await connection.scalar(MAY_ACT, {**role, "version": version})
        bypasses = await connection.scalar(BYPASSES, role)
        unsecured = (await connection.scalars(UNSECURED)).all()
        trigrams = await connection.scalar(TRIGRAMS)
    return [
        Finding(version >= OLDEST_VERSION, f"PostgreSQL {version} ({OLDEST_VERSION} or newer is needed)"),
        Finding(revision == newest_revision(), f"schema at revision {revision} (newest: {newest_revision()})"),
        Finding(bool(may_act), f"may act as the role {APPLICATION_ROLE}"),
        Finding(not bypasses, f"row security binds the role {APPLICATION_ROLE}"),
        Finding(not unsecured, f"row security is forced in every table (without it: {', '.join(unsecured) or 'none'})"),
        Finding(True, f"searching {'uses trigram indexes' if trigrams else 'reads all rows of the company'}"),
    ]
