"""What does the unsubscribe link of a test mail lead to? A page which says that nothing happens."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

TEST_PATH = "/u/test"
TEST_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>This was a test mail</title>
<h1>This was a test mail</h1>
<p>Its unsubscribe link does nothing: nobody has been unsubscribed, and nothing is changed.</p>
</html>
"""
CONTENT_SECURITY_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


async def unsubscribe_nobody(_request: Request) -> Response:
    """A person comes with GET, a mail program's one click with POST (RFC 8058); both get the page, nothing is read."""
    return HTMLResponse(TEST_PAGE, headers=HEADERS)


ROUTES: list[BaseRoute] = [Route(TEST_PATH, unsubscribe_nobody, methods=["GET", "POST"])]
