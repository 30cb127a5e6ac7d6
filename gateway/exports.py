"""How is a mailing file had by the id of its export? `GET` and `HEAD` of `/exports/<uuid>.csv` and `.xlsx`.

Authorised as any request is, by the Authorization header; for programs that are written to fetch one address, while
browsers follow the links of `gateway/downloads.py`.
"""

from __future__ import annotations

import re

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth import Authenticator, Unauthenticated
from gateway.downloads import Downloads
from gateway.signing import PRIVATE_HEADERS, LinkRefused
from resolvers.context import StoredFile, Viewer
from resolvers.edges import One
from resolvers.exports import DOWNLOAD_COLUMNS, EXPORT, stored_file
from resolvers.global_ids import KeyKind, parse_key
from store.database import Database
from store.models import ExportFormat, ExportKind, ExportStatus, TokenScope

ROUTE = "/exports/{file}"
# What stands in the address, and the format that it asks for.
FILE = re.compile(r"([^.]+)\.(csv|xlsx)")
MAILING = One("GET /exports", EXPORT, key="id")
COLUMNS = (*DOWNLOAD_COLUMNS, "kind", "format", "status")
NEEDED = frozenset({TokenScope.READ, TokenScope.EXPORT})
ENDED = (ExportStatus.COMPLETED, ExportStatus.EXPIRED)


class MailingFiles:
    """Answers `ROUTE`."""

    def __init__(self, database: Database, authenticator: Authenticator, downloads: Downloads) -> None:
        self._database = database
        self._authenticator = authenticator
        self._downloads = downloads

    async def answer(self, request: Request) -> Response:
        """The file, or where its bucket has it; what is not there, and what is not the viewer's, looks the same."""
        try:
            viewer = await self._authenticator.viewer(request.headers.get("authorization"))
            if not viewer.token_scopes >= NEEDED:
                raise LinkRefused(403, "FORBIDDEN", "This token may not download exports.")
            return await self._downloads.sent(await self._found(viewer, request.path_params["file"]), request)
        except Unauthenticated as error:
            return unauthenticated(str(error))
        except LinkRefused as refused:
            return refused.answer()

    async def _found(self, viewer: Viewer, name: str) -> StoredFile:
        asked = FILE.fullmatch(name)
        key = parse_key(KeyKind.UUID, asked[1]) if asked else None
        if asked is None or key is None:
            raise absent()
        async with self._database.reading(viewer.identity.scope) as reader:
            rows = await MAILING.fetch(reader, COLUMNS, [key])
        wanted = ExportKind.MAILING, ExportFormat(asked[2].upper())
        row = next((row for row in rows if (row.kind, row.format) == wanted and row.status in ENDED), None)
        if row is None:
            raise absent()
        if not row.is_available_for_download:
            raise LinkRefused(410, "EXPORT_EXPIRED", "The file's life is over; regenerate the export.")
        return stored_file(row)


def absent() -> LinkRefused:
    return LinkRefused(404, "NOT_FOUND", "There is no such file, or not for you.")


def unauthenticated(message: str) -> Response:
    body = {"errors": [{"message": message, "extensions": {"code": "UNAUTHENTICATED"}}]}
    headers = {**PRIVATE_HEADERS, "WWW-Authenticate": 'Bearer realm="campaign-gateway"'}
    return Response(orjson.dumps(body), 401, headers, "application/json")
