"""Is the database's schema the newest, and how does it become so?"""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from store.models import Base

# Any number will do, as long as every process of the gateway takes the same one.
MIGRATION_LOCK = 7_364_201
# Made only where the server has the extension pg_trgm, so the models do not know them.
TRIGRAM_INDEXES = ("campaigns_search_idx", "contacts_search_idx", "suppressions_search_idx")


def configuration(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


async def migrate(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to a revision, forwards; two processes at once wait for each other.

    `url` signs in as the owner of the tables, who may also create the application's role.
    """
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
            await connection.commit()
            await connection.run_sync(lambda sync: command.upgrade(configuration(sync), revision))
            await connection.commit()
    finally:
        await engine.dispose()


async def ensure_database(admin_url: str, name: str) -> None:
    """Makes the database unless the server has it; `name` is ours, never a client's.

    Two processes at once wait for each other, as for migrations.
    """
    engine = create_async_engine(admin_url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
            known = await connection.scalar(text("SELECT true FROM pg_database WHERE datname = :name"), {"name": name})
            if not known:
                await connection.execute(text(f'CREATE DATABASE "{name}"'))
    finally:
        await engine.dispose()


def newest_revision() -> str:
    """The revision that this version of the code expects."""
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    assert head is not None, "the package holds its migrations"
    return head


def differences(connection: Connection) -> list[object]:
    """What the models say and the migrated database does not, or the other way round."""
    options = {"include_object": is_of_the_models, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


def is_of_the_models(_object: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    return not (kind == "index" and name in TRIGRAM_INDEXES)
