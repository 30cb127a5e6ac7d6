"""Is everything that a client can get wrong in a request answered with a clear error, and never with a fault?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.build import TestCompany
from tests.client import Answer, Gateway, running_gateway
from tests.conftest import database, on_server

pytestmark = pytest.mark.anyio

JSON = "application/json"
RESPONSE = "application/graphql-response+json"
VIEWER = "{ viewer { user { lastName } } }"
BY_ID = "query ($id: ID!) { campaign(id: $id) { name } }"
FIRST = "query ($first: Int) { campaigns(first: $first) { totalCount } }"
FILTERED = "query ($filter: CampaignFilter) { campaigns(filter: $filter) { totalCount } }"


@dataclass(frozen=True)
class Shared:
    """A gateway that the tests of this module share, for none of them writes; and an administrator's token."""

    gateway: Gateway
    token: str

    async def send(self, body: bytes | AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> Answer:
        sent = {"Content-Type": JSON, "Authorization": f"Bearer {self.token}", **(headers or {})}
        response = await self.gateway.http.post("/graphql", content=body, headers=sent)
        return Answer(response.status_code, response.json(), response.headers)

    async def ask(self, query: object, accept: str = JSON, **more: object) -> Answer:
        return await self.send(orjson.dumps({"query": query, **more}), {"Accept": accept})


@pytest.fixture(scope="module")
async def shared(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Shared]:
    template, acme, _ = world_template
    await on_server(server, f"CREATE DATABASE http_tests TEMPLATE {template}")
    async with running_gateway(database(server, "http_tests")) as gateway:
        yield Shared(gateway, acme.tokens["admin"])
    await on_server(server, "DROP DATABASE http_tests WITH (FORCE)")


def check_errors(answer: Answer, status: int, code: str, media_type: str = JSON) -> None:
    """What every answer with errors has: a message and a code for each error, JSON, and the request's id."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].split(";")[0] == media_type
    assert answer.headers["x-request-id"]
    assert answer.codes, answer.body
    assert set(answer.codes) == {code}, answer.body
    assert all(isinstance(error["message"], str) and error["message"] for error in answer.body["errors"])


def request(**members: object) -> bytes:
    return orjson.dumps(members)


def nested(times: int, opening: str = "[", closing: str = "]", inmost: str = "") -> str:
    return opening * times + inmost + closing * times


def with_variable(json: str, query: str = "{ __typename }") -> bytes:
    """`json` as it is, for what no encoder writes."""
    return f'{{"query": "{query}", "variables": {{"a": {json}}}}}'.encode()


def label(value: object) -> str | None:
    return ascii(value)[1:40] if isinstance(value, str) else None


NOT_JSON = {
    "nothing": b"",
    "only space": b" \n",
    "not closed": b'{"query": "{ __typename }"',
    "a plain word": b"foo",
    "a form": b"query=%7B__typename%7D",
    "a GraphQL document": b"{ __typename }",
    "single quotes": b"{'query': '{ __typename }'}",
    "trailing comma": b'{"query": "{ __typename }",}',
    "two values": b'{"query": "{ __typename }"} {}',
    "not UTF-8": b'{"query": "{ __typename } # \xff\xfe"}',
    "UTF-16": '{"query": "{ __typename }"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"query": "{ __typename }"}',
    "control character": b'{"query": "{ __typename }\x00"}',
    "lone surrogate in the document": b'{"query": "{ campaign(id: \\"\\ud800\\") { name } }"}',
    "lone surrogate in a variable": with_variable('"\\udc00"'),
    "lone surrogate in a key": b'{"query": "{ __typename }", "\\ud800": 1}',
    "NaN": with_variable("NaN"),
    "Infinity": with_variable("-Infinity"),
    "number beyond a double": with_variable("1e999"),
    "number of 6000 digits": with_variable("9" * 6000),
    "5000 arrays deep": nested(5000).encode(),
    "5000 objects deep": nested(5000, '{"a":', "}", "1").encode(),
    "5000 arrays in a variable": with_variable(nested(5000)),
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_body_that_is_not_json(shared: Shared, body: bytes) -> None:
    """A body that is not JSON is a bad request, for either media type."""
    check_errors(await shared.send(body), 400, "INVALID_JSON")
    check_errors(await shared.send(body, {"Accept": RESPONSE}), 400, "INVALID_JSON", RESPONSE)


NOT_A_REQUEST = {
    "a text": b'"foo"',
    "a number": b"123",
    "null": b"null",
    "true": b"true",
    "an array": b"[1]",
    "an empty array": b"[]",
    "a batch": b"[%s]" % request(query=VIEWER),
    "1000 arrays deep": nested(1000).encode(),
    "an empty object": b"{}",
    "no query": request(variables={}),
    "query is empty": request(query=""),
    "query is space": request(query=" \n\t"),
    "query is null": request(query=None),
    "query is a number": request(query=5),
    "query is an object": request(query={"__typename": True}),
    "query is a list": request(query=[VIEWER]),
    "query only in a prototype": request(__proto__={"query": VIEWER}),
    "the last of two queries is a number": b'{"query": "{ __typename }", "query": 5}',
    "variables are a text": request(query=VIEWER, variables="{}"),
    "variables are a list": request(query=VIEWER, variables=[]),
    "variables are a number": request(query=VIEWER, variables=0),
    "variables are false": request(query=VIEWER, variables=False),
    "operationName is a number": request(query=VIEWER, operationName=5),
    "operationName is a list": request(query=VIEWER, operationName=["a"]),
    "operationName is false": request(query=VIEWER, operationName=False),
}


@pytest.mark.parametrize("body", NOT_A_REQUEST.values(), ids=NOT_A_REQUEST.keys())
async def test_json_that_is_not_a_request(shared: Shared, body: bytes) -> None:
    """JSON other than one object with the parameters of an operation is a bad request."""
    check_errors(await shared.send(body), 400, "INVALID_REQUEST")
    check_errors(await shared.send(body, {"Accept": RESPONSE}), 400, "INVALID_REQUEST", RESPONSE)


def chain_of_fragments(length: int, spread: str) -> str:
    chain = "".join(f"fragment F{i} on Query {{ {spread.replace('?', f'F{i + 1}')} }} " for i in range(length))
    return f"{{ ...F0 }} {chain} fragment F{length} on Query {{ __typename }}"


SYNTAX, INVALID = "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"
COMPLEX, UNRESOLVED = "QUERY_TOO_COMPLEX", "OPERATION_RESOLUTION_FAILURE"
TWO = "query a { __typename } query b { __typename }"
TOO_COSTLY = """
    { campaigns(first: 100) { nodes { recipients(first: 100) { nodes { id contact { id firstName lastName } } } } } }
"""
REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    (SYNTAX, "# only a comment", {}),
    (SYNTAX, "{", {}),
    (SYNTAX, "{ ☃ }", {}),
    (SYNTAX, "{ viewer\u00a0{ user } }", {}),
    (SYNTAX, "{ \U0001f600\u202e }", {}),
    (SYNTAX, "{ \x00__typename }", {}),
    (SYNTAX, '{ campaign(id: "', {}),
    (SYNTAX, r'{ campaign(id: "\uD800") { name } }', {}),
    (SYNTAX, r'{ campaign(id: "\u{DFFF}") { name } }', {}),
    (SYNTAX, r'{ campaign(id: "\u{110000}") { name } }', {}),
    (SYNTAX, '{ campaign(id: "\n") { name } }', {}),
    (SYNTAX, "query ($first: Int = $second) { __typename }", {}),
    (SYNTAX, "query a { query query query", {}),
    (INVALID, "{ vieweer { user { lastName } } }", {}),
    (INVALID, "{ viewer }", {}),
    (INVALID, "{ __typename { a } }", {}),
    (INVALID, "{ __proto__ }", {}),
    (INVALID, "{ constructor prototype toString }", {}),
    (INVALID, "{ viewer @unknown { __typename } }", {}),
    (INVALID, "{ ...missing }", {}),
    (INVALID, "{ ...f } fragment f on Query { ...f }", {}),
    (INVALID, "{ node(id: 1) { ... on __proto__ { x } } }", {}),
    (INVALID, "{ __typename } { __typename }", {}),
    (INVALID, "query a { __typename } query a { __typename }", {"operationName": "a"}),
    (INVALID, "{ __typename } type Query { a: Int }", {}),
    (INVALID, f"{{ campaigns(first: {2**31}) {{ totalCount }} }}", {}),
    (INVALID, f"{{ campaigns(first: {'9' * 5000}) {{ totalCount }} }}", {}),
    (INVALID, "{ campaigns(first: 1e400) { totalCount } }", {}),
    (INVALID, '{ campaigns(first: "1") { totalCount } }', {}),
    (INVALID, "{ campaigns(filter: { __proto__: 1 }) { totalCount } }", {}),
    (INVALID, "{ campaigns(filter: { statusIn: [NO_STATUS] }) { totalCount } }", {}),
    (INVALID, "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }", {}),
    (INVALID, chain_of_fragments(500, "...?"), {}),
    (INVALID, "{ " + "campaign " * 4990 + "}", {}),
    (COMPLEX, nested(5000, "{", "}"), {}),
    (COMPLEX, nested(5000, "{ a", "}"), {}),
    (COMPLEX, f"{{ campaigns(filter: {nested(5000)}) {{ totalCount }} }}", {}),
    (COMPLEX, "query ($a: " + nested(5000, "[", "]", "Int") + ") { __typename }", {}),
    (COMPLEX, "{ " + "__typename " * 6000 + "}", {}),
    (COMPLEX, "{ " + "".join(f"a{i}: __typename " for i in range(101)) + "}", {}),
    (COMPLEX, chain_of_fragments(40, "...? ...?"), {}),
    (COMPLEX, TOO_COSTLY, {}),
    (UNRESOLVED, "fragment f on Query { __typename }", {}),
    (UNRESOLVED, "type Query { a: Int }", {}),
    (UNRESOLVED, TWO, {}),
    (UNRESOLVED, TWO, {"operationName": None}),
    (UNRESOLVED, TWO, {"operationName": ""}),
    (UNRESOLVED, TWO, {"operationName": "c"}),
    (UNRESOLVED, TWO, {"operationName": "__proto__"}),
    (UNRESOLVED, VIEWER, {"operationName": "viewer"}),
    (INVALID, BY_ID, {}),
    (INVALID, BY_ID, {"variables": {"ID": "1"}}),
    (INVALID, BY_ID, {"variables": {"__proto__": {"id": "1"}}}),
    (INVALID, FILTERED, {"variables": {"filter": "search"}}),
    (INVALID, FILTERED, {"variables": {"filter": {"__proto__": 1}}}),
    (INVALID, FILTERED, {"variables": {"filter": {"statusIn": [None]}}}),
    (INVALID, FILTERED, {"variables": {"filter": {"statusIn": ["draft"]}}}),
    (INVALID, "query ($first: String) { campaigns(first: $first) { totalCount } }", {}),
    (INVALID, "query ($first: Intt) { campaigns(first: $first) { totalCount } }", {}),
    (INVALID, "{ campaigns(first: $first) { totalCount } }", {"variables": {"first": 1}}),
    (INVALID, "query ($unused: Int) { __typename }", {}),
    (INVALID, "query ($a: Int, $a: Int) { campaigns(first: $a) { totalCount } }", {}),
]  # fmt: skip


NOT_IDS: tuple[object, ...] = (None, {}, ["1"], True, 1.5)
NOT_INTS: tuple[object, ...] = ("1", 1.5, True, [1], {}, 2**31, -(2**31) - 1, 2**63, 1e300)
REFUSED += [(INVALID, BY_ID, {"variables": {"id": value}}) for value in NOT_IDS]
REFUSED += [(INVALID, FIRST, {"variables": {"first": value}}) for value in NOT_INTS]


@pytest.mark.parametrize(("code", "query", "more"), REFUSED, ids=label)
async def test_operation_that_cannot_be_executed(shared: Shared, code: str, query: str, more: dict[str, Any]) -> None:
    """A well-formed request for nothing that can be executed: 400 in the newer media type, 200 in the older."""
    old, new = await shared.ask(query, **more), await shared.ask(query, RESPONSE, **more)
    check_errors(old, 200, code)
    check_errors(new, 400, code, RESPONSE)
    assert "data" not in old.body
    assert old.body == new.body


DEEP = [nested(1000), f'{{"teamIdIn": {nested(1000)}}}', nested(300, '{"a":', "}", "1"), nested(60)]


@pytest.mark.parametrize("json", DEEP)
async def test_deep_variables(shared: Shared, json: str) -> None:
    """Variables that are nested deeper than 60 levels are refused before they are read, and exhaust nothing."""
    query = "query ($a: CampaignFilter) { campaigns(filter: $a) { totalCount } }"
    check_errors(await shared.send(with_variable(json, query)), 400, "INVALID_REQUEST")


async def test_variables_that_are_not_too_deep(shared: Shared) -> None:
    """Up to there it is the schema that decides."""
    query = "query ($a: CampaignFilter) { campaigns(filter: $a) { totalCount } }"
    check_errors(await shared.send(with_variable(nested(59), query)), 200, INVALID)


SEARCHED = "query ($words: String) { campaigns(filter: { search: $words }) { totalCount } }"
PAGED = "query ($after: String) { campaigns(after: $after) { nodes { name } } }"
EXECUTED = [
    ("INVALID_ID", BY_ID, {"id": "\x00"}),
    ("INVALID_ID", BY_ID, {"id": "\ufeff"}),
    ("INVALID_ID", BY_ID, {"id": "__proto__"}),
    ("INVALID_ID", BY_ID, {"id": "9" * 5000}),
    ("INVALID_ID", BY_ID, {"id": "a" * 500_000}),
    ("INVALID_ID", "query ($id: ID!) { node(id: $id) { id } }", {"id": "\x00"}),
    ("INVALID_ID", "query ($id: ID!) { node(id: $id) { id } }", {"id": "a" * 5000}),
    ("INVALID_ID", "query ($id: ID!) { user(id: $id) { id } }", {"id": -1}),
    ("INVALID_ID", "query ($id: ID!) { user(id: $id) { id } }", {"id": "１"}),  # a digit, of another script
    ("NOT_FOUND", "query ($id: ID!) { user(id: $id) { id } }", {"id": 10**18}),
    ("INVALID_ID", FILTERED, {"filter": {"teamIdIn": ["1", "\x00"]}}),
    ("BAD_USER_INPUT", SEARCHED, {"words": "a\x00b"}),
    ("BAD_USER_INPUT", SEARCHED, {"words": "a" * 201}),
    ("INVALID_CURSOR", PAGED, {"after": "\x00"}),
    ("INVALID_CURSOR", PAGED, {"after": "☃"}),
]


@pytest.mark.parametrize(("code", "query", "variables"), EXECUTED, ids=label)
async def test_value_that_no_field_takes(shared: Shared, code: str, query: str, variables: dict[str, Any]) -> None:
    """A value of the right type that means nothing is an error of its field, which the path names."""
    for accept in (JSON, RESPONSE):
        answer = await shared.ask(query, accept, variables=variables)
        check_errors(answer, 200, code, accept)
        assert answer.body["errors"][0]["path"] == [answer.body["errors"][0]["path"][0]]
        assert "data" in answer.body


async def test_unknown_names_come_with_suggestions(shared: Shared) -> None:
    """Whoever mistypes a name is told which one was probably meant."""
    field = await shared.ask("{ vieweer { __typename } }")
    argument = await shared.ask("{ campaigns(frist: 1) { totalCount } }")
    assert "Did you mean 'viewer'?" in field.body["errors"][0]["message"]
    assert "Did you mean 'first'" in argument.body["errors"][0]["message"]


ODD_BUT_RIGHT = {
    "last of two keys": b'{"query": 5, "query": "{ __typename }"}',
    "more keys": request(query="{ __typename }", __proto__={}, constructor=1, extensions={"a": 1}),
    "more variables": request(query="{ __typename }", variables={"__proto__": {"a": 1}, "toString": None}),
    "nulls": request(query="{ __typename }", operationName=None, variables=None, extensions=None),
    "odd names": request(query="query __proto__ { ...toString } fragment toString on Query { __typename }"),
    "named operation": request(query=TWO, operationName="b"),
    "empty name of one operation": request(query="{ __typename }", operationName=""),
    "words of the language in a text": request(query='{ __typename } # query "query" query'),
}


@pytest.mark.parametrize("body", ODD_BUT_RIGHT.values(), ids=ODD_BUT_RIGHT.keys())
async def test_odd_requests_are_answered(shared: Shared, body: bytes) -> None:
    """Names that mean something elsewhere, and keys that nobody asked for, change nothing."""
    assert (await shared.send(body)).data == {"__typename": "Query"}


@pytest.mark.parametrize(
    "content_type",
    [
        "", "text/plain", "application/graphql", "application/jsonx", "application/x-www-form-urlencoded", "json",
        "multipart/form-data; boundary=x", "application/json; charset=latin-1", "application/json, text/plain", ";",
    ],
)  # fmt: skip
async def test_wrong_content_type(shared: Shared, content_type: str) -> None:
    """Only JSON in UTF-8 is read: a form of another site cannot send it."""
    answer = await shared.send(request(query=VIEWER), {"Content-Type": content_type})
    check_errors(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("content_type", ["APPLICATION/JSON", "application/json;charset=UTF-8", "application/json ;"])
async def test_spellings_of_the_content_type(shared: Shared, content_type: str) -> None:
    """Case, and a character set that says UTF-8, make no difference."""
    answer = await shared.send(request(query=VIEWER), {"Content-Type": content_type})
    assert answer.data == {"viewer": {"user": {"lastName": "Admin"}}}


ACCEPTED = {
    "*/*": JSON,
    "": JSON,
    "text/html": JSON,
    "application/json": JSON,
    RESPONSE: RESPONSE,
    f"{RESPONSE.upper()}; charset=utf-8": RESPONSE,
    f"{JSON}, {RESPONSE};q=0.9": RESPONSE,
    ",;;,=": JSON,
}


@pytest.mark.parametrize(("accept", "media_type"), ACCEPTED.items())
async def test_media_type_of_the_answer(shared: Shared, accept: str, media_type: str) -> None:
    """A client that names the newer media type gets it, every other gets JSON."""
    answer = await shared.ask(VIEWER, accept)
    assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert answer.data == {"viewer": {"user": {"lastName": "Admin"}}}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_wrong_method(shared: Shared, method: str) -> None:
    """GraphQL is sent with POST, and the answer to other methods says so."""
    response = await shared.gateway.http.request(method, "/graphql", params={"query": VIEWER})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.headers["x-request-id"]
    if method != "HEAD":
        check_errors(Answer(405, response.json(), response.headers), 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    "path", ["/nothing", "/graphql/more", "/%00", "/%ff", "/a%0ab", "/graphiql/assets/..%2f..%2fx"]
)
async def test_unknown_path(shared: Shared, path: str) -> None:
    """What is not there is answered as JSON, too."""
    response = await shared.gateway.http.get(path)
    check_errors(Answer(response.status_code, response.json(), response.headers), 404, "NOT_FOUND")


async def test_request_ids(shared: Shared) -> None:
    """A sensible id that a proxy gave is kept; anything else is replaced by one of our own."""
    kept = await shared.send(request(query=VIEWER), {"X-Request-Id": "proxy-1234"})
    assert kept.headers["x-request-id"] == "proxy-1234"
    for given in ("short", "a" * 65, 'a"b\\c{}12345', "two words here"):
        answer = await shared.send(request(query=VIEWER), {"X-Request-Id": given})
        assert answer.headers["x-request-id"] not in ("", given)
