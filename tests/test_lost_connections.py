"""Is a connection on which the server has taken its leave known for lost before it is closed?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import asyncpg  # type: ignore[import-untyped]  # it brings no types along
import pytest
from anyio.abc import SocketStream
from sqlalchemy import make_url

from jobs.faults import is_lost_database
from store.database import Database
from store.faults import is_outage
from tests.conftest import World, on_server

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 30


class Gate:
    """Stands between a client and a server: what the server says goes through, but not that it hangs up."""

    def __init__(self, server: str) -> None:
        self._server = server
        self.hung_up = anyio.Event()

    async def serve(self, client: SocketStream) -> None:
        async with client, await anyio.connect_unix(self._server) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(self._pass_answers, server, client)
            async for asked in client:
                if self.hung_up.is_set():
                    break
                await server.send(asked)
            tasks.cancel_scope.cancel()

    async def _pass_answers(self, server: SocketStream, client: SocketStream) -> None:
        async for said in server:
            await client.send(said)
        self.hung_up.set()


@asynccontextmanager
async def gated(url: str, directory: Path) -> AsyncIterator[tuple[str, Gate]]:
    """The URL of the same database behind a gate."""
    parsed = make_url(url)
    socket = f".s.PGSQL.{parsed.query['port']}"
    gate = Gate(str(Path(str(parsed.query["host"])) / socket))
    listener = await anyio.create_unix_listener(directory / socket)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, gate.serve)
        behind = parsed.update_query_dict({"host": str(directory)}).render_as_string(hide_password=False)
        yield behind, gate
        tasks.cancel_scope.cancel()


async def test_a_server_that_takes_its_leave(world: World, server: str, tmp_path: Path) -> None:
    """What is asked past SQLAlchemy after the server's last words, and before it hangs up, may be tried again."""
    async with gated(world.url, tmp_path) as (url, gate):
        database = Database(url, pool_size=1)
        pooled = await database.engine.raw_connection()
        driver = pooled.driver_connection
        assert driver is not None
        pooled.detach()
        backend = await driver.fetchval("SELECT pg_backend_pid()")
        await on_server(server, f"SELECT pg_terminate_backend({backend})")
        with anyio.fail_after(PATIENCE_SECONDS):
            await gate.hung_up.wait()
        with pytest.raises(asyncpg.InternalClientError) as caught:
            await driver.fetch("SELECT 1")
        driver.terminate()
        await database.close()
    assert is_outage(caught.value)
    assert is_lost_database(caught.value)
