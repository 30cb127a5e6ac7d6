"""How does a test have campaigns carried out, and see to whom they went and what became of it?"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import create_async_engine

from jobs.delivery.campaigns import CampaignSender
from jobs.delivery.mailing import MailMeans
from jobs.delivery.schedule import start_due, take_up_campaigns
from jobs.pacing import Breaker, Pacer
from jobs.smtp import SmtpTransport, mail_server
from jobs.transport import BulkTransport
from jobs.worker import Chore, Duty, Pace, Worker, running
from store.database import Database
from store.delivery import carry_out
from store.models import Campaign, JobKind
from tests.build import TestCompany
from tests.post import until

QUICK = Pace(poll=0.05, retry=0.01)
OVER = ("COMPLETED", "FAILED", "CANCELED")
EVERYBODY = [{"field": "contact.fixed_fields.country", "operator": "eq", "value": "Audience"}]
CONTACTS = """
    INSERT INTO contacts (company_id, first_name, last_name, email, country, email_consent_given)
    SELECT CAST(:company_id AS integer), 'First ' || n, 'Last ' || n,
        'person' || n || '@' || CAST(:domain AS text), 'Audience', true
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
"""


def mail_means(transport: BulkTransport, **changes: Any) -> MailMeans:
    """No pace, short pauses; links that name the company and the recipient."""
    given = {
        "transport": transport,
        "connections": 4,
        "pacer": Pacer(math.inf, math.inf, clock=time.monotonic),
        "breaker": Breaker(clock=time.monotonic, chance=random.random, failures=3, pause=0.1, longest_pause=0.3),
        "deadline": timedelta(hours=1),
        "unsubscribe_link": "https://gateway.example/u/{}-{}".format,
        "return_path": "bounce-{}-{}@{}".format,
        "now": partial(datetime.now, UTC),
        "monotonic": time.monotonic,
        "chance": random.random,
        "retry": 0.05,
        **changes,
    }
    return MailMeans(**given)


class Sending:
    """The campaigns of one company: left as people leave them, looked at as the tables' owner."""

    def __init__(self, url: str, company: TestCompany) -> None:
        self.url = url
        self.company_id = company.id
        self.user_id = company.admin
        self.database = Database(url, pool_size=2)
        self._owner = create_async_engine(url, pool_pre_ping=True)

    async def add_contacts(self, count: int, *, first: int = 1, domain: str = "customer.example") -> None:
        """Who `EVERYBODY` selects: `person1@…` and so on."""
        await self.change(CONTACTS, company_id=self.company_id, first=first, last=first + count - 1, domain=domain)

    async def campaign(self, **values: object) -> UUID:
        """A campaign by e-mail to everybody that is to be sent now: not begun."""
        row = {
            "company_id": self.company_id,
            "user_id": self.user_id,
            "name": "Spring",
            "type": "EMAIL",
            "status": "SENDING",
            "message_subject": "Hello {{contact.first_name}}",
            "message_content": "<p>Dear {{contact.first_name}} {{contact.last_name}}</p>",
            "message_sender": "news@acme.campaigns.example",
            "filter": EVERYBODY,
            "send_at": datetime.now(UTC),
            **values,
        }
        async with self.database.writing(self.company_id) as session:
            id: UUID = (await session.execute(insert(Campaign).values(row).returning(Campaign.id))).scalar_one()
        return id

    async def send(self, **values: object) -> UUID:
        """The same, and workers are told."""
        id = await self.campaign(**values)
        await self.carry_out(id)
        return id

    async def carry_out(self, id: UUID) -> None:
        async with self.database.writing(self.company_id) as session:
            await carry_out(session, self.company_id, id)

    async def change(self, sql: str, **parameters: object) -> None:
        async with self._owner.begin() as connection:
            await connection.execute(text(sql), parameters)

    async def value(self, sql: str, **parameters: object) -> Any:
        async with self._owner.connect() as connection:
            return await connection.scalar(text(sql), parameters)

    async def rows(self, sql: str, **parameters: object) -> list[Any]:
        async with self._owner.connect() as connection:
            return list((await connection.execute(text(sql), parameters)).all())

    async def row(self, id: UUID) -> Any:
        """The campaign, with what its delivery says."""
        sql = (
            "SELECT c.*, d.started_at, d.ended_at, d.recipients, d.excluded, d.problem_code, d.problem_message"
            " FROM campaigns c LEFT JOIN campaign_deliveries d ON d.campaign_id = c.id WHERE c.id = :id"
        )
        (row,) = await self.rows(sql, id=id)
        return row

    async def end_of(self, id: UUID) -> Any:
        """The row, as soon as the campaign is over."""

        async def is_over() -> bool:
            return (await self.row(id)).status in OVER and not await self.jobs()

        await until(is_over)
        return await self.row(id)

    async def jobs(self) -> int:
        """How many jobs of campaigns there are."""
        return int(await self.value("SELECT count(*) FROM jobs WHERE kind = 'CAMPAIGN'"))

    async def recipients(self, id: UUID) -> Counter[str]:
        """How many there are of each status."""
        found = await self.rows("SELECT status FROM recipients WHERE campaign_id = :id", id=id)
        return Counter(row.status for row in found)

    async def reports(self, id: UUID) -> Counter[tuple[str, str | None]]:
        """How many reports there are, by status and reply."""
        found = await self.rows("SELECT status, reply FROM delivery_reports WHERE campaign_id = :id", id=id)
        return Counter((row.status, row.reply) for row in found)

    async def close(self) -> None:
        await self.database.close()
        await self._owner.dispose()


@asynccontextmanager
async def sending_of(url: str, company: TestCompany) -> AsyncIterator[Sending]:
    sending = Sending(url, company)
    try:
        yield sending
    finally:
        await sending.close()


def worker_of(database: Database, means: MailMeans, *, pace: Pace = QUICK) -> Worker:
    """A worker that carries campaigns out, and begins those that are due."""
    duties = {JobKind.CAMPAIGN: Duty(CampaignSender(database, means), at_once=True, patient=True)}
    chores = [Chore(partial(start_due, database), 0.05), Chore(partial(take_up_campaigns, database), 0.5)]
    return Worker(database, duties, concurrency=2, chores=chores, pace=pace)


@asynccontextmanager
async def at_work(
    url: str, server: str | BulkTransport, *, pace: Pace = QUICK, **changes: Any
) -> AsyncIterator[Worker]:
    """A worker with a pool of its own; `server`: the URL of a mail server, or what stands for one."""
    transport = SmtpTransport(mail_server(server)) if isinstance(server, str) else server
    database = Database(url, pool_size=6)
    worker = worker_of(database, mail_means(transport, **changes), pace=pace)
    try:
        async with running(worker):
            yield worker
    finally:
        await database.close()
