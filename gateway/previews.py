"""How is a rendered page shown? By a signed link, `/previews/<id>?...` (`gateway/signing.py`), and without any power.

The page is put into a frame of applications on other origins, or opened in a tab. It was cleaned when it was made; the
headers hold even if it was not: nothing in it runs, sends a form, leads the window above it elsewhere, or reads
anything of this origin.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, select
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.signing import PRIVATE_HEADERS, LinkRefused, SignedLinks
from resolvers.context import DownloadLink, StoredPreview
from store.database import Database, Scope
from store.models import Preview

ROUTE = "/previews/{preview_id}"
PATH = re.compile(r"/previews/([0-9a-f-]{36})")
PREVIEW = select(Preview.html, Preview.expires_at).where(
    Preview.company_id == bindparam("viewer_company_id"), Preview.id == bindparam("preview_id")
)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        # Mails show pictures of any host, and such that they bring along.
        "img-src https: data:",
        # Those that are named with http are asked for with https, from a gateway without https too: nothing goes in
        # clear, and no page makes a browser send plain requests to what stands in its network.
        "upgrade-insecure-requests",
        # Mails are laid out by style attributes and a style sheet of their own; no other sheet is fetched.
        "style-src 'unsafe-inline'",
        "font-src https:",
        # Otherwise the page could lead its own relative links elsewhere.
        "base-uri 'none'",
        "form-action 'none'",
        # Who has the link may show it; there is nothing on the page that a click could be stolen for.
        "frame-ancestors *",
        # No scripts, no forms, no origin, no way to the window above, no refresh. A click on a link opens a tab, which
        # is a usual one: people preview a mail to try its links, too.
        "sandbox allow-popups allow-popups-to-escape-sandbox",
    )
)
HEADERS = {
    **PRIVATE_HEADERS,
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    # In a tab: neither the window that opened the page nor those that its links open have a hold of it, even if a
    # link asks for it (`rel=opener`). Browsers pass over it in a frame.
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-DNS-Prefetch-Control": "off",
    "X-Robots-Tag": "noindex",
}

DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)
# It comes before all that people made. Parsers (HTML, 13.2.6) put it into the head and go on there with a fragment as
# well as with a whole document; of titles and of targets the first one counts.
HEAD = (
    '<meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>Preview</title>"
    '<base target="_blank">'
)


class Previews:
    """Makes the links to stored pages, and answers `GET` and `HEAD` of `ROUTE`."""

    def __init__(self, links: SignedLinks, database: Database, now: Callable[[], datetime]) -> None:
        self._links = links
        self._database = database
        self._now = now

    def mint(self, preview: StoredPreview) -> DownloadLink:
        """A link that ends with the page."""
        return self._links.mint(f"/previews/{preview.id}", preview.company_id, preview.expires_at)

    async def answer(self, request: Request) -> Response:
        """The page as it was stored, if it is still there."""
        try:
            grant = self._links.opened(request, PATH)
            html = await self._found(grant.company_id, UUID(grant.found[0]))
        except LinkRefused as refused:
            return refused.answer()
        return HTMLResponse(document(html), headers=HEADERS)

    async def _found(self, company_id: int, preview_id: UUID) -> str:
        company = Scope(company_id, user_id=0, sees_everything=True)
        async with self._database.reading(company) as reader:
            rows = await reader.rows(PREVIEW, {"preview_id": preview_id})
        html = next((row.html for row in rows if row.expires_at > self._now()), None)
        if html is None:
            raise LinkRefused(404, "NOT_FOUND", "The preview is no longer there.")
        return str(html)


def document(html: str) -> str:
    """A whole document of stored HTML, which may be one or a fragment; its own doctype decides how it is laid out."""
    doctype = DOCTYPE.match(html)
    start = doctype.end() if doctype else 0
    return (html[:start] or "<!doctype html>") + HEAD + html[start:]
