"""Do unsubscribe links do what they say, only when a person or their mail program says so, and nothing else?"""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.async_api import async_playwright
from sqlalchemy import delete, update

from gateway.recipient_tokens import RecipientTokens
from gateway.return_paths import ReturnPaths
from gateway.unsubscribe import unsubscribe_links
from store.database import owner_transaction
from store.models import Campaign, Company, Contact
from tests.client import DOWNLOAD_SECRET, Gateway
from tests.conftest import World
from tests.fingerprints import witness
from tests.recipients import CHANNELS, Known, Sent, sent
from tests.test_graphiql import ARGUMENTS, CHROMIUM, in_a_browser

pytestmark = pytest.mark.anyio

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
UNSUBSCRIBED = ("UNSUBSCRIBED", None)


def link(gateway: Gateway, recipient: Sent) -> str:
    origin = str(gateway.http.base_url).rstrip("/")
    return unsubscribe_links(DOWNLOAD_SECRET, origin)(recipient.company_id, recipient.recipient_id)


def check_page(response: httpx.Response, status: int, text: str, form_action: str = "'none'; ") -> None:
    """A page without any power but that of its button."""
    assert response.status_code == status
    assert text in response.text
    assert re.search(r"<(script|style|link|img|iframe|a)\b|http", response.text) is None
    policy = f"default-src 'none'; base-uri 'none'; form-action {form_action}frame-ancestors 'none'; sandbox"
    assert response.headers["content-security-policy"].removesuffix(" allow-forms") == policy
    assert ("allow-forms" in response.headers["content-security-policy"]) == ("<form" in response.text)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert (response.headers["x-content-type-options"], response.headers["x-robots-tag"]) == ("nosniff", "noindex")
    assert not response.headers.keys() & {"location", "set-cookie"}


async def test_the_unsubscribe_link_of_test_mails(gateway: Gateway) -> None:
    """Neither a visit nor a mail program's one click (RFC 8058) changes anything, and both are told so."""
    async with gateway.counting() as statements:
        visit = await gateway.http.get("/u/test?contact=1")
        click = await gateway.http.post("/u/test", data=ONE_CLICK)
        head = await gateway.http.head("/u/test")
    assert statements == []
    check_page(visit, 200, "nothing is changed")
    check_page(click, 200, "nothing is changed")
    assert (click.content, head.status_code, head.content) == (visit.content, 200, b"")
    assert (await gateway.http.delete("/u/test")).status_code == 405


async def test_links(world: World) -> None:
    """The same recipient always has the same link, another one another; nothing of it has to be escaped."""
    links = unsubscribe_links(DOWNLOAD_SECRET, "https://example.com")
    found = links(1, 2)
    assert re.fullmatch(r"https://example\.com/u/[A-Za-z0-9_-]{1,64}", found)
    others = (links(2, 1), links(1, 3), unsubscribe_links(b"another" * 6, "https://example.com")(1, 2))
    assert unsubscribe_links(DOWNLOAD_SECRET, "https://example.com")(1, 2) == found
    assert len({found, *others}) == 4
    assert re.fullmatch(r".*/u/[A-Za-z0-9_-]{1,64}", links(2**31 - 1, 2**63 - 1))


async def test_a_visit_changes_nothing(gateway: Gateway, world: World) -> None:
    """GET and HEAD, as often as programs please, show a page that names the company and not the contact."""
    one = await sent(world)
    async with witness(world.url) as changes:
        for _ in range(2):
            visit, head = await gateway.http.get(link(gateway, one)), await gateway.http.head(link(gateway, one))
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-security-policy"] == visit.headers["content-security-policy"]
        assert await changes.changed() == set()
    check_page(visit, 200, "Do you want no more e-mails from Acme?", "'self'; ")
    assert '<form method="post"><button type="submit">' in visit.text
    assert not re.search("Maegan|Mertz|example.com", visit.text, re.IGNORECASE)


@pytest.mark.parametrize("body", [{"data": ONE_CLICK}, {"files": {"List-Unsubscribe": (None, "One-Click")}}, {}])
async def test_a_click(gateway: Gateway, world: World, body: dict[str, object]) -> None:
    """One POST without cookies or a token, the form's or a mail program's in either encoding, withdraws the consent."""
    one, other = await sent(world), await sent(world)
    async with httpx.AsyncClient() as anyone:
        first = await anyone.post(link(gateway, one), **body)  # type: ignore[arg-type]  # each is a keyword of httpx
        async with witness(world.url) as changes:
            second = await anyone.post(link(gateway, one), data=ONE_CLICK)
            assert await changes.changed() == set()
    check_page(first, 200, "Acme will send you no more e-mails.")
    assert second.content == first.content
    assert await one.known() == Known("UNSUBSCRIBED", ["letter", "call"], [UNSUBSCRIBED], {})
    assert await other.known() == Known("SENT", list(CHANNELS.values()), [], {})


@pytest.mark.parametrize(("type", "what"), [("LETTER", "letters"), ("TELEPHONE", "calls")])
async def test_other_channels(gateway: Gateway, world: World, type: str, what: str) -> None:
    """The page speaks of what the campaign sends, and that is what ends."""
    one = await sent(world, type=type)
    check_page(await gateway.http.get(link(gateway, one)), 200, f"no more {what} from Acme?", "'self'; ")
    check_page(await gateway.http.post(link(gateway, one)), 200, f"no more {what}.")
    assert (await one.known()).consents == [each for each in CHANNELS.values() if each != CHANNELS[type]]


