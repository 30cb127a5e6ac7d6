"""Does every campaign begin when its time has come, by the database's clock, and none before, or twice?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import pytest
from sqlalchemy import text

from jobs.delivery.schedule import start_due, take_up_campaigns
from jobs.transport import OUTBOX
from store.database import Database
from tests.campaign_documents import CREATE, EMAIL, Desk, broken_rules, desk_over
from tests.conftest import World
from tests.mail_server import mail_server
from tests.post import until
from tests.sending import Sending, at_work, sending_of

pytestmark = pytest.mark.anyio

BERLIN = "Europe/Berlin"
JOBS = "SELECT subject_id FROM jobs WHERE kind = 'CAMPAIGN'"
# Both days of 2027 on which clocks in Berlin change, and the moments that half past two is then.
FORWARD, BACK = "2027-03-28 02:30:00", "2027-10-31 02:30:00"
FIRST, SECOND = datetime(2027, 10, 31, 0, 30, tzinfo=UTC), datetime(2027, 10, 31, 1, 30, tzinfo=UTC)

HALF_AN_HOUR = timedelta(minutes=30)
SOONER = "UPDATE campaigns SET send_at = send_at - make_interval(secs => :seconds) WHERE status = 'PENDING'"


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        yield found


async def due_in(sending: Sending, seconds: float, **values: object) -> UUID:
    """A campaign whose time is so many seconds after now, by the database's clock."""
    id = await sending.campaign(**{"status": "PENDING", **values})
    await sending.change(
        "UPDATE campaigns SET send_at = clock_timestamp() + make_interval(secs => :seconds) WHERE id = :id",
        seconds=seconds,
        id=id,
    )
    return id


async def begun(sending: Sending) -> set[UUID]:
    """The campaigns that are being sent, each of which has a job."""
    rows = await sending.rows("SELECT id FROM campaigns WHERE status = 'SENDING'")
    jobs = [row.subject_id for row in await sending.rows(JOBS)]
    assert Counter(jobs) == Counter(row.id for row in rows)
    return set(jobs)


async def test_what_is_due(sending: Sending, world: World) -> None:
    """Of all campaigns, those begin that are approved, scheduled and not paused, and whose time has come."""
    async with sending_of(world.url, world.globex) as other:
        due = {await due_in(sending, -1), await due_in(sending, -86_400 * 400), await due_in(other, -1)}
    now = datetime.now(UTC)
    others = [
        await due_in(sending, 60),
        await due_in(sending, 86_400),
        await due_in(sending, -1, approved=False),
        await due_in(sending, -1, paused_at=now),
        *[await due_in(sending, -1, status=each) for each in ("DRAFT", "COMPLETED", "FAILED", "CANCELED")],
    ]
    before = [await sending.row(id) for id in others]
    await start_due(sending.database)
    assert await begun(sending) == due
    assert [await sending.row(id) for id in others] == before
    assert {(await sending.row(id)).version for id in due} == {2}
    await start_due(sending.database)
    assert {(await sending.row(id)).version for id in due} == {2}


async def test_at_its_time(sending: Sending) -> None:
    """A campaign begins as soon as the database's clock shows its time, and not before."""
    id = await due_in(sending, 0.5)
    send_at = (await sending.row(id)).send_at
    looks = 0
    with anyio.fail_after(30):
        while not await begun(sending):
            looks += 1
            await start_due(sending.database)
    # The start of the transaction that began it.
    assert (await sending.row(id)).updated_at >= send_at
    assert looks > 1


async def test_begun_once(sending: Sending) -> None:
    """Many workers look at the same time: each campaign begins once, and everybody gets each mail once."""
    await sending.add_contacts(3)
    due = {await due_in(sending, -1) for _ in range(10)}
    databases = [Database(sending.url, pool_size=2) for _ in range(4)]
    try:
        await asyncio.gather(*(start_due(database) for database in databases for _ in range(2)))
    finally:
        for database in databases:
            await database.close()
    assert await begun(sending) == due
    assert {(await sending.row(id)).version for id in due} == {2}
    async with mail_server() as server, at_work(sending.url, server.url), at_work(sending.url, server.url):
        for id in due:
            assert (await sending.end_of(id)).total_sent == 3
    assert len(server.received) == 30


