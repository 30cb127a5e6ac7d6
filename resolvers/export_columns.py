"""Which columns may a client choose for an export?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resolvers.context import Context
from store.exports import available_columns
from store.models import ExportKind


async def find_export_columns(context: Context, kind: ExportKind) -> Sequence[Mapping[str, str]]:
    """Names and headers, in the order that a file has them unless others are chosen."""
    columns = await available_columns(context.reader.rows, context.viewer.company_id, kind)
    return [{"name": column.name, "header": column.header} for column in columns]