async def test_a_contact_that_is_gone(gateway: Gateway, world: World) -> None:
    """The pages are the same as if the contact were there."""
    one = await sent(world)
    visit = await gateway.http.get(link(gateway, one))
    click = await gateway.http.post(link(gateway, await sent(world)))
    async with owner_transaction(world.url) as connection:
        await connection.execute(delete(Contact).where(Contact.id == one.contact_id))
    for _ in range(2):
        assert (await gateway.http.get(link(gateway, one))).content == visit.content
        assert (await gateway.http.post(link(gateway, one))).content == click.content


async def test_the_name_of_a_company_is_text(gateway: Gateway, world: World) -> None:
    """Whatever a company is called, the page shows it as it is written."""
    one = await sent(world)
    async with owner_transaction(world.url) as connection:
        name = "<script>alert(1)</script> & 'Søn'"
        await connection.execute(update(Company).where(Company.id == world.acme.id).values(name=name))
    shown = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#x27;Søn&#x27;"
    check_page(await gateway.http.get(link(gateway, one)), 200, shown, "'self'; ")
    check_page(await gateway.http.post(link(gateway, one)), 200, shown)


def altered(token: str) -> list[str]:
    """The token with each of its characters changed, cut short, grown, and written in other ways."""
    changed = [
        token[:place] + ("a" if token[place] != "a" else "b") + token[place + 1 :] for place in range(len(token))
    ]
    cut = [token[:length] for length in range(len(token))]
    return [
        *changed,
        *cut,
        token + "a",
        token * 2,
        token.upper(),
        token.title(),
        f"{token}/",
        f"/{token}",
        f"{token}%00",
    ]


async def test_links_that_are_not_ours(gateway: Gateway, world: World) -> None:
    """A token that is altered, foreign, of another kind or of nobody gets one and the same 404, and changes nothing."""
    one, theirs = await sent(world), await sent(world, company=world.globex)
    token = link(gateway, one).rpartition("/")[2]
    own, foreign = (one.company_id, one.recipient_id), (one.company_id, theirs.recipient_id)
    tokens = RecipientTokens(DOWNLOAD_SECRET, "unsubscribe")
    wrong = [
        *altered(token),
        RecipientTokens(b"another secret, also of 32 bytes", "unsubscribe").made(*own),
        ReturnPaths(DOWNLOAD_SECRET)(*own, "example.com").partition("@")[0].removeprefix("bounce-"),
        # Signed, of a recipient that the company has not, and of a company that is not there.
        tokens.made(*foreign),
        tokens.made(one.company_id, 2**62),
        tokens.made(2**31 - 1, one.recipient_id),
        "0" * 40, "Ä" * 40, "é%FF", "..%2f..", "a" * 5_000,
    ]  # fmt: skip
    async with witness(world.url) as changes:
        answers = [await gateway.http.request(method, f"/u/{each}") for each in wrong for method in ("GET", "POST")]
        assert await changes.changed() == set()
    check_page(answers[0], 404, "This link does not work")
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert (await gateway.http.get(f"/u/{token}")).status_code == 200


async def test_nothing_else_of_a_request_counts(gateway: Gateway, world: World) -> None:
    """No parameter leads anywhere, other methods do nothing, and a body that is too large is not read to its end."""
    one = await sent(world)
    url = link(gateway, one)
    visit = await gateway.http.get(url)
    async with witness(world.url) as changes:
        asked = await gateway.http.get(f"{url}?next=https://evil.example/&redirect=//evil.example&url=javascript:1")
        assert (asked.status_code, asked.content) == (200, visit.content)
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await gateway.http.request(method, url)).status_code == 405
        check_page(await gateway.http.post(url, content=b"x" * 10_001), 413, "at most 10000 bytes")
        assert await changes.changed() == set()
    check_page(await gateway.http.post(url, content=b"\xff" * 10_000), 200, "Acme will send you no more e-mails.")


async def test_a_campaign_that_is_gone(gateway: Gateway, world: World) -> None:
    """Without its recipient a link leads to nobody."""
    one = await sent(world)
    async with owner_transaction(world.url) as connection:
        await connection.execute(delete(Campaign).where(Campaign.id == one.campaign_id))
    check_page(await gateway.http.post(link(gateway, one)), 404, "This link does not work")


async def test_tokens_do_not_stand_in_the_log(gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the log can unsubscribe nobody."""
    lines: list[dict[str, object]] = []

    class Log:
        def info(self, event: str, **values: object) -> None:
            lines.append({"event": event, **values})

    monkeypatch.setattr("gateway.requests.log", Log())
    one = await sent(world)
    await gateway.http.get(link(gateway, one))
    await gateway.http.get("/healthz")
    assert [line["path"] for line in lines] == ["/u/…", "/healthz"]


@in_a_browser
async def test_in_a_browser(gateway: Gateway, world: World) -> None:
    """A person who clicks the button has unsubscribed: the page's policy lets its form be sent."""
    one = await sent(world)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        await page.goto(link(gateway, one))
        await page.get_by_role("button", name="Unsubscribe").click()
        await page.wait_for_url(link(gateway, one))
        await page.get_by_role("heading", name="You are unsubscribed").wait_for()
        await browser.close()
    assert (await one.known()).status == "UNSUBSCRIBED"
