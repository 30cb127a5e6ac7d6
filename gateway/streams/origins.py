"""Which pages may open a WebSocket? Browsers let any page try, and say in `Origin` which one it is (RFC 6455, 10.2)."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers


class Origins:
    """The gateway's own origin, those that were named, and whatever is no browser."""

    def __init__(self, named: Iterable[str]) -> None:
        """`named`: origins or URLs (`https://app.example`)."""
        self._named = frozenset(origin_of(url) for url in named)

    def allow(self, headers: Headers) -> bool:
        """Whether the request's `Origin` is allowed.

        The same host counts as the same origin, whatever the scheme: a proxy may have taken TLS away.
        """
        given = headers.get("origin")
        if given is None:
            return True
        scheme, _, host = given.lower().partition("://")
        return given.lower() in self._named or (scheme in ("http", "https") and host == headers.get("host", "").lower())


def origin_of(url: str) -> str:
    """The scheme and the host of a URL, in small letters."""
    scheme, _, rest = url.strip().lower().partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
