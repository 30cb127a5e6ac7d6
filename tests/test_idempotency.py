"""Does a request that is sent again have its effect once, and only if it is the same request?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import anyio
import pytest

from tests.build import TestCompany
from tests.campaign_documents import (
    ABSENT,
    CAMPAIGN,
    CAMPAIGN_TEST_EMAIL,
    COPY,
    CREATE,
    DELETE,
    EMAIL,
    PAST,
    TEST_EMAIL,
    UPDATE,
    Desk,
    Input,
    broken_rules,
    but,
    desk_of_a_module,
    desk_over,
)
from tests.conftest import World

pytestmark = pytest.mark.anyio

NAMES = {CREATE: "create", COPY: "copy", TEST_EMAIL: "test mail", CAMPAIGN_TEST_EMAIL: "test mail of a campaign"}
REQUESTS = pytest.mark.parametrize("document", NAMES, ids=lambda document: NAMES[document])
REUSED = {"IDEMPOTENCY_KEY_REUSED idempotencyKey"}
# No sender, so that it is valid in each company.
TELEPHONE = but(EMAIL, {"type": "TELEPHONE", "message": ABSENT})


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


async def arguments(desk: Desk, document: str) -> Input:
    """What the mutation is given, but for the key; campaigns to copy or to try out are new ones."""
    if document in (CREATE, TEST_EMAIL):
        return {"input": EMAIL}
    given = {"id": await desk.campaign()}
    return given if document == COPY else {**given, "emails": ["me@example.com"]}


async def counts(desk: Desk) -> list[int]:
    """How many campaigns, test mails, jobs and keys there are, of all companies."""
    tables = ("campaigns", "test_deliveries", "jobs", "idempotency_keys")
    found = await desk.run(" UNION ALL ".join(f"SELECT {n}, count(*) FROM {name}" for n, name in enumerate(tables)))
    return [row[1] for row in sorted(tuple(row) for row in found)]


def more(before: list[int], after: list[int]) -> list[int]:
    return [now - then for then, now in zip(before, after, strict=True)]


def made_by(document: str) -> list[int]:
    """How the counts grow by one request with a key."""
    return [1, 0, 0, 1] if document in (CREATE, COPY) else [0, 1, 1, 1]


@REQUESTS
async def test_fifty_at_once(shared_desk: Desk, document: str) -> None:
    """Fifty equal requests with one key, at once, over three connections, have one effect and equal answers."""
    given = await arguments(shared_desk, document)
    before, key = await counts(shared_desk), uuid4().hex
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await shared_desk.payload(document, **given, key=key))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask)
    assert broken_rules(answers[0]) == set()
    assert answers == [answers[0]] * 50
    assert more(before, await counts(shared_desk)) == made_by(document)


async def test_two_requests_at_once(shared_desk: Desk) -> None:
    """Of two different requests with one key, sent at once and again and again, one is carried out, once."""
    before, key = await counts(shared_desk), uuid4().hex
    answers: dict[str, list[Any]] = {"one": [], "other": []}

    async def ask(name: str) -> None:
        answers[name].append(await shared_desk.payload(CREATE, input={**EMAIL, "name": name}, key=key))

    async with anyio.create_task_group() as tasks:
        for name in ("one", "other") * 10:
            tasks.start_soon(ask, name)
    done = [name for name, found in answers.items() if found[0]["campaign"] is not None]
    assert len(done) == 1
    for name, found in answers.items():
        expected = set() if name in done else REUSED
        assert [broken_rules(payload) for payload in found] == [expected] * 10
    assert more(before, await counts(shared_desk)) == [1, 0, 0, 1]


@REQUESTS
async def test_other_keys(shared_desk: Desk, document: str) -> None:
    """Equal requests with other keys, or without one, are carried out each time."""
    given = await arguments(shared_desk, document)
    before = await counts(shared_desk)
    for key in (uuid4().hex, uuid4().hex, None, None):
        assert broken_rules(await shared_desk.payload(document, **given, key=key)) == set()
    rows = [4 * count for count in made_by(document)[:3]]
    assert more(before, await counts(shared_desk)) == [*rows, 2]


@REQUESTS
async def test_another_request(shared_desk: Desk, document: str) -> None:
    """A key that was used for another request, of the same mutation or of another one, is refused."""
    key = uuid4().hex
    given = await arguments(shared_desk, document)
    assert broken_rules(await shared_desk.payload(document, **given, key=key)) == set()
    before = await shared_desk.tables()
    change: Input = {"input": {**EMAIL, "name": "Another"}} if "input" in given else {"id": "$global_"}
    assert broken_rules(await shared_desk.payload(document, **{**given, **change}, key=key)) == REUSED
    other = COPY if document == CREATE else CREATE
    elsewhere = {"id": "$global_"} if other == COPY else {"input": EMAIL}
    assert broken_rules(await shared_desk.payload(other, **elsewhere, key=key)) == REUSED
    assert await shared_desk.tables() == before


async def test_same_arguments_of_another_mutation(shared_desk: Desk) -> None:
    """A key that was used to copy a campaign is refused for copyTemplate with the very same arguments."""
    key, given = uuid4().hex, {"id": await shared_desk.campaign()}
    assert broken_rules(await shared_desk.payload(COPY, **given, key=key)) == set()
    copy_template = COPY.replace("copyCampaign", "copyTemplate").replace(
        f"campaign {{ {CAMPAIGN} }}", "template { id }"
    )
    assert broken_rules(await shared_desk.payload(copy_template, **given, key=key)) == REUSED


async def test_same_request_written_otherwise(shared_desk: Desk) -> None:
    """The order of an input's fields, and a null that says no more than silence, make no other request."""
    key = uuid4().hex
    made = await shared_desk.made(CREATE, input=EMAIL, key=key)
    turned = {**dict(reversed(EMAIL.items())), "message": dict(reversed(EMAIL["message"].items())), "approved": None}
    assert await shared_desk.made(CREATE, input=turned, key=key) == made


