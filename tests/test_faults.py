"""What do clients and operators read when something breaks: the wire, the database, or the code?

Everything is broken for real: the test's own database is damaged, locked, closed or dropped while the gateway runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
import orjson
import pytest
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs
from structlog.typing import EventDict

from gateway.problems import fault_code
from store.database import Database, Scope
from store.faults import is_outage
from tests.client import Answer, Gateway, running_gateway
from tests.conftest import World, on_server

pytestmark = pytest.mark.anyio

HEALTHY = "viewer { user { lastName } }"
# `campaignSettings` may be null, so a fault in it leaves the rest of the answer standing.
BOTH = f"{{ {HEALTHY} campaignSettings {{ domainSlug }} }}"
SEARCH = "query ($words: String) { contacts(filter: { search: $words }) { nodes { lastName email } } }"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"
PASSWORD = "hunter2-the-password"


def faults(logs: list[EventDict]) -> list[EventDict]:
    return [line for line in logs if line["event"] == "request.failed"]


def requests(logs: list[EventDict]) -> list[EventDict]:
    return [line for line in logs if line["event"] == "request"]


def check_masked(answer: Answer, logs: list[EventDict], code: str) -> EventDict:
    """One error that says nothing but its code and the request's id, which leads to one line of the log."""
    (error,) = answer.body["errors"]
    request_id = answer.headers["x-request-id"]
    assert error["extensions"] == {"code": code, "requestId": request_id}
    (line,) = faults(logs)
    assert line["request_id"] == request_id
    assert line["log_level"] == "error"
    return line


def check_unavailable(answer: Answer) -> None:
    """The answer to a request that failed before its operation began, for the database was not to be had."""
    assert (answer.status, answer.codes) == (503, ["SERVICE_UNAVAILABLE"])
    assert answer.headers["x-request-id"]
    assert "data" not in answer.body


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Another session holds the table; the function given waits until somebody waits for it."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as holder, engine.connect() as watcher:
        await holder.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))

        async def awaited() -> None:
            with anyio.fail_after(10):
                while not await watcher.scalar(text(WAITING)):
                    await watcher.rollback()  # What is waited for is seen once a transaction.

        yield awaited


async def test_broken_column(world: World, gateway: Gateway) -> None:
    """A fault in a nullable field is masked, the rest is answered, and the log says what failed where."""
    await on_server(world.url, "ALTER TABLE campaign_settings DROP COLUMN domain_slug CASCADE")
    with capture_logs() as logs:
        answer = await gateway.ask(BOTH, world.acme.tokens["admin"])
    assert answer.status == 200
    assert answer.body["data"] == {"viewer": {"user": {"lastName": "Admin"}}, "campaignSettings": None}
    assert answer.body["errors"][0]["path"] == ["campaignSettings"]
    line = check_masked(answer, logs, "INTERNAL_SERVER_ERROR")
    assert line["error"] == "DBAPIError"
    assert "SQLSTATE 42703" in line["detail"]
    assert any("/resolvers/edges.py:" in place for place in line["where"])
    assert any("/store/database.py:" in place for place in line["where"])
    assert "domain_slug" not in orjson.dumps(answer.body).decode()


async def test_no_data_in_answer_or_log(world: World, gateway: Gateway) -> None:
    """A fault whose text holds people's data, from a statement with more of it, brings none into answer or log."""
    await on_server(
        world.url,
        "CREATE FUNCTION tell(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'mail: %', $1; END $$",
        "CREATE POLICY told ON contacts AS RESTRICTIVE USING (tell(email))",
    )
    with capture_logs() as logs:
        answer = await gateway.ask(SEARCH, world.acme.tokens["admin"], {"words": "maegan"})
    assert answer.body["data"] is None
    line = check_masked(answer, logs, "INTERNAL_SERVER_ERROR")
    assert "SQLSTATE P0001" in line["detail"]
    said = f"{answer.body} {logs}".lower()
    for secret in ("maegan", "mail:", "select", world.acme.tokens["admin"]):
        assert secret not in said


