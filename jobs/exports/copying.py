"""How do the rows of an export leave the database? By COPY, as finished lines, in steps that can be gone on from.

COPY takes no parameters: asyncpg has the server quote each argument by its type (`quote_literal`) and puts the results
into the statement, so what people wrote stays a value. JSON is copied as CSV of one column with a quote and a delimiter
that no JSON text holds, as JSON writes control characters as escapes: so nothing is quoted, and the lines are the JSON.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
from sqlalchemy import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

from store.database import Database, Parameters, Scope
from store.exports import (
    COMPANY_FIELDS,
    CompanyFields,
    Contents,
    ExportColumn,
    Form,
    contents_of,
    escaped_text,
    fields_of_rows,
)
from store.models import ExportFormat, ExportKind
from store.models.base import JsonValue
from store.sql_types import AnySelect

Place = list[JsonValue]
"""The key that the next range begins after, each part as text."""

# A step costs some milliseconds of its own, and tables that are looked up may be read for it as a whole.
NONE: Parameters = MappingProxyType({})
# Seconds that one statement may take: the count reads every row, and a disk may be slow to take what COPY brings.
PATIENCE = 300.0
CLOSING_SECONDS = 5.0
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# The rows of a chunk are sorted in memory where they do not come in order. A connection may be idle for as long as
# another of the same snapshot is busy. Two connections keep the server busy: workers of its own, begun and ended for
# each chunk, and the sorting of what they bring, cost a third of the time.
SETTINGS = """
    SELECT set_config('app.company_id', $1, true), set_config('statement_timeout', $2, true),
        set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, YMD', true),
        set_config('work_mem', '64MB', true), set_config('idle_in_transaction_session_timeout', $2, true),
        set_config('max_parallel_workers_per_gather', '0', true)
"""
# What needs quotes in a CSV file (RFC 4180); an empty text has them so that it is not taken for none.
QUOTED_FOR = frozenset(',"\r\n')


@dataclass(frozen=True)
class Order:
    """What is to be written, and whose rows whoever asked for it may see now. Rows made after `as_of` are left out."""

    company_id: int
    kind: ExportKind
    format: ExportFormat
    parameters: Mapping[str, JsonValue]
    scope: Scope
    as_of: datetime


class Statement(Protocol):
    """A statement of the first step, or of those that go `onward`."""

    def __call__(self, *, onward: bool) -> AnySelect: ...


class Copying:
    """One snapshot of what an order is for; the columns are those of the company's fields in that snapshot."""

    def __init__(self, session: Session, contents: Contents, form: Form, snapshot: str) -> None:
        """`snapshot`: by which another connection can read the same."""
        self.columns: tuple[ExportColumn, ...] = contents.columns
        self.snapshot = snapshot
        self._session = session
        self._contents = contents
        self._form = form
        self._statements: dict[tuple[Statement, bool], SQLCompiler] = {}

    async def count(self) -> int:
        """How many rows there are."""
        ((rows,),) = await self._session.rows(self._session.compiled(self._contents.count()))
        return int(str(rows))

    def header(self) -> bytes:
        """The first line of a CSV file; nothing for other formats."""
        if self._form not in (Form.CSV, Form.RAW_CSV):
            return b""
        headers = [column.header for column in self.columns]
        if self._form is Form.CSV:
            headers = [escaped_text(header) for header in headers]
        return (",".join(map(csv_cell, headers)) + "\n").encode()

    async def end_of_range(self, after: Place | None, size: int) -> Place | None:
        """The last of the next `size` keys, or of all where there are fewer; None when there are no more."""
        reached = {"size": size, **({} if after is None else place_parameters("after", after))}
        for find in (self._contents.key_on, self._contents.last_key):
            found = await self._session.rows(self._compiled(find, onward=after is not None), reached)
            if found:
                return [str(part) for part in found[0]]
        return None

    async def copy(self, after: Place | None, until: Place, write: Callable[[bytes], object]) -> int:
        """Writes the rows up to a key, and gives their number, which may be none.

        After an error it may have written a part of them.
        """
        reached = {} if after is None else place_parameters("after", after)
        lines = self._compiled(self._lines, onward=after is not None)
        return await self._session.copy(lines, {**reached, **place_parameters("until", until)}, self._form, write)

    def _lines(self, *, onward: bool) -> AnySelect:
        return self._contents.lines(self._form, onward=onward)

    def _compiled(self, statement: Statement, *, onward: bool) -> SQLCompiler:
        """The statement of a step; compiling it takes as long as copying a thousand rows, so it is kept."""
        found = self._statements.get((statement, onward))
        if found is None:
            found = self._statements[statement, onward] = self._session.compiled(statement(onward=onward))
        return found


