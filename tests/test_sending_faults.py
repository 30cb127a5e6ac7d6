"""Does a campaign come to its end whatever its size, whoever changes it meanwhile, and if it kills its workers?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from jobs.delivery.campaigns import CampaignSender, locked
from jobs.delivery.feed import Feed
from jobs.delivery.ledger import Ledger
from jobs.delivery.plan import read_plan
from jobs.delivery.progress import Progress
from jobs.pacing import Pacer
from jobs.queue import Claim, Queue
from jobs.transport import NO_SERVER, FixedTransport, Outcome
from jobs.worker import BegunTooOften, Duty, Pace
from store import delivery
from store.database import Database
from store.delivery import cancel_waiting, carry_out, queue_unknown, stop_the_clock
from store.feedback import Feedback, FeedbackKind, take
from store.long_statements import rows_in_time
from store.models import DeliveryStatus, JobKind
from tests.build import NOW
from tests.conftest import World
from tests.post import Doing, Post, logged, post_of, until
from tests.post import at_work as doing_jobs
from tests.recipients import sent
from tests.sending import Sending, at_work, mail_means, sending_of

pytestmark = pytest.mark.anyio

Decision = Callable[[AsyncSession, int, UUID], Awaitable[object]]

TAKEN = FixedTransport(Outcome.TAKEN, "250 2.0.0 Ok")
PATIENCE = 60
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
CALLABLE = "UPDATE contacts SET call_consent_given = true, mobile_phone_number = '+45 ' || substr(first_name, 7)"


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        yield found


@pytest.fixture
async def post(world: World) -> AsyncIterator[Post]:
    async with post_of(world.url, world.acme) as found:
        yield found


@pytest.fixture
async def hurried(world: World) -> AsyncIterator[Database]:
    """A database that gives every usual statement up after a second."""
    found = Database(world.url, pool_size=3, command_timeout=1)
    yield found
    await found.close()


async def frozen(sending: Sending, statuses: dict[str, int], **values: object) -> UUID:
    """A campaign that is SENDING, of which so many have each status; there is no job."""
    id = await sending.campaign(**values)
    await sending.change(
        "INSERT INTO campaign_deliveries (company_id, campaign_id, recipients, sender)"
        " VALUES (:company, :id, 1, 'news@acme.campaigns.example')",
        company=sending.company_id,
        id=id,
    )
    for status, count in statuses.items():
        await sending.change(
            "INSERT INTO recipients (company_id, campaign_id, address, status, attempt)"
            " SELECT :company, :id, n || '@customer.example', CAST(:status AS text), 1"
            " FROM generate_series(1, CAST(:count AS integer)) n",
            company=sending.company_id,
            id=id,
            status=status,
            count=count,
        )
    return id


async def claimed(database: Database) -> Claim:
    (claim,) = await Queue(database, {}, lease=60).claim(1, [JobKind.CAMPAIGN])
    return claim


async def slow_changes(sending: Sending) -> None:
    """Every change of a recipient's status, and every task, takes 10 ms."""
    await sending.change(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END'"
    )
    await sending.change("CREATE TRIGGER slow BEFORE UPDATE ON recipients FOR EACH ROW EXECUTE FUNCTION slowly()")
    await sending.change("CREATE TRIGGER slow BEFORE INSERT ON campaign_tasks FOR EACH ROW EXECUTE FUNCTION slowly()")


async def test_usual_statements_are_given_up(hurried: Database, world: World) -> None:
    """What takes longer than usual is carried out if it may, and its rows are given back."""
    slow = select(text("pg_sleep(1.5), 7"))
    with pytest.raises(Exception, match="statement timeout"):
        async with hurried.writing(world.acme.id) as session:
            await session.execute(slow)
    async with hurried.writing(world.acme.id) as session:
        assert await rows_in_time(session, select(text("7 FROM pg_sleep(1.5)"))) == [(7,)]


async def test_a_lost_connection_passes(hurried: Database, world: World, sending: Sending) -> None:
    """A connection that is cut meanwhile is a fault that passes by itself; what is wrong with the statement is not."""
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()"
    )

    async def run() -> None:
        async with hurried.writing(world.acme.id) as session:
            await rows_in_time(session, select(text("1 FROM pg_sleep(30)")))

    running = asyncio.create_task(run())
    await until(lambda: sending.value(end))
    with pytest.raises(ConnectionError):
        await running


