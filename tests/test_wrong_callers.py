"""Does no mutation do anything for whoever may not ask for it, in whatever way it is sent, or for half of a request?"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import orjson
import pytest
from anyio.abc import ByteReceiveStream
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from resolvers.global_ids import decode
from store.database import owner_transaction
from tests.bench import Bench, codes, running_bench
from tests.build import NOW, Builder, TestCompany
from tests.client import Answer
from tests.conftest import World, database, on_server
from tests.graph import never_id
from tests.valid_calls import Calls
from tests.written_calls import MUTATIONS

pytestmark = pytest.mark.anyio

DATABASE = "wrong_callers_of_tests"
SENDING = {"sendCampaign", "resendUnknown", "resumeCampaign", "sendTestEmail", "sendCampaignTestEmail"}
LOOKING = {"previewCampaign", "previewTemplate"}
EXPORTING = {name for name in MUTATIONS.fields if "xport" in name}
JSON = "application/json"
CHANGE = 'mutation { updateCampaignSettings(input: { consent: { helpText: "changed" } }) { userErrors { code } } }'
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
AT_WORK = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'campaign-gateway' AND state <> 'idle'"
)
TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture(scope="module")
async def bench(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Bench]:
    template, acme, globex = world_template
    await on_server(server, f"CREATE DATABASE {DATABASE} TEMPLATE {template}")
    async with running_bench(database(server, DATABASE), acme, globex) as bench:
        yield bench
    await on_server(server, f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture(scope="module")
async def tokens(server: str, bench: Bench) -> dict[str, str]:
    """Tokens of acme's administrator that let them do less, or nothing any more."""
    async with owner_transaction(database(server, DATABASE)) as connection:
        build = Builder(connection)
        build._numbers = itertools.count(1000)
        mine = bench.acme.id, bench.acme.admin
        made = {
            "to read": await build.token(*mine, ("READ",)),
            "without send": await build.token(*mine, ("READ", "WRITE")),
            "without write": await build.token(*mine, ("READ", "SEND")),
            "without export": await build.token(*mine, ("READ", "WRITE", "SEND")),
            "without read": await build.token(*mine, ("WRITE", "SEND", "EXPORT")),
            "expired": await build.token(*mine, expires_at=NOW),
            "revoked": await build.token(*mine, revoked_at=NOW - timedelta(1)),
        }
    await bench.watch.changed()
    return made


def written(mutation: str, calls: Calls) -> bytes:
    return MUTATIONS.with_variables([(mutation, calls.arguments(mutation))])


def of_nobody(calls: Calls) -> Calls:
    """The same calls with ids that never were."""
    own = {typename: never_id(typename) for typename in calls.own}
    return Calls(calls.sender, own, {}, {name: never_id(decode(id_)[0]) for name, id_ in calls.of_mutation.items()})


@pytest.mark.parametrize("role", ["admin", "manager", "member"])
@pytest.mark.parametrize("mutation", MUTATIONS.fields)
async def test_with_ids_of_another_company(bench: Bench, mutation: str, role: str) -> None:
    """Globex's ids are NOT_FOUND for everyone of acme, to the letter as ids that never were; nothing is changed."""
    token = bench.acme.tokens[role]
    answers = [await bench.send(written(mutation, calls), token) for calls in (bench.foreign, of_nobody(bench.foreign))]
    assert answers[0] == answers[1]
    status, answer = answers[0]
    errors = answer["data"]["call0"]["userErrors"]
    needed = "EXPORT_NOT_FOUND" if "Export" in mutation else "NOT_FOUND"
    needed = "FORBIDDEN" if mutation == "updateCampaignSettings" and role != "admin" else needed
    assert status == 200
    assert needed in [error["code"] for error in errors]
    assert await bench.watch.changed() == set()


@pytest.mark.parametrize("mutation", MUTATIONS.fields)
async def test_with_a_token_that_may_not(bench: Bench, tokens: dict[str, str], mutation: str) -> None:
    """Every mutation takes READ, and WRITE, SEND or EXPORT unless it only shows; without it nothing is looked at."""
    others = {**dict.fromkeys(SENDING, "send"), **dict.fromkeys(EXPORTING, "export")}
    lacking = {"to read", f"without {others.get(mutation, 'write')}"}
    for name in ("without read", *(() if mutation in LOOKING else lacking)):
        status, answer = await bench.send(written(mutation, bench.calls), tokens[name])
        assert (status, codes(answer)) == (200, ["FORBIDDEN"])
        assert not answer.get("data") or answer["data"] == {"call0": None}
    assert await bench.watch.changed() == set()


def test_the_schema_says_what_takes_the_scope() -> None:
    """Clients read in the schema which mutations take SEND or EXPORT."""
    for scope, taking in (("`send`", SENDING), ("`export`", EXPORTING)):
        assert {name for name, field in MUTATIONS.fields.items() if scope in (field.description or "")} == taking