async def test_fault_of_the_code(world: World, gateway: Gateway) -> None:
    """A fault outside any field is masked as well, as an answer of status 500."""
    await on_server(
        world.url,
        "ALTER TABLE users DROP CONSTRAINT users_role_check",
        f"UPDATE users SET role = 'WIZARD' WHERE id = {world.acme.admin}",
    )
    with capture_logs() as logs:
        answer = await gateway.ask(BOTH, world.acme.tokens["admin"])
    assert answer.status == 500
    assert answer.headers["content-type"].startswith("application/json")
    line = check_masked(answer, logs, "INTERNAL_SERVER_ERROR")
    assert line["error"] == "ValueError"
    assert any("/store/identity.py:" in place for place in line["where"])
    assert (await gateway.ask(BOTH, world.acme.tokens["member"])).data


async def test_connections_lost_between_requests(world: World, server: str, gateway: Gateway) -> None:
    """After the database has ended all connections the next request is answered as if nothing had been."""
    assert (await gateway.ask(BOTH, world.acme.tokens["admin"])).data
    await on_server(server, TERMINATE.format(make_url(world.url).database))
    with capture_logs() as logs:
        assert (await gateway.ask(BOTH, world.acme.tokens["admin"])).data
    assert faults(logs) == []


async def test_connection_lost_in_a_statement(world: World, server: str, gateway: Gateway) -> None:
    """An operation whose connection ends is told to try again, and trying again helps."""
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await gateway.ask(BOTH, world.acme.tokens["admin"]))

    with capture_logs() as logs:
        async with locked(world.url, "campaign_settings") as awaited, anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await awaited()
            only_ours = TERMINATE.format(make_url(world.url).database) + " AND application_name = 'campaign-gateway'"
            await on_server(server, only_ours)
    assert answers[0].body["data"]["viewer"] == {"user": {"lastName": "Admin"}}
    check_masked(answers[0], logs, "SERVICE_UNAVAILABLE")
    assert (await gateway.ask(BOTH, world.acme.tokens["admin"])).data


async def test_statement_timeout(world: World) -> None:
    """A statement that takes too long is given up: in a field with a code of its own, at sign-in with 503."""
    async with running_gateway(world.url, statement_timeout=0.3) as gateway:
        async with locked(world.url, "campaign_settings"):
            with capture_logs() as logs:
                answer = await gateway.ask(BOTH, world.acme.tokens["admin"])
            assert answer.body["data"] == {"viewer": {"user": {"lastName": "Admin"}}, "campaignSettings": None}
            check_masked(answer, logs, "TIMEOUT")
        async with locked(world.url, "access_tokens"):
            check_unavailable(await gateway.ask(BOTH, world.acme.tokens["admin"]))
        assert (await gateway.ask(BOTH, world.acme.tokens["admin"])).data


class DriverError(Exception):
    """What the driver raises, as far as it is looked at."""

    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize("state", ["08006", "53300", "57P01", "57P02", "57P03", None])
def test_codes_of_lost_connections(state: str | None) -> None:
    """Which of the server's last words and the driver's own notice comes first is chance; either is enough."""
    lost = DBAPIError("SELECT 1", {}, DriverError(state), connection_invalidated=state is None)
    assert fault_code(lost) == "SERVICE_UNAVAILABLE"
    assert fault_code(DBAPIError("SELECT 1", {}, DriverError("42703"))) == "INTERNAL_SERVER_ERROR"


def test_code_of_a_timeout() -> None:
    """Server and driver give a statement up at the same time: whoever is first, the client reads the same."""
    assert fault_code(DBAPIError("SELECT 1", {}, DriverError("57014"))) == "TIMEOUT"
    assert fault_code(TimeoutError()) == "TIMEOUT"


async def test_all_connections_in_use(world: World) -> None:
    """A request that gets no connection in time is told that the service is unavailable."""
    async with running_gateway(world.url, statement_timeout=0.3, database_pool_size=1) as gateway:
        async with gateway._database.reading(Scope(world.acme.id, world.acme.admin, True)) as held:
            await held.rows(text("SELECT 1"), {})
            check_unavailable(await gateway.ask(BOTH, world.acme.tokens["admin"]))
        assert (await gateway.ask(BOTH, world.acme.tokens["admin"])).data


CLOSINGS = {
    "closed": ("ALTER DATABASE {} ALLOW_CONNECTIONS false", "ALTER DATABASE {} ALLOW_CONNECTIONS true"),
    "renamed": ("ALTER DATABASE {} RENAME TO {}_away", "ALTER DATABASE {}_away RENAME TO {}"),
}


