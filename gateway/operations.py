"""How is one operation run, whichever way it came in: read, held to the limits, executed, its errors made answers?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import orjson
from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLFormattedError,
    GraphQLSyntaxError,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from strawberry.exceptions import StrawberryGraphQLError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult as StrawberryResult
from strawberry.types.graphql import OperationType as AllowedType

from gateway.auth import Authenticator
from gateway.documents import Documents
from gateway.problems import INTERNAL_ERROR, MESSAGES, TIMED_OUT, UNAVAILABLE, answered_errors, fault_code, report
from resolvers.context import Context, KeptLinks, Services, Viewer, Watch
from resolvers.errors import ClientError, ErrorCode
from schema.build import Schema
from store.models import TokenScope

UNAUTHENTICATED = "UNAUTHENTICATED"
ANSWERED_ONCE = {AllowedType.QUERY, AllowedType.MUTATION}
# graphql-core coerces values by calling itself, level by level; documents are held to the same nesting.
MAX_VARIABLES_NESTING = 60


class RequestProblem(Exception):
    """The request is not one that can be executed; becomes an answer with this status and code."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    @property
    def errors(self) -> list[GraphQLFormattedError]:
        """As an answer has it."""
        return [{"message": self.message, "extensions": {"code": self.code}}]


@dataclass(frozen=True)
class Operation:
    """The parameters of a request (GraphQL over HTTP, 5.1)."""

    query: str
    variables: dict[str, object] | None
    operation_name: str | None


@dataclass(frozen=True)
class Outcome:
    """What came of an operation, or of one event of a subscription.

    `refused`: there are errors only, none of them of a field: nothing was executed, or a subscription has broken off.
    """

    data: object
    errors: list[GraphQLFormattedError]
    refused: bool

    def answer(self) -> dict[str, object]:
        """The members of the answer (GraphQL, 7.1)."""
        found: dict[str, object] = {} if self.refused else {"data": self.data}
        return {**found, "errors": self.errors} if self.errors else found

    def has(self, code: str) -> bool:
        return any(error.get("extensions", {}).get("code") == code for error in self.errors)

    @property
    def incomplete(self) -> bool:
        """Whether something is missing that may be there if it is read again."""
        return not self.refused and (self.has(UNAVAILABLE) or self.has(TIMED_OUT))


class Operations:
    """Runs operations of the schema as their viewers."""

    def __init__(self, schema: Schema, services: Services, documents: Documents) -> None:
        self._schema = schema
        self._services = services
        self._documents = documents

    def refusal(self, operation: Operation, viewer: Viewer, request_id: str) -> Outcome | None:
        """Why the operation is not even looked at; to be asked first, as what follows relies on it."""
        document = self._documents.read(operation.query)
        if document.refusal is not None:
            return refusal_of([document.refusal], request_id)
        # Strawberry would run the first where no name is given; the specification (6.1) has that as an error.
        if operation.operation_name is None and document.operations > 1:
            return refusal_of([operation_error()], request_id)
        return scope_refusal(viewer, request_id)

    def is_personal(self, operation: Operation) -> bool:
        """Whether a subscription shows each user what is theirs alone, however much else they see."""
        return self._schema.is_personal(root_fields(operation))

    async def execute(self, operation: Operation, viewer: Viewer, request_id: str) -> Outcome:
        """Runs a query or a mutation."""
        query = self._documents.read(operation.query).queries.get(operation.operation_name)
        if query is not None and (beyond := query.beyond_limits(operation.variables or {})):
            return refusal_of(beyond, request_id)
        async with self._services.database.reading(viewer.identity.scope) as reader:
            context = Context(viewer, reader, request_id, self._services)
            if query is not None:
                answered = self._schema.answer(query.document, operation.operation_name, operation.variables, context)
                return outcome_of(await answered, request_id)
            try:
                result = await self._schema.execute(
                    operation.query,
                    variable_values=operation.variables,
                    context_value=context,
                    root_value=viewer,
                    operation_name=operation.operation_name,
                    allowed_operation_types=ANSWERED_ONCE,
                )
            except (CannotGetOperationTypeError, InvalidOperationTypeError, StrawberryGraphQLError):
                return refusal_of([operation_error()], request_id)
        return outcome_of(result, request_id)

    async def events(
        self, operation: Operation, viewer: Viewer, request_id: str, watch: Watch
    ) -> AsyncGenerator[Outcome, None]:
        """Runs a subscription; ends after a refusal. Between two events no connection to the database is held.

        There is an outcome of each reading, news or not, unless an outage left a part of it out: once there was an
        outcome, such a reading is made again. `watch.begun` tells whether there was one.
        """
        links = KeptLinks(self._services.mint_link, self._services.now)
        services = replace(self._services, mint_link=links)
        reader = services.database.reading(viewer.identity.scope)
        context = Context(viewer, reader, request_id, services, watch)
        try:
            results = await self._schema.subscribe(
                operation.query,
                variable_values=operation.variables,
                context_value=context,
                root_value=viewer,
                operation_name=operation.operation_name,
            )
            async with aclosing(results):
                async for result in results:
                    await context.rest()
                    outcome = outcome_of(result, request_id)
                    watch.failed = watch.begun and outcome.incomplete
                    if not watch.failed:
                        watch.begun = True
                        yield outcome
        finally:
            await context.close()


