"""Does a file leave by its signed URL only, whole, and to nobody else?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import delete, update
from structlog.testing import capture_logs

from gateway.cli import Refused, address_of, download_secret
from gateway.private_files import kept_secret, write_private
from gateway.settings import Settings
from gateway.signing import SignedLinks
from store.database import owner_transaction
from store.files import LocalFiles
from store.models import AccessToken, Export, File
from tests.build import NEVER_EXPIRES, NOW, TestCompany
from tests.client import DOWNLOAD_SECRET, Gateway, running_gateway
from tests.conftest import World, on_server

pytestmark = pytest.mark.anyio

QUERY = "query ($id: ID!) { export(id: $id) { status downloadUrl { url expiresAt } } }"
CONTENT = bytes(range(256)) * 1000
# The key of the small world's files.
KEY = "k"
# What the row has, what the file is saved as, and by clients that read ASCII only.
NAMES = (
    ("a b.csv", "a b.csv", "a b.csv"),
    ("quo\"te's.csv", "quo_te_s.csv", "quo_te_s.csv"),
    ("line\r\nSet-Cookie: a=b.csv", "line__Set-Cookie_ a_b.csv", "line__Set-Cookie_ a_b.csv"),
    ("../../etc/passwd", "_.._etc_passwd", "_.._etc_passwd"),
    ("C:\\con?*<|>.csv", "C__con_____.csv", "C__con_____.csv"),
    ("100%2Fhalf;x=y&z#.csv", "100_2Fhalf_x_y_z_.csv", "100_2Fhalf_x_y_z_.csv"),
    ("Kundeliste Ærø.csv", "Kundeliste Ærø.csv", "Kundeliste _r_.csv"),
    ("قائمة.csv", "قائمة.csv", "_____.csv"),
    ("हिन्दी 名簿.csv", "हिन्दी 名簿.csv", "______ __.csv"),
    ("evil\u202evsc.exe", "evil_vsc.exe", "evil_vsc.exe"),
    ("😀.csv", "_.csv", "_.csv"),
    (" .. ", "download", "download"),
    ("x" * 255, "x" * 255, "x" * 255),
    ("名" * 255, "名" * 255, "_" * 255),
)


async def link(gateway: Gateway, company: TestCompany) -> str:
    """The URL of the company's export, whose file is on the disk."""
    (gateway.files / KEY).write_bytes(CONTENT)
    answer = await gateway.ask(QUERY, company.tokens["admin"], {"id": str(company.rows["export"])})
    url: str = answer.data["export"]["downloadUrl"]["url"]
    return url


async def get(gateway: Gateway, url: str, method: str = "GET") -> httpx.Response:
    """Asks for exactly this URL: httpx would write some of them in another way."""
    target = url.removeprefix(str(gateway.http.base_url).rstrip("/"))
    return await gateway.http.request(method, "/", extensions={"target": target.encode()})


