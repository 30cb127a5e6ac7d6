"""Who takes a mail from us, and what became of it?

What matters of an answer is whether the mail may have gone out. Before the message is handed over it certainly has
not, nor has it when the server refuses the message; when no answer to the message comes, nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol


@dataclass(frozen=True)
class Mail:
    """A rendered message (RFC 5322, CRLF lines) and the two addresses of its envelope."""

    sender: str = field(repr=False)
    recipient: str = field(repr=False)
    message: bytes = field(repr=False)


class Outcome(Enum):
    TAKEN = auto()
    REFUSED = auto()
    # Certainly not taken, for a reason that may pass.
    NOT_NOW = auto()
    UNCERTAIN = auto()


@dataclass(frozen=True)
class Answer:
    """What became of handing a mail over; the reply is for the person who asked for the mail."""

    outcome: Outcome
    reply: str


class Transport(Protocol):
    async def hand_over(self, mail: Mail) -> Answer:
        """Tries once. What a mail server does is an answer, never an error."""


class FixedTransport:
    """Gives every mail the same answer and hands it to nobody."""

    def __init__(self, outcome: Outcome, reply: str) -> None:
        self._answer = Answer(outcome, reply)

    async def hand_over(self, mail: Mail) -> Answer:
        return self._answer


OUTBOX = FixedTransport(Outcome.TAKEN, "Kept in the outbox: no mail server is set (SMTP_URL).")
NO_SERVER = FixedTransport(Outcome.REFUSED, "No mail server is set (SMTP_URL).")
