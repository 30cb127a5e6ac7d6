"""Is a rendered page shown by its signed link only, and without any power?"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import anyio
import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Dialog, Frame, Page, Route, async_playwright
from sqlalchemy import delete, update

from gateway.previews import Previews, document
from gateway.signing import SignedLinks
from resolvers.context import StoredPreview
from store.database import owner_transaction
from store.models import Preview
from tests.build import NOW, Builder
from tests.client import DOWNLOAD_SECRET, Gateway, running_gateway
from tests.conftest import World
from tests.test_graphiql import ARGUMENTS, CHROMIUM, in_a_browser

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<title>Preview</title><base target="_blank">'
)
# The longest that is waited for what must happen.
PATIENCE = 30
PICTURE = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
RUN = "new Image().src='HIT';document.title='taken';alert(1)"
# HTML that reaches HIT in a page without protection: by itself, or when `#click` is clicked.
ATTACKS = {
    "error-handler": '<img src=x onerror="RUN">',
    "script": "<script>RUN</script>",
    "script-file": '<script src="HIT"></script>',
    "module": '<script type="module" src="HIT"></script>',
    "svg-handler": '<svg onload="RUN"></svg>',
    "svg-script": "<svg><script>RUN</script></svg>",
    "body-handler": '<html><body onload="RUN"></body></html>',
    "toggle-handler": '<details open ontoggle="RUN"><p>x</p></details>',
    "click-handler": '<p id="click" onclick="RUN">x</p>',
    "javascript-link": '<a id="click" href="javascript:RUN">x</a>',
    "javascript-link-here": '<a id="click" target="_self" href="javascript:RUN">x</a>',
    "javascript-frame": '<iframe src="javascript:RUN"></iframe>',
    "frame-of-its-own": '<iframe srcdoc="<script>RUN</script>"></iframe>',
    "frame": '<iframe src="HIT"></iframe>',
    "object": '<object data="HIT"></object>',
    "embed": '<embed src="HIT">',
    "refresh": '<meta http-equiv="refresh" content="0;url=HIT">',
    "form": '<form action="HIT" method="post"><button id="click">x</button></form>',
    "form-here": '<form action="HIT" target="_self"><button id="click">x</button></form>',
    "javascript-form": '<form action="javascript:RUN"><button id="click">x</button></form>',
    "style-sheet": '<link rel="stylesheet" href="HIT">',
    "import": '<style>@import "HIT";</style>',
    "preload": '<link rel="preload" as="script" href="HIT">',
    "video": '<video src="HIT"></video>',
    "ping": '<a id="click" target="_blank" href="ELSEWHERE" ping="HIT">x</a>',
    "base": '<base href="HITS/"><img src="base">',
    "plain-picture": '<img src="HIT">',
    "plain-background": '<p style="background: url(HIT)">x</p>',
}
ATTACKS_ON_THE_TOP = {
    "top-link": '<a id="click" target="_top" href="HIT">x</a>',
    "parent-link": '<a id="click" target="_parent" href="HIT">x</a>',
    "top-script": '<p id="click" onclick="top.location = \'HIT\'">x</p>',
    "top-form": '<form action="HIT" target="_top"><button id="click">x</button></form>',
}


async def stored(world: World, html: str, company_id: int | None = None, ends: datetime = NOW + HOUR) -> UUID:
    """Stores the HTML as it is; by default Acme's."""
    async with owner_transaction(world.url) as connection:
        row = {"company_id": company_id or world.acme.id, "html": html, "expires_at": ends}
        preview_id: UUID = await Builder(connection).add(Preview, **row)
    return preview_id


def link(gateway: Gateway, company_id: int, preview_id: UUID, ends: datetime = NOW + HOUR) -> str:
    links = SignedLinks(DOWNLOAD_SECRET, str(gateway.http.base_url).rstrip("/"), lambda: NOW)
    previews = Previews(links, gateway._database, lambda: NOW)
    return previews.mint(StoredPreview(company_id, preview_id, ends)).url


