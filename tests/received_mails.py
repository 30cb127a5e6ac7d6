"""What does a mail say that a server got, as the standard library reads it?"""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage


def parsed(message: bytes) -> EmailMessage:
    return message_from_bytes(message, policy=policy.default)


def part_of(message: bytes, kind: str) -> str:
    """The part of a message that is `html` or `plain`, in lines that end as those of programs do."""
    body = parsed(message).get_body((kind,))
    assert isinstance(body, EmailMessage)
    content: str = body.get_content()
    return content.replace("\r\n", "\n")
