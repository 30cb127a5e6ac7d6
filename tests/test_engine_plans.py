"""How does the engine answer fields by plans: what does it fetch, how often, and for which keys?"""

from __future__ import annotations

from asyncio import Barrier
from dataclasses import replace
from typing import Any

import pytest

from engine import Way, plans
from engine.plans import PageRequest
from tests.engine_library import AUTHORS, Books, Call

pytestmark = pytest.mark.anyio


@pytest.fixture
def library() -> Books:
    return Books()


async def test_each_relation_is_fetched_once_for_all_objects_of_its_level(library: Books) -> None:
    """However many objects lead to rows, there is one fetch for each relation and level, with each key once."""
    data = await library.compiled("{ authors { name books { title author { name first { title } } } first { id } } }")
    assert [author["name"] for author in data["authors"]] == ["Ada", "Bo", "Cy"]
    assert library.calls == [
        Call("authors", ("first_id", "id", "name"), ("house",)),
        Call("books", ("author_id", "title"), ("1", "2", "3")),
        Call("first", ("id",), ("a", "c")),
        Call("author", ("first_id", "name"), ("1", "2")),
        Call("first", ("title",), ("a", "c")),
    ]


async def test_nothing_is_fetched_for_no_keys(library: Books) -> None:
    """Where no object leads anywhere, no fetch is called, and the answer has its nulls and empty lists."""
    library.authors[:] = [replace(author, first_id=None) for author in AUTHORS]
    data = await library.compiled("{ authors { first { title author { id } } } }")
    assert data == {"authors": [{"first": None}] * 3}
    assert library.names() == ["authors"]
    library.authors.clear()
    assert await library.compiled("{ authors { books { title } shelf { totalCount } } }") == {"authors": []}
    assert library.names() == ["authors"]


async def test_only_selected_columns_are_fetched(library: Books) -> None:
    """A fetch is asked for the columns that the selection reads, sorted, those of relations too."""
    await library.compiled("{ authors { shout address { zip } first { id } } }")
    assert library.calls[0].columns == ("first_id", "name", "street", "zip")


async def test_a_named_row_is_fetched_by_its_arguments(library: Books) -> None:
    """A field by a name takes the key from its arguments, and a null key is never fetched."""
    asked = "query ($id: ID!) { author(id: $id) { name } }"
    assert await library.compiled(asked, {"id": "2"}) == {"author": {"name": "Bo"}}
    assert library.calls == [Call("named", ("name",), ("2",))]
    for id in ("", "9"):
        missing = await library.run(asked, {"id": id})
        assert missing.data == {"author": None}
        assert [error.path for error in missing.errors or ()] == [["author"]]
        assert library.names() == ([] if not id else ["named"])
    assert library.engine.ways == {Way.COMPILED: 1, Way.GIVEN_UP: 2}


async def test_a_group_reads_the_row_of_its_parent(library: Books) -> None:
    """A part of the same row costs no fetch, and is null where the column that says so is."""
    data = await library.compiled("{ library { city __typename } authors { address { street } } }")
    assert data["library"] == {"city": "Oslo", "__typename": "Library"}
    assert [author["address"] for author in data["authors"]] == [
        {"street": "High Street"}, None, {"street": "Low Street"}
    ]  # fmt: skip
    assert library.names() == ["authors"]


async def test_computed_fields_are_called_once_for_each_row() -> None:
    """Functions of the row are called for each; coroutines run together, so that each waits for the others."""
    called: list[str] = []
    together = Barrier(3)

    async def slow(row: Any, _context: object) -> str:
        called.append(row.name)
        await together.wait()
        return str(row.name)

    library = Books(slow=slow)
    data = await library.compiled("{ authors { shout slow } }")
    assert [author["shout"] for author in data["authors"]] == ["ADA", "BO", "CY"]
    assert [author["slow"] for author in data["authors"]] == ["Ada", "Bo", "Cy"]
    # By graphql-core, then by the engine.
    assert called == ["Ada", "Bo", "Cy"] * 2


PAGE = "{ shelf { totalCount nodes { title } edges { cursor node { id author { name } } } pageInfo { hasNextPage } } }"


