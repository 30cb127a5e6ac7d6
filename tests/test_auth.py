"""Is everyone who asks known, is nobody else let in, and does a refusal tell nothing?"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy import Executable, delete, insert, text, update

from store.database import owner_transaction
from store.models import Company, Role, TeamMember, User
from tests.build import NOW, Builder, TestCompany
from tests.client import Answer, Gateway, running_gateway
from tests.conftest import World, database, on_server

pytestmark = pytest.mark.anyio

VIEWER = "{ viewer { tokenScopes user { lastName } } }"
SECOND = timedelta(seconds=1)


async def sent(gateway: Gateway, headers: Mapping[str, str | bytes]) -> Answer:
    """An operation with these headers, as they are."""
    raw = [(name.encode(), value.encode() if isinstance(value, str) else value) for name, value in headers.items()]
    response = await gateway.http.post("/graphql", json={"query": VIEWER}, headers=raw)
    return Answer(response.status_code, response.json(), response.headers)


async def write(url: str, statement: Executable) -> None:
    async with owner_transaction(url) as connection:
        await connection.execute(statement)


def check_refused(answer: Answer) -> None:
    """Status, code and challenge of RFC 6750, and nothing else."""
    assert answer.status == 401
    assert answer.codes == ["UNAUTHENTICATED"]
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert answer.headers["x-request-id"]
    assert "data" not in answer.body


LIFE = 600
SHARED_KEY = "a key that two parties share, of the length that HS512 asks for as well"


@dataclass(frozen=True)
class Issuer:
    """Who signs, and what the gateway knows of them."""

    algorithm: str
    signs_with: str
    known_by: str

    def sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self.signs_with, self.algorithm)


def new_issuer(algorithm: str, shared_key: str = SHARED_KEY) -> Issuer:
    if algorithm == "HS256":
        return Issuer(algorithm, shared_key, shared_key)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return Issuer(
        algorithm,
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


@dataclass(frozen=True)
class Shared:
    """The small world, which these tests only read, behind three gateways.

    `open` accepts personal tokens only, those of `signed` the tokens of one issuer as well, by their algorithm.
    """

    acme: TestCompany
    open: Gateway
    signed: dict[str, tuple[Gateway, Issuer]]


@pytest.fixture(scope="module")
async def shared(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Shared]:
    template, acme, _ = world_template
    await on_server(server, f"CREATE DATABASE auth_tests TEMPLATE {template}")
    url, one, two = database(server, "auth_tests"), new_issuer("HS256"), new_issuer("RS256")
    async with (
        running_gateway(url) as gateway,
        running_gateway(url, jwt_algorithm="HS256", jwt_key=one.known_by) as of_one,
        running_gateway(url, jwt_algorithm="RS256", jwt_key=two.known_by) as of_two,
    ):
        yield Shared(acme, gateway, {"HS256": (of_one, one), "RS256": (of_two, two)})
    await on_server(server, "DROP DATABASE auth_tests WITH (FORCE)")


HEADERS: dict[str, dict[str, str | bytes]] = {
    "no header": {},
    "empty": {"Authorization": ""},
    "only the scheme": {"Authorization": "Bearer"},
    "only a token": {"Authorization": "{token}"},
    "basic": {"Authorization": "Basic bWNnOm1jZw=="},
    "another scheme": {"Authorization": "Token {token}"},
    "a longer scheme": {"Authorization": "BearerX {token}"},
    "two tokens": {"Authorization": "Bearer {token} {token}"},
    "comma": {"Authorization": "Bearer {token},"},
    "quoted": {"Authorization": 'Bearer "{token}"'},
    "garbage": {"Authorization": "Bearer garbage"},
    "bytes beyond ASCII": {"Authorization": b"Bearer \xff\xfe\xc2\xa0"},
    "200 kB": {"Authorization": "Bearer " + "a" * 200_000},
    "unknown id": {"Authorization": "Bearer mcg_99990000_{secret}"},
    "id in capitals": {"Authorization": "Bearer MCG_{id}_{secret}"},
    "wrong secret": {"Authorization": "Bearer mcg_{id}_secret-of-token-number-0"},
    "secret cut off": {"Authorization": "Bearer mcg_{id}_{secret:.20}"},
    "secret and more": {"Authorization": "Bearer {token}0"},
    "no secret": {"Authorization": "Bearer mcg_{id}_"},
    "quote": {"Authorization": "Bearer mcg_{id}'--_{secret}"},
    "another header": {"X-Authorization": "Bearer {token}", "Cookie": "token={token}"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
async def test_no_valid_token(shared: Shared, headers: dict[str, str | bytes]) -> None:
    """Without a valid token in the right header there is no answer."""
    token = shared.acme.tokens["admin"]
    _, id_, secret = token.split("_")
    filled = {
        name: value.format(token=token, id=id_, secret=secret) if isinstance(value, str) else value
        for name, value in headers.items()
    }
    check_refused(await sent(shared.open, filled))


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER   {}"])
async def test_spellings_of_the_scheme(shared: Shared, header: str) -> None:
    """The scheme's case and the spaces around the token make no difference (RFC 9110, 11.1)."""
    answer = await sent(shared.open, {"Authorization": header.format(shared.acme.tokens["admin"])})
    assert answer.data["viewer"]["user"] == {"lastName": "Admin"}


