"""Which class is the object type of which source?

Edges lead from type to type in circles; here a field finds its type by name when the schema is built, so that each
noun keeps a file of its own and none imports the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import strawberry

from resolvers.sources import Source

Class = TypeVar("Class", bound=type)

OBJECT_TYPES: dict[str, type] = {}
SOURCES: dict[str, Source] = {}


def object_type(source: Source, description: str) -> Callable[[Class], Class]:
    """Makes a class the object type of a source; fails at import when a field reads a column that is not there."""

    def decorate(cls: Class) -> Class:
        made = part_type(source, description)(cls)
        SOURCES[source.typename] = source
        return made

    return decorate


def part_type(source: Source, description: str) -> Callable[[Class], Class]:
    """The same for rows that have no global id: only an edge leads to them."""

    def decorate(cls: Class) -> Class:
        made = row_type(source, description, name=source.typename)(cls)
        OBJECT_TYPES[source.typename] = made
        return made

    return decorate


def row_type(source: Source, description: str, name: str | None = None) -> Callable[[Class], Class]:
    """Makes a class an object type whose fields read rows of the source (a group of its columns, say)."""

    def decorate(cls: Class) -> Class:
        check_columns(cls, source)
        annotate(cls)
        # Rows are plain tuples: an edge names the type it leads to, so there is nothing to look up in a row.
        cls.is_type_of = classmethod(always)  # type: ignore[attr-defined]  # read by Strawberry
        return strawberry.type(cls, name=name, description=description)

    return decorate


def always(_cls: type, _row: object, _info: object) -> bool:
    return True


def check_columns(cls: type, source: Source) -> None:
    for base in cls.__mro__:
        for name, field in vars(base).items():
            missing = [column for column in columns_of(field) if column not in source.columns]
            if missing:
                raise TypeError(f"{cls.__name__}.{name} reads {missing}, which {source} has not")


def columns_of(field: object) -> tuple[str, ...]:
    metadata: Mapping[Any, Any] = getattr(field, "metadata", {})
    return metadata["plan"].columns if "plan" in metadata else ()


def annotate(cls: Class) -> Class:
    """Gives fields whose plan decides their type the annotation that dataclasses insist on."""
    for name, field in list(vars(cls).items()):
        if "plan" in getattr(field, "metadata", {}) and name not in cls.__annotations__:
            cls.__annotations__[name] = Any
    return cls
