"""How are exports and campaigns watched: what is read, when is it read again, and when is it news?

Every event is the whole state, so that of several events the latest tells all. It is read anew by the viewer as they
are then: after a signal, for who comes to watch, and by the clock, as nothing tells of what changes around a row. Every
reading is handed on, and whoever hands it to clients compares the answers, which alone show all that a client sees.
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
from resolvers.context import Context, Watch
from resolvers.edges import Columns, One, Paged
from resolvers.errors import ClientError, ErrorCode, not_found
from resolvers.exports import EXPORT, EXPORTS
from resolvers.global_ids import Key
from resolvers.notifications import NOTIFICATIONS
from resolvers.pages import Page, PageArguments
from store.faults import is_outage
from store.models import ExportStatus
from store.signals import Channel
from store.sql_types import AnyRow

T = TypeVar("T")

# SQLSTATE of a statement that the server gave up.
STATEMENT_TIMEOUT_STATE = "57014"
MOST_ON_A_BOARD = 50
USUAL_ON_A_BOARD = 10
FINAL = frozenset({ExportStatus.COMPLETED, ExportStatus.FAILED, ExportStatus.CANCELED, ExportStatus.EXPIRED})
EXPORT_BY_ID = One("Subscription.exportProgress", EXPORT, key="id")
CAMPAIGN_BY_ID = One("Subscription.campaignChanged", CAMPAIGN, key="id")


@dataclass(frozen=True)
class Board:
    """A live page: of which list of the root it is, and who tells of changes."""

    edge: Paged
    channel: Channel


EXPORT_BOARD = Board(EXPORTS, Channel.EXPORTS)
CAMPAIGN_BOARD = Board(CAMPAIGNS, Channel.CAMPAIGNS)
NOTIFICATION_BOARD = Board(NOTIFICATIONS, Channel.NOTIFICATIONS)


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
    seen, begun = (-1 if after is None else after, False), False
    async with aclosing(rows_of(context, Channel.EXPORTS, EXPORT_BY_ID, wanted, key)) as found:
        async for row in found:
            if row is None:
                raise not_found("Export")
            state, final = (row.sequence, row.stalled), is_final(row)
            if final or (state[0] >= seen[0] and (begun or state != seen)):
                seen, begun = state, True
                yield row
            if final and not watch_of(context).failed:
                return


async def campaign_changed(context: Context, key: Key | None, columns: Columns) -> AsyncGenerator[AnyRow | Gone, None]:
    """The campaign's rows with these columns; ends after `Gone`. Raises NOT_FOUND when nobody has seen it before."""
    wanted, seen = also(columns, "id"), False
    async with aclosing(rows_of(context, Channel.CAMPAIGNS, CAMPAIGN_BY_ID, wanted, key)) as found:
        async for row in found:
            if row is None and not (seen or watch_of(context).begun):
                raise not_found("Campaign")
            if row is None:
                yield Gone()
                return
            seen = True
            yield row


async def board(
    context: Context, watched: Board, columns: Columns, size: int, filters: tuple[tuple[str, object], ...]
) -> AsyncGenerator[list[AnyRow], None]:
    """The first page of a list, in its own order, again and again; without end. Raises BAD_USER_INPUT."""
    if not 1 <= size <= MOST_ON_A_BOARD:
        raise ClientError(ErrorCode.BAD_USER_INPUT, f"`first` must be between 1 and {MOST_ON_A_BOARD}.")
    edge, wanted = watched.edge, also(columns, "id")
    arguments = PageArguments(size, edge.order, edge.direction, filters=filters)

    async def read() -> list[AnyRow]:
        page = await context.load.page(edge, wanted, arguments, getattr(context.viewer, edge.key))
        assert isinstance(page, Page)
        return page.nodes

    async with aclosing(readings(context, watched.channel, None, read)) as found:
        async for rows in found:
            yield rows


def also(columns: Columns, *names: str) -> Columns:
    """The columns that the client selected, and those that are needed beside them."""
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
    context: Context, channel: Channel, id: UUID | None, read: Callable[[], Awaitable[T]]
) -> AsyncGenerator[T, None]:
    """What is read at the start, whenever the hearing is woken, and by the clock; never faster than the stream's pace.

    Between two readings nothing of the database is held. Once something was read, a reading that fails for a while is
    made again after a pause, which nothing cuts short: what is heard meanwhile is seen to by the next reading.
    """
    pace, watch = context.services.stream_pace, watch_of(context)
    begun, failures = False, 0
    with context.services.signals.hearing(channel, context.viewer.company_id, id, watch.hearing):
        while True:
            try:
                await context.anew()
                found = await read()
            except (DBAPIError, PoolTimeoutError, OSError) as error:
                if not ((begun or watch.begun) and may_pass(error)):
                    raise
                watch.failed = True
            else:
                begun, watch.failed = True, False
                yield found
            await context.rest()
            if watch.failed:
                await asyncio.sleep(pace.pause(failures))
                failures += 1
            else:
                failures = 0
                await asyncio.sleep(pace.spacing)
                await watch.hearing.wait(pace.until_reread())


def watch_of(context: Context) -> Watch:
    assert context.watch is not None
    return context.watch


def may_pass(error: Exception) -> bool:
    """Whether reading again may help: an outage, or a statement that waited or took too long."""
    stopped = isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == STATEMENT_TIMEOUT_STATE
    return stopped or is_outage(error)
