"""How is a mail handed to a mail server (SMTP, RFC 5321), and what do its answers mean?"""

from __future__ import annotations

import ipaddress
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parseaddr
from enum import Enum
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
)

from jobs.transport import Answer, Mail, Outcome

QUIT_SECONDS = 5
NO_ADDRESS = "The address cannot be written in a command of SMTP."
UNCERTAIN = Answer(
    Outcome.UNCERTAIN, "The connection was lost while the mail was being handed over: it may have gone out."
)


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
    """Hands mails to a server, each over a connection of its own."""

    def __init__(
        self, server: MailServer, *, tls: ssl.SSLContext | None = None, timeout: float = 30, data_timeout: float = 120
    ) -> None:
        """`tls`: default, the certificate must be one that the system trusts. `timeout`: seconds to wait for an answer
        to a command, `data_timeout` to the message, which servers may look at for long (RFC 5321, 4.5.3.2).
        """
        self._server = server
        self._tls = tls
        self._timeout = timeout
        self._data_timeout = data_timeout

    async def hand_over(self, mail: Mail) -> Answer:
        client = SMTP(
            hostname=self._server.host,
            port=self._server.port,
            timeout=self._timeout,
            use_tls=self._server.security is Security.TLS,
            start_tls=START_TLS[self._server.security],
            tls_context=self._tls,
        )
        try:
            answer = await self._prepare(client, mail) or await self._transfer(client, mail.message)
            with suppress(SMTPException, OSError):
                await client.quit(timeout=QUIT_SECONDS)
            return answer
        finally:
            client.close()

    async def _prepare(self, client: SMTP, mail: Mail) -> Answer | None:
        """All that comes before the message; an answer if that is the end of it."""
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
            if self._server.user is not None:
                await sign_in(client, self._server.user, self._server.password)
            await address(client, mail)
        except (SMTPException, OSError) as error:
            return not_taken(error)
        return None

    async def _transfer(self, client: SMTP, message: bytes) -> Answer:
        try:
            response = await client.data(message, timeout=self._data_timeout)
        except SMTPResponseException as error:
            # A refusal leaves the mail with us (RFC 5321, 4.2.5); what is no proper reply says nothing.
            return refused(error) if 400 <= error.code < 600 else UNCERTAIN
        except (SMTPException, OSError):
            return UNCERTAIN
        return Answer(Outcome.TAKEN, f"{response.code} {response.message}")


async def sign_in(client: SMTP, user: str, password: str) -> None:
    encrypted = client.get_transport_info("sslcontext") is not None
    if not encrypted and not ipaddress.ip_address(client.get_transport_info("peername")[0]).is_loopback:
        raise SMTPNotSupported("The mail server offers no encryption: the password is not sent.")
    await client.login(user, password)


async def address(client: SMTP, mail: Mail) -> None:
    """The envelope, with the extensions that it and the message need (RFC 6152, RFC 6531)."""
    # The library would send to whatever it can read as an address in these.
    if any(parseaddr(each)[1] != each for each in (mail.sender, mail.recipient)):
        raise SMTPNotSupported(NO_ADDRESS)
    options = []
    if not mail.message.isascii():
        require(client, "8BITMIME")
        options.append("BODY=8BITMIME")
    encoding = "ascii"
    if not (mail.sender + mail.recipient).isascii():
        require(client, "SMTPUTF8")
        options.append("SMTPUTF8")
        encoding = "utf-8"
    try:
        await client.mail(mail.sender, options=options, encoding=encoding)
        await client.rcpt(mail.recipient, encoding=encoding)
    except ValueError:
        raise SMTPNotSupported(NO_ADDRESS) from None


def require(client: SMTP, extension: str) -> None:
    if not client.supports_extension(extension):
        raise SMTPNotSupported(f"The mail server lacks {extension}, which this mail needs.")


def refused(error: SMTPResponseException) -> Answer:
    """By the first digit of the reply: 5 is for good (RFC 5321, 4.2.1)."""
    return Answer(Outcome.REFUSED if error.code >= 500 else Outcome.NOT_NOW, f"{error.code} {error.message}")


def not_taken(error: SMTPException | OSError) -> Answer:
    """What an error before the message means."""
    if isinstance(error, SMTPAuthenticationError):
        # Servers may repeat in their reply what was sent to them.
        return refused(SMTPAuthenticationError(error.code, "The mail server does not let the gateway sign in."))
    if isinstance(error, SMTPResponseException) and error.code >= 400:
        return refused(error)
    if ssl.SSLCertVerificationError in (type(error), type(error.__cause__)):
        return Answer(Outcome.REFUSED, "The mail server's certificate is not trusted.")
    if isinstance(error, SMTPException) and not isinstance(error, OSError | SMTPResponseException):
        return Answer(Outcome.REFUSED, error.message)
    # The texts of these are left out: they name our own machines.
    silent = isinstance(error, TimeoutError)
    return Answer(Outcome.NOT_NOW, f"The mail server {'does not answer' if silent else 'cannot be reached'}.")