async def test_same_answer_for_unknown_id_and_wrong_secret(shared: Shared) -> None:
    """Nobody learns which ids exist."""
    _, id_, secret = shared.acme.tokens["admin"].split("_")
    unknown = await sent(shared.open, {"Authorization": f"Bearer mcg_99990000_{secret}"})
    wrong = await sent(shared.open, {"Authorization": f"Bearer mcg_{id_}_{secret[::-1]}"})
    assert (unknown.status, unknown.body) == (wrong.status, wrong.body)
    for answer in (unknown, wrong):
        del answer.headers["date"], answer.headers["x-request-id"]
    assert unknown.headers == wrong.headers


async def test_nothing_is_read_before_the_token(shared: Shared) -> None:
    """Who may not ask at all is not told what is wrong with the body."""
    response = await shared.open.http.post("/graphql", content=b"{", headers={"Content-Type": "application/json"})
    check_refused(Answer(response.status_code, response.json(), response.headers))


async def test_life_of_a_token(empty_database: str) -> None:
    """A token works up to the moment it expires, and until it is revoked or its user is deleted."""
    async with owner_transaction(empty_database) as connection:
        build = Builder(connection)
        company = await build.add(Company)
        user = await build.add(User, company_id=company)
        good = await build.token(company, user, expires_at=NOW + SECOND)
        bad = [
            await build.token(company, user, expires_at=NOW),
            await build.token(company, user, expires_at=NOW - SECOND),
            await build.token(company, user, revoked_at=NOW - SECOND),
            await build.token(company, user, revoked_at=NOW + SECOND),
        ]
    async with running_gateway(empty_database) as gateway:
        for token in bad:
            check_refused(await gateway.ask(VIEWER, token))
        assert (await gateway.ask(VIEWER, good)).data["viewer"]["user"] == {"lastName": "Byron"}
        await write(empty_database, delete(User).where(User.id == user))
        check_refused(await gateway.ask(VIEWER, good))


async def test_only_a_hash_is_stored(world: World) -> None:
    """The database does not hold what a client sends, so a copy of it lets nobody in."""
    _, _, secret = world.acme.tokens["admin"].split("_")
    async with owner_transaction(world.url) as connection:
        rows = await connection.scalars(text("SELECT access_tokens::text FROM access_tokens"))
        stored = "\n".join(rows)
    assert hashlib.sha256(secret.encode()).hexdigest() in stored
    assert secret not in stored
    assert secret.encode().hex() not in stored


async def test_token_that_may_not_read(empty_database: str) -> None:
    """Who is known, but has a token for other things, is refused as a whole."""
    async with owner_transaction(empty_database) as connection:
        build = Builder(connection)
        company = await build.add(Company)
        user = await build.add(User, company_id=company)
        scopes = ((), ("WRITE",), ("WRITE", "SEND", "EXPORT"), ("read",), ("NO_SCOPE",))
        tokens = [await build.token(company, user, each) for each in scopes]
        reader = await build.token(company, user, ("NO_SCOPE", "READ"))
    async with running_gateway(empty_database) as gateway:
        for token in tokens:
            answer = await gateway.ask(VIEWER, token)
            assert (answer.status, answer.codes) == (200, ["FORBIDDEN"])
            assert "data" not in answer.body
        assert (await gateway.ask(VIEWER, reader)).data["viewer"]["tokenScopes"] == ["READ"]


# JSON web tokens. PyJWT reads the real clock, so their times are real ones.


