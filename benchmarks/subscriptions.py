"""What do many sockets cost that watch one export: memory each, and the time until an event has reached them all?

Run by hand (`python -m benchmarks.subscriptions`): an embedded PostgreSQL, the gateway in a process of its own, and
all its clients in another, on 127.0.0.1. The clients share the machine's cores with the gateway, so that the time is
an upper bound. Absolute figures belong to the machine that is printed with them.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import secrets
import statistics
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import orjson
import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, insert, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from benchmarks.sockets import watch
from gateway.app import Deployment, build_app
from gateway.auth import hashed, new_token
from gateway.cli import listening_socket
from gateway.logging import configure_logging
from gateway.server import allow_many_connections, server_of
from gateway.settings import Settings
from store.database import owner_transaction
from store.embedded import embedded_server
from store.migrate import migrate
from store.models import Company, Export, TokenScope, User
from store.signals import Channel, signal
from store.tokens import TokenRecord, store_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

QUERY = """
subscription ($id: ID!) {
  exportProgress(id: $id) { sequence isFinal export { id status rowsTotal rowsProcessed
    progress { percent rowsPerSecond secondsRemaining stalled } } }
}
"""
PROCESSES = multiprocessing.get_context("spawn")
SECONDS = 60


@dataclass(frozen=True)
class Watched:
    """What is watched, and by which right."""

    company_id: int
    export_id: UUID
    tokens: list[str]


def serve(url: str, port: int, statements: Synchronized[int]) -> None:
    """The process of the gateway: `serve`, which also counts its statements."""
    allow_many_connections()
    configure_logging("ERROR")
    settings = Settings(port=port)
    with tempfile.TemporaryDirectory(prefix="mcg-bench-files-") as files, listening_socket(settings) as listener:
        deployment = Deployment(url, f"http://127.0.0.1:{port}", Path(files), Path(files), secrets.token_bytes(32))
        app = build_app(settings, deployment, now=lambda: datetime.now(UTC))

        def count(*_: object) -> None:
            statements.value += 1

        event.listen(app.state.database.engine.sync_engine, "before_cursor_execute", count)
        server_of(app, settings).run(sockets=[listener])


async def prepare(url: str, count: int) -> Watched:
    """A company, so many administrators with a token each, and an export that is being written."""
    await migrate(url)
    tokens = [new_token(secrets.token_hex) for _ in range(count)]
    expires_at = datetime.now(UTC) + timedelta(days=1)
    async with owner_transaction(url) as connection:
        company = await connection.scalar(insert(Company).values(name="Acme").returning(Company.id))
        assert company is not None
        person = {"company_id": company, "first_name": "Ada", "last_name": "Byron", "role": "ADMIN"}
        people = [{**person, "email": f"ada{number}@example.com"} for number in range(count)]
        users = (await connection.scalars(insert(User).returning(User.id), people)).all()
        for user, token in zip(users, tokens, strict=True):
            record = TokenRecord(token.id, hashed(token.secret), "Benchmark", [TokenScope.READ], expires_at)
            await store_token(connection, user, record)
        export: dict[str, object] = {"kind": "CONTACTS", "format": "CSV", "status": "RUNNING", "rows_total": 1_000_000}
        # With a heartbeat in the future it does not begin to count as stalled, which would be an event by itself.
        export["heartbeat_at"] = expires_at
        made = insert(Export).values(company_id=company, requested_by_id=users[0], **export)
        export_id = await connection.scalar(made.returning(Export.id))
        assert export_id is not None
        return Watched(company, export_id, [str(token) for token in tokens])


async def change(engine: AsyncEngine, watched: Watched) -> float:
    """What a worker does when it has got further; the moment at which its transaction began to commit."""
    written = {"sequence": Export.sequence + 1, "rows_processed": Export.rows_processed + 1}
    async with AsyncSession(engine) as session:
        await session.execute(update(Export).where(Export.id == watched.export_id).values(written))
        await signal(session, Channel.EXPORTS, watched.company_id, watched.export_id)
        started = time.monotonic()
        await session.commit()
    return started


async def events(
    url: str, watched: Watched, told: Connection, count: int, statements: Synchronized[int]
) -> list[Event]:
    """So many events, one after the other: each when the one before has reached everybody."""
    engine = create_async_engine(url)
    found: list[Event] = []
    try:
        for _ in range(count):
            before = statements.value
            started = await change(engine, watched)
            last = await asyncio.to_thread(heard, told)
            found.append(Event(last - started, statements.value - before))
            await asyncio.sleep(0.3)
    finally:
        await engine.dispose()
    return found


@dataclass(frozen=True)
class Event:
    """The seconds from the commit to the last delivery, and the statements that the gateway ran meanwhile."""

    seconds: float
    statements: int


def heard(told: Connection, seconds: float = SECONDS) -> float:
    """What the clients say next: a moment of the system's monotonic clock."""
    if not told.poll(seconds):
        raise SystemExit("The clients have not heard of everything in time.")
    moment: float = told.recv()
    return moment


