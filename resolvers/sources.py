"""Where do the rows of one type of the graph come from, and who may see them?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, FromClause, Table, Text, literal_column
from sqlalchemy.types import TypeEngine

from resolvers.errors import ClientError
from resolvers.global_ids import Key, KeyKind, parse
from store.access import Rule
from store.models import Base
from store.sql_types import AnyColumn

# A column that every source has: the name of its type, for rows that are read as the interface `Node`.
TYPENAME = "typename"


class Source:
    """The rows that are the objects of one type: a table (or a join), its columns by name, its access rule.

    `columns` holds every column of the table and the `extra` ones; a name in the schema is a name here. `visible`
    is the full rule; `inherited` is the shorter one for rows reached from a parent that the rule already allowed.
    """

    def __init__(
        self,
        typename: str,
        table: type[Base],
        visible: Rule,
        *,
        inherited: Rule | None = None,
        extra: Mapping[str, AnyColumn] | None = None,
        rows: FromClause | None = None,
        key: str = "id",
    ) -> None:
        assert isinstance(table.__table__, Table)
        self.typename = typename
        self.table = table.__table__
        self.rows = self.table if rows is None else rows
        self.columns: dict[str, AnyColumn] = {
            **dict(self.table.columns.items()),
            **(extra or {}),
            TYPENAME: literal_column(f"'{typename}'", Text()),
        }
        self.visible = visible
        self.inherited = visible if inherited is None else inherited
        self.key = key
        self.key_column = self.table.columns[key]
        self.key_kind = kind_of(self.key_column.type)

    def parse(self, text: str) -> Key | None:
        """The key that a client's id names; None when nothing can have it, INVALID_ID when it is malformed."""
        return parse(self.typename, self.key_kind, text)

    def parse_or_none(self, text: str) -> Key | None:
        """The key that a client's id names; None for what is no id as well."""
        try:
            return self.parse(text)
        except ClientError:
            return None

    def keys(self, texts: object) -> tuple[Key, ...]:
        """The keys that a list of ids names, for a filter; those that nothing can have are left out."""
        assert isinstance(texts, tuple)
        return tuple(key for text in texts if (key := self.parse(str(text))) is not None)

    def __repr__(self) -> str:
        return f"Source({self.typename})"


def kind_of(key_type: TypeEngine[Any]) -> KeyKind:
    if key_type.python_type is UUID:
        return KeyKind.UUID
    return KeyKind.BIG_INTEGER if isinstance(key_type, BigInteger) else KeyKind.INTEGER


def array_of(column: AnyColumn) -> ARRAY[Any]:
    return ARRAY(column.type)
