"""Is what someone sees all that a subscription's answer depends on, and are many who ask judged as one who asks is?"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import jwt
import pytest
from sqlalchemy import insert, text

from gateway.auth import Authenticator, Credential, JsonWebTokens, Unauthenticated
from gateway.operations import Operation, Outcome, root_fields
from resolvers.context import Sight, Viewer, Watch
from schema.build import build_schema
from store.database import Database, owner_transaction
from store.models import Role, TeamMember, TokenScope, User
from tests.build import Builder
from tests.client import Gateway, running_gateway
from tests.conftest import World
from tests.graph import NO_LIMITS, Graph, object_of, reachable_from
from tests.rivals import encoded, keys_of

pytestmark = pytest.mark.anyio

SCHEMA = build_schema()._schema
GRAPH = Graph(SCHEMA)
WHOLE_CAMPAIGN = GRAPH.selection(GRAPH.rows["Campaign"], edges=True)
WHOLE_EXPORT = GRAPH.selection(GRAPH.rows["Export"], edges=True)
WATCHED = [
    f"subscription {{ campaignsChanged(first: 50) {{ campaigns {WHOLE_CAMPAIGN} }} }}",
    f"subscription {{ exportsProgress(first: 50) {{ exports {WHOLE_EXPORT} }} }}",
    f"subscription ($campaign: ID!) {{ campaignChanged(id: $campaign) {{ campaign {WHOLE_CAMPAIGN} }} }}",
    f"subscription ($export: ID!) {{ exportProgress(id: $export) {{ sequence isFinal export {WHOLE_EXPORT} }} }}",
]


async def another_user(world: World, role: Role) -> str:
    """A token of a new user of acme, who is in the team `support`."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        user_id = await build.add(User, company_id=acme.id, email="new@example.com", role=role)
        await connection.execute(
            insert(TeamMember).values(company_id=acme.id, team_id=acme.rows["support"], user_id=user_id)
        )
        return await build.token(acme.id, user_id)


@pytest.fixture
async def unlimited(world: World) -> AsyncIterator[Gateway]:
    async with running_gateway(world.url, **NO_LIMITS) as gateway:
        yield gateway


async def first_event(gateway: Gateway, document: str, world: World, token: str) -> dict[str, object]:
    """What the token's viewer is told first by a stream of their own."""
    viewer = partial(gateway.streams.authenticator.viewer, f"Bearer {token}")
    variables: dict[str, object] = {"campaign": str(world.acme.rows["sent"]), "export": str(world.acme.rows["export"])}
    operation = Operation(GRAPH.complete(document), variables, None)
    events = gateway.streams.operations.events(operation, await viewer(), "a-request", Watch(viewer))
    outcome: Outcome = await anext(events)
    await events.aclose()
    return outcome.answer()


async def test_administrators_see_the_same(unlimited: Gateway, world: World) -> None:
    """One who wrote campaigns and asked for exports and one who did neither are answered alike, to the last field."""
    author, other, member = (
        world.acme.tokens["admin"],
        await another_user(world, Role.ADMIN),
        world.acme.tokens["member"],
    )
    for document in WATCHED:
        expected = await first_event(unlimited, document, world, author)
        assert "errors" not in expected
        assert await first_event(unlimited, document, world, other) == expected
    assert "actions" in WHOLE_CAMPAIGN
    assert await first_event(unlimited, WATCHED[0], world, member) != await first_event(
        unlimited, WATCHED[0], world, other
    )


async def test_all_rows_look_the_same(unlimited: Gateway, world: World) -> None:
    """However far a shared subscription selects: no field of any row tells two administrators apart."""
    async with owner_transaction(world.url) as connection:
        ids = encoded(await keys_of(connection, world.acme.id))
    ids |= {typename: [] for typename in ids.keys() - reachable_from_shared_fields()}
    one, other = world.acme.tokens["admin"], await another_user(world, Role.ADMIN)
    found = [(await unlimited.ask(GRAPH.rows_document(), token, dict(ids))).data for token in (one, other)]
    assert found[0] == found[1]


def reachable_from_shared_fields() -> set[str]:
    """The types that subscriptions come to but for those whose root is personal."""
    root = SCHEMA.subscription_type
    assert root is not None
    shared = [type_ for name, field in root.fields.items() if not is_personal(name) and (type_ := object_of(field))]
    return set().union(*map(reachable_from, shared))


def is_personal(name: str) -> bool:
    return build_schema().is_personal([name])


def test_who_asks_is_not_selected() -> None:
    """No way leads from a shared subscription to the type that says who is asking, or to what is one user's alone."""
    found = reachable_from_shared_fields()
    assert found - {"ExportEvent", "ExportBoard", "CampaignEvent", "CampaignBoard"} <= set(GRAPH.types)
    assert "Campaign" in found
    assert not found & {"Viewer", "Notification"}


