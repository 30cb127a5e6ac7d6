"""How are lists read, page by page?"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import orjson
import pytest

from store.database import owner_transaction
from store.models import Campaign, Recipient
from tests.build import NOW, Builder
from tests.client import Gateway
from tests.conftest import World

pytestmark = pytest.mark.anyio

PAGE = """
query ($first: Int, $last: Int, $after: String, $before: String, $offset: Int, $order: CampaignOrder,
       $filter: CampaignFilter) {
  campaigns(first: $first, last: $last, after: $after, before: $before, offset: $offset, orderBy: $order,
            filter: $filter) {
    totalCount
    edges { cursor node { name } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""
# Newest first, as the small world made them.
NEWEST = ["Sent", "Personal", "Group", "Team", "Global"]


async def page(gateway: Gateway, world: World, **variables: object) -> Any:
    return (await gateway.ask(PAGE, world.acme.tokens["admin"], variables)).data["campaigns"]


def names(found: Any) -> list[str]:
    return [edge["node"]["name"] for edge in found["edges"]]


async def test_forward(gateway: Gateway, world: World) -> None:
    """Pages after the last cursor follow each other without a gap, until there is no next page."""
    first = await page(gateway, world, first=2)
    second = await page(gateway, world, first=2, after=first["pageInfo"]["endCursor"])
    third = await page(gateway, world, first=2, after=second["pageInfo"]["endCursor"])
    assert [names(first), names(second), names(third)] == [NEWEST[:2], NEWEST[2:4], NEWEST[4:]]
    assert [found["pageInfo"]["hasNextPage"] for found in (first, second, third)] == [True, True, False]
    assert [found["pageInfo"]["hasPreviousPage"] for found in (first, second, third)] == [False, True, True]
    assert first["totalCount"] == third["totalCount"] == 5


async def test_backward(gateway: Gateway, world: World) -> None:
    """Pages before a cursor come in the order of the list, from its end."""
    last = await page(gateway, world, last=2)
    earlier = await page(gateway, world, last=2, before=last["pageInfo"]["startCursor"])
    earliest = await page(gateway, world, last=2, before=earlier["pageInfo"]["startCursor"])
    assert [names(earliest), names(earlier), names(last)] == [NEWEST[:1], NEWEST[1:3], NEWEST[3:]]
    assert [found["pageInfo"]["hasPreviousPage"] for found in (earliest, earlier, last)] == [False, True, True]


async def test_between_cursors(gateway: Gateway, world: World) -> None:
    """`after` and `before` together keep what stands between them."""
    everything = await page(gateway, world)
    after, before = everything["edges"][0]["cursor"], everything["edges"][4]["cursor"]
    assert names(await page(gateway, world, first=10, after=after, before=before)) == NEWEST[1:4]
    assert names(await page(gateway, world, last=1, after=after, before=before)) == NEWEST[3:4]


async def test_offset(gateway: Gateway, world: World) -> None:
    """An offset leaves out that many rows; beyond the end the page is empty and the total still right."""
    assert names(await page(gateway, world, first=2, offset=3)) == NEWEST[3:]
    beyond = await page(gateway, world, first=2, offset=1_000_000)
    assert names(beyond) == []
    assert beyond["totalCount"] == 5
    assert beyond["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": True,
        "startCursor": None,
        "endCursor": None,
    }


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"first": -1}, "BAD_USER_INPUT"),
        ({"first": 0}, "BAD_USER_INPUT"),
        ({"first": 101}, "BAD_USER_INPUT"),
        ({"last": 0}, "BAD_USER_INPUT"),
        ({"last": 101}, "BAD_USER_INPUT"),
        ({"first": 2, "last": 2}, "BAD_USER_INPUT"),
        ({"offset": -1}, "BAD_USER_INPUT"),
        ({"offset": 2, "last": 2}, "BAD_USER_INPUT"),
        ({"offset": 2147483647, "after": "x"}, "BAD_USER_INPUT"),
        ({"after": "x"}, "INVALID_CURSOR"),
        ({"after": ""}, "INVALID_CURSOR"),
        ({"after": "é"}, "INVALID_CURSOR"),
        ({"before": base64.urlsafe_b64encode(b'["a"]').decode()}, "INVALID_CURSOR"),
        ({"before": base64.urlsafe_b64encode(b"{}").decode()}, "INVALID_CURSOR"),
        ({"after": base64.urlsafe_b64encode(b"[1,2,3,4,5]").decode()}, "INVALID_CURSOR"),
        ({"after": base64.urlsafe_b64encode(b"[" * 2000).decode()}, "INVALID_CURSOR"),
        ({"filter": {"search": "x" * 201}}, "BAD_USER_INPUT"),
        ({"filter": {"search": "\x00"}}, "BAD_USER_INPUT"),
        ({"filter": {"teamIdIn": ["nonsense"]}}, "INVALID_ID"),
    ],
)
async def test_bad_arguments(gateway: Gateway, world: World, variables: dict[str, object], code: str) -> None:
    """An argument that makes no sense is refused with a code that says so, and no rows come."""
    answer = await gateway.ask(PAGE, world.acme.tokens["admin"], variables)
    assert (answer.status, answer.codes, answer.body["data"]) == (200, [code], None)


