"""Does everybody have their turn: every campaign, every kind of job, every recipient, and a server that was away?"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import pytest

from gateway.settings import Settings
from gateway.worker import Surroundings, build_worker
from jobs.delivery import mailing, progress
from jobs.delivery.campaigns import CampaignSender
from jobs.delivery.ledger import Ledger
from jobs.delivery.recipients import Begun
from jobs.pacing import Breaker, Pacer
from jobs.queue import Claim, Later, Write
from jobs.transport import Answer, Mail, MailConnection, Outcome
from jobs.worker import Duty, Pace, Worker, running
from store.database import Database
from store.files import LocalFiles
from store.models import JobKind
from tests.build import NOW
from tests.conftest import World
from tests.post import Doing, post_of, until
from tests.post import at_work as jobs_at_work
from tests.sending import QUICK, Sending, at_work, mail_means, sending_of

pytestmark = pytest.mark.anyio

PATIENCE = 20
NEVER = 3600.0
TAKEN = Answer(Outcome.TAKEN, "250 OK")
AWAY = Answer(Outcome.SERVER_AWAY, "421 4.3.2 Closing")
IN_ORDER = "SELECT id, status FROM recipients WHERE campaign_id = :id ORDER BY id"
PUT_OFF = "SELECT count(*) FROM jobs WHERE kind = 'CAMPAIGN' AND claimed_until IS NULL AND due_at > now() + '5 s'"


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        yield found


class Counted:
    """Takes every mail but that to an address which it `minds`, and answers nothing while it is not let go.

    `made`: how many connections there were at each hand-over.
    """

    def __init__(self, *, minds: str | None = None, free: bool = True) -> None:
        self.connections = 0
        self.made: list[int] = []
        self.tried: Counter[str] = Counter()
        self.begun, self.go = anyio.Event(), anyio.Event()
        self._minds = minds
        if free:
            self.go.set()

    def connection(self) -> MailConnection:
        self.connections += 1
        return self

    async def ready(self) -> Answer | None:
        return None

    async def hand_over(self, mail: Mail) -> Answer:
        self.made.append(self.connections)
        self.tried[mail.recipient] += 1
        self.begun.set()
        await self.go.wait()
        return AWAY if mail.recipient == self._minds else TAKEN

    async def close(self) -> None:
        """There is nobody to take leave of."""

    async def until_begun(self, sending: Sending, id: UUID) -> list[int]:
        """The recipients in their order, while the first is being written to and the others are already read."""
        await self.begun.wait()
        rows = await sending.rows(IN_ORDER, id=id)
        assert [row.status for row in rows] == ["SENDING", *["QUEUED"] * (len(rows) - 1)]
        return [row.id for row in rows]


async def test_a_slow_campaign_holds_up_no_other(
    sending: Sending, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign that takes very long, by its pace, leaves the worker to others after a while, and is gone on with."""
    monkeypatch.setattr(mailing, "LONGEST_TURN", 0.1)
    await sending.add_contacts(2, domain="slow.example")
    pacer = Pacer(math.inf, 1 / NEVER, clock=time.monotonic)
    database, transport = Database(sending.url, pool_size=6), Counted()
    duty = Duty(CampaignSender(database, mail_means(transport, pacer=pacer)), at_once=True, patient=True)
    async with sending_of(world.url, world.globex) as other:
        await other.add_contacts(1)
        with anyio.fail_after(PATIENCE):
            slow = await sending.send()
            async with running(Worker(database, {JobKind.CAMPAIGN: duty}, concurrency=1, pace=QUICK)):
                await transport.begun.wait()
                quick = await other.send()

                async def is_over() -> bool:
                    return bool((await other.row(quick)).status == "COMPLETED")

                await until(is_over)
    assert (await sending.row(slow)).status == "SENDING"
    assert await sending.recipients(slow) == {"SENT": 1, "QUEUED": 1}
    await database.close()


async def test_one_mail_shows_whether_the_server_is_back(sending: Sending) -> None:
    """After the server was away one mail goes over one connection; once it is taken, the others go over all."""
    await sending.add_contacts(20)
    now = 0.0
    breaker = Breaker(clock=lambda: now, chance=lambda: 0.5, failures=1, pause=10, patience=NEVER)
    breaker.failed()
    now = 11
    transport = Counted()
    with anyio.fail_after(PATIENCE):
        async with at_work(sending.url, transport, breaker=breaker, connections=4):
            row = await sending.end_of(await sending.send())
    assert (row.status, row.total_sent) == ("COMPLETED", 20)
    assert transport.made == [1, *[5] * 19]


