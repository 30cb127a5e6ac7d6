"""How is an operation run, what does it ask the database, and what does it cost? For people; nothing is executed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    get_operation_ast,
    is_non_null_type,
    parse,
    specified_rules,
    type_from_ast,
)
from graphql.execution.values import VariableValues, get_variable_values
from strawberry.schema.schema import validate_document

from engine.compiler import Compiled
from engine.executor import Engine
from engine.selection import NotCompilable
from engine.writing import Fetch
from gateway.app import limits_of
from gateway.limits import Limits, document_limits, held_against, measure
from gateway.settings import Settings
from resolvers.errors import ClientError
from schema.build import build_schema

STANDARD_INPUT = "-"


class Faulty(Exception):
    """The document cannot be explained; its lines say where and why: `file:line:column message`."""


@dataclass(frozen=True)
class Question:
    """What is to be explained: a document, and of it the operation of this name, with these values of its variables.

    A variable without a value is left out: it matters to the function only where @skip or @include looks at it.
    """

    name: str
    document: str
    operation_name: str | None
    variables: Mapping[str, object]

    def faulty(self, errors: Sequence[GraphQLError]) -> Faulty:
        return Faulty("\n".join(f"{self._place(error)} {error.message}" for error in errors))

    def _place(self, error: GraphQLError) -> str:
        """As compilers write it."""
        if not error.locations:
            return f"{self.name}:"
        return f"{self.name}:{error.locations[0].line}:{error.locations[0].column}"


def read_document(name: str) -> str:
    """The text of a file, or of standard input; raises `Faulty`."""
    try:
        content = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
        return content.decode()
    except OSError as error:
        raise Faulty(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Faulty(f"{name}: not UTF-8") from None


@dataclass(frozen=True)
class Explainer:
    """Explains operations as the gateway with this engine and these limits would run them."""

    schema: GraphQLSchema
    engine: Engine
    limits: Limits
    max_tokens: int

    def explained(self, question: Question) -> str:
        """The function or why there is none, the statements, and the cost; raises `Faulty`."""
        document = self._document(question)
        operation = self._operation(question, document)
        coerced = self._coerced(question, operation)
        asked = measure(self.schema, document, operation, question.variables, self.limits)
        running = self._running(document, operation, coerced)
        costs = (cost_line(*each) for each in held_against(asked, self.limits))
        return "\n".join([*running, "# What it costs\n", *costs])

    def _document(self, question: Question) -> DocumentNode:
        refused = document_limits(question.document, max_tokens=self.max_tokens)
        if refused is not None:
            raise question.faulty([refused])
        try:
            document = parse(question.document)
        except GraphQLError as error:
            raise question.faulty([error]) from None
        errors = validate_document(self.schema, document, specified_rules)
        if errors:
            raise question.faulty(errors)
        return document

    def _operation(self, question: Question, document: DocumentNode) -> OperationDefinitionNode:
        found = get_operation_ast(document, question.operation_name)
        if found is not None:
            return found
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        names = ", ".join(node.name.value for node in operations if node.name) or "none"
        raise Faulty(f"{question.name}: name one of its operations by --operation; there are: {names}")

    def _coerced(self, question: Question, operation: OperationDefinitionNode) -> Mapping[str, object]:
        definitions = [
            definition
            for definition in operation.variable_definitions or ()
            if definition.variable.name.value in question.variables
            or definition.default_value is not None
            or not is_non_null_type(type_from_ast(self.schema, definition.type))
        ]
        found = get_variable_values(self.schema, definitions, dict(question.variables))
        if isinstance(found, VariableValues):
            return found.coerced
        raise question.faulty(found)

    def _running(
        self, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, object]
    ) -> Iterator[str]:
        fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        try:
            compiled = self.engine.prepared(operation, fragments).compiled(variables)
        except NotCompilable as reason:
            yield f"# It is run by graphql-core, as it holds what has no function: {reason}\n"
            return
        yield "# It is run by this function\n"
        yield compiled.source
        yield from statements(compiled)


def explainer_of(settings: Settings) -> Explainer:
    schema = build_schema()
    assert schema.engine is not None
    return Explainer(schema.core, schema.engine, limits_of(settings), settings.max_query_tokens)


def statements(compiled: Compiled) -> Iterator[str]:
    for fetch in compiled.fetches:
        yield f"# What is asked for {'.'.join(fetch.path)}\n"
        yield f"{statement(fetch)}\n"


def statement(fetch: Fetch) -> str:
    try:
        return fetch.sql().strip()
    except ClientError as error:
        return f"Nothing: {error}"


def cost_line(name: str, value: int, maximum: int) -> str:
    refused = ", and so it is refused" if value > maximum else ""
    return f"{name.replace('_', ' ')}: {value:,} of at most {maximum:,}{refused}"
