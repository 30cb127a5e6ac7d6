"""Is a template stored as it was given, changed by what is given alone, and by whom?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import anyio
import pytest

from tests.build import NOW, TestCompany
from tests.campaign_documents import Desk, Input, broken_rules, but, desk_of_a_module
from tests.template_documents import COPY, CREATE, DELETE, EMAIL, LETTER, READ, SIDES, UPDATE, made, refused, stored

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


async def test_stored_as_given(desk: Desk) -> None:
    """Everything that is given is answered, by the mutation and by whoever reads it afterwards."""
    template = await made(desk, CREATE, input=LETTER)
    ids = {name: {"databaseId": int(desk.names[f"${name}"])} for name in ("sales", "group", "admin")}
    given = {name: LETTER[name] for name in ("type", "title", "content", "campaign", "margins")}
    expected = {**given, "user": ids["admin"], "team": ids["sales"], "group": ids["group"]}
    assert {name: value for name, value in template.items() if name != "databaseId"} == expected
    read = await desk.ask(READ, id=str(template["databaseId"]))
    assert read.data["template"] == template


async def test_what_is_absent_has_a_default(desk: Desk) -> None:
    """Made for campaigns and for everyone; a letter has the usual margins, an e-mail has none."""
    template = await made(desk, CREATE, input=EMAIL)
    assert [template[name] for name in ("campaign", "margins", "team", "group")] == [True, None, None, None]
    letter = await made(desk, CREATE, input=but(EMAIL, {"type": "LETTER", "content": "{{content}}"}))
    assert letter["margins"] == dict.fromkeys(SIDES, 20)
    letter = await made(desk, CREATE, input=but(LETTER, {"margins": {"left": 7}}))
    assert letter["margins"] == {"top": 20, "right": 20, "bottom": 20, "left": 7}


CHANGES: dict[str, Input] = {
    "nothing": {},
    "title": {"title": "Another"},
    "content": {"content": "<b>{{content}}</b>"},
    "campaign": {"campaign": True},
    "a side": {"margins": {"left": 33.25}},
    "all sides": {"margins": {"top": 1, "right": 2, "bottom": 3, "left": 4}},
    "no side": {"margins": {}},
    "team": {"teamId": "$support"},
    "no team": {"teamId": None},
    "no group": {"groupId": None},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
async def test_what_is_absent_stays(desk: Desk, changes: Input) -> None:
    """An update changes what it names and nothing else; null takes a team or a group away."""
    before = await made(desk, CREATE, "manager", input=LETTER)
    after = await made(desk, UPDATE, id=str(before["databaseId"]), input=changes)
    expected = {**before, **{name: value for name, value in changes.items() if not name.endswith("Id")}}
    if "margins" in changes:
        expected["margins"] = {**before["margins"], **changes["margins"]}
    for name in ("team", "group"):
        if f"{name}Id" in changes:
            key = desk.filled(changes[f"{name}Id"])
            expected[name] = None if key is None else {"databaseId": int(key)}
    assert after == expected


async def test_copied_whole(desk: Desk) -> None:
    """A copy has all that the template has, but for its title and its author."""
    template = await made(desk, CREATE, "manager", input=LETTER)
    copy = await made(desk, COPY, id=str(template["databaseId"]))
    author = {"databaseId": desk.acme.admin}
    title = f"{LETTER['title']} - copy"
    assert copy == {**template, "databaseId": copy["databaseId"], "title": title, "user": author}
    assert copy["databaseId"] != template["databaseId"]


@pytest.mark.parametrize("status", ["PENDING", "SENDING"])
async def test_in_use(desk: Desk, status: str) -> None:
    """A template that is needed for what is scheduled or under way stays, even if its campaign is hidden from all."""
    id = await stored(desk)
    campaign = await desk.campaign("manager", template_id=int(id), status=status, send_at=NOW, scope="PERSONAL")
    assert await refused(desk, DELETE, id=id) == {"IN_USE id"}
    await desk.run("UPDATE campaigns SET status = 'CANCELED' WHERE id = :id", id=campaign)
    assert (await desk.payload(DELETE, id=id))["userErrors"] == []


async def test_deleted(desk: Desk) -> None:
    """Campaigns that used it lose it, say so, and count that as a change; the settings lose it; then it is gone."""
    id = await stored(desk)
    statuses = ("DRAFT", "COMPLETED", "FAILED", "CANCELED")
    campaigns = [await desk.campaign(template_id=int(id), status=status) for status in statuses]
    await desk.run("UPDATE campaign_settings SET consent_template_id = :id WHERE company_id = 1", id=int(id))
    others = "to_jsonb(c) - '{template_id, template_deleted, version, updated_at}'::text[]"
    columns = f"SELECT {others} FROM campaigns c WHERE id = ANY(:ids) ORDER BY id"
    versions = "SELECT DISTINCT version, template_deleted FROM campaigns WHERE id = ANY(:ids)"
    before = await desk.run(columns, ids=campaigns)
    assert (await desk.payload(DELETE, id=id))["deletedTemplateId"]
    assert await desk.run(columns, ids=campaigns) == before
    assert await desk.run(versions, ids=campaigns) == [(2, True)]
    assert await desk.run("SELECT 1 FROM campaigns WHERE template_id = :id", id=int(id)) == []
    assert await desk.run("SELECT 1 FROM campaign_settings WHERE consent_template_id = :id", id=int(id)) == []
    assert await refused(desk, DELETE, id=id) == {"NOT_FOUND id"}


async def test_members_change_their_own(desk: Desk) -> None:
    """A member may copy what they see, and change and delete what they wrote; a manager what they see."""
    id = await stored(desk)
    for document in (UPDATE, DELETE):
        assert await refused(desk, document, "member", id=id, input={"title": "Mine"}) == {"FORBIDDEN id"}
    copy = await made(desk, COPY, "member", id=id)
    assert copy["user"] == {"databaseId": desk.acme.member}
    own = str(copy["databaseId"])
    assert (await made(desk, UPDATE, "member", id=own, input={"title": "Mine"}))["title"] == "Mine"
    assert (await made(desk, UPDATE, "manager", id=own, input={"title": "Ours"}))["title"] == "Ours"
    assert (await desk.payload(DELETE, "member", id=own))["userErrors"] == []
    assert (await desk.payload(DELETE, "manager", id=id))["userErrors"] == []


async def test_what_is_not_seen_is_not_there(desk: Desk) -> None:
    """A template of a team that somebody is not in is NOT_FOUND for them, as one that never was."""
    id = await stored(desk, team_id=int(desk.names["$sales"]))
    for document in (UPDATE, COPY, DELETE):
        answers = [await desk.payload(document, "member", id=each, input={"title": "x"}) for each in (id, "2000000000")]
        assert answers[0] == answers[1]
        assert broken_rules(answers[0]) == {"NOT_FOUND id"}


PLACES = [
    ("manager", {"teamId": "$sales", "groupId": "$group"}, set()),
    ("manager", {"teamId": "$support"}, {"FORBIDDEN input.teamId"}),
    ("member", {"teamId": "$support"}, set()),
    ("member", {"teamId": "$sales", "groupId": "$group"}, {"FORBIDDEN input.teamId", "FORBIDDEN input.groupId"}),
    ("admin", {"teamId": "$support", "groupId": "$group"}, set()),
    ("admin", {"teamId": "$their_sales"}, {"NOT_FOUND input.teamId"}),
    ("admin", {"teamId": "$sales", "groupId": "$their_group"}, {"NOT_FOUND input.groupId"}),
    ("member", {"teamId": "$their_sales"}, {"NOT_FOUND input.teamId"}),
    ("admin", {"teamId": "99999999999999999999"}, {"NOT_FOUND input.teamId"}),
]  # fmt: skip


@pytest.mark.parametrize(("role", "given", "errors"), PLACES)
async def test_teams_and_groups(desk: Desk, role: str, given: Input, errors: set[str]) -> None:
    """One puts a template into one's own teams and groups; administrators into all of the company's."""
    id = await stored(desk, user_id=getattr(desk.acme, role))
    for document in (CREATE, UPDATE):
        input = but(EMAIL, given) if document is CREATE else given
        if errors:
            assert await refused(desk, document, role, id=id, input=input) == errors
        else:
            template = await made(desk, document, role, id=id, input=input)
            assert template["team"] == {"databaseId": int(desk.filled(given["teamId"]))}


async def count(desk: Desk) -> int:
    return int((await desk.run("SELECT count(*) FROM templates"))[0][0])


async def two_requests(desk: Desk) -> list[tuple[str, dict[str, Any]]]:
    """A creation and a copy, as documents and variables."""
    return [(CREATE, {"input": EMAIL}), (COPY, {"id": await stored(desk)})]


async def test_the_same_key_makes_one(desk: Desk) -> None:
    """However often a request with a key comes, at once or later, one template is made and answered each time."""
    for document, variables in await two_requests(desk):
        key, before = uuid4().hex, await count(desk)
        answers: list[object] = []

        async def send(document: str, variables: dict[str, Any], key: str, answers: list[object]) -> None:
            answers.append(await made(desk, document, **variables, key=key))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(send, document, variables, key, answers)
        await send(document, variables, key, answers)
        assert answers == [answers[0]] * 11
        assert await count(desk) == before + 1


async def test_a_key_is_of_one_request(desk: Desk) -> None:
    """The same key with other arguments, or in another mutation, is refused; another person's key is another."""
    (create, created), (copy, copied) = await two_requests(desk)
    key = uuid4().hex
    template = await made(desk, create, **created, key=key)
    reused = {"IDEMPOTENCY_KEY_REUSED idempotencyKey"}
    assert await refused(desk, create, input=but(EMAIL, {"title": "Other"}), key=key) == reused
    assert await refused(desk, create, input=but(EMAIL, {"campaign": True}), key=key) == reused
    assert await refused(desk, copy, **copied, key=key) == reused
    assert await made(desk, create, "manager", **created, key=key) != template
    assert await made(desk, create, **created, key=key.upper()) != template