def wait_until_ready(port: int) -> None:
    for _ in range(10 * SECONDS):
        with suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=SECONDS).raise_for_status()
            return
        time.sleep(0.1)
    raise SystemExit("The gateway did not start.")


def memory(process: psutil.Process) -> float:
    """Resident, in kilobytes of 1000 bytes."""
    return process.memory_info().rss / 1000


@contextmanager
def running(target: object, *arguments: object) -> Iterator[psutil.Process]:
    process = PROCESSES.Process(target=target, args=arguments)  # type: ignore[arg-type]  # a function, as it says
    process.start()
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join(30)


def measure(url: str, port: int, sockets: int, tokens: int, count: int) -> tuple[float, float, list[Event]]:
    """Kilobytes a socket when it has its snapshot, the seconds until all had it, and the events after that."""
    watched = asyncio.run(prepare(url, tokens))
    statements: Synchronized[int] = PROCESSES.Value("i", 0)
    told, tells = PROCESSES.Pipe(duplex=False)
    body = orjson.dumps({"query": QUERY, "variables": {"id": str(watched.export_id)}}).decode()
    with running(serve, url, port, statements) as gateway:
        wait_until_ready(port)
        # The first sockets make what all share: connections to the database, caches, code that is loaded when used.
        with running(watch, port, watched.tokens, body, 100, tells):
            heard(told)
            asyncio.run(events(url, watched, told, 3, statements))
        time.sleep(1)
        before, started = memory(gateway), time.monotonic()
        with running(watch, port, watched.tokens, body, sockets, tells):
            opened = heard(told, SECONDS + sockets / 20) - started
            time.sleep(1)
            each = (memory(gateway) - before) / sockets
            return each, opened, asyncio.run(events(url, watched, told, count, statements))


def show(sockets: int, tokens: int, each: float, opened: float, found: list[Event]) -> None:
    seconds = sorted(event.seconds for event in found)
    table = Table("what", "measured")
    table.add_row("sockets", f"{sockets}")
    table.add_row("administrators, with a token each", f"{tokens}")
    table.add_row("opened, signed in, first event", f"{opened:.1f} s")
    table.add_row("memory of the gateway a socket", f"{each:.1f} kB")
    table.add_row("commit to last delivery, median", f"{statistics.median(seconds):.3f} s")
    table.add_row("commit to last delivery, best and worst", f"{seconds[0]:.3f} s, {seconds[-1]:.3f} s")
    table.add_row("SQL statements an event", f"{statistics.median(event.statements for event in found):g}")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    Console().print(f"{datetime.now(UTC):%Y-%m-%d} on {machine}; client and server share the cores", table, sep="\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sockets", type=int, default=10_000)
    arguments.add_argument("--tokens", type=int, default=1, help="how many administrators watch, each by a token")
    arguments.add_argument("--events", type=int, default=15)
    arguments.add_argument("--port", type=int, default=8798)
    given = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-bench-") as directory,
        embedded_server(Path(directory) / "postgres", durable=False, log=lambda _: None) as server,
    ):
        each, opened, found = measure(server.url("postgres"), given.port, given.sockets, given.tokens, given.events)
    show(given.sockets, given.tokens, each, opened, found)


if __name__ == "__main__":
    main()
