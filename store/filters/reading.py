"""Is a client's filter one that this company can use, and if not, what is wrong with each part of it?"""

from __future__ import annotations

from store.filters.catalogue import Catalogue
from store.filters.tree import (
    OPERATORS,
    Condition,
    Filter,
    FilterField,
    FilterProblem,
    FilterProblemCode,
    FilterReading,
    FilterValue,
    Group,
    Junction,
    Operator,
    Path,
    Scalar,
)
from store.filters.values import InvalidValue, read_boolean, read_scalar
from store.models import JsonValue

MAX_NESTING = 10
MAX_CONDITIONS = 100
MAX_VALUES = 1_000
MAX_PROBLEMS = 100

SHAPE = 'a condition {"field": …, "operator": …, "value": …} or a group {"and": […]} or {"or": […]}'
KEYS = ("field", "operator", "value")
JUNCTIONS = {str(junction): junction for junction in Junction}
LISTS = (Operator.IN, Operator.NOT_IN)


def read_filter(given: JsonValue, catalogue: Catalogue) -> FilterReading:
    """The checked filter, or what is wrong with it (all of it, up to `MAX_PROBLEMS`); neither when it is empty.

    A list means that all of it must hold. Empty are `None`, `{}`, `[]`, `{"and": []}` and `{"or": []}`; within a
    filter an empty group is a mistake, as it could mean everybody or nobody.
    """
    if is_empty(given):
        return FilterReading(None)
    reader = Reader(catalogue)
    members = reader.members(given, (), 0) if isinstance(given, list) else reader.outermost(given)
    if reader.problems:
        return FilterReading(None, tuple(reader.problems))
    return FilterReading(Filter(members))


def is_empty(given: JsonValue) -> bool:
    if isinstance(given, dict) and len(given) == 1:
        ((key, given),) = given.items()
        return key in JUNCTIONS and given == []
    return given is None or given in ([], {})


