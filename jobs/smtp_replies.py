"""What does a mail server reply to commands over an open connection, several of them sent at once (RFC 2920)?

aiosmtplib opens connections, encrypts them and signs in. Its way of sending a mail waits for each reply before the next
command, and does not tell whether the message had begun when a connection was lost; so its transport is talked to here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple

LONGEST_REPLIES = 32_768  # bytes; what EHLO is answered with has some hundreds
REPLY_LINE = re.compile(rb"[2-5][0-9]{2}(?:[ -].*)?", re.DOTALL)
# RFC 3463, 3.2 and 3.3, and RFC 7505: no such mailbox, no such domain, not written as an address, moved, disabled.
STATUS = re.compile(r"5\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9.])")
NOBODY_THERE = frozenset((("1", "1"), ("1", "2"), ("1", "3"), ("1", "6"), ("1", "10"), ("2", "1")))
# Statuses that leave open what is refused; then, as without any, the words decide. A plain 550 may also mean that the
# server does not relay for us, which is no reason to give an address up.
VAGUE = frozenset((("0", "0"), ("1", "0"), ("5", "0")))
WHOM = r"(?:user|recipient|mailbox|address|account|alias|addressee)"
MISSING = (
    r"(?:unknown|no such|not found|not exist|n't exist|non-?existent|invalid|disabled|inactive|does ?n[o']t have an?)"
)
NOBODY_IN_WORDS = re.compile(rf"\b{WHOM}\b.{{0,80}}{MISSING}|{MISSING}.{{0,20}}\b{WHOM}\b", re.IGNORECASE | re.DOTALL)


class Reply(NamedTuple):
    """`code` is between 200 and 599; `text` has the lines without it, with \\n between them."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Conversation(asyncio.Protocol):
    """Commands and replies over a transport that was used by another protocol before; without one, it is over."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._received = bytearray()
        self._replies: list[Reply] = []
        self._missing = 0
        self._waiter: asyncio.Future[None] | None = None
        # Why replies are missing: the server kept silent, or what it said is no reply; else the connection was lost.
        self.was_silent = False
        self.was_garbled = False
        if transport is not None:
            transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, commands: bytes, *, replies: int, seconds: float) -> Sequence[Reply]:
        """Sends the commands, as they are, and returns the replies in their order.

        When there are fewer than were asked for, the conversation is over.
        """
        if self._transport is None or not self.is_open:
            return ()
        self._replies, self._missing = [], replies
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(commands)
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        except TimeoutError:
            self.was_silent = True
        finally:
            # What comes beyond the replies, or after we gave up, would be taken for the reply to the next command.
            if self._missing or self._received:
                self.was_garbled = self.was_garbled or bool(self._received)
                self._transport.abort()
            self._waiter = None
            self._missing = 0
        return self._replies

    def data_received(self, data: bytes) -> None:
        if self._waiter is None and self._transport is not None:
            # Said unasked, such as 421 before the server closes.
            self._transport.abort()
            return
        self._received += data
        try:
            self._read()
        except ValueError:
            self._end()
        else:
            if not self._missing:
                self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _read(self) -> None:
        if len(self._received) > LONGEST_REPLIES:
            raise ValueError("It does not end.")
        while self._missing and (found := first_reply(self._received)) is not None:
            reply, length = found
            del self._received[:length]
            self._replies.append(reply)
            self._missing -= 1

    def _end(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def first_reply(received: bytearray) -> tuple[Reply, int] | None:
    """The reply that is complete and how many bytes it has (RFC 5321, 4.2.1); ValueError for what cannot be one."""
    lines: list[bytes] = []
    code, at = b"", 0
    while (end := received.find(b"\n", at)) >= 0:
        line = bytes(received[at:end])
        if not REPLY_LINE.fullmatch(line.rstrip(b"\r")) or code not in (b"", line[:3]):
            raise ValueError("It is no reply.")
        code, at = line[:3], end + 1
        lines.append(line[4:].strip())
        if line[3:4] != b"-":
            return Reply(int(code), b"\n".join(lines).decode(errors="replace")), at
    return None


def names_nobody(reply: Reply) -> bool:
    """Whether a refusal of a recipient says that there is nobody at the address, rather than that we are not liked."""
    status = STATUS.match(reply.text)
    if status is not None and status.groups() not in VAGUE:
        return status.groups() in NOBODY_THERE
    return NOBODY_IN_WORDS.search(reply.text) is not None and "sender" not in reply.text.lower()