def check_refused(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    [error] = response.json()["errors"]
    assert error["extensions"] == {"code": code}
    assert error["message"]
    assert response.headers["x-request-id"]
    assert response.headers["cache-control"] == "no-store"


def minted(file_id: UUID, company_id: int, secret: bytes = DOWNLOAD_SECRET) -> str:
    """The target of a link to the file, as the gateway would make it at `NOW`."""
    links = SignedLinks(secret, "", lambda: NOW)
    return links.mint(f"/files/{file_id}/contacts.csv", company_id, NOW + timedelta(minutes=5)).url


async def test_the_very_bytes(gateway: Gateway, world: World) -> None:
    """The link, without any other sign of who asks, gives the very bytes, to be saved and not to be kept."""
    url = await link(gateway, world.acme)
    async with httpx.AsyncClient() as anyone:
        response = await anyone.get(url)
    assert response.status_code == 200
    assert response.content == CONTENT
    expected = {
        "content-type": "text/csv; charset=utf-8",
        "content-length": str(len(CONTENT)),
        "content-disposition": "attachment; filename=\"contacts.csv\"; filename*=UTF-8''contacts.csv",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "referrer-policy": "no-referrer",
    }
    assert {name: response.headers[name] for name in expected} == expected


async def test_head(gateway: Gateway, world: World) -> None:
    """HEAD with the same link answers the same headers and nothing else."""
    url = await link(gateway, world.acme)
    whole, head = await gateway.http.get(url), await gateway.http.head(url)
    assert head.status_code == 200
    assert head.content == b""
    of_one_answer = {"date", "x-request-id"}
    assert {name: value for name, value in head.headers.items() if name not in of_one_answer} == {
        name: value for name, value in whole.headers.items() if name not in of_one_answer
    }


async def test_a_part_of_the_file(gateway: Gateway, world: World) -> None:
    """A range is answered by that range, under the same protection."""
    url = await link(gateway, world.acme)
    for asked, first, last in (
        ("0-0", 0, 0),
        ("100-65999", 100, 65_999),
        ("255000-", 255_000, 255_999),
        ("-7", 255_993, 255_999),
    ):
        response = await gateway.http.get(url, headers={"Range": f"bytes={asked}"})
        assert response.status_code == 206
        assert response.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"
        assert response.headers["cache-control"] == "no-store"
        assert response.content == CONTENT[first : last + 1]


async def test_an_interrupted_download_goes_on_with_a_new_link(world: World) -> None:
    """The end of a file can be had by a later link, and only if the file is still the same."""
    clock = [NOW]
    async with running_gateway(world.url, now=lambda: clock[0]) as gateway:
        first = await gateway.http.get(await link(gateway, world.acme), headers={"Range": "bytes=0-99999"})
        clock[0] += timedelta(hours=1)
        answer = await gateway.ask(QUERY, world.acme.tokens["admin"], {"id": str(world.acme.rows["export"])})
        url = answer.data["export"]["downloadUrl"]["url"]
        going_on = {"Range": "bytes=100000-", "If-Range": first.headers["etag"]}
        second = await gateway.http.get(url, headers=going_on)
        (gateway.files / KEY).write_bytes(b"another")
        changed = await gateway.http.get(url, headers=going_on)
    assert first.content + second.content == CONTENT
    assert (changed.status_code, changed.content) == (200, b"another")


async def test_a_range_beyond_the_end(gateway: Gateway, world: World) -> None:
    """A range that the file has not is answered 416 with the file's size."""
    response = await gateway.http.get(await link(gateway, world.acme), headers={"Range": "bytes=256000-"})
    assert response.status_code == 416
    assert response.headers["content-range"] == "bytes */256000"


def tampered(url: str, start: int) -> Iterator[str]:
    """The URL with each of its characters after `start` changed, in another case, left out, and doubled."""
    for place in range(start, len(url)):
        before, here, after = url[:place], url[place], url[place + 1 :]
        for instead in {chr(ord(here) ^ 1), here.swapcase(), "", here * 2, "%" + f"{ord(here):02X}"} - {here}:
            yield before + instead + after
    yield from (url + more for more in ("0", "%00", "&", "&x=1", "&signature=", "&company=1"))


async def test_every_character_counts(gateway: Gateway, world: World) -> None:
    """A link with any one character changed, left out, added, or written in another way is refused, and clearly."""
    url = await link(gateway, world.acme)
    start = url.index("/files/") + 1
    codes = set()
    with capture_logs() as logs:
        for changed in tampered(url, start):
            response = await get(gateway, changed)
            [error] = response.json()["errors"]
            codes.add((response.status_code, error["extensions"]["code"]))
            assert response.headers["x-request-id"]
    assert codes == {(403, "INVALID_SIGNATURE"), (404, "NOT_FOUND")}
    assert url.rpartition("=")[2] not in repr(logs)
    assert (await get(gateway, url)).status_code == 200


async def test_what_was_not_signed_is_refused(gateway: Gateway, world: World) -> None:
    """A link of another secret, another file, another company or a later end, or without a part, opens nothing."""
    url = await link(gateway, world.acme)
    target = url[url.index("/files/") :]
    path, _, query = target.partition("?")
    company, expires, signature = query.split("&")
    assert minted(world.acme.rows["file"], world.acme.id) == target
    for changed in (
        minted(world.acme.rows["file"], world.acme.id, secret=b"another secret, also of 32 bytes"),
        target.replace(str(world.acme.rows["file"]), str(world.globex.rows["file"])),
        f"{path}?company={world.globex.id}&{expires}&{signature}",
        f"{path}?{company}&expires={int(NEVER_EXPIRES.timestamp())}&{signature}",
        f"{path}?{expires}&{company}&{signature}",
        f"{path}?{signature}&{company}&{expires}",
        f"{path}?{company}&{expires}&signature=",
        f"{path}?{company}&{expires}&signature=%C3%A9",
        f"{path}?{company}&{expires}",
        path,
    ):
        check_refused(await get(gateway, changed), 403, "INVALID_SIGNATURE")


async def test_other_methods_are_not_served(gateway: Gateway, world: World) -> None:
    """The link reads the file and does nothing else."""
    url = await link(gateway, world.acme)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await get(gateway, url, method)).status_code in (404, 405)


