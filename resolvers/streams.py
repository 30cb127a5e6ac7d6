"""How are exports and campaigns watched: what is read, when is it read again, and when is it news?

Every event is the whole state, so that of several events the latest tells all. It is read anew by the viewer as they
are then, after a signal, and by the clock in case that a signal was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from resolvers.campaigns import CAMPAIGN, CAMPAIGNS
from resolvers.context import Context
from resolvers.edges import Columns, One, Paged
from resolvers.errors import ClientError, ErrorCode, not_found
from resolvers.exports import EXPORT, EXPORTS
from resolvers.global_ids import Key
from resolvers.pages import Page, PageArguments
from store.faults import is_outage
from store.models import ExportStatus
from store.signals import Channel
from store.sql_types import AnyRow

T = TypeVar("T")

MOST_ON_A_BOARD = 50
USUAL_ON_A_BOARD = 10
FINAL = frozenset({ExportStatus.COMPLETED, ExportStatus.FAILED, ExportStatus.CANCELED, ExportStatus.EXPIRED})
EXPORT_BY_ID = One("Subscription.exportProgress", EXPORT, key="id")
CAMPAIGN_BY_ID = One("Subscription.campaignChanged", CAMPAIGN, key="id")


@dataclass(frozen=True)
class Board:
    """A live page: of which list it is, who tells of changes, and the columns that tell two states of a row apart."""

    edge: Paged
    channel: Channel
    state: Columns


EXPORT_BOARD = Board(EXPORTS, Channel.EXPORTS, ("id", "sequence", "stalled"))
CAMPAIGN_BOARD = Board(CAMPAIGNS, Channel.CAMPAIGNS, ("id", "version", "updated_at"))


@dataclass(frozen=True)
class Gone:
    """Stands for a row that was there, and is deleted or not to be seen any more."""

    id: None = None


def is_final(row: AnyRow) -> bool:
    """Whether nothing more will happen to an export by itself, but that its file's life ends."""
    return row.status in FINAL


async def export_progress(
    context: Context, key: Key | None, columns: Columns, after: int | None
) -> AsyncGenerator[AnyRow, None]:
    """The export's rows with these columns, the sequences never falling; ends after the final one, which always comes.

    `after`: the sequence that the client has seen already. Raises NOT_FOUND, also when the export is gone later.
    """
    wanted = also(columns, "sequence", "stalled", "status")
    seen = (-1 if after is None else after, False)
    async with aclosing(rows_of(context, Channel.EXPORTS, EXPORT_BY_ID, wanted, key)) as found:
        async for row in found:
            if row is None:
                raise not_found("Export")
            state, final = (row.sequence, row.stalled), is_final(row)
            if final or (state[0] >= seen[0] and state != seen):
                seen = state
                yield row
            if final:
                return


async def campaign_changed(context: Context, key: Key | None, columns: Columns) -> AsyncGenerator[AnyRow | Gone, None]:
    """The campaign's rows with these columns; ends after `Gone`. Raises NOT_FOUND when it was not there at first."""
    wanted = also(columns, *CAMPAIGN_BOARD.state)
    seen: object = None
    async with aclosing(rows_of(context, Channel.CAMPAIGNS, CAMPAIGN_BY_ID, wanted, key)) as found:
        async for row in found:
            if row is None and seen is None:
                raise not_found("Campaign")
            if row is None:
                yield Gone()
                return
            state = (row.version, row.updated_at)
            if state != seen:
                seen = state
                yield row


async def board(
    context: Context, watched: Board, columns: Columns, size: int, filters: tuple[tuple[str, object], ...]
) -> AsyncGenerator[list[AnyRow], None]:
    """The first page of a list, in its own order, whenever it differs; without end. Raises BAD_USER_INPUT."""
    if not 1 <= size <= MOST_ON_A_BOARD:
        raise ClientError(ErrorCode.BAD_USER_INPUT, f"`first` must be between 1 and {MOST_ON_A_BOARD}.")
    edge, wanted = watched.edge, also(columns, *watched.state)
    arguments = PageArguments(size, edge.order, edge.direction, filters=filters)

    async def read() -> list[AnyRow]:
        page = await context.load.page(edge, wanted, arguments, context.viewer.company_id)
        assert isinstance(page, Page)
        return page.nodes

    seen: object = None
    spacing = context.services.stream_pace.spacing
    async with aclosing(readings(context, watched.channel, None, read, spacing)) as found:
        async for rows in found:
            state = [tuple(getattr(row, name) for name in watched.state) for row in rows]
            if state != seen:
                seen = state
                yield rows


def also(columns: Columns, *names: str) -> Columns:
    """The columns that the client selected, and those by which news are known."""
    return tuple(sorted({*columns, *names}))


async def rows_of(
    context: Context, channel: Channel, edge: One, columns: Columns, key: Key | None
) -> AsyncGenerator[AnyRow | None, None]:
    """The readings of one row; None where there is none that the viewer may see."""
    if not isinstance(key, UUID):
        yield None
        return

    async def read() -> AnyRow | None:
        row: Any = await context.load.one(edge, columns, key)
        found: AnyRow | None = row
        return found

    async with aclosing(readings(context, channel, key, read)) as found:
        async for row in found:
            yield row


async def readings(
    context: Context, channel: Channel, id: UUID | None, read: Callable[[], Awaitable[T]], spacing: float = 0
) -> AsyncGenerator[T, None]:
    """What is read at the start, after each signal and by the clock; at least `spacing` seconds lie between two.

    Between two readings nothing of the database is held. Once something was read, an outage is waited out: a signal
    tells of its end, as of all that was missed meanwhile.
    """
    pace, begun = context.services.stream_pace, False
    with context.services.signals.hearing(channel, context.viewer.company_id, id) as hearing:
        while True:
            try:
                await context.anew()
                found = await read()
            except (DBAPIError, PoolTimeoutError, OSError) as error:
                if not (begun and is_outage(error)):
                    raise
            else:
                begun = True
                yield found
            await context.rest()
            await asyncio.sleep(spacing)
            await hearing.wait(pace.reread)
