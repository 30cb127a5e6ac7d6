"""Where are the bytes of files: on a local disk, or in a bucket of an S3-compatible store?"""

from store.files.bucket import Bucket, BucketFiles, Patience
from store.files.contract import Files, FilesUnavailable, Piece, Stored
from store.files.local import LocalFiles
from store.files.names import content_disposition, safe_name

__all__ = [
    "Bucket",
    "BucketFiles",
    "Files",
    "FilesUnavailable",
    "LocalFiles",
    "Patience",
    "Piece",
    "Stored",
    "content_disposition",
    "safe_name",
]
