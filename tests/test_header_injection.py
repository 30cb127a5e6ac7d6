"""Can anybody put a header into a mail, send it to whom they did not name, or send more than they may?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from typing import Any

import anyio
import pytest

from store.models import Contact
from tests.build import TestCompany
from tests.campaign_documents import (
    CAMPAIGN_TEST_EMAIL,
    CREATE,
    EMAIL,
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

# What ends a line for somebody on the way, and what ends a text for somebody who counts in C.
BREAKS = {
    "CR LF": "\r\n",
    "LF": "\n",
    "CR": "\r",
    "NUL": "\x00",
    "VT": "\x0b",
    "FF": "\x0c",
    "FS": "\x1c",
    "NEL": "\x85",
    "LS": "\u2028",
    "PS": "\u2029",
}
PLACES = ("at its beginning", "within", "at its end")
READ = "query ($id: ID!) { node(id: $id) { ... on TestDelivery { subject headers { name value } } } }"


@pytest.fixture(scope="module")
async def desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


async def refused(desk: Desk, document: str, **variables: Any) -> set[str]:
    """Why it is refused; nothing has changed then."""
    before = await desk.tables()
    found = await desk.payload(document, "admin", **variables)
    assert await desk.tables() == before
    return broken_rules(found)


def with_break(text: str, line_break: str, place: str) -> str:
    header = f"{line_break}Bcc: eve@example.com"
    return {
        "at its beginning": f"{line_break}{text}",
        "within": f"{text}{header}",
        "at its end": f"{text}{line_break}",
    }[place]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("line_break", BREAKS.values(), ids=BREAKS.keys())
async def test_lines_within_a_line(desk: Desk, line_break: str, place: str) -> None:
    """Subjects, senders and names with a break in them are refused, saved or tried, made or changed."""
    id = await desk.campaign()
    for name in ("name", "message.subject", "message.sender"):
        path = name.split(".")
        value = EMAIL[path[0]] if len(path) == 1 else EMAIL[path[0]][path[1]]
        input = but(EMAIL, {name: with_break(value, line_break, place)})
        expected = {f"INVALID_CHARACTER input.{name}"}
        assert await refused(desk, CREATE, input=input) == expected
        assert await refused(desk, CREATE, input=input, dryRun=True) == expected
        assert await refused(desk, TEST_EMAIL, input=input) == expected
        changes: Input = {"message": input["message"]} if len(path) > 1 else {name: input[name]}
        assert expected <= await refused(desk, UPDATE, id=id, input=changes)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("line_break", BREAKS.values(), ids=BREAKS.keys())
async def test_lines_within_an_address(desk: Desk, line_break: str, place: str) -> None:
    """The second of two addresses is refused where it stands, of campaigns that are saved and others."""
    emails = ["ada@example.com", with_break("bob@example.com", line_break, place)]
    assert await refused(desk, TEST_EMAIL, input=EMAIL, emails=emails) == {"INVALID_CHARACTER emails.1"}
    id = await desk.campaign()
    assert await refused(desk, CAMPAIGN_TEST_EMAIL, id=id, emails=emails) == {"INVALID_CHARACTER emails.1"}


NO_ADDRESSES = [
    "",
    " ",
    "ada",
    "@example.com",
    "ada@",
    "ada@@example.com",
    "ada@example.com ",
    "ada@example.com,bob@example.com",
    "ada@example.com;bob@example.com",
    "Ada <ada@example.com>",
    "<ada@example.com>",
    '"ada bob"@example.com',
    "ada@[127.0.0.1]",
    "ada@127.0.0.1",
    "ada@exam_ple.com",
    "ada@.com",
    ".ada@example.com",
    "a" * 65 + "@example.com",
    "adå@example.com",
    "ada@example.com%0d%0aBcc:eve@example.com",
]


# What the domain's preparation (RFC 3490) maps to nothing, or to another letter.
NOT_ASCII = ["ada@example.com\u200b", "ada@exam\u00adple.com", "ada@ｅxample.com"]
ALL_ADDRESSES = [*NO_ADDRESSES, *NOT_ASCII]


@pytest.mark.parametrize("address", ALL_ADDRESSES, ids=lambda address: ascii(address[:30]))
async def test_what_is_no_address(desk: Desk, address: str) -> None:
    """One mailbox and nothing beside it, as receiver and as sender."""
    id = await desk.campaign()
    assert await refused(desk, TEST_EMAIL, input=EMAIL, emails=[address]) == {"INVALID_EMAIL emails.0"}
    assert await refused(desk, CAMPAIGN_TEST_EMAIL, id=id, emails=[address]) == {"INVALID_EMAIL emails.0"}
    code = "INVALID_EMAIL" if address.strip() else "REQUIRED"
    input = but(EMAIL, {"message.sender": address})
    assert await refused(desk, CREATE, input=input) == {f"{code} input.message.sender"}


async def test_how_many_addresses(desk: Desk) -> None:
    """One to five, none of them twice; each that is wrong is named."""
    six = [f"a{number}@example.com" for number in range(6)]
    id = await desk.campaign()
    calls: list[tuple[str, dict[str, Any]]] = [(TEST_EMAIL, {"input": EMAIL}), (CAMPAIGN_TEST_EMAIL, {"id": id})]
    for document, variables in calls:
        assert await refused(desk, document, **variables, emails=six) == {"TOO_MANY emails"}
        assert await refused(desk, document, **variables, emails=six * 1000) == {"TOO_MANY emails"}
        assert await refused(desk, document, **variables, emails=[]) == {"REQUIRED emails"}
        twice = ["a@example.com", "b@example.com", "a@example.com", "x"]
        expected = {"DUPLICATE emails.2", "INVALID_EMAIL emails.3"}
        assert await refused(desk, document, **variables, emails=twice) == expected
        found = await desk.payload(document, **variables, emails=six[:5])
        assert [delivery["email"] for delivery in found["testDeliveries"]] == six[:5]


@pytest.mark.parametrize("line_break", [each for each in BREAKS.values() if each != "\x00"], ids=ascii)
async def test_lines_in_a_contacts_name(desk: Desk, line_break: str) -> None:
    """A name that is set into a subject stays in it, whatever lines it pretends to be."""
    name = f"Ada{line_break}Bcc: eve@example.com{line_break}{line_break}<p>Body"
    contact = await desk.add(Contact, first_name=name)
    input = but(EMAIL, {"message.subject": "Hello {{contact.first_name}}!"})
    found = await desk.payload(TEST_EMAIL, input=input, emails=["ada@example.com"], contactId=str(contact))
    assert found["userErrors"] == []
    ((written,),) = await desk.run(
        "SELECT message FROM test_deliveries WHERE id = :id", id=(await delivery_key(desk, found))
    )
    message = message_from_bytes(bytes(written), policy=policy.default)
    assert message["Bcc"] is None
    assert [str(message[name]) for name in ("To", "From")] == ["ada@example.com", EMAIL["message"]["sender"]]
    assert len(str(message["Subject"]).splitlines()) == 1
    assert bytes(written).partition(b"\r\n\r\n")[0].count(b"\r\nBcc") == 0
    answer = await desk.ask(READ, id=found["testDeliveries"][0]["id"])
    headers = {header["name"] for header in answer.data["node"]["headers"]}
    assert "Bcc" not in headers
    assert {"To", "From", "Subject"} <= headers


async def delivery_key(desk: Desk, found: Any) -> object:
    answer = await desk.ask(
        "query ($id: ID!) { node(id: $id) { ... on TestDelivery { databaseId } } }",
        id=found["testDeliveries"][0]["id"],
    )
    return answer.data["node"]["databaseId"]


LIMITED = {"RATE_LIMITED emails"}


def addresses(count: int) -> list[str]:
    return [f"a{number}@example.com" for number in range(count)]


async def test_no_more_than_the_hours_share(world: World) -> None:
    """Every address counts, in both mutations together and for each person alone; what is refused does not count."""
    async with desk_over(world, test_mails_per_hour=3) as desk:
        id = await desk.campaign()

        async def tried(count: int, role: str = "admin", *, saved: bool = False, **more: object) -> set[str]:
            document, which = (CAMPAIGN_TEST_EMAIL, {"id": id}) if saved else (TEST_EMAIL, {"input": EMAIL})
            return broken_rules(await desk.payload(document, role, **which, emails=addresses(count), **more))

        assert await tried(4) == LIMITED
        assert await tried(2, key="twice") == set()
        assert await tried(2, saved=True) == LIMITED
        assert await tried(1, saved=True) == set()
        assert await tried(1) == LIMITED
        assert await tried(2, key="twice") == set()
        assert await tried(1, saved=True) == LIMITED
        assert await tried(3, "manager") == set()
        await desk.run("UPDATE test_deliveries SET created_at = now() - interval '61 minutes' WHERE email LIKE 'a%'")
        assert await tried(3) == set()
        assert await tried(1) == LIMITED


@pytest.mark.parametrize("count", [1, 2])
async def test_many_at_once(world: World, count: int) -> None:
    """Of ten requests at once as many go out as would one after the other."""
    async with desk_over(world, test_mails_per_hour=3) as desk:
        found: list[set[str]] = []

        async def send() -> None:
            answer = await desk.payload(TEST_EMAIL, input=EMAIL, emails=addresses(count))
            found.append(broken_rules(answer))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(send)
        sent = 3 // count
        assert sorted(map(len, found)) == [0] * sent + [1] * (10 - sent)
        assert set.union(*found) == LIMITED
        mails = "SELECT count(*) FROM test_deliveries WHERE company_id = :id AND email LIKE 'a%'"
        assert (await desk.run(mails, id=desk.acme.id))[0][0] == sent * count