async def test_sent_at_once_takes_the_scope(bench: Bench, tokens: dict[str, str]) -> None:
    """A campaign that is sent as it is made takes SEND too, and is not made without it."""
    campaign = {**bench.calls.campaign(), "executeNow": True}
    body = MUTATIONS.with_variables([("createCampaign", {"input": campaign})])
    _, answer = await bench.send(body, tokens["without send"])
    (error,) = answer["data"]["call0"]["userErrors"]
    assert (error["code"], error["field"]) == ("FORBIDDEN", ["input", "executeNow"])
    assert await bench.watch.changed() == set()


@pytest.mark.parametrize("mutation", MUTATIONS.fields)
async def test_without_a_valid_token(bench: Bench, tokens: dict[str, str], mutation: str) -> None:
    """No token, an expired one, a revoked one and a wrong one are all 401, and nothing is changed."""
    wrong = tokens["to read"][:-1] + "x"
    headers: list[dict[str, str]] = [{}, {"Authorization": "Basic QTpC"}]
    headers += [{"Authorization": f"Bearer {token}"} for token in (tokens["expired"], tokens["revoked"], wrong, "x")]
    for sent in headers:
        answer = await posted(bench, written(mutation, bench.calls), {"Content-Type": JSON, **sent})
        assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert await bench.watch.changed() == set()


async def posted(bench: Bench, body: bytes, headers: Mapping[str, str]) -> Answer:
    response = await bench.gateway.http.post("/graphql", content=body, headers=dict(headers))
    return Answer(response.status_code, response.json(), response.headers)


async def test_not_over_get(bench: Bench) -> None:
    """A mutation in a URL, which any page could hold, is not carried out."""
    headers = {"Authorization": f"Bearer {bench.acme.tokens['admin']}"}
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for params in ({"query": CHANGE}, {"mutation": CHANGE}):
            response = await bench.gateway.http.request(method, "/graphql", params=params, headers=headers)
            assert response.status_code == 405
            assert response.headers["allow"] == "POST"
    assert await bench.watch.changed() == set()


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/jsonp",
        "text/plain, application/json",
    ],
)
async def test_other_content_types(bench: Bench, content_type: str | None) -> None:
    """What a form of another site could send is refused, whatever is in it."""
    headers = {"Authorization": f"Bearer {bench.acme.tokens['admin']}"}
    if content_type is not None:
        headers["Content-Type"] = content_type
    answer = await posted(bench, orjson.dumps({"query": CHANGE}), headers)
    assert (answer.status, answer.codes) == (415, ["UNSUPPORTED_MEDIA_TYPE"])
    assert await bench.watch.changed() == set()


TWO = f"{CHANGE.replace('mutation', 'mutation One')} {CHANGE.replace('mutation', 'mutation Two')}"
UNKNOWN: list[tuple[dict[str, Any], str]] = [
    ({"query": "mutation { dropCampaign(id: 1) { userErrors { code } } }"}, "GRAPHQL_VALIDATION_FAILED"),
    ({"query": "query { updateCampaignSettings(input: {}) { userErrors { code } } }"}, "GRAPHQL_VALIDATION_FAILED"),
    ({"query": CHANGE.replace("userErrors", "userErrors: __typename userErrors")}, "GRAPHQL_VALIDATION_FAILED"),
    ({"query": CHANGE + " { viewer { user { id } } }"}, "GRAPHQL_VALIDATION_FAILED"),
    ({"query": TWO}, "OPERATION_RESOLUTION_FAILURE"),
    ({"query": TWO, "operationName": "Three"}, "OPERATION_RESOLUTION_FAILURE"),
    ({"query": "mutation"}, "GRAPHQL_PARSE_FAILED"),
    ({"query": CHANGE[:-1]}, "GRAPHQL_PARSE_FAILED"),
]


@pytest.mark.parametrize(("members", "code"), UNKNOWN)
async def test_operations_that_cannot_be_told(bench: Bench, members: dict[str, Any], code: str) -> None:
    """Unknown mutations, and documents of which it is not said which operation is meant, do nothing."""
    headers = {"Authorization": f"Bearer {bench.acme.tokens['admin']}", "Content-Type": JSON}
    answer = await posted(bench, orjson.dumps(members), headers)
    assert answer.status == 200
    assert set(answer.codes) == {code}
    assert await bench.watch.changed() == set()


async def test_as_a_subscription(bench: Bench) -> None:
    """A mutation that is called a subscription is taken for a stream, which is not what is asked for here."""
    headers = {"Authorization": f"Bearer {bench.acme.tokens['admin']}", "Content-Type": JSON}
    answer = await posted(bench, orjson.dumps({"query": CHANGE.replace("mutation", "subscription")}), headers)
    assert (answer.status, answer.codes) == (406, ["NOT_ACCEPTABLE"])
    assert await bench.watch.changed() == set()


