"""How are files kept in a bucket of an S3-compatible store?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from store.files.contract import FilesUnavailable, Piece, Stored, checked_folder, checked_key
from store.files.names import content_disposition, safe_name
from store.files.reading import Abandoned, Reading, outcome

if TYPE_CHECKING:
    # It is in the stubs only.
    from obstore.store import S3Credential

# The smallest part that S3 takes, and how many are on their way at a time: what a put holds in memory.
PART_BYTES = 5 * 2**20
PARTS_AT_A_TIME = 4


@dataclass(frozen=True)
class Bucket:
    """Where a bucket is, and who we are there.

    `prefix`: the folder of our files, without slashes around it; may be empty. `endpoint`: the URL of the store, where
    the bucket is the first step of the path; None is Amazon's of the region. `public_endpoint`: the same store's as
    clients reach it; None is `endpoint`.
    """

    name: str
    prefix: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    endpoint: str | None = None
    public_endpoint: str | None = None


@dataclass(frozen=True)
class Patience:
    """How long a store may keep us waiting: for a connection, for one answer, and how often and long it is asked again.

    A request that fails has failed after `trying` and `answer` together, at the latest.
    """

    connection: timedelta = timedelta(seconds=5)
    answer: timedelta = timedelta(seconds=30)
    retries: int = 4
    trying: timedelta = timedelta(seconds=20)


class BucketFiles:
    """Files in a bucket by their keys; its signed URLs give them to clients."""

    def __init__(self, bucket: Bucket, patience: Patience | None = None) -> None:
        patience = patience or Patience()
        self._store = connected(bucket, bucket.endpoint, patience)
        self._public = connected(bucket, bucket.public_endpoint or bucket.endpoint, patience)

    async def put(self, key: str, pieces: Sequence[Piece], *, name: str, content_type: str) -> Stored:
        """As `Files.put`: in one request, or in parts that become a file when the last one is there."""
        reading = Reading(pieces)
        attributes = {
            "Content-Type": content_type,
            "Content-Disposition": content_disposition(safe_name(name)),
            "Cache-Control": "no-store",
        }
        upload = asyncio.ensure_future(self._upload(checked_key(key), reading, attributes))
        return await outcome(upload, reading)

    async def delete(self, key: str) -> None:
        """As `Files.delete`; parts that a killed process left are the bucket's own to remove."""
        with answered():
            await obstore.delete_async(self._store, checked_key(key))

    async def keys(self, prefix: str) -> list[str]:
        """As `Files.keys`."""
        with answered():
            found = await obstore.list(self._store, prefix=checked_folder(prefix) or None).collect_async()
        return sorted(meta["path"] for meta in found)

    def sign(self, key: str, lifetime: timedelta, method: Literal["GET", "HEAD"] = "GET") -> str:
        """A URL at the public endpoint that gives the file to whoever has it, for whole seconds, at most 7 days.

        Computed here, without asking the store.
        """
        return obstore.sign(self._public, method, checked_key(key), lifetime)

    async def _upload(self, key: str, reading: Reading, attributes: dict[str, str]) -> Stored:
        fault: list[Exception] = []
        # A file of no bytes cannot be made of parts.
        in_parts = reading.total > PART_BYTES
        try:
            content = parts(reading, fault) if in_parts else await at_once(reading)
            with answered():
                await obstore.put_async(
                    self._store,
                    key,
                    content,
                    attributes=attributes,
                    use_multipart=in_parts,
                    chunk_size=PART_BYTES,
                    max_concurrency=PARTS_AT_A_TIME,
                )
        except Exception:
            if fault:
                # It is ours, and the store was only told of it; it has thrown the parts away.
                raise fault[0] from None
            raise
        try:
            return reading.stored()
        except Abandoned:
            await self.delete(key)
            raise


async def at_once(reading: Reading) -> bytes:
    content = await asyncio.to_thread(b"".join, reading.chunks(PART_BYTES))
    reading.stored()
    return content


async def parts(reading: Reading, fault: list[Exception]) -> AsyncIterator[bytes]:
    """The bytes for the store; an error that ends them is kept, as the store may raise another one for it."""
    chunks = reading.chunks(PART_BYTES)
    try:
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk
        reading.stored()
    except (OSError, Abandoned) as error:
        fault.append(error)
        raise


def connected(bucket: Bucket, endpoint: str | None, patience: Patience) -> S3Store:
    """The store at an endpoint. All that `AWS_*` variables of the environment could say otherwise is said here."""

    def ourselves() -> S3Credential:
        return {
            "access_key_id": bucket.access_key_id,
            "secret_access_key": bucket.secret_access_key,
            "token": None,
            "expires_at": None,
        }

    amazon = f"https://{bucket.name}.s3.{bucket.region}.amazonaws.com"
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        endpoint=endpoint or amazon,
        aws_endpoint_url_s3=endpoint or amazon,
        virtual_hosted_style_request=endpoint is None,
        region=bucket.region,
        credential_provider=ourselves,
        skip_signature=False,
        s3_express=False,
        # Not every store has the bulk API, and one key at a time is deleted here.
        disable_bulk_delete=True,
        client_options={
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "connect_timeout": patience.connection,
            "timeout": patience.answer,
        },
        retry_config={"max_retries": patience.retries, "retry_timeout": patience.trying},
    )


@contextmanager
def answered() -> Iterator[None]:
    """Raises FilesUnavailable for whatever the store did not do; a bucket that is not there is a FileNotFoundError."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise FilesUnavailable(str(error).partition("\n")[0]) from error