@pytest.mark.parametrize("closing", CLOSINGS.values(), ids=CLOSINGS.keys())
async def test_database_goes_and_comes_back(
    world: World, server: str, gateway: Gateway, closing: tuple[str, str]
) -> None:
    """While the database takes no connections the answer is 503, and once it does again all is well."""
    name = str(make_url(world.url).database)
    close, reopen = (statement.format(name, name) for statement in closing)
    token = world.acme.tokens["admin"]
    assert (await gateway.ask(BOTH, token)).data
    if "RENAME" in close:
        await on_server(server, TERMINATE.format(name), close)
    else:
        await on_server(server, close, TERMINATE.format(name))
    with capture_logs() as logs:
        answer = await gateway.ask(BOTH, token)
    check_unavailable(answer)
    assert [line["request_id"] for line in faults(logs)] == [answer.headers["x-request-id"]]
    assert (await gateway.http.get("/readyz")).status_code == 503
    assert (await gateway.http.get("/healthz")).status_code == 200
    await on_server(server, reopen)
    assert (await gateway.ask(BOTH, token)).data
    assert (await gateway.http.get("/readyz")).status_code == 200


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
async def test_database_that_cannot_be_reached(world: World, accept: str) -> None:
    """Where nothing listens the answer is 503; neither answer nor log holds the database's address or password."""
    url = f"postgresql+asyncpg://owner:{PASSWORD}@127.0.0.1:1/campaigns"
    async with running_gateway(url) as gateway:
        with capture_logs() as logs:
            answer = await sent(gateway, BOTH, world.acme.tokens["admin"], {"Accept": accept})
            ready = await gateway.http.get("/readyz")
    check_unavailable(answer)
    assert answer.headers["content-type"].startswith(accept)
    assert (ready.status_code, ready.headers["content-type"]) == (503, "application/json")
    said = f"{answer.body} {ready.text} {logs}"
    assert "127.0.0.1" not in f"{answer.body} {ready.text}"
    assert PASSWORD not in said
    assert "postgresql" not in said


@pytest.fixture
def unmigrated(copy_of: Callable[[str], str]) -> str:
    """A database without tables."""
    return copy_of("template1")


async def test_readiness(unmigrated: str, world: World, gateway: Gateway) -> None:
    """A gateway over a database of another revision, or of none, is alive and not ready."""
    assert (await gateway.http.get("/readyz")).json() == {"status": "ok"}
    await on_server(world.url, "UPDATE alembic_version SET version_num = '0001'")
    response = await gateway.http.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"status": "the database is not migrated"})
    async with running_gateway(unmigrated) as other:
        assert (await other.http.get("/readyz")).status_code == 503
        assert (await other.http.get("/healthz")).json() == {"status": "ok"}


async def sent(gateway: Gateway, query: str, token: str, headers: Mapping[str, str], path: str = "/graphql") -> Answer:
    all_headers = {"Authorization": f"Bearer {token}", **headers}
    response = await gateway.http.post(
        path, json={"query": query, "variables": {"words": "private"}}, headers=all_headers
    )
    return Answer(response.status_code, response.json(), response.headers)


async def test_log_line_of_a_request(world: World, gateway: Gateway) -> None:
    """A request leaves one line: how it was asked, answered and how long it took; not what was asked, nor by whom."""
    token = world.acme.tokens["admin"]
    headers = {"Cookie": "session=private", "User-Agent": "private"}
    for query in (SEARCH, "{ private }", "{ private", "mutation { private }", ""):
        with capture_logs() as logs:
            answer = await sent(gateway, query, token, headers, f"/graphql?signature=private&token={token}")
        (line,) = requests(logs)
        assert line.pop("milliseconds") >= 0
        assert line == {
            "event": "request",
            "log_level": "info",
            "method": "POST",
            "path": "/graphql",
            "status": answer.status,
            "request_id": answer.headers["x-request-id"],
        }


# The wire: what no client library sends.

BODY = orjson.dumps({"query": BOTH})


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    """Sent without saying how long it is."""
    for start in range(0, len(body), 300):
        yield body[start : start + 300]


def head(token: str, *lines: str) -> bytes:
    common = ("POST /graphql HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", "Content-Type: application/json")
    return "\r\n".join((*common, *lines, "", "")).encode("latin-1")


