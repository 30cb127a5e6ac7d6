"""Do companies stay apart, whatever is asked, and by either line of defence alone?

The first line is the rule of `store.access` that every statement holds, the second is row security in the
database. What acme's users ask stands beside the rows of its rivals (`tests.rivals`).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest
from sqlalchemy import true

from resolvers.edges import Edge
from resolvers.pages import decode_cursor
from schema.build import build_schema
from store import access
from store.models import ExportKind
from tests.build import TestCompany
from tests.client import Answer, Gateway, running_gateway
from tests.conftest import database, on_server
from tests.graph import FROM_THE_ROOT, NO_LIMITS, Graph, Leaf, never_id, never_key
from tests.rivals import Crowd, crowd_in, leave_alone, switch_row_security_off

pytestmark = pytest.mark.anyio

GRAPH = Graph(build_schema()._schema)
ROLES = ("admin", "manager", "member")
CROWD, OPEN, ALONE = "crowd_of_tests", "open_crowd_of_tests", "alone_in_tests"
FILTERS = {"teamIdIn": "Team", "requestedByIdIn": "User", "userIdIn": "User"}
# The types whose rows are a user's own: a rival's are another user's besides.
PERSONAL = {"Notification"}
NODES = "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"


@pytest.fixture(scope="session")
def crowd(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> Crowd:
    """Acme and its rivals, in the database `CROWD`, without row security in `OPEN`; acme is alone in `ALONE`."""
    name, acme, globex = world_template

    async def make() -> Crowd:
        await on_server(server, f"CREATE DATABASE {CROWD} TEMPLATE {name}")
        made = await crowd_in(database(server, CROWD), acme, globex)
        await on_server(server, *(f"CREATE DATABASE {copy} TEMPLATE {CROWD}" for copy in (OPEN, ALONE)))
        await switch_row_security_off(database(server, OPEN))
        await leave_alone(database(server, ALONE), acme)
        return made

    return asyncio.run(make())


@pytest.fixture(scope="module")
async def gateways(server: str, crowd: Crowd) -> AsyncIterator[dict[str, Gateway]]:
    """A gateway over each of the databases, by its name; nothing here writes to them."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(running_gateway(database(server, name), **NO_LIMITS))
            for name in (CROWD, OPEN, ALONE)
        }


@contextmanager
def rule_removed() -> Iterator[None]:
    """Every statement that is made while this lasts reads the rows of all companies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "of_company", lambda _company_id: true())
        forget_statements()
        try:
            yield
        finally:
            forget_statements()


def forget_statements() -> None:
    """Lets all edges there are build their statements anew."""
    for found in gc.get_objects():
        if issubclass(type(found), Edge):
            found._statement.cache_clear()


@pytest.fixture(params=["both lines", "the rule alone", "row security alone"])
def gateway(gateways: dict[str, Gateway], request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway over the crowd, with both lines of defence or with one."""
    if request.param == "row security alone":
        with rule_removed():
            yield gateways[CROWD]
    else:
        yield gateways[CROWD if request.param == "both lines" else OPEN]


async def all_lists(gateway: Gateway, token: str) -> Any:
    """The answer of the root's lists, with all that can be selected in them."""
    return (await gateway.ask(GRAPH.root_document(), token)).data


async def all_rows(gateway: Gateway, token: str, ids: dict[str, list[str]]) -> Answer:
    """The answer for rows with all their fields and edges; the ids by type."""
    return await gateway.ask(GRAPH.rows_document(), token, dict(ids))


def leaves_of_rows(answer: Answer) -> list[Leaf]:
    rows = (row for found in answer.body["data"].values() for row in found if row is not None)
    return [leaf for row in rows for leaf in GRAPH.leaves(row)]


def leaking_edges(crowd: Crowd, leaves: Iterable[Leaf]) -> set[str]:
    """The edges at the end of which a text or an id of a rival was read."""
    return {leaf.edge for leaf in leaves if crowd.is_foreign(opened(leaf))}


def opened(leaf: Leaf) -> object:
    """The value; of a cursor what it holds."""
    is_cursor = leaf.path[-1].lower().endswith("cursor") and leaf.value is not None
    return decode_cursor(str(leaf.value)) if is_cursor else leaf.value


