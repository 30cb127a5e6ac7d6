"""How is a row named to a client, and which row does a client's id name?

A global id is `Type:id` in URL-safe base64 without padding; clients treat it as opaque. The ids of the old API
(a whole number or a UUID) are accepted wherever the type is known.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from binascii import b2a_base64
from enum import Enum
from uuid import UUID

from resolvers.errors import ClientError, ErrorCode

Key = int | UUID

GLOBAL_ID = re.compile(r"([A-Za-z]{1,40}):([0-9a-f-]{1,40})")
WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,29}")


def encode(typename: str, key: object) -> str:
    found = b2a_base64(f"{typename}:{key}".encode(), newline=False).rstrip(b"=").decode()
    # Names and keys are plain text, in whose base64 these two seldom are.
    return found.replace("+", "-").replace("/", "_") if "+" in found or "/" in found else found


def decode(text: str) -> tuple[str, str]:
    """(type name, id) of a global id; raises INVALID_ID unless it is spelled as `encode` spells it."""
    try:
        decoded = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
    except (UnicodeError, Base64Error):
        raise malformed() from None
    parts = GLOBAL_ID.fullmatch(decoded)
    # The decoder skips characters that are not base64, so that many texts would name one row.
    if parts is None or encode(parts[1], parts[2]) != text:
        raise malformed()
    return parts[1], parts[2]


def malformed() -> ClientError:
    return ClientError(ErrorCode.INVALID_ID, "This is not an id of this API.")


class KeyKind(Enum):
    """What the ids of a type look like; the number is the first that PostgreSQL's integer cannot hold."""

    INTEGER = 2**31
    BIG_INTEGER = 2**63
    UUID = 0


def parse(typename: str, kind: KeyKind, text: str) -> Key | None:
    """The key that a global or a raw id of this type names.

    None when it is well-formed but can name nothing (a number larger than any id); raises INVALID_ID when it is
    malformed or names another type.
    """
    raw = parse_key(kind, text)
    if raw is None:
        named, key_text = decode(text)
        if named != typename:
            raise ClientError(ErrorCode.INVALID_ID, f"This is the id of a {named}; that of a {typename} is needed.")
        raw = parse_key(kind, key_text)
        if raw is None:
            raise ClientError(ErrorCode.INVALID_ID, f"This is not the id of a {typename}.")
    # PostgreSQL refuses a number beyond its integers instead of not finding it.
    return None if isinstance(raw, int) and raw >= kind.value else raw


def parse_key(kind: KeyKind, text: str) -> Key | None:
    """The raw id, or None when the text is not one.

    Only the plain spelling counts: no signs, leading zeros or braces; a UUID may have capitals (RFC 9562, 4).
    """
    if kind is not KeyKind.UUID:
        return int(text) if WHOLE_NUMBER.fullmatch(text) else None
    try:
        key = UUID(text)
    except ValueError:
        return None
    return key if str(key) == text.lower() else None
