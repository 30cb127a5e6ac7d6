"""How is a request followed from its arrival to the log? Its id, its log line, and the last resort for faults."""

from __future__ import annotations

import re
import time
from uuid import uuid4

import orjson
import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import INTERNAL_ERROR, MESSAGES, fault_code, report

log = structlog.get_logger("gateway")

GIVEN_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")
HEADER = "x-request-id"
# A signed URL that was mangled on its way (its `?` escaped) brings its signature in the path; a link to unsubscribe has
# it there.
SIGNATURE = re.compile("[0-9a-f]{64}|(?<=^/u/).+", re.IGNORECASE | re.DOTALL)


def request_id_of(request: Request) -> str:
    request_id: str = request.scope["request_id"]
    return request_id


class FollowedRequests:
    """Gives each request an id (a sensible one that a proxy sent is kept) and writes one line when it is answered.

    The line has the path and never the query string: signed URLs carry their secret there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = given_id(scope) or uuid4().hex
        scope["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_followed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_followed)
        except Exception as error:  # noqa: BLE001 - the last resort: reported, and answered where that is possible
            report(error, request_id)
            if status == 0:
                await answer_fault(send_followed, request_id, fault_code(error))
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=SIGNATURE.sub("…", scope["path"]),
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
                request_id=request_id,
            )


def given_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == HEADER.encode() and GIVEN_ID.fullmatch(value):
            found: bytes = value
            return found.decode()
    return None


async def answer_fault(send: Send, request_id: str, code: str) -> None:
    error = {"message": MESSAGES[code], "extensions": {"code": code, "requestId": request_id}}
    status = 500 if code == INTERNAL_ERROR else 503
    body = orjson.dumps({"errors": [error]})
    headers = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
