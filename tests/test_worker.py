"""Is every job done, by one worker at a time, whatever the job does; and does a worker stay quiet meanwhile?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import anyio
import asyncpg  # type: ignore[import-untyped]  # it brings no types along
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from jobs.housekeeping import sweep
from jobs.queue import Claim, Queue, nothing
from jobs.worker import BegunTooOften, Duty, Pace
from store.database import Database, owner_transaction
from store.models import IdempotencyKey, JobKind
from tests.build import Builder
from tests.conftest import World
from tests.post import TRACES, Doing, Failing, Post, at_work, logged, post_of, until

pytestmark = pytest.mark.anyio

KINDS = {JobKind.TEST_MAIL: None}


@pytest.fixture
async def post(world: World) -> AsyncIterator[Post]:
    async with post_of(world.url, world.acme) as found:
        yield found


@pytest.fixture
async def database(world: World) -> AsyncIterator[Database]:
    found = Database(world.url, pool_size=3)
    yield found
    await found.close()


async def look_up() -> None:
    raise LookupError


async def lose_the_connection() -> None:
    raise ConnectionResetError


async def no_jobs(post: Post) -> bool:
    return await post.jobs() == 0


async def test_claims_in_order(database: Database, post: Post) -> None:
    """What has been due longest is claimed first, whichever company's it is, and what is due later is not."""
    subjects = [uuid4() for _ in range(4)]
    for subject, due in zip(subjects, ("- '3 s'", "- '5 s'", "+ '1 hour'", "- '4 s'"), strict=True):
        await post.leave_job(subject)
        await post.change(f"UPDATE jobs SET due_at = now() {due}::interval WHERE subject_id = '{subject}'")
    queue = Queue(database, KINDS, lease=60)
    claimed = [(await queue.claim(1, KINDS))[0].subject_id for _ in range(3)]
    assert claimed == [subjects[1], subjects[3], subjects[0]]
    assert await queue.claim(1, KINDS) == []


async def test_no_job_is_claimed_twice(database: Database, post: Post) -> None:
    """Claims made at the same time share the jobs, each as many as it asked for at most."""
    for _ in range(20):
        await post.leave_job(uuid4())
    queue = Queue(database, KINDS, lease=60)
    shares: list[list[Claim]] = []

    async def claim() -> None:
        shares.append(await queue.claim(4, KINDS))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(claim)
    shares.append(await queue.claim(20, KINDS))
    assert max(map(len, shares[:-1])) <= 4
    claimed = [one.job_id for share in shares for one in share]
    assert (len(claimed), len(set(claimed))) == (20, 20)


async def test_a_claim_that_ran_out(database: Database, post: Post) -> None:
    """Whoever had a job before changes nothing any more: neither the job nor what it is about."""
    await post.leave_job(uuid4())
    queue = Queue(database, KINDS, lease=60)
    (before,) = await queue.claim(1, KINDS)
    await post.end_the_leases()
    (after,) = await queue.claim(1, KINDS)
    assert (before.job_id, before.attempt, after.attempt) == (after.job_id, 1, 2)

    async def never(_session: AsyncSession) -> None:
        raise AssertionError

    assert not await queue.renew(before)
    assert not await queue.finish(before, never)
    assert not await queue.put_back(before, 0, failed=True)
    assert await queue.claim(1, KINDS) == []
    assert await queue.renew(after)
    assert await queue.finish(after, nothing)
    assert await post.jobs() == 0


async def test_outcome_and_end_go_together(database: Database, post: Post) -> None:
    """A job whose outcome cannot be recorded is not over."""
    await post.leave_job(uuid4())
    queue = Queue(database, KINDS, lease=60)
    (claim,) = await queue.claim(1, KINDS)

    async def fail(_session: AsyncSession) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await queue.finish(claim, fail)
    assert await post.jobs() == 1