async def differing_ids(gateway: Gateway, crowd: Crowd) -> set[str]:
    """The fields of the root (with their type) that answer globex's ids otherwise than ids that never existed."""
    found = set()
    for typename, keys in crowd.foreign.items():
        fields = [name for name, named in GRAPH.named().items() if named == typename]
        asked = [(name, never_id(typename), crowd.foreign_ids[typename]) for name in ("node", *fields)]
        asked += [(name, str(never_key(typename)), [str(key) for key in keys]) for name in fields]
        for name, never, theirs in asked:
            document = f"query ($id: ID!) {{ {name}(id: $id) {{ __typename id }} }}"
            expected = await gateway.ask(document, crowd.admin, {"id": never})
            assert expected.codes == ["NOT_FOUND"]
            for id_ in theirs:
                answer = await gateway.ask(document, crowd.admin, {"id": id_})
                if (answer.status, answer.body) != (expected.status, expected.body):
                    found.add(f"{name}({typename} {'raw' if never == str(never_key(typename)) else 'global'})")
    return found


async def test_the_documents_reach_the_whole_schema(gateways: dict[str, Gateway], crowd: Crowd) -> None:
    """Every field of every type is asked for, and every edge leads to a row of acme's, so nothing is left unchecked."""
    lists = await all_lists(gateways[CROWD], crowd.admin)
    rows = await all_rows(gateways[CROWD], crowd.admin, crowd.own_ids)
    assert rows.codes == []
    leaves = [*GRAPH.leaves(lists), *leaves_of_rows(rows)]
    # These take ids, or a kind: other tests ask them for every row, and for every kind.
    asked_by_id = {f"Query.{name}" for name in (*GRAPH.named(), "node", "nodes", "exportColumns")}
    assert {coordinate for leaf in leaves for coordinate in leaf.path} | asked_by_id == GRAPH.coordinates()
    led_to_a_row = {leaf.edge for leaf in leaves if leaf.path[-1].partition(".")[0] in GRAPH.rows}
    assert led_to_a_row >= GRAPH.edges().keys() - asked_by_id
    assert all(crowd.own.values())
    assert all(crowd.foreign.values())
    assert crowd.own.keys() == crowd.foreign.keys() == GRAPH.rows.keys()


async def test_ids_of_others_answer_like_ids_that_never_existed(gateway: Gateway, crowd: Crowd) -> None:
    """`node` and each field that takes an id, global or raw, give NOT_FOUND to the letter as for an unknown id."""
    assert await differing_ids(gateway, crowd) == set()


async def test_nodes_of_others_answer_like_ids_that_never_existed(gateway: Gateway, crowd: Crowd) -> None:
    """`nodes` gives null and NOT_FOUND for each row of globex, to the letter as for unknown ids."""
    theirs = [id_ for ids in crowd.foreign_ids.values() for id_ in ids]
    nobodys = [never_id(typename) for typename, keys in crowd.foreign.items() for _ in keys]
    answers = [await gateway.ask(NODES, crowd.admin, {"ids": ids}) for ids in (theirs, nobodys)]
    assert answers[0].body == answers[1].body
    assert answers[0].body["data"] == {"nodes": [None] * len(theirs)}
    assert answers[0].codes == ["NOT_FOUND"] * len(theirs)


async def test_lists_show_the_company_and_nobody_else(gateway: Gateway, crowd: Crowd) -> None:
    """No list of the root shows a trace of a rival to anyone; an administrator's lists hold all rows of acme."""
    for role in ROLES:
        lists = await all_lists(gateway, crowd.acme.tokens[role])
        assert leaking_edges(crowd, GRAPH.leaves(lists)) == set()
        if role == "admin":
            for (typename, name), field in GRAPH.connections().items():
                target = GRAPH.target(field)
                if typename == "Query" and target is not None:
                    shown = [node["id"] for node in lists[name]["nodes"]]
                    assert sorted(shown) == sorted(crowd.own_ids[target.name])
                    assert lists[name]["totalCount"] == len(shown)


async def test_edges_do_not_lead_out_of_the_company(gateway: Gateway, crowd: Crowd) -> None:
    """No edge of any row of acme leads to a text or an id of a rival, whoever follows it."""
    for role in ROLES:
        answer = await all_rows(gateway, crowd.acme.tokens[role], crowd.own_ids)
        assert leaking_edges(crowd, leaves_of_rows(answer)) == set()
        assert set(answer.codes) <= {"NOT_FOUND"}


async def test_answers_are_the_same_as_if_there_were_no_others(
    gateway: Gateway, gateways: dict[str, Gateway], crowd: Crowd
) -> None:
    """Rows, order, totals, cursors and errors are to the letter those of a database where acme is alone."""
    for role in ROLES:
        token = crowd.acme.tokens[role]
        assert await all_lists(gateway, token) == await all_lists(gateways[ALONE], token)
        for ids in (crowd.own_ids, crowd.foreign_ids):
            answers = [await all_rows(asked, token, ids) for asked in (gateway, gateways[ALONE])]
            assert answers[0].body == answers[1].body


