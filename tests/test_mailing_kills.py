"""Is everybody written to once, and nobody lost, however often workers are killed, held up, or stopped on the way?"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import Any
from uuid import UUID

import anyio
import pytest
from anyio import to_thread
from sqlalchemy import select

from jobs.worker import Pace
from store.database import owner_transaction
from store.delivery import cancel_waiting, queue_unknown
from store.migrate import migrate
from store.models import Campaign
from tests.build import Builder, small_company
from tests.conftest import World
from tests.restarts import RestartableServer
from tests.sending import Sending, sending_of
from tests.sending_worker import Orders, crew, end, kill, started, worker_process
from tests.smtp_sink import Sink, Unkindness, smtp_sink

pytestmark = pytest.mark.anyio

MAILS = 1_500
KILLS = 20
RESTARTS = 2
# In earnest a lease is 10 seconds: that long nobody goes on after a worker that was killed.
PACE = Pace(lease=1.2, poll=0.1, retry=0.1)
# So slow that it takes some seconds.
SLOW = Unkindness(delay=0.02)
# So slow that a worker is stopped while it waits for the answers to all that it has in its hands.
SLUGGISH = Unkindness(delay=0.4)
UNKIND = Unkindness(greylisted=0.2, dropped=0.004, delay=0.01)
PATIENCE = 90

CHANGES = (
    "CREATE TABLE changes (id bigint GENERATED ALWAYS AS IDENTITY, recipient_id bigint, status text, attempt integer)",
    """
    CREATE FUNCTION keep_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
        BEGIN
            INSERT INTO changes (recipient_id, status, attempt) VALUES (NEW.id, NEW.status, NEW.attempt);
            RETURN NULL;
        END
    $$
    """,
    "CREATE TRIGGER keep AFTER UPDATE OF status ON recipients FOR EACH ROW EXECUTE FUNCTION keep_change()",
)


@dataclass
class Scene:
    """A campaign that is sent to a mail server in a process of its own; every change of a recipient is kept."""

    sending: Sending
    sink: Sink
    id: UUID
    count: int
    # How long nothing came after each kill.
    gaps: list[float] = field(default_factory=list)

    def orders(self, **changes: Any) -> Orders:
        return Orders(self.sending.url, self.sink.url, **{"pace": PACE, **changes})

    async def taken(self, count: int, seconds: float = PATIENCE) -> None:
        """Returns when the server has taken so many."""

        async def enough() -> bool:
            return self.sink.count() >= count

        await soon(enough, seconds)

    async def over(self) -> Any:
        """The campaign's row, as soon as it is over and no job of it is left."""

        async def ended() -> bool:
            status = await self.sending.value("SELECT status FROM campaigns WHERE id = :id", id=self.id)
            return status != "SENDING" and not await self.sending.jobs()

        await soon(ended)
        return await self.sending.row(self.id)

    async def addresses(self, status: str) -> set[str]:
        sql = "SELECT address FROM recipients WHERE campaign_id = :id AND status = :status"
        return {row.address for row in await self.sending.rows(sql, id=self.id, status=status)}


