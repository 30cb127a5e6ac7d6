"""Which pages does the gateway serve itself? GraphiQL and what it needs; nothing comes from another host."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import orjson
from graphql import OperationDefinitionNode, parse
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ExceptionHandler, Scope

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER / "examples"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        # The editor writes its styles while it runs.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
REFUSALS = {"NOT_FOUND": "There is nothing here.", "METHOD_NOT_ALLOWED": "That cannot be done here."}
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Assets(StaticFiles):
    """Built files; their names hold a hash of their content, so a browser may keep them for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code in (200, 304):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
            response.headers["X-Content-Type-Options"] = "nosniff"
            response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return response


async def graphiql(_request: Request) -> Response:
    return FileResponse(FOLDER / "graphiql" / "index.html", headers=PAGE_HEADERS)


async def examples(_request: Request) -> Response:
    return Response(orjson.dumps(example_tabs()), media_type="application/json", headers=PAGE_HEADERS)


async def refused(_request: Request, error: Exception) -> Response:
    """Starlette's own refusals (no such path, not this method), in the form of all others."""
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name
    problem = {"message": REFUSALS.get(code, error.detail), "extensions": {"code": code}}
    return Response(orjson.dumps({"errors": [problem]}), error.status_code, error.headers, "application/json")


def example_tabs() -> list[dict[str, str | None]]:
    """The documents that GraphiQL opens at the first visit, in the order of their file names."""
    return [example_tab(path) for path in sorted(EXAMPLES.glob("*.graphql"))]


def example_tab(path: Path) -> dict[str, str | None]:
    query = path.read_text(encoding="utf-8")
    variables = path.with_suffix(".json")
    return {
        "title": operation_name(query),
        "query": query,
        "variables": variables.read_text(encoding="utf-8") if variables.exists() else None,
    }


def operation_name(query: str) -> str | None:
    """The name of the document's operation, which is what GraphiQL calls the tab."""
    operation = parse(query).definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    return None if operation.name is None else operation.name.value


ROUTES: list[BaseRoute] = [
    Route("/", graphiql),
    Route("/graphiql/examples.json", examples),
    Mount("/graphiql/assets", GZipMiddleware(Assets(directory=FOLDER / "graphiql" / "assets"))),
]
EXCEPTION_HANDLERS: dict[int | type[Exception], ExceptionHandler] = {HTTPException: refused}
