"""Who gets a mailing file by the id of its export, and do links lead to a bucket when the files are in one?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from gateway.cli import make_data
from resolvers import global_ids
from store.database import owner_transaction
from store.demo import Size
from store.models import AccessToken, Export, File
from tests.bucket import TestBucket, before, new_bucket, signature_of, store_running
from tests.build import NOW, Builder, TestCompany
from tests.client import Gateway, running_gateway
from tests.conftest import World
from tests.test_downloads import check_refused
from tests.test_files import piece

pytestmark = pytest.mark.anyio

QUERY = "query ($id: ID!) { export(id: $id) { downloadUrl { url expiresAt } } }"
CONTENT = b"name,address\nMaegan,Main Street 1\n" * 1000
ABSENT = "There is no such file, or not for you."


async def add_export(world: World, company: TestCompany, **values: object) -> UUID:
    """A mailing export of the company's member, complete unless told otherwise, with a file of its own."""
    expires_at = values.pop("expires_at", datetime(2099, 1, 1, tzinfo=UTC))
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        file_id = await build.add(
            File, company_id=company.id, name='Mailing "ø".csv', key="7/mailing/1.csv", expires_at=expires_at
        )
        mailing = {"kind": "MAILING", "status": "COMPLETED", "requested_by_id": company.member, "file_id": file_id}
        found = await build.add(Export, company_id=company.id, **{**mailing, **values})
    assert isinstance(found, UUID)
    return found


def file_on_disk(gateway: Gateway) -> None:
    path = gateway.files / "7/mailing/1.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)


async def get(gateway: Gateway, path: str, token: str | None, method: str = "GET", **headers: str) -> httpx.Response:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return await gateway.http.request(method, "/", headers=headers, extensions={"target": path.encode()})


@pytest.fixture
async def mailing(world: World) -> UUID:
    return await add_export(world, world.acme)