async def test_a_link_ends(world: World) -> None:
    """A link works until the second that the field said, and is refused from then on; the next read has a new one."""
    clock = [NOW]
    async with running_gateway(world.url, now=lambda: clock[0]) as gateway:
        (gateway.files / KEY).write_bytes(CONTENT)
        variables = {"id": str(world.acme.rows["export"])}
        first = (await gateway.ask(QUERY, world.acme.tokens["admin"], variables)).data["export"]["downloadUrl"]
        assert first["expiresAt"] == "2026-11-21T12:05:00Z"
        clock[0] = datetime.fromisoformat(first["expiresAt"]) - timedelta(milliseconds=1)
        assert (await gateway.http.get(first["url"])).status_code == 200
        second = (await gateway.ask(QUERY, world.acme.tokens["admin"], variables)).data["export"]["downloadUrl"]
        clock[0] = datetime.fromisoformat(first["expiresAt"])
        check_refused(await gateway.http.get(first["url"]), 403, "LINK_EXPIRED")
        check_refused(await get(gateway, first["url"][:-1]), 403, "INVALID_SIGNATURE")
        assert (await gateway.http.get(second["url"])).status_code == 200


async def test_how_long_and_from_where_is_set(world: World) -> None:
    """DOWNLOAD_SECONDS is a link's life and PUBLIC_URL its beginning."""
    async with running_gateway(world.url, download_seconds=7, public_url="https://example.com/gateway") as gateway:
        answer = await gateway.ask(QUERY, world.acme.tokens["admin"], {"id": str(world.acme.rows["export"])})
    found = answer.data["export"]["downloadUrl"]
    assert found["url"].startswith(f"https://example.com/gateway/files/{world.acme.rows['file']}/contacts.csv?")
    assert found["expiresAt"] == "2026-11-21T12:00:07Z"


def test_addresses_are_urls() -> None:
    """Without PUBLIC_URL a link begins with the host and the port; an IPv6 address stands in brackets."""
    assert address_of("127.0.0.1", 8000) == "http://127.0.0.1:8000"
    assert address_of("::1", 80) == "http://[::1]:80"


def test_the_form_of_links_stays() -> None:
    """Links that were given out before a new version is started are good for it, too."""
    links = SignedLinks(DOWNLOAD_SECRET, "https://example.com", lambda: NOW)
    file = "/files/00000000-0000-0000-0000-000000000001/a%20b.csv"
    assert links.mint(file, 7, NOW + timedelta(seconds=300, milliseconds=999)).url == (
        f"https://example.com{file}?company=7&expires=1795262700"
        "&signature=7139a9a91804718403e21db72bcb89a7b2860fcc20011b1bf5201927977f8f17"
    )


async def test_a_link_ends_with_its_file(world: World) -> None:
    """A link to a file that is about to be deleted says so."""
    async with running_gateway(world.url, now=lambda: NEVER_EXPIRES - timedelta(seconds=10)) as gateway:
        answer = await gateway.ask(QUERY, world.acme.tokens["admin"], {"id": str(world.acme.rows["export"])})
    assert answer.data["export"]["downloadUrl"]["expiresAt"] == NEVER_EXPIRES.isoformat().replace("+00:00", "Z")


async def test_a_file_whose_life_is_over(gateway: Gateway, world: World) -> None:
    """An expired file has no link any more, and a link that was given out before is refused."""
    url = await link(gateway, world.acme)
    async with owner_transaction(world.url) as connection:
        past = datetime(2020, 1, 1, tzinfo=UTC)
        await connection.execute(update(File).where(File.id == world.acme.rows["file"]).values(expires_at=past))
    answer = await gateway.ask(QUERY, world.acme.tokens["admin"], {"id": str(world.acme.rows["export"])})
    assert answer.data["export"] == {"status": "COMPLETED", "downloadUrl": None}
    check_refused(await gateway.http.get(url), 404, "NOT_FOUND")


async def test_an_export_that_is_not_complete(gateway: Gateway, world: World) -> None:
    """An export that is not complete (any more) has no link, and its old one is refused although the file is there."""
    url = await link(gateway, world.acme)
    for status in ("CANCELED", "EXPIRED", "RUNNING"):
        async with owner_transaction(world.url) as connection:
            await connection.execute(update(Export).where(Export.id == world.acme.rows["export"]).values(status=status))
        answer = await gateway.ask(QUERY, world.acme.tokens["admin"], {"id": str(world.acme.rows["export"])})
        assert answer.data["export"] == {"status": status, "downloadUrl": None}
        check_refused(await gateway.http.get(url), 404, "NOT_FOUND")


