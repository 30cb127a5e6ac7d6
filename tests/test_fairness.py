"""Does every company have its turn: no more at a time than it may, and nobody held up by the others?"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from jobs.queue import CLAIMS_LOCK, TAKE_TURN, Claim, Queue, Write, nothing
from jobs.worker import Duty
from store.database import Database
from store.jobs import enqueue
from store.models import JobKind
from tests.conftest import World
from tests.post import Doing, Post, at_work, logged, post_of, until

pytestmark = pytest.mark.anyio

LIMIT = 2
KINDS = {JobKind.EXPORT: LIMIT, JobKind.TEST_MAIL: None}
RUNNING = """
    SELECT count(*) FROM jobs
    WHERE kind = 'EXPORT' AND company_id = :company AND claimed_until > clock_timestamp() AND due_at < '2099-01-01'
"""


@pytest.fixture
async def acme(world: World) -> AsyncIterator[Post]:
    async with post_of(world.url, world.acme) as found:
        yield found


@pytest.fixture
async def globex(world: World) -> AsyncIterator[Post]:
    async with post_of(world.url, world.globex) as found:
        yield found


@pytest.fixture
async def queues(world: World) -> AsyncIterator[list[Queue]]:
    """Three, as three processes have them, each with connections of its own."""
    databases = [Database(world.url, pool_size=4) for _ in range(3)]
    yield [Queue(database, KINDS, lease=60) for database in databases]
    for database in databases:
        await database.close()


async def exports_of(post: Post, number: int) -> list[UUID]:
    """Jobs of a limited kind, in the order in which they are due."""
    subjects = [uuid4() for _ in range(number)]
    for subject in subjects:
        await post.leave_job(subject, JobKind.EXPORT)
    return subjects


async def claimed_at_once(queues: list[Queue], most: int) -> list[Claim]:
    """What they get if each claims twice, all at the same moment."""
    claims: list[Claim] = []

    async def claim(queue: Queue) -> None:
        claims.extend(await queue.claim(most, KINDS))

    async with anyio.create_task_group() as tasks:
        for queue in [*queues, *queues]:
            tasks.start_soon(claim, queue)
    return claims


async def test_claims_at_the_same_moment(queues: list[Queue], acme: Post, globex: Post) -> None:
    """However many claim at a time, each company has as many running as it may, those first that came first."""
    for _ in range(10):
        of_acme, of_globex = await exports_of(acme, 5), await exports_of(globex, 3)
        claims = await claimed_at_once(queues, most=4)
        assert {claim.subject_id for claim in claims} == {*of_acme[:LIMIT], *of_globex[:LIMIT]}
        assert len(claims) == 2 * LIMIT
        assert await claimed_at_once(queues, most=4) == []
        await acme.change("DELETE FROM jobs WHERE due_at < '2099-01-01'")


async def test_one_after_another(queues: list[Queue], acme: Post) -> None:
    """For each that ends, fails or is handed back the next in turn may run, and no other."""
    subjects = await exports_of(acme, 6)
    queue, other, _ = queues
    first, second = await queue.claim(4, KINDS)
    assert await other.claim(4, KINDS) == []
    assert await queue.finish(first, nothing)
    (third,) = await claimed_at_once(queues, most=4)
    assert await queue.put_back(second, 3600, failed=True)
    (fourth,) = await claimed_at_once(queues, most=4)
    assert await other.put_back(third, 0, failed=False)
    (again,) = await claimed_at_once(queues, most=4)
    assert [claim.subject_id for claim in (first, second, third, fourth)] == subjects[:4]
    assert (again.subject_id, again.attempt) == (third.subject_id, 2)


async def test_dead_worker_gives_room(queues: list[Queue], acme: Post) -> None:
    """A claim that ran out counts no more, and cannot be renewed once others have been let in."""
    subjects = await exports_of(acme, 3)
    dead = await queues[0].claim(1, KINDS)
    await acme.end_the_leases()
    await acme.change(f"UPDATE jobs SET due_at = now() WHERE subject_id = '{subjects[0]}'")
    claims = await claimed_at_once(queues, most=4)
    assert {claim.subject_id for claim in claims} == set(subjects[1:])
    assert not await queues[0].renew(dead[0])
    assert not await queues[0].finish(dead[0], nothing)
    assert await acme.value(RUNNING, company=acme.company_id) == LIMIT


async def test_renewal_under_way(queues: list[Queue], acme: Post) -> None:
    """A claim that ran out while its worker was renewing it still counts."""
    await exports_of(acme, 4)
    claims = await queues[0].claim(2, KINDS)
    await acme.end_the_leases()
    renewing = "UPDATE jobs SET claimed_until = now() + '1 minute' WHERE claimed_until IS NOT NULL"
    async with acme.database.writing(acme.company_id) as session:
        await (await session.connection()).exec_driver_sql(renewing)
        assert await claimed_at_once(queues, most=4) == []
    assert await claimed_at_once(queues, most=4) == []
    assert await queues[0].renew(claims[0])


async def test_others_are_not_held_up(queues: list[Queue], acme: Post, globex: Post) -> None:
    """Jobs that wait for their company's turn are in nobody's way: neither other companies nor other kinds."""
    await exports_of(acme, 20)
    assert len(await queues[0].claim(4, KINDS)) == LIMIT
    (theirs,) = await exports_of(globex, 1)
    mails = [uuid4() for _ in range(6)]
    for mail in mails:
        await acme.leave_job(mail)
    claims = await claimed_at_once(queues, most=2)
    assert {claim.subject_id for claim in claims} == {theirs, *mails}


async def test_kinds_that_are_not_asked_for(acme: Post) -> None:
    """Jobs of other kinds are left where they are, also while those that are asked for take their turns."""
    await exports_of(acme, 1)
    await acme.leave_job(uuid4())
    queue = Queue(acme.database, {JobKind.EXPORT: LIMIT, JobKind.TEST_MAIL: LIMIT}, lease=60)
    assert [claim.kind for claim in await queue.claim(4, [JobKind.TEST_MAIL])] == [JobKind.TEST_MAIL]
    assert await queue.claim(4, [JobKind.TEST_MAIL]) == []
    assert [claim.kind for claim in await queue.claim(4, [JobKind.EXPORT])] == [JobKind.EXPORT]


async def test_claim_that_hangs(queues: list[Queue], acme: Post) -> None:
    """Other kinds are claimed while a claim of a limited kind waits for its turn."""
    await acme.leave_job(uuid4())
    async with acme.database.working() as session:
        await session.execute(TAKE_TURN, {"lock": CLAIMS_LOCK})
        assert [claim.kind for claim in await queues[0].claim(4, KINDS)] == [JobKind.TEST_MAIL]


async def test_worker_that_is_stopped_in_a_claim(queues: list[Queue], acme: Post) -> None:
    """A worker that sleeps while it is its turn to claim loses its turn after a few seconds."""
    await exports_of(acme, 1)

    async def sleep_through_the_turn() -> None:
        async with acme.database.working() as session:
            await session.execute(TAKE_TURN, {"lock": CLAIMS_LOCK})
            with anyio.fail_after(15):
                assert len(await queues[0].claim(4, KINDS)) == 1

    with pytest.raises(DBAPIError):
        await sleep_through_the_turn()


class Measuring:
    """A handler that looks how many of its company run, while it waits until it is let go."""

    def __init__(self, post: Post) -> None:
        self.most: Counter[int] = Counter()
        self.done: Counter[int] = Counter()
        self.order: list[UUID] = []
        self._post = post

    async def __call__(self, claim: Claim) -> Write:
        self.order.append(claim.subject_id)
        for _ in range(3):
            running = await self._post.value(RUNNING, company=claim.company_id)
            assert isinstance(running, int)
            self.most[claim.company_id] = max(self.most[claim.company_id], running)
        self.done[claim.company_id] += 1
        return nothing

    def given_up(self, claim: Claim, error: BaseException) -> Write:
        return nothing

    async def over(self, claim: Claim) -> None:
        pass


@pytest.mark.parametrize("slots", [None, 1])
async def test_three_workers(world: World, acme: Post, globex: Post, slots: int | None) -> None:
    """Three workers that hear of jobs by signals alone do all of them, never more of a company than it may."""
    handler = Measuring(acme)
    duties = {JobKind.EXPORT: Duty(handler, per_company=LIMIT, slots=slots)}
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(at_work(world.url, duties, concurrency=4))
        subjects = await exports_of(acme, 20)
        await exports_of(globex, 10)

        async def done() -> bool:
            return await acme.jobs() == 0

        await until(done)
    assert handler.done == {acme.company_id: 20, globex.company_id: 10}
    assert handler.most == {acme.company_id: LIMIT, globex.company_id: LIMIT}
    assert {one for one in handler.order if one in set(subjects)} == set(subjects)


async def test_worker_with_room_hears_of_an_end(world: World, acme: Post) -> None:
    """When a job ends in one worker, another that has room begins its company's next one, without a poll."""
    duties = {JobKind.EXPORT: Duty(Measuring(acme), per_company=1)}
    queue = Queue(acme.database, {JobKind.EXPORT: 1}, lease=3600)
    await exports_of(acme, 2)
    (held,) = await queue.claim(1, KINDS)
    async with at_work(world.url, duties) as worker:
        looked = 0

        def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            nonlocal looked
            looked += "row_number" in statement

        event.listen(worker._database.engine.sync_engine, "after_cursor_execute", count)

        async def idle() -> bool:
            # At the start, and once it listens.
            return looked == 2

        await until(idle)
        assert await acme.value(RUNNING, company=acme.company_id) == 1
        assert await queue.finish(held, nothing)

        async def done() -> bool:
            return await acme.jobs() == 0

        await until(done)