def place_parameters(name: str, place: Place) -> dict[str, object]:
    return {f"{name}_{number}": str(part) for number, part in enumerate(place)}


class Session:
    """A connection in one read-only snapshot, on which statements of SQLAlchemy run past its driver's layer."""

    def __init__(self, connection: asyncpg.Connection, dialect: Dialect, parameters: Parameters) -> None:
        self._connection = connection
        self._dialect = dialect
        self._parameters = parameters

    def compiled(self, statement: AnySelect) -> SQLCompiler:
        return statement.compile(dialect=self._dialect)

    async def rows(self, statement: SQLCompiler, parameters: Parameters = NONE) -> list[tuple[object, ...]]:
        arguments = self._arguments(statement, parameters)
        found = await self._connection.fetch(statement.string, *arguments, timeout=PATIENCE)
        return [tuple(row) for row in found]

    async def copy(
        self, statement: SQLCompiler, parameters: Parameters, form: Form, write: Callable[[bytes], object]
    ) -> int:
        """Writes a line for each row, and gives their number."""

        async def sink(lines: bytes) -> None:
            write(lines)

        bare = {} if form in (Form.CSV, Form.RAW_CSV) else {"quote": "\x01", "delimiter": "\x02"}
        arguments = self._arguments(statement, parameters)
        status: str = await self._connection.copy_from_query(
            statement.string, *arguments, output=sink, format="csv", timeout=PATIENCE, **bare
        )
        return int(status.rpartition(" ")[2])

    def _arguments(self, statement: SQLCompiler, parameters: Parameters) -> list[object]:
        """The values of `$1`, `$2` and so on."""
        values = statement.construct_params({**self._parameters, **parameters})
        return [values[name] for name in statement.positiontup or ()]


@asynccontextmanager
async def copying(database: Database, order: Order, *, snapshot: str | None = None) -> AsyncIterator[Copying]:
    """Reads one snapshot of the company on a connection of its own. Raises `CannotExport`.

    `snapshot`: that of another one that is still open; a new one without it.
    """
    pooled = await database.engine.raw_connection()
    connection = pooled.driver_connection
    assert connection is not None
    pooled.detach()
    try:
        await connection.execute(BEGIN)
        if snapshot is not None:
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        await connection.execute(SETTINGS, str(order.company_id), str(int(PATIENCE * 1000)))
        parameters = {**order.scope.parameters(), "company_id": order.company_id}
        session = Session(connection, database.engine.dialect, parameters)
        fields = await company_fields(session)
        contents = contents_of(order.kind, order.parameters, order.as_of, fields)
        shared = snapshot or str(await connection.fetchval("SELECT pg_export_snapshot()"))
        yield Copying(session, contents, form_of(order), shared)
        await connection.close(timeout=CLOSING_SECONDS)
    finally:
        # After an error a COPY may be under way, and the server may be gone.
        if not connection.is_closed():
            connection.terminate()


async def company_fields(session: Session) -> CompanyFields:
    return fields_of_rows(await session.rows(session.compiled(COMPANY_FIELDS)))


def form_of(order: Order) -> Form:
    if order.format is ExportFormat.CSV:
        return Form.RAW_CSV if order.parameters.get("raw") is True else Form.CSV
    return Form.ARRAY if order.format is ExportFormat.XLSX else Form.OBJECT


def csv_cell(text: str) -> str:
    if text and QUOTED_FOR.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