async def signed_in(authenticator: Authenticator, authorization: str | None, request_id: str) -> Viewer:
    """The viewer, read anew; raises `Unauthenticated`, and `RequestProblem` while the database cannot be reached."""
    try:
        return await authenticator.viewer(authorization)
    except (DBAPIError, PoolTimeoutError, OSError) as error:
        if fault_code(error) == INTERNAL_ERROR:
            raise
        report(error, request_id)
        raise RequestProblem(503, UNAVAILABLE, MESSAGES[UNAVAILABLE]) from None


def scope_refusal(viewer: Viewer, request_id: str) -> Outcome | None:
    """Why the token is not one for reading, which every operation does."""
    if TokenScope.READ in viewer.token_scopes:
        return None
    return refusal_of([ClientError(ErrorCode.FORBIDDEN, "This token may not read.")], request_id)


def outcome_of(result: ExecutionResult | StrawberryResult, request_id: str) -> Outcome:
    errors = result.errors or []
    if result.data is None and errors and all(error.path is None for error in errors):
        return refusal_of(errors, request_id)
    return Outcome(result.data, answered_errors(errors, request_id), refused=False)


def refusal_of(errors: Sequence[GraphQLError], request_id: str) -> Outcome:
    return Outcome(None, answered_errors(errors, request_id), refused=True)


def refusal_because(code: str, message: str, **details: str) -> Outcome:
    return Outcome(None, [{"message": message, "extensions": {"code": code, **details}}], refused=True)


def faulty(error: Exception, request_id: str) -> Outcome:
    """A fault of ours that nothing foresaw, reported: the client learns its kind."""
    report(error, request_id)
    code = fault_code(error)
    return refusal_because(code, MESSAGES[code], requestId=request_id)


def operation_error() -> GraphQLError:
    """No operation, several without a name, or a name that none has."""
    message = "Send one operation, and its name when the document has several."
    return GraphQLError(message, extensions={"code": "OPERATION_RESOLUTION_FAILURE"})


def is_subscription(operation: Operation) -> bool:
    """Whether the operation that is asked for is a stream of answers; the document must be within the limits."""
    if OperationType.SUBSCRIPTION.value not in operation.query:
        return False
    try:
        document = parse(operation.query, no_location=True)
    except GraphQLSyntaxError:
        return False  # Reported where the document is parsed to be executed.
    found = get_operation_ast(document, operation.operation_name)
    return found is not None and found.operation is OperationType.SUBSCRIPTION


def declared_variables(operation: Operation) -> frozenset[str]:
    """The names of the variables that the operation has; values of others mean nothing (GraphQL, 6.1.2)."""
    try:
        found = get_operation_ast(parse(operation.query, no_location=True), operation.operation_name)
    except GraphQLSyntaxError:
        found = None  # Reported where the document is parsed to be executed.
    declared = () if found is None else found.variable_definitions or ()
    return frozenset(definition.variable.name.value for definition in declared)


def root_fields(operation: Operation) -> set[str]:
    """The names of the root's fields that the operation selects, those too that its variables leave out."""
    try:
        document = parse(operation.query, no_location=True)
    except GraphQLSyntaxError:
        return set()  # Reported where the document is parsed to be executed.
    found: set[str] = set()
    waiting: list[Node | None] = [get_operation_ast(document, operation.operation_name)]
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    while waiting:
        node = waiting.pop()
        if isinstance(node, FieldNode):
            found.add(node.name.value)
        elif isinstance(node, FragmentSpreadNode):
            # Each once, as what is not valid may go round in circles.
            waiting.append(fragments.pop(node.name.value, None))
        elif isinstance(node, OperationDefinitionNode | InlineFragmentNode | FragmentDefinitionNode):
            waiting += node.selection_set.selections
    return found


def with_variables(operation: Operation, names: Collection[str]) -> Operation:
    """The same operation with the values of these variables alone."""
    given = operation.variables or {}
    return replace(operation, variables={name: value for name, value in given.items() if name in names})


def read_operation(body: bytes) -> Operation:
    """The operation of a request's body; raises `RequestProblem`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestProblem(400, "INVALID_JSON", f"The body is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise invalid_request("The body must be a JSON object.")
    return operation_of(found)


def operation_of(parameters: Mapping[str, object]) -> Operation:
    """The operation that the parameters of a request name; raises `RequestProblem`."""
    query, variables, name = (parameters.get(key) for key in ("query", "variables", "operationName"))
    if not isinstance(query, str) or not query.strip():
        raise invalid_request("`query` must be a GraphQL document.")
    if variables is not None and not isinstance(variables, dict):
        raise invalid_request("`variables` must be an object.")
    if name is not None and not isinstance(name, str):
        raise invalid_request("`operationName` must be a text.")
    if is_nested_deeper(variables, MAX_VARIABLES_NESTING):
        raise invalid_request(f"`variables` may be nested at most {MAX_VARIABLES_NESTING} levels deep.")
    return Operation(query, variables, name or None)


def is_nested_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects stand in each other more than this many levels deep."""
    layer = [value]
    for _ in range(levels):
        layer = [
            child
            for entry in layer
            if isinstance(entry, dict | list)
            for child in (entry.values() if isinstance(entry, dict) else entry)
        ]
        if not layer:
            return False
    return any(isinstance(entry, dict | list) for entry in layer)


def invalid_request(message: str) -> RequestProblem:
    return RequestProblem(400, "INVALID_REQUEST", message)
