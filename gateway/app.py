"""How do the parts become one application? Everything is built here, and every route is listed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from strawberry.extensions import ParserCache, ValidationCache

from gateway.auth import Authenticator, JsonWebTokens
from gateway.downloads import ROUTE as DOWNLOAD_ROUTE
from gateway.downloads import Downloads
from gateway.graphql import GraphQLEndpoint
from gateway.health import health_routes
from gateway.limits import Limits, limits_extension
from gateway.pages import EXCEPTION_HANDLERS, ROUTES
from gateway.previews import ROUTE as PREVIEW_ROUTE
from gateway.previews import Previews
from gateway.requests import FollowedRequests
from gateway.settings import Settings
from gateway.signing import SignedLinks
from gateway.unsubscribe import ROUTES as UNSUBSCRIBE_ROUTES
from gateway.unsubscribe import TEST_PATH as UNSUBSCRIBE_TEST_PATH
from jobs.smtp import SmtpTransport, mail_server
from jobs.test_mails import MailTester
from jobs.transport import NO_SERVER, OUTBOX, Transport
from jobs.worker import Worker, running
from resolvers.context import Services
from schema.build import Schema, build_schema
from store.database import Database
from store.files import LocalFiles
from store.models import JobKind

KEPT_DOCUMENTS = 500
EVERY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


@dataclass(frozen=True)
class Deployment:
    """What is known only where the application is started: its database, its address, its disk, its secret.

    `worker`: whether the jobs are done in this process as well.
    """

    database_url: str = field(repr=False)
    public_url: str
    files: Path
    download_secret: bytes = field(repr=False)
    demo: bool = False
    worker: bool = False


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


def transport_of(settings: Settings, *, demo: bool) -> Transport:
    """Where mails go; the demo's stay with it unless a mail server is set."""
    if settings.smtp_url is not None:
        return SmtpTransport(mail_server(settings.smtp_url.get_secret_value()))
    return OUTBOX if demo else NO_SERVER


def build_worker(settings: Settings, database: Database, *, demo: bool = False) -> Worker:
    """The worker, with a handler for each kind of job."""
    handlers = {JobKind.TEST_MAIL: MailTester(database, transport_of(settings, demo=demo))}
    return Worker(database, handlers, concurrency=settings.worker_concurrency)


def build_app(settings: Settings, deployment: Deployment, now: Callable[[], datetime]) -> Starlette:
    """The ASGI application over the deployment's database; it closes its connections when it ends."""
    database = Database(
        deployment.database_url,
        pool_size=settings.database_pool_size,
        command_timeout=settings.statement_timeout,
    )
    lifetime = timedelta(seconds=settings.download_seconds)
    links = SignedLinks(deployment.download_secret, deployment.public_url, now)
    downloads = Downloads(links, LocalFiles(deployment.files), database, lifetime, now)
    previews = Previews(links, database, now)
    services = Services(
        database=database,
        now=now,
        mint_link=downloads.mint,
        mint_preview=previews.mint,
        inert_unsubscribe_url=deployment.public_url + UNSUBSCRIBE_TEST_PATH,
        domain_suffix=settings.campaign_domain_suffix,
        test_mails_per_hour=settings.test_mails_per_hour,
    )
    endpoint = GraphQLEndpoint(
        schema_of(settings),
        services,
        Authenticator(database, json_web_tokens_of(settings), now, accept_demo_tokens=deployment.demo),
        max_body_bytes=settings.max_body_bytes,
        max_query_tokens=settings.max_query_tokens,
    )

    async def graphql(request: Request) -> Response:
        return await endpoint(request)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        worker = build_worker(settings, database, demo=deployment.demo) if deployment.worker else None
        async with nullcontext() if worker is None else running(worker):
            yield
        await database.close()

    app = Starlette(
        routes=[
            Route("/graphql", graphql, methods=EVERY_METHOD),
            Route(DOWNLOAD_ROUTE, downloads.answer),
            Route(PREVIEW_ROUTE, previews.answer),
            *UNSUBSCRIBE_ROUTES,
            *health_routes(database),
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