@pytest.mark.parametrize("status", ["CANCELED", "SENDING"])
async def test_large_audiences(hurried: Database, sending: Sending, status: str) -> None:
    """A campaign is settled, or given up, though changing all its recipients takes longer than a usual statement."""
    id = await frozen(sending, {"QUEUED": 200}, status=status)
    await sending.carry_out(id)
    await slow_changes(sending)
    claim = await claimed(hurried)
    sender = CampaignSender(hurried, mail_means(NO_SERVER))
    if status == "CANCELED":
        write = await sender(claim)
        assert await sending.recipients(id) == {"CANCELED": 200}
    else:
        write = sender.given_up(claim, BegunTooOften())
    assert await Queue(hurried, {}, lease=60).finish(claim, write)
    assert await sending.recipients(id) == {"CANCELED" if status == "CANCELED" else "FAILED": 200}
    assert (await sending.row(id)).ended_at is not None


async def test_many_calls_take_their_time(hurried: Database, sending: Sending, world: World) -> None:
    """The same holds for making the tasks of calls."""
    await sending.add_contacts(120)
    await sending.change(CALLABLE)
    task = {"task_distribution_strategy": "DISTRIBUTE", "task_relations_path_id": world.acme.rows["path"]}
    window = {"task_start_at": NOW + timedelta(1), "task_end_at": NOW + timedelta(2)}
    id = await sending.send(type="TELEPHONE", message_content=None, **task, **window)
    await sending.change(
        "INSERT INTO campaign_task_users (company_id, campaign_id, user_id, position) VALUES (:company, :id, :user, 0)",
        company=sending.company_id,
        id=id,
        user=world.acme.member,
    )
    await slow_changes(sending)
    claim = await claimed(hurried)
    write = await CampaignSender(hurried, mail_means(NO_SERVER))(claim)
    assert await Queue(hurried, {}, lease=60).finish(claim, write)
    row = await sending.row(id)
    assert (row.status, row.total_sent) == ("COMPLETED", 120)