async def test_only_the_named_operation(world: World) -> None:
    """Of several operations the named one is carried out and no other."""
    document = f"{TWO.replace('changed', 'first', 1)}"
    async with running_bench(world.url, world.acme, world.globex) as bench:
        answer = await bench.gateway.ask(document, world.acme.tokens["admin"], operationName="Two")
        assert answer.data == {"updateCampaignSettings": {"userErrors": []}}
        assert await bench.watch.changed() == {"campaign_settings"}
    async with owner_transaction(world.url) as connection:
        help_text = "SELECT consent_help_text FROM campaign_settings WHERE company_id = :id"
        assert await connection.scalar(text(help_text), {"id": world.acme.id}) == "changed"


class Holder:
    """Another session that keeps everybody from writing to a table, and sees who waits for it."""

    def __init__(self, holder: AsyncConnection, watcher: AsyncConnection) -> None:
        self._holder = holder
        self._watcher = watcher

    async def until(self, sql: str, *, zero: bool = False) -> None:
        with anyio.fail_after(10):
            while bool(await self._watcher.scalar(text(sql))) is zero:  # noqa: ASYNC110 - no event tells
                await anyio.sleep(0.01)

    async def terminate(self) -> None:
        await self._watcher.execute(text(TERMINATE))

    async def let_go(self) -> None:
        """Ends when nobody of the gateway is at work any more."""
        await self._holder.rollback()
        await self.until(AT_WORK, zero=True)


@asynccontextmanager
async def held(url: str, table: str) -> AsyncIterator[Holder]:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as holder, engine.connect() as watcher:
        await watcher.execution_options(isolation_level="AUTOCOMMIT")
        await holder.execute(text(f"LOCK TABLE {table} IN SHARE MODE"))
        yield Holder(holder, watcher)


def request_bytes(bench: Bench, body: bytes) -> bytes:
    lines = (
        "POST /graphql HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {bench.acme.tokens['admin']}",
        f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


# The table that each writes to last.
LAST_TABLES = {
    "createCampaign": "campaign_task_users",
    "updateCampaign": "campaign_task_users",
    "sendTestEmail": "jobs",
    "sendCampaignTestEmail": "jobs",
    "exportContacts": "jobs",
}


@pytest.mark.parametrize("mutation", LAST_TABLES)
async def test_the_client_goes_away(world: World, mutation: str) -> None:
    """A client that closes the connection while its mutation is being written leaves all of it or nothing."""
    async with running_bench(world.url, world.acme, world.globex) as bench:
        url = bench.gateway.http.base_url
        async with held(world.url, LAST_TABLES[mutation]) as holder:
            async with await anyio.connect_tcp(url.host, url.port or 80) as stream:
                await stream.send(request_bytes(bench, written(mutation, bench.calls)))
                await holder.until(WAITING)
            await holder.let_go()
        changed = await bench.watch.changed()
        mails = dict.fromkeys(("sendTestEmail", "sendCampaignTestEmail"), "test_deliveries")
        whole = {**mails, "exportContacts": "exports"}
        assert changed in (set(), {whole.get(mutation, "campaigns"), LAST_TABLES[mutation]})


@pytest.mark.parametrize("mutation", LAST_TABLES)
async def test_the_database_goes_away(world: World, mutation: str) -> None:
    """A mutation whose connection to the database is cut before its last statement has changed nothing."""
    async with running_bench(world.url, world.acme, world.globex) as bench:
        answers: list[tuple[int, dict[str, Any]]] = []

        async def send() -> None:
            answers.append(await bench.send(written(mutation, bench.calls)))

        async with held(world.url, LAST_TABLES[mutation]) as holder:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                await holder.until(WAITING)
                await holder.terminate()
            await holder.let_go()
        ((status, answer),) = answers
        assert (status, codes(answer), answer["data"]) == (200, ["SERVICE_UNAVAILABLE"], {"call0": None})
        assert await bench.watch.changed() == set()
        _, again = await bench.send(written(mutation, bench.calls))
        assert again["data"]["call0"]["userErrors"] == []


async def test_half_a_request(bench: Bench) -> None:
    """A body that breaks off, even right behind a whole document, does nothing."""
    url = bench.gateway.http.base_url
    for mutation in MUTATIONS.fields:
        whole = request_bytes(bench, written(mutation, bench.calls) + b" ")
        for part in (whole[: len(whole) // 2], whole[:-1]):
            async with await anyio.connect_tcp(url.host, url.port or 80) as stream:
                await stream.send(part)
                await stream.send_eof()
                assert "200" not in await all_received(stream)
    assert await bench.watch.changed() == set()


async def all_received(stream: ByteReceiveStream) -> str:
    """What comes until the other side closes."""
    return b"".join([chunk async for chunk in stream]).decode()