def check_refused(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    [error] = response.json()["errors"]
    assert error["extensions"] == {"code": code}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"


async def test_a_preview_is_shown(gateway: Gateway, world: World) -> None:
    """The link, without any other sign of who asks, gives the stored page under headers that leave it no power."""
    url = link(gateway, world.acme.id, await stored(world, "<p>Kære Ærø 名</p>"))
    assert re.fullmatch(r".*/previews/[0-9a-f-]{36}\?company=\d+&expires=\d+&signature=[0-9a-f]{64}", url)
    async with httpx.AsyncClient() as anyone:
        response = await anyone.get(url)
    assert response.status_code == 200
    assert response.content.decode() == f"<!doctype html>{HEAD}<p>Kære Ærø 名</p>"
    expected = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "default-src 'none'; img-src https: data:; upgrade-insecure-requests;"
        " style-src 'unsafe-inline'; font-src https:; base-uri 'none'; form-action 'none'; frame-ancestors *;"
        " sandbox allow-popups allow-popups-to-escape-sandbox",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-dns-prefetch-control": "off",
        "x-robots-tag": "noindex",
    }
    assert {name: response.headers[name] for name in expected} == expected
    assert "x-frame-options" not in response.headers


async def test_head(gateway: Gateway, world: World) -> None:
    """HEAD with the same link answers the same headers and nothing else."""
    url = link(gateway, world.acme.id, await stored(world, "<p>Hello</p>"))
    whole, head = await gateway.http.get(url), await gateway.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    of_one_answer = {"date", "x-request-id"}
    assert {name: value for name, value in head.headers.items() if name not in of_one_answer} == {
        name: value for name, value in whole.headers.items() if name not in of_one_answer
    }
    assert (await gateway.http.post(url)).status_code == 405


def test_documents() -> None:
    """A fragment becomes a document; a document keeps its doctype, and so its layout; ours comes before the rest."""
    transitional = '\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "x.dtd">'
    for html, before, after in (
        ("", "<!doctype html>", ""),
        ("<p>Hello</p>", "<!doctype html>", "<p>Hello</p>"),
        ("  <html><title>Mine</title>", "<!doctype html>", "  <html><title>Mine</title>"),
        (f"{transitional}<html><p>Hello", transitional, "<html><p>Hello"),
        ("<p><!doctype html>", "<!doctype html>", "<p><!doctype html>"),
    ):
        assert document(html) == before + HEAD + after


async def test_what_was_not_signed_is_refused(gateway: Gateway, world: World) -> None:
    """A link of another secret, preview, company, end or kind, or with any sign of it changed, shows nothing."""
    preview_id = await stored(world, "<p>Hello</p>")
    url = link(gateway, world.acme.id, preview_id)
    path, _, query = url.partition("?")
    company, expires, signature = query.split("&")
    origin = str(gateway.http.base_url).rstrip("/")
    others = SignedLinks(b"another secret, also of 32 bytes", origin, lambda: NOW)
    file = f"/files/{world.acme.rows['file']}/contacts.csv"
    of_a_file = SignedLinks(DOWNLOAD_SECRET, origin, lambda: NOW).mint(file, world.acme.id, NOW + HOUR).url
    signature_of_a_file = of_a_file.rpartition("&")[2]
    for changed in (
        others.mint(f"/previews/{preview_id}", world.acme.id, NOW + HOUR).url,
        url.replace(str(preview_id), str(await stored(world, "<p>Another</p>"))),
        f"{path}?company={world.globex.id}&{expires}&{signature}",
        f"{path}?{company}&expires=4102444800&{signature}",
        f"{path}?{company}&{expires}&{signature[:-1]}{int(signature[-1] == '0')}",
        f"{path}?{company}&{expires}&{signature.upper()}",
        f"{path}?{company}&{expires}&{signature_of_a_file}",
        f"{path}?{company}&{expires}",
        path,
        url + "0",
        # The other way round: nothing of a preview's link opens a file.
        f"{of_a_file.rpartition('&')[0]}&{signature}",
        of_a_file.replace(f"{origin}{file}", path),
        url.replace(path, f"{origin}{file}"),
    ):
        check_refused(await gateway.http.get(changed), 403, "INVALID_SIGNATURE")
    assert (await gateway.http.get(url)).status_code == 200


async def test_a_signature_is_good_for_its_kind_only(gateway: Gateway, world: World) -> None:
    """A target that is signed, but of another kind than the route it reaches, opens nothing."""
    links = SignedLinks(DOWNLOAD_SECRET, "", lambda: NOW)
    for path in ("/previews/not-an-id", "/previews/00000000-0000-0000-0000-000000000000x", "/files/x/y"):
        check_refused(await gateway.http.get(links.mint(path, world.acme.id, NOW + HOUR).url), 403, "INVALID_SIGNATURE")


