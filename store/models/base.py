"""What do all tables have in common: the company that owns a row, its stamps, and enums kept as text."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

CONSTRAINT_NAMES = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
}


class Base(DeclarativeBase):
    """A table. Relationships are not mapped: edges belong to the resolvers' batch functions."""

    metadata = MetaData(naming_convention=CONSTRAINT_NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this attribute as it stands
        datetime: DateTime(timezone=True),
        str: Text(),
        dict[str, JsonValue]: JSONB(),
        list[JsonValue]: JSONB(),
    }


class Owned:
    """A row that belongs to one company; `(company_id, id)` is its key, so no reference can cross companies."""

    company_id: Mapped[int] = mapped_column(
        Integer, ForeignKey("companies.id", ondelete="CASCADE"), primary_key=True, sort_order=-2
    )


class Stamped:
    """A row that knows when it was made and last changed (both by the database's clock)."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=91)


def derived(expression: str) -> MappedColumn[str]:
    """Text made of other columns, for sorting or searching a list without regard to case.

    Stored, not an index on the expression: `lower` (as `coalesce`) is not leak-proof, so row security would keep
    PostgreSQL from using it as an index condition, and every page would be read from the first row on.
    """
    return mapped_column(Text, Computed(expression, persisted=True), sort_order=80)


def derived_time(column: str) -> MappedColumn[datetime]:
    """A time to sort a list by, never null: rows without it count as the latest. Stored for the same reason."""
    expression = f"coalesce({column}, 'infinity'::timestamptz)"
    return mapped_column(DateTime(timezone=True), Computed(expression, persisted=True), sort_order=80)


def refers_to(table: str, column: str, *, ondelete: str | None = None) -> ForeignKeyConstraint:
    """A reference to a row of the same company; `ondelete` as in SQL (default: the delete is refused)."""
    return ForeignKeyConstraint(["company_id", column], [f"{table}.company_id", f"{table}.id"], ondelete=ondelete)


def one_of(column: str, values: type[StrEnum] | Iterable[str]) -> CheckConstraint:
    """The text column holds one of these values (or null where it is nullable)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
