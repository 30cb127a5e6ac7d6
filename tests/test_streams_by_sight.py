"""Do those share a stream who see the same, whatever their tokens, and is each of them still looked at every time?"""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import delete, insert, text, update

from gateway.auth import hashed, new_token
from store.database import owner_transaction
from store.models import AccessToken, Role, TeamMember, TokenScope, User
from store.signals import Channel
from store.tokens import TokenRecord, store_token
from tests.build import NEVER_EXPIRES, Builder
from tests.client import Gateway
from tests.conftest import World
from tests.post import until
from tests.statements import heard
from tests.streaming import (
    PROGRESS,
    Socket,
    event_stream,
    notification,
    progress,
    running_export,
    signed_in,
    state,
    until_idle,
)

pytestmark = pytest.mark.anyio

BOARD = "subscription { campaignsChanged { campaigns { name } } }"
CAMPAIGN = "subscription ($id: ID!) { campaignChanged(id: $id) { campaign { name } } }"
LINKS = "subscription { exportsProgress { exports { downloadUrl { url } } } }"
OF_MEMBERS = {"Global", "Sent"}
OF_ADMINISTRATORS = {"Global", "Sent", "Team", "Group", "Personal"}


async def token_of(world: World, user_id: int, *scopes: TokenScope) -> str:
    """Another token of the user's; without scopes it has all."""
    token = new_token(secrets.token_hex)
    record = TokenRecord(token.id, hashed(token.secret), "Test", list(scopes or TokenScope), NEVER_EXPIRES)
    async with owner_transaction(world.url) as connection:
        await store_token(connection, user_id, record)
    return str(token)


async def another_administrator(world: World) -> tuple[int, str]:
    """A new user of acme, and a token."""
    async with owner_transaction(world.url) as connection:
        email = f"{secrets.token_hex(8)}@example.com"
        user_id: int = await Builder(connection).add(User, company_id=world.acme.id, email=email)
    return user_id, await token_of(world, user_id)


async def demote(world: World, *user_ids: int, role: Role = Role.MEMBER) -> None:
    """Gives them another role, and signals a change of a campaign that all see."""
    async with owner_transaction(world.url) as connection:
        await connection.execute(update(User).where(User.id.in_(user_ids)).values(role=role))
        await connection.execute(notification(Channel.CAMPAIGNS, world.acme, str(world.acme.rows["global_"])))


async def revoke(world: World, token: str) -> None:
    async with owner_transaction(world.url) as connection:
        of_it = AccessToken.id == token.split("_")[1]
        await connection.execute(update(AccessToken).where(of_it).values(revoked_at=text("now()")))


async def names(socket: Socket) -> set[str]:
    """The campaigns of the next event of BOARD."""
    return {campaign["name"] for campaign in (await socket.event())["campaignsChanged"]["campaigns"]}


@asynccontextmanager
async def every_statement(gateway: Gateway) -> AsyncIterator[list[str]]:
    """All statements while this lasts, also those that tell who is asking."""
    statements: list[str] = []

    with heard(gateway._database, lambda statement, _: statements.append(statement)):
        yield statements


async def statements_of_an_event(gateway: Gateway, world: World, tokens: list[str]) -> list[str]:
    """The statements until each of the tokens' sockets has an event."""
    id = await running_export(world.url, world.acme)
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(signed_in(gateway, token)) for token in tokens]
        for socket in sockets:
            await socket.subscribe(PROGRESS, {"id": id})
        for socket in sockets:
            assert await socket.event() == state(0, 0)
        assert len(gateway.streams) == 1
        async with every_statement(gateway) as statements:
            await progress(world.url, world.acme, id, rows_processed=1)
            for socket in sockets:
                assert await socket.event() == state(1, 1)
    await until_idle(gateway)
    return statements


async def test_administrators_share(gateway: Gateway, world: World) -> None:
    """An event of one export costs as many statements for twenty administrators as for one, rights included."""
    tokens = [(await another_administrator(world))[1] for _ in range(20)]
    one, twenty = [await statements_of_an_event(gateway, world, some) for some in (tokens[:1], tokens)]
    assert len(one) == len(twenty) == 4
    assert sum("access_tokens" in statement for statement in twenty) == 1


