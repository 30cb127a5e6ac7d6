"""What do the files of the demonstration's finished exports hold?"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.demo.statements import read

# Takes a file's key and its bytes.
WriteFile = Callable[[str, bytes], Awaitable[None]]

ROWS = {step.name: step.statement for step in read("files")}
FINISHED = text("SELECT id, kind, format, file_key FROM demo_exports WHERE status = 'COMPLETED' ORDER BY n")
RECORD = text(
    "UPDATE demo_exports SET rows_total = :rows, rows_processed = :rows, bytes = :bytes, sha256 = :sha256"
    " WHERE id = :export_id"
)
# What a spreadsheet takes for the beginning of a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


async def write_exports(connection: AsyncConnection, company_id: int, write_file: WriteFile) -> None:
    """Write the file of every finished export of the company and note its rows, size and digest."""
    for export in (await connection.execute(FINISHED)).all():
        parameters = {"company_id": company_id, "export_id": str(export.id)}
        result = await connection.execute(ROWS[export.kind], parameters)
        names, rows = list(result.keys()), result.all()
        content = as_csv(names, rows) if export.format == "CSV" else as_jsonl(names, rows)
        await write_file(export.file_key, content)
        facts = {"rows": len(rows), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        await connection.execute(RECORD, {"export_id": export.id, **facts})


def as_csv(names: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    """RFC 4180 in UTF-8; a cell that a spreadsheet would take for a formula begins with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(names)
    writer.writerows([cell(value) for value in row] for row in rows)
    return stream.getvalue().encode()


def cell(value: object) -> str:
    text_value = "" if value is None else str(value)
    return f"'{text_value}" if text_value.startswith(FORMULA_STARTS) else text_value


def as_jsonl(names: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    """One JSON object a line, in UTF-8."""
    lines = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=str) + "\n" for row in rows)
    return "".join(lines).encode()