async def test_addresses_are_part_of_the_request(shared_desk: Desk) -> None:
    """The same input to other addresses is another request."""
    key = uuid4().hex
    await shared_desk.payload(TEST_EMAIL, input=EMAIL, emails=["one@example.com"], key=key)
    payload = await shared_desk.payload(TEST_EMAIL, input=EMAIL, emails=["other@example.com"], key=key)
    assert broken_rules(payload) == REUSED


async def test_others(shared_desk: Desk) -> None:
    """The same key of another user, or of another company's, is another key."""
    key, tokens = uuid4().hex, (*shared_desk.acme.tokens.values(), *shared_desk.globex.tokens.values())
    made = [await shared_desk.made(CREATE, token, input=TELEPHONE, key=key) for token in tokens]
    assert len({campaign["id"] for campaign in made}) == len(tokens) == 6
    other = {**TELEPHONE, "name": "Another"}
    for token, campaign in zip(tokens, made, strict=True):
        assert await shared_desk.made(CREATE, token, input=TELEPHONE, key=key) == campaign
        assert broken_rules(await shared_desk.payload(CREATE, token, input=other, key=key)) == REUSED


@REQUESTS
async def test_refused_request(shared_desk: Desk, document: str) -> None:
    """A request that is refused does not use the key up, for the same request or another."""
    key = uuid4().hex
    given = await arguments(shared_desk, document)
    wrong: Input = {"input": {**EMAIL, "sendAt": PAST}} if "input" in given else {"id": "$their_global_"}
    before = await shared_desk.tables()
    for _ in range(2):
        refused = await shared_desk.payload(document, **{**given, **wrong}, key=key)
        assert broken_rules(refused) in ({"NOT_IN_FUTURE input.sendAt"}, {"NOT_FOUND id"})
    assert await shared_desk.tables() == before
    assert broken_rules(await shared_desk.payload(document, **given, key=key)) == set()


