"""How is a statement of SQLAlchemy's run by the driver itself, and what are its rows then?

SQLAlchemy says what is asked; on the way of each row through it most of the time of a reading would be spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
from sqlalchemy import ClauseElement, Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

KEPT_STATEMENTS = 2048


class Row(asyncpg.Record):  # type: ignore[misc]  # the driver brings no types along
    """A row whose columns are attributes too, as those of SQLAlchemy's are."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True, slots=True)
class DriverStatement:
    """The text with `$1`, `$2` and so on, the names of these parameters, and the values that are always the same."""

    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, object]

    def arguments(self, parameters: Mapping[str, object]) -> list[object]:
        """The values of the parameters, in their order."""
        constants = self.constants
        return [parameters[name] if name in parameters else constants[name] for name in self.names]


def driver_statement(statement: Executable, dialect: Dialect) -> DriverStatement:
    """The statement as the driver takes it. A list that is given each time must be bound as an array."""
    assert isinstance(statement, ClauseElement)
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    given = [name for name, bound in compiled.binds.items() if bound.required]
    # Lists that are always the same become a parameter for each item.
    expanded = compiled.construct_expanded_state(dict.fromkeys(given))
    constants = {name: value for name, value in expanded.parameters.items() if name not in given}
    return DriverStatement(expanded.statement, tuple(expanded.positiontup or ()), constants)


# By the statement's identity: those that are run again and again are kept by whoever builds them.
kept_driver_statement = lru_cache(KEPT_STATEMENTS)(driver_statement)