async def test_a_deleted_export(gateway: Gateway, world: World) -> None:
    """When the export is deleted its link gives nothing, although the file is still on the disk."""
    url = await link(gateway, world.acme)
    async with owner_transaction(world.url) as connection:
        await connection.execute(delete(Export).where(Export.id == world.acme.rows["export"]))
    check_refused(await gateway.http.get(url), 404, "NOT_FOUND")


async def test_exports_without_a_file(gateway: Gateway, world: World) -> None:
    """In a list, exports that failed or have expired have no link, and the others have."""
    answer = await gateway.ask("{ exports { nodes { status downloadUrl { url } } } }", world.acme.tokens["admin"])
    found = {export["status"]: export["downloadUrl"] is not None for export in answer.data["exports"]["nodes"]}
    assert found == {"COMPLETED": True, "FAILED": False, "EXPIRED": False}


async def test_links_cost_no_statement(gateway: Gateway, world: World) -> None:
    """Links are made from the rows of the list."""
    async with gateway.counting() as statements:
        await gateway.ask("{ exports { nodes { downloadUrl { url expiresAt } } } }", world.acme.tokens["admin"])
    assert len(statements) == 1


async def test_another_companys_file(gateway: Gateway, world: World) -> None:
    """Nobody of another company sees the link, and a signature for their company does not open this company's file."""
    await link(gateway, world.acme)
    answer = await gateway.ask(QUERY, world.globex.tokens["admin"], {"id": str(world.acme.rows["export"])})
    assert answer.body["data"] == {"export": None}
    assert answer.codes == ["NOT_FOUND"]
    check_refused(await get(gateway, minted(world.acme.rows["file"], world.globex.id)), 404, "NOT_FOUND")


async def test_a_hidden_campaigns_export(gateway: Gateway, world: World) -> None:
    """Who may not see a campaign gets no link to its exports."""
    async with owner_transaction(world.url) as connection:
        personal = {"campaign_id": world.acme.rows["personal"]}
        await connection.execute(update(Export).where(Export.id == world.acme.rows["export"]).values(personal))
    answer = await gateway.ask(QUERY, world.acme.tokens["member"], {"id": str(world.acme.rows["export"])})
    assert answer.codes == ["NOT_FOUND"]


async def test_a_token_that_may_not_export(gateway: Gateway, world: World) -> None:
    """Without the scope `export` the field is an error, and the rest of the query is answered."""
    async with owner_transaction(world.url) as connection:
        of_member = AccessToken.user_id == world.acme.member
        await connection.execute(update(AccessToken).where(of_member).values(scopes=["READ", "WRITE", "SEND"]))
    answer = await gateway.ask(QUERY, world.acme.tokens["member"], {"id": str(world.acme.rows["export"])})
    assert answer.body["data"] == {"export": {"status": "COMPLETED", "downloadUrl": None}}
    assert answer.codes == ["FORBIDDEN"]
    assert answer.body["errors"][0]["path"] == ["export", "downloadUrl"]


async def test_a_file_that_is_not_on_the_disk(gateway: Gateway, world: World) -> None:
    """A file that should be there and is not is a clear 404, and an error in the log."""
    url = await link(gateway, world.acme)
    (gateway.files / KEY).unlink()
    with capture_logs() as logs:
        response = await gateway.http.get(url)
    check_refused(response, 404, "NOT_FOUND")
    lost = {"file_id": str(world.acme.rows["file"]), "request_id": response.headers["x-request-id"]}
    assert {"event": "download.file_missing", "log_level": "error", **lost} in logs


async def test_a_key_that_leads_out_of_the_folder(gateway: Gateway, world: World) -> None:
    """Not even a row's key leads out of the folder of files."""
    url = await link(gateway, world.acme)
    for key in ("/etc/passwd", "../" * 20 + "etc/passwd", "", "."):
        async with owner_transaction(world.url) as connection:
            await connection.execute(update(File).where(File.id == world.acme.rows["file"]).values(key=key))
        check_refused(await gateway.http.get(url), 404, "NOT_FOUND")


