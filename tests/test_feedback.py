"""Does what is heard of a message move its recipient forward, once, and suppress what is gone for good?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.unsubscribe import unsubscribe_links
from store.consent import withdraw_consent
from store.database import Database, owner_transaction
from store.feedback import MOST_REPORTS, Feedback, FeedbackKind, take
from store.models import Campaign, Contact, DeliveryReport, DeliveryStatus, Recipient, Suppression
from tests.build import NOW
from tests.client import DOWNLOAD_SECRET, Gateway
from tests.conftest import World
from tests.fingerprints import witness
from tests.post import until
from tests.recipients import ADDRESS, CHANNELS, Known, Sent, sent, told

pytestmark = pytest.mark.anyio

EVERY = list(CHANNELS.values())
WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def taken(
    one: Sent,
    kind: FeedbackKind,
    *,
    permanent: bool = True,
    reply: str | None = "550 no",
    occurred_at: datetime | None = None,
) -> bool:
    feedback = Feedback(one.recipient_id, kind, permanent, reply, occurred_at)
    database = Database(one.url, pool_size=1)
    try:
        async with database.writing(one.company_id) as session:
            return await take(session, one.company_id, feedback)
    finally:
        await database.close()


OUT = {"SENDING", "SENT", "UNKNOWN", "DEFERRED", "QUEUED"}
BECOMES = {
    FeedbackKind.DELIVERED: {**dict.fromkeys(OUT, "DELIVERED")},
    FeedbackKind.DEFERRED: {},
    FeedbackKind.BOUNCED: {**dict.fromkeys({*OUT, "DELIVERED"}, "BOUNCED")},
    FeedbackKind.COMPLAINED: {**dict.fromkeys({*OUT, "DELIVERED", "BOUNCED"}, "UNSUBSCRIBED")},
}
NEVER_OUT = {"CANCELED", "FAILED"}


@pytest.mark.parametrize("kind", FeedbackKind)
async def test_states_go_forward_only(world: World, kind: FeedbackKind) -> None:
    """Each event moves the states before it, leaves those after it, is reported, and counts once."""
    for status in DeliveryStatus:
        one = await sent(world, status)
        heard = status not in NEVER_OUT
        assert await taken(one, kind) is heard, status
        known = await one.known()
        assert known.status == BECOMES[kind].get(status, status)
        reported = "UNSUBSCRIBED" if kind is FeedbackKind.COMPLAINED else kind
        assert known.reports == ([(reported, "550 no")] if heard else [])
        suppresses = heard and kind in (FeedbackKind.BOUNCED, FeedbackKind.COMPLAINED)
        assert known.suppressions == ({ADDRESS.lower(): kind.value} if suppresses else {})
        assert ("email" in known.consents) == (not heard or kind is not FeedbackKind.COMPLAINED)
        async with witness(world.url) as changes:
            assert not await taken(one, kind)
            assert await changes.changed() == set()
        async with owner_transaction(world.url) as connection:
            await connection.execute(delete(Suppression))


async def test_what_was_never_sent(world: World) -> None:
    """Nothing can be heard of a message that nobody began to hand over, of another channel, or of another company."""
    waiting = await sent(world, "QUEUED", attempt=0)
    letter = await sent(world, type="LETTER")
    theirs = await sent(world, company=world.globex)
    foreign = Sent(world.url, world.acme.id, theirs.campaign_id, theirs.contact_id, theirs.recipient_id)
    async with witness(world.url) as changes:
        for one in (waiting, letter, foreign):
            for kind in FeedbackKind:
                assert not await taken(one, kind)
        assert await changes.changed() == set()


async def test_a_bounce_that_is_not_for_good(world: World) -> None:
    """The recipient is BOUNCED and the address stays; a later one that is for good suppresses it."""
    one = await sent(world)
    assert await taken(one, FeedbackKind.BOUNCED, permanent=False, reply="552 full")
    assert await one.known() == Known("BOUNCED", EVERY, [("BOUNCED", "552 full")], {})
    assert await taken(one, FeedbackKind.BOUNCED)
    assert (await one.known()).suppressions == {"ada@example.com": "BOUNCED"}


async def test_a_complaint_after_unsubscribing(world: World) -> None:
    """Who has unsubscribed and then complains, both without a word, is suppressed, once, and reported no second time.

    Who agreed again in between does not agree any more.
    """
    for agreed_again in (False, True):
        address = f"agreed-{agreed_again:d}@example.com"
        one = await sent(world, email=address)
        database = Database(world.url, pool_size=1)
        async with database.writing(one.company_id) as session:
            assert await withdraw_consent(session, one.company_id, one.recipient_id)
        await database.close()
        async with owner_transaction(world.url) as connection:
            given = update(Contact).where(Contact.id == one.contact_id).values(email_consent_given=agreed_again)
            await connection.execute(given)
        assert await taken(one, FeedbackKind.COMPLAINED, reply=None)
        known = await one.known()
        assert known.suppressions == {address: "COMPLAINED"}
        assert "email" not in known.consents
        assert known.reports == [("UNSUBSCRIBED", None)] * (2 if agreed_again else 1)
        async with witness(world.url) as changes:
            assert not await taken(one, FeedbackKind.COMPLAINED, reply=None)
            assert await changes.changed() == set()


async def test_a_bounce_for_good_in_the_same_words(world: World) -> None:
    """A bounce that turns out to be for good suppresses the address although its reply is known, and does so once."""
    one = await sent(world)
    assert await taken(one, FeedbackKind.BOUNCED, permanent=False)
    assert await taken(one, FeedbackKind.BOUNCED)
    assert await one.known() == Known("BOUNCED", EVERY, [("BOUNCED", "550 no")], {ADDRESS.lower(): "BOUNCED"})
    async with witness(world.url) as changes:
        assert not await taken(one, FeedbackKind.BOUNCED)
        assert await changes.changed() == set()


async def test_a_bounce_for_good_after_many(world: World) -> None:
    """A bounce for good suppresses the address also when no more reports of the message are kept."""
    one = await sent(world)
    for number in range(MOST_REPORTS):
        assert await taken(one, FeedbackKind.BOUNCED, permanent=False, reply=f"552 full {number}")
    assert await taken(one, FeedbackKind.BOUNCED)
    known = await one.known()
    assert known.suppressions == {ADDRESS.lower(): "BOUNCED"}
    assert len(known.reports) == MOST_REPORTS


async def test_reports_of_one_message_are_bounded(world: World) -> None:
    """Whoever got a message and reports ever new things of it fills no table."""
    one = await sent(world)
    found = [await taken(one, FeedbackKind.DEFERRED, reply=f"450 try {number}") for number in range(MOST_REPORTS + 2)]
    assert found == [True] * MOST_REPORTS + [False] * 2
    assert await taken(one, FeedbackKind.BOUNCED)
    assert (await one.known()).status == "BOUNCED"


async def test_when_it_was_sent_and_heard(world: World) -> None:
    """A message of which something is heard was sent; a report lies between the freezing of the audience and now."""
    frozen_at = datetime(2025, 11, 20, tzinfo=UTC)
    for said, kept in (
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), frozen_at),
        (frozen_at + timedelta(hours=1), frozen_at + timedelta(hours=1)),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=14))), None),
        (None, None),
    ):
        one = await sent(world, "UNKNOWN", created_at=frozen_at)
        assert await taken(one, FeedbackKind.DELIVERED, occurred_at=said)
        async with owner_transaction(world.url) as connection:
            times = select(Recipient.sent_at, Recipient.updated_at, DeliveryReport.occurred_at).join(
                DeliveryReport, DeliveryReport.recipient_id == Recipient.id
            )
            row = (await connection.execute(times.where(Recipient.id == one.recipient_id))).one()
        assert row.sent_at == row.updated_at
        assert row.occurred_at == (kept or row.sent_at)


async def test_the_same_at_the_same_time(world: World) -> None:
    """Of two who say the same at once one says news: the other waits until it is known."""
    one = await sent(world)
    said = Feedback(one.recipient_id, FeedbackKind.BOUNCED, True, "550 no")
    database = Database(world.url, pool_size=2)

    async def also() -> bool:
        async with database.writing(one.company_id) as session:
            return await take(session, one.company_id, said)

    async with owner_transaction(world.url) as connection:
        async with database.writing(one.company_id) as session:
            assert await take(session, one.company_id, said)
            other = asyncio.create_task(also())

            async def waits() -> bool:
                return other.done() or bool(await connection.scalar(WAITING))

            await until(waits)
        assert not await other
    await database.close()
    assert (await one.known()).reports == [("BOUNCED", "550 no")]


async def test_those_who_watch_are_told(world: World) -> None:
    """Whatever is heard is a signal of its campaign."""
    one = await sent(world)
    async with told(world.url) as heard:
        for kind in FeedbackKind:
            before = len(heard)
            await taken(one, kind)

            async def is_told(before: int = before) -> bool:
                return len(heard) > before

            await until(is_told)
    assert set(heard) == {f"{world.acme.id}:{one.campaign_id}"}


async def set_total(one: Sent, **values: object) -> None:
    async with owner_transaction(one.url) as connection:
        await connection.execute(update(Campaign).where(Campaign.id == one.campaign_id).values(total_sent=3, **values))


async def total(one: Sent) -> object:
    async with owner_transaction(one.url) as connection:
        return await connection.scalar(select(Campaign.total_sent).where(Campaign.id == one.campaign_id))


@pytest.mark.parametrize("kind", [None, *FeedbackKind])
async def test_one_more_was_reached(gateway: Gateway, world: World, kind: FeedbackKind | None) -> None:
    """Who is found out to have got their message after the campaign ended counts as reached, once; others are not
    counted again.
    """
    link = unsubscribe_links(DOWNLOAD_SECRET, "")

    async def hears(one: Sent) -> None:
        if kind is None:
            assert (await gateway.http.post(link(one.company_id, one.recipient_id))).status_code == 200
        else:
            await taken(one, kind)

    unclear, reached = await sent(world, "UNKNOWN"), await sent(world)
    async with owner_transaction(world.url) as connection:
        mine = Recipient.id == reached.recipient_id
        await connection.execute(update(Recipient).where(mine).values(sent_at=NOW))
    for one in (unclear, reached):
        await set_total(one)
        for _ in range(2):
            await hears(one)
    assert await total(unclear) == (3 if kind is FeedbackKind.DEFERRED else 4)
    assert await total(reached) == 3


async def test_reached_while_it_is_sent(world: World) -> None:
    """While the campaign is SENDING nothing is added: at its end all are counted."""
    one = await sent(world, "UNKNOWN")
    await set_total(one, status="SENDING")
    assert await taken(one, FeedbackKind.DELIVERED)
    assert await total(one) == 3


async def waiting_for(connection: AsyncConnection, task: asyncio.Task[bool]) -> None:
    async def waits() -> bool:
        return task.done() or bool(await connection.scalar(WAITING))

    await until(waits)
    assert not task.done()


async def test_reached_while_it_ends(world: World) -> None:
    """What is heard while somebody ends the campaign is counted after them."""
    one = await sent(world, "UNKNOWN")
    await set_total(one, status="SENDING")
    async with owner_transaction(world.url) as connection:
        ended = update(Campaign).where(Campaign.id == one.campaign_id).values(status="COMPLETED", total_sent=5)
        await connection.execute(ended)
        heard = asyncio.create_task(taken(one, FeedbackKind.DELIVERED))
        await waiting_for(connection, heard)
    assert await heard
    assert await total(one) == 6


async def test_reached_while_it_is_to_go_again(world: World) -> None:
    """Who has what is unclear go again, and locks the campaign before its recipients, is not waited for in a circle."""
    one = await sent(world, "UNKNOWN")
    await set_total(one)
    async with owner_transaction(world.url) as connection:
        await connection.execute(select(Campaign.id).where(Campaign.id == one.campaign_id).with_for_update())
        heard = asyncio.create_task(taken(one, FeedbackKind.DELIVERED))
        await waiting_for(connection, heard)
        again = update(Recipient).where(Recipient.id == one.recipient_id).values(status="QUEUED")
        await connection.execute(again)
    assert await heard
    assert ((await one.known()).status, await total(one)) == ("DELIVERED", 4)


async def test_two_say_at_once_that_one_was_reached(world: World) -> None:
    """Of two who say so at the same time one counts."""
    one = await sent(world, "UNKNOWN")
    await set_total(one)
    database = Database(world.url, pool_size=1)
    async with owner_transaction(world.url) as connection:
        async with database.writing(one.company_id) as session:
            assert await take(session, one.company_id, Feedback(one.recipient_id, FeedbackKind.DELIVERED))
            other = asyncio.create_task(taken(one, FeedbackKind.BOUNCED))
            await waiting_for(connection, other)
        assert await other
    await database.close()
    assert await total(one) == 4
