"""What is over and may go, in all companies?"""

from __future__ import annotations

from sqlalchemy import delete, func

from store.database import Database
from store.models import IdempotencyKey, Preview, TestDelivery
from store.models.requests import KEYS_ARE_KEPT, TEST_MAILS_ARE_KEPT


async def sweep(database: Database) -> None:
    """Deletes expired previews, and idempotency keys and test mails that are old enough, by the database's clock."""
    async with database.working() as session:
        for statement in (
            delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - KEYS_ARE_KEPT),
            delete(Preview).where(Preview.expires_at <= func.now()),
            delete(TestDelivery).where(TestDelivery.created_at < func.now() - TEST_MAILS_ARE_KEPT),
        ):
            await session.execute(statement.execution_options(synchronize_session=False))
