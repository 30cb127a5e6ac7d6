"""Which S3-compatible store do tests use? moto's, a process of its own, and before it a proxy that makes it fail.

moto checks no signature: that they are right is shown by computing them a second time, with botocore.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from botocore.auth import S3SigV4QueryAuth  # type: ignore[import-untyped]  # it has no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # the same
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # the same

from store.files import Bucket, BucketFiles, Patience

ACCESS_KEY_ID = "key-of-tests"
SECRET_ACCESS_KEY = "secret-of-tests/+="
REGION = "eu-north-1"
PREFIX = "of/tests"
# Longer than a busy machine takes, and short enough for a test that waits for the end of it.
PATIENCE = Patience(answer=timedelta(seconds=20))
IMPATIENCE = Patience(
    connection=timedelta(seconds=1), answer=timedelta(seconds=1), retries=1, trying=timedelta(seconds=1)
)
SERVER = """
import logging
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
logging.disable()
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""
numbers = itertools.count(1)


@contextmanager
def store_running() -> Iterator[int]:
    """The port of an empty store on this machine, which ends with this."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class SignedAt(S3SigV4QueryAuth):  # type: ignore[misc]  # it has no types
    """Signs as at a time that is told; botocore itself takes the clock's."""

    def signature_at(self, moment: str, request: AWSRequest) -> str:
        request.context["timestamp"] = moment
        self._modify_request_before_signing(request)
        signed: str = self.signature(self.string_to_sign(request, self.canonical_request(request)), request)
        return signed


def signature_of(url: str, method: str = "GET", secret: str = SECRET_ACCESS_KEY) -> str:
    """The signature that botocore computes for the URL's address, time and life."""
    query = parse_qs(urlsplit(url).query)
    signer = SignedAt(Credentials(ACCESS_KEY_ID, secret), "s3", REGION, expires=int(query["X-Amz-Expires"][0]))
    return signer.signature_at(query["X-Amz-Date"][0], AWSRequest(method, url.partition("?")[0]))


@dataclass(frozen=True)
class TestBucket:
    """A bucket of its own for a test, as it is behind all proxies."""

    __test__ = False

    store: str
    name: str

    def at(self, endpoint: str | None = None, public: str | None = None) -> Bucket:
        """How it is reached by these endpoints."""
        return Bucket(self.name, PREFIX, REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY, endpoint or self.store, public)

    def files(
        self, endpoint: str | None = None, public: str | None = None, patience: Patience = PATIENCE
    ) -> BucketFiles:
        return BucketFiles(self.at(endpoint, public), patience)

    def settings(self, endpoint: str | None = None, public: str | None = None) -> dict[str, Any]:
        """What the gateway's settings say of it."""
        return {
            "files_url": f"s3://{self.name}/{PREFIX}",
            "s3_endpoint": endpoint or self.store,
            "s3_public_endpoint": public,
            "s3_region": REGION,
            "s3_access_key_id": ACCESS_KEY_ID,
            "s3_secret_access_key": SECRET_ACCESS_KEY,
        }

    def contents(self) -> tuple[list[str], list[str]]:
        """The keys of the whole objects in it, and those of uploads that are neither completed nor aborted."""
        found = []
        for query in ("list-type=2", "uploads"):
            answer = httpx.get(f"{self.store}/{self.name}?{query}")
            answer.raise_for_status()
            found.append(re.findall(r"<Key>([^<]*)</Key>", answer.text))
        objects, uploads = found
        return objects, uploads


def new_bucket(port: int) -> TestBucket:
    made = TestBucket(f"http://127.0.0.1:{port}", f"bucket-{next(numbers)}")
    where = f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
    httpx.put(f"{made.store}/{made.name}", content=where, headers={"Host": f"127.0.0.1:{port}"}).raise_for_status()
    return made


@dataclass
class Proxy:
    """Passes each request on, but for those that `fails` gives an answer for: a status, or None for none at all.

    `asked` is the first lines of the requests, and `heads` has their headers, too. While `open` is not set those that
    are `held` are kept back.
    """

    fails: Callable[[str], int | None] = lambda _line: 0
    held: Callable[[str], bool] = lambda _line: False
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    url: str = ""

    async def until_asked(self, pattern: str, count: int = 1) -> None:
        """Returns when so many requests have come whose first line has the pattern in it."""
        async with self.changed:
            await self.changed.wait_for(lambda: sum(bool(re.search(pattern, line)) for line in self.asked) >= count)

    async def pass_on(self, store: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, _, _ = head.partition("\r\n")
        size = re.search(r"\r\ncontent-length: (\d+)\r\n", head, re.IGNORECASE)
        body = await reader.readexactly(int(size[1])) if size else b""
        self.asked.append(line)
        self.heads.append(head)
        async with self.changed:
            self.changed.notify_all()
        if self.held(line):
            await self.open.wait()
        status = self.fails(line)
        if status is None:
            await reader.read()
        elif status:
            answer = f"HTTP/1.1 {status} Told So\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<Code>"
            writer.write(answer.encode())
            await writer.drain()
        else:
            there, on = await asyncio.open_connection("127.0.0.1", store)
            with contextlib.closing(on):
                on.write(head.replace("\r\n", "\r\nConnection: close\r\n", 1).encode() + body)
                while some := await there.read(2**16):
                    writer.write(some)
                await writer.drain()


@asynccontextmanager
async def before(store: int) -> AsyncIterator[Proxy]:
    """A proxy before the store."""
    proxy = Proxy()

    serving: set[asyncio.Task[object] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await proxy.pass_on(store, reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**16)
    proxy.url = f"http://localhost:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*(task for task in serving if task is not None))
