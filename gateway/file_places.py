"""Which place for files does a URL name?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Amazon's rules for buckets; of a prefix the steps that keys have, so that no URL needs an escape.
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PREFIX = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?")


@dataclass(frozen=True)
class BucketPlace:
    """`prefix`: without slashes around it; may be empty."""

    bucket: str
    prefix: str


def file_place(url: str) -> Path | BucketPlace:
    """The folder of `file:///folder`, or the bucket of `s3://bucket/prefix`; raises ValueError for all else."""
    parts = urlsplit(url)
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("must be a URL without a query or a fragment")
    if parts.scheme == "file":
        folder = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not folder.strip("/") or "\0" in folder:
            raise ValueError("must name an absolute folder, as file:///folder")
        return Path(folder)
    if parts.scheme == "s3":
        if not BUCKET.fullmatch(parts.netloc) or not PREFIX.fullmatch(parts.path):
            raise ValueError("must name a bucket and perhaps a plain prefix, as s3://bucket/prefix")
        return BucketPlace(parts.netloc, parts.path.strip("/"))
    raise ValueError("must be a URL that begins with file:/// or s3://")