async def test_a_mail_that_the_server_minds(sending: Sending) -> None:
    """A mail at which the server goes away is tried again at once, but after five times later, like any other."""
    await sending.add_contacts(3)
    minded = "person2@customer.example"
    transport = Counted(minds=minded)
    breaker = Breaker(clock=time.monotonic, chance=lambda: 0.5, failures=100)
    with anyio.fail_after(PATIENCE):
        async with at_work(sending.url, transport, breaker=breaker, connections=1, retry=30):
            id = await sending.send()
            await until(lambda: sending.value(PUT_OFF))
    assert await sending.recipients(id) == {"SENT": 2, "DEFERRED": 1}
    assert transport.tried[minded] == 5
    # Those at once are one to the pauses, which grow from try to try.
    assert await sending.value("SELECT max(extract(epoch FROM due_at - updated_at)) FROM recipients") < 60
    assert await sending.reports(id) == {("SENT", TAKEN.reply): 2, ("DEFERRED", AWAY.reply): 1}


async def test_little_is_tried_once_nothing_goes_on(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    """When three in a row may not be begun, the others are not even asked for."""
    monkeypatch.setattr(progress, "EVERY", NEVER)
    await sending.add_contacts(20)
    asked: list[int] = []
    begin = Ledger.begin

    async def kept(ledger: Ledger, message: Begun) -> bool:
        asked.append(message.id)
        return await begin(ledger, message)

    monkeypatch.setattr(Ledger, "begin", kept)
    transport = Counted(free=False)
    with anyio.fail_after(PATIENCE):
        async with at_work(sending.url, transport, connections=1):
            id = await sending.send()
            ids = await transport.until_begun(sending, id)
            await sending.change("UPDATE campaigns SET paused_at = now() WHERE id = :id", id=id)
            transport.go.set()
            await until(lambda: sending.value(PUT_OFF))
    assert asked == ids[:4]
    assert await sending.recipients(id) == {"SENT": 1, "QUEUED": 19}


async def test_some_that_may_not_be_begun(sending: Sending) -> None:
    """As long as some may still be written to, a turn goes on, however many of the others may not."""
    await sending.add_contacts(10)
    transport = Counted(free=False)
    with anyio.fail_after(PATIENCE):
        async with at_work(sending.url, transport, connections=1):
            id = await sending.send()
            ids = await transport.until_begun(sending, id)
            others = [ids[n] for n in (1, 2, 4, 5, 7, 8)]
            await sending.change("UPDATE recipients SET status = 'CANCELED' WHERE id = ANY(:ids)", ids=others)
            transport.go.set()
            row = await sending.end_of(id)
    assert (row.status, row.total_sent) == ("COMPLETED", 4)
    assert await sending.recipients(id) == {"SENT": 4, "CANCELED": 6}
    assert transport.connections == 1


class Hesitating(Doing):
    """Fails at every other attempt, and has more to do after the others, until the tenth."""

    async def __call__(self, claim: Claim) -> Write:
        write = await super().__call__(claim)
        if claim.attempt % 2:
            raise LookupError
        if claim.attempt < 10:
            raise Later(0)
        return write


async def test_failures_of_a_long_job(world: World) -> None:
    """Of a job that is gone on with again and again, only those failures count that came after it got on last."""
    doing = Hesitating()
    async with post_of(world.url, world.acme) as post:
        await post.leave_job(uuid4())

        async def no_jobs() -> bool:
            return await post.jobs() == 0

        with anyio.fail_after(PATIENCE):
            async with jobs_at_work(world.url, doing, pace=Pace(poll=0.02, retry=0.01, attempts=2)):
                await until(no_jobs)
    assert doing.given == []
    assert [claim.failures for claim in doing.claims] == [0, 1] * 5


@pytest.mark.parametrize("concurrency", [1, 2, 3, 4, 5, 10, 100])
async def test_room_for_everything(world: World, tmp_path: Path, concurrency: int) -> None:
    """Campaigns and exports both have room in a worker however many there are of the other kind, and from three slots
    on both together leave some to what is done at once.
    """
    settings = Settings(worker_concurrency=concurrency)
    around = Surroundings(LocalFiles(tmp_path), tmp_path, "https://gateway.example", b"s" * 32, lambda: NOW)
    database = Database(world.url, pool_size=1)
    room = build_worker(settings, database, around)._room()
    await database.close()
    campaigns, exports = room[JobKind.CAMPAIGN], room[JobKind.EXPORT]
    assert min(campaigns, exports) >= 1
    assert 0 <= exports - campaigns <= 1
    assert room[JobKind.TEST_MAIL] == room[JobKind.NOTICE] == concurrency
    if concurrency >= 3:
        assert campaigns + exports == concurrency - 1
