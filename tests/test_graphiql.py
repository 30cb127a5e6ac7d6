"""Does GraphiQL work in a browser, offline and under its content security policy?"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from playwright.async_api import ConsoleMessage, Page, Request, async_playwright, expect

from gateway.pages import CONTENT_SECURITY_POLICY
from tests.client import Gateway
from tests.conftest import World

ROOT = Path(__file__).parent.parent
BUILT = ROOT / "gateway" / "pages" / "graphiql"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def test_built_page_is_fresh() -> None:
    """The committed page was built from the sources that stand beside it; `make web` renews it."""
    web = ROOT / "web"
    sources = [web / "package-lock.json", web / "vite.config.ts", web / "tsconfig.json"]
    sources += [path for path in (web / "graphiql").rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted(sources, key=lambda path: path.relative_to(ROOT).as_posix()):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    assert (BUILT / "SOURCES.sha256").read_text().strip() == digest.hexdigest()


@pytest.mark.anyio
async def test_page_and_assets_are_served_safely(gateway: Gateway) -> None:
    """The page has a strict policy and is asked for anew; its assets may be kept for ever; nothing else is served."""
    page = await gateway.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert page.headers["cache-control"] == "no-cache"
    script = next(path.name for path in (BUILT / "assets").glob("*.js"))
    asset = await gateway.http.get(f"/graphiql/assets/{script}")
    assert (asset.status_code, asset.headers["x-content-type-options"]) == (200, "nosniff")
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-encoding"] == "gzip"
    for path in ("/graphiql/SOURCES.sha256", "/graphiql/assets/..%2f..%2f__init__.py", "/graphiql/assets/"):
        missing = await gateway.http.get(path)
        assert (missing.status_code, missing.json()["errors"][0]["extensions"]["code"]) == (404, "NOT_FOUND"), path


@in_a_browser
@pytest.mark.anyio
async def test_a_newcomer_runs_an_example(gateway: Gateway, world: World) -> None:
    """The link with a token opens GraphiQL signed in; the run button answers the first example with real rows."""
    origin = str(gateway.http.base_url).rstrip("/")
    problems: list[str] = []

    def note_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(message.text)

    def note_request(request: Request) -> None:
        if not request.url.startswith((origin, "data:", "blob:")):
            problems.append(request.url)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        page.on("console", note_console)
        page.on("request", note_request)
        await page.goto(f"{origin}/#token={world.acme.tokens['admin']}")
        await run_query(page)
        await expect(page.locator(".result-window")).to_contain_text('"totalCount": 5', timeout=30_000)
        assert world.acme.tokens["admin"] not in page.url
        stored = await page.evaluate("JSON.stringify(localStorage)")
        assert world.acme.tokens["admin"] not in stored
        await browser.close()
    assert problems == []


@in_a_browser
@pytest.mark.anyio
async def test_a_subscription_runs(gateway: Gateway, world: World) -> None:
    """The example of a subscription shows the exports as they are, and again when one of them changes."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        await page.goto(f"{gateway.http.base_url}#token={world.acme.tokens['admin']}")
        await expect(page.locator("button.graphiql-execute-button")).to_be_enabled(timeout=30_000)
        await expect(page.locator(".graphiql-query-editor").first).to_contain_text("Campaigns", timeout=30_000)
        await page.get_by_role("tab", name="LiveExports").click()
        await expect(page.locator(".graphiql-query-editor").first).to_contain_text("exportsProgress")
        await page.locator("button.graphiql-execute-button").click()
        shown = page.locator(".result-window")
        await expect(shown).to_contain_text('"status": "FAILED"', timeout=30_000)
        deletion = "mutation ($id: ID!) { deleteExport(id: $id) { userErrors { code } } }"
        id = str(world.acme.rows["failed_export"])
        answer = await gateway.ask(deletion, world.acme.tokens["admin"], {"id": id})
        assert answer.data["deleteExport"]["userErrors"] == []
        await expect(shown).not_to_contain_text('"status": "FAILED"', timeout=30_000)
        await browser.close()


@in_a_browser
@pytest.mark.anyio
async def test_without_a_token_the_page_says_so(gateway: Gateway) -> None:
    """Without a token the page shows the gateway's own words about what is missing."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        await page.goto(str(gateway.http.base_url))
        await expect(page.locator(".result-window")).to_contain_text("This token is not valid.", timeout=30_000)
        await browser.close()


async def run_query(page: Page) -> None:
    """Clicks the run button once the schema is there."""
    button = page.locator("button.graphiql-execute-button")
    await expect(button).to_be_enabled(timeout=30_000)
    await expect(page.locator(".query-editor, .graphiql-query-editor").first).to_contain_text(
        "Campaigns", timeout=30_000
    )
    await button.click()


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/healthz", "/graphiql/examples.json"])
async def test_a_page_takes_no_post(gateway: Gateway, path: str) -> None:
    """A method that a page does not have is refused as everything is: with a code, and with what is allowed."""
    answer = await gateway.http.post(path)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in answer.headers["allow"]


@pytest.mark.anyio
async def test_no_path_redirects(gateway: Gateway) -> None:
    """A path with a slash too many is not there: a redirect would go wherever the Host header says."""
    for path in ("/graphql/", "/healthz/", "/graphiql/assets"):
        assert (await gateway.http.post(path, headers={"Host": "evil.example"})).status_code == 404, path
