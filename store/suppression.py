"""Which addresses does a company not mail to any more, whoever has them?"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, func, literal, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from store.models import Suppression, SuppressionReason
from store.sql_types import AnyColumn, AnyExpression

LONGEST_ADDRESS = 320  # what the column holds; no address that can be mailed to is longer
SPACES = literal_column(r"E' \t\r\n'", Text())


def trimmed(address: AnyExpression) -> AnyColumn:
    """An address without the spaces that people leave around it."""
    return func.btrim(address, SPACES)


async def suppress(
    session: AsyncSession,
    company_id: int,
    addresses: Iterable[str],
    reason: SuppressionReason,
    campaign_id: UUID | None,
) -> int:
    """Has no campaign of the company mail to the addresses any more; how many of them are new, the others stay as
    they are.

    `campaign_id`: the campaign that found it out.
    """
    given = func.unnest(literal(list(addresses), ARRAY(Text()))).column_valued("given")
    folded = func.lower(trimmed(given))
    # In one order: two that suppress the same addresses wait for each other, and not in a circle.
    rows = (
        select(
            literal(company_id).label("company_id"),
            folded.label("address"),
            literal(reason.value).label("reason"),
            literal(campaign_id, Uuid()).label("campaign_id"),
        )
        .where(func.char_length(folded) <= literal_column(str(LONGEST_ADDRESS)))
        .order_by(folded)
    )
    made = (
        insert(Suppression)
        .from_select(["company_id", "address", "reason", "campaign_id"], rows)
        .on_conflict_do_nothing(index_elements=[Suppression.company_id, Suppression.address])
        .returning(Suppression.id)
    )
    return len((await session.scalars(made)).all())
