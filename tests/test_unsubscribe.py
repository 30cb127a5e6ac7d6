"""Is the unsubscribe link of a test mail inert?"""

from __future__ import annotations

import pytest

from tests.client import Gateway

pytestmark = pytest.mark.anyio


async def test_the_unsubscribe_link_of_test_mails(gateway: Gateway) -> None:
    """Neither a visit nor a mail program's one click (RFC 8058) changes anything, and both are told so."""
    async with gateway.counting() as statements:
        visit = await gateway.http.get("/u/test?contact=1")
        click = await gateway.http.post("/u/test", data={"List-Unsubscribe": "One-Click"})
        head = await gateway.http.head("/u/test")
    assert statements == []
    assert {visit.status_code, click.status_code, head.status_code} == {200}
    assert "nothing is changed" in visit.text
    assert "<script" not in visit.text
    assert (click.content, head.content) == (visit.content, b"")
    assert visit.headers["content-type"] == "text/html; charset=utf-8"
    policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
    assert visit.headers["content-security-policy"] == click.headers["content-security-policy"] == policy
    assert (visit.headers["x-content-type-options"], visit.headers["x-robots-tag"]) == ("nosniff", "noindex")
    assert (await gateway.http.delete("/u/test")).status_code == 405
