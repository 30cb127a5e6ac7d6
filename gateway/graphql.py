"""How does an operation come in over HTTP, and how does its answer go out?

After the GraphQL-over-HTTP draft: POST with a JSON body; `application/graphql-response+json` answers request errors
with a 4xx, `application/json` keeps 200 for everything that was a well-formed request. Subscriptions are answered with
`text/event-stream`.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth import Authenticator, Unauthenticated
from gateway.bodies import JSON_TYPE, body_of, check_content_type
from gateway.operations import (
    UNAUTHENTICATED,
    Operation,
    Operations,
    Outcome,
    RequestProblem,
    is_subscription,
    read_operation,
    signed_in,
)
from gateway.problems import INTERNAL_ERROR, TIMED_OUT, UNAVAILABLE
from gateway.requests import request_id_of
from gateway.streams.server_sent_events import EVENT_STREAM, EventStreams, whole
from gateway.streams.shared import Order
from resolvers.context import Viewer

RESPONSE_TYPE = "application/graphql-response+json"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="campaign-gateway"'}


class GraphQLEndpoint:
    """`POST /graphql`."""

    def __init__(
        self, operations: Operations, event_streams: EventStreams, authenticator: Authenticator, *, max_body_bytes: int
    ) -> None:
        self._operations = operations
        self._event_streams = event_streams
        self._authenticator = authenticator
        self._max_body_bytes = max_body_bytes

    async def __call__(self, request: Request) -> Response:
        request_id = request_id_of(request)
        accepted = media_types(request.headers.get("accept"))
        media_type = response_type(accepted)
        try:
            if request.method != "POST":
                raise RequestProblem(405, "METHOD_NOT_ALLOWED", "Send a POST request.", {"Allow": "POST"})
            check_content_type(request.headers.get("content-type"))
            authorization = request.headers.get("authorization")
            viewer = await self._viewer(authorization, request_id)
            operation = read_operation(await body_of(request, self._max_body_bytes))
            refusal = self._operations.refusal(operation, viewer, request_id)
            if refusal is not None:
                return answered(refusal, media_type)
            if is_subscription(operation):
                return self._stream(Order(operation, authorization or "", viewer, request_id), accepted)
            return await self._answer(operation, viewer, request_id, accepted)
        except RequestProblem as problem:
            return written({"errors": problem.errors}, problem.status, media_type, problem.headers)

    async def _viewer(self, authorization: str | None, request_id: str) -> Viewer:
        try:
            return await signed_in(self._authenticator, authorization, request_id)
        except Unauthenticated as error:
            raise RequestProblem(401, UNAUTHENTICATED, str(error), CHALLENGE) from None

    async def _answer(self, operation: Operation, viewer: Viewer, request_id: str, accepted: set[str]) -> Response:
        outcome = await self._operations.execute(operation, viewer, request_id)
        if wants_only_events(accepted) and not outcome.refused:
            return whole(outcome)
        return answered(outcome, response_type(accepted))

    def _stream(self, order: Order, accepted: set[str]) -> Response:
        if EVENT_STREAM not in accepted:
            message = f"A subscription is a stream: accept {EVENT_STREAM}, or ask for it over a WebSocket."
            raise RequestProblem(406, "NOT_ACCEPTABLE", message)
        # An answer with a good status would be read as a stream, in which nothing is found.
        return self._event_streams.answer(order, lambda refusal: answered(refusal, RESPONSE_TYPE))


def media_types(accept: str | None) -> set[str]:
    """What a client names in its Accept header, in small letters; weights are not looked at."""
    return {part.split(";")[0].strip().lower() for part in (accept or "").split(",")}


def wants_only_events(accepted: set[str]) -> bool:
    return EVENT_STREAM in accepted and not accepted & {RESPONSE_TYPE, JSON_TYPE}


def response_type(accepted: set[str]) -> str:
    """The newer media type for clients that name it, and JSON for all others; the newer one instead of a stream."""
    return RESPONSE_TYPE if RESPONSE_TYPE in accepted or wants_only_events(accepted) else JSON_TYPE


def answered(outcome: Outcome, media_type: str) -> Response:
    if not outcome.refused:
        return written(outcome.answer(), 200, media_type)
    if outcome.has(UNAUTHENTICATED):
        return written(outcome.answer(), 401, media_type, CHALLENGE)
    if outcome.has(INTERNAL_ERROR):
        return written(outcome.answer(), 500, media_type)
    if outcome.has(UNAVAILABLE) or outcome.has(TIMED_OUT):
        return written(outcome.answer(), 503, media_type)
    return written(outcome.answer(), 400 if media_type == RESPONSE_TYPE else 200, media_type)


def written(
    answer: Mapping[str, object], status: int, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(orjson.dumps(answer), status, headers, f"{media_type}; charset=utf-8")
