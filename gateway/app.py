"""How do the parts become one application? Everything is built here, and every route is listed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from strawberry.extensions import ParserCache, ValidationCache

from gateway.auth import Authenticator, JsonWebTokens
from gateway.bounces import BounceWebhook
from gateway.documents import Documents
from gateway.downloads import ROUTE as DOWNLOAD_ROUTE
from gateway.downloads import Downloads
from gateway.exports import ROUTE as EXPORT_ROUTE
from gateway.exports import MailingFiles
from gateway.files import files_of
from gateway.graphql import GraphQLEndpoint
from gateway.health import health_routes
from gateway.limits import Limits, limits_extension
from gateway.operations import Operations
from gateway.pages import EXCEPTION_HANDLERS, ROUTES
from gateway.previews import ROUTE as PREVIEW_ROUTE
from gateway.previews import Previews
from gateway.requests import FollowedRequests
from gateway.return_paths import ReturnPaths
from gateway.settings import Settings
from gateway.signing import SignedLinks
from gateway.streams.origins import Origins
from gateway.streams.outbox import Patience
from gateway.streams.server_sent_events import EventStreams
from gateway.streams.shared import SharedStreams
from gateway.streams.websocket import WebSocketEndpoint
from gateway.unsubscribe import TEST_PATH as UNSUBSCRIBE_TEST_PATH
from gateway.unsubscribe import Unsubscribing
from gateway.worker import Surroundings, build_worker, pool_size_of
from jobs.worker import running
from resolvers.context import Services
from schema.build import Schema, build_schema
from store.database import Database
from store.files import Files
from store.signals import Signals

KEPT_DOCUMENTS = 500
EVERY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


@dataclass(frozen=True)
class Deployment:
    """What is known only where the application is started: its database, its address, its disk, its secret.

    `files`: the folder that files are in unless FILES_URL says otherwise. `spool`: where a worker keeps what it is
    writing. `worker`: whether the jobs are done in this process as well.
    """

    database_url: str = field(repr=False)
    public_url: str
    files: Path
    spool: Path
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
        ],
        compiling=settings.compiled_queries,
    )


def documents_of(settings: Settings, schema: Schema) -> Documents:
    limits = limits_of(settings)
    return Documents(schema.core, limits, max_tokens=settings.max_query_tokens, most=KEPT_DOCUMENTS)


def json_web_tokens_of(settings: Settings) -> JsonWebTokens | None:
    if settings.jwt_key is None:
        return None
    return JsonWebTokens(
        settings.jwt_algorithm,
        settings.jwt_key.get_secret_value(),
        settings.jwt_issuer,
        settings.jwt_audience,
    )


def bounce_routes(
    settings: Settings, deployment: Deployment, database: Database, now: Callable[[], datetime]
) -> list[BaseRoute]:
    """The webhook, where there is a secret that it is signed with."""
    if settings.bounce_webhook_secret is None:
        return []
    secret = settings.bounce_webhook_secret.get_secret_value().encode()
    return [BounceWebhook(database, ReturnPaths(deployment.download_secret), secret, now).route]


@dataclass(frozen=True)
class GraphQL:
    """`/graphql` by HTTP and as a WebSocket, and the streams behind both."""

    routes: list[BaseRoute]
    event_streams: EventStreams
    shared_streams: SharedStreams


def graphql_of(
    settings: Settings, deployment: Deployment, services: Services, authenticator: Authenticator, patience: Patience
) -> GraphQL:
    schema = schema_of(settings)
    operations = Operations(schema, services, documents_of(settings, schema))
    shared_streams = SharedStreams(operations, authenticator)
    event_streams = EventStreams(shared_streams, patience, services.now)
    endpoint = GraphQLEndpoint(operations, event_streams, authenticator, max_body_bytes=settings.max_body_bytes)
    websockets = WebSocketEndpoint(
        operations,
        shared_streams,
        authenticator,
        origins=Origins([deployment.public_url, *settings.origins]),
        patience=patience,
        max_operations=settings.max_subscriptions,
        now=services.now,
    )

    async def graphql(request: Request) -> Response:
        return await endpoint(request)

    routes = [Route("/graphql", graphql, methods=EVERY_METHOD), WebSocketRoute("/graphql", websockets)]
    return GraphQL(routes, event_streams, shared_streams)


@asynccontextmanager
async def in_background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """The work goes on for as long as this lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def worker_inside(
    settings: Settings, deployment: Deployment, files: Files, now: Callable[[], datetime]
) -> AsyncIterator[None]:
    """A worker goes on for as long as this lasts, with connections of its own: requests cannot keep it from any."""
    database = Database(
        deployment.database_url,
        pool_size=pool_size_of(settings),
        command_timeout=settings.statement_timeout,
    )
    around = Surroundings(
        files, deployment.spool, deployment.public_url, deployment.download_secret, now, demo=deployment.demo
    )
    try:
        async with running(build_worker(settings, database, around)):
            yield
    finally:
        await database.close()


def build_app(
    settings: Settings, deployment: Deployment, now: Callable[[], datetime], patience: Patience | None = None
) -> Starlette:
    """The ASGI application over the deployment's database; it closes its connections when it ends.

    It runs in a server of `gateway.server`, which needs what is in its `state`.
    """
    patience = patience or Patience()
    database = Database(
        deployment.database_url,
        pool_size=settings.database_pool_size,
        command_timeout=settings.statement_timeout,
    )
    lifetime = timedelta(seconds=settings.download_seconds)
    links = SignedLinks(deployment.download_secret, deployment.public_url, now)
    files = files_of(settings, deployment.files)
    downloads = Downloads(links, files, database, lifetime, now)
    previews = Previews(links, database, now)
    authenticator = Authenticator(database, json_web_tokens_of(settings), now, accept_demo_tokens=deployment.demo)
    mailing_files = MailingFiles(database, authenticator, downloads)
    services = Services(
        database=database,
        now=now,
        mint_link=downloads.mint,
        mint_preview=previews.mint,
        inert_unsubscribe_url=deployment.public_url + UNSUBSCRIBE_TEST_PATH,
        domain_suffix=settings.campaign_domain_suffix,
        test_mails_per_hour=settings.test_mails_per_hour,
        exports_waiting=settings.exports_waiting_per_company,
        export_bytes=settings.export_bytes_per_company,
        signals=Signals(database),
    )
    graphql = graphql_of(settings, deployment, services, authenticator, patience)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        working = worker_inside(settings, deployment, files, now) if deployment.worker else nullcontext()
        async with working:
            async with in_background(services.signals.run()):
                yield
            await graphql.shared_streams.close()
        await database.close()

    app = Starlette(
        routes=[
            *graphql.routes,
            Route(DOWNLOAD_ROUTE, downloads.answer),
            Route(EXPORT_ROUTE, mailing_files.answer),
            Route(PREVIEW_ROUTE, previews.answer),
            *Unsubscribing(deployment.download_secret, database).routes,
            *bounce_routes(settings, deployment, database, now),
            *health_routes(database),
            *ROUTES,
        ],
        middleware=[Middleware(FollowedRequests)],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    app.state.database = database
    app.state.drain = graphql.event_streams.drain
    app.state.shared_streams = graphql.shared_streams
    # A redirect would be made of the Host header, which is the client's; no path here needs one.
    app.router.redirect_slashes = False
    return app
