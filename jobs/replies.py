"""What is kept of what a mail server says?"""

from __future__ import annotations

LONGEST_REPLY = 500


def readable(reply: str) -> str:
    """One line of at most 500 characters, without whatever does not print: a mail server may send anything."""
    return " ".join("".join(each if each.isprintable() else " " for each in reply).split())[:LONGEST_REPLY]
