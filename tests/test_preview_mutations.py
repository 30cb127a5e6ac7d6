"""What do previews of campaigns and templates show, and to whom?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from content.rendering import RenderedMessage
from resolvers.changes import previews
from resolvers.changes.previews import MOST_PREVIEWS
from resolvers.changes.rendering import Message, rendered
from store.models import Contact, Preview, Template
from tests.build import NEVER_EXPIRES
from tests.campaign_documents import EMAIL, ERRORS, Desk, desk_over
from tests.conftest import World

pytestmark = pytest.mark.anyio

CAMPAIGN = f"""
mutation ($source: PreviewedCampaign!, $contactId: ID) {{
  previewCampaign(source: $source, contactId: $contactId) {{ preview {{ url expiresAt }} {ERRORS} }}
}}
"""
TEMPLATE = f"""
mutation ($id: ID!, $subject: String, $content: String, $contactId: ID) {{
  previewTemplate(id: $id, subject: $subject, content: $content, contactId: $contactId) {{
    preview {{ url expiresAt }} {ERRORS}
  }}
}}
"""
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    async with desk_over(world) as found:
        yield found


async def page_of(desk: Desk, payload: dict[str, Any]) -> str:
    """The page behind the link of a payload, which has no errors."""
    assert payload["userErrors"] == []
    answer = await desk.gateway.http.get(payload["preview"]["url"])
    assert answer.status_code == 200
    assert "sandbox" in answer.headers["content-security-policy"]
    return answer.text


def wrong(payload: dict[str, Any]) -> set[tuple[str, str]]:
    return {(error["code"], ".".join(error["field"])) for error in payload["userErrors"]}


async def test_saved_campaign_in_its_template(desk: Desk) -> None:
    """A saved campaign is shown in its template, with the contact's values, escaped."""
    contact_id = await desk.add(Contact, first_name=HOSTILE)
    template_id = await desk.add(
        Template, user_id=desk.acme.admin, content="<h1>{{subject}}</h1><div>{{content}}</div>"
    )
    id = await desk.campaign(
        template_id=template_id, message_subject="Dear {{contact.first_name}}", message_content="<p>Come.</p>"
    )
    page = await page_of(desk, await desk.payload(CAMPAIGN, source={"id": id}, contactId=str(contact_id)))
    assert "<h1>Dear &lt;img src=x onerror=alert(1)&gt;</h1><div><p>Come.</p></div>" in page
    assert HOSTILE not in page


async def test_unsaved_campaign_that_is_incomplete(desk: Desk) -> None:
    """An input needs neither sender nor filter nor time to be looked at; what is wrong with what there is, is said."""
    incomplete = {"name": "", "type": "EMAIL", "message": {"content": "<p onclick='x()'>Hi {{contact.first_name}}</p>"}}
    page = await page_of(desk, await desk.payload(CAMPAIGN, source={"input": incomplete}, contactId="$contact"))
    assert "<p>Hi Maegan</p>" in page
    bad = {**incomplete, "message": {"content": "{{nope}}"}, "templateId": "$letter_template"}
    assert wrong(await desk.payload(CAMPAIGN, source={"input": bad}, contactId="$their_contact")) == {
        ("NOT_FOUND", "contactId"),
        ("TEMPLATE_TYPE_MISMATCH", "source.input.templateId"),
        ("UNKNOWN_MERGE_FIELD", "source.input.message.content"),
    }


async def test_template_with_examples_and_with_a_message(desk: Desk) -> None:
    """A template is shown with the message that is given, or with examples."""
    shown = await page_of(desk, await desk.payload(TEMPLATE, id="$email_template"))
    assert "The content of the campaign stands here." in shown
    shown = await page_of(desk, await desk.payload(TEMPLATE, id="$email_template", content="<p>Mine</p>"))
    assert "<p>Mine</p>" in shown
    assert wrong(await desk.payload(TEMPLATE, id="$email_template", content="{{7*7}}")) == {
        ("UNKNOWN_MERGE_FIELD", "content")
    }


async def test_of_others(desk: Desk) -> None:
    """Campaigns and templates of another company, or that the viewer does not see, are not found."""
    for role, source in (("admin", "$their_sent"), ("member", "$personal")):
        assert wrong(await desk.payload(CAMPAIGN, role, source={"id": source})) == {("NOT_FOUND", "source.id")}
    assert wrong(await desk.payload(TEMPLATE, id="$their_template")) == {("NOT_FOUND", "id")}


async def test_a_token_that_reads_may_look(desk: Desk) -> None:
    """Looking takes no more than reading."""
    reading = await desk.token("member", "READ")
    await page_of(desk, await desk.payload(CAMPAIGN, reading, source={"id": "$sent"}))


async def test_no_more_than_so_many(desk: Desk) -> None:
    """A company's previews are bounded; expired ones do not count."""
    for _ in range(MOST_PREVIEWS - 1):
        await desk.add(Preview, html="", expires_at=NEVER_EXPIRES)
    assert wrong(await desk.payload(TEMPLATE, id="$email_template")) == {("RATE_LIMITED", "")}
    await desk.run("UPDATE previews SET expires_at = '2020-01-01'")
    assert wrong(await desk.payload(TEMPLATE, id="$email_template")) == set()


async def test_others_are_served_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering holds neither a connection nor the campaign: with a pool of two, six slow pages stop nobody."""
    goes_on, waiting = asyncio.Event(), []

    async def slowly(message: Message) -> RenderedMessage:
        waiting.append(message)
        await goes_on.wait()
        return await rendered(message)

    monkeypatch.setattr(previews, "rendered", slowly)
    async with desk_over(world, database_pool_size=2) as desk:
        id = await desk.campaign()
        slow = [asyncio.create_task(desk.payload(CAMPAIGN, source={"id": id})) for _ in range(6)]
        with anyio.fail_after(20):
            while len(waiting) < len(slow):  # noqa: ASYNC110 - there is no event for it
                await anyio.sleep(0.01)
        rename = 'mutation ($id: ID!) { updateCampaign(id: $id, input: {name: "New"}) { userErrors { code } } }'
        assert await desk.payload(rename, id=id) == {"userErrors": []}
        goes_on.set()
        for payload in await asyncio.gather(*slow):
            assert payload["userErrors"] == []


async def test_what_entities_spell_is_no_merge_field(desk: Desk) -> None:
    """The marks that stand for fields while a page is made cannot be written: a page is as long as its source."""
    content = "{{contact.title|" + "d" * 1000 + "}}" + "&#57344;0&#57345;" * 1000
    page = await page_of(
        desk, await desk.payload(CAMPAIGN, source={"input": {**EMAIL, "message": {"content": content}}})
    )
    assert page.count("d" * 1000) == 1
