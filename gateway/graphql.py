"""How does an operation come in over HTTP, and how does its answer go out?

After the GraphQL-over-HTTP draft: POST with a JSON body; `application/graphql-response+json` answers request errors
with a 4xx, `application/json` keeps 200 for everything that was a well-formed request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from graphql import GraphQLError, GraphQLSyntaxError, OperationDefinitionNode, parse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from strawberry.exceptions import StrawberryGraphQLError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from gateway.auth import Authenticator, Unauthenticated
from gateway.limits import document_limits
from gateway.problems import INTERNAL_ERROR, MESSAGES, UNAVAILABLE, answered_errors, fault_code, report
from gateway.requests import request_id_of
from resolvers.context import Context, Services, Viewer
from resolvers.errors import ClientError, ErrorCode
from schema.build import Schema
from store.models import TokenScope

RESPONSE_TYPE = "application/graphql-response+json"
JSON_TYPE = "application/json"
ALLOWED = {OperationType.QUERY, OperationType.MUTATION}
# graphql-core coerces values by calling itself, level by level; documents are held to the same nesting.
MAX_VARIABLES_NESTING = 60
OPERATION_KEYWORD = re.compile(r"\b(?:query|mutation|subscription)\b")


class RequestProblem(Exception):
    """The request is not one that can be executed; becomes an answer with this status and code."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


@dataclass(frozen=True)
class Operation:
    """The parameters of a request (GraphQL over HTTP, 5.1)."""

    query: str
    variables: dict[str, object] | None
    operation_name: str | None


class GraphQLEndpoint:
    """`POST /graphql`."""

    def __init__(
        self,
        schema: Schema,
        services: Services,
        authenticator: Authenticator,
        *,
        max_body_bytes: int,
        max_query_tokens: int,
    ) -> None:
        self._schema = schema
        self._services = services
        self._authenticator = authenticator
        self._max_body_bytes = max_body_bytes
        self._max_query_tokens = max_query_tokens

    async def __call__(self, request: Request) -> Response:
        request_id = request_id_of(request)
        media_type = response_type(request.headers.get("accept"))
        try:
            if request.method != "POST":
                raise RequestProblem(405, "METHOD_NOT_ALLOWED", "Send a POST request.", {"Allow": "POST"})
            check_content_type(request.headers.get("content-type"))
            viewer = await self._viewer(request, request_id)
            operation = read_operation(await self._body(request))
            return await self._answer(operation, viewer, request_id, media_type)
        except RequestProblem as problem:
            error = {"message": problem.message, "extensions": {"code": problem.code}}
            return written({"errors": [error]}, problem.status, media_type, problem.headers)

    async def _viewer(self, request: Request, request_id: str) -> Viewer:
        try:
            return await self._authenticator.viewer(request.headers.get("authorization"))
        except Unauthenticated as error:
            headers = {"WWW-Authenticate": 'Bearer realm="campaign-gateway"'}
            raise RequestProblem(401, "UNAUTHENTICATED", str(error), headers) from None
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            if fault_code(error) == INTERNAL_ERROR:
                raise
            report(error, request_id)
            raise RequestProblem(503, UNAVAILABLE, MESSAGES[UNAVAILABLE]) from None

    async def _body(self, request: Request) -> bytes:
        too_large = RequestProblem(413, "BODY_TOO_LARGE", f"A request may have at most {self._max_body_bytes} bytes.")
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._max_body_bytes:
            raise too_large
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self._max_body_bytes:
                    raise too_large
        except ClientDisconnect:
            raise RequestProblem(400, "INCOMPLETE_REQUEST", "The request was not sent to its end.") from None
        return bytes(body)

    async def _answer(self, operation: Operation, viewer: Viewer, request_id: str, media_type: str) -> Response:
        refused = document_limits(operation.query, max_tokens=self._max_query_tokens)
        if refused is not None:
            return self._refused([refused], request_id, media_type)
        if operation.operation_name is None and has_several_operations(operation.query):
            return self._refused([operation_error()], request_id, media_type)
        if TokenScope.READ not in viewer.token_scopes:
            return self._refused([ClientError(ErrorCode.FORBIDDEN, "This token may not read.")], request_id, media_type)
        async with self._services.database.reading(viewer.identity.scope) as reader:
            try:
                result = await self._schema.execute(
                    operation.query,
                    variable_values=operation.variables,
                    context_value=Context(viewer, reader, request_id, self._services),
                    root_value=viewer,
                    operation_name=operation.operation_name,
                    allowed_operation_types=ALLOWED,
                )
            except (CannotGetOperationTypeError, InvalidOperationTypeError, StrawberryGraphQLError):
                return self._refused([operation_error()], request_id, media_type)
        if result.data is None and result.errors and all(error.path is None for error in result.errors):
            return self._refused(result.errors, request_id, media_type)
        answer: dict[str, object] = {"data": result.data}
        if result.errors:
            answer["errors"] = answered_errors(result.errors, request_id)
        return written(answer, 200, media_type)

    def _refused(self, errors: list[GraphQLError], request_id: str, media_type: str) -> Response:
        """An answer without data: nothing was executed."""
        answers = answered_errors(errors, request_id)
        faulty = any(answer.get("extensions", {}).get("code") == INTERNAL_ERROR for answer in answers)
        status = 500 if faulty else 400 if media_type == RESPONSE_TYPE else 200
        return written({"errors": answers}, status, media_type)


def operation_error() -> GraphQLError:
    """No operation, several without a name, a name that none has, or a kind that is not served here."""
    message = "Send one operation of a kind that is served here, and its name when the document has several."
    return GraphQLError(message, extensions={"code": "OPERATION_RESOLUTION_FAILURE"})


def has_several_operations(source: str) -> bool:
    """Strawberry would run the first where no name is given; the specification (6.1) has that as an error."""
    if len(OPERATION_KEYWORD.findall(source)) < 2:
        return False
    try:
        definitions = parse(source, no_location=True).definitions
    except GraphQLSyntaxError:
        return False  # Reported where the document is parsed to be executed.
    return sum(isinstance(definition, OperationDefinitionNode) for definition in definitions) > 1


def response_type(accept: str | None) -> str:
    """The newer media type for clients that name it, and JSON for all others."""
    named = {part.split(";")[0].strip().lower() for part in (accept or "").split(",")}
    return RESPONSE_TYPE if RESPONSE_TYPE in named else JSON_TYPE


def check_content_type(content_type: str | None) -> None:
    """Exactly JSON: a form's content type would let another site's page send a request (CSRF)."""
    media_type, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != JSON_TYPE or charset not in ("", "utf-8"):
        raise RequestProblem(415, "UNSUPPORTED_MEDIA_TYPE", "Send a body of type application/json.")


def read_operation(body: bytes) -> Operation:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestProblem(400, "INVALID_JSON", f"The body is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise invalid_request("The body must be a JSON object.")
    query, variables, name = (found.get(key) for key in ("query", "variables", "operationName"))
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


def written(
    answer: Mapping[str, object], status: int, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(orjson.dumps(answer), status, headers, f"{media_type}; charset=utf-8")