def signed_by_hand(payload: bytes, header: Mapping[str, object], key: str) -> str:
    """A token with an HMAC signature, whatever it says: PyJWT would not sign all of these."""
    parts = [urlsafe_b64encode(part).rstrip(b"=") for part in (orjson.dumps(header), payload)]
    signature = hmac.digest(key.encode(), b".".join(parts), "sha256")
    return b".".join((*parts, urlsafe_b64encode(signature).rstrip(b"="))).decode()


def claims_of(user_id: int, **changed: object) -> dict[str, object]:
    now = int(time.time())
    good: dict[str, object] = {"iat": now, "exp": now + LIFE, "sub": str(user_id)}
    return {**good, "aud": "campaign-gateway", "iss": "campaign-gateway", **changed}


@dataclass(frozen=True)
class Signed:
    """A gateway that accepts the tokens of one issuer; `admin` is a user's id."""

    gateway: Gateway
    issuer: Issuer
    admin: int

    async def ask(self, token: str) -> Answer:
        return await self.gateway.ask(VIEWER, token)


@pytest.fixture(params=["HS256", "RS256"])
def signed(request: pytest.FixtureRequest, shared: Shared) -> Signed:
    gateway, issuer = shared.signed[request.param]
    return Signed(gateway, issuer, shared.acme.admin)


async def test_signed_token(signed: Signed, shared: Shared) -> None:
    """A token with all claims is accepted, and so are personal ones beside it."""
    answer = await signed.ask(signed.issuer.sign(claims_of(signed.admin)))
    assert answer.data["viewer"] == {"tokenScopes": ["READ"], "user": {"lastName": "Admin"}}
    assert (await signed.ask(shared.acme.tokens["member"])).data["viewer"]["user"] == {"lastName": "Member"}


@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "aud", "iss"])
async def test_every_claim_is_needed(signed: Signed, claim: str) -> None:
    """A token that lacks a claim, or has null for it, is not valid, though its signature is."""
    claims = claims_of(signed.admin)
    without = {name: value for name, value in claims.items() if name != claim}
    check_refused(await signed.ask(signed.issuer.sign(without)))
    if claim != "iss":  # PyJWT refuses to sign that.
        check_refused(await signed.ask(signed.issuer.sign({**claims, claim: None})))


WRONG_CLAIMS: dict[str, Callable[[int], dict[str, object]]] = {
    "expired": lambda now: {"exp": now - 1},
    "expired long ago": lambda _: {"exp": 0},
    "expires at infinity": lambda _: {"exp": float("inf")},
    "expires at a text": lambda _: {"exp": "soon"},
    "made in the future": lambda now: {"iat": now + LIFE},
    "made at a list": lambda _: {"iat": [1]},
    "not yet valid": lambda now: {"nbf": now + LIFE},
    "another audience": lambda _: {"aud": "another"},
    "other audiences": lambda _: {"aud": ["another", "campaign"]},
    "audience is a part": lambda _: {"aud": "campaign-gateway-2"},
    "audience is an object": lambda _: {"aud": {"campaign-gateway": True}},
    "another issuer": lambda _: {"iss": "another"},
    "unknown user": lambda _: {"sub": "2147483647"},
    "scope is a list": lambda _: {"scope": ["READ"]},
    "scope is null": lambda _: {"scope": None},
}


@pytest.mark.parametrize("change", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS.keys())
async def test_wrong_claims(signed: Signed, change: Callable[[int], dict[str, object]]) -> None:
    """A valid signature is not enough: who, for whom, by whom and when are all checked."""
    check_refused(await signed.ask(signed.issuer.sign(claims_of(signed.admin, **change(int(time.time()))))))


SUBJECTS: list[object] = [
    "", " ", "-1", "+1", "0", "1.0", "1e0", "0x1", "1_0", " 1", "1\n", "1\x00", "one", "１", "²", "2147483648",
    "99999999999", "9" * 5000, "1 OR 1=1", 1, -1, 1.5, 10**30, True, [1], ["1"], {"id": 1},
]  # fmt: skip


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: ascii(subject)[:20])
async def test_absurd_subjects(signed: Signed, subject: object) -> None:
    """A subject is the plain decimal number of a user, and nothing else that Python would take for one."""
    check_refused(await signed.ask(signed.issuer.sign(claims_of(0, sub=subject))))


