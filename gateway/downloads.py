"""How does a file leave by a signed URL?

`/files/<id>/<name>?company=<id>&expires=<seconds>&signature=<hexadecimal>`. The signature is the HMAC-SHA256 (RFC 2104)
of the method and of all that stands before it, byte for byte as it is sent: nothing of a link can be changed, left out
or written in another way. HEAD is allowed where GET is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote
from uuid import UUID

import anyio
import orjson
import structlog
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.requests import request_id_of
from resolvers.context import DownloadLink, StoredFile
from resolvers.exports import FILE_EXPORT
from store.database import Database, Scope
from store.files import LocalFiles

log = structlog.get_logger("gateway")

ROUTE = "/files/{file_id}/{name}"
SIGNATURE = b"&signature="
GRANT = re.compile(r"/files/([0-9a-f-]{36})/([^/?]+)\?company=([0-9]+)&expires=([0-9]+)")
SERVED_COLUMNS = ("file_content_type", "file_key", "is_available_for_download")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class LinkRefused(Exception):
    """The link gives nothing; becomes an answer with this status and code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Grant:
    """What a valid link allows: one file of one company, under one name."""

    company_id: int
    file_id: UUID
    name: str


class SignedLinks:
    """Makes links to files and checks them; the secret alone decides, nothing is kept."""

    def __init__(self, secret: bytes, public_url: str, lifetime: timedelta, now: Callable[[], datetime]) -> None:
        """`public_url` is absolute and has no slash at its end."""
        self._secret = secret
        self._public_url = public_url
        self._lifetime = lifetime
        self._now = now

    def mint(self, file: StoredFile) -> DownloadLink:
        """A link that ends after the lifetime, or with the file where that is sooner; in whole seconds."""
        expires = int(min(self._now() + self._lifetime, file.expires_at).timestamp())
        name = quote(safe_name(file.name), safe="")
        target = f"/files/{file.id}/{name}?company={file.company_id}&expires={expires}".encode()
        url = (target + SIGNATURE + self._signature(target)).decode()
        return DownloadLink(self._public_url + url, datetime.fromtimestamp(expires, UTC))

    def opened(self, target: bytes) -> Grant:
        """What the request's target (RFC 9112, 3.2.1) allows; raises `LinkRefused` for all but a link of ours."""
        signed, _, signature = target.rpartition(SIGNATURE)
        genuine = hmac.compare_digest(self._signature(signed), signature)
        found = GRANT.fullmatch(signed.decode()) if genuine else None
        if found is None:
            raise LinkRefused(403, "INVALID_SIGNATURE", "This is not a link as it was given out.")
        file_id, name, company_id, expires = found.groups()
        if self._now().timestamp() >= int(expires):
            raise LinkRefused(403, "LINK_EXPIRED", "This link has expired; ask for another one.")
        return Grant(int(company_id), UUID(file_id), unquote(name))

    def _signature(self, target: bytes) -> bytes:
        return hmac.new(self._secret, b"GET " + target, hashlib.sha256).hexdigest().encode()


class DownloadEndpoint:
    """`GET` and `HEAD` of `ROUTE`."""

    def __init__(self, links: SignedLinks, files: LocalFiles, database: Database) -> None:
        self._links = links
        self._files = files
        self._database = database

    async def answer(self, request: Request) -> Response:
        """The file, or the parts of it that are asked for (RFC 9110, 14)."""
        try:
            grant = self._links.opened(target_of(request))
            path, content_type = await self._found(grant, request_id_of(request))
        except LinkRefused as refused:
            error = {"message": refused.message, "extensions": {"code": refused.code}}
            return Response(orjson.dumps({"errors": [error]}), refused.status, HEADERS, "application/json")
        headers = {**HEADERS, "Content-Disposition": content_disposition(grant.name)}
        return FileResponse(path, headers=headers, media_type=content_type)

    async def _found(self, grant: Grant, request_id: str) -> tuple[Path, str]:
        """Where the file is and what it is, by its row as it is now: it may have ended before the link."""
        company = Scope(grant.company_id, user_id=0, sees_everything=True)
        async with self._database.reading(company) as reader:
            rows = await FILE_EXPORT.fetch(reader, SERVED_COLUMNS, [grant.file_id])
        row = next((row for row in rows if row.is_available_for_download), None)
        if row is None:
            raise gone()
        path = await anyio.to_thread.run_sync(self._files.path_of, row.file_key)
        if path is None:
            log.error("download.file_missing", file_id=str(grant.file_id), request_id=request_id)
            raise gone()
        return path, row.file_content_type


def gone() -> LinkRefused:
    return LinkRefused(404, "NOT_FOUND", "The file is no longer there.")


def target_of(request: Request) -> bytes:
    """The target as it was sent: decoded, one link could be written in several ways."""
    raw_path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return raw_path + b"?" + query


def safe_name(name: str) -> str:
    """A file name that means nothing to a header, a shell or a file system; letters of every script are kept."""
    composed = unicodedata.normalize("NFC", name)
    kept = (letter if letter in " ._-" or unicodedata.category(letter)[0] in "LMN" else "_" for letter in composed)
    return "".join(kept).strip(" .") or "download"


def content_disposition(name: str) -> str:
    """RFC 6266: to be saved, under this name (RFC 8187), with an ASCII one for clients that know no other."""
    plain = "".join(letter if letter.isascii() else "_" for letter in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