async def soon(holds: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    with anyio.fail_after(seconds):
        while not await holds():  # noqa: ASYNC110 - other processes tell nothing
            await anyio.sleep(0.03)


async def check_the_books(scene: Scene) -> None:
    """Nobody was written to twice, nobody is lost, and all that happened to each is written down, once."""
    twice = {address: times for address, times in scene.sink.recipients().items() if times > 1}
    assert twice == {}
    assert len({each.message_id for each in scene.sink.taken()}) == scene.sink.count()
    sent, unknown = await scene.addresses("SENT"), await scene.addresses("UNKNOWN")
    everybody = {f"person{number}@customer.example" for number in range(1, scene.count + 1)}
    assert (sent | unknown, sent & unknown) == (everybody, set())
    received = scene.sink.recipients().keys()
    assert sent <= received
    assert received | unknown == everybody
    counted = "SELECT count(*), count(DISTINCT contact_id) FROM recipients WHERE campaign_id = :id"
    assert [tuple(row) for row in await scene.sending.rows(counted, id=scene.id)] == [(scene.count, scene.count)]
    assert (
        await scene.sending.rows(
            "SELECT id FROM recipients WHERE campaign_id = :id AND attempt > 0"
            " EXCEPT SELECT id FROM campaign_messages WHERE subject LIKE 'Hello First %'",
            id=scene.id,
        )
        == []
    )
    begun = "SELECT 1 FROM changes WHERE status = 'SENDING' GROUP BY recipient_id, attempt HAVING count(*) > 1"
    assert await scene.sending.rows(begun) == []
    reports = "SELECT status, recipient_id FROM delivery_reports WHERE campaign_id = :id ORDER BY recipient_id, id"
    changes = (
        "SELECT status, recipient_id FROM changes WHERE status NOT IN ('SENDING', 'QUEUED') ORDER BY recipient_id, id"
    )
    assert await scene.sending.rows(reports, id=scene.id) == await scene.sending.rows(changes)


def check_the_end(row: Any, sent: int) -> None:
    assert (row.status, row.problem_code, row.total_sent) == ("COMPLETED", None, sent)
    assert row.sent_at is not None
    assert row.ended_at is not None


async def check_all_sent(scene: Scene) -> None:
    assert await scene.sending.recipients(scene.id) == {"SENT": scene.count}
    assert (await scene.sending.row(scene.id)).total_sent == scene.count


async def scene_of(sending: Sending, sink: Sink, count: int) -> Scene:
    for statement in CHANGES:
        await sending.change(statement)
    await sending.add_contacts(count)
    return Scene(sending, sink, await sending.send(), count)


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        yield found


@pytest.fixture
async def restartable() -> AsyncIterator[RestartableServer]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-restart-") as directory:
        server = RestartableServer(Path(directory) / "postgres")
        yield server
        await server.stop()


async def replaced(scene: Scene, workers: list[BaseProcess], chance: random.Random) -> None:
    """Kills one of the workers somewhere on the way, and starts another in its place."""
    await scene.taken(scene.sink.count() + chance.randint(20, 70))
    await anyio.sleep(chance.uniform(0, 0.05))
    place = chance.randrange(len(workers))
    end(workers[place])
    killed_at, count = time.monotonic(), scene.sink.count()
    workers[place] = started(scene.orders())
    await scene.taken(count + 1)
    scene.gaps.append(time.monotonic() - killed_at)


def tell(name: str, scene: Scene, unknown: set[str]) -> None:
    arrived = len(unknown & scene.sink.recipients().keys())
    slow = [gap for gap in scene.gaps if gap > PACE.lease / 2]
    print(
        f"{name}: {scene.count} mails, {len(scene.gaps)} kills, {len(slow)} of the one who sent; nothing came for"
        f" {max(scene.gaps):.1f} s at most; {len(unknown)} unknown, of which {arrived} had arrived"
    )


async def test_killed(sending: Sending, tmp_path: Path) -> None:
    """Twenty kill -9 at any point: nobody is written to twice, and of few it is unknown whether they were."""
    chance = random.Random(5)
    with smtp_sink(tmp_path, SLOW) as sink:
        scene = await scene_of(sending, sink, MAILS)
        with crew(scene.orders(), 2) as workers:
            for _ in range(KILLS):
                await replaced(scene, workers, chance)
            row = await scene.over()
        unknown = await scene.addresses("UNKNOWN")
        tell("killed", scene, unknown)
        await check_the_books(scene)
        check_the_end(row, MAILS - len(unknown))
        # No more than were in the hands of those who were killed, and some were.
        assert 0 < len(unknown) <= KILLS * scene.orders().connections


async def test_killed_with_all_else_that_happens(restartable: RestartableServer, tmp_path: Path) -> None:
    """The same while the database is restarted, and the server puts mails off and breaks connections."""
    chance = random.Random(6)
    url = await restartable.start()
    await migrate(url)
    async with owner_transaction(url) as connection:
        company = await small_company(Builder(connection), "Acme")
    async with sending_of(url, company) as sending:
        with smtp_sink(tmp_path, UNKIND) as sink:
            scene = await scene_of(sending, sink, MAILS)
            with crew(scene.orders(), 2) as workers:
                for number in range(KILLS // 2):
                    await replaced(scene, workers, chance)
                    if number % (KILLS // 2 // RESTARTS) == 2:
                        await restartable.stop()
                        await restartable.start()
                row = await scene.over()
            unknown = await scene.addresses("UNKNOWN")
            tell("killed, with restarts", scene, unknown)
            await check_the_books(scene)
            check_the_end(row, MAILS - len(unknown))
            reports = Counter[str]()
            for (status, _), number in (await sending.reports(scene.id)).items():
                reports[status] += number
            assert reports["DEFERRED"] > MAILS * 0.1
            # Those in the hands of workers when they or the database ended, and those whose connections broke.
            assert 0 < len(unknown) <= (KILLS // 2 + RESTARTS) * scene.orders().connections + 0.02 * MAILS


async def test_held_up(sending: Sending, tmp_path: Path) -> None:
    """A worker that wakes up after another went on writes to nobody, but what it has heard meanwhile is kept."""
    with smtp_sink(tmp_path, SLUGGISH) as sink:
        scene = await scene_of(sending, sink, 40)
        with worker_process(scene.orders()) as first:
            await scene.taken(10)
            kill(first, SIGSTOP)
            taken = sink.count()
            with worker_process(scene.orders()):
                assert (await scene.over()).status == "COMPLETED"
            assert taken < scene.count
            unknown = await scene.addresses("UNKNOWN")
            assert unknown
            await check_the_books(scene)
            kill(first, SIGCONT)

            async def is_counted() -> bool:
                return bool((await sending.row(scene.id)).total_sent == scene.count)

            await soon(is_counted)
            kill(first, SIGTERM)
            await to_thread.run_sync(first.join, PATIENCE)
            assert first.exitcode == 0
        await check_the_books(scene)
        await check_all_sent(scene)
        check_the_end(await sending.row(scene.id), scene.count)
    for address in unknown:
        sql = "SELECT d.status FROM delivery_reports d JOIN recipients r ON r.id = d.recipient_id WHERE r.address = :to"
        found = await sending.rows(f"{sql} ORDER BY d.id", to=address)
        assert [row.status for row in found] == ["UNKNOWN", "SENT"]


async def test_terminated(sending: Sending, tmp_path: Path) -> None:
    """SIGTERM: what is being handed over comes to its end, nothing is unknown, and another goes on: by no lease."""
    patient = Pace(lease=3600, poll=3600)
    with smtp_sink(tmp_path, SLUGGISH) as sink:
        scene = await scene_of(sending, sink, 40)
        with worker_process(scene.orders(pace=patient)) as first:
            await scene.taken(10)
            with worker_process(scene.orders(pace=patient)):
                kill(first, SIGTERM)
                await to_thread.run_sync(first.join, PATIENCE)
                assert first.exitcode == 0
                assert sink.count() < scene.count
                row = await scene.over()
        await check_the_books(scene)
        await check_all_sent(scene)
        check_the_end(row, scene.count)


async def stopped_early(scene: Scene) -> None:
    """Kills a worker that has written to eight, of which four have not been answered, before it tells how far it is."""
    with worker_process(scene.orders()) as worker:
        await scene.taken(1)
        async with scene.sending.database.writing(scene.sending.company_id) as session:
            await session.execute(select(Campaign.id).where(Campaign.id == scene.id).with_for_update())
            await scene.taken(8)

            async def four() -> bool:
                return len(await scene.addresses("SENT")) == 4

            await soon(four)
            end(worker)
    assert (await scene.sending.row(scene.id)).sent_at is None


EARLY = Unkindness(silent=frozenset(range(5, 9)))


async def test_resent(sending: Sending, tmp_path: Path) -> None:
    """What is unknown goes again when somebody asks for it, and nothing else does, however early the worker ended."""
    with smtp_sink(tmp_path, EARLY) as sink:
        scene = await scene_of(sending, sink, 8)
        await stopped_early(scene)
        with worker_process(scene.orders()):
            check_the_end(await scene.over(), 4)
            await check_the_books(scene)
            unknown = await scene.addresses("UNKNOWN")
            assert len(unknown) == 4
            async with sending.database.writing(sending.company_id) as session:
                assert await queue_unknown(session, sending.company_id, scene.id) == 4
            await sending.change("UPDATE campaigns SET status = 'SENDING' WHERE id = :id", id=scene.id)
            await sending.carry_out(scene.id)
            check_the_end(await scene.over(), 8)
    assert await sending.recipients(scene.id) == {"SENT": 8}
    assert {address for address, times in sink.recipients().items() if times > 1} == unknown
    assert sink.count() == 12


async def test_canceled_early_and_sent_again(sending: Sending, tmp_path: Path) -> None:
    """A campaign that is canceled and sent again before it was told how far it was goes to nobody twice."""
    with smtp_sink(tmp_path, EARLY) as sink:
        scene = await scene_of(sending, sink, 8)
        await stopped_early(scene)
        async with sending.database.writing(sending.company_id) as session:
            await cancel_waiting(session, sending.company_id, scene.id)
        await sending.change("UPDATE campaigns SET status = 'CANCELED' WHERE id = :id", id=scene.id)
        await sending.change("UPDATE campaigns SET status = 'SENDING' WHERE id = :id", id=scene.id)
        await sending.carry_out(scene.id)
        with worker_process(scene.orders()):
            check_the_end(await scene.over(), 4)
        await check_the_books(scene)
