"""Who is asking? A token becomes a viewer, read anew from the database for each request."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from resolvers.context import Viewer
from store.database import Database
from store.identity import Identity, find_company_of_user, find_identity, find_token
from store.models import TokenScope

PERSONAL_TOKEN = re.compile(r"mcg_([0-9a-z]{8,32})_([A-Za-z0-9_-]{20,100})")
TOKEN_BYTES = 32
# How the ids of demo tokens begin; no other token's can, as the rest is hexadecimal.
DEMO = "demo"
REQUIRED_CLAIMS = ["exp", "iat", "sub", "aud", "iss"]
MAX_USER_ID = 2**31
# The end of the year 9999, in seconds: the last moment that there is a date for.
LATEST = 253_402_300_799


class Unauthenticated(Exception):
    """There is no viewer; the message says why without saying what would have worked."""


@dataclass(frozen=True)
class JsonWebTokens:
    """Which JSON web tokens (RFC 7519) are accepted; the algorithm is pinned."""

    algorithm: str
    key: str
    issuer: str
    audience: str


@dataclass(frozen=True)
class NewToken:
    """A personal access token `mcg_<id>_<secret>`; the secret is shown once and kept only as a hash."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"mcg_{self.id}_{self.secret}"


def new_token(random_hex: Callable[[int], str], *, demo: bool = False) -> NewToken:
    """`random_hex` gives the hexadecimal of that many random bytes (`secrets.token_hex`)."""
    return NewToken((DEMO if demo else "") + random_hex(8), random_hex(TOKEN_BYTES))


def hashed(secret: str) -> bytes:
    """SHA-256 is enough for a secret of 256 random bits: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).digest()


class Authenticator:
    """Turns an Authorization header (RFC 6750) into a viewer."""

    def __init__(
        self,
        database: Database,
        json_web_tokens: JsonWebTokens | None,
        now: Callable[[], datetime],
        *,
        accept_demo_tokens: bool,
    ) -> None:
        self._database = database
        self._accept_demo_tokens = accept_demo_tokens
        self._json_web_tokens = json_web_tokens
        self._now = now

    async def viewer(self, authorization: str | None) -> Viewer:
        """Raises `Unauthenticated`."""
        if authorization is None:
            raise Unauthenticated("Send an Authorization header: Bearer and a token.")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("The Authorization header must be: Bearer and a token.")
        personal = PERSONAL_TOKEN.fullmatch(token.strip())
        if personal is not None:
            return await self._of_personal_token(personal[1], personal[2])
        return await self._of_json_web_token(token.strip())

    async def _of_personal_token(self, token_id: str, secret: str) -> Viewer:
        if token_id.startswith(DEMO) and not self._accept_demo_tokens:
            raise Unauthenticated("This token is not valid.")
        async with self._database.signing_in() as connection:
            stored = await find_token(connection, token_id)
            # An unknown id is compared too, so that the time taken does not tell which ids exist.
            expected = hashed("") if stored is None else stored.secret_sha256
            same = hmac.compare_digest(hashed(secret), expected)
            if stored is None or not same or stored.revoked_at is not None:
                raise Unauthenticated("This token is not valid.")
            if stored.expires_at <= self._now():
                raise Unauthenticated("This token has expired.")
            identity = await find_identity(connection, stored.company_id, stored.user_id)
        return viewer_of(identity, stored.scopes, stored.expires_at)

    async def _of_json_web_token(self, token: str) -> Viewer:
        claims = self._claims(token)
        subject, scope = claims["sub"], claims.get("scope", TokenScope.READ)
        if not isinstance(subject, str) or not subject.isascii() or not subject.isdigit() or len(subject) > 10:
            raise Unauthenticated("This token is not valid.")
        user_id = int(subject)
        if user_id >= MAX_USER_ID or not isinstance(scope, str):
            raise Unauthenticated("This token is not valid.")
        async with self._database.signing_in() as connection:
            company_id = await find_company_of_user(connection, user_id)
            if company_id is None:
                raise Unauthenticated("This token is not valid.")
            identity = await find_identity(connection, company_id, user_id)
        # PyJWT has read it as a number already.
        expires_at = datetime.fromtimestamp(min(int(claims["exp"]), LATEST), UTC)
        return viewer_of(identity, tuple(scope.upper().split()), expires_at)

    def _claims(self, token: str) -> dict[str, Any]:
        accepted = self._json_web_tokens
        if accepted is None:
            raise Unauthenticated("This token is not valid.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                accepted.key,
                algorithms=[accepted.algorithm],
                audience=accepted.audience,
                issuer=accepted.issuer,
                options={"require": REQUIRED_CLAIMS},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("This token has expired.") from None
        except jwt.PyJWTError:
            raise Unauthenticated("This token is not valid.") from None
        return claims


def viewer_of(identity: Identity | None, scopes: tuple[str, ...], expires_at: datetime) -> Viewer:
    if identity is None:
        raise Unauthenticated("This token is not valid.")
    known = frozenset(TokenScope(scope) for scope in scopes if scope in TokenScope.__members__)
    return Viewer(identity, known, expires_at)
