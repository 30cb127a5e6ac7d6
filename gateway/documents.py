"""What is known of a document once it was read? So that each is counted, parsed and validated once, not each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    parse,
    specified_rules,
    visit,
)
from graphql.language import ArgumentNode, Visitor
from strawberry.schema.schema import validate_document

from gateway.limits import Limits, document_limits, errors_beyond, measure

# What the size of a list depends on: by these names.
SIZING = frozenset({"first", "last", "ids"})
# Of one operation, by the sizes that its variables give; those beyond are measured each time.
MOST_MEASURES = 64

Variables = Mapping[str, object]


@dataclass
class Query:
    """A query of a valid document, which may be asked again and again with other variables."""

    schema: GraphQLSchema
    document: DocumentNode
    operation: OperationDefinitionNode
    limits: Limits
    sizing: tuple[str, ...]
    _measured: dict[tuple[object, ...], Sequence[GraphQLError]] = field(default_factory=dict)

    def beyond_limits(self, variables: Variables) -> Sequence[GraphQLError]:
        """Which limits it breaks with these variables, as they came with the request."""
        # One that is left out has its default, null is null: they are not the same.
        sizes = tuple(size_of(variables[name]) if name in variables else "left out" for name in self.sizing)
        found = self._measured.get(sizes)
        if found is None:
            measured = measure(self.schema, self.document, self.operation, variables, self.limits)
            found = errors_beyond(measured, self.limits, self.operation)
            if len(self._measured) < MOST_MEASURES:
                self._measured[sizes] = found
        return found


@dataclass(frozen=True)
class Document:
    """A document that was read. `refusal`: why it is not even parsed. Nothing is known of what is not valid: that it is
    not is told where it is executed.
    """

    refusal: GraphQLError | None = None
    operations: int = 0
    queries: Mapping[str | None, Query] = field(default_factory=dict)


class Documents:
    """The documents that were read last."""

    def __init__(self, schema: GraphQLSchema, limits: Limits, *, max_tokens: int, most: int) -> None:
        self._schema = schema
        self._limits = limits
        self._max_tokens = max_tokens
        self._most = most
        self._kept: OrderedDict[str, Document] = OrderedDict()

    def read(self, source: str) -> Document:
        """What is known of the document with this source."""
        found = self._kept.get(source)
        if found is None:
            found = self._kept[source] = self._read(source)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(source)
        return found

    def _read(self, source: str) -> Document:
        refusal = document_limits(source, max_tokens=self._max_tokens)
        if refusal is not None:
            return Document(refusal)
        try:
            document = parse(source)
        except GraphQLSyntaxError:
            # Told of where it is parsed to be executed.
            return Document()
        if validate_document(self._schema, document, tuple(specified_rules)):
            return Document()
        operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
        queries: dict[str | None, Query] = {}
        for operation in operations:
            if operation.operation is OperationType.QUERY:
                query = Query(self._schema, document, operation, self._limits, sizing_variables(document))
                queries[operation.name.value if operation.name else None] = query
                if len(operations) == 1:
                    queries[None] = query
        return Document(operations=len(operations), queries=queries)


def sizing_variables(document: DocumentNode) -> tuple[str, ...]:
    """The names of the variables that stand in an argument which sizes a list, sorted."""
    found: set[str] = set()

    class Looking(Visitor):
        def enter_argument(self, node: ArgumentNode, *_: object) -> None:
            if node.name.value in SIZING and isinstance(node.value, VariableNode):
                found.add(node.value.name.value)

    visit(document, Looking())
    return tuple(sorted(found))


def size_of(value: object) -> object:
    """All that counts of a variable's value where lists are sized."""
    if isinstance(value, list):
        return ("list", len(value))
    return value if isinstance(value, int) else type(value)