def forged(cursor: str, place: int, value: object) -> str:
    """A cursor with one part replaced: 0 edge, 1 parent, 2 order, 3 sort value, 4 key."""
    parts = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    parts[place] = value
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "Query.users"),
        (1, "999"),
        (2, "NAME ASC"),
        (2, "CREATED_AT ASC"),
        (3, "yesterday"),
        (3, "2026-W47-6T99"),
        (3, "2026-01-01T00:00:00"),
        (3, "0001-01-01T00:00:00+23:59"),
        (3, "9999-12-31T23:59:59-23:59"),
        (3, None),
        (3, 5),
        (3, "2026-11-21\x00"),
        (4, "not-a-uuid"),
        (4, "5"),
        (4, None),
    ],
)
async def test_forged_cursors(gateway: Gateway, world: World, place: int, value: object) -> None:
    """A cursor of another list, parent or order, or with other content, is refused."""
    cursor = (await page(gateway, world))["edges"][1]["cursor"]
    answer = await gateway.ask(PAGE, world.acme.tokens["admin"], {"after": forged(cursor, place, value)})
    assert answer.codes == ["INVALID_CURSOR"]


@pytest.mark.parametrize("value", ["2026-01-01T00:00:00+20:00", "2026-01-01T00:00:00+23:59:59.999999"])
async def test_forged_offsets(gateway: Gateway, world: World, value: str) -> None:
    """An offset that only Python takes is a place in time all the same, and no fault."""
    cursor = (await page(gateway, world))["edges"][1]["cursor"]
    assert (await gateway.ask(PAGE, world.acme.tokens["admin"], {"after": forged(cursor, 3, value)})).data


@pytest.mark.parametrize(
    ("field", "place", "value"),
    [
        ("contactFields", 3, "99999999999999"),
        ("teams", 4, "99999999999"),
        ("teams", 4, "9" * 29),
    ],
)
async def test_forged_numbers(gateway: Gateway, world: World, field: str, place: int, value: str) -> None:
    """A number that the database cannot hold is no place in a list."""
    query = f"query ($after: String) {{ {field}(after: $after) {{ edges {{ cursor }} }} }}"
    token = world.acme.tokens["admin"]
    cursor = (await gateway.ask(query, token)).data[field]["edges"][0]["cursor"]
    answer = await gateway.ask(query, token, {"after": forged(cursor, place, value)})
    assert answer.codes == ["INVALID_CURSOR"]


async def test_cursor_of_another_parent(gateway: Gateway, world: World) -> None:
    """A cursor belongs to the list of one parent: another parent's list refuses it, its own takes it."""
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        own = {"company_id": world.acme.id, "campaign_id": world.acme.rows["sent"]}
        await build.add(Recipient, **own, contact_id=world.acme.rows["other_contact"])
    query = """
        query ($after: String) { campaigns(first: 2) { nodes { name
            recipients(first: 1, after: $after) { edges { cursor node { status } } } } } }
    """
    token = world.acme.tokens["admin"]
    sent = (await gateway.ask(query, token)).data["campaigns"]["nodes"][0]
    cursor = sent["recipients"]["edges"][0]["cursor"]
    answer = await gateway.ask(query, token, {"after": cursor})
    assert answer.codes == ["INVALID_CURSOR"]
    assert answer.body["errors"][0]["path"] == ["campaigns", "nodes", 1, "recipients"]
    own_list = await gateway.ask(
        "query ($id: ID!, $after: String) { campaign(id: $id) { recipients(after: $after) { nodes { status } } } }",
        token,
        {"id": str(world.acme.rows["sent"]), "after": cursor},
    )
    assert own_list.data["campaign"]["recipients"]["nodes"] == [{"status": "QUEUED"}]


