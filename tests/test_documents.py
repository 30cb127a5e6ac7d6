"""Is what is known of a document the same that is found when it is read anew, whatever was asked of it before?"""

from __future__ import annotations

import pytest

from gateway.documents import Document, Documents, Query
from gateway.limits import Limits
from schema.build import build_schema

SIZED = "query ($first: Int = 1) { contacts { nodes { lists { contacts(first: $first) { edges { cursor } } } } } }"
IDS = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"


@pytest.fixture(scope="module")
def documents() -> Documents:
    return Documents(build_schema().core, Limits(max_cost=1_000), max_tokens=1_000, most=3)


def query_of(documents: Documents, source: str) -> Query:
    query = documents.read(source).queries[None]
    assert documents.read(source).queries[None] is query
    return query


def test_sizes_are_told_apart(documents: Documents) -> None:
    """What an operation costs depends on its variables: a default, null, numbers and lists of other lengths."""
    sized, by_ids = query_of(documents, SIZED), query_of(documents, IDS)
    for _ in range(2):
        assert not sized.beyond_limits({})
        assert sized.beyond_limits({"first": None})
        assert not sized.beyond_limits({"first": 1, "other": 100})
        assert sized.beyond_limits({"first": 50})
        assert not by_ids.beyond_limits({"ids": ["a"]})
        assert by_ids.beyond_limits({"ids": ["a"] * 1_000})


def test_documents_that_are_none(documents: Documents) -> None:
    """Of a document that is too long, malformed or not valid, no query is known; the first is refused at once."""
    long = documents.read("{ __typename " + "a " * 1_000 + "}")
    assert long.refusal is not None
    assert not long.queries
    assert documents.read("{ __typename ") == Document()
    assert documents.read("{ unknown }") == Document()


def test_operations_by_their_names(documents: Documents) -> None:
    """A document has its queries by name, and one without a name only where there is no other operation."""
    several = documents.read("query A { __typename } query B { __typename }")
    assert several.operations == 2
    assert set(several.queries) == {"A", "B"}
    alone = documents.read("query Alone { __typename }")
    assert alone.queries[None] is alone.queries["Alone"]
    assert documents.read("mutation { deleteCampaign(id: 1) { deletedId } }").queries == {}


def test_few_are_kept(documents: Documents) -> None:
    """The documents that were not read for longest are forgotten."""
    first = documents.read("{ a: __typename }")
    for name in "bcd":
        documents.read(f"{{ {name}: __typename }}")
    assert documents.read("{ a: __typename }") is not first
