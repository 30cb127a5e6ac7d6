"""How does something that comes back from outside tell which recipient it is about, and that the gateway made it?

40 small letters and digits (base32, RFC 4648, which survives a mail server that changes case): the company's id, the
recipient's id, and 104 bits of the HMAC-SHA256 (RFC 2104) of both. The key is derived from the gateway's secret for one
purpose, so that nothing that is signed for another one fits. Equal ids give equal tokens, which never end.
"""

from __future__ import annotations

import hmac
import re
import struct
from base64 import b32decode, b32encode
from dataclasses import dataclass

IDS = struct.Struct(">IQ")
SIGNATURE_BYTES = 13  # with the ids 25 bytes: 40 characters with no bit to spare, so there is one way to write them
TOKEN = re.compile("[a-z2-7]{40}")


@dataclass(frozen=True)
class RecipientId:
    """A recipient's row: its company, and its id within it."""

    company_id: int
    recipient_id: int


class RecipientTokens:
    """Makes tokens for one purpose and checks them; the secret alone decides, nothing is kept."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        # What else is signed with the secret itself begins with a method of HTTP (`gateway.signing`).
        self._key = hmac.digest(secret, f"recipient tokens: {purpose}".encode(), "sha256")

    def made(self, company_id: int, recipient_id: int) -> str:
        """The token: `[a-z2-7]{40}`."""
        ids = IDS.pack(company_id, recipient_id)
        signature = hmac.digest(self._key, ids, "sha256")[:SIGNATURE_BYTES]
        return b32encode(ids + signature).decode().lower()

    def opened(self, token: str) -> RecipientId | None:
        """Whom a token is about, if it is one of ours, written as it was made."""
        if not TOKEN.fullmatch(token):
            return None
        found = RecipientId(*IDS.unpack_from(b32decode(token.upper())))
        return found if hmac.compare_digest(self.made(found.company_id, found.recipient_id), token) else None
