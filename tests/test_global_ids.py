"""Which row does an id name, and what is said to an id that names none?"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers import global_ids
from resolvers.errors import ClientError
from resolvers.global_ids import KeyKind
from schema.build import build_schema
from schema.registry import SOURCES
from tests.build import TestCompany
from tests.client import Gateway
from tests.conftest import World
from tests.graph import Graph

pytestmark = pytest.mark.anyio

GRAPH = Graph(build_schema()._schema)
NODES = "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"


def key_of(company: TestCompany, typename: str) -> object:
    """The raw id of a row that there is."""
    rows = {"Campaign": "sent", "Contact": "contact", "Template": "template", "Export": "export"}
    rows["TestDelivery"] = "test_delivery"
    return company.rows[rows[typename]] if typename in rows else company.admin


def base64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def misspelled(typename: str, key: object) -> dict[str, str]:
    """Texts that are not an id of the type, though a reader who is not strict would find the row in most."""
    id_ = global_ids.encode(typename, key)
    texts = {
        "empty": "",
        "a NUL": "\x00",
        "a NUL behind": f"{key}\x00",
        "a blank before": f" {key}",
        "a line end behind": f"{key}\n",
        "a sign": f"+{key}",
        "negative": f"-{key}",
        "10 kB": "x" * 10_000,
        "10 kB of digits": "9" * 10_000,
        "no base64": "\u00e9\u00e9",
        "no text in base64": "_____w",
        "no colon": base64(typename),
        "no id": base64(f"{typename}:"),
        "no type": base64(f":{key}"),
        "an unknown type": base64(f"Widget:{key}"),
        "a type in small letters": base64(f"{typename.lower()}:{key}"),
        "two colons": base64(f"{typename}:{key}:{key}"),
        "a NUL in base64": base64(f"{typename}:{key}\x00"),
        "a blank in base64": base64(f"{typename}: {key}"),
        "a letter": base64(f"{typename}:x"),
        "10 kB in base64": base64(f"{typename}:" + "1" * 10_000),
        "10 kB of a type": base64("x" * 10_000 + f":{key}"),
        "padding": f"{id_}====",
        "what is not base64 before": f"!{id_}",
        "what is not base64 behind": f"{id_}\n",
        "the id twice": id_ * 2,
    }
    if isinstance(key, int):
        return texts | {
            "zeros": f"00{key}",
            "zeros in base64": base64(f"{typename}:00{key}"),
            "a fraction": f"{key}.0",
            "a line": f"{key}_0",
            "other digits": "\u0663",
            "a power": "\u00b2",
        }
    return texts | {
        "braces": f"{{{key}}}",
        "urn": f"urn:uuid:{key}",
        "no hyphens": str(key).replace("-", ""),
        "cut": str(key)[:-1],
        "capitals in base64": base64(f"{typename}:{str(key).upper()}"),
    }


async def test_misspelled_ids(gateway: Gateway, world: World) -> None:
    """What is not an id of the type is INVALID_ID, never a row and never a fault, and so it is for `node`."""
    for field, typename in GRAPH.named().items():
        for name in (field, "node"):
            document = f"query ($id: ID!) {{ {name}(id: $id) {{ id }} }}"
            texts = misspelled(typename, key_of(world.acme, typename))
            if name != "node":
                texts["another type"] = global_ids.encode("Team", world.acme.rows["sales"])
            for what, text in texts.items():
                answer = await gateway.ask(document, world.acme.tokens["admin"], {"id": text})
                assert (answer.status, answer.codes, answer.body["data"]) == (200, ["INVALID_ID"], {name: None}), what


async def test_spellings_of_an_id(gateway: Gateway, world: World) -> None:
    """A row is found by its global id and by its raw id; a UUID may have capitals."""
    for field, typename in GRAPH.named().items():
        key = key_of(world.acme, typename)
        id_ = global_ids.encode(typename, key)
        document = f"query ($id: ID!) {{ {field}(id: $id) {{ id }} }}"
        for text in (id_, str(key), str(key).upper()):
            answer = await gateway.ask(document, world.acme.tokens["admin"], {"id": text})
            assert answer.data == {field: {"id": id_}}


async def test_numbers_beyond_the_database(gateway: Gateway, world: World) -> None:
    """A number that no row has is NOT_FOUND, even one larger than any of the database's integers."""
    token = world.acme.tokens["admin"]
    numbered = [typename for typename, source in SOURCES.items() if source.key_kind is not KeyKind.UUID]
    for number in (0, 2**31 - 1, 2**31, 2**32 + 1, 2**63 - 1, 2**63, 10**29):
        asked = [("node", global_ids.encode(typename, number)) for typename in numbered]
        asked += [(name, str(number)) for name, typename in GRAPH.named().items() if typename in numbered]
        for name, id_ in asked:
            answer = await gateway.ask(f"query ($id: ID!) {{ {name}(id: $id) {{ id }} }}", token, {"id": id_})
            assert (answer.status, answer.codes) == (200, ["NOT_FOUND"])


