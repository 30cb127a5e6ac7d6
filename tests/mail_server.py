"""Which mails does a server get that may also refuse, keep silent, or hang up? A real one, on this machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import chain, repeat
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HANG_UP = "hang up"
ACCEPTED = "250 OK queued as 4711"


@dataclass(frozen=True)
class Received:
    sender: str
    recipient: str
    message: bytes
    encrypted: bool
    user: str | None


@dataclass
class MailServer:
    """`greetings`, `recipients` and `messages` are what it answers, one after the other, and the last one for ever.

    `HANG_UP` closes the connection without an answer. A mail counts as received once its last byte is there,
    whatever is answered to it; while `open_for_answers` is not set, that is nothing.
    """

    recipients: Iterator[str]
    messages: Iterator[str]
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    open_for_answers: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    port: int = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def until_received(self, count: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.received) >= count)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd looks for this name
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return said(server, next(self.recipients))

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - the same
        assert isinstance(envelope.original_content, bytes)
        login: object = getattr(session, "auth_data", None)  # aiosmtpd says that it is always None
        user = login.login.decode() if isinstance(login, LoginPassword) else None
        encrypted = server.transport is not None and bool(server.transport.get_extra_info("sslcontext"))
        sender, recipient = str(envelope.mail_from), ", ".join(envelope.rcpt_tos)
        self.received.append(Received(sender, recipient, envelope.original_content, encrypted, user))
        async with self.arrived:
            self.arrived.notify_all()
        await self.open_for_answers.wait()
        return said(server, next(self.messages))


def said(server: SMTP, answer: str) -> str:
    if answer == HANG_UP:
        assert isinstance(server.transport, asyncio.Transport)
        server.transport.abort()
    return answer


@asynccontextmanager
async def mail_server(
    *,
    recipients: tuple[str, ...] = ("250 OK",),
    messages: tuple[str, ...] = (ACCEPTED,),
    silent: bool = False,
    tls: ssl.SSLContext | None = None,
    users: dict[str, str] | None = None,
) -> AsyncIterator[MailServer]:
    """A server on a free port; `silent` waits with its answers to messages until `open_for_answers`."""
    found = MailServer(endless(recipients), endless(messages))
    if not silent:
        found.open_for_answers.set()

    def authenticate(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: object
    ) -> AuthResult:
        assert isinstance(login, LoginPassword)
        right = (users or {}).get(login.login.decode()) == login.password.decode()
        return AuthResult(success=right, handled=right, auth_data=login)

    def connection() -> SMTP:
        found.connections += 1
        return SMTP(
            found,
            hostname="mail.example",
            loop=loop,
            enable_SMTPUTF8=True,
            tls_context=tls,
            authenticator=authenticate,
            auth_require_tls=False,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


def endless(answers: tuple[str, ...]) -> Iterator[str]:
    return chain(answers, repeat(answers[-1]))


@asynccontextmanager
async def crude_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """The port of a server that says what no proper one would."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The side of a server at 127.0.0.1 whose certificate nobody trusts, and of a client that trusts just that one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "certificate.pem"
    path.write_bytes(signed.public_bytes(pem) + key.private_bytes(pem, formats, serialization.NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))
