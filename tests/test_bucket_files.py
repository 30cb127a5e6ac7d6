"""Is a file in a bucket whole or not there, whatever the store does, and is its signed URL what it should be?"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest

from store.files import Bucket, BucketFiles, FilesUnavailable, Piece, Stored
from store.files.bucket import PART_BYTES, PARTS_AT_A_TIME
from tests.bucket import (
    ACCESS_KEY_ID,
    IMPATIENCE,
    PREFIX,
    REGION,
    SECRET_ACCESS_KEY,
    TestBucket,
    before,
    new_bucket,
    signature_of,
    store_running,
)
from tests.test_files import BAD_KEYS, piece

pytestmark = pytest.mark.anyio

KEY = "7/00000000-0000-0000-0000-000000000001/1.csv"
NAME = 'Kunder "Ærø".csv'
DISPOSITION = "attachment; filename=\"Kunder __r__.csv\"; filename*=UTF-8''Kunder%20_%C3%86r%C3%B8_.csv"
# More parts than are on their way at a time, and an end that is not a whole one.
LARGE = (PARTS_AT_A_TIME + 1) * PART_BYTES + 11
# Whatever hangs is told so. obstore's own patience with a store that does not answer is longer than an impatient one's.
TOO_LONG = 120
TOO_LONG_FOR_THE_IMPATIENT = 20


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    """The port of a store."""
    with store_running() as port:
        yield port


@pytest.fixture
def bucket(store: int) -> TestBucket:
    return new_bucket(store)


async def put(files: BucketFiles, *pieces: Piece, within: float = TOO_LONG) -> Stored:
    with anyio.fail_after(within):
        return await files.put(KEY, pieces, name=NAME, content_type="text/csv; charset=utf-8")


async def got(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url, headers=headers)


async def test_a_large_file(bucket: TestBucket, tmp_path: Path) -> None:
    """A file goes there in parts and comes back whole, to be saved under its safe name and not to be kept."""
    content = secrets.token_bytes(LARGE)
    half = LARGE // 2
    files = bucket.files()
    stored = await put(
        files, piece(tmp_path, content[:half]), piece(tmp_path, content[half:] + b"not this", of=LARGE - half)
    )
    assert stored == Stored(LARGE, hashlib.sha256(content).hexdigest())
    answer = await got(files.sign(KEY, timedelta(minutes=5)))
    assert answer.status_code == 200
    assert answer.content == content
    # Of how many parts the store made it.
    assert answer.headers["etag"].endswith('-6"')
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == DISPOSITION
    assert answer.headers["cache-control"] == "no-store"
    part = await got(files.sign(KEY, timedelta(minutes=5)), Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, content[10:20])
    assert bucket.contents() == ([f"{PREFIX}/{KEY}"], [])


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1])
async def test_sizes(bucket: TestBucket, tmp_path: Path, size: int) -> None:
    """Files of nothing, of little, and of about one part are whole, too."""
    content = secrets.token_bytes(size)
    files = bucket.files()
    assert await put(files, piece(tmp_path, content)) == Stored(size, hashlib.sha256(content).hexdigest())
    answer = await got(files.sign(KEY, timedelta(minutes=5)))
    assert answer.content == content
    assert answer.headers["content-disposition"] == DISPOSITION


async def test_what_is_there(bucket: TestBucket, tmp_path: Path) -> None:
    """The keys are those below a folder, without the prefix; deleting what is not there is fine."""
    files = bucket.files()
    assert await files.keys("") == []
    for key in ("7/a/2.csv", "7/a/1.csv", "7/ab/1.csv", "70/a/1.csv"):
        await files.put(key, [piece(tmp_path, b"x")], name="x", content_type="text/csv")
    assert await files.keys("7/a/") == await files.keys("7/a") == ["7/a/1.csv", "7/a/2.csv"]
    await files.delete("7/a/1.csv")
    await files.delete("7/a/1.csv")
    assert await files.keys("") == ["7/a/2.csv", "7/ab/1.csv", "70/a/1.csv"]


async def test_keys_that_are_none(bucket: TestBucket, tmp_path: Path) -> None:
    """A key that could lead elsewhere is refused wherever it is given."""
    files = bucket.files()
    for key in BAD_KEYS:
        with pytest.raises(ValueError, match="not a key"):
            await files.put(key, [piece(tmp_path, b"x")], name="x", content_type="text/csv")
        with pytest.raises(ValueError, match="not a key"):
            await files.delete(key)
        with pytest.raises(ValueError, match="not a key"):
            files.sign(key, timedelta(minutes=5))
    assert bucket.contents() == ([], [])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_signatures(method: str) -> None:
    """A signed URL has the signature that botocore computes for it, and nothing of it can be another."""
    files = TestBucket("http://store.internal:9000", "bucket").files(public="https://files.example.com")
    url = files.sign(KEY, timedelta(seconds=299), "HEAD" if method == "HEAD" else "GET")
    assert url.startswith(f"https://files.example.com/bucket/{PREFIX}/{KEY}?")
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query, strict_parsing=True).items()}
    signature = query.pop("X-Amz-Signature")
    assert query.pop("X-Amz-Date")
    assert query.pop("X-Amz-Credential").startswith(f"{ACCESS_KEY_ID}/")
    assert query == {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Expires": "299",
        "X-Amz-SignedHeaders": "host",
    }
    assert signature_of(url, method) == signature
    other_key, other_host = url.replace("/7/", "/8/"), url.replace("files.example.com", "store.internal:9000")
    others = {
        signature_of(other_key, method),
        signature_of(other_host, method),
        signature_of(url.replace("Expires=299", "Expires=300"), method),
        signature_of(url, "PUT"),
        signature_of(url, method, secret="another secret"),
    }
    assert len(others) == 5
    assert signature not in others


def test_signatures_for_amazon() -> None:
    """Without an endpoint the URL is Amazon's, with the bucket as its host, and signed as botocore does."""
    files = BucketFiles(Bucket("bucket", "", REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY))
    url = files.sign(KEY, timedelta(minutes=5))
    assert url.startswith(f"https://bucket.s3.{REGION}.amazonaws.com/{KEY}?")
    assert parse_qs(urlsplit(url).query)["X-Amz-Signature"] == [signature_of(url)]