async def raw_answer(gateway: Gateway, sent: bytes) -> bytes:
    """What comes back for these bytes while the connection stays open."""
    async with await anyio.connect_tcp("127.0.0.1", gateway.http.base_url.port or 0) as stream:
        await stream.send(sent)
        with anyio.fail_after(10):
            return await stream.receive()


async def test_size_of_the_body(world: World) -> None:
    """A body of the maximum is read, one byte more is not: told beforehand, or found while it comes in."""
    headers = {"Authorization": f"Bearer {world.acme.tokens['admin']}", "Content-Type": "application/json"}
    full, more = BODY.ljust(2000), BODY.ljust(2001)
    async with running_gateway(world.url, max_body_bytes=2000) as gateway:
        for content in (full, in_chunks(full)):
            assert "errors" not in (await gateway.http.post("/graphql", content=content, headers=headers)).json()
        for content in (more, in_chunks(more)):
            response = await gateway.http.post("/graphql", content=content, headers=headers)
            assert response.status_code == 413
            assert response.json()["errors"][0]["extensions"] == {"code": "BODY_TOO_LARGE"}
        announced = await raw_answer(gateway, head(world.acme.tokens["admin"], "Content-Length: 2001"))
        assert announced.startswith(b"HTTP/1.1 413 ")


async def test_body_that_ends_too_early(world: World, gateway: Gateway) -> None:
    """A client that goes away in the middle of its body made a bad request; it is no fault of ours."""
    for line in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        with capture_logs() as logs:
            async with await anyio.connect_tcp("127.0.0.1", gateway.http.base_url.port or 0) as stream:
                await stream.send(head(world.acme.tokens["admin"], line) + b'40\r\n{"query": "{ __typen')
            with anyio.fail_after(10):
                while not requests(logs):  # noqa: ASYNC110 - the log has no event to wait for
                    await anyio.sleep(0.001)
        assert [(line["event"], line["status"]) for line in requests(logs)] == [("request", 400)]


async def test_broken_frames(world: World, gateway: Gateway) -> None:
    """A message that is not HTTP is refused, and the next one is answered."""
    token = world.acme.tokens["admin"]
    for lines, body in (
        (("Content-Length: -5",), b"{}"),
        (("Content-Length: ²",), b"{}"),
        (("Content-Length: " + "9" * 5000,), b"{}"),
        (("Content-Length: 2", "Content-Length: 3"), b"{}"),
        (("Content-Length: 2", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
        (("Transfer-Encoding: chunked",), b"zz\r\n{}\r\n0\r\n\r\n"),
    ):
        assert (await raw_answer(gateway, head(token, *lines) + body)).startswith(b"HTTP/1.1 400 ")
    assert (await gateway.ask(BOTH, token)).data


async def test_wrong_method_elsewhere(gateway: Gateway) -> None:
    """Every path says which methods it has."""
    response = await gateway.http.put("/healthz")
    assert (response.status_code, set(response.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert response.json()["errors"][0]["extensions"]["code"] == "METHOD_NOT_ALLOWED"
    assert (await gateway.http.request("TRACE", "/graphql")).status_code == 405


async def test_fault_does_not_spread(world: World, gateway: Gateway) -> None:
    """A fault in one field does no harm to those that are read after it."""
    await on_server(world.url, "ALTER TABLE campaign_settings DROP COLUMN domain_slug CASCADE")
    answer = await gateway.ask(f"{{ campaignSettings {{ domainSlug }} {HEALTHY} }}", world.acme.tokens["admin"])
    assert answer.codes == ["INTERNAL_SERVER_ERROR"]
    assert answer.body["data"] == {"viewer": {"user": {"lastName": "Admin"}}, "campaignSettings": None}


@pytest.mark.parametrize(
    ("state", "passes"), [("40P01", True), ("40001", True), ("57P01", True), ("53300", True), ("22012", False)]
)
async def test_faults_that_pass_by_themselves(world: World, state: str, passes: bool) -> None:
    """A deadlock, a server that goes down or is full may be tried again; a mistake of ours may not."""
    database = Database(world.url, pool_size=1)
    try:
        with pytest.raises(DBAPIError) as caught:
            async with database.writing(world.acme.id) as session:
                await session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$"))
        assert is_outage(caught.value) is passes
    finally:
        await database.close()