async def test_a_page_is_one_fetch(library: Books) -> None:
    """Rows, cursors, information and total of a connection come from one fetch for all parents of its level."""
    data = await library.compiled(PAGE)
    assert data["shelf"]["totalCount"] == 4
    assert [edge["cursor"] for edge in data["shelf"]["edges"]] == ["after a", "after b"]
    assert library.names() == ["shelf", "author"]
    await library.compiled("{ authors { shelf(first: 1) { nodes { title author { id } } pageInfo { endCursor } } } }")
    assert library.calls[1:] == [
        Call("pages", ("author_id", "title"), ("1", "2", "3")),
        Call("author", ("id",), ("1", "2")),
    ]


@pytest.mark.parametrize(
    ("selected", "request_"),
    [
        ("totalCount", PageRequest((), rows=False, total=True)),
        ("pageInfo { endCursor }", PageRequest((), rows=True, total=False)),
        ("nodes { id }", PageRequest(("id",), rows=True, total=False)),
        ("edges { cursor }", PageRequest((), rows=True, total=False)),
        ("edges { node { title } } n: nodes { id } totalCount", PageRequest(("id", "title"), rows=True, total=True)),
        ("__typename", PageRequest((), rows=False, total=False)),
    ],
)
async def test_a_page_is_asked_only_for_what_is_selected(library: Books, selected: str, request_: PageRequest) -> None:
    """The fetch of a connection is told which columns, whether rows, and whether the total are needed."""
    await library.compiled(f"{{ shelf {{ {selected} }} }}")
    assert library.requests == [(request_, {"first": 2})]


async def test_arguments_are_those_that_the_client_gave(library: Books) -> None:
    """Constants, variables, nulls, defaults and what is left out arrive at a fetch as they do at a resolver."""
    asked = "query ($first: Int, $tag: String) { shelf(first: $first, tag: $tag) { nodes { id } } }"
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"first": 2}),
        ({"first": 1}, {"first": 1}),
        ({"first": None}, {"first": None}),
        ({"tag": None, "first": 3}, {"first": 3, "tag": None}),
    ]
    for variables, given in cases:
        await library.compiled(asked, variables)
        assert [each for _, each in library.requests] == [given]
    await library.compiled('{ shelf(tag: "x") { nodes { id } } }')
    assert library.requests[0][1] == {"first": 2, "tag": "x"}


async def test_one_field_under_several_names_is_fetched_for_each(library: Books) -> None:
    """Aliases with other arguments or selections are fetched each; equal response names are merged into one."""
    data = await library.compiled(
        "{ one: shelf(first: 1) { nodes { id } } two: shelf { nodes { title } } two: shelf { nodes { id } ...T } }"
        " fragment T on Books { total: totalCount nodes { title again: title } }"
    )
    assert data["one"] == {"nodes": [{"id": "a"}]}
    assert data["two"]["nodes"][0] == {"title": "Apples", "id": "a", "again": "Apples"}
    assert library.names() == ["shelf", "shelf"]


async def test_a_missing_row_of_a_required_relation_is_graphql_cores_error(library: Books) -> None:
    """Where a row must be and is not, graphql-core says so: its error, its path, its nulls."""
    library.authors.pop(0)
    found = await library.run("{ shelf { nodes { title author { name } } } }")
    assert found.data is None
    assert [error.path for error in found.errors or ()] == [["shelf", "nodes", 0, "author"]]
    assert library.engine.ways == {Way.GIVEN_UP: 1}


async def test_an_error_of_a_fetch_is_answered_by_graphql_core(library: Books) -> None:
    """A fetch that fails makes no error by itself: the resolvers are asked, and answer."""

    async def failing(*_given: object) -> list[Any]:
        raise ConnectionError("lost")

    library.plans["Author.books"] = plans.ToMany("id", failing, str)
    assert (await library.run("{ authors { books { title } } }")).errors is None
    assert library.engine.ways == {Way.GIVEN_UP: 1}
    assert library.engine.reasons == {"ConnectionError": 1}


@pytest.mark.parametrize("failing", ["Bo", "Cy"])
async def test_an_error_of_a_computed_field_is_graphql_cores(failing: str) -> None:
    """A function that raises for one row gives the errors and nulls of graphql-core."""

    def shout(row: Any, _context: object) -> str:
        if row.name == failing:
            raise ValueError(f"no {row.name}")
        return "x"

    found = await Books(shout=shout).run("{ authors { shout } library { city } }")
    assert found.data is None
    assert [error.message for error in found.errors or ()] == [f"no {failing}"]