async def test_columns_of_exports_are_the_companys(gateway: Gateway, crowd: Crowd) -> None:
    """The columns that an export may have are made of the company's own fields alone."""
    for kind in ExportKind:
        document = f"{{ exportColumns(kind: {kind}) {{ name header }} }}"
        shown = [(await gateway.ask(document, crowd.acme.tokens[role])).data for role in ROLES]
        assert shown == [shown[0]] * len(ROLES)
        assert not crowd.is_foreign(shown)


async def test_filters_by_ids_of_others_find_nothing(gateway: Gateway, crowd: Crowd) -> None:
    """Lists narrowed to globex's teams or users, by global or raw ids, are empty, and say nothing else."""
    assert GRAPH.filters_by_id().keys() == FILTERS.keys()
    for filter_, places in GRAPH.filters_by_id().items():
        target = FILTERS[filter_]
        theirs = [*crowd.foreign_ids[target], *map(str, crowd.foreign[target])]
        for typename, field in places:
            page = f"{field}(filter: {{ {filter_}: $theirs }}) {{ totalCount nodes {{ id }} }}"
            if typename == "Query":
                answer = await gateway.ask(f"query ($theirs: [ID!]) {{ {page} }}", crowd.admin, {"theirs": theirs})
                pages = [answer.data[field]]
            else:
                document = (
                    f"query ($ids: [ID!]!, $theirs: [ID!]) {{ nodes(ids: $ids) {{ ... on {typename} {{ {page} }} }} }}"
                )
                variables = {"ids": crowd.own_ids[typename], "theirs": theirs}
                answer = await gateway.ask(document, crowd.admin, variables)
                pages = [row[field] for row in answer.data["nodes"]]
            assert all(page == {"totalCount": 0, "nodes": []} for page in pages)


async def test_cursors_of_others_are_refused(gateway: Gateway, crowd: Crowd) -> None:
    """A cursor that globex was given, for a list of the root or of a row, is INVALID_CURSOR for acme."""
    asked = 0
    for (typename, field), cursor in await cursors_of_globex(gateway, crowd):
        for side in ("after", "before"):
            page = f"{field}({side}: $cursor) {{ totalCount nodes {{ id }} }}"
            if typename == "Query":
                answer = await gateway.ask(f"query ($cursor: String) {{ {page} }}", crowd.admin, {"cursor": cursor})
            else:
                document = f"query ($id: ID!, $cursor: String) {{ node(id: $id) {{ ... on {typename} {{ {page} }} }} }}"
                variables = {"id": crowd.own_ids[typename][0], "cursor": cursor}
                answer = await gateway.ask(document, crowd.admin, variables)
            assert answer.codes == ["INVALID_CURSOR"]
            asked += 1
    assert asked == 2 * len(GRAPH.connections())


async def cursors_of_globex(gateway: Gateway, crowd: Crowd) -> list[tuple[tuple[str, str], str]]:
    """One cursor for each list that has pages, by the list's type and field."""
    token = crowd.globex.tokens["admin"]
    rows = await all_rows(gateway, token, crowd.foreign_ids)
    leaves = [*GRAPH.leaves(await all_lists(gateway, token)), *leaves_of_rows(rows)]
    found: dict[tuple[str, str], str] = {}
    for leaf in leaves:
        typename, _, field = leaf.edge.partition(".")
        if leaf.path[-1].endswith("Edge.cursor"):
            found.setdefault((typename, field), str(leaf.value))
    return list(found.items())


async def test_without_both_lines_the_checks_find_leaks(gateways: dict[str, Gateway], crowd: Crowd) -> None:
    """Nothing but the two lines keeps companies apart: without them every type and every edge shows rivals' rows."""
    with rule_removed():
        named = await differing_ids(gateways[OPEN], crowd)
        rows = await all_rows(gateways[OPEN], crowd.admin, crowd.own_ids)
    by_id = [f"{name}({typename} {kind})" for name, typename in GRAPH.named().items() for kind in ("global", "raw")]
    assert named == {*by_id, *(f"node({typename} global)" for typename in GRAPH.rows.keys() - PERSONAL)}
    # Lists of the root are found by the viewer's company, and users' rows by the user: no ids that a rival has too.
    # An audience is counted by the filter of the campaign that is shown, and the marked one of a rival names no field.
    # A task has no text, so that the twin's look like acme's; where a rival's lead to shows.
    traceless = ("Query.", "Viewer.", "User.", "Audience.", "Campaign.tasks")
    edges = {edge for edge in GRAPH.edges() if not edge.startswith(traceless)}
    # A delivery has no id: a rival's shows where the campaign was come to, and that may be by a user.
    edges |= {edge for edge, target in GRAPH.edges().items() if edge.startswith("User.") and target == "Campaign"}
    assert leaking_edges(crowd, leaves_of_rows(rows)) == {FROM_THE_ROOT, *edges}
