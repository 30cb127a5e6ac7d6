"""Does whoever watches a list, or campaigns, see every change of what they may see, and nothing else?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from graphql import OperationDefinitionNode, parse

from gateway.limits import Limits, measure
from resolvers.context import StreamPace
from schema.build import build_schema
from store.database import owner_transaction
from store.models import Campaign, Template
from store.signals import Channel
from tests.build import NOW, Builder
from tests.campaign_documents import COPY, CREATE, DELETE, EMAIL, SCHEDULE, SEND_AT, UPDATE, step
from tests.conftest import World
from tests.watching import (
    CAMPAIGN,
    CAMPAIGNS,
    EXPORTS,
    NEVER,
    PATIENCE,
    SOON,
    Stand,
    after_one_reading,
    running_export,
    stand_of,
)

pytestmark = pytest.mark.anyio

DELETE_TEMPLATE = "mutation ($id: ID!) { deleteTemplate(id: $id) { deletedTemplateId userErrors { code } } }"
# The campaigns of the small world, as its administrator sees them.
WORLD_CAMPAIGNS = ["Sent", "Personal", "Group", "Team", "Global"]


@pytest.fixture
async def stand(world: World) -> AsyncIterator[Stand]:
    async with stand_of(world) as found:
        yield found


async def test_a_board_of_exports(stand: Stand) -> None:
    """A board shows the newest exports, and shows them again whenever one of them changes, comes or goes."""
    acme = stand.world.acme
    id = await running_export(stand, created_at=NOW.replace(year=2027))
    async with stand.watching(EXPORTS, acme.tokens["admin"], {"first": 2}) as watched:
        failed, mine = {"status": "FAILED", "rowsProcessed": 0}, {"status": "RUNNING", "rowsProcessed": 0}
        assert await watched.event() == {"exports": [mine, failed]}
        await stand.progress(acme, id, rows_processed=7)
        assert await watched.event() == {"exports": [{"status": "RUNNING", "rowsProcessed": 7}, failed]}
        newest = await running_export(stand, status="PENDING", created_at=NOW.replace(year=2028))
        await stand.told(acme, newest)
        waiting = {"status": "PENDING", "rowsProcessed": 0}
        assert await watched.event() == {"exports": [waiting, {"status": "RUNNING", "rowsProcessed": 7}]}
        await stand.sql("DELETE FROM exports WHERE id = :id", id=id)
        await stand.told(acme, id)
        assert await watched.event() == {"exports": [waiting, failed]}


async def test_a_board_with_a_filter(stand: Stand) -> None:
    """A board keeps to its filter: what comes to fit joins it, what does not fit is no event."""
    acme = stand.world.acme
    id = await running_export(stand)
    other = await running_export(stand, kind="MAILING")
    wanted = {"filter": {"statusIn": ["CANCELED"], "kindIn": ["CONTACTS"], "requestedByIdIn": [str(acme.member)]}}
    async with stand.watching(EXPORTS, acme.tokens["admin"], wanted) as watched:
        assert await watched.event() == {"exports": []}
        await stand.progress(acme, other, status="CANCELED")

        async def change() -> None:
            await stand.progress(acme, id, status="CANCELED")

        expected = {"exports": [{"status": "CANCELED", "rowsProcessed": 0}]}
        assert await after_one_reading(stand, watched, change) == expected


async def test_the_size_of_a_board(stand: Stand) -> None:
    """A board shows 1 to 50 rows; another number is refused."""
    for document in (EXPORTS, CAMPAIGNS):
        for first in (0, -1, 51):
            async with stand.watching(document, stand.world.acme.tokens["admin"], {"first": first}) as watched:
                assert await watched.codes() == ["BAD_USER_INPUT"]
                assert await watched.is_over()


async def test_a_board_without_a_size(stand: Stand) -> None:
    """A board shows ten rows, whether the size is left out or null."""
    for _ in range(11):
        await running_export(stand)
    for variables in ({}, {"first": None}):
        async with stand.watching(EXPORTS, stand.world.acme.tokens["admin"], variables) as watched:
            assert len((await watched.event())["exports"]) == 10


async def test_a_board_is_not_read_all_the_time(world: World) -> None:
    """However many signals come, there is some time between two readings of a board."""
    loop, spacing = asyncio.get_running_loop(), 0.2
    async with stand_of(world, StreamPace(reread=NEVER, spacing=spacing)) as stand:
        id = await running_export(stand)
        async with stand.watching(EXPORTS, world.acme.tokens["admin"]) as watched:
            await watched.event()
            before = loop.time()
            for rows in range(1, 4):
                await stand.progress(world.acme, id, rows_processed=rows)
                await watched.event()
            assert loop.time() - before >= 3 * spacing - 0.01


async def test_other_companies_hear_nothing(stand: Stand) -> None:
    """A board is read for signals of its own company alone, though the other company's rows have changed."""
    acme, globex = stand.world.acme, stand.world.globex
    id = await running_export(stand, created_at=NOW.replace(year=2027))
    async with stand.watching(EXPORTS, acme.tokens["admin"], {"first": 1}) as watched:
        await watched.event()
        with stand.signals.hearing(Channel.EXPORTS, globex.id) as theirs:
            async with stand.counting() as statements:
                event = asyncio.create_task(watched.event())
                await stand.progress(globex, globex.rows["export"], rows_processed=9)
                await theirs.wait(PATIENCE)
                await stand.progress(acme, id, rows_processed=1)
                assert await event == {"exports": [{"status": "RUNNING", "rowsProcessed": 1}]}
        assert len(statements) == 1


