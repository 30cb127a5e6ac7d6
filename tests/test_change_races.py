"""What comes of changes that meet?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from store.filters import MAX_PROBLEMS
from store.models import Template
from tests.build import NOW
from tests.campaign_documents import (
    CAMPAIGN_TEST_EMAIL,
    COPY,
    CREATE,
    EMAIL,
    ERRORS,
    SCHEDULE,
    SEND_AT,
    SETTINGS,
    UPDATE,
    Desk,
    broken_rules,
    desk_over,
    step,
)
from tests.conftest import World

pytestmark = pytest.mark.anyio

DELETE_TEMPLATE = f"mutation ($id: ID!) {{ deleteTemplate(id: $id) {{ deletedTemplateId {ERRORS} }} }}"
FILTER = [{"field": "contact.b2c", "operator": "eq", "value": False}]
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    async with desk_over(world) as found:
        yield found


@pytest.fixture
async def other(world: World) -> AsyncIterator[AsyncConnection]:
    """Somebody else at the same tables, in a transaction that the test ends."""
    engine = create_async_engine(world.url)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def until_waiting(desk: Desk, count: int) -> None:
    """Until so many statements wait for a lock."""
    with anyio.fail_after(20):
        while (await desk.run(WAITING))[0][0] < count:  # noqa: ASYNC110 - the database has no event for it
            await anyio.sleep(0.01)


async def test_template_of_a_campaign_that_is_being_approved(desk: Desk, other: AsyncConnection) -> None:
    """A template cannot be deleted by slipping in while a campaign that uses it is approved."""
    template_id = await desk.add(Template, user_id=desk.acme.admin)
    id = await desk.campaign(template_id=template_id, filter=FILTER)
    await desk.run("UPDATE campaigns SET send_at = '2026-12-01' WHERE id = CAST(:id AS uuid)", id=id)
    await other.execute(text("SELECT FROM campaigns WHERE id = CAST(:id AS uuid) FOR UPDATE"), {"id": id})
    approving = asyncio.create_task(desk.payload(step("approveCampaign"), id=id))
    await until_waiting(desk, 1)
    deleting = asyncio.create_task(desk.payload(DELETE_TEMPLATE, id=str(template_id)))
    await until_waiting(desk, 2)
    await other.rollback()
    assert (await approving)["campaign"]["status"] == "PENDING"
    assert [error["code"] for error in (await deleting)["userErrors"]] == ["IN_USE"]
    assert (await desk.run("SELECT template_id FROM campaigns WHERE id = CAST(:id AS uuid)", id=id))[0][
        0
    ] == template_id


async def test_template_that_is_deleted_meanwhile(desk: Desk, other: AsyncConnection) -> None:
    """A campaign that names a template which goes before it is stored is refused, not a fault."""
    template_id = await desk.add(Template, user_id=desk.acme.admin)
    before = await desk.run("SELECT count(*) FROM campaigns")
    await other.execute(text("DELETE FROM templates WHERE id = :id"), {"id": template_id})
    creating = asyncio.create_task(desk.payload(CREATE, input={**EMAIL, "templateId": str(template_id)}))
    await until_waiting(desk, 1)
    await other.commit()
    assert [error["code"] for error in (await creating)["userErrors"]] == ["NOT_FOUND"]
    assert await desk.run("SELECT count(*) FROM campaigns") == before


async def test_one_connection_is_enough(world: World) -> None:
    """An operation gives its connection back before it changes anything: several in one go need no second."""
    async with desk_over(world, database_pool_size=1) as desk:
        made = "campaign { name user { lastName } }"
        answers = await asyncio.gather(
            *(
                desk.ask(
                    f"mutation ($input: CampaignInput!) {{ a: createCampaign(input: $input) {{ {made} }}"
                    f" b: createCampaign(input: $input) {{ {made} }} }}",
                    input=EMAIL,
                )
                for _ in range(5)
            )
        )
        expected = {"campaign": {"name": EMAIL["name"], "user": {"lastName": "Admin"}}}
        assert [answer.data for answer in answers] == [{"a": expected, "b": expected}] * 5


async def test_stopped_campaign_that_is_changed(desk: Desk) -> None:
    """What was stopped stays so when it is changed, until it is given a time or an approval again."""
    for status in ("CANCELED", "FAILED"):
        id = await desk.campaign(approved=True, status=status, filter=FILTER)
        assert (await desk.made(UPDATE, id=id, input={"description": "A typo less"}))["status"] == status
        assert (await desk.made(UPDATE, id=id, input={"sendAt": SEND_AT}))["status"] == "PENDING"


async def test_what_an_update_does_not_touch_may_stay(desk: Desk) -> None:
    """Who may change a campaign need see neither its template nor be in its team, and a missing time stays missing."""
    hidden = await desk.add(Template, user_id=desk.acme.admin, team_id=desk.acme.rows["support"])
    id = await desk.campaign(approved=True, filter=FILTER, template_id=hidden, team_id=desk.acme.rows["support"])
    await desk.made(UPDATE, "manager", id=id, input={"name": "New"})
    again = {"templateId": str(hidden), "teamId": "$support", "sendAt": None}
    assert broken_rules(await desk.payload(UPDATE, "manager", id=id, input=again)) == {
        "NOT_FOUND input.templateId",
        "FORBIDDEN input.teamId",
        "REQUIRED input.sendAt",
    }


async def test_slug_that_a_new_campaign_relies_on(desk: Desk, other: AsyncConnection) -> None:
    """A slug cannot be changed by slipping in before a campaign that was held against it is stored."""
    user = {"id": desk.acme.admin, "company": desk.acme.id}
    # The campaign's author is locked, so that it waits after it was held against the rules.
    await other.execute(text("SELECT FROM users WHERE company_id = :company AND id = :id FOR UPDATE"), user)
    creating = asyncio.create_task(desk.payload(CREATE, input=EMAIL))
    await until_waiting(desk, 1)
    changing = asyncio.create_task(desk.payload(SETTINGS, input={"domainSlug": "other"}))
    await until_waiting(desk, 2)
    await other.rollback()
    assert (await creating)["campaign"]["status"] == "PENDING"
    assert broken_rules(await changing) == {"IN_USE input.domainSlug"}


async def test_copy_of_a_campaign_that_is_deleted_meanwhile(desk: Desk, other: AsyncConnection) -> None:
    """A copy waits for whoever changes the campaign, and is refused when it is gone then."""
    id = await desk.campaign()
    await other.execute(text("DELETE FROM campaigns WHERE id = CAST(:id AS uuid)"), {"id": id})
    copying = asyncio.create_task(desk.payload(COPY, id=id))
    await until_waiting(desk, 1)
    await other.commit()
    assert broken_rules(await copying) == {"NOT_FOUND id"}


async def test_filter_with_more_ids_than_a_statement_has_parameters(desk: Desk) -> None:
    """A filter as large as it may be is answered: ids that are not there are told, up to a hundred."""
    lists = [list(range(start, start + 1_000)) for start in range(1_000_000, 1_040_000, 1_000)]
    matches = [{"match": {"field": "contact.user.id", "operator": "IN", "value": ids}} for ids in lists]
    refused = await desk.payload(CREATE, input={**EMAIL, "filter": {"or": matches}}, dryRun=True)
    assert {error["code"] for error in refused["userErrors"]} == {"NOT_FOUND"}
    assert len(refused["userErrors"]) == MAX_PROBLEMS


async def test_filter_whose_field_is_gone(desk: Desk) -> None:
    """A stored filter that names a field which is gone keeps a campaign from being sent, not from being tried out."""
    gone = [{"field": "contact.custom_fields.gone", "operator": "eq", "value": "x"}]
    id = await desk.campaign(approved=True, status="PENDING", send_at=NOW + timedelta(1), filter=gone)
    refused = await desk.payload(step("sendCampaign"), id=id)
    assert "UNKNOWN_FIELD campaign.filter.0.field" in broken_rules(refused)
    tried = await desk.payload(CAMPAIGN_TEST_EMAIL, id=id, emails=["dev@example.com"])
    assert broken_rules(tried) == set()
    state = "query ($id: ID!) { campaign(id: $id) { audience { count } actions { action allowed } } }"
    shown = await desk.payload(state, id=id)
    assert shown["audience"] is None
    allowed = {state["action"] for state in shown["actions"] if state["allowed"]}
    assert allowed == {"UPDATE", "DELETE", "COPY", "UNAPPROVE", "CANCEL", "PAUSE", "SEND_TEST"}


async def test_time_of_somebody_without_rights(desk: Desk) -> None:
    """Whether one may, and which version one saw, come before what one gave."""
    id = await desk.campaign(author="admin", send_at=NOW + timedelta(1))
    assert broken_rules(await desk.payload(SCHEDULE, "member", id=id, sendAt="soon")) == {"FORBIDDEN id"}
    late = await desk.payload(SCHEDULE, id=id, sendAt="soon", version=7)
    assert broken_rules(late) == {"VERSION_CONFLICT expectedVersion"}
    conflict = await desk.payload(UPDATE, id=id, version=7, input={"name": "New", "sendAt": "soon"})
    assert broken_rules(conflict) == {"VERSION_CONFLICT expectedVersion", "INVALID_TIME input.sendAt"}
    assert [found["field"] for found in conflict["conflicts"]] == [["input", "name"]]
