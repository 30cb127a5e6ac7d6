"""How fast does a campaign by e-mail go out, and how much memory does its worker take?

Run by hand (`python -m benchmarks.delivery`): a database of its own is made, filled and thrown away. One worker, a
process of its own, sends to a mail server that takes every mail at once (a process as well); the time is from asking
for the campaign to COMPLETED, with freezing, rendering, the states and the exact content of every message. All of
these, and PostgreSQL, share the machine that is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import os
import platform
import random
import signal
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import psutil
import uvloop
from rich.console import Console
from rich.table import Table
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.mail_sink import mail_sink
from jobs.delivery.campaigns import CampaignSender
from jobs.delivery.mailing import MailMeans
from jobs.pacing import Breaker, Pacer
from jobs.smtp import SmtpTransport, mail_server
from jobs.worker import Duty, Worker
from store.database import Database, owner_transaction
from store.delivery import carry_out
from store.embedded import embedded_server
from store.migrate import migrate
from store.models import Campaign, JobKind

FILL = """
INSERT INTO companies (name) VALUES ('Acme');
INSERT INTO users (company_id, first_name, last_name, email, role, email_notifications)
VALUES (1, 'Ada', 'Byron', 'ada@example.com', 'ADMIN', false);
INSERT INTO campaign_settings (company_id, domain_slug, domain_slug_suffix) VALUES (1, 'acme', 'campaigns.example');
INSERT INTO contacts (company_id, first_name, last_name, email, city, country, email_consent_given)
SELECT 1, initcap(substr(md5(n || 'f'), 1, 6)), initcap(substr(md5(n::text), 1, 8)),
    'person.' || n || '@domain' || n % 500 || '.example', 'City ' || n % 300, 'Denmark', true
FROM generate_series(1, :contacts) AS n
"""
CONTENT = (
    "<p>Dear {{contact.first_name}} {{contact.last_name}},</p>"
    + "<p>What grows in {{contact.city}} this spring? We have been round the gardens of the town.</p>" * 20
    + '<p><a href="https://acme.example/spring?city={{contact.city}}">Come and see</a></p>'
)
SPAWNING = multiprocessing.get_context("spawn")


async def prepare(url: str, contacts: int) -> None:
    await migrate(url)
    async with owner_transaction(url) as connection:
        for statement in FILL.split(";\n"):
            await connection.execute(text(statement.replace(":contacts", str(contacts))))
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("VACUUM (ANALYZE)"))
    await engine.dispose()


def work(url: str, server: str, connections: int) -> None:
    async def run() -> None:
        database = Database(url, pool_size=8, command_timeout=600)
        means = MailMeans(
            transport=SmtpTransport(mail_server(server)),
            connections=connections,
            pacer=Pacer(math.inf, math.inf, clock=time.monotonic),
            breaker=Breaker(clock=time.monotonic, chance=random.random),
            deadline=timedelta(hours=1),
            unsubscribe_link="https://gateway.example/u/{}-{}".format,
            return_path="bounce-{}-{}@{}".format,
            now=partial(datetime.now, UTC),
            monotonic=time.monotonic,
            chance=random.random,
        )
        duty = Duty(CampaignSender(database, means), at_once=True, patient=True)
        worker = Worker(database, {JobKind.CAMPAIGN: duty}, concurrency=1)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()
        await database.close()

    uvloop.run(run())


async def send(database: Database, process: psutil.Process, memory: list[float]) -> float:
    """Has a campaign sent to everybody, with an eye on the memory of its worker; the seconds that it took."""
    row = {
        "company_id": 1,
        "user_id": 1,
        "name": "Spring",
        "type": "EMAIL",
        "status": "SENDING",
        "message_subject": "Spring in {{contact.city}}, {{contact.first_name}}",
        "message_content": CONTENT,
        "message_sender": "news@acme.campaigns.example",
        "filter": [{"field": "contact.fixed_fields.country", "operator": "eq", "value": "Denmark"}],
    }
    started = time.perf_counter()
    async with database.writing(1) as session:
        id: UUID = (await session.execute(insert(Campaign).values(row).returning(Campaign.id))).scalar_one()
        await carry_out(session, 1, id)
    while True:
        await asyncio.sleep(0.1)
        memory.append(process.memory_info().rss / 1e6)
        async with database.writing(1) as session:
            found = await session.execute(text("SELECT status, total_sent FROM campaigns WHERE id = :id"), {"id": id})
            status, sent = found.one()
        if status != "SENDING":
            break
    seconds = time.perf_counter() - started
    if status != "COMPLETED":
        raise SystemExit(f"the campaign is {status}; {sent} were sent")
    return seconds


async def measure(url: str, process: psutil.Process, rounds: int) -> tuple[list[float], list[float]]:
    database = Database(url, pool_size=2)
    memory: list[float] = []
    seconds = [await send(database, process, memory) for _ in range(rounds)]
    await database.close()
    return seconds, memory


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--contacts", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--connections", type=int, default=20)
    given = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-bench-") as directory,
        embedded_server(Path(directory) / "postgres", durable=False, log=lambda _: None) as server,
        mail_sink() as sink,
    ):
        url = server.url("postgres")
        asyncio.run(prepare(url, given.contacts))
        process = SPAWNING.Process(target=work, args=(url, sink.url, given.connections), daemon=False)
        process.start()
        try:
            seconds, memory = asyncio.run(measure(url, psutil.Process(process.pid), given.rounds))
            taken = process.pid and psutil.Process(process.pid).cpu_times()
        finally:
            process.terminate()
            process.join()
    table = Table(
        "recipients", "seconds (median)", "mails/s", "worker MB at the start", "worker MB at most", "worker CPU s"
    )
    middle = statistics.median(seconds)
    cpu = f"{(taken.user + taken.system) / given.rounds:.1f}" if taken else ""
    table.add_row(
        f"{given.contacts:,}", f"{middle:.1f}", f"{given.contacts / middle:,.0f}", f"{memory[0]:.0f}",
        f"{max(memory):.0f}", cpu,
    )  # fmt: skip
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    Console().print(f"{datetime.now(UTC):%Y-%m-%d} on {machine}, load {load}; {given.connections} connections", table)


if __name__ == "__main__":
    main()
