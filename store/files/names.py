"""Under which name is a file saved by whoever gets it?"""

from __future__ import annotations

import unicodedata
from urllib.parse import quote


def safe_name(name: str) -> str:
    """A file name that means nothing to a header, a shell or a file system; letters of every script are kept."""
    composed = unicodedata.normalize("NFC", name)
    kept = (letter if letter in " ._-" or unicodedata.category(letter)[0] in "LMN" else "_" for letter in composed)
    return "".join(kept).strip(" .") or "download"


def content_disposition(name: str) -> str:
    """RFC 6266: to be saved, under this safe name (RFC 8187), with an ASCII one for clients that know no other."""
    plain = "".join(letter if letter.isascii() else "_" for letter in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
