"""How is a mail handed to a mail server (SMTP, RFC 5321), and what do its answers mean?"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import cast
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP, SMTPAuthenticationError, SMTPException, SMTPNotSupported, SMTPResponseException

from jobs.smtp_replies import Conversation, Reply, names_nobody
from jobs.transport import Answer, Mail, MailConnection, Outcome

QUIT_SECONDS = 5
CLOSING = 421
# They say nothing about the mail: the server closes, has lost track, or wants us to sign in or encrypt first.
OF_SERVER = frozenset((CLOSING, 503, 530, 538))
PART = r"[^ ()<>\[\],:;\\\"@]+"
ADDRESS = re.compile(f"{PART}@{PART}")
NUMBER = re.compile(r"[0-9]{1,20}")
LINE_END = re.compile(rb"\r\n|\r|\n")
NO_ADDRESS = "The address cannot be written in a command of SMTP."
UNREACHABLE = Answer(Outcome.SERVER_AWAY, "The mail server cannot be reached.")
SILENT = Answer(Outcome.SERVER_AWAY, "The mail server does not answer.")
GARBLED = Answer(Outcome.SERVER_AWAY, "What the mail server says is not SMTP.")
UNCERTAIN = Answer(
    Outcome.UNCERTAIN, "The connection was lost while the mail was being handed over: it may have gone out."
)


class Stage(Enum):
    """Of what comes before the message, in this order."""

    SENDER = auto()
    RECIPIENT = auto()
    DATA = auto()


class Security(Enum):
    """By the scheme of the URL. Plain `smtp` is encrypted too with a server that offers it (STARTTLS, RFC 3207)."""

    TLS = "smtps"
    STARTTLS = "smtp+starttls"
    STARTTLS_IF_OFFERED = "smtp"


PORTS = {Security.TLS: 465, Security.STARTTLS: 587, Security.STARTTLS_IF_OFFERED: 25}
START_TLS = {Security.TLS: False, Security.STARTTLS: True, Security.STARTTLS_IF_OFFERED: None}


@dataclass(frozen=True)
class MailServer:
    """Where a mail server is, and as whom to sign in (None: it takes our mails as they come)."""

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str = field(default="", repr=False)


def mail_server(url: str) -> MailServer:
    """The server of `smtp://`, `smtps://` or `smtp+starttls://user:password@host:port`, percent-encoded where needed.

    ValueError for anything else; its message does not quote the URL.
    """
    try:
        parts = urlsplit(url)
        security = Security(parts.scheme)
        port = parts.port or PORTS[security]
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError:
        raise ValueError(
            "must be a URL such as smtp://user:password@host:port, smtps://… or smtp+starttls://…"
        ) from None
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must name a host, and nothing behind host and port")
    if parts.password and not parts.username:
        raise ValueError("must name the user whose password it holds")
    user = unquote(parts.username) if parts.username else None
    return MailServer(host, port, security, user, unquote(parts.password or ""))


class SmtpTransport:
    """Hands mails to a server."""

    def __init__(
        self, server: MailServer, *, tls: ssl.SSLContext | None = None, timeout: float = 30, data_timeout: float = 120
    ) -> None:
        """`tls`: default, the certificate must be one that the system trusts. `timeout`: seconds to wait for an answer
        to a command, `data_timeout` to the message, which servers may look at for long (RFC 5321, 4.5.3.2).
        """
        self._server = server
        self._tls = tls or ssl.create_default_context()
        self._timeout = timeout
        self._data_timeout = data_timeout

    def connection(self) -> MailConnection:
        client = SMTP(
            hostname=self._server.host,
            port=self._server.port,
            timeout=self._timeout,
            use_tls=self._server.security is Security.TLS,
            start_tls=START_TLS[self._server.security],
            tls_context=self._tls,
        )
        return SmtpConnection(client, self._server, self._timeout, self._data_timeout)

    async def hand_over(self, mail: Mail) -> Answer:
        """Over a connection of its own."""
        connection = self.connection()
        try:
            answer = await connection.ready() or await connection.hand_over(mail)
        finally:
            await connection.close()
        return replace(answer, outcome=Outcome.NOT_NOW) if answer.outcome is Outcome.SERVER_AWAY else answer


class SmtpConnection:
    """Opened by aiosmtplib, whose transport the mails then go over; opened again when it was lost."""

    def __init__(self, client: SMTP, server: MailServer, timeout: float, data_timeout: float) -> None:
        self._client = client
        self._server = server
        self._timeout = timeout
        self._data_timeout = data_timeout
        self._talk = Conversation(None)
        self._used = False
        self._reset_needed = False

    async def ready(self) -> Answer | None:
        if self._reset_needed:
            self._reset_needed = False
            replies = await self._ask(b"RSET\r\n")
            if not replies or replies[0].code >= 300:
                self._drop()
        return None if self._talk.is_open else await self._open()

    async def hand_over(self, mail: Mail) -> Answer:
        if (away := await self.ready()) is not None:
            return replace(away, outcome=Outcome.SERVER_AWAY)
        if (problem := unfit(mail, self._client.esmtp_extensions)) is not None:
            return Answer(Outcome.REFUSED, problem)
        return await self._begin(mail) or await self._transfer(mail.message)

    async def close(self) -> None:
        try:
            await self._talk.ask(b"QUIT\r\n", replies=1, seconds=QUIT_SECONDS)
        finally:
            self._drop()

    async def _open(self) -> Answer | None:
        self._drop()
        try:
            await self._client.connect()
            if self._client.is_ehlo_or_helo_needed:
                await self._client.ehlo()
            if self._server.user is not None:
                await sign_in(self._client, self._server.user, self._server.password)
            self._talk = Conversation(cast(asyncio.Transport, self._client.transport))
        except (SMTPException, OSError) as error:
            return unready(error)
        finally:
            if not self._talk.is_open:
                self._drop()
        return None if self._talk.is_open else UNREACHABLE

    def _drop(self) -> None:
        self._used = self._reset_needed = False
        self._client.close()

    async def _begin(self, mail: Mail) -> Answer | None:
        """The envelope; None if the server waits for the message, of which it has nothing yet."""
        replies = await self._envelope(mail)
        if self._used and self._was_closed_before(replies):
            if (problem := await self._open()) is not None:
                return replace(problem, outcome=Outcome.SERVER_AWAY)
            replies = await self._envelope(mail)
        self._used = True
        answer = next(filter(None, map(judged, Stage, replies)), None)
        if answer is None:
            return None if self._talk.is_open else broken_off(self._talk)
        if answer.outcome is Outcome.SERVER_AWAY or replies[-1].code < 400:
            # It may even wait for a message: then only closing keeps it from taking the next command for one.
            self._drop()
        else:
            self._reset_needed = True
        return answer

    def _was_closed_before(self, replies: Sequence[Reply]) -> bool:
        """As servers do after some time, or some number of mails."""
        return replies[0].code == CLOSING if replies else not self._talk.was_silent

    async def _envelope(self, mail: Mail) -> Sequence[Reply]:
        """The replies, up to the first refusal at least."""
        commands = envelope(mail)
        if self._client.supports_extension("PIPELINING"):
            return await self._ask(b"".join(commands), len(commands))
        replies: list[Reply] = []
        for command in commands:
            reply = await self._ask(command)
            replies += reply
            if not reply or reply[0].code >= 300:
                break
        return replies

    async def _transfer(self, message: bytes) -> Answer:
        replies = await self._talk.ask(in_transit(message), replies=1, seconds=self._data_timeout)
        if not replies or replies[0].code // 100 == 3:
            self._drop()
            return UNCERTAIN
        if replies[0].code < 300:
            return Answer(Outcome.TAKEN, str(replies[0]))
        # A refusal leaves the mail with us (RFC 5321, 4.2.5), and is the end of it for the server.
        return refused(replies[0])

    async def _ask(self, commands: bytes, replies: int = 1) -> Sequence[Reply]:
        return await self._talk.ask(commands, replies=replies, seconds=self._timeout)


async def sign_in(client: SMTP, user: str, password: str) -> None:
    encrypted = client.get_transport_info("sslcontext") is not None
    if not encrypted and not ipaddress.ip_address(client.get_transport_info("peername")[0]).is_loopback:
        raise SMTPNotSupported("The mail server offers no encryption: the password is not sent.")
    await client.login(user, password)


def unready(error: SMTPException | OSError) -> Answer:
    """What an error means that kept the connection from being opened."""
    if isinstance(error, SMTPAuthenticationError):
        # Servers may repeat in their reply what was sent to them.
        return of_server(error.code, "The mail server does not let the gateway sign in.")
    if isinstance(error, SMTPResponseException):
        return of_server(error.code, error.message) if error.code >= 400 else GARBLED
    if ssl.SSLCertVerificationError in (type(error), type(error.__cause__)):
        return Answer(Outcome.REFUSED, "The mail server's certificate is not trusted.")
    if isinstance(error, SMTPException) and not isinstance(error, OSError):
        return Answer(Outcome.REFUSED, error.message)
    # The texts of these are left out: they name our own machines.
    return SILENT if isinstance(error, TimeoutError) else UNREACHABLE


def of_server(code: int, text: str) -> Answer:
    return Answer(Outcome.REFUSED if code >= 500 else Outcome.SERVER_AWAY, f"{code} {text}")


def broken_off(talk: Conversation) -> Answer:
    if talk.was_silent:
        return SILENT
    return GARBLED if talk.was_garbled else UNREACHABLE


def unfit(mail: Mail, extensions: Mapping[str, str]) -> str | None:
    """Why the mail cannot be handed to a server with these extensions (RFC 1870, RFC 6152, RFC 6531), or None."""
    if not (is_address(mail.recipient) and (mail.sender == "" or is_address(mail.sender))):
        return NO_ADDRESS
    needed = [] if mail.message.isascii() else ["8BITMIME"]
    if needs_utf8(mail):
        needed.append("SMTPUTF8")
    for extension in needed:
        if extension.lower() not in extensions:
            return f"The mail server lacks {extension}, which this mail needs."
    size = extensions.get("size", "")
    if NUMBER.fullmatch(size) and 0 < int(size) < len(mail.message):
        return f"The mail has {len(mail.message)} bytes; the mail server takes {size} at the most."
    return None


def is_address(text: str) -> bool:
    return text.isprintable() and ADDRESS.fullmatch(text) is not None


def needs_utf8(mail: Mail) -> bool:
    return not (mail.sender.isascii() and mail.recipient.isascii())


def envelope(mail: Mail) -> tuple[bytes, bytes, bytes]:
    """The commands of the stages of a mail that is not `unfit`."""
    body = "" if mail.message.isascii() else " BODY=8BITMIME"
    utf8 = " SMTPUTF8" if needs_utf8(mail) else ""
    return (
        f"MAIL FROM:<{mail.sender}>{body}{utf8}\r\n".encode(),
        f"RCPT TO:<{mail.recipient}>\r\n".encode(),
        b"DATA\r\n",
    )


def judged(stage: Stage, reply: Reply) -> Answer | None:
    """None: the next stage may come. By the first digit (RFC 5321, 4.2.1): 5 is for good."""
    if reply.code // 100 == (3 if stage is Stage.DATA else 2):
        return None
    if reply.code < 400:
        return GARBLED
    if reply.code in OF_SERVER:
        return Answer(Outcome.SERVER_AWAY, str(reply))
    if stage is Stage.RECIPIENT and reply.code >= 500 and names_nobody(reply):
        return Answer(Outcome.ADDRESS_REFUSED, str(reply))
    return refused(reply)


def refused(reply: Reply) -> Answer:
    return Answer(Outcome.REFUSED if reply.code >= 500 else Outcome.NOT_NOW, str(reply))


def in_transit(message: bytes) -> bytes:
    """With CRLF alone between lines, their first dots doubled (RFC 5321, 4.5.2), and the line that ends it."""
    if not message.count(b"\r\n") == message.count(b"\n") == message.count(b"\r"):
        message = LINE_END.sub(b"\r\n", message)
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    if message.startswith(b"."):
        message = b"." + message
    return message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
