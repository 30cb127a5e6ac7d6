"""Where do the settings put files, and which settings name no place?"""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.file_places import BucketPlace, file_place
from gateway.files import files_of
from gateway.settings import Settings
from store.files import BucketFiles, FilesUnavailable, LocalFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


def test_places() -> None:
    """FILES_URL names a folder of this machine or a bucket, as such URLs are written."""
    assert file_place("file:///var/lib/files") == Path("/var/lib/files")
    assert file_place("file://localhost/a%20b") == Path("/a b")
    assert file_place("s3://bucket") == file_place("s3://bucket/") == BucketPlace("bucket", "")
    assert file_place("s3://my.bucket-1/exports/today/") == BucketPlace("my.bucket-1", "exports/today")


@pytest.mark.parametrize(
    "url",
    [
        "/var/lib/files",
        "file://files",
        "file://",
        "file:///",
        "file://elsewhere/files",
        "file:///a%00b",
        "file:///a?b",
        "s3://",
        "s3://B",
        "s3://key:secret@bucket",
        "s3://bucket:9000",
        "s3://bucket//a",
        "s3://bucket/../a",
        "s3://bucket/a b",
        "s3://bucket/%2e%2e",
        "s3://bucket/a?b",
        "s3://bucket/a#",
        "gs://bucket",
        "https://example.com",
    ],
)
def test_places_that_are_none(url: str) -> None:
    """Any other FILES_URL is refused when the settings are read."""
    with pytest.raises(ValidationError, match=r"files_url\n +Value error, must "):
        Settings(files_url=url, s3_access_key_id="k", s3_secret_access_key="s")


@pytest.mark.parametrize(
    "wrong",
    [
        {"s3_access_key_id": None},
        {"s3_secret_access_key": None},
        {"s3_endpoint": "store:9000"},
        {"s3_endpoint": "http://user:secret@store"},
        {"s3_endpoint": "http://store/"},
        {"s3_endpoint": "http://store/path"},
        {"s3_public_endpoint": "ftp://store"},
        {"s3_public_endpoint": "http://store?a=b"},
        {"s3_region": "Somewhere Nice"},
    ],
)
def test_stores_that_are_none(wrong: dict[str, str | None]) -> None:
    """A bucket needs both keys, and endpoints are plain URLs; the message names the setting and shows no secret."""
    given = {"files_url": "s3://bucket", "s3_access_key_id": "k", "s3_secret_access_key": "s3cret-of-tests", **wrong}
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate(given)
    [name] = wrong
    said = "\n".join(f"{problem['loc']} {problem['msg']}" for problem in refused.value.errors())
    assert name in said.lower()
    assert "s3cret-of-tests" not in said


def test_the_store_of_the_settings(root: Path, tmp_path: Path) -> None:
    """Files are in the default folder unless FILES_URL names another place; a folder is made for its owner alone."""
    assert isinstance(files_of(Settings(), root), LocalFiles)
    assert root.stat().st_mode & 0o777 == 0o700
    other = tmp_path / "a" / "other"
    assert isinstance(files_of(Settings(files_url=other.as_uri()), tmp_path / "unused"), LocalFiles)
    assert other.is_dir()
    keys = {"s3_access_key_id": "k", "s3_secret_access_key": "s"}
    bucket = Settings.model_validate({"files_url": "s3://bucket/prefix", **keys})
    assert isinstance(files_of(bucket, tmp_path / "unused"), BucketFiles)
    assert not (tmp_path / "unused").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A place for files that is none stops the start, and says which one it is."""
    (tmp_path / "file").touch()
    with pytest.raises(FilesUnavailable, match=f"The folder of files, {tmp_path}/file, cannot be made: File exists"):
        files_of(Settings(), tmp_path / "file")
