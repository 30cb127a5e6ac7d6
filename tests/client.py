"""How does a test speak to the gateway? As its users do: HTTP to a real socket, GraphQL in, data out."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette

from gateway.app import Deployment, build_app
from gateway.cli import listening_socket
from gateway.server import Server, server_of
from gateway.settings import Settings
from gateway.streams.outbox import Patience
from gateway.streams.shared import SharedStreams
from store.database import Database
from tests.build import NOW
from tests.statements import heard

SET_UP = ("set_config", "signed_in_by", "access_tokens", "my_teams")
DOWNLOAD_SECRET = b"the-secret-of-downloads-in-tests"


@dataclass
class Answer:
    """What came back for an operation."""

    status: int
    body: Any
    headers: httpx.Headers

    @property
    def data(self) -> Any:
        """The data of an answer that must have no errors."""
        assert "errors" not in self.body, self.body["errors"]
        return self.body["data"]

    @property
    def codes(self) -> list[str]:
        """`extensions.code` of each error."""
        return [error["extensions"]["code"] for error in self.body.get("errors", [])]


class Gateway:
    """A running gateway; `files` is the folder that its files are in, `streams` are the subscriptions that it runs."""

    def __init__(self, http: httpx.AsyncClient, server: Server, app: Starlette, files: Path) -> None:
        self.http = http
        self.server = server
        self.files = files
        self.streams: SharedStreams = app.state.shared_streams
        self._database: Database = app.state.database

    async def ask(
        self, query: str, token: str | None, variables: Mapping[str, object] | None = None, **more: object
    ) -> Answer:
        """One operation, as the holder of the token."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        body = {"query": query, "variables": variables, **more}
        response = await self.http.post("/graphql", json=body, headers=headers)
        return Answer(response.status_code, response.json(), response.headers)

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[list[str]]:
        """The SQL statements that read rows while this lasts; those that set up a transaction do not count."""
        statements: list[str] = []

        def keep(statement: str, _parameters: object) -> None:
            if not any(mark in statement for mark in SET_UP):
                statements.append(statement)

        with heard(self._database, keep):
            yield statements


@asynccontextmanager
async def running_gateway(
    url: str,
    *,
    now: Callable[[], datetime] = lambda: NOW,
    worker: bool = False,
    patience: Patience | None = None,
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """The gateway on a free port of this machine, over the database at `url`, by default at `NOW`.

    Jobs are done with `worker` only.
    """
    chosen = Settings(**{"port": 0, "database_pool_size": 3, "log_level": "ERROR", **settings})
    with listening_socket(chosen) as listener, tempfile.TemporaryDirectory(prefix="mcg-files-") as folder:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        places = Path(folder) / "files", Path(folder) / "spool"
        deployment = Deployment(url, chosen.public_url or address, *places, DOWNLOAD_SECRET, worker=worker)
        app = build_app(chosen, deployment, now, patience)
        server = server_of(app, chosen, patience)
        async with anyio.create_task_group() as tasks, httpx.AsyncClient(base_url=address, timeout=30) as http:
            tasks.start_soon(server.serve, [listener])
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await anyio.sleep(0.001)
            try:
                yield Gateway(http, server, app, deployment.files)
            finally:
                server.should_exit = True