def test_what_is_personal() -> None:
    """What a root shows to one user alone is told by the root's field, wherever in the document it is selected."""
    root = SCHEMA.subscription_type
    assert root is not None
    assert [name for name in root.fields if is_personal(name)] == ["notificationsChanged"]
    own, shared = "notificationsChanged { notifications { id } }", "campaignsChanged { campaigns { id } }"
    found = {
        f"subscription {{ {own} }}": True,
        f"subscription {{ campaignsChanged: {own} }}": True,
        f"subscription {{ ... on Subscription {{ ... {{ {own} }} }} }}": True,
        f"subscription {{ ...A }} fragment A on Subscription {{ ...B }} fragment B on Subscription {{ {own} }}": True,
        f"subscription ($no: Boolean!) {{ {own.replace(' ', ' @include(if: $no) ', 1)} }}": True,
        f"subscription {{ notificationsChanged: {shared} }} # notificationsChanged": False,
        f"subscription {{ ...A }} fragment A on Subscription {{ ...A {shared} }}": False,
        "subscription { nothingLikeThat }": False,
        "subscription {": False,
    }
    operations = {document: Operation(document, None, None) for document in found}
    assert {document: build_schema().is_personal(root_fields(each)) for document, each in operations.items()} == found
    both = f"subscription Own {{ {own} }} subscription Shared {{ {shared} }}"
    for name, personal in (("Own", True), ("Shared", False), ("None", False)):
        assert build_schema().is_personal(root_fields(Operation(both, None, name))) is personal


async def test_what_a_sight_holds(world: World, gateway: Gateway) -> None:
    """A person, and their teams and groups, belong to it unless they see everything; role and scopes always do."""
    acme, scopes = world.acme, frozenset(TokenScope)

    async def sight(token: str) -> Sight:
        return (await gateway.streams.authenticator.viewer(f"Bearer {token}")).sight

    manager = Sight(
        acme.id, Role.MANAGER, scopes, acme.manager, frozenset({acme.rows["sales"]}), frozenset({acme.rows["group"]})
    )
    assert await sight(acme.tokens["manager"]) == manager
    support = frozenset({acme.rows["support"]})
    assert await sight(acme.tokens["member"]) == Sight(acme.id, Role.MEMBER, scopes, acme.member, support)
    assert await sight(await another_user(world, Role.ADMIN)) == Sight(acme.id, Role.ADMIN, scopes)


KEY = "a key that two parties share, of enough length"


def signed(user_id: int, expires_in: float = 600, **more: object) -> str:
    """A JSON web token; PyJWT reads the real clock."""
    now = time.time()
    claims = {"iat": now - 1, "exp": now + expires_in, "sub": str(user_id), "aud": "us", "iss": "them", **more}
    return jwt.encode(claims, KEY, "HS256")


async def test_many_are_judged_like_one(world: World) -> None:
    """Read together, every token has the viewer, or the refusal, that it has alone; of another company, none."""
    acme, globex, clock = world.acme, world.globex, [datetime.now(UTC)]
    database = Database(world.url, pool_size=1)
    web_tokens = JsonWebTokens("HS256", KEY, "them", "us")
    authenticator = Authenticator(database, web_tokens, lambda: clock[0], accept_demo_tokens=False)
    revoked = await another_user(world, Role.MEMBER)
    secret = acme.tokens["member"].rsplit("_", 1)[1]
    tokens = [
        *acme.tokens.values(),
        revoked,
        f"mcg_99990000_{secret}",
        acme.tokens["admin"].replace("secret", "a-guess"),
        signed(acme.member, scope="read export"),
        signed(2**31 - 1),
    ]
    async with owner_transaction(world.url) as connection:
        statement = text("UPDATE access_tokens SET revoked_at = now() WHERE id = :id")
        await connection.execute(statement, {"id": revoked.split("_")[1]})
    credentials = [authenticator.credential(f"Bearer {token}") for token in tokens]
    try:
        alone = [await one_by_one(authenticator, token) for token in tokens]
        assert [isinstance(found, Viewer) for found in alone] == [True, True, True, False, False, False, True, False]
        assert await together(authenticator, acme.id, credentials) == alone
        foreign = [
            authenticator.credential(f"Bearer {token}") for token in (globex.tokens["admin"], signed(globex.admin))
        ]
        assert await together(authenticator, acme.id, foreign) == ["This token is not valid."] * 2
        # The longest life of a personal token is longer than that of a signed one.
        clock[0] += timedelta(days=365)
        later = await together(authenticator, acme.id, credentials)
        assert [isinstance(found, Viewer) for found in later[:3]] == [True] * 3
        assert later[6] == "This token has expired."
        clock[0] += timedelta(days=100_000)
        assert set(await together(authenticator, acme.id, credentials[:3])) == {"This token has expired."}
    finally:
        await database.close()


async def one_by_one(authenticator: Authenticator, token: str) -> Viewer | str:
    try:
        return await authenticator.viewer(f"Bearer {token}")
    except Unauthenticated as error:
        return str(error)


async def together(authenticator: Authenticator, company_id: int, credentials: list[Credential]) -> list[Any]:
    found = await authenticator.viewers(company_id, credentials)
    return [str(viewer) if isinstance(viewer, Unauthenticated) else viewer for viewer in found]
