"""How does a file leave? By a signed link, `/files/<id>/<name>?...` (`gateway/signing.py`), to be saved."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote
from uuid import UUID

import anyio
import structlog
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.requests import request_id_of
from gateway.signing import PRIVATE_HEADERS, LinkRefused, SignedLinks
from resolvers.context import DownloadLink, StoredFile
from resolvers.exports import FILE_EXPORT
from store.database import Database, Scope
from store.files import LocalFiles

log = structlog.get_logger("gateway")

ROUTE = "/files/{file_id}/{name}"
PATH = re.compile(r"/files/([0-9a-f-]{36})/([^/]+)")
SERVED_COLUMNS = ("file_content_type", "file_key", "is_available_for_download")


class Downloads:
    """Makes the links to files, and answers `GET` and `HEAD` of `ROUTE`."""

    def __init__(
        self,
        links: SignedLinks,
        files: LocalFiles,
        database: Database,
        lifetime: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._links = links
        self._files = files
        self._database = database
        self._lifetime = lifetime
        self._now = now

    def mint(self, file: StoredFile) -> DownloadLink:
        """A link that ends after the lifetime, or with the file where that is sooner."""
        path = f"/files/{file.id}/{quote(safe_name(file.name), safe='')}"
        return self._links.mint(path, file.company_id, min(self._now() + self._lifetime, file.expires_at))

    async def answer(self, request: Request) -> Response:
        """The file, or the parts of it that are asked for (RFC 9110, 14)."""
        try:
            grant = self._links.opened(request, PATH)
            file_id, name = grant.found
            path, content_type = await self._found(grant.company_id, UUID(file_id), request_id_of(request))
        except LinkRefused as refused:
            return refused.answer()
        headers = {**PRIVATE_HEADERS, "Content-Disposition": content_disposition(unquote(name))}
        return FileResponse(path, headers=headers, media_type=content_type)

    async def _found(self, company_id: int, file_id: UUID, request_id: str) -> tuple[Path, str]:
        """Where the file is and what it is, by its row as it is now: it may have ended before the link."""
        company = Scope(company_id, user_id=0, sees_everything=True)
        async with self._database.reading(company) as reader:
            rows = await FILE_EXPORT.fetch(reader, SERVED_COLUMNS, [file_id])
        row = next((row for row in rows if row.is_available_for_download), None)
        if row is None:
            raise gone()
        path = await anyio.to_thread.run_sync(self._files.path_of, row.file_key)
        if path is None:
            log.error("download.file_missing", file_id=str(file_id), request_id=request_id)
            raise gone()
        return path, row.file_content_type


def gone() -> LinkRefused:
    return LinkRefused(404, "NOT_FOUND", "The file is no longer there.")


def safe_name(name: str) -> str:
    """A file name that means nothing to a header, a shell or a file system; letters of every script are kept."""
    composed = unicodedata.normalize("NFC", name)
    kept = (letter if letter in " ._-" or unicodedata.category(letter)[0] in "LMN" else "_" for letter in composed)
    return "".join(kept).strip(" .") or "download"


def content_disposition(name: str) -> str:
    """RFC 6266: to be saved, under this name (RFC 8187), with an ASCII one for clients that know no other."""
    plain = "".join(letter if letter.isascii() else "_" for letter in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
