"""How does a file leave? By a signed link, to be saved: from here by `/files/<id>/<name>?...`, or from its bucket.

Links to here are those of `gateway/signing.py`; those to a bucket are pre-signed as the store has it (AWS Signature
Version 4, query parameters), at its public endpoint. Both kinds are made when they are read; none is kept or logged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import quote, unquote
from uuid import UUID

import anyio
import structlog
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from gateway.requests import request_id_of
from gateway.signing import PRIVATE_HEADERS, LinkRefused, SignedLinks
from resolvers.context import DownloadLink, StoredFile
from resolvers.exports import DOWNLOAD_COLUMNS, FILE_EXPORT, stored_file
from store.database import Database, Scope
from store.files import BucketFiles, LocalFiles, content_disposition, safe_name

log = structlog.get_logger("gateway")

ROUTE = "/files/{file_id}/{name}"
PATH = re.compile(r"/files/([0-9a-f-]{36})/([^/]+)")
SECOND = timedelta(seconds=1)


class Downloads:
    """Makes the links to files, and answers `GET` and `HEAD` of `ROUTE`."""

    def __init__(
        self,
        links: SignedLinks,
        files: LocalFiles | BucketFiles,
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
        if isinstance(self._files, BucketFiles):
            return self._signed(self._files, file, "GET")
        path = f"/files/{file.id}/{quote(safe_name(file.name), safe='')}"
        return self._links.mint(path, file.company_id, self._end(file))

    async def answer(self, request: Request) -> Response:
        """The file, or the parts of it that are asked for (RFC 9110, 14)."""
        try:
            grant = self._links.opened(request, PATH)
            file_id, name = grant.found
            file = await self._found(grant.company_id, UUID(file_id))
            return await self.sent(replace(file, name=unquote(name)), request)
        except LinkRefused as refused:
            return refused.answer()

    async def sent(self, file: StoredFile, request: Request) -> Response:
        """The answer that gives the file, which must be had by now, to whom it was allowed; raises LinkRefused."""
        if isinstance(self._files, BucketFiles):
            link = self._signed(self._files, file, "HEAD" if request.method == "HEAD" else "GET")
            return RedirectResponse(link.url, 307, PRIVATE_HEADERS)
        path = await anyio.to_thread.run_sync(self._files.path_of, file.key)
        if path is None:
            log.error("download.file_missing", file_id=str(file.id), request_id=request_id_of(request))
            raise gone()
        headers = {**PRIVATE_HEADERS, "Content-Disposition": content_disposition(safe_name(file.name))}
        return FileResponse(path, headers=headers, media_type=file.content_type)

    def _signed(self, files: BucketFiles, file: StoredFile, method: Literal["GET", "HEAD"]) -> DownloadLink:
        """The URL's time begins now and is counted in whole seconds, of which there must be one."""
        now = self._now()
        lifetime = max((self._end(file) - now) // SECOND * SECOND, SECOND)
        return DownloadLink(files.sign(file.key, lifetime, method), (now + lifetime).replace(microsecond=0))

    def _end(self, file: StoredFile) -> datetime:
        return min(self._now() + self._lifetime, file.expires_at)

    async def _found(self, company_id: int, file_id: UUID) -> StoredFile:
        """The file by its row as it is now: it may have ended before the link."""
        company = Scope(company_id, user_id=0, sees_everything=True)
        async with self._database.reading(company) as reader:
            rows = await FILE_EXPORT.fetch(reader, DOWNLOAD_COLUMNS, [file_id])
        row = next((row for row in rows if row.is_available_for_download), None)
        if row is None:
            raise gone()
        return stored_file(row)


def gone() -> LinkRefused:
    return LinkRefused(404, "NOT_FOUND", "The file is no longer there.")