@pytest.mark.parametrize("per_company", [None, 6])
async def test_long_jobs_leave_room(world: World, acme: Post, per_company: int | None) -> None:
    """A worker does no more of a kind than it has slots for it; the others are free for what comes meanwhile."""
    exports, mails = Doing(free=False), Doing()
    duties = {JobKind.EXPORT: Duty(exports, per_company=per_company, slots=3), JobKind.TEST_MAIL: Duty(mails)}
    subjects = await exports_of(acme, 8)

    async def no_jobs() -> bool:
        return await acme.jobs() == 0

    async with at_work(world.url, duties, concurrency=4):
        for number in range(1, 4):
            mail = uuid4()
            await acme.leave_job(mail)

            async def done(number: int = number) -> bool:
                return len(mails.over_with) == number

            await until(done)
            assert await acme.value(RUNNING, company=acme.company_id) == 3
        assert {claim.subject_id for claim in exports.claims} == set(subjects[:3])
        exports.go.set()
        await until(no_jobs)
    assert len(exports.claims) == 8


async def test_slots_do_not_change_the_order(world: World, acme: Post) -> None:
    """What has been due longest begins first, whichever kind it is of, as far as its kind has slots."""
    doing = Doing(free=False)
    mail, other = uuid4(), uuid4()
    duties = {JobKind.EXPORT: Duty(doing, slots=2), JobKind.TEST_MAIL: Duty(doing)}
    with capture_logs() as logs:
        async with at_work(world.url, duties, concurrency=3) as worker:
            await until(lambda: logged(logs, "worker.listening"))
            async with acme.database.writing(acme.company_id) as session:
                # All by one signal.
                exports = [uuid4() for _ in range(3)]
                for subject, kind in [
                    *((export, JobKind.EXPORT) for export in exports),
                    (mail, JobKind.TEST_MAIL),
                    (other, JobKind.TEST_MAIL),
                ]:
                    await enqueue(session, acme.company_id, kind, subject)

            async def full() -> bool:
                return len(doing.claims) == 3

            await until(full)
            worker.stop()
            doing.go.set()
    assert {claim.subject_id for claim in doing.claims} == {*exports[:2], mail}
