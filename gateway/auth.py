"""Who is asking? A token becomes a viewer, read anew from the database for each request."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import jwt

from resolvers.context import Viewer
from store.database import Database
from store.identity import (
    Identity,
    StoredToken,
    find_identities,
    find_tokens,
    identity_of_token,
    identity_of_user,
    name_company,
)
from store.models import TokenScope

PERSONAL_TOKEN = re.compile(r"mcg_([0-9a-z]{8,32})_([A-Za-z0-9_-]{20,100})")
TOKEN_BYTES = 32
# How the ids of demo tokens begin; no other token's can, as the rest is hexadecimal.
DEMO = "demo"
REQUIRED_CLAIMS = ["exp", "iat", "sub", "aud", "iss"]
MAX_USER_ID = 2**31
# The end of the year 9999, in seconds: the last moment that there is a date for.
LATEST = 253_402_300_799
# So many tokens are judged before others have their turns.
AT_A_TIME = 100
NOT_VALID = "This token is not valid."


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


@dataclass(frozen=True, slots=True)
class PersonalToken:
    """What a personal access token says; everything else about it is read."""

    id: str
    secret_sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedToken:
    """What a JSON web token says whose signature and claims were good; only its time can still end."""

    user_id: int
    scopes: tuple[str, ...]
    expires_at: datetime


Credential = PersonalToken | SignedToken
Granted = TypeVar("Granted", StoredToken, SignedToken)


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

    def credential(self, authorization: str | None) -> Credential:
        """What the header says, so far as it can be judged without the database; raises `Unauthenticated`."""
        if authorization is None:
            raise Unauthenticated("Send an Authorization header: Bearer and a token.")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("The Authorization header must be: Bearer and a token.")
        personal = PERSONAL_TOKEN.fullmatch(token.strip())
        if personal is None:
            return self._signed(token.strip())
        if personal[1].startswith(DEMO) and not self._accept_demo_tokens:
            raise Unauthenticated(NOT_VALID)
        return PersonalToken(personal[1], hashed(personal[2]))

    async def viewer(self, authorization: str | None) -> Viewer:
        """Raises `Unauthenticated`."""
        credential = self.credential(authorization)
        if isinstance(credential, SignedToken):
            return viewer_of(credential, await identity_of_user(self._database.readings, credential.user_id))
        found = await identity_of_token(self._database.readings, credential.id, credential.secret_sha256)
        if found is None:
            raise Unauthenticated(NOT_VALID)
        stored, identity = found
        return viewer_of(self._checked(credential, stored), identity)

    async def viewers(self, company_id: int, credentials: Sequence[Credential]) -> list[Viewer | Unauthenticated]:
        """The viewer of each in its place, read anew, or why there is none in this company any more.

        However many they are, they are read by the same three statements, and others have their turns meanwhile.
        """
        async with self._database.signing_in() as connection:
            await name_company(connection, company_id)
            ids = [credential.id for credential in credentials if isinstance(credential, PersonalToken)]
            tokens = await find_tokens(connection, ids)
            users = {token.user_id for token in tokens.values()}
            users |= {credential.user_id for credential in credentials if isinstance(credential, SignedToken)}
            identities = await find_identities(connection, company_id, users)
        found: list[Viewer | Unauthenticated] = []
        for credential in credentials:
            found.append(self._judged(credential, tokens, identities))
            if len(found) % AT_A_TIME == 0:
                await asyncio.sleep(0)
        return found

    def _judged(
        self, credential: Credential, tokens: Mapping[str, StoredToken], identities: Mapping[int, Identity]
    ) -> Viewer | Unauthenticated:
        try:
            if isinstance(credential, SignedToken):
                return viewer_of(self._unexpired(credential), identities.get(credential.user_id))
            stored = self._checked(credential, tokens.get(credential.id))
            return viewer_of(stored, identities.get(stored.user_id))
        except Unauthenticated as error:
            return error

    def _checked(self, credential: PersonalToken, stored: StoredToken | None) -> StoredToken:
        # An unknown id is compared too, so that the time taken does not tell which ids exist.
        expected = hashed("") if stored is None else stored.secret_sha256
        same = hmac.compare_digest(credential.secret_sha256, expected)
        if stored is None or not same or stored.revoked_at is not None:
            raise Unauthenticated(NOT_VALID)
        return self._unexpired(stored)

    def _unexpired(self, granted: Granted) -> Granted:
        if granted.expires_at <= self._now():
            raise Unauthenticated("This token has expired.")
        return granted

    def _signed(self, token: str) -> SignedToken:
        claims = self._claims(token)
        subject, scope = claims["sub"], claims.get("scope", TokenScope.READ)
        if not isinstance(subject, str) or not subject.isascii() or not subject.isdigit() or len(subject) > 10:
            raise Unauthenticated(NOT_VALID)
        user_id = int(subject)
        if user_id >= MAX_USER_ID or not isinstance(scope, str):
            raise Unauthenticated(NOT_VALID)
        # PyJWT has read it as a number already.
        expires_at = datetime.fromtimestamp(min(int(claims["exp"]), LATEST), UTC)
        return SignedToken(user_id, tuple(scope.upper().split()), expires_at)

    def _claims(self, token: str) -> dict[str, Any]:
        accepted = self._json_web_tokens
        if accepted is None:
            raise Unauthenticated(NOT_VALID)
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
            raise Unauthenticated(NOT_VALID) from None
        return claims


def viewer_of(granted: StoredToken | SignedToken, identity: Identity | None) -> Viewer:
    if identity is None:
        raise Unauthenticated(NOT_VALID)
    known = frozenset(TokenScope(scope) for scope in granted.scopes if scope in TokenScope.__members__)
    return Viewer(identity, known, granted.expires_at)
