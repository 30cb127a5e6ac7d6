"""What may a client say about the page and the order of a list?"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument

from resolvers.edges import Paged
from resolvers.pages import MAX_PAGE_SIZE, Direction


class OrderInput(Protocol):
    """An `orderBy` input: the field's value is a name among the edge's sorts."""

    @property
    def field(self) -> StrEnum: ...

    @property
    def direction(self) -> Direction: ...


def argument(name: str, annotation: object, description: str) -> StrawberryArgument:
    return StrawberryArgument(name, None, StrawberryAnnotation(annotation), description=description)


def page_arguments_of(edge: Paged, order: type[OrderInput], filter_type: type | None) -> list[StrawberryArgument]:
    """The arguments of a connection field."""
    found = [
        argument(
            "first",
            int | None,
            f"How many rows from the start; 1 to {MAX_PAGE_SIZE}, {edge.page_size} if absent.",
        ),
        argument("after", str | None, "The page starts after this cursor."),
        argument("last", int | None, f"How many rows from the end; 1 to {MAX_PAGE_SIZE}."),
        argument("before", str | None, "The page ends before this cursor."),
        argument(
            "offset",
            int | None,
            "How many rows to leave out, for interfaces with page numbers; no cursors then.",
        ),
        argument("order_by", order | None, f"The order of the list; {edge.order} {edge.direction} if absent."),
    ]
    if filter_type is not None:
        found.append(argument("filter", filter_type | None, "Which rows to keep: all that is given must hold."))
    return found