async def test_the_environment_decides_nothing(
    bucket: TestBucket, store: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that other programs of the machine read lead no file elsewhere."""
    for name, value in (
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "another"),
        ("AWS_SECRET_ACCESS_KEY", "another"),
        ("AWS_SESSION_TOKEN", "another"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_REGION", "us-west-1"),
        ("AWS_DEFAULT_REGION", "us-west-1"),
        ("AWS_BUCKET", "another"),
        ("AWS_S3_EXPRESS", "true"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
    ):
        monkeypatch.setenv(name, value)
    async with before(store) as proxy:
        files = bucket.files(proxy.url)
        await put(files, piece(tmp_path, b"x"))
        await files.keys("")
        url = files.sign(KEY, timedelta(minutes=5))
        assert len(proxy.asked) == 2
        for head in proxy.heads:
            assert f"Credential={ACCESS_KEY_ID}/" in head
            assert f"/{REGION}/s3/" in head
            assert "x-amz-security-token" not in head
        assert (await got(url)).content == b"x"
    assert parse_qs(urlsplit(url).query)["X-Amz-Signature"] == [signature_of(url)]


async def test_clients_reach_it_elsewhere(bucket: TestBucket, store: int, tmp_path: Path) -> None:
    """Files go to the internal endpoint, and URLs name the public one, where the file is had."""
    async with before(store) as public:
        files = bucket.files(public=public.url)
        await put(files, piece(tmp_path, b"a,b\n"))
        assert public.asked == []
        url = files.sign(KEY, timedelta(minutes=5))
        assert public.asked == []
        assert url.startswith(f"{public.url}/{bucket.name}/")
        assert urlsplit(url).hostname != urlsplit(bucket.store).hostname
        assert (await got(url)).content == b"a,b\n"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (r"partNumber=2&", 500),
        (r"partNumber=2&", 403),
        (r"partNumber=2&", None),
        (r"POST .*\?uploads", 503),
        (r"POST .*\?uploads", 403),
        (r"POST .*\?uploadId", 500),
        (r"POST .*\?uploadId", None),
    ],
)
async def test_a_store_that_fails(
    bucket: TestBucket, store: int, tmp_path: Path, request_line: str, status: int | None
) -> None:
    """Whichever request of an upload is refused or never answered, in the end it is an error, and nothing is left."""
    async with before(store) as proxy:
        proxy.fails = lambda line: status if re.search(request_line, line) else 0
        with pytest.raises(FilesUnavailable) as error:
            await put(
                bucket.files(proxy.url, patience=IMPATIENCE),
                piece(tmp_path, secrets.token_bytes(LARGE)),
                within=TOO_LONG_FOR_THE_IMPATIENT,
            )
        assert SECRET_ACCESS_KEY not in str(error.value)
        assert "\n" not in str(error.value)
        assert 1 <= sum(bool(re.search(request_line, line)) for line in proxy.asked) <= 1 + IMPATIENCE.retries
    assert bucket.contents() == ([], [])


async def test_a_store_that_fails_for_a_moment(bucket: TestBucket, store: int, tmp_path: Path) -> None:
    """What fails once is asked again, and the file is whole."""
    content = secrets.token_bytes(LARGE)
    async with before(store) as proxy:
        proxy.fails = lambda line: 500 if len(proxy.asked) == 3 else 0
        files = bucket.files(proxy.url)
        await put(files, piece(tmp_path, content))
        assert (await got(files.sign(KEY, timedelta(minutes=5)))).content == content


async def test_a_store_that_is_gone(tmp_path: Path) -> None:
    """While the store is not there, everything that needs it is an error, and links are made nevertheless."""
    with store_running() as port:
        bucket = new_bucket(port)
        files = bucket.files(patience=IMPATIENCE)
        await bucket.files().put(KEY, [piece(tmp_path, b"x")], name=NAME, content_type="text/csv")
    with anyio.fail_after(TOO_LONG_FOR_THE_IMPATIENT):
        for size in (1, LARGE):
            with pytest.raises(FilesUnavailable):
                await put(files, piece(tmp_path, secrets.token_bytes(size)))
        with pytest.raises(FilesUnavailable):
            await files.delete(KEY)
        with pytest.raises(FilesUnavailable):
            await files.keys("7/")
    assert files.sign(KEY, timedelta(minutes=5)).startswith(bucket.store)


async def test_a_bucket_that_is_not_there(bucket: TestBucket, tmp_path: Path) -> None:
    """A bucket that does not exist is an error of the store, not of the disk."""
    files = TestBucket(bucket.store, "no-such-bucket").files()
    for size in (1, LARGE):
        with pytest.raises(FilesUnavailable):
            await put(files, piece(tmp_path, secrets.token_bytes(size)))
    with pytest.raises(FilesUnavailable):
        await files.keys("")


async def test_pieces_that_are_not_as_told(bucket: TestBucket, tmp_path: Path) -> None:
    """A piece that is shorter than it should be, or is gone, is an error of this machine's disk, and leaves nothing."""
    large = piece(tmp_path, secrets.token_bytes(LARGE))
    for wrong in (piece(tmp_path, b"short", of=6), Piece(tmp_path / "gone", 1)):
        for pieces in ([wrong], [large, wrong]):
            with pytest.raises(OSError, match=r"shorter than its piece|No such file"):
                await put(bucket.files(), *pieces)
            assert bucket.contents() == ([], [])


@pytest.mark.parametrize(
    ("size", "held", "count", "last"),
    [
        (LARGE, "partNumber=", PARTS_AT_A_TIME, r"DELETE .*\?uploadId="),
        (LARGE, r"POST .*\?uploadId=", 1, rf"DELETE .*{KEY} "),
        (1, "PUT ", 1, rf"DELETE .*{KEY} "),
    ],
)
async def test_a_put_that_is_cancelled(
    *, bucket: TestBucket, store: int, tmp_path: Path, size: int, held: str, count: int, last: str
) -> None:
    """A put that is cancelled has ended when the canceller goes on: its upload is aborted, or its file deleted."""
    async with before(store) as proxy:
        proxy.held = lambda line: bool(re.search(held, line))
        task = asyncio.create_task(put(bucket.files(proxy.url), piece(tmp_path, secrets.token_bytes(size))))
        await proxy.until_asked(held, count)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        proxy.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [line for line in proxy.asked if re.match(last, line)]
    assert bucket.contents() == ([], [])