async def test_another_companys_preview(gateway: Gateway, world: World) -> None:
    """A signature for one company does not show another company's page."""
    preview_id = await stored(world, "<p>Hello</p>")
    check_refused(await gateway.http.get(link(gateway, world.globex.id, preview_id)), 404, "NOT_FOUND")


async def test_a_preview_ends(world: World) -> None:
    """A page is shown until the second that its link names, and refused from then on."""
    clock = [NOW]
    async with running_gateway(world.url, now=lambda: clock[0]) as gateway:
        url = link(gateway, world.acme.id, await stored(world, "<p>Hello</p>"))
        clock[0] = NOW + HOUR - timedelta(milliseconds=1)
        assert (await gateway.http.get(url)).status_code == 200
        clock[0] = NOW + HOUR
        check_refused(await gateway.http.get(url), 403, "LINK_EXPIRED")


async def test_a_preview_that_is_gone(world: World) -> None:
    """A page that ends sooner than its link, by the gateway's clock, or is swept away, is a clear 404."""
    clock = [NOW]
    async with running_gateway(world.url, now=lambda: clock[0]) as gateway:
        preview_id = await stored(world, "<p>Hello</p>")
        url = link(gateway, world.acme.id, preview_id)
        async with owner_transaction(world.url) as connection:
            sooner = {"expires_at": NOW + timedelta(minutes=1)}
            await connection.execute(update(Preview).where(Preview.id == preview_id).values(sooner))
        assert (await gateway.http.get(url)).status_code == 200
        clock[0] = NOW + timedelta(minutes=1)
        check_refused(await gateway.http.get(url), 404, "NOT_FOUND")
        clock[0] = NOW
        async with owner_transaction(world.url) as connection:
            await connection.execute(delete(Preview).where(Preview.id == preview_id))
        check_refused(await gateway.http.get(url), 404, "NOT_FOUND")


