"""How does the gateway run as it is shipped, and how without one of its parts, so that its cost can be seen?

The parts are replaced here, for the measurement alone: no setting takes them out of a gateway that serves.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from gateway.app import Deployment, build_app
from gateway.auth import Authenticator
from gateway.cli import listening_socket
from gateway.logging import configure_logging
from gateway.server import allow_many_connections, pass_over_what_stands, server_of
from gateway.settings import Settings
from resolvers.context import Viewer

# The snapshot that every reading has, with no company set for row security.
BEGIN_UNBOUND = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
ENGINE, AUTHENTICATION, LIMITS = "engine", "authentication", "limits"
ROW_SECURITY, LOG = "row-security", "log"
PARTS = {
    AUTHENTICATION: "the token is looked up once and then believed",
    LIMITS: "no cost rule",
    ROW_SECURITY: "as a superuser, and no company is named",
    LOG: "no line for each request",
}


class BelievingAuthenticator(Authenticator):
    """Remembers whom the first token made a viewer."""

    _viewer: Viewer | None = None

    async def viewer(self, authorization: str | None) -> Viewer:
        if self._viewer is None:
            self._viewer = await super().viewer(authorization)
        return self._viewer


REPLACED: dict[str, dict[str, object]] = {
    # By its setting, in `main`.
    ENGINE: {},
    AUTHENTICATION: {"gateway.app.Authenticator": BelievingAuthenticator},
    LIMITS: {"gateway.documents.Query.beyond_limits": lambda *_: ()},
    ROW_SECURITY: {"store.database.APPLICATION_ROLE": "postgres", "store.readings.BEGIN": BEGIN_UNBOUND},
    LOG: {},
}


@contextmanager
def taken_out(parts: list[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for part in parts:
            for name, stand_in in REPLACED[part].items():
                stack.enter_context(patch(name, stand_in))
        yield


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--without", nargs="*", choices=list(REPLACED), default=[])
    given = arguments.parse_args()
    # uvicorn raises the signal again when it has stopped; the folder is to be removed then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    settings = Settings(port=given.port, compiled_queries=ENGINE not in given.without)
    assert settings.database_url is not None
    configure_logging("WARNING" if LOG in given.without else settings.log_level)
    with (
        tempfile.TemporaryDirectory(prefix="mcg-bench-files-") as folder,
        listening_socket(settings) as listener,
        taken_out(given.without),
    ):
        deployment = Deployment(
            settings.database_url.get_secret_value(),
            f"http://127.0.0.1:{given.port}",
            Path(folder),
            Path(folder),
            secrets.token_bytes(32),
        )
        app = build_app(settings, deployment, now=lambda: datetime.now(UTC))
        allow_many_connections()
        pass_over_what_stands()
        server_of(app, settings).run(sockets=[listener])


if __name__ == "__main__":
    main()