async def test_a_mailing_file(gateway: Gateway, world: World, mailing: UUID) -> None:
    """Whoever may see the export gets its very file by its id, under the protection that all files have."""
    file_on_disk(gateway)
    for id in (str(mailing), str(mailing).upper()):
        answer = await get(gateway, f"/exports/{id}.csv", world.acme.tokens["member"])
        assert (answer.status_code, answer.content) == (200, CONTENT)
    expected = {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": "attachment; filename=\"Mailing ___.csv\"; filename*=UTF-8''Mailing%20_%C3%B8_.csv",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    head = await get(gateway, f"/exports/{mailing}.csv", world.acme.tokens["member"], "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(CONTENT))
    part = await get(gateway, f"/exports/{mailing}.csv", world.acme.tokens["member"], Range="bytes=5-11")
    assert (part.status_code, part.content) == (206, b"address")


async def test_a_workbook(gateway: Gateway, world: World) -> None:
    """A workbook is had by its own extension."""
    workbook = await add_export(world, world.acme, format="XLSX")
    file_on_disk(gateway)
    answer = await get(gateway, f"/exports/{workbook}.xlsx", world.acme.tokens["admin"])
    assert (answer.status_code, answer.content) == (200, CONTENT)
    answer = await get(gateway, f"/exports/{workbook}.csv", world.acme.tokens["admin"])
    check_refused(answer, 404, "NOT_FOUND")


async def test_without_a_token(gateway: Gateway, mailing: UUID) -> None:
    """Who does not say who they are is asked to, whatever they ask for."""
    for path in (f"/exports/{mailing}.csv", f"/exports/{uuid4()}.csv", "/exports/nonsense"):
        for token in (None, "mcg_00000000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"):
            answer = await get(gateway, path, token)
            check_refused(answer, 401, "UNAUTHENTICATED")
            assert answer.headers["www-authenticate"] == 'Bearer realm="campaign-gateway"'


@pytest.mark.parametrize("scopes", [["READ", "WRITE", "SEND"], ["EXPORT"], []])
async def test_a_token_that_may_not(gateway: Gateway, world: World, mailing: UUID, scopes: list[str]) -> None:
    """The token needs the scope of reading, as everywhere, and that of exports; without them ids tell nothing."""
    async with owner_transaction(world.url) as connection:
        of_member = AccessToken.user_id == world.acme.member
        await connection.execute(update(AccessToken).where(of_member).values(scopes=scopes))
    for path in (f"/exports/{mailing}.csv", f"/exports/{uuid4()}.csv", "/exports/nonsense"):
        check_refused(await get(gateway, path, world.acme.tokens["member"]), 403, "FORBIDDEN")


async def test_what_is_not_there(gateway: Gateway, world: World, mailing: UUID) -> None:
    """What is absent, another company's, of another kind or format, or not complete yet has one and the same answer."""
    file_on_disk(gateway)
    foreign = await add_export(world, world.globex)
    others = [
        await add_export(world, world.acme, kind="CONTACTS"),
        await add_export(world, world.acme, status="RUNNING"),
        await add_export(world, world.acme, status="CANCELED"),
        await add_export(world, world.acme, status="PENDING", file_id=None),
    ]
    paths = [f"/exports/{id}.csv" for id in (foreign, uuid4(), world.acme.rows["export"], *others)]
    paths += [
        f"/exports/{mailing}.{extension}"
        for extension in ("xlsx", "CSV", "jsonl", "zip", "csv.xlsx", "csv%00", "csv%2f")
    ]
    paths += [
        f"/exports/{mailing}",
        f"/exports/{mailing.hex}.csv",
        f"/exports/%7B{mailing}%7D.csv",
        f"/exports/{global_ids.encode('Export', mailing)}.csv",
        f"/exports/%20{mailing}.csv",
        f"/exports/{mailing}%0A.csv",
        "/exports/.csv",
        "/exports/1.csv",
        "/exports/..%5c..%5csecret.csv",
        "/exports/%2e%2e.csv",
        "/exports/%00.csv",
        "/exports/%ff.csv",
        "/exports/" + "9" * 5000 + ".csv",
    ]
    answers = [await get(gateway, path, world.acme.tokens["member"]) for path in paths]
    for path, answer in zip(paths, answers, strict=True):
        assert answer.status_code == 404, path
        assert answer.headers["x-request-id"]
    bodies = {answer.text for path, answer in zip(paths, answers, strict=True) if "%2f" not in path}
    assert bodies == {f'{{"errors":[{{"message":"{ABSENT}","extensions":{{"code":"NOT_FOUND"}}}}]}}'}
    assert (await get(gateway, paths[0], world.globex.tokens["member"])).content == CONTENT


async def test_a_hidden_campaigns_file(gateway: Gateway, world: World) -> None:
    """The rule who sees an export is that of the graph: a personal campaign's is its author's and administrators'."""
    file_on_disk(gateway)
    hidden = await add_export(world, world.acme, campaign_id=world.acme.rows["personal"])
    for role, status in (("member", 404), ("manager", 200), ("admin", 200)):
        answer = await get(gateway, f"/exports/{hidden}.csv", world.acme.tokens[role])
        assert answer.status_code == status, role


async def test_a_file_whose_life_is_over(gateway: Gateway, world: World) -> None:
    """An export whose file has expired says so, before the sweep and after it."""
    file_on_disk(gateway)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    for status in ("COMPLETED", "EXPIRED"):
        ended = await add_export(world, world.acme, status=status, expires_at=past)
        check_refused(await get(gateway, f"/exports/{ended}.csv", world.acme.tokens["member"]), 410, "EXPORT_EXPIRED")
        foreign = await get(gateway, f"/exports/{ended}.csv", world.globex.tokens["admin"])
        check_refused(foreign, 404, "NOT_FOUND")


async def test_a_file_that_is_not_on_the_disk(gateway: Gateway, world: World, mailing: UUID) -> None:
    """A file that should be there and is not is a clear 404, and an error in the log."""
    with capture_logs() as logs:
        check_refused(await get(gateway, f"/exports/{mailing}.csv", world.acme.tokens["member"]), 404, "NOT_FOUND")
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["download.file_missing"]


async def test_other_methods_are_not_served(gateway: Gateway, world: World, mailing: UUID) -> None:
    """The address reads the file and does nothing else."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await get(gateway, f"/exports/{mailing}.csv", world.acme.tokens["admin"], method)).status_code == 405


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    """The port of a store."""
    with store_running() as port:
        yield port


@pytest.fixture
async def bucket(store: int, tmp_path: Path) -> TestBucket:
    """A bucket that holds the mailing's file."""
    made = new_bucket(store)
    kept = [piece(tmp_path, CONTENT)]
    await made.files().put("7/mailing/1.csv", kept, name="Mailing ø.csv", content_type="text/csv; charset=utf-8")
    return made


@dataclass(frozen=True)
class BucketGateway:
    """A gateway whose files are in a bucket, which clients reach by the endpoint `public`."""

    gateway: Gateway
    bucket: TestBucket
    public: str

    def check_signed(self, url: str, seconds: int, method: str = "GET") -> None:
        """It is a URL at the public endpoint, signed for so long, and for this."""
        assert url.startswith(f"{self.public}/{self.bucket.name}/of/tests/7/mailing/1.csv?")
        query = parse_qs(urlsplit(url).query)
        assert query["X-Amz-Expires"] == [str(seconds)]
        assert query["X-Amz-Signature"] == [signature_of(url, method)]


@asynccontextmanager
async def bucket_gateway(url: str, bucket: TestBucket, store: int, now: datetime = NOW) -> AsyncIterator[BucketGateway]:
    async with before(store) as public:
        settings = bucket.settings(public=public.url)
        async with running_gateway(url, now=lambda: now, download_seconds=90, **settings) as gateway:
            yield BucketGateway(gateway, bucket, public.url)


async def test_links_lead_to_the_bucket(world: World, mailing: UUID, bucket: TestBucket, store: int) -> None:
    """A link is signed for the bucket when it is read, is good for the time that is set, and gives the very file."""
    async with bucket_gateway(world.url, bucket, store) as found:
        answer = await found.gateway.ask(QUERY, world.acme.tokens["member"], {"id": str(mailing)})
        link = answer.data["export"]["downloadUrl"]
        found.check_signed(link["url"], 90)
        assert link["expiresAt"] == "2026-11-21T12:01:30Z"
        async with httpx.AsyncClient() as anyone:
            response = await anyone.get(link["url"])
    assert response.content == CONTENT
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"].startswith("attachment; ")


async def test_links_end_with_the_file(world: World, bucket: TestBucket, store: int) -> None:
    """A link to a bucket is good no longer than the file, in whole seconds, of which there is one at least."""
    for left, seconds in ((10.9, 10), (0.5, 1)):
        end = datetime(2099, 1, 1, tzinfo=UTC)
        export = await add_export(world, world.acme, expires_at=end)
        now = end - timedelta(seconds=left)
        async with bucket_gateway(world.url, bucket, store, now) as found:
            answer = await found.gateway.ask(QUERY, world.acme.tokens["member"], {"id": str(export)})
        found.check_signed(answer.data["export"]["downloadUrl"]["url"], seconds)


async def test_addresses_lead_to_the_bucket(world: World, mailing: UUID, bucket: TestBucket, store: int) -> None:
    """The address of a mailing file leads to a new link for what is asked, and no link is in the log."""
    with capture_logs() as logs:
        async with bucket_gateway(world.url, bucket, store) as found:
            for method, content in (("GET", CONTENT), ("HEAD", b"")):
                path, token = f"/exports/{mailing}.csv", world.acme.tokens["member"]
                answer = await get(found.gateway, path, token, method)
                assert (answer.status_code, answer.content) == (307, b"")
                assert answer.headers["cache-control"] == "no-store"
                url = answer.headers["location"]
                found.check_signed(url, 90, method)
                async with httpx.AsyncClient() as anyone:
                    file = await anyone.request(method, url)
                assert (file.status_code, file.content) == (200, content)
            check_refused(await get(found.gateway, path, world.globex.tokens["admin"]), 404, "NOT_FOUND")
            check_refused(await get(found.gateway, path, None), 401, "UNAUTHENTICATED")
    assert [line["path"] for line in logs if line["event"] == "request"] == [path] * 4
    assert "X-Amz" not in repr(logs)


async def test_older_links_lead_to_the_bucket(world: World, mailing: UUID, bucket: TestBucket, store: int) -> None:
    """A link that was given out while files were on the disk leads to the bucket that they were moved to."""
    async with running_gateway(world.url) as gateway:
        answer = await gateway.ask(QUERY, world.acme.tokens["member"], {"id": str(mailing)})
    url = urlsplit(answer.data["export"]["downloadUrl"]["url"])
    async with bucket_gateway(world.url, bucket, store) as found:
        target = f"{url.path}?{url.query}"
        moved = await get(found.gateway, target, None)
        assert moved.status_code == 307
        found.check_signed(moved.headers["location"], 90)
        check_refused(await get(found.gateway, target + "0", None), 403, "INVALID_SIGNATURE")


async def demo_keys(url: str) -> list[str]:
    async with owner_transaction(url) as connection:
        completed = select(File.key).join(Export, Export.file_id == File.id).where(Export.status == "COMPLETED")
        return sorted((await connection.scalars(completed)).all())


def test_demo_files_go_to_the_bucket(empty_database: str, store: int) -> None:
    """The files of made-up data are where those of workers will be."""
    bucket = new_bucket(store)
    make_data(empty_database, Size.SMALL, 1, bucket.files())
    keys = asyncio.run(demo_keys(empty_database))
    assert keys
    assert asyncio.run(bucket.files().keys("")) == keys
