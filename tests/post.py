"""How does a test leave jobs, have them done, and see what became of them?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import anyio
from sqlalchemy import func, insert, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from jobs.housekeeping import sweep
from jobs.queue import Claim, Write, nothing
from jobs.test_mails import MailTester
from jobs.transport import Transport
from jobs.worker import Chore, Duty, Handler, Pace, Worker, running
from store.database import Database
from store.jobs import enqueue
from store.models import JobKind, Preview, TestDelivery
from tests.build import DEFAULTS, TestCompany

# So rarely that whatever is done comes of a signal.
NO_POLL = Pace(poll=3600)
OFTEN = Pace(poll=0.02, retry=0.01)


class Post:
    """The jobs of one company: left as a resolver leaves them, looked at as the tables' owner."""

    def __init__(self, url: str, company_id: int, user_id: int) -> None:
        self.company_id = company_id
        self._user_id = user_id
        self.database = Database(url, pool_size=2)
        self._owner = create_async_engine(url, pool_pre_ping=True)

    async def ask(self, **values: object) -> UUID:
        """Leaves a test mail and a job for it."""
        row = {**DEFAULTS[TestDelivery], "company_id": self.company_id, "user_id": self._user_id, **values}
        async with self.database.writing(self.company_id) as session:
            id = (await session.execute(insert(TestDelivery).values(row).returning(TestDelivery.id))).scalar_one()
            await enqueue(session, self.company_id, JobKind.TEST_MAIL, id)
        return id

    async def leave_job(self, subject_id: UUID, kind: JobKind = JobKind.TEST_MAIL) -> None:
        async with self.database.writing(self.company_id) as session:
            await enqueue(session, self.company_id, kind, subject_id)

    async def value(self, sql: str, **parameters: object) -> object:
        """One value of whichever company."""
        async with self._owner.connect() as connection:
            return await connection.scalar(text(sql), parameters)

    async def change(self, sql: str) -> None:
        async with self._owner.begin() as connection:
            await connection.execute(text(sql))

    async def jobs(self) -> object:
        """How many there are, but for those of the small world, which are due in a later century."""
        return await self.value("SELECT count(*) FROM jobs WHERE due_at < '2099-01-01'")

    async def end_of(self, id: UUID) -> tuple[str, str]:
        """Status and reply of a test mail, as soon as it has come to its end."""
        sql = "SELECT status || ' ' || reply FROM test_deliveries WHERE id = :id AND finished_at <= clock_timestamp()"
        await until(lambda: self.value(sql, id=id))
        status, _, reply = str(await self.value(sql, id=id)).partition(" ")
        return status, reply

    async def end_the_leases(self) -> None:
        """As if the time had passed for which jobs were claimed."""
        await self.change("UPDATE jobs SET claimed_until = clock_timestamp() WHERE claimed_until IS NOT NULL")

    async def close(self) -> None:
        await self.database.close()
        await self._owner.dispose()


class Doing:
    """A handler that keeps what it was given and, unless it is let go, goes on for ever."""

    def __init__(self, *, free: bool = True) -> None:
        self.claims: list[Claim] = []
        self.given: list[BaseException] = []
        self.over_with: list[Claim] = []
        self.stopped = 0
        self.go = anyio.Event()
        if free:
            self.go.set()

    async def __call__(self, claim: Claim) -> Write:
        self.claims.append(claim)
        try:
            await self.go.wait()
        except BaseException:
            self.stopped += 1
            raise
        return nothing

    def given_up(self, claim: Claim, error: BaseException) -> Write:
        self.given.append(error)
        return leaving_a_trace(claim)

    async def over(self, claim: Claim) -> None:
        self.over_with.append(claim)

    async def begun(self) -> bool:
        return bool(self.claims)


class Failing(Doing):
    """A handler that fails, always or at the first so many attempts; `fault` is what it does to fail."""

    def __init__(self, fault: Callable[[], Awaitable[object]], *, attempts: int | None = None) -> None:
        super().__init__()
        self._fault = fault
        self._attempts = attempts

    async def __call__(self, claim: Claim) -> Write:
        await super().__call__(claim)
        if self._attempts is None or claim.attempt <= self._attempts:
            await self._fault()
        return nothing


TRACES = "SELECT count(*) FROM previews WHERE html = 'trace'"


def leaving_a_trace(claim: Claim) -> Write:
    async def write(session: AsyncSession) -> None:
        await session.execute(insert(Preview).values(company_id=claim.company_id, html="trace", expires_at=func.now()))

    return write


async def logged(logs: Sequence[Mapping[str, object]], name: str) -> bool:
    """Whether there is such a line."""
    return any(line["event"] == name for line in logs)


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    """Looks again and again, as nothing tells of what happens in another process."""
    with anyio.fail_after(30):
        while not await holds():  # noqa: ASYNC110 - there is no event for it
            await anyio.sleep(0.01)


@asynccontextmanager
async def post_of(url: str, company: TestCompany) -> AsyncIterator[Post]:
    post = Post(url, company.id, company.admin)
    try:
        yield post
    finally:
        await post.close()


@asynccontextmanager
async def at_work(
    url: str, doing: Handler | Transport | Mapping[JobKind, Duty], *, pace: Pace = NO_POLL, concurrency: int = 4
) -> AsyncIterator[Worker]:
    """A worker with a pool of its own; of a transport it makes one that sends test mails, with short pauses."""
    database = Database(url, pool_size=3)
    if isinstance(doing, Mapping):
        duties = doing
    else:
        handler = doing if callable(doing) else MailTester(database, doing, pauses=(0.01, 0.01))
        duties = {JobKind.TEST_MAIL: Duty(handler)}
    worker = Worker(database, duties, concurrency=concurrency, chores=[Chore(partial(sweep, database))], pace=pace)
    try:
        async with running(worker):
            yield worker
    finally:
        await database.close()