async def test_schedule_outlives_workers(sending: Sending) -> None:
    """A campaign whose time comes while no worker is there begins when there is one again."""
    await sending.add_contacts(2)
    id = await due_in(sending, 3600)
    async with at_work(sending.url, OUTBOX):
        # The worker has looked for what is due.
        await sending.end_of(await due_in(sending, -1))
    assert (await sending.row(id)).status == "PENDING"
    await sending.change("UPDATE campaigns SET send_at = now() WHERE id = :id", id=id)
    async with mail_server() as server, at_work(sending.url, server.url):
        row = await sending.end_of(id)
    assert (row.status, row.total_sent, len(server.received)) == ("COMPLETED", 2, 2)


async def test_left_alone(sending: Sending) -> None:
    """A campaign that is being sent and has lost its job gets another one; no other does."""
    left = await sending.campaign()
    waiting = await sending.send()
    await due_in(sending, 60)
    job = "SELECT id, due_at FROM jobs WHERE subject_id = :id"
    before = await sending.rows(job, id=waiting)
    for _ in range(2):
        await take_up_campaigns(sending.database)
    assert await begun(sending) == {left, waiting}
    assert await sending.rows(job, id=waiting) == before


async def test_one_that_is_locked(sending: Sending) -> None:
    """A campaign that somebody is changing is begun when they are done, by what it is then."""
    id = await due_in(sending, -1)
    async with sending.database.writing(sending.company_id) as session, anyio.create_task_group() as tasks:
        await session.execute(text("UPDATE campaigns SET approved = false WHERE id = :id"), {"id": id})
        tasks.start_soon(start_due, sending.database)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        await until(lambda: sending.value(waiting))
        await session.commit()
    assert (await sending.row(id)).status == "PENDING"
    assert not await begun(sending)


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    async with desk_over(world) as found:
        await found.run("UPDATE companies SET time_zone = :zone WHERE id = :id", zone=BERLIN, id=world.acme.id)
        yield found


async def shift(sending: Sending, moment: datetime) -> None:
    """Has the database's present be that moment for all that is scheduled, by moving the schedule."""
    await sending.change(
        "UPDATE campaigns SET send_at = send_at - (:moment - clock_timestamp()) WHERE status = 'PENDING'", moment=moment
    )


async def made(desk: Desk, send_at: str) -> Any:
    return await desk.payload(CREATE, input={**EMAIL, "sendAt": send_at})


async def test_half_past_two_that_does_not_exist(sending: Sending, desk: Desk) -> None:
    """Rule 17: clocks in Berlin are put forward over half past two, so nothing can be scheduled for then; three
    o'clock comes half an hour after half past one.
    """
    assert broken_rules(await made(desk, FORWARD)) == {"INVALID_TIME input.sendAt"}
    early, late = [
        UUID((await made(desk, f"2027-03-28 {time}"))["campaign"]["databaseId"]) for time in ("01:30:00", "03:00:00")
    ]
    half_past_one, three = [(await sending.row(id)).send_at for id in (early, late)]
    assert (half_past_one, three - half_past_one) == (datetime(2027, 3, 28, 0, 30, tzinfo=UTC), HALF_AN_HOUR)
    assert await sending.value("SELECT count(*) FROM campaigns WHERE status = 'PENDING'") == 2
    await shift(sending, half_past_one + HALF_AN_HOUR / 2)
    await start_due(sending.database)
    assert await begun(sending) == {early}
    await sending.change(SOONER, seconds=(HALF_AN_HOUR / 2).total_seconds())
    await start_due(sending.database)
    assert await begun(sending) == {early, late}


async def test_half_past_two_that_comes_twice(sending: Sending, desk: Desk) -> None:
    """Rule 17: clocks in Berlin show half past two twice, so it takes an offset; each begins at its own."""
    refused = await made(desk, BACK)
    assert broken_rules(refused) == {"INVALID_TIME input.sendAt"}
    assert "+02:00 or +01:00" in refused["userErrors"][0]["message"]
    first, second = [
        UUID((await made(desk, f"{BACK.replace(' ', 'T')}{offset}"))["campaign"]["databaseId"])
        for offset in ("+02:00", "+01:00")
    ]
    assert [(await sending.row(id)).send_at for id in (first, second)] == [FIRST, SECOND]
    await shift(sending, FIRST + (SECOND - FIRST) / 2)
    await start_due(sending.database)
    assert await begun(sending) == {first}
    await sending.change(SOONER, seconds=HALF_AN_HOUR.total_seconds())
    await start_due(sending.database)
    assert await begun(sending) == {first, second}
