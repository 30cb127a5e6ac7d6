"""Which addresses is nothing mailed to any more, and who may let them be mailed to again?"""

from __future__ import annotations

import pytest
from sqlalchemy import text

from resolvers.global_ids import encode
from store.database import owner_transaction
from store.models import Suppression
from tests.build import NOW, Builder
from tests.client import Gateway
from tests.conftest import World

pytestmark = pytest.mark.anyio

DELETE = """
mutation ($id: ID!) { deleteSuppression(id: $id) { deletedSuppressionId userErrors { code field } } }
"""
LIST = """
query ($filter: SuppressionFilter, $order: SuppressionOrder) {
  suppressions(filter: $filter, orderBy: $order) { totalCount nodes { address } }
}
"""


async def test_a_suppression(gateway: Gateway, world: World) -> None:
    """Everyone in the company sees an address, why nothing is mailed to it, since when, and after which campaign."""
    id = encode("Suppression", world.acme.rows["suppression"])
    document = (
        "query ($id: ID!) { node(id: $id) { ... on Suppression { address reason createdAt campaign { name } } } }"
    )
    for token in world.acme.tokens.values():
        assert (await gateway.ask(document, token, {"id": id})).data["node"] == {
            "address": "gone@example.com",
            "reason": "BOUNCED",
            "createdAt": "2026-11-21T12:00:00Z",
            "campaign": {"name": "Sent"},
        }
    move = "UPDATE campaigns SET scope = 'PERSONAL', user_id = :admin WHERE id = :id"
    async with owner_transaction(world.url) as connection:
        await connection.execute(text(move), {"admin": world.acme.admin, "id": world.acme.rows["sent"]})
    assert (await gateway.ask(document, world.acme.tokens["member"], {"id": id})).data["node"]["campaign"] is None
    assert (await gateway.ask(document, world.globex.tokens["admin"], {"id": id})).codes == ["NOT_FOUND"]


async def test_lists_of_suppressions(gateway: Gateway, world: World) -> None:
    """The list is narrowed by reason and by what an address contains, whose % and _ are plain, and sorted."""
    async with owner_transaction(world.url) as connection:
        build, own = Builder(connection), {"company_id": world.acme.id}
        for number, (address, reason) in enumerate(
            (("a_b@example.com", "COMPLAINED"), ("axb@example.com", "REFUSED"), ("%@example.com", "BOUNCED")), 1
        ):
            moment = NOW.replace(year=2026 + number)
            await build.add(Suppression, **own, address=address, reason=reason, created_at=moment)

    async def found(filter: object = None, order: object = None) -> list[str]:
        variables = {"filter": filter, "order": order}
        page = (await gateway.ask(LIST, world.acme.tokens["member"], variables)).data["suppressions"]
        assert page["totalCount"] == len(page["nodes"])
        return [node["address"].partition("@")[0] for node in page["nodes"]]

    assert await found() == ["%", "axb", "a_b", "gone"]
    assert await found(order={"field": "CREATED_AT"}) == ["gone", "a_b", "axb", "%"]
    assert await found({"reasonIn": ["BOUNCED", "COMPLAINED"]}) == ["%", "a_b", "gone"]
    assert await found({"search": "A_B"}) == ["a_b"]
    assert await found({"search": "%"}) == ["%"]
    assert await found({"search": "EXAMPLE", "reasonIn": ["REFUSED"]}) == ["axb"]


async def test_mailed_to_again(gateway: Gateway, world: World) -> None:
    """Managers and administrators take an address off the list, once; the others stay."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        values = {"company_id": acme.id, "address": "other@example.com", "reason": "REFUSED"}
        other = encode("Suppression", await build.add(Suppression, **values))
    for role, id in (("manager", encode("Suppression", acme.rows["suppression"])), ("admin", other)):
        answers = [await gateway.ask(DELETE, acme.tokens[role], {"id": id}) for _ in range(2)]
        assert [answer.data["deleteSuppression"] for answer in answers] == [
            {"deletedSuppressionId": id, "userErrors": []},
            {"deletedSuppressionId": None, "userErrors": [{"code": "NOT_FOUND", "field": ["id"]}]},
        ]
    assert (await gateway.ask(LIST, acme.tokens["member"])).data["suppressions"]["totalCount"] == 0
    assert (await gateway.ask(LIST, world.globex.tokens["member"])).data["suppressions"]["totalCount"] == 1


async def test_who_may_not(gateway: Gateway, world: World) -> None:
    """Members, tokens that may not write, and other companies change nothing."""
    acme, id = world.acme, {"id": str(world.acme.rows["suppression"])}
    async with owner_transaction(world.url) as connection:
        reading = await Builder(connection).token(acme.id, acme.admin, ("READ", "SEND", "EXPORT"))
    assert (await gateway.ask(DELETE, reading, id)).codes == ["FORBIDDEN"]
    for token, code in ((acme.tokens["member"], "FORBIDDEN"), (world.globex.tokens["admin"], "NOT_FOUND")):
        id = {"id": encode("Suppression", acme.rows["suppression"])}
        (error,) = (await gateway.ask(DELETE, token, id)).data["deleteSuppression"]["userErrors"]
        assert error == {"code": code, "field": ["id"]}
    assert (await gateway.ask(LIST, acme.tokens["member"])).data["suppressions"]["totalCount"] == 1
