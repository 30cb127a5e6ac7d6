"""What does an export hold? Which columns and rows its kind means, as SQL that writes each row as a line.

available = await available_columns(session.execute, company_id, kind)
contents = contents_of(kind, parameters, as_of, fields)      # fields: of the rows of COMPANY_FIELDS
contents.count(), contents.key_on(onward), contents.last_key(onward), contents.lines(form, onward)
"""

from store.exports.cells import available_columns
from store.exports.columns import (
    COMPANY_FIELDS,
    FORMATS,
    CannotExport,
    ColumnKind,
    CompanyFields,
    ExportColumn,
    fields_of_rows,
)
from store.exports.contents import Contents, contents_of
from store.exports.values import Form, escaped_text

__all__ = [
    "COMPANY_FIELDS",
    "FORMATS",
    "CannotExport",
    "ColumnKind",
    "CompanyFields",
    "Contents",
    "ExportColumn",
    "Form",
    "available_columns",
    "contents_of",
    "escaped_text",
    "fields_of_rows",
]
