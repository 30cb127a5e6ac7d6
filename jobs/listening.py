"""How does a worker hear at once that there is something to do?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from store.database import Database


@asynccontextmanager
async def listening(database: Database, channel: str, heard: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
    """Calls `heard` at each signal on the channel (PostgreSQL's LISTEN); the event is set when the connection is lost.

    The connection is one beside the pool's, with the same settings: it is held for as long as this lasts.
    """
    pooled = await database.engine.raw_connection()
    connection = pooled.driver_connection
    assert connection is not None
    pooled.detach()
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _connection: lost.set())
    try:
        await connection.add_listener(channel, lambda *_: heard())
        yield lost
    finally:
        # Nothing is under way on it, so there is nobody to take leave of, and nothing to wait for.
        connection.terminate()