async def test_every_change_of_a_campaign_is_told(stand: Stand) -> None:
    """Whatever a mutation does to a campaign, whoever watches it or the list of all sees it."""
    token = stand.world.acme.tokens["admin"]
    document = "subscription { campaignsChanged(first: 2) { campaigns { name version } } }"
    async with stand.watching(document, token) as board:

        async def names() -> list[str]:
            return [campaign["name"] for campaign in (await board.event())["campaigns"]]

        assert await names() == WORLD_CAMPAIGNS[:2]
        await stand.sql("UPDATE campaigns SET created_at = created_at - interval '10 years'")
        made = (await stand.change(CREATE, token, {"input": EMAIL}))["campaign"]
        assert await names() == ["Spring", "Sent"]
        await stand.change(COPY, token, {"id": made["id"]})
        assert await names() == ["Spring - copy", "Spring"]
        async with stand.watching(CAMPAIGN, token, {"id": made["id"]}) as watched:
            assert await watched.event() == {"campaign": {"name": "Spring", "version": made["version"]}}
            changes: list[tuple[str, dict[str, object]]] = [
                (UPDATE, {"input": {"name": "Summer"}}),
                (step("unapproveCampaign"), {}),
                (step("approveCampaign"), {}),
                (SCHEDULE, {"sendAt": SEND_AT}),
                (step("pauseCampaign"), {}),
                (step("resumeCampaign"), {}),
                (step("cancelCampaign"), {}),
                (step("sendCampaign"), {}),
                (step("cancelCampaign"), {}),
            ]
            for number, (document, variables) in enumerate(changes, start=1):
                await stand.change(document, token, {"id": made["id"], **variables})
                expected = {"name": "Summer", "version": made["version"] + number}
                assert await watched.event() == {"campaign": expected}, document
                await board.event()
            await stand.change(DELETE, token, {"id": made["id"]})
            assert await watched.event() == {"campaign": None}
            assert await watched.is_over()
        assert await names() == ["Spring - copy", "Sent"]


async def test_campaigns_that_lose_their_template(stand: Stand) -> None:
    """Whoever watches a campaign sees that its template was deleted."""
    acme = stand.world.acme
    async with owner_transaction(stand.world.url) as connection:
        build, own = Builder(connection), {"company_id": acme.id, "user_id": acme.admin}
        template = await build.add(Template, **own)
        ids = [await build.add(Campaign, **own, template_id=template) for _ in range(2)]
    document = "subscription ($id: ID!) { campaignChanged(id: $id) { campaign { template { title } } } }"
    for_one, for_another = ({"id": str(id)} for id in ids)
    async with (
        stand.watching(document, acme.tokens["admin"], for_one) as one,
        stand.watching(document, acme.tokens["admin"], for_another) as another,
    ):
        for watched in (one, another):
            assert await watched.event() == {"campaign": {"template": {"title": "Plain"}}}
        await stand.change(DELETE_TEMPLATE, acme.tokens["admin"], {"id": str(template)})
        for watched in (one, another):
            assert await watched.event() == {"campaign": {"template": None}}


@pytest.mark.parametrize("document", [CAMPAIGN, CAMPAIGNS])
async def test_campaigns_that_may_not_be_seen_any_more(world: World, document: str) -> None:
    """Who loses the right to see campaigns sees them no more, without a signal: one ends, and a list loses some."""
    acme = world.acme
    async with stand_of(world, StreamPace(reread=SOON, spacing=0)) as stand:
        variables = {"id": str(acme.rows["personal"])} if document is CAMPAIGN else {}
        async with stand.watching(document, acme.tokens["admin"], variables) as watched:
            seen = await watched.event()
            assert seen in (
                {"campaign": {"name": "Personal", "version": 1}},
                {"campaigns": [{"name": name} for name in WORLD_CAMPAIGNS]},
            )
            await stand.sql("UPDATE users SET role = 'MEMBER' WHERE id = :id", id=acme.admin)
            # Campaigns of their own they still see.
            left = {"campaigns": [{"name": name} for name in ("Sent", "Group", "Team", "Global")]}
            assert await watched.event() == ({"campaign": None} if document is CAMPAIGN else left)
            if document is CAMPAIGN:
                assert await watched.is_over()


@pytest.mark.parametrize(
    ("document", "cost"),
    [
        ("subscription { exportProgress(id: 1) { sequence export { kind status } } }", 5),
        # The field, and ten or fifty of (requestedBy, lastName).
        ("subscription { exportsProgress { exports { requestedBy { lastName } } } }", 1 + 10 * 2),
        ("subscription { exportsProgress(first: 50) { exports { requestedBy { lastName } } } }", 1 + 50 * 2),
        ("subscription { notificationsChanged(first: 50) { notifications { campaign { name } } } }", 1 + 50 * 2),
        ("subscription ($n: Int) { campaignsChanged(first: $n) { campaigns { name user { lastName } } } }", 1 + 7 * 3),
        ("{ exports(first: 5) { nodes { campaign { exports(first: 4) { nodes { kind } } } } } }", 1 + 5 * (1 + 1 + 4)),
    ],
)
def test_what_an_event_costs(document: str, cost: int) -> None:
    """Subscriptions are measured like queries: an event's list counts as often as it has rows."""
    parsed = parse(document)
    (operation,) = parsed.definitions
    assert isinstance(operation, OperationDefinitionNode)
    schema = build_schema()._schema
    assert measure(schema, parsed, operation, {"n": 7}, Limits()).cost == cost
