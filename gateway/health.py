"""Is the process alive, and can it serve?"""

from __future__ import annotations

import asyncio

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from store.database import Database
from store.migrate import newest_revision

READY_SECONDS = 5


def health_routes(database: Database) -> list[Route]:
    """`/healthz` answers while the process lives, `/readyz` while the database can be reached and is migrated."""
    newest = newest_revision()

    async def alive(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        try:
            async with asyncio.timeout(READY_SECONDS):
                revision = await database.ping()
        except (DBAPIError, PoolTimeoutError, OSError, TimeoutError):
            return JSONResponse({"status": "the database cannot be reached"}, 503)
        if revision != newest:
            return JSONResponse({"status": "the database is not migrated"}, 503)
        return JSONResponse({"status": "ok"})

    return [Route("/healthz", alive), Route("/readyz", ready)]
