"""What does a page of a list look like to a client? As Relay's cursor connections specification has it."""

from __future__ import annotations

from typing import Generic, TypeVar

import strawberry

T = TypeVar("T")


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(
        description="Whether rows follow the page (asked with `last`: whether `before` was given)."
    )
    has_previous_page: bool = strawberry.field(
        description="Whether rows precede the page (asked with `first`: whether `after` or `offset` was given)."
    )
    start_cursor: str | None = strawberry.field(description="The cursor of the first row; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last row; null on an empty page.")


@strawberry.type(description="A row of a page, with its cursor.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(
        description="The row's place in this list and order; give it as `after` or `before`."
    )
    node: T = strawberry.field(description="The row.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(description="The rows of the page, each with its cursor.")
    nodes: list[T] = strawberry.field(description="The rows of the page.")
    page_info: PageInfo = strawberry.field(description="Whether there is more, and from where to go on.")
    total_count: int = strawberry.field(
        description="How many rows the whole list has, filters applied. Counted only when selected."
    )