async def test_over_both_transports(gateway: Gateway, world: World) -> None:
    """Sockets and server-sent events of different administrators are served by one stream, each to its end."""
    id, (_, token) = await running_export(world.url, world.acme), await another_administrator(world)
    async with (
        signed_in(gateway, token) as socket,
        event_stream(gateway, world.acme.tokens["admin"], PROGRESS, {"id": id}) as events,
    ):
        assert await events.event() == state(0, 0)
        await socket.subscribe(PROGRESS, {"id": id})
        assert await socket.event() == state(0, 0)
        assert len(gateway.streams) == 1
        await progress(world.url, world.acme, id, status="CANCELED")
        assert await socket.event() == await events.event() == state(1, 0, "CANCELED")
        await socket.end_of()
        assert await events.block() == ("complete", "")
    await until_idle(gateway)
    gc.collect()
    assert not gateway.streams._parties
    assert not gateway.streams._documents


async def test_who_never_shares(gateway: Gateway, world: World) -> None:
    """Another company, another role, another person who does not see everything: each has what they see."""
    acme, globex = world.acme, world.globex
    async with AsyncExitStack() as stack:
        found = []
        for company, role in ((acme, "admin"), (globex, "admin"), (acme, "member"), (acme, "manager")):
            socket = await stack.enter_async_context(signed_in(gateway, company.tokens[role]))
            await socket.subscribe("subscription { campaignsChanged { campaigns { id name } } }")
            shown = (await socket.event())["campaignsChanged"]["campaigns"]
            found.append({campaign["id"]: campaign["name"] for campaign in shown})
        assert len(gateway.streams) == 4
    assert not set(found[0]) & set(found[1])
    assert [set(shown.values()) for shown in found] == [
        OF_ADMINISTRATORS,
        OF_ADMINISTRATORS,
        OF_MEMBERS,
        OF_ADMINISTRATORS,
    ]


async def test_tokens_with_other_scopes(gateway: Gateway, world: World) -> None:
    """A token that may not download has a stream of its own, beside another of the same user."""
    less = await token_of(world, world.acme.admin, TokenScope.READ)
    async with signed_in(gateway, world.acme.tokens["admin"]) as full, signed_in(gateway, less) as limited:
        await full.subscribe(LINKS)
        assert any(export["downloadUrl"] for export in (await full.event())["exportsProgress"]["exports"])
        await limited.subscribe(LINKS)
        message = await limited.receive()
        assert {error["extensions"]["code"] for error in message["payload"]["errors"]} == {"FORBIDDEN"}
        assert not any(export["downloadUrl"] for export in message["payload"]["data"]["exportsProgress"]["exports"])
        assert len(gateway.streams) == 2


async def test_two_tokens_of_a_member_share(gateway: Gateway, world: World) -> None:
    """Whoever does not see everything shares with themselves: a phone and a desk are one stream."""
    other = await token_of(world, world.acme.member)
    async with signed_in(gateway, world.acme.tokens["member"]) as desk, signed_in(gateway, other) as phone:
        for socket in (desk, phone):
            await socket.subscribe(BOARD)
            assert await names(socket) == OF_MEMBERS
        assert len(gateway.streams) == 1


