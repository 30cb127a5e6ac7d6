"""How is any object found by its global id? As Relay's global object identification specification has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import cache
from typing import Any

import strawberry
from graphql import GraphQLAbstractType, GraphQLError, GraphQLObjectType

from resolvers import global_ids
from resolvers.edges import One
from resolvers.errors import ClientError, ErrorCode, not_found
from resolvers.pages import MAX_PAGE_SIZE
from resolvers.sources import TYPENAME, Source
from schema.fields import ContextInfo, computed, raw_info
from schema.registry import SOURCES
from schema.selection import ResolveInfo, selected_columns
from store.sql_types import AnyRow


@strawberry.interface(description="An object that its global id alone finds again.")
class Node:
    id: strawberry.ID = strawberry.field(description="The global id; opaque, unique over all types.")

    @classmethod
    def resolve_type(cls, row: AnyRow, _info: ResolveInfo, _type: GraphQLAbstractType) -> str:
        typename: str = getattr(row, TYPENAME)
        return typename


def global_id(source: Source) -> Any:
    """The `id` of an object type."""
    return computed(
        (source.key,),
        lambda row, _: global_ids.encode(source.typename, getattr(row, source.key)),
        f"The {source.typename}'s global id; opaque, unique over all types.",
    )


@cache
def edge_to(typename: str) -> One:
    """The edge that leads from an id to the row of this type."""
    source = SOURCES[typename]
    return One(f"Query.node:{typename}", source, key=source.key)


async def load_node(info: ContextInfo, id: str) -> AnyRow:
    """The row that a global id names, with the columns selected on its type; raises INVALID_ID or NOT_FOUND."""
    typename, _ = global_ids.decode(id)
    if typename not in SOURCES:
        raise global_ids.malformed()
    key = SOURCES[typename].parse(id)
    raw = raw_info(info)
    type_ = raw.schema.type_map[typename]
    assert isinstance(type_, GraphQLObjectType)
    columns = (*selected_columns(raw, type_, raw.field_nodes), TYPENAME)
    row: Any = None if key is None else await info.context.load.one(edge_to(typename), columns, key)
    if row is None:
        raise not_found(typename)
    found: AnyRow = row
    return found


async def load_nodes(info: ContextInfo, ids: Sequence[str]) -> list[AnyRow | GraphQLError]:
    """The rows of several ids in their order, or the error of each one that names none."""
    if len(ids) > MAX_PAGE_SIZE:
        raise ClientError(ErrorCode.BAD_USER_INPUT, f"`ids` takes at most {MAX_PAGE_SIZE} ids.")
    return list(await asyncio.gather(*(node_or_error(load_node(info, id)) for id in ids)))


async def node_or_error(node: Awaitable[AnyRow]) -> AnyRow | GraphQLError:
    try:
        return await node
    except ClientError as error:
        return error
