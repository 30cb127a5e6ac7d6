"""To which address do mail servers report what became of a message (a variable envelope return path), and back?

`bounce-<token>@<domain>`: each recipient has one of their own, so that a report says whom it is about whatever else it
says. The token is signed: whoever has not seen a message can report nothing of it.
"""

from __future__ import annotations

from gateway.recipient_tokens import RecipientId, RecipientTokens

PREFIX = "bounce-"


class ReturnPaths:
    """Makes the return paths of messages, when it is called, and reads them."""

    def __init__(self, secret: bytes) -> None:
        self._tokens = RecipientTokens(secret, "return path")

    def __call__(self, company_id: int, recipient_id: int, domain: str) -> str:
        """The address; what stands before its @ are 47 small letters, digits and hyphens (RFC 5321 allows 64)."""
        return f"{PREFIX}{self._tokens.made(company_id, recipient_id)}@{domain}"

    def opened(self, local_part: str) -> RecipientId | None:
        """Whom the part of an address before its @ is about, in whatever case it comes back; None: none of ours."""
        prefix, token = local_part[: len(PREFIX)].lower(), local_part[len(PREFIX) :].lower()
        return self._tokens.opened(token) if prefix == PREFIX else None
