"""Which statements does the application send to its database, by SQLAlchemy or past it?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Executable, QueuePool, event

from store.database import Database
from store.sql_types import AnyRow
from store.statements import kept_driver_statement

Hear = Callable[[str, Sequence[Any]], None]


@contextmanager
def heard(database: Database, hear: Hear) -> Iterator[None]:
    """Each statement is told of, with its parameters, before it is run; what `hear` raises comes of it instead."""
    readings, engine = database.readings, database.engine.sync_engine
    rows, alone = readings.rows, readings.alone

    def heard_by_engine(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        hear(statement, parameters)

    async def heard_rows(connection: Any, statement: Executable, parameters: Mapping[str, object]) -> Sequence[AnyRow]:
        asked = kept_driver_statement(statement, database.engine.dialect)
        hear(asked.sql, tuple(asked.arguments(parameters)))
        return await rows(connection, statement, parameters)

    async def heard_alone(sql: str, *arguments: object) -> Sequence[AnyRow]:
        hear(sql, arguments)
        return await alone(sql, *arguments)

    event.listen(engine, "before_cursor_execute", heard_by_engine)
    # Of this object alone: others have their own.
    vars(readings).update(rows=heard_rows, alone=heard_alone)
    try:
        yield
    finally:
        del vars(readings)["rows"], vars(readings)["alone"]
        event.remove(engine, "before_cursor_execute", heard_by_engine)


def in_use(database: Database) -> int:
    """How many of its connections are in use."""
    pool, readings = database.engine.pool, database.readings._pool
    assert isinstance(pool, QueuePool)
    reading = 0 if readings is None else readings.get_size() - readings.get_idle_size()
    return pool.checkedout() + int(reading)