async def test_signals_and_quiet(world: World, post: Post) -> None:
    """A job begins when it is committed, without a poll; between signals and ends of jobs nothing is asked."""
    doing = Doing()
    async with at_work(world.url, doing) as worker:
        claims: list[str] = []

        def keep(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if "MATERIALIZED" in statement:
                claims.append(statement)

        event.listen(worker._database.engine.sync_engine, "before_cursor_execute", keep)
        for number in range(5):
            await post.leave_job(uuid4())
            await until(lambda: no_jobs(post))
            assert len(doing.claims) == number + 1
    # Each signal and each end is worth a look, and so is the start.
    assert 5 <= len(claims) <= 5 * 2 + 2


async def test_as_many_at_a_time_as_allowed(world: World, post: Post) -> None:
    """A worker claims no more than it does at a time, and the rest as soon as there is room."""
    doing = Doing(free=False)
    for _ in range(5):
        await post.leave_job(uuid4())
    async with at_work(world.url, doing, concurrency=2):
        await until(doing.begun)
        assert await post.value("SELECT count(*) FROM jobs WHERE claimed_until IS NOT NULL") == 2
        doing.go.set()
        await until(lambda: no_jobs(post))
    assert [claim.attempt for claim in doing.claims] == [1] * 5


async def test_put_back(database: Database, post: Post) -> None:
    """A job that was put back is no longer its worker's, keeps its place in the order, and counts its failures."""
    first, second = uuid4(), uuid4()
    for subject in (first, second):
        await post.leave_job(subject)
    queue = Queue(database, KINDS, lease=60)
    (before,) = await queue.claim(1, KINDS)
    assert await queue.put_back(before, 0, failed=False)
    assert not await queue.renew(before)
    assert not await queue.finish(before, nothing)
    assert not await queue.put_back(before, 0, failed=True)
    (again,) = await queue.claim(1, KINDS)
    assert (again.subject_id, again.attempt, again.failures) == (first, 2, 0)
    assert await queue.put_back(again, 3600, failed=True)
    assert [claim.subject_id for claim in await queue.claim(2, KINDS)] == [second]
    assert await post.value("SELECT failures FROM jobs WHERE subject_id = :id", id=first) == 1


async def test_failing_job(world: World, post: Post) -> None:
    """A job that raises is tried again a few times, then given up for what it raised, which is recorded."""
    failing = Failing(look_up)
    await post.leave_job(uuid4())
    pace = Pace(poll=0.02, retry=0.01, attempts=3)
    with capture_logs() as logs:
        async with at_work(world.url, failing, pace=pace):
            await until(lambda: no_jobs(post))
    assert [(claim.attempt, claim.failures) for claim in failing.claims] == [(1, 0), (2, 1), (3, 2)]
    events = [line["event"] for line in logs]
    assert (events.count("worker.failed"), events.count("job.given_up")) == (3, 1)
    assert [type(error) for error in failing.given] == [LookupError]
    assert [claim.attempt for claim in failing.over_with] == [3]
    assert await post.value(TRACES) == 1


@pytest.mark.parametrize(("fault", "failures"), [(look_up, 3), (lose_the_connection, 2)])
async def test_pause_before_another_attempt(
    world: World, post: Post, fault: Callable[[], Awaitable[None]], failures: int
) -> None:
    """Each failure doubles the time until the next attempt, by the database's clock; lost workers do not."""
    await post.leave_job(uuid4())
    await post.change("UPDATE jobs SET attempt = 20, failures = 2 WHERE due_at < '2099-01-01'")
    async with at_work(world.url, Failing(fault), pace=Pace(poll=3600, retry=100)):
        await until(lambda: post.value("SELECT due_at > now() FROM jobs WHERE due_at < '2099-01-01'"))
    assert await post.value(
        "SELECT due_at - now() BETWEEN '390 s' AND '400 s' AND claimed_until IS NULL FROM jobs WHERE failures = :count",
        count=failures,
    )


SLEEP = "SELECT pg_sleep(600)"
END_SLEEPERS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE query LIKE '%pg_sleep(600)%' AND state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()
"""


@asynccontextmanager
async def driver_of(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection without SQLAlchemy's layer, as what is copied goes over."""
    pooled = await database.engine.raw_connection()
    connection = pooled.driver_connection
    assert connection is not None
    pooled.detach()
    try:
        yield connection
    finally:
        connection.terminate()


async def fail_in_a_statement(database: Database) -> None:
    async with database.signing_in() as connection:
        await connection.execute(text(SLEEP))


async def fail_in_a_copy(database: Database) -> None:
    async def take(_lines: bytes) -> None:
        raise AssertionError

    async with driver_of(database) as connection:
        await connection.copy_from_query(SLEEP, output=take)


async def fail_after_a_copy(database: Database) -> None:
    async with driver_of(database) as connection:
        with suppress(asyncpg.PostgresError):
            await connection.execute(SLEEP)
        await connection.fetch("SELECT 1")


async def find_nobody_listening(_database: Database) -> None:
    await asyncpg.connect("postgresql://nobody@127.0.0.1:1/none")


async def ask_wrongly(database: Database) -> None:
    async with driver_of(database) as connection:
        await connection.fetch("SELECT $1::int")


async def divide_by_zero(database: Database) -> None:
    async with database.signing_in() as connection:
        await connection.execute(text("SELECT 1 / 0"))


async def fill_the_disk(_database: Database) -> None:
    async with await anyio.open_file("/dev/full", "wb", buffering=0) as file:
        await file.write(b"0")


@pytest.mark.parametrize(
    ("fault", "failures"),
    [
        (fail_in_a_statement, 0),
        (fail_in_a_copy, 0),
        (fail_after_a_copy, 0),
        (find_nobody_listening, 0),
        (ask_wrongly, 1),
        (divide_by_zero, 1),
        (fill_the_disk, 1),
    ],
)
async def test_lost_database_is_no_failure(
    world: World, post: Post, database: Database, fault: Callable[[Database], Awaitable[None]], failures: int
) -> None:
    """A job whose connection is cut is tried again without a failure; a mistake or a full disk is one."""
    failing = Failing(lambda: fault(database), attempts=1)
    await post.leave_job(uuid4())

    async def done() -> bool:
        await post.value(END_SLEEPERS)
        return await no_jobs(post)

    async with at_work(world.url, failing, pace=Pace(poll=0.02, retry=0.01)):
        await until(done)
    assert [(claim.attempt, claim.failures) for claim in failing.claims] == [(1, 0), (2, failures)]


async def test_database_that_is_always_lost(world: World, post: Post) -> None:
    """A job that takes the connection with it each time is given up in the end."""
    failing = Failing(lose_the_connection)
    await post.leave_job(uuid4())
    async with at_work(world.url, failing, pace=Pace(poll=0.02, retry=0.01, attempts=2, claims=4)):
        await until(lambda: no_jobs(post))
    assert [claim.failures for claim in failing.claims] == [0] * 4
    assert [type(error) for error in failing.given] == [BegunTooOften]


class Tidying(Doing):
    """A handler that, when a job is over, does as it is told first."""

    def __init__(self, tidy: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._tidy = tidy
        self.ended = 0

    async def over(self, claim: Claim) -> None:
        await super().over(claim)
        await self._tidy()
        self.ended += 1


async def test_tidying_up_after_a_job(world: World, post: Post) -> None:
    """What a job leaves behind is removed once, when its end is committed, and may take longer than a claim holds."""
    seen: list[object] = []

    async def look_twice() -> None:
        seen.append(await post.jobs())
        began = await post.value("SELECT clock_timestamp()")
        await until(lambda: post.value("SELECT clock_timestamp() > CAST(:began AS timestamptz) + '0.5 s'", began=began))

    doing = Tidying(look_twice)
    await post.leave_job(uuid4())
    with capture_logs() as logs:
        async with at_work(world.url, doing, pace=Pace(poll=0.02, lease=0.3)):
            await until(doing.begun)
    assert (seen, len(doing.over_with), doing.ended) == ([0], 1, 1)
    assert [line["event"] for line in logs if line["log_level"] != "info"] == []


@pytest.mark.parametrize("tidy", [look_up, anyio.sleep_forever])
async def test_tidying_up_that_fails(world: World, post: Post, tidy: Callable[[], Awaitable[None]]) -> None:
    """Where it cannot be removed, or takes too long, that is reported; the job is over, and the next one is done."""
    doing = Tidying(tidy)
    with capture_logs() as logs:
        async with at_work(world.url, doing, pace=Pace(poll=3600, over=0.05), concurrency=1):
            for _ in range(2):
                await post.leave_job(uuid4())
                await until(lambda: no_jobs(post))
    assert [claim.attempt for claim in doing.over_with] == [1, 1]
    assert [line["doing"] for line in logs if line["event"] == "worker.failed"] == ["tidying up"] * 2


async def test_workers_that_are_killed(world: World, database: Database, post: Post) -> None:
    """A job whose workers went away twenty times, each without a word, is done by the next."""
    await post.leave_job(uuid4())
    queue = Queue(database, KINDS, lease=60)
    for _ in range(20):
        assert len(await queue.claim(1, KINDS)) == 1
        await post.end_the_leases()
    doing = Doing()
    async with at_work(world.url, doing):
        await until(lambda: no_jobs(post))
    assert [(claim.attempt, claim.failures) for claim in doing.claims] == [(21, 0)]
    assert doing.given == []


async def test_job_that_ends_its_workers(world: World, post: Post) -> None:
    """A job that was begun a hundred times and never ended is not begun again, and that is recorded."""
    await post.leave_job(uuid4())
    await post.change("UPDATE jobs SET attempt = 100 WHERE due_at < '2099-01-01'")
    doing = Doing()
    with capture_logs() as logs:
        async with at_work(world.url, doing):
            await until(lambda: no_jobs(post))
    assert doing.claims == []
    assert [type(error) for error in doing.given] == [BegunTooOften]
    assert await logged(logs, "job.given_up")
    assert await post.value(TRACES) == 1


async def test_long_job(world: World, post: Post) -> None:
    """A job may take longer than the lease: it stays claimed as long as its worker is there."""
    doing = Doing(free=False)
    pace = Pace(poll=0.02, lease=0.3)
    await post.leave_job(uuid4())
    async with at_work(world.url, doing, pace=pace), at_work(world.url, doing, pace=pace):
        await until(doing.begun)
        until_when = await post.value("SELECT claimed_until FROM jobs WHERE attempt = 1")
        past = "SELECT clock_timestamp() > :then FROM jobs WHERE attempt = 1"
        await until(lambda: post.value(past, then=until_when))
        doing.go.set()
        await until(lambda: no_jobs(post))
    assert [claim.attempt for claim in doing.claims] == [1]


async def test_lost_claim_stops_the_job(world: World, post: Post) -> None:
    """A worker whose claim somebody else has taken stops at the next renewal, and leaves the job alone."""
    doing = Doing(free=False)
    await post.leave_job(uuid4())
    with capture_logs() as logs:
        async with at_work(world.url, doing, pace=Pace(poll=3600, lease=0.3)):
            await until(doing.begun)
            taken = "UPDATE jobs SET attempt = attempt + 1, claimed_until = now() + '1 hour' WHERE attempt = 1"
            await post.change(taken)

            await until(lambda: logged(logs, "job.claim_lost"))
    assert (doing.stopped, doing.over_with) == (1, [])
    assert [line["event"] for line in logs].count("job.claim_lost") == 1
    assert await post.jobs() == 1


async def test_stopping(world: World, post: Post) -> None:
    """A worker that is told to stop ends what it is doing and begins nothing new."""
    doing = Doing(free=False)
    first, second = uuid4(), uuid4()
    await post.leave_job(first)
    async with at_work(world.url, doing, pace=Pace(poll=0.02), concurrency=1) as worker:
        await until(doing.begun)
        worker.stop()
        await post.leave_job(second)
        doing.go.set()
    assert [claim.subject_id for claim in doing.claims] == [first]
    assert await post.value("SELECT subject_id FROM jobs WHERE due_at < '2099-01-01'") == second


async def test_end_of_the_grace_time(world: World, post: Post) -> None:
    """A job that takes longer than a stopping worker may is cut off, and another worker hears of it."""
    doing, another = Doing(free=False), Doing()
    await post.leave_job(uuid4())
    async with at_work(world.url, doing, pace=Pace(poll=3600, grace=0.05)) as worker:
        await until(doing.begun)
        with capture_logs() as logs:
            async with at_work(world.url, another):
                await until(lambda: logged(logs, "worker.listening"))
                worker.stop()
                await until(lambda: no_jobs(post))
    assert doing.stopped == 1
    assert [(claim.attempt, claim.failures) for claim in another.claims] == [(2, 0)]


async def test_handed_back_at_once(world: World, post: Post) -> None:
    """A worker that is told to stop hands back what others can go on with; they hear of it, and the rest ends here."""
    resumed, ended, another = Doing(free=False), Doing(free=False), Doing()
    export, mail = uuid4(), uuid4()
    await post.leave_job(export, JobKind.EXPORT)
    await post.leave_job(mail)
    duties = {JobKind.EXPORT: Duty(resumed, at_once=True), JobKind.TEST_MAIL: Duty(ended)}
    async with at_work(world.url, duties, pace=Pace(poll=3600, grace=35)) as worker:
        await until(resumed.begun)
        await until(ended.begun)
        with capture_logs() as logs:
            async with at_work(world.url, {JobKind.EXPORT: Duty(another), JobKind.TEST_MAIL: Duty(another)}):
                await until(lambda: logged(logs, "worker.listening"))
                worker.stop()
                await until(another.begun)
        assert ended.stopped == 0
        ended.go.set()
    assert await no_jobs(post)
    assert resumed.stopped == 1
    assert [(one.subject_id, one.attempt, one.failures) for one in another.claims] == [(export, 2, 0)]


async def test_lost_connection_to_the_database(world: World, post: Post) -> None:
    """A worker whose connections are cut, the one it listens with as well, hears of jobs again."""
    doing = Doing()
    cut = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    with capture_logs() as logs:
        async with at_work(world.url, doing):
            await until(lambda: logged(logs, "worker.listening"))
            logs.clear()
            await post.value(cut)
            await until(lambda: logged(logs, "worker.connection_lost"))
            await until(lambda: logged(logs, "worker.listening"))
            await post.leave_job(uuid4())
            await until(lambda: no_jobs(post))
    assert len(doing.claims) == 1


async def test_housekeeping(world: World, database: Database, post: Post) -> None:
    """What is over goes, in all companies; what is not stays."""
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        for company in (world.acme, world.globex):
            own = {"company_id": company.id}
            for key, age in (("old", "24:00:01"), ("new", "23:59:00")):
                await build.add(IdempotencyKey, **own, user_id=company.admin, key=key, request_sha256=b"")
                await connection.exec_driver_sql(
                    f"UPDATE idempotency_keys SET created_at = now() - '{age}'::interval WHERE key = '{key}'"
                )
        await connection.exec_driver_sql(
            "INSERT INTO previews (company_id, html, expires_at)"
            " SELECT id, kind, now() + after::interval FROM companies,"
            " (VALUES ('over', '-1 s'), ('shown', '1 min')) AS made (kind, after)"
        )
    await sweep(database)
    assert await post.value("SELECT string_agg(key, ' ' ORDER BY key, company_id) FROM idempotency_keys") == (
        "new new of-the-world of-the-world"
    )
    previews = "SELECT string_agg(html, ' ' ORDER BY html) FROM previews"
    assert await post.value(previews) == "<p>Hello</p> <p>Hello</p> shown shown"


async def test_housekeeping_is_done(world: World, post: Post) -> None:
    """A worker tidies up again and again, also after it failed to."""
    old = "INSERT INTO previews (company_id, html, expires_at) SELECT id, 'over', now() FROM companies"
    gone = "SELECT count(*) = 0 FROM previews WHERE html = 'over'"
    async with at_work(world.url, Doing(), pace=Pace(poll=3600, sweep=0.02)):
        for _ in range(2):
            await post.change(old)
            await until(lambda: post.value(gone))
        with capture_logs() as logs:
            await post.change("ALTER TABLE previews RENAME TO elsewhere")
            await until(lambda: logged(logs, "worker.failed"))
        await post.change("ALTER TABLE elsewhere RENAME TO previews")
        await post.change(old)
        await until(lambda: post.value(gone))
