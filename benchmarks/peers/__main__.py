"""How fast is the gateway beside other servers of GraphQL over PostgreSQL? The same data, questions and machine.

Run by hand (`make bench-peers`). Every server is one process on one core; PostgreSQL and wrk, which asks over 8
connections that are kept open, share another. The rounds are interleaved, and the answers compared for equality first.
The gateway is as it is shipped: each request's token is looked up, its cost measured, row security on, a line logged.
The others know no viewer and read as a superuser. What each of these parts costs the gateway is measured apart.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from rich.console import Console
from sqlalchemy import text

from benchmarks.peers import report
from benchmarks.peers.asking import Asker, Found, measure
from benchmarks.peers.processes import GATEWAYS, PEERS, Cores, running, two_cores
from benchmarks.peers.questions import GATEWAY, QUESTIONS, Question
from gateway.auth import hashed, new_token
from gateway.cli import DATABASE_NAME, DEMO_SEED, make_data
from gateway.files import files_of
from gateway.settings import Settings
from store.database import owner_transaction
from store.demo import Size, is_seeded
from store.embedded import EmbeddedServer, embedded_server
from store.migrate import ensure_database, migrate
from store.models import TokenScope
from store.tokens import TokenRecord, store_token

ADMINISTRATOR = text("SELECT min(id) FROM users WHERE company_id = 1 AND role = 'ADMIN'")
CAMPAIGN = text("""SELECT id FROM campaigns WHERE company_id = 1 AND template_id IS NOT NULL
    ORDER BY created_at DESC, id DESC LIMIT 1""")

PEER_TABLES = (
    report.rates,
    report.ratios,
    report.efficiency,
    report.ratios_of_efficiency,
    report.slowness,
    report.business,
)

console = Console()


def filled(url: str, size: Size, folder: Path) -> None:
    """The demo's data, unless it is there."""
    asyncio.run(migrate(url))
    if not asyncio.run(is_seeded(url)):
        make_data(url, size, DEMO_SEED, files_of(Settings(), folder / "files"))


async def asked_for(url: str) -> tuple[str, str]:
    """A token of the first company's administrator, and the id of a campaign that has a template."""
    token = new_token(secrets.token_hex)
    expires_at = datetime.now(UTC) + timedelta(days=1)
    record = TokenRecord(token.id, hashed(token.secret), "Benchmark", [TokenScope.READ], expires_at)
    async with owner_transaction(url) as connection:
        user_id = await connection.scalar(ADMINISTRATOR)
        campaign_id = await connection.scalar(CAMPAIGN)
        assert user_id is not None
        await store_token(connection, user_id, record)
    return str(token), str(campaign_id)


def environment_of(server: EmbeddedServer) -> dict[str, str]:
    """Where the database is, for the gateway and by the names that PostgreSQL's own programs use."""
    return {
        "DATABASE_URL": server.url(DATABASE_NAME).replace("+asyncpg", ""),
        "PGHOST": str(server.socket_directory),
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGDATABASE": DATABASE_NAME,
    }


@contextmanager
def data(folder: Path, size: Size, cores: Cores) -> Iterator[tuple[Asker, Mapping[str, str]]]:
    """Whom to ask with, and the environment of the servers, as long as PostgreSQL runs."""
    with embedded_server(folder / "postgres", durable=False, log=lambda _: None) as server:
        postmaster = psutil.Process(server.pid)
        # Whatever it starts from here on stays there, too.
        postmaster.cpu_affinity([cores.others])
        asyncio.run(ensure_database(server.url("postgres"), DATABASE_NAME))
        url = server.url(DATABASE_NAME)
        filled(url, size, folder)
        token, campaign_id = asyncio.run(asked_for(url))
        yield Asker(token, campaign_id, cores, postmaster, folder), environment_of(server)


def compared(
    names: Sequence[str],
    questions: Sequence[Question],
    asker: Asker,
    environment: Mapping[str, str],
    runs: tuple[int, int],
) -> Found:
    rounds, seconds = runs
    with (
        running(names, asker.cores, environment, asker.folder) as servers,
        console.status("starting") as status,
    ):
        return measure(asker, servers, questions, rounds=rounds, seconds=seconds, progress=status.update)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    keys = [question.key for question in QUESTIONS]
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=3, help="of each run")
    arguments.add_argument("--size", type=Size, choices=list(Size), default=Size.LARGE)
    arguments.add_argument(
        "--only",
        nargs="+",
        choices=[*keys, *PEERS, *GATEWAYS[1:]],
        default=[],
        metavar="NAME",
        help="questions, servers (always beside the gateway), or both: " + ", ".join([*keys, *PEERS, *GATEWAYS[1:]]),
    )
    arguments.add_argument("--data", type=Path, help="a folder to keep the database in for other runs")
    given = arguments.parse_args()
    questions = [question for question in QUESTIONS if question.key in given.only] or QUESTIONS
    chosen = [name for name in given.only if name not in keys]
    cores = two_cores()
    # Leaves by an exception, so that all that was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-bench-") as temporary,
        data(given.data or Path(temporary), given.size, cores) as (asker, environment),
    ):
        runs = given.rounds, given.seconds
        console.print(report.machine(), f"data: {given.size}; {given.rounds} rounds of {given.seconds} s", sep="; ")
        for group, tables in (
            (PEERS, PEER_TABLES),
            (GATEWAYS, (report.costs,)),
        ):
            names = [name for name in group if not chosen or name in (*chosen, GATEWAY)]
            if len(names) > 1:
                found = compared(names, questions, asker, environment, runs)
                console.print(*(table(found, questions, names) for table in tables), sep="\n")
        console.print(report.machine())


if __name__ == "__main__":
    main()
