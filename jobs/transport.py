"""Who takes a mail from us, and what became of it?

What matters of an answer is whether the mail may have gone out, and whether it is the mail's or the server's matter.
Before the message is handed over it certainly has not gone out, nor has it when the server refuses the message; when
no answer to the message comes, nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol


@dataclass(frozen=True)
class Mail:
    """A rendered message (RFC 5322, CRLF lines) and the two addresses of its envelope; the sender may be empty."""

    sender: str = field(repr=False)
    recipient: str = field(repr=False)
    message: bytes = field(repr=False)


class Outcome(Enum):
    TAKEN = auto()
    # For good, by what the sender or the message is.
    REFUSED = auto()
    # For good: there is nobody at the recipient's address.
    ADDRESS_REFUSED = auto()
    # This mail is certainly not taken, for a reason that may pass.
    NOT_NOW = auto()
    # Nothing was handed over, and it says nothing about the mail: the server cannot be talked to.
    SERVER_AWAY = auto()
    UNCERTAIN = auto()


@dataclass(frozen=True)
class Answer:
    """What became of handing a mail over; the reply is for the person who asked for the mail."""

    outcome: Outcome
    reply: str


class Transport(Protocol):
    async def hand_over(self, mail: Mail) -> Answer:
        """Tries once. What a mail server does is an answer, never an error; that it is away is NOT_NOW for the mail."""


class MailConnection(Protocol):
    """Takes mails one after the other. Who calls `ready` first knows what is wrong before the hand-over begins."""

    async def ready(self) -> Answer | None:
        """None: mails can be handed over. Else why not, which says nothing about any mail: SERVER_AWAY for what may
        pass by itself, REFUSED for what somebody must put right (a password, a certificate).
        """

    async def hand_over(self, mail: Mail) -> Answer:
        """Tries once; when the connection is not ready, it is made so first. Canceled, it may have gone out."""

    async def close(self) -> None:
        """Takes leave of the server. The connection may be used again."""


class BulkTransport(Transport, Protocol):
    def connection(self) -> MailConnection:
        """One of as many as are asked for; it is opened when it is used."""


class FixedTransport:
    """Gives every mail the same answer and hands it to nobody; its own connection, which is ready if it takes mails."""

    def __init__(self, outcome: Outcome, reply: str) -> None:
        self._answer = Answer(outcome, reply)

    def connection(self) -> MailConnection:
        return self

    async def ready(self) -> Answer | None:
        return None if self._answer.outcome is Outcome.TAKEN else self._answer

    async def hand_over(self, mail: Mail) -> Answer:
        return self._answer

    async def close(self) -> None:
        """There is nobody to take leave of."""


OUTBOX = FixedTransport(Outcome.TAKEN, "Kept in the outbox: no mail server is set (SMTP_URL).")
NO_SERVER = FixedTransport(Outcome.REFUSED, "No mail server is set (SMTP_URL).")