async def test_refused_for_its_rate(world: World) -> None:
    """Test mails that are asked for again count once, and one too many does not use its key up."""
    async with desk_over(world, test_mails_per_hour=2) as desk:
        first, second = uuid4().hex, uuid4().hex
        for _ in range(3):
            assert broken_rules(await desk.payload(TEST_EMAIL, input=EMAIL, key=first)) == set()
        two = ["one@example.com", "two@example.com"]
        assert broken_rules(await desk.payload(TEST_EMAIL, input=EMAIL, emails=two, key=second)) == {
            "RATE_LIMITED emails"
        }
        assert broken_rules(await desk.payload(TEST_EMAIL, input=EMAIL, emails=two[:1], key=second)) == set()
        assert broken_rules(await desk.payload(TEST_EMAIL, input=EMAIL)) == {"RATE_LIMITED emails"}


async def age(desk: Desk, key: str, interval: str) -> None:
    await desk.run(
        f"UPDATE idempotency_keys SET created_at = created_at - interval '{interval}' WHERE key = :key", key=key
    )


@REQUESTS
async def test_a_day_later(shared_desk: Desk, document: str) -> None:
    """For 24 hours a key stands for what it was used for; then it is free for any request, for 24 hours again."""
    key, given = uuid4().hex, await arguments(shared_desk, document)
    first = await shared_desk.payload(document, **given, key=key)
    await age(shared_desk, key, "23 hours 59 minutes")
    assert await shared_desk.payload(document, **given, key=key) == first
    await age(shared_desk, key, "1 minute 1 second")
    before = await counts(shared_desk)
    second = await shared_desk.payload(document, **given, key=key)
    assert broken_rules(second) == set()
    assert more(before, await counts(shared_desk)) == [*made_by(document)[:3], 0]
    assert await shared_desk.payload(document, **given, key=key) == second != first
    await age(shared_desk, key, "24 hours 1 second")
    made = await shared_desk.made(CREATE, input={**EMAIL, "name": "Another"}, key=key)
    assert made["name"] == "Another"


async def test_what_has_changed_since(shared_desk: Desk) -> None:
    """A repeated request shows what it made as it is now, and makes nothing when that is deleted."""
    key = uuid4().hex
    made = await shared_desk.made(CREATE, input=EMAIL, key=key)
    changed = await shared_desk.made(UPDATE, id=made["id"], input={"name": "Summer"})
    assert await shared_desk.made(CREATE, input=EMAIL, key=key) == changed
    await shared_desk.payload(DELETE, id=made["id"])
    before = await shared_desk.tables()
    assert await shared_desk.made(CREATE, input=EMAIL, key=key) is None
    assert await shared_desk.tables() == before


BAD_KEYS = {
    "": "REQUIRED idempotencyKey",
    " \u00a0": "REQUIRED idempotencyKey",
    "k" * 256: "TOO_LONG idempotencyKey",
    "a\nb": "INVALID_CHARACTER idempotencyKey",
    "\x00": "INVALID_CHARACTER idempotencyKey",
}


@REQUESTS
async def test_bad_keys(shared_desk: Desk, document: str) -> None:
    """An empty key, one of 256 characters and one of two lines are refused; one of 255 characters is taken."""
    given = await arguments(shared_desk, document)
    before = await shared_desk.tables()
    for key, error in BAD_KEYS.items():
        assert broken_rules(await shared_desk.payload(document, **given, key=key)) == {error}
    assert await shared_desk.tables() == before
    longest = uuid4().hex.rjust(255, "ø")
    first = await shared_desk.payload(document, **given, key=longest)
    assert await shared_desk.payload(document, **given, key=longest) == first
    assert broken_rules(first) == set()


async def test_dry_run(shared_desk: Desk) -> None:
    """Trying a request takes no key."""
    before, key = await shared_desk.tables(), uuid4().hex
    tried = await shared_desk.payload(CREATE, input={**EMAIL, "name": "Tried"}, key=key, dryRun=True)
    assert tried == {"campaign": None, "userErrors": []}
    assert await shared_desk.tables() == before
    assert (await shared_desk.made(CREATE, input=EMAIL, key=key))["name"] == "Spring"


async def test_dry_run_with_a_bad_key(shared_desk: Desk) -> None:
    """Trying a request has the same errors as the request, those of its key too."""
    payload = await shared_desk.payload(CREATE, input=EMAIL, key="", dryRun=True)
    assert broken_rules(payload) == {"REQUIRED idempotencyKey"}
