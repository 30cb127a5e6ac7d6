"""How do the parts become one application? Everything is built here, and every route is listed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from strawberry.extensions import ParserCache, ValidationCache

from gateway.auth import Authenticator, JsonWebTokens
from gateway.downloads import ROUTE as DOWNLOAD_ROUTE
from gateway.downloads import DownloadEndpoint, SignedLinks
from gateway.graphql import GraphQLEndpoint
from gateway.limits import Limits, limits_extension
from gateway.pages import EXCEPTION_HANDLERS, ROUTES
from gateway.requests import FollowedRequests
from gateway.settings import Settings
from schema.build import Schema, build_schema
from store.database import Database
from store.files import LocalFiles
from store.migrate import newest_revision

KEPT_DOCUMENTS = 500
READY_SECONDS = 5
EVERY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


@dataclass(frozen=True)
class Deployment:
    """What is known only where the application is started: its database, its address, its disk, its secret."""

    database_url: str = field(repr=False)
    public_url: str
    files: Path
    download_secret: bytes = field(repr=False)
    demo: bool = False


def limits_of(settings: Settings) -> Limits:
    return Limits(
        max_depth=settings.max_query_depth,
        max_aliases=settings.max_query_aliases,
        max_fields=settings.max_query_fields,
        max_cost=settings.max_query_cost,
    )


def schema_of(settings: Settings) -> Schema:
    """The schema with the caches and limits of the settings; the limits must come after the validation cache."""
    return build_schema(
        [
            lambda: ParserCache(maxsize=KEPT_DOCUMENTS),
            lambda: ValidationCache(maxsize=KEPT_DOCUMENTS),
            limits_extension(limits_of(settings)),
        ]
    )


def json_web_tokens_of(settings: Settings) -> JsonWebTokens | None:
    if settings.jwt_key is None:
        return None
    return JsonWebTokens(
        settings.jwt_algorithm,
        settings.jwt_key.get_secret_value(),
        settings.jwt_issuer,
        settings.jwt_audience,
    )


def build_app(settings: Settings, deployment: Deployment, now: Callable[[], datetime]) -> Starlette:
    """The ASGI application over the deployment's database; it closes its connections when it ends."""
    database = Database(
        deployment.database_url,
        pool_size=settings.database_pool_size,
        command_timeout=settings.statement_timeout,
    )
    lifetime = timedelta(seconds=settings.download_seconds)
    links = SignedLinks(deployment.download_secret, deployment.public_url, lifetime, now)
    downloads = DownloadEndpoint(links, LocalFiles(deployment.files), database)
    endpoint = GraphQLEndpoint(
        schema_of(settings),
        database,
        Authenticator(database, json_web_tokens_of(settings), now, accept_demo_tokens=deployment.demo),
        links.mint,
        max_body_bytes=settings.max_body_bytes,
        max_query_tokens=settings.max_query_tokens,
    )
    newest = newest_revision()

    async def graphql(request: Request) -> Response:
        return await endpoint(request)

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

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await database.close()

    app = Starlette(
        routes=[
            Route("/graphql", graphql, methods=EVERY_METHOD),
            Route(DOWNLOAD_ROUTE, downloads.answer),
            Route("/healthz", alive),
            Route("/readyz", ready),
            *ROUTES,
        ],
        middleware=[Middleware(FollowedRequests)],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    app.state.database = database
    # A redirect would be made of the Host header, which is the client's; no path here needs one.
    app.router.redirect_slashes = False
    return app