@pytest.mark.parametrize("first", [True, False], ids=["the first", "a later one"])
@pytest.mark.parametrize("how", ["revoked", "without READ"])
async def test_a_token_that_ends(gateway: Gateway, world: World, how: str, first: bool) -> None:
    """Of a shared stream only those are ended whose token is not valid, or may not read, any more."""
    id, (_, bad), good = await running_export(world.url, world.acme), await another_administrator(world), ""
    good = world.acme.tokens["admin"]
    async with AsyncExitStack() as stack:
        sockets = {}
        for token in (bad, good) if first else (good, bad):
            sockets[token] = await stack.enter_async_context(signed_in(gateway, token))
            await sockets[token].subscribe(PROGRESS, {"id": id})
            assert await sockets[token].event() == state(0, 0)
        assert len(gateway.streams) == 1
        if how == "revoked":
            await revoke(world, bad)
        else:
            async with owner_transaction(world.url) as connection:
                of_it = AccessToken.id == bad.split("_")[1]
                await connection.execute(update(AccessToken).where(of_it).values(scopes=["EXPORT"]))
        await progress(world.url, world.acme, id, rows_processed=1)
        if how == "revoked":
            assert await sockets[bad].closed() == 4401
        else:
            assert await sockets[bad].refusal() == ["FORBIDDEN"]
        assert await sockets[good].event() == state(1, 1)
        await progress(world.url, world.acme, id, status="CANCELED")
        assert await sockets[good].event() == state(2, 1, "CANCELED")
        await sockets[good].end_of()
    await until_idle(gateway)


async def test_who_sees_less_by_now(gateway: Gateway, world: World) -> None:
    """Who loses a role goes on with what they see then; who has it goes on as before, and they may meet again."""
    user_id, token = await another_administrator(world)
    async with signed_in(gateway, world.acme.tokens["admin"]) as stays, signed_in(gateway, token) as moves:
        for socket in (stays, moves):
            await socket.subscribe(BOARD)
            assert await names(socket) == OF_ADMINISTRATORS
        assert len(gateway.streams) == 1
        await demote(world, user_id)
        assert await names(moves) == OF_MEMBERS
        assert len(gateway.streams) == 2
        await rename(world, "personal", "Secret")
        assert await names(stays) == OF_ADMINISTRATORS - {"Personal"} | {"Secret"}
        await rename(world, "global_", "Known")
        assert await names(moves) == {"Known", "Sent"}
        assert "Known" in await names(stays)
        await demote(world, user_id, role=Role.ADMIN)
        assert await names(moves) == {"Known", "Sent", "Team", "Group", "Secret"}
        await until(lambda: one_stream(gateway))
    await until_idle(gateway)


async def one_stream(gateway: Gateway) -> bool:
    return len(gateway.streams) == 1


async def rename(world: World, which: str, name: str) -> None:
    id = world.acme.rows[which]
    async with owner_transaction(world.url) as connection:
        await connection.execute(text("UPDATE campaigns SET name = :name WHERE id = :id"), {"name": name, "id": id})
        await connection.execute(notification(Channel.CAMPAIGNS, world.acme, str(id)))


async def test_what_is_out_of_sight_is_gone(gateway: Gateway, world: World) -> None:
    """Who was moved and may not see what they watch any more is told as if it were deleted; the others go on."""
    user_id, token = await another_administrator(world)
    id = str(world.acme.rows["personal"])
    async with signed_in(gateway, world.acme.tokens["admin"]) as stays, signed_in(gateway, token) as moves:
        for socket in (stays, moves):
            await socket.subscribe(CAMPAIGN, {"id": id})
            assert await socket.event() == {"campaignChanged": {"campaign": {"name": "Personal"}}}
        assert len(gateway.streams) == 1
        await demote(world, user_id)
        await rename(world, "personal", "Renamed")
        assert await moves.event() == {"campaignChanged": {"campaign": None}}
        await moves.end_of()
        assert await stays.event() == {"campaignChanged": {"campaign": {"name": "Renamed"}}}
        assert len(gateway.streams) == 1