async def test_other_signatures(signed: Signed) -> None:
    """Another key, no signature, a changed one, and changed content are all refused."""
    claims = claims_of(signed.admin)
    token = signed.issuer.sign(claims)
    head, body, signature = token.split(".")
    other_body = signed.issuer.sign(claims_of(signed.admin + 1)).split(".")[1]
    forged = [
        new_issuer(signed.issuer.algorithm, "another key of enough length, for HS256").sign(claims),
        jwt.encode(claims, "", "none"),
        jwt.encode(claims, SHARED_KEY, "HS512"),
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{other_body}.{signature}",
        f"{token}.{signature}",
        "..",
    ]
    for forgery in forged:
        check_refused(await signed.ask(forgery))


async def test_public_key_is_no_shared_secret(signed: Signed) -> None:
    """Everybody has the public key: an HS256 signature made with it counts for nothing."""
    key = signed.issuer.known_by if signed.issuer.algorithm == "RS256" else new_issuer("RS256").known_by
    for algorithm in ("HS256", "RS256"):
        token = signed_by_hand(orjson.dumps(claims_of(signed.admin)), {"alg": algorithm, "typ": "JWT"}, key)
        check_refused(await signed.ask(token))


BROKEN_HEADERS: list[dict[str, object]] = [
    {"alg": None},
    {"alg": ["HS256"]},
    {"alg": "none"},
    {"alg": "hs256"},
    {"alg": "HS256", "kid": 5},
    {"alg": "HS256", "crit": ["unknown"]},
    {"alg": "HS256", "b64": False},
]
BROKEN_PAYLOADS = [b"", b"null", b"[]", b'"sub"', b"{", b"\xff", b"[" * 100_000, b'{"exp":' + b"9" * 5000 + b"}"]


async def test_tokens_that_are_no_tokens(signed: Signed) -> None:
    """What claims to be a token but cannot be read is refused, and breaks nothing."""
    good = orjson.dumps(claims_of(signed.admin))
    for header in BROKEN_HEADERS:
        check_refused(await signed.ask(signed_by_hand(good, header, SHARED_KEY)))
    for payload in BROKEN_PAYLOADS:
        check_refused(await signed.ask(signed_by_hand(payload, {"alg": "HS256"}, SHARED_KEY)))


async def test_no_key_no_signed_tokens(shared: Shared) -> None:
    """Without a key in the settings no JSON web token is accepted."""
    check_refused(await shared.open.ask(VIEWER, new_issuer("HS256").sign(claims_of(shared.acme.admin))))


SCOPES: dict[str, list[str] | None] = {
    "READ": ["READ"],
    "read": ["READ"],
    " read\texport ": ["EXPORT", "READ"],
    "READ READ NO_SCOPE openid": ["READ"],
    "": None,
    "write": None,
    "READS": None,
    "READ,WRITE": None,
}


@pytest.mark.parametrize(("scope", "expected"), SCOPES.items())
async def test_scope_of_a_signed_token(signed: Signed, scope: str, expected: list[str] | None) -> None:
    """The claim `scope` is a list of words (RFC 8693, 4.2); without READ among them nothing is read."""
    answer = await signed.ask(signed.issuer.sign(claims_of(signed.admin, scope=scope)))
    if expected is None:
        assert (answer.status, answer.codes) == (200, ["FORBIDDEN"])
    else:
        assert sorted(answer.data["viewer"]["tokenScopes"]) == expected


@pytest.mark.parametrize("kind", ["personal", "signed"])
async def test_rights_are_read_at_each_request(world: World, kind: str) -> None:
    """A change of role or team holds from the next request on, whatever the token says."""
    user, company = world.acme.member, world.acme.id
    tokens = {"personal": world.acme.tokens["member"], "signed": new_issuer("HS256").sign(claims_of(user))}
    async with running_gateway(world.url, jwt_key=SHARED_KEY) as gateway:

        async def seen() -> set[str]:
            answer = await gateway.ask("{ campaigns { nodes { name } } }", tokens[kind])
            return {campaign["name"] for campaign in answer.data["campaigns"]["nodes"]}

        assert await seen() == {"Global", "Sent"}
        await write(world.url, update(User).where(User.id == user).values(role=Role.ADMIN))
        assert await seen() == {"Global", "Sent", "Team", "Group", "Personal"}
        await write(world.url, update(User).where(User.id == user).values(role=Role.MEMBER))
        assert await seen() == {"Global", "Sent"}
        join = insert(TeamMember).values(company_id=company, team_id=world.acme.rows["sales"], user_id=user)
        await write(world.url, join)
        assert await seen() == {"Global", "Sent", "Team", "Group"}