async def test_pages_of_many_parents(gateway: Gateway, world: World) -> None:
    """Each parent has a page, a total and cursors of its own."""
    query = """
        { campaigns(orderBy: {field: NAME}) { nodes { name
            recipients(first: 1) { totalCount pageInfo { hasNextPage } nodes { status } } } } }
    """
    answer = await gateway.ask(query, world.acme.tokens["admin"])
    found = {node["name"]: node["recipients"] for node in answer.data["campaigns"]["nodes"]}
    empty = {"totalCount": 0, "pageInfo": {"hasNextPage": False}, "nodes": []}
    assert found["Global"] == found["Team"] == empty
    assert found["Sent"] == {"totalCount": 1, "pageInfo": {"hasNextPage": False}, "nodes": [{"status": "DELIVERED"}]}


ORDERS = ["CREATED_AT", "UPDATED_AT", "NAME", "SEND_AT", "SENT_AT"]


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("order", ORDERS)
async def test_every_order_pages_alike(gateway: Gateway, world: World, order: str, direction: str) -> None:
    """In every order, with equal and absent values, walking by pages meets each row once, in the order of one page."""
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        for number in range(9):
            await build.add(
                Campaign,
                company_id=world.acme.id,
                user_id=world.acme.admin,
                name="été" if number % 2 else f"Zebra {number % 3}",
                created_at=NOW + timedelta(hours=number % 4),
                send_at=None if number % 3 else NOW + timedelta(days=number % 2),
            )
    chosen = {"field": order, "direction": direction}
    whole = names(await page(gateway, world, first=100, order=chosen))
    assert len(whole) == 14
    for arguments in ({"first": 3}, {"last": 3}):
        side, cursor = ("after", "endCursor") if "first" in arguments else ("before", "startCursor")
        walked: list[str] = []
        place = None
        for _ in range(5):
            found = await page(gateway, world, **arguments, **{side: place}, order=chosen)
            walked = [*walked, *names(found)] if side == "after" else [*names(found), *walked]
            place = found["pageInfo"][cursor]
        assert walked == whole


async def test_filters(gateway: Gateway, world: World) -> None:
    """Filters narrow the list together, count in the total, and know the old names."""

    async def kept(**chosen: object) -> list[str]:
        found = await page(gateway, world, filter=chosen)
        assert found["totalCount"] == len(found["edges"])
        return names(found)

    sales = str(world.acme.rows["sales"])
    assert await kept(statusIn=["COMPLETED"]) == await kept(statusIn=["SENT"]) == ["Sent"]
    assert await kept(statusIn=["DRAFT"], search="o") == ["Personal", "Group", "Global"]
    assert await kept(teamIdIn=[sales]) == ["Sent", "Team"]
    assert await kept(teamIdIn=["99999999999"]) == []
    assert await kept(typeIn=[]) == []
    assert await kept(typeIn=["EMAIL"]) == await kept(type="EMAIL") == await kept() == await kept(search=None) == NEWEST
    assert await kept(search="HELLO") == ["Sent"]


@pytest.mark.parametrize("text", ["%", "_", "\\", "100%", "a_b", "' OR 1=1 --", "*"])
async def test_search_is_literal(gateway: Gateway, world: World, text: str) -> None:
    """What is searched for is text: its wildcards and quotes are plain characters."""
    async with owner_transaction(world.url) as connection:
        own = {"company_id": world.acme.id, "user_id": world.acme.admin}
        await Builder(connection).add(Campaign, **own, name=f"x{text}y")
    assert names(await page(gateway, world, filter={"search": text})) == [f"x{text}y"]


@pytest.mark.parametrize("name", ["Ωmega Über", "ÅRSFEST", "naïve CAFÉ"])
async def test_search_knows_other_alphabets(gateway: Gateway, world: World, name: str) -> None:
    """What was found by its own spelling is found in small and large letters of any alphabet the database knows."""
    async with owner_transaction(world.url) as connection:
        own = {"company_id": world.acme.id, "user_id": world.acme.admin}
        await Builder(connection).add(Campaign, **own, name=name)
    assert names(await page(gateway, world, filter={"search": name})) == [name]
