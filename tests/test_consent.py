"""Does it count when a contact takes their consent back, once and for the right channel?"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from store.consent import withdraw_consent
from store.database import Database, owner_transaction
from store.models import Contact, DeliveryStatus, SuppressionReason
from store.suppression import suppress
from tests.conftest import World
from tests.fingerprints import witness
from tests.post import until
from tests.recipients import CHANNELS, Known, sent, told

pytestmark = pytest.mark.anyio

EVERY = list(CHANNELS.values())


@pytest.fixture
async def database(world: World) -> AsyncIterator[Database]:
    found = Database(world.url, pool_size=2)
    yield found
    await found.close()


async def withdrawn(database: Database, company_id: int, recipient_id: int) -> bool:
    async with database.writing(company_id) as session:
        return await withdraw_consent(session, company_id, recipient_id, reply="No, thanks")


@pytest.mark.parametrize(("type", "channel"), CHANNELS.items())
async def test_consent_of_the_channel_is_withdrawn(world: World, database: Database, type: str, channel: str) -> None:
    """The consent for the campaign's channel goes, with the time; that for the others stays."""
    one, other = await sent(world, type=type), await sent(world, type=type)
    assert await withdrawn(database, world.acme.id, one.recipient_id)
    rest = [each for each in EVERY if each != channel]
    assert await one.known() == Known("UNSUBSCRIBED", rest, [("UNSUBSCRIBED", "No, thanks")], {})
    assert await other.known() == Known("SENT", EVERY, [], {})
    async with owner_transaction(world.url) as connection:
        columns = [getattr(Contact, f"{each}_consent_updated_at") for each in (channel, *rest)]
        times = (await connection.execute(select(*columns).where(Contact.id == one.contact_id))).one()
    assert [time is not None for time in times] == [True, False, False]


async def test_twice_is_once(world: World, database: Database) -> None:
    """The second time changes nothing, in no table, and says so."""
    one = await sent(world)
    assert await withdrawn(database, world.acme.id, one.recipient_id)
    async with witness(world.url) as changes:
        assert not await withdrawn(database, world.acme.id, one.recipient_id)
        assert await changes.changed() == set()


async def test_a_consent_that_was_given_again_is_withdrawn_again(world: World, database: Database) -> None:
    """Who agrees anew can take that back by the same link."""
    one = await sent(world)
    await withdrawn(database, world.acme.id, one.recipient_id)
    async with owner_transaction(world.url) as connection:
        again = update(Contact).where(Contact.id == one.contact_id).values(email_consent_given=True)
        await connection.execute(again)
    assert await withdrawn(database, world.acme.id, one.recipient_id)
    assert (await one.known()).consents == ["letter", "call"]


async def test_status_of_the_recipient(world: World, database: Database) -> None:
    """Whoever was, or may have been, reached has unsubscribed; the others stay what they are, also without consent."""
    for status, attempt in itertools.product(DeliveryStatus, (0, 1)):
        one = await sent(world, status, attempt=attempt)
        stays = status in ("CANCELED", "FAILED") or (status == "QUEUED" and attempt == 0)
        assert await withdrawn(database, world.acme.id, one.recipient_id)
        known = await one.known()
        assert known.status == (status if stays else "UNSUBSCRIBED"), (status, attempt)
        assert "email" not in known.consents


async def test_a_contact_that_is_gone(world: World, database: Database) -> None:
    """The recipient has unsubscribed all the same."""
    one = await sent(world)
    async with owner_transaction(world.url) as connection:
        await connection.execute(delete(Contact).where(Contact.id == one.contact_id))
    assert await withdrawn(database, world.acme.id, one.recipient_id)
    assert await one.known() == Known("UNSUBSCRIBED", [], [("UNSUBSCRIBED", "No, thanks")], {})
    assert not await withdrawn(database, world.acme.id, one.recipient_id)


async def test_recipients_of_others(world: World, database: Database) -> None:
    """Neither another company's recipient nor one that is not there is changed."""
    theirs = await sent(world, company=world.globex)
    async with witness(world.url) as changes:
        assert not await withdrawn(database, world.acme.id, theirs.recipient_id)
        assert not await withdrawn(database, world.acme.id, 2**62)
        assert await changes.changed() == set()


async def test_those_who_watch_are_told(world: World, database: Database) -> None:
    """A withdrawal is a signal of its campaign."""
    one = await sent(world)
    async with told(world.url) as heard:
        await withdrawn(database, world.acme.id, one.recipient_id)

        async def is_told() -> bool:
            return bool(heard)

        await until(is_told)
    assert heard == [f"{world.acme.id}:{one.campaign_id}"]


async def suppressed(session: AsyncSession, company_id: int, *addresses: str) -> int:
    return await suppress(session, company_id, addresses, SuppressionReason.BOUNCED, None)


async def test_addresses_are_suppressed_once(world: World, database: Database) -> None:
    """In small letters, without spaces, in one company; one that is there keeps its reason; a monster is left out."""
    one = await sent(world)
    async with database.writing(world.acme.id) as session:
        reason = SuppressionReason.COMPLAINED
        added = await suppress(session, world.acme.id, [" ÅSE@Example.COM\r\n"], reason, one.campaign_id)
        again = await suppressed(session, world.acme.id, "åse@example.com", "new@example.com", "New@Example.com")
        assert (added, again) == (1, 1)
        assert await suppressed(session, world.acme.id, "x" * 400 + "@example.com") == 0
        assert await suppressed(session, world.acme.id) == 0
    assert (await one.known()).suppressions == {"åse@example.com": "COMPLAINED"}
    async with database.writing(world.globex.id) as session:
        assert await suppressed(session, world.globex.id, "åse@example.com") == 1