async def test_a_key_is_forgotten(desk: Desk) -> None:
    """After 24 hours the same request makes another."""
    for document, variables in await two_requests(desk):
        key = uuid4().hex
        first = await made(desk, document, **variables, key=key)
        await desk.run(
            "UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 s' WHERE key = :key", key=key
        )
        second = await made(desk, document, **variables, key=key)
        assert second != first
        assert await made(desk, document, **variables, key=key) == second


async def test_a_refused_request_leaves_its_key(desk: Desk) -> None:
    """What was refused may be mended and sent again with the same key."""
    key = uuid4().hex
    assert await refused(desk, CREATE, input=but(EMAIL, {"title": ""}), key=key) == {"REQUIRED input.title"}
    assert await made(desk, CREATE, input=EMAIL, key=key)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", "REQUIRED"),
        (" ", "REQUIRED"),
        ("x" * 256, "TOO_LONG"),
        ("a\nb", "INVALID_CHARACTER"),
        ("\x00", "INVALID_CHARACTER"),
    ],
    ids=ascii,
)
async def test_keys_that_are_none(desk: Desk, key: str, code: str) -> None:
    """A key is one line of 1 to 255 characters."""
    for document, variables in await two_requests(desk):
        assert await refused(desk, document, **variables, key=key) == {f"{code} idempotencyKey"}