async def test_names(gateway: Gateway, world: World) -> None:
    """Whatever name a row has, the header is one line of ASCII that names a plain file, and the link works."""
    form = r"attachment; filename=\"([ -~]+)\"; filename\*=UTF-8''([!-~]+)"
    for name, saved_as, plain in NAMES:
        async with owner_transaction(world.url) as connection:
            await connection.execute(update(File).where(File.id == world.acme.rows["file"]).values(name=name))
        url = await link(gateway, world.acme)
        assert re.fullmatch(r"[!-~]+", url)
        response = await get(gateway, url)
        assert (response.status_code, response.content) == (200, CONTENT)
        assert "set-cookie" not in response.headers
        found = re.fullmatch(form, response.headers["content-disposition"])
        assert found is not None
        assert (found[1], unquote(found[2])) == (plain, saved_as)


async def test_the_log_holds_no_link(world: World) -> None:
    """Neither making a link nor using it, also when it was mangled on its way, leaves its signature in the log."""
    # A request's line is written when its answer has gone out: the last one is there when the gateway has ended.
    with capture_logs() as logs:
        async with running_gateway(world.url) as gateway:
            url = await link(gateway, world.acme)
            await gateway.http.get(url)
            await get(gateway, url.replace("?", "%3F").replace("&", "%26"))
            await get(gateway, url.replace("?", "%253F").replace("&signature=", "%2526signature%253D"))
    paths = [line["path"] for line in logs if line["event"] == "request"]
    assert len(paths) == 4
    assert {"/graphql", f"/files/{world.acme.rows['file']}/contacts.csv"} <= set(paths)
    assert url.rpartition("=")[2] not in repr(logs)


async def test_without_the_database(gateway: Gateway, world: World, server: str) -> None:
    """While the database cannot be reached a link is answered that it may be tried again."""
    url = await link(gateway, world.acme)
    name = world.url.rpartition("/")[2].partition("?")[0]
    await on_server(
        server,
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    response = await gateway.http.get(url)
    assert response.status_code == 503
    [error] = response.json()["errors"]
    assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "requestId": response.headers["x-request-id"]}


def test_keys_stay_in_the_folder(tmp_path: Path) -> None:
    """A key names a regular file inside the folder or nothing, whatever steps and links are in it."""
    root = tmp_path / "files"
    (root / "exports").mkdir(parents=True)
    inside, outside = root / "exports" / "a.csv", tmp_path / "secret"
    inside.write_bytes(b"inside")
    outside.write_bytes(b"outside")
    (root / "link-inside").symlink_to(inside)
    (root / "link-outside").symlink_to(outside)
    (root / "folder-outside").symlink_to(tmp_path)
    files = LocalFiles(root)
    assert files.path_of("exports/a.csv") == inside
    assert files.path_of("link-inside") == inside
    for key in (
        "../secret",
        "exports/../../secret",
        "exports/../exports/a.csv",
        str(outside),
        str(inside),
        "link-outside",
        "folder-outside/secret",
        "exports",
        "exports/b.csv",
        "exports/a.csv/b",
        "exports/a.csv\0",
        "",
    ):
        assert files.path_of(key) is None, key


def test_the_secret_is_made_once(tmp_path: Path) -> None:
    """The secret is random, kept in a file that only its owner reads, and the same at the next start."""
    settings = Settings(data_dir=tmp_path)
    first = download_secret(settings)
    assert len(first) == 64
    assert download_secret(settings) == first
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("download-secret", 0o600)]
    assert download_secret(Settings(data_dir=tmp_path / "other")) != first


def test_the_secret_of_the_settings_comes_first(tmp_path: Path) -> None:
    """With DOWNLOAD_SECRET nothing is written."""
    assert download_secret(Settings(data_dir=tmp_path, download_secret=SecretStr("s" * 32))) == b"s" * 32
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """An empty or cut file stops the start instead of signing with next to nothing."""
    (tmp_path / "download-secret").write_text("short\n")
    with pytest.raises(Refused, match="download-secret must hold at least 32 bytes"):
        download_secret(Settings(data_dir=tmp_path))


def test_processes_that_start_together_share_one_secret(tmp_path: Path) -> None:
    """However many make the secret at the same time, all get the one that is kept."""
    path = tmp_path / "secret"
    with ThreadPoolExecutor(20) as threads:
        found = set(threads.map(lambda number: kept_secret(path, lambda: f"secret-{number}"), range(20)))
    assert found == {path.read_text()}
    assert list(tmp_path.iterdir()) == [path]


def test_private_files_replace_each_other(tmp_path: Path) -> None:
    """A private file that was open to others is replaced by one that is not."""
    path = tmp_path / "tokens.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, json.dumps("new"))
    assert path.read_text() == '"new"'
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