async def test_filters_by_misspelled_ids(gateway: Gateway, world: World) -> None:
    """A filter refuses an id that is not one of its type, and finds nothing by a number that no row can have."""
    document = "query ($ids: [ID!]) { campaigns(filter: { teamIdIn: $ids }) { totalCount nodes { id } } }"
    token, team = world.acme.tokens["admin"], world.acme.rows["sales"]
    others = {"another type": global_ids.encode("User", team)}
    for what, text in (misspelled("Team", team) | others).items():
        answer = await gateway.ask(document, token, {"ids": [str(team), text]})
        assert (answer.status, answer.codes) == (200, ["INVALID_ID"]), what
    for number in (2**31, 2**63, 10**29):
        answer = await gateway.ask(document, token, {"ids": [str(number)]})
        assert answer.data == {"campaigns": {"totalCount": 0, "nodes": []}}


async def test_nodes_in_order(gateway: Gateway, world: World) -> None:
    """`nodes` keeps the order of the ids and repeats what is asked twice; only bad ids are null, each with an error."""
    team = global_ids.encode("Team", world.acme.rows["sales"])
    campaign = global_ids.encode("Campaign", world.acme.rows["team"])
    absent = global_ids.encode("Team", 2**31 - 1)
    ids = [campaign, "nonsense", team, absent, campaign, absent, "5", team]
    answer = await gateway.ask(NODES, world.acme.tokens["admin"], {"ids": ids})
    rows = {team: {"__typename": "Team", "id": team}, campaign: {"__typename": "Campaign", "id": campaign}}
    assert answer.body["data"]["nodes"] == [rows.get(id_) for id_ in ids]
    assert {(error["path"][1], error["extensions"]["code"]) for error in answer.body["errors"]} == {
        (1, "INVALID_ID"),
        (3, "NOT_FOUND"),
        (5, "NOT_FOUND"),
        (6, "INVALID_ID"),
    }
    assert len(answer.codes) == 4


async def test_too_many_nodes(gateway: Gateway, world: World) -> None:
    """`nodes` takes a hundred ids, and none of a hundred and one."""
    token, id_ = world.acme.tokens["admin"], global_ids.encode("Team", world.acme.rows["sales"])
    hundred = (await gateway.ask(NODES, token, {"ids": [id_] * 100})).data["nodes"]
    assert hundred == [{"__typename": "Team", "id": id_}] * 100
    assert (await gateway.ask(NODES, token, {"ids": [id_] * 101})).codes == ["BAD_USER_INPUT"]
    assert (await gateway.ask(NODES, token, {"ids": []})).data == {"nodes": []}


@given(st.integers(0, 2**63 - 1) | st.uuids(), st.sampled_from(list(GRAPH.rows)))
def test_global_ids_are_read_back(key: int | UUID, typename: str) -> None:
    """What is encoded is decoded to the same type and key."""
    assert global_ids.decode(global_ids.encode(typename, key)) == (typename, str(key))


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_=-]{0,60}", fullmatch=True), st.sampled_from(KeyKind))
def test_any_text_is_an_id_or_refused(text: str, kind: KeyKind) -> None:
    """No text makes reading an id fail otherwise than with INVALID_ID."""
    try:
        key = global_ids.parse("User", kind, text)
    except ClientError as error:
        key, code = None, error.extensions
    else:
        code = None
    assert code in (None, {"code": "INVALID_ID"})
    assert key is None or text.lower() in (str(key), global_ids.encode("User", key).lower())
