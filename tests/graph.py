"""Which documents reach every field and edge of the schema, and which ids never named a row?

The documents are made from the schema, so that what is added to it later is asked for too: the lists and single rows
of the root, and for any rows all their fields with one step along all their edges. Fields that need an argument are
left out; a test that expects every field to be reached then says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
)

from resolvers import global_ids
from resolvers.global_ids import Key, KeyKind
from schema.registry import SOURCES

# Settings of gateways that answer these documents, and answer them alike wherever they listen.
NO_LIMITS: dict[str, Any] = {
    "max_query_cost": 10**9,
    "max_query_fields": 10**6,
    "max_query_tokens": 10**6,
    "public_url": "https://campaigns.example",
}
NEVER_NUMBER = 2_000_000_000
NEVER_UUID = UUID("00000000-0000-4000-8000-000000000000")
PAGE = "(first: 100)"
FROM_THE_ROOT = "Query.nodes"


@dataclass(frozen=True)
class Leaf:
    """A value of an answer; `path` holds the `Type.field` that were followed to it, `edge` the last that is an edge."""

    path: tuple[str, ...]
    edge: str
    value: object


class Graph:
    """The schema as rows (types with a global id), edges between them, and types that only group fields."""

    def __init__(self, schema: GraphQLSchema) -> None:
        assert schema.query_type is not None
        self.query = schema.query_type
        # What mutations answer is no data of its own: payloads lead to the same rows.
        found = [type_ for type_ in schema.type_map.values() if isinstance(type_, GraphQLObjectType)]
        self.types = {type_.name: type_ for type_ in found if type_.name in reachable_from(self.query)}
        self.rows = {name: type_ for name, type_ in self.types.items() if type_.interfaces}

    def coordinates(self) -> set[str]:
        """Every `Type.field`."""
        return {f"{type_.name}.{name}" for type_ in self.types.values() for name in type_.fields}

    def edges(self) -> dict[str, str]:
        """Every `Type.field` that leads to rows, with the type of the rows."""
        return {
            f"{type_.name}.{name}": target.name
            for type_ in self.types.values()
            if not is_page(type_)
            for name, field in type_.fields.items()
            if (target := self.target(field)) is not None
        }

    def target(self, field: GraphQLField) -> GraphQLObjectType | None:
        """The type of the rows that a field leads to; None when it leads to none."""
        type_ = object_of(field)
        if type_ is not None and is_connection(type_):
            type_ = object_of(type_.fields["nodes"])
        return type_ if type_ is not None and type_.name in self.rows else None

    def connections(self) -> dict[tuple[str, str], GraphQLField]:
        """Every list with pages, by type and field."""
        return {
            (type_.name, name): field
            for type_ in self.types.values()
            for name, field in type_.fields.items()
            if (page := object_of(field)) is not None and is_connection(page)
        }

    def named(self) -> dict[str, str]:
        """The fields of the root that take the id of one type, with that type."""
        return {
            name: target.name
            for name, field in self.query.fields.items()
            if "id" in field.args and (target := self.target(field)) is not None
        }

    def root_document(self) -> str:
        """All lists of the root and whatever else it has without an argument."""
        return self.complete(f"query {self.selection(self.query, edges=True)}")

    def rows_document(self) -> str:
        """Rows by their global ids, one variable with a list of ids for each type: all fields, and all edges."""
        variables = ", ".join(f"${name}: [ID!]!" for name in self.rows)
        fields = " ".join(f"{name}: nodes(ids: ${name}) {{ ...Whole{name} }}" for name in self.rows)
        whole = " ".join(
            f"fragment Whole{name} on {name} {self.selection(type_, edges=True)}" for name, type_ in self.rows.items()
        )
        return self.complete(f"query ({variables}) {{ {fields} }} {whole}")

    def complete(self, document: str) -> str:
        """The document with the fragments that it uses; each selects the fields of a row and none of its edges."""
        fragments = (
            f"fragment Row{name} on {name} {self.selection(type_, edges=False)}"
            for name, type_ in self.rows.items()
            if f"...Row{name} " in document
        )
        return " ".join([document, *fragments])

    def selection(self, type_: GraphQLObjectType, *, edges: bool) -> str:
        """All fields of a type, and of those that group fields; with `edges`, the fields of the rows next to it."""
        selected = (self.selected(name, field, edges=edges) for name, field in type_.fields.items())
        return f"{{ __typename {' '.join(selected)} }}"

    def selected(self, name: str, field: GraphQLField, *, edges: bool) -> str:
        if any(is_required_argument(argument) for argument in field.args.values()):
            return ""
        if is_leaf_type(get_named_type(field.type)):
            return name
        below, target = object_of(field), self.target(field)
        if below is None or (target is not None and not edges):
            return ""
        if target is None:
            return f"{name} {self.selection(below, edges=edges)}"
        return f"{name} {{ ...Row{target.name} }}" if below is target else f"{name}{PAGE} {self.page(below, target)}"

    def page(self, connection: GraphQLObjectType, target: GraphQLObjectType) -> str:
        others = [name for name in connection.fields if name not in ("nodes", "edges")]
        selected = (self.selected(name, connection.fields[name], edges=False) for name in others)
        edge = "edges { __typename cursor node { __typename id } }"
        return f"{{ __typename {' '.join(selected)} nodes {{ ...Row{target.name} }} {edge} }}"

    def leaves(
        self, found: Mapping[str, object], path: tuple[str, ...] = (), edge: str = FROM_THE_ROOT
    ) -> Iterator[Leaf]:
        """The values of an object of an answer and of all below it; fields that lead to nothing have none."""
        type_ = self.types[str(found["__typename"])]
        for name, value in found.items():
            if name == "__typename":
                continue
            field, coordinate = type_.fields[name], f"{type_.name}.{name}"
            followed = (*path, coordinate)
            if is_leaf_type(get_named_type(field.type)):
                yield Leaf(followed, edge, value)
                continue
            via = coordinate if self.target(field) is not None and not is_page(type_) else edge
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, dict):
                    yield from self.leaves(child, followed, via)

    def filters_by_id(self) -> dict[str, list[tuple[str, str]]]:
        """The filters that take ids: by the name of the filter, the (type, field) of the lists that have it."""
        found: dict[str, list[tuple[str, str]]] = {}
        for place, field in self.connections().items():
            given = get_named_type(field.args["filter"].type) if "filter" in field.args else None
            for name, argument in given.fields.items() if isinstance(given, GraphQLInputObjectType) else ():
                if get_named_type(argument.type).name == "ID":
                    assert is_list_type(argument.type)
                    found.setdefault(name, []).append(place)
        return found


def reachable_from(root: GraphQLObjectType) -> set[str]:
    """The names of the object types that a query can come to, those of all rows among them."""
    found: set[str] = set()
    waiting = [root]
    while waiting:
        type_ = waiting.pop()
        if type_.name not in found:
            found.add(type_.name)
            waiting += [below for field in type_.fields.values() if (below := object_of(field)) is not None]
    return found


def never_key(typename: str) -> Key:
    """A well-formed raw id that no row of the type ever had."""
    return NEVER_UUID if SOURCES[typename].key_kind is KeyKind.UUID else NEVER_NUMBER


def never_id(typename: str) -> str:
    """The same as a global id."""
    return global_ids.encode(typename, never_key(typename))


def object_of(field: GraphQLField) -> GraphQLObjectType | None:
    named = get_named_type(field.type)
    return named if isinstance(named, GraphQLObjectType) else None


def is_connection(type_: GraphQLObjectType) -> bool:
    return {"nodes", "edges", "pageInfo"} <= set(type_.fields)


def is_page(type_: GraphQLObjectType) -> bool:
    """A page of a list or a place on one: it stands between a list's field and its rows."""
    return is_connection(type_) or {"node", "cursor"} <= set(type_.fields)