@dataclass
class Elsewhere:
    """Another origin: an HTTP server that keeps what it is asked for, and serves `pages`."""

    origin: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    hits: set[str] = field(default_factory=set)
    heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    def armed(self, name: str, html: str) -> str:
        """The attack, aimed at this server."""
        hits = f"{self.origin}/hits"
        aimed = html.replace("RUN", RUN).replace("HITS", hits).replace("HIT", f"{hits}/{name}")
        return aimed.replace("ELSEWHERE", f"{self.origin}/elsewhere")

    def framed(self, name: str, *urls: str) -> str:
        """The URL of an application on another origin that shows the URLs in frames."""
        frames = "".join(f"<iframe src='{url}'></iframe>" for url in urls)
        self.pages[f"/framed/{name}"] = f"<!doctype html><title>Application</title>{frames}"
        return f"{self.origin.replace('127.0.0.1', 'localhost')}/framed/{name}"

    async def all_hit(self, names: set[str]) -> None:
        with anyio.move_on_after(PATIENCE):
            async with self.heard:
                await self.heard.wait_for(lambda: names <= self.hits)
        assert names - self.hits == set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readline()
        while (await reader.readline()).strip():
            pass
        path = request.split()[1].decode().partition("?")[0] if request else ""
        if path.startswith("/hits/"):
            async with self.heard:
                self.hits.add(path.removeprefix("/hits/"))
                self.heard.notify_all()
        body = self.pages.get(path, "<title>Elsewhere</title>").encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n")
        writer.write(b"Access-Control-Allow-Origin: *\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()


@asynccontextmanager
async def elsewhere() -> AsyncIterator[Elsewhere]:
    found = Elsewhere()
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


async def tried(context: BrowserContext, url: str, *, click: bool) -> Page:
    """Opens the URL and clicks where the page or its frames want it, as a person would."""
    page = await context.new_page()
    await page.goto(url)
    with anyio.fail_after(PATIENCE):
        for frame in shown(page) if click else []:
            for wanted in await frame.locator("#click").all():
                await wanted.evaluate("element => element.click()")
    return page


def shown(page: Page) -> list[Frame]:
    """The frames that an application shows, or the page itself."""
    return page.main_frame.child_frames if "/framed/" in page.url else [page.main_frame]


async def dismiss(dialog: Dialog) -> None:
    await dialog.dismiss()


@in_a_browser
async def test_the_attacks_work_where_nothing_holds_them() -> None:
    """Each attack of these tests reaches the other server from a page without protection."""
    async with elsewhere() as other, chromium() as browser:
        context = await browser.new_context()
        context.on("dialog", dismiss)
        for name, html in {**ATTACKS, **ATTACKS_ON_THE_TOP}.items():
            other.pages[f"/bare/{name}"] = f"<!doctype html>{other.armed(name, html)}"
            url = f"{other.origin}/bare/{name}"
            framed = other.framed(name, url) if name in ATTACKS_ON_THE_TOP else url
            await tried(context, framed, click='id="click"' in html)
        await other.all_hit({*ATTACKS, *ATTACKS_ON_THE_TOP})


@in_a_browser
@pytest.mark.parametrize("in_frames", [False, True])
async def test_a_page_that_was_not_cleaned_can_do_nothing(gateway: Gateway, world: World, in_frames: bool) -> None:
    """No script runs, no form is sent, nothing but secure pictures is asked for, and no window is led elsewhere."""
    dialogs: list[str] = []
    at_once = asyncio.Semaphore(5)

    async def note_dialog(dialog: Dialog) -> None:
        dialogs.append(dialog.page.url if dialog.page else "")
        await dialog.dismiss()

    async def check(context: BrowserContext, url: str, previews: list[str]) -> None:
        async with at_once:
            page = await tried(context, url, click=True)
            await page.wait_for_load_state("networkidle")
        assert [frame.url for frame in shown(page)] == previews
        assert {await frame.title() for frame in shown(page)} == {"Preview"}
        assert (page.url, await page.title()) == (url, "Application" if in_frames else "Preview")

    async with elsewhere() as other, chromium() as browser:
        context = await browser.new_context()
        context.on("dialog", note_dialog)
        attacks = {**ATTACKS, **ATTACKS_ON_THE_TOP} if in_frames else ATTACKS
        previews = [
            link(gateway, world.acme.id, await stored(world, other.armed(name, html))) for name, html in attacks.items()
        ]
        if in_frames:
            await check(context, other.framed("all", *previews), previews)
        else:
            await asyncio.gather(*(check(context, preview, [preview]) for preview in previews))
        assert (other.hits, dialogs) == (set(), [])


@in_a_browser
async def test_pictures_are_shown(gateway: Gateway, world: World) -> None:
    """Pictures are fetched by their whole URL, with https also where it says http; no host learns the link."""
    html = (
        '<meta name="referrer" content="unsafe-url"><base href="https://pictures.test/base/">'
        '<img src="https://pictures.test/a.gif" referrerpolicy="unsafe-url">'
        '<img src="http://pictures.test/b.gif">'
        '<p style="background: url(https://pictures.test/c.gif)">x</p>'
        f'<img src="data:image/gif;base64,{base64.b64encode(PICTURE).decode()}">'
        '<img src="relative.gif">'
    )
    asked: dict[str, str | None] = {}

    async def picture(route: Route) -> None:
        asked[route.request.url] = (await route.request.all_headers()).get("referer")
        await route.fulfill(body=PICTURE, content_type="image/gif")

    url = link(gateway, world.acme.id, await stored(world, html))
    async with chromium() as browser:
        context = await browser.new_context()
        await context.route("*://pictures.test/**", picture)
        page = await context.new_page()
        await page.goto(url, wait_until="networkidle")
        widths = await page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert asked == {f"https://pictures.test/{name}.gif": None for name in "abc"}
    assert widths == [1, 1, 1, 0]


@in_a_browser
@pytest.mark.parametrize("in_a_frame", [False, True])
async def test_a_link_opens_a_tab(gateway: Gateway, world: World, in_a_frame: bool) -> None:
    """A click on a link opens a usual tab, which knows neither the page's URL nor its window, also if it asks."""
    async with elsewhere() as other, chromium() as browser:
        told = "document.title = `told: ${Boolean(window.opener)} ${document.referrer}`"
        other.pages["/elsewhere"] = f"<script>{told}</script>"
        asking = "" if in_a_frame else ' target="_blank" rel="opener" referrerpolicy="unsafe-url"'
        html = other.armed("", f'<a id="click" href="ELSEWHERE"{asking}>x</a>')
        preview = link(gateway, world.acme.id, await stored(world, html))
        page = await browser.new_page()
        await page.goto(other.framed("link", preview) if in_a_frame else preview)
        [frame] = shown(page)
        async with page.context.expect_page() as opened:
            await frame.locator("#click").click()
        tab = await opened.value
        await tab.wait_for_load_state()
        assert (tab.url, await tab.title()) == (f"{other.origin}/elsewhere", "told: false")
        assert frame.url == preview
