"""How does a link prove that the gateway gave it out, and until when is it good?

`<path>?company=<id>&expires=<seconds>&signature=<hexadecimal>`. The signature is the HMAC-SHA256 (RFC 2104) of the
method and of all that stands before it, byte for byte as it is sent: nothing of a link can be changed, left out or
written in another way. The path is signed with the rest, so a link of one kind opens nothing of another. HEAD is
allowed where GET is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from starlette.requests import Request
from starlette.responses import Response

from resolvers.context import DownloadLink

SIGNATURE = b"&signature="
TARGET = re.compile(r"([^?]+)\?company=([0-9]+)&expires=([0-9]+)")
# What leaves by a link is for whoever has the link: not for caches, the next page, or this origin's scripts.
PRIVATE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class LinkRefused(Exception):
    """The link gives nothing; becomes an answer with this status and code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> Response:
        """The refusal in the form of all others."""
        error = {"message": self.message, "extensions": {"code": self.code}}
        return Response(orjson.dumps({"errors": [error]}), self.status, PRIVATE_HEADERS, "application/json")


@dataclass(frozen=True)
class Grant:
    """What a valid link allows: in one company, what the groups of the path's pattern found."""

    company_id: int
    found: tuple[str, ...]


class SignedLinks:
    """Makes links and checks them; the secret alone decides, nothing is kept."""

    def __init__(self, secret: bytes, public_url: str, now: Callable[[], datetime]) -> None:
        """`public_url` is absolute and has no slash at its end."""
        self._secret = secret
        self._public_url = public_url
        self._now = now

    def mint(self, path: str, company_id: int, expires_at: datetime) -> DownloadLink:
        """A link to a path, which is percent-encoded where it must be; ends in whole seconds, never later than told."""
        expires = int(expires_at.timestamp())
        target = f"{path}?company={company_id}&expires={expires}".encode()
        url = (target + SIGNATURE + self._signature(target)).decode()
        return DownloadLink(self._public_url + url, datetime.fromtimestamp(expires, UTC))

    def opened(self, request: Request, path: re.Pattern[str]) -> Grant:
        """What the request's link allows; raises `LinkRefused` for all but a link of ours to a path of this kind."""
        signed, _, signature = target_of(request).rpartition(SIGNATURE)
        genuine = hmac.compare_digest(self._signature(signed), signature)
        target = TARGET.fullmatch(signed.decode()) if genuine else None
        found = path.fullmatch(target[1]) if target else None
        if target is None or found is None:
            raise LinkRefused(403, "INVALID_SIGNATURE", "This is not a link as it was given out.")
        if self._now().timestamp() >= int(target[3]):
            raise LinkRefused(403, "LINK_EXPIRED", "This link has expired; ask for another one.")
        return Grant(int(target[2]), found.groups())

    def _signature(self, target: bytes) -> bytes:
        return hmac.new(self._secret, b"GET " + target, hashlib.sha256).hexdigest().encode()


def target_of(request: Request) -> bytes:
    """The target (RFC 9112, 3.2.1) as it was sent: decoded, one link could be written in several ways."""
    raw_path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return raw_path + b"?" + query
