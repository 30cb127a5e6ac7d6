"""Which contacts does a client's filter select? JSON is read into a checked tree, and the tree is compiled to SQL.

rows = (await connection.execute(CATALOGUE_ROWS, {"company_id": company_id})).all()
catalogue = Catalogue.of_rows(rows, read_id)
reading = read_filter(given, catalogue)      # reading.problems, or reading.filter (None: the filter is empty)
select(Contact.id).where(Contact.company_id == company_id, condition(reading.filter))
"""

from store.filters.catalogue import CATALOGUE_ROWS, Catalogue, FieldDefinition, ReadId, read_raw_id
from store.filters.compiling import condition
from store.filters.reading import MAX_CONDITIONS, MAX_NESTING, MAX_PROBLEMS, MAX_VALUES, read_filter
from store.filters.tree import (
    OPERATORS,
    Condition,
    FieldKind,
    Filter,
    FilterField,
    FilterProblem,
    FilterProblemCode,
    FilterReading,
    Group,
    Junction,
    Operator,
)
from store.filters.values import MAX_NUMBER, MAX_TEXT_LENGTH

__all__ = [
    "CATALOGUE_ROWS",
    "MAX_CONDITIONS",
    "MAX_NESTING",
    "MAX_NUMBER",
    "MAX_PROBLEMS",
    "MAX_TEXT_LENGTH",
    "MAX_VALUES",
    "OPERATORS",
    "Catalogue",
    "Condition",
    "FieldDefinition",
    "FieldKind",
    "Filter",
    "FilterField",
    "FilterProblem",
    "FilterProblemCode",
    "FilterReading",
    "Group",
    "Junction",
    "Operator",
    "ReadId",
    "condition",
    "read_filter",
    "read_raw_id",
]
