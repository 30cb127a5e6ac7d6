"""What do words of a mail server mean, and what words are sent to it? Without any server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.smtp import in_transit
from jobs.smtp_replies import Reply, names_nobody


@pytest.mark.parametrize(
    ("nobody", "text"),
    [
        (True, "5.1.1 <a@b.example>: rejected"),
        (True, "5.1.1 The account does\n5.1.1 not exist"),
        (True, "5.1.2 bad domain"),
        (True, "5.1.3 syntax"),
        (True, "5.1.6 moved"),
        (True, "5.1.10 null MX"),
        (True, "5.2.1 disabled"),
        (True, "no such user here"),
        (True, "User unknown in virtual mailbox table"),
        (True, "<a@b.example>: Recipient address rejected: User unknown"),
        (True, "Unrouteable address: mailbox not found"),
        (True, "5.1.0 Address does not exist"),
        (True, "5.0.0 Invalid recipient"),
        (True, "This user doesn't have a b.example account"),
        (False, "5.1.8 Sender address unknown"),
        (False, "5.1.7 bad sender"),
        (False, "5.1.0 rejected"),
        (False, "5.2.2 mailbox full, user unknown to have space"),
        (False, "5.7.1 Recipient not found: relaying denied"),
        (False, "5.1.15 something new"),
        (False, "5.1.1.2 is on a list"),
        (False, "relay not permitted"),
        (False, "Relay access denied"),
        (False, "Blocked by a list, see https://blocks.example"),
        (False, "Sender address rejected: Domain not found"),
        (False, "Mailbox full"),
        (False, "No."),
    ],
)
def test_who_is_given_up(text: str, *, nobody: bool) -> None:
    """An address is given up for what says that nobody is there, not for what is said of us, or for a full mailbox."""
    assert names_nobody(Reply(550, text)) is nobody


LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x", b"\r\n", b"\n", b"\r", b"\n.\r\n", b"\r\n.\r"]))


@given(LINES)
def test_quoting_of_dots(parts: list[bytes]) -> None:
    """Whatever the message holds, its end on the wire comes once, and what a server reads is the message in lines."""
    message = b"".join(parts)
    wire = in_transit(message)
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    *lines, end, nothing = wire.split(b"\r\n")
    assert (end, nothing) == (b".", b"")
    assert b"." not in lines
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    read = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
    assert (message.splitlines() or [b""]) == read.splitlines()
