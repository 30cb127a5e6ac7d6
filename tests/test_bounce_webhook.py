"""Does the webhook record what a relay signed, and nothing that it did not?"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, text, update

from gateway.return_paths import ReturnPaths
from store.database import owner_transaction
from store.models import Recipient
from tests.build import NOW
from tests.client import Gateway, running_gateway
from tests.conftest import World
from tests.fingerprints import witness
from tests.post import until
from tests.recipients import CHANNELS, Known, Sent, sent

pytestmark = pytest.mark.anyio

SECRET = "the-secret-of-the-webhook-in-tests"
PATH = "/webhooks/bounces"
EVERY = list(CHANNELS.values())


@pytest.fixture
async def relayed(world: World) -> AsyncIterator[Gateway]:
    """A gateway that takes webhooks."""
    async with running_gateway(world.url, bounce_webhook_secret=SECRET) as running:
        yield running


def event(one: Sent, type: str, **more: object) -> dict[str, object]:
    return {"returnPath": one.return_path, "type": type, **more}


def body_of(*events: object) -> bytes:
    return json.dumps({"events": events}).encode()


def signature(body: bytes, at: float = NOW.timestamp(), secret: str = SECRET) -> str:
    signed = f"{int(at)}.".encode() + body
    return f"t={int(at)},v1={hmac.new(secret.encode(), signed, 'sha256').hexdigest()}"


async def posted(gateway: Gateway, body: bytes, header: str | None = None, **headers: str) -> httpx.Response:
    given = {"Content-Type": "application/json", "Webhook-Signature": signature(body) if header is None else header}
    sent = {name.encode(): value.encode("latin-1") for name, value in {**given, **headers}.items()}
    return await gateway.http.post(PATH, content=body, headers=sent)


def check_refused(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    [error] = response.json()["errors"]
    assert error["extensions"] == {"code": code}
    assert response.headers["content-type"] == "application/json"
    assert SECRET not in response.text


async def test_events(relayed: Gateway, world: World) -> None:
    """What a relay tells of messages of several companies is recorded, once however often it tells it."""
    gone, full, here, late = [await sent(world) for _ in range(4)]
    spam = await sent(world, company=world.globex)
    body = body_of(
        event(gone, "bounced", permanent=True, reply="550 5.1.1\r\nno such user\0", occurredAt=NOW.isoformat()),
        event(full, "bounced", permanent=False, reply="552 5.2.2 full"),
        event(here, "delivered", reply="250 ok"),
        event(here, "delivered", reply="250 ok"),
        event(late, "deferred"),
        event(spam, "complained", reply="abuse"),
        {"returnPath": "someone@example.com", "type": "bounced", "permanent": True},
        {"returnPath": ReturnPaths(b"x" * 32)(1, 1, "acme.example"), "type": "bounced", "permanent": True},
    )
    first = await posted(relayed, body)
    assert (first.status_code, first.json()) == (200, {"accepted": 5, "ignored": 3})
    suppressed = {"ada@example.com": "BOUNCED"}
    assert await gone.known() == Known("BOUNCED", EVERY, [("BOUNCED", "550 5.1.1 no such user")], suppressed)
    assert await full.known() == Known("BOUNCED", EVERY, [("BOUNCED", "552 5.2.2 full")], {})
    assert await here.known() == Known("DELIVERED", EVERY, [("DELIVERED", "250 ok")], {})
    assert await late.known() == Known("SENT", EVERY, [("DEFERRED", None)], {})
    complained = {"ada@example.com": "COMPLAINED"}
    assert await spam.known() == Known("UNSUBSCRIBED", EVERY[1:], [("UNSUBSCRIBED", "abuse")], complained)
    async with witness(world.url) as changes:
        again = await posted(relayed, body)
        assert (again.status_code, again.json()) == (200, {"accepted": 0, "ignored": 8})
        assert await changes.changed() == set()


async def test_as_many_as_there_may_be(relayed: Gateway, world: World) -> None:
    """500 events come in one request, and 501 do not."""
    one = await sent(world)
    events = [event(one, "delivered", reply=str(number % 3)) for number in range(501)]
    found = await posted(relayed, body_of(*events[:500]))
    assert (found.status_code, found.json()) == (200, {"accepted": 3, "ignored": 497})
    check_refused(await posted(relayed, body_of(*events)), 400, "INVALID_REQUEST")


@pytest.mark.parametrize("type", ["complained", "bounced"])
async def test_requests_that_meet(relayed: Gateway, world: World, type: str) -> None:
    """Two requests that tell of the same contacts and addresses, in different orders, are both taken."""
    first, second, third, fourth = [await sent(world, email=f"{name}@example.com") for name in "abba"]
    async with owner_transaction(world.url) as connection:
        for again, contact in ((third, second.contact_id), (fourth, first.contact_id)):
            of_again = Recipient.id == again.recipient_id
            await connection.execute(update(Recipient).where(of_again).values(contact_id=contact))
    requests = [
        body_of(*(event(one, type, permanent=True) for one in both)) for both in ((first, second), (third, fourth))
    ]
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with owner_transaction(world.url) as watching:
        async with owner_transaction(world.url) as holding:
            last = select(Recipient.id).where(Recipient.id.in_((second.recipient_id, fourth.recipient_id)))
            await holding.execute(last.with_for_update())
            answers = [asyncio.create_task(posted(relayed, body)) for body in requests]

            async def both_wait() -> bool:
                return bool(await watching.scalar(waiting) == 2)

            await until(both_wait)
        found = [await answer for answer in answers]
    assert [(answer.status_code, answer.json()) for answer in found] == [(200, {"accepted": 2, "ignored": 0})] * 2


async def test_what_is_not_signed(relayed: Gateway, world: World) -> None:
    """Without the secret, with another body or time, or after five minutes nothing is recorded."""
    body = body_of(event(await sent(world), "bounced", permanent=True))
    good = signature(body)
    time, _, digest = good.partition(",v1=")
    then, soon = ((NOW + sign * timedelta(seconds=301)).timestamp() for sign in (-1, 1))
    altered = [
        f"{time},v1={digest[:place]}{'0' if digest[place] != '0' else '1'}{digest[place + 1 :]}" for place in range(64)
    ]
    wrong = [
        *altered, "", time, f"{time},v1=", f"{time},v1={digest[:-1]}", f"{time},v1={digest.upper()}", f"{good},{good}",
        f"v1={digest},{time}", f"t=0,v1={digest}", f"t={'9' * 400},v1={digest}", f"t=²,v1={digest}",
        signature(body, secret="another secret, also of 32 bytes"), signature(body + b" "), signature(b""),
        signature(body, then), signature(body, soon), good.replace("t=", "t=0"), f"{good}x",
    ]  # fmt: skip
    async with witness(world.url) as changes:
        for header in wrong:
            check_refused(await posted(relayed, body, header), 401, "INVALID_SIGNATURE")
        check_refused(await posted(relayed, body + b" ", good), 401, "INVALID_SIGNATURE")
        check_refused(
            await relayed.http.post(PATH, content=body, headers={"Content-Type": "application/json"}),
            401,
            "INVALID_SIGNATURE",
        )
        assert await changes.changed() == set()
    for at in (NOW - timedelta(seconds=300), NOW + timedelta(seconds=300)):
        assert (await posted(relayed, body, signature(body, at.timestamp()))).status_code == 200


async def test_requests_that_make_no_sense(relayed: Gateway, world: World) -> None:
    """A body that is not as it should be is refused whole, with what is wrong about it; nothing is recorded."""
    good = event(await sent(world), "bounced", permanent=True)
    invalid: dict[str, list[object]] = {
        "events": [{}, {"events": None}, {"events": []}, {"events": [1]}, [], 1, {"events": [good], "more": 1}],
        "type": [{**good, "type": type} for type in ("gone", "BOUNCED", None, 1)],
        "returnPath": [{**good, "returnPath": path} for path in (None, 1, "x" * 321)],
        "permanent": [{**good, "permanent": flag} for flag in ("true", 1, None)],
        "reply": [{**good, "reply": reply} for reply in (1, ["x"])],
        "occurredAt": [{**good, "occurredAt": at} for at in ("yesterday", 1, "2026-11-21T12:00:00", "0000-00-00")],
        "more": [{**good, "more": 1}],
    }
    async with witness(world.url) as changes:
        for name, bodies in invalid.items():
            for each in bodies:
                body = json.dumps(each).encode() if name == "events" else body_of(good, each)
                refused = await posted(relayed, body)
                check_refused(refused, 400, "INVALID_REQUEST")
                assert name == "events" or f"events.1.{name}" in refused.json()["errors"][0]["message"]
        for body in (b"", b"{", b"\xff", b"[" * 100_000, b'{"events": [{"returnPath": "\\ud800"}]}', b"NaN"):
            assert (await posted(relayed, body)).status_code == 400
        body = body_of(good)
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
            refused = await posted(relayed, body, **{"Content-Type": content_type})
            check_refused(refused, 415, "UNSUPPORTED_MEDIA_TYPE")
        large = body + b" " * (256 * 1024 - len(body))
        check_refused(await posted(relayed, large + b" "), 413, "BODY_TOO_LARGE")
        for method in ("GET", "PUT", "DELETE"):
            check_refused(await relayed.http.request(method, PATH), 405, "METHOD_NOT_ALLOWED")
        assert await changes.changed() == set()
    assert (await posted(relayed, large)).json() == {"accepted": 1, "ignored": 0}


async def test_without_a_secret(gateway: Gateway, world: World) -> None:
    """Where no secret is set there is no webhook."""
    body = body_of(event(await sent(world), "bounced", permanent=True))
    async with witness(world.url) as changes:
        for secret in (SECRET, ""):
            check_refused(await posted(gateway, body, signature(body, secret=secret)), 404, "NOT_FOUND")
        assert await changes.changed() == set()
