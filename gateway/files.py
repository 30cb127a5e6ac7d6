"""Which store of files do the settings name? The same one for every process that makes files or gives them out."""

from __future__ import annotations

from pathlib import Path

from gateway.file_places import BucketPlace, file_place
from gateway.settings import Settings
from store.files import Bucket, BucketFiles, FilesUnavailable, LocalFiles


def files_of(settings: Settings, default_root: Path) -> LocalFiles | BucketFiles:
    """The store of FILES_URL, or the folder; raises FilesUnavailable for a folder that cannot be made."""
    place = default_root if settings.files_url is None else file_place(settings.files_url)
    if isinstance(place, BucketPlace):
        return BucketFiles(bucket_of(settings, place))
    # People's data, hence closed to the other users of the machine.
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FilesUnavailable(f"The folder of files, {place}, cannot be made: {error.strerror}.") from None
    return LocalFiles(place)


def bucket_of(settings: Settings, place: BucketPlace) -> Bucket:
    # The settings refuse a bucket without them.
    assert settings.s3_access_key_id is not None
    assert settings.s3_secret_access_key is not None
    return Bucket(
        place.bucket,
        place.prefix,
        settings.s3_region,
        settings.s3_access_key_id,
        settings.s3_secret_access_key.get_secret_value(),
        settings.s3_endpoint,
        settings.s3_public_endpoint,
    )