class Reader:
    """One pass over a filter; it ends early when there are too many conditions or problems."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.problems: list[FilterProblem] = []
        self._catalogue = catalogue
        self._leaves = 0

    def members(self, given: list[JsonValue], path: Path, nesting: int) -> tuple[Condition | Group, ...]:
        """What stands in a list; entries with problems are left out."""
        found = []
        for index, entry in enumerate(given):
            if self._leaves > MAX_CONDITIONS or len(self.problems) >= MAX_PROBLEMS:
                break
            node = self.node(entry, (*path, index), nesting)
            if node is not None:
                found.append(node)
        return tuple(found)

    def outermost(self, given: JsonValue) -> tuple[Condition | Group, ...]:
        """A filter that is not a list; a group of which all must hold is the same as its list."""
        node = self.node(given, (), 0)
        if isinstance(node, Group) and node.junction is Junction.AND:
            return node.members
        return () if node is None else (node,)

    def node(self, given: JsonValue, path: Path, nesting: int) -> Condition | Group | None:
        """A condition or a group that stands within so many groups."""
        key = next((key for key in given if key in JUNCTIONS), None) if isinstance(given, dict) else None
        if isinstance(given, dict) and key is not None:
            return self.group(given, JUNCTIONS[key], path, nesting + 1)
        if not self.counts():
            return None
        if not isinstance(given, dict):
            self.problem(path, FilterProblemCode.INVALID_FILTER, f"This must be {SHAPE}.")
            return None
        return self.condition(given, path)

    def group(self, given: dict[str, JsonValue], junction: Junction, path: Path, nesting: int) -> Group | None:
        entries = given[junction]
        inner = (*path, str(junction))
        if len(given) == 1 and isinstance(entries, list) and entries and nesting <= MAX_NESTING:
            return Group(junction, self.members(entries, inner, nesting))
        if not self.counts():
            return None
        if nesting > MAX_NESTING:
            message = f"Groups can stand within each other {MAX_NESTING} deep."
            self.problem(path, FilterProblemCode.FILTER_TOO_COMPLEX, message)
            return None
        if len(given) > 1:
            message = f'A group has the one key "{junction}"; other keys have no place beside it.'
            self.problem(path, FilterProblemCode.INVALID_FILTER, message)
            return None
        self.problem(
            inner, FilterProblemCode.INVALID_FILTER, "A group holds a list of at least one condition or group."
        )
        return None

    def condition(self, given: dict[str, JsonValue], path: Path) -> Condition | None:
        for key in KEYS:
            if key not in given:
                self.problem(
                    path, FilterProblemCode.INVALID_FILTER, f'The key "{key}" is missing: this must be {SHAPE}.'
                )
        unknown = next((key for key in given if key not in KEYS), None)
        if unknown is not None:
            message = f"A condition has no key {quoted(unknown)}: this must be {SHAPE}."
            self.problem(path, FilterProblemCode.INVALID_FILTER, message)
        field = self.field(given["field"], (*path, "field")) if "field" in given else None
        operator = self.operator(given["operator"], field, (*path, "operator")) if "operator" in given else None
        if field is None or operator is None or "value" not in given:
            return None
        value = self.value(field, operator, given["value"], (*path, "value"))
        return None if value is None else Condition(field, operator, value)

    def field(self, given: JsonValue, path: Path) -> FilterField | None:
        if not isinstance(given, str):
            self.problem(path, FilterProblemCode.INVALID_FILTER, "The name of a field is a text.")
            return None
        found = self._catalogue.fields.get(given)
        if found is None:
            self.problem(path, FilterProblemCode.UNKNOWN_FIELD, f"There is no field {quoted(given)}.")
            return None
        return found

    def operator(self, given: JsonValue, field: FilterField | None, path: Path) -> Operator | None:
        """An operator of the field's kind; of any kind when the field is not known."""
        if not isinstance(given, str):
            self.problem(path, FilterProblemCode.INVALID_FILTER, "The name of an operator is a text.")
            return None
        fitting = tuple(Operator) if field is None else OPERATORS[field.kind]
        if given not in fitting:
            whose = "Operators" if field is None else f"The operators of {field.path}"
            message = f"{quoted(given)} does not fit. {whose} are: {', '.join(fitting)}."
            self.problem(path, FilterProblemCode.OPERATOR_NOT_ALLOWED, message)
            return None
        return Operator(given)

    def value(self, field: FilterField, operator: Operator, given: JsonValue, path: Path) -> FilterValue | None:
        if operator in LISTS:
            return self.values(field, given, path)
        try:
            if operator is Operator.EXISTS:
                return read_boolean(field, given, self._catalogue)
            return read_scalar(field, given, self._catalogue)
        except InvalidValue as error:
            self.problem(path, FilterProblemCode.INVALID_VALUE, str(error))
            return None

    def values(self, field: FilterField, given: JsonValue, path: Path) -> tuple[Scalar, ...] | None:
        if not isinstance(given, list) or not given:
            self.problem(path, FilterProblemCode.INVALID_VALUE, "The value must be a list of at least one value.")
            return None
        if len(given) > MAX_VALUES:
            message = f"A list has at most {MAX_VALUES:,} values."
            self.problem(path, FilterProblemCode.FILTER_TOO_COMPLEX, message)
            return None
        found = []
        for index, value in enumerate(given):
            try:
                found.append(read_scalar(field, value, self._catalogue))
            except InvalidValue as error:
                self.problem((*path, index), FilterProblemCode.INVALID_VALUE, str(error))
        return tuple(found)

    def counts(self) -> bool:
        """Counts a condition, or what stands in the place of one; False from the first that is too many."""
        self._leaves += 1
        if self._leaves == MAX_CONDITIONS + 1:
            message = f"A filter has at most {MAX_CONDITIONS} conditions."
            self.problem((), FilterProblemCode.FILTER_TOO_COMPLEX, message)
        return self._leaves <= MAX_CONDITIONS

    def problem(self, path: Path, code: FilterProblemCode, message: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(FilterProblem(path, code, message))


def quoted(text: str) -> str:
    """A client's text for a message: short, and without characters that cannot be shown."""
    return f'"{text[:80]}"' if text.isprintable() else '"…"'