async def test_cancelling_many(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many wait, a request leaves it to the worker to cancel them, and tells it so."""
    monkeypatch.setattr(delivery, "MOST_AT_ONCE", 5)
    counts = {5: {"CANCELED": 5}, 6: {"QUEUED": 6}}
    for count, after in counts.items():
        id = await frozen(sending, {"QUEUED": count}, status="CANCELED")
        async with sending.database.writing(sending.company_id) as session:
            await cancel_waiting(session, sending.company_id, id)
        assert await sending.recipients(id) == after
    assert await sending.jobs() == 1
    async with at_work(sending.url, NO_SERVER):
        row = await sending.end_of(id)
    assert (row.status, row.total_sent) == ("CANCELED", 0)
    assert await sending.recipients(id) == {"CANCELED": 6}


@pytest.mark.parametrize("decide", [carry_out, queue_unknown, cancel_waiting])
async def test_ends_meet_decisions(sending: Sending, decide: Decision) -> None:
    """Whoever ends a campaign, and whoever decides about it, lock it before its job: neither waits for the other."""
    id = await frozen(sending, {"UNKNOWN": 2})
    await sending.carry_out(id)
    claim = await claimed(sending.database)
    write = await CampaignSender(sending.database, mail_means(NO_SERVER))(claim)
    async with sending.database.writing(sending.company_id) as session:
        await locked(session, claim)
        ending = asyncio.create_task(Queue(sending.database, {}, lease=60).finish(claim, write))
        await until(lambda: sending.value(WAITING))
        await decide(session, sending.company_id, id)
    assert await ending
    # What goes again is carried on at once.
    assert await sending.jobs() == (1 if decide is queue_unknown else 0)


@pytest.mark.parametrize("decide", [queue_unknown, cancel_waiting])
async def test_decisions_keep_messages_from_beginning(sending: Sending, decide: Decision) -> None:
    """Whoever changes recipients has locked the job before: what begins messages finds no recipient locked."""
    id = await frozen(sending, {"UNKNOWN": 1, "QUEUED": 1})
    await sending.carry_out(id)
    claim = await claimed(sending.database)

    async def deciding() -> None:
        async with sending.database.writing(sending.company_id) as session:
            await locked(session, claim)
            await decide(session, sending.company_id, id)

    async with sending.database.writing(sending.company_id) as turn:
        await turn.execute(text("SELECT id FROM jobs WHERE id = :id FOR SHARE"), {"id": claim.job_id})
        other = asyncio.create_task(deciding())
        await until(lambda: sending.value(WAITING))
        await turn.execute(text("SELECT id FROM recipients WHERE campaign_id = :id FOR UPDATE NOWAIT"), {"id": id})
    await other


async def test_progress_locks_the_campaign_first(sending: Sending) -> None:
    """Whoever tells of progress waits for the campaign before they lock its delivery, as those do who pause it."""
    id = await frozen(sending, {"SENT": 1})
    ledger = Ledger(sending.database, Claim(sending.company_id, 1, JobKind.CAMPAIGN, id, 1, 0))
    ledger.ends[DeliveryStatus.SENT] = 1
    async with sending.database.writing(sending.company_id) as session:
        plan = await read_plan(session, sending.company_id, id)
    async with sending.database.writing(sending.company_id) as session:
        await session.execute(text("SELECT id FROM campaigns WHERE id = :id FOR UPDATE"), {"id": id})
        telling = asyncio.create_task(Progress(sending.database, plan, ledger, lambda: 0.0).write())
        await until(lambda: sending.value(WAITING))
        await stop_the_clock(session, sending.company_id, id)
    assert await telling


async def test_a_job_that_kills_its_workers(world: World, post: Post) -> None:
    """A patient job is given up after so many claims in a row that nothing was heard of."""
    doing = Doing(free=False)
    duties = {JobKind.TEST_MAIL: Duty(doing, patient=True)}
    await post.leave_job(uuid4())
    queue = Queue(post.database, {}, lease=60)
    for _ in range(3):
        assert await queue.claim(1, [JobKind.TEST_MAIL])
        await post.end_the_leases()
    async with doing_jobs(world.url, duties, pace=Pace(poll=0.02, deaths=3)):
        await until(lambda: no_jobs(post))
    assert [type(error) for error in doing.given] == [BegunTooOften]
    assert not doing.claims


async def no_jobs(post: Post) -> bool:
    return await post.jobs() == 0


@pytest.mark.parametrize("heard", ["done", "handed back", "failed", "excused"])
async def test_who_is_heard_of(post: Post, heard: str) -> None:
    """A claim does not count if its worker lived to put the job back, or lost the database; progress ends the row."""
    await post.leave_job(uuid4())
    queue = Queue(post.database, {}, lease=60)
    for _ in range(2):
        await queue.claim(1, [JobKind.TEST_MAIL])
        await post.end_the_leases()
    (claim,) = await queue.claim(1, [JobKind.TEST_MAIL])
    assert claim.unheard == 3
    if heard == "excused":
        await post.end_the_leases()
        (claim,) = await queue.claim(1, [JobKind.TEST_MAIL])
        # By the one who had it before.
        await queue.excuse(replace(claim, attempt=claim.attempt - 1))
        await post.end_the_leases()
    else:
        await queue.put_back(claim, 0, failed=heard == "failed", done=heard == "done")
    (claim,) = await queue.claim(1, [JobKind.TEST_MAIL])
    assert claim.unheard == {"done": 1, "excused": 4}.get(heard, 3)


async def test_database_that_goes_away_again_and_again(world: World, post: Post) -> None:
    """A worker whose questions have no answer until its lease is over says later that the job has not ended it."""
    doing = Doing(free=False)
    duties = {JobKind.TEST_MAIL: Duty(doing, patient=True)}
    await post.leave_job(uuid4())
    jobs = "SELECT unheard FROM jobs WHERE due_at < '2099-01-01'"
    with capture_logs() as logs:
        async with doing_jobs(world.url, duties, pace=Pace(poll=0.02, lease=0.6, deaths=2)):
            for number in range(1, 5):

                async def begun(number: int = number) -> bool:
                    return len(doing.claims) >= number

                await until(begun)
                # Whoever renews waits, as if the database did not answer.
                async with post.database.writing(post.company_id) as session:
                    await session.execute(
                        text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": doing.claims[-1].job_id}
                    )

                    async def lost(number: int = number) -> bool:
                        return doing.stopped >= number

                    await until(lost)
                await until(lambda: post.value(f"SELECT count(*) FROM ({jobs}) j WHERE unheard <= 1"))
            doing.go.set()
            await until(lambda: no_jobs(post))
    assert not doing.given
    assert await logged(logs, "job.claim_lost")


async def test_a_campaign_that_kills_its_workers(sending: Sending) -> None:
    """It has FAILED with a reason, though something may have gone out; nobody waits any more."""
    id = await frozen(sending, {"QUEUED": 2, "DEFERRED": 1, "SENDING": 1})
    await sending.carry_out(id)
    await sending.change("UPDATE jobs SET unheard = 20 WHERE kind = 'CAMPAIGN'")
    async with at_work(sending.url, TAKEN):
        row = await sending.end_of(id)
    assert (row.status, row.problem_code, row.total_sent) == ("FAILED", "INTERNAL_ERROR", 0)
    assert row.sent_at is not None
    assert await sending.recipients(id) == {"FAILED": 3, "UNKNOWN": 1}
    assert await sending.rows("SELECT kind FROM notifications WHERE campaign_id = :id", id=id) == [("CAMPAIGN_FAILED",)]


@pytest.mark.parametrize("kind", [FeedbackKind.DELIVERED, FeedbackKind.BOUNCED, FeedbackKind.COMPLAINED])
async def test_late_feedback_is_counted(world: World, sending: Sending, kind: FeedbackKind) -> None:
    """Whoever is heard of after the end, and was not counted then, counts as reached from then on: once."""
    unclear, known = await sent(world, "UNKNOWN"), await sent(world, "SENT", email="bob@example.com")
    await sending.change("UPDATE recipients SET sent_at = now() WHERE status = 'SENT'")
    await sending.change("UPDATE campaigns SET total_sent = 1 WHERE id = :id", id=known.campaign_id)
    for each in (unclear, known, unclear):
        async with sending.database.writing(sending.company_id) as session:
            await take(session, sending.company_id, Feedback(each.recipient_id, kind, reply="Said"))
    totals = [(await sending.row(each.campaign_id)).total_sent for each in (unclear, known)]
    assert totals == [1, 1]


async def test_feedback_waits_for_the_campaign(world: World, sending: Sending) -> None:
    """What may change the campaign's number waits for it before it holds the recipient."""
    unclear = await sent(world, "UNKNOWN")
    lock = text("SELECT id FROM campaigns WHERE id = :id FOR UPDATE")

    async def heard() -> None:
        async with sending.database.writing(sending.company_id) as session:
            await take(session, sending.company_id, Feedback(unclear.recipient_id, FeedbackKind.DELIVERED))

    async with sending.database.writing(sending.company_id) as session:
        await session.execute(lock, {"id": unclear.campaign_id})
        hearing = asyncio.create_task(heard())
        await until(lambda: sending.value(WAITING))
        await queue_unknown(session, sending.company_id, unclear.campaign_id)
    await hearing
    assert await sending.recipients(unclear.campaign_id) == {"DELIVERED": 1}


async def test_a_refusal_says_nothing_of_an_earlier_try(sending: Sending) -> None:
    """A campaign that cannot begin keeps neither numbers, nor times, nor recipients of the try before."""
    id = await frozen(sending, {"CANCELED": 3}, approved=False)
    await sending.change(
        "UPDATE campaign_deliveries SET recipients = 3, excluded = '{\"NO_ADDRESS\": 2}', sender = 'a@b.example',"
        " started_at = '2020-01-01', deadline_at = '2020-01-02', heartbeat_at = now(), per_second = 5,"
        " ended_at = '2020-01-02' WHERE campaign_id = :id",
        id=id,
    )
    await sending.carry_out(id)
    async with at_work(sending.url, NO_SERVER):
        row = await sending.end_of(id)
    assert (row.status, row.problem_code, row.recipients, row.excluded) == ("FAILED", "NOT_APPROVED", 0, {})
    assert row.started_at == row.ended_at
    left = "SELECT sender, deadline_at, heartbeat_at, per_second FROM campaign_deliveries WHERE campaign_id = :id"
    assert await sending.rows(left, id=id) == [(None, None, None, None)]
    assert not await sending.recipients(id)


async def test_slow_domains_hold_up_no_other(sending: Sending) -> None:
    """Behind thousands of a domain that must wait, those of another are found at once; all come in the end, once."""
    await sending.add_contacts(2500, domain="slow.example")
    await sending.add_contacts(3, first=9001, domain="other.example")
    id = await frozen(sending, {})
    await sending.change(
        "INSERT INTO recipients (company_id, campaign_id, contact_id, address) SELECT company_id, :id, id, email"
        " FROM contacts WHERE country = 'Audience' ORDER BY split_part(email, '@', 2) DESC, id",
        id=id,
    )
    async with sending.database.writing(sending.company_id) as session:
        plan = await read_plan(session, sending.company_id, id)
    clock = [0.0]
    pacer = Pacer(1e9, 1.0, clock=lambda: clock[0])
    feed = Feed(sending.database, plan, pacer, "https://gateway.example/u/{}-{}".format)
    found: deque[str] = deque()
    with anyio.fail_after(PATIENCE):
        # The clock stands still: only one of each domain may go.
        found += [item.address for item in [await feed.next(), await feed.next()] if item is not None]
        assert [address.partition("@")[2] for address in found] == ["slow.example", "other.example"]
        pacer._domain_interval = 0.0
        clock[0] = 10.0
        while (item := await feed.next()) is not None:
            found.append(item.address)
        await feed.close()
    assert (len(found), len(set(found))) == (2503, 2503)
