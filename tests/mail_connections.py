"""What do tests of long-lived connections to a mail server share?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from jobs.smtp import SmtpTransport
from jobs.smtp import mail_server as server_of
from jobs.transport import Answer, Mail, MailConnection, Outcome
from tests.mail_server import ACCEPTED, Received

# A worker runs on uvloop, whose transports are not asyncio's.
LOOPS = [pytest.param(("asyncio", {"use_uvloop": uvloop}), id="uvloop" if uvloop else "asyncio") for uvloop in (1, 0)]
ON_BOTH_LOOPS = pytest.mark.parametrize("anyio_backend", LOOPS)
PIPELINING = pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelining", "one by one"])
TAKEN = Answer(Outcome.TAKEN, ACCEPTED)


def numbered(number: int, message: bytes = b"Subject: Hello\r\n\r\n.\r\n..two dots\r\n") -> Mail:
    return Mail(f"bounce+{number}@acme.example", f"{number}@example.com", b"X-Number: %d\r\n" % number + message)


def received(*mails: Mail) -> list[Received]:
    return [Received(mail.sender, mail.recipient, mail.message, False, None) for mail in mails]


@asynccontextmanager
async def connected(url: str, patience: float = 5) -> AsyncIterator[MailConnection]:
    """A connection whose use does not take for ever."""
    connection = SmtpTransport(server_of(url), timeout=patience, data_timeout=patience).connection()
    with anyio.fail_after(20):
        yield connection
        await connection.close()
