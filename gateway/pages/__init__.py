"""Which pages does the gateway serve itself? GraphiQL and what it needs; nothing comes from another host."""

from __future__ import annotations

from pathlib import Path

import orjson
from graphql import OperationDefinitionNode, parse
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

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


async def not_found(_request: Request, _error: Exception) -> Response:
    body = orjson.dumps({"errors": [{"message": "There is nothing here.", "extensions": {"code": "NOT_FOUND"}}]})
    return Response(body, 404, media_type="application/json")


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
EXCEPTION_HANDLERS = {404: not_found, HTTPException: not_found}