async def test_who_leaves_a_team(gateway: Gateway, world: World) -> None:
    """A change of teams moves as a change of the role does, and the export of a campaign that is hidden is gone."""
    acme = world.acme
    async with owner_transaction(world.url) as connection:
        await connection.execute(
            insert(TeamMember).values(company_id=acme.id, team_id=acme.rows["sales"], user_id=acme.member)
        )
    id = await running_export(world.url, acme)
    async with owner_transaction(world.url) as connection:
        changed = text("UPDATE exports SET kind = 'CAMPAIGN_RECIPIENTS', campaign_id = :campaign WHERE id = :id")
        await connection.execute(changed, {"campaign": acme.rows["team"], "id": id})
    async with signed_in(gateway, acme.tokens["member"]) as member, signed_in(gateway, acme.tokens["manager"]) as other:
        await member.subscribe(BOARD, id="board")
        await member.event("board")
        for socket in (member, other):
            await socket.subscribe(PROGRESS, {"id": id})
            assert await socket.event() == state(0, 0)
        async with owner_transaction(world.url) as connection:
            await connection.execute(delete(TeamMember).where(TeamMember.user_id == acme.member))
        await progress(world.url, acme, id, rows_processed=1)
        assert await other.event() == state(1, 1)
        await rename(world, "team", "Renamed")
        # In either order: the board may have been read by the clock.
        told = {message["id"]: message for message in [await member.receive(), await member.receive()]}
        assert [error["extensions"]["code"] for error in told["1"]["payload"]] == ["NOT_FOUND"]
        shown = told["board"]["payload"]["data"]["campaignsChanged"]["campaigns"]
        assert {campaign["name"] for campaign in shown} == OF_MEMBERS


@pytest.mark.parametrize("change", ["revoked", "demoted"])
async def test_what_was_seen_at_the_hello_counts_for_nothing(gateway: Gateway, world: World, change: str) -> None:
    """Who sees less, or nothing, since their hello is told nothing of the stream that they would have shared."""
    user_id, token = await another_administrator(world)
    async with signed_in(gateway, world.acme.tokens["admin"]) as first, signed_in(gateway, token) as second:
        await first.subscribe(BOARD)
        await first.event()
        if change == "revoked":
            await revoke(world, token)
            await second.subscribe(BOARD)
            assert await second.closed() == 4401
        else:
            await demote(world, user_id)
            await second.subscribe(BOARD)
            assert await names(second) == OF_MEMBERS


async def test_joining_costs_a_reading_alone(gateway: Gateway, world: World) -> None:
    """Who joins by another token, with variables that nobody declared, is not read before the stream reads for them."""
    id, (_, token) = await running_export(world.url, world.acme), await another_administrator(world)
    async with signed_in(gateway, world.acme.tokens["admin"]) as first, signed_in(gateway, token) as second:
        await first.subscribe(PROGRESS, {"id": id})
        await first.event()
        async with every_statement(gateway) as statements:
            await second.subscribe(PROGRESS, {"id": id, "unused": secrets.token_hex()})
            assert await second.event() == state(0, 0)
        assert len(gateway.streams) == 1
        assert len(statements) == 4


async def test_no_room_to_move(gateway: Gateway, world: World) -> None:
    """Who is moved takes the room of what they leave; for whom there is none is refused, and the others go on."""
    gateway.streams._most = 1
    (one, first), (two, second) = [await another_administrator(world) for _ in range(2)]
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(signed_in(gateway, token))
            for token in (first, second, world.acme.tokens["admin"])
        ]
        for socket in sockets:
            await socket.subscribe(BOARD)
            assert await names(socket) == OF_ADMINISTRATORS
        await demote(world, one, two)
        assert await names(sockets[0]) == OF_MEMBERS
        assert await sockets[1].refusal() == ["TOO_MANY_OPERATIONS"]
        await rename(world, "personal", "Secret")
        assert "Secret" in await names(sockets[2])
    await until_idle(gateway)


async def test_an_outage_while_moving(gateway: Gateway, world: World) -> None:
    """Who has had an event does not hear of an outage, though they were just moved to a stream that has told none."""
    user_id, token = await another_administrator(world)
    failures = []

    def fail(statement: str, _parameters: object) -> None:
        if "FROM campaigns" in statement:
            failures.append(statement)
            raise ConnectionResetError

    async def failed() -> bool:
        return len(failures) > 1

    async with signed_in(gateway, token) as socket:
        await socket.subscribe(BOARD)
        assert await names(socket) == OF_ADMINISTRATORS
        with heard(gateway._database, fail):
            await demote(world, user_id)
            await until(failed)
        assert await names(socket) == OF_MEMBERS
        assert len(gateway.streams) == 1
        assert sum("Stream.run" in repr(task) for task in asyncio.all_tasks()) == 1
