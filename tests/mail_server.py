"""Which mails does a server get that may also refuse, keep silent, or hang up? A real one, on this machine."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import chain, repeat
from pathlib import Path
from typing import TypeVar

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

T = TypeVar("T")

HANG_UP = "hang up"
SILENCE = "silence"
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


def endless(answers: Sequence[T]) -> Iterator[T]:
    return chain(answers, repeat(answers[-1]))


@asynccontextmanager
async def crude_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """The port of a server that says what no proper one would."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@dataclass
class ScriptedServer:
    """Says at each stage what `says` has for it, one after the other, and the last one for ever; else what is usual.

    The stages are GREETING, the commands, and MESSAGE. A text is a reply; bytes are sent as they are; HANG_UP closes
    the connection and SILENCE says nothing more. A message counts as received once its last line is there, else it is
    cut off. Each connection is closed after `mails_each` of them.
    """

    says: dict[str, Iterator[str | bytes]]
    extensions: tuple[str, ...]
    tls: ssl.SSLContext | None
    mails_each: float
    port: int = 0
    connections: int = 0
    open_connections: int = 0
    commands: list[str] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    cut_off: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        with suppress(ConnectionError):
            talk = ScriptedTalk(self, reader, writer)
            if talk.say("GREETING", "220 scripted"):
                while line := await reader.readline():
                    self.commands.append(line.decode().strip())
                    if not await talk.answer(*self.commands[-1].split(" ", 1)):
                        break
            await reader.read()
        self.open_connections -= 1


@dataclass
class ScriptedTalk:
    """One connection, with the addresses of the envelope that is open and accepted."""

    server: ScriptedServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    envelope: list[str] = field(default_factory=list)
    mails: int = 0

    async def answer(self, verb: str, parameters: str = "") -> bool:
        """Whether the conversation goes on."""
        if verb == "DATA":
            return await self._message()
        if verb in ("MAIL", "RSET"):
            self.envelope.clear()
        said = self.say(verb, self._usual(verb))
        if verb in ("MAIL", "RCPT") and said.startswith(b"2"):
            self.envelope.append(parameters.partition("<")[2].partition(">")[0])
        if verb == "STARTTLS" and self.server.tls is not None:
            await self.writer.start_tls(self.server.tls)
        return said != b"" and verb != "QUIT"

    async def _message(self) -> bool:
        said = self.say("DATA", "354 go on" if len(self.envelope) == 2 else "503 no valid recipient")
        if not said.startswith(b"354"):
            return said != b""
        message, is_whole = await message_from(self.reader)
        if not is_whole:
            self.server.cut_off.append(message)
            return False
        encrypted = self.writer.get_extra_info("sslcontext") is not None
        sender, recipient = self.envelope or ("", "")
        self.server.received.append(Received(sender, recipient, message, encrypted, None))
        self.mails += 1
        goes_on = self.say("MESSAGE", ACCEPTED) != b""
        if self.mails == self.server.mails_each:
            self.writer.close()
        return goes_on

    def _usual(self, verb: str) -> str:
        if verb == "EHLO":
            return "\r\n".join(["250-scripted", *(f"250-{each}" for each in self.server.extensions), "250 HELP"])
        return {"STARTTLS": "220 go on", "QUIT": "221 bye"}.get(verb, "250 OK")

    def say(self, stage: str, usual: str) -> bytes:
        """What is said; nothing ends the conversation."""
        said = next(self.server.says[stage]) if stage in self.server.says else usual
        if said == HANG_UP:
            self.writer.close()
        if said in (HANG_UP, SILENCE):
            return b""
        words = said if isinstance(said, bytes) else said.encode() + b"\r\n"
        self.writer.write(words)
        return words


async def message_from(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """The message, or what there is of it, and whether its last line came."""
    lines = []
    while (line := await reader.readline()) not in (b".\r\n", b""):
        lines.append(line.removeprefix(b"."))
    return b"".join(lines), line != b""


@asynccontextmanager
async def scripted_server(
    says: Mapping[str, Sequence[str | bytes]] | None = None,
    *,
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8"),
    tls: ssl.SSLContext | None = None,
    mails_each: float = math.inf,
) -> AsyncIterator[ScriptedServer]:
    found = ScriptedServer({stage: endless(said) for stage, said in (says or {}).items()}, extensions, tls, mails_each)
    async with crude_server(found.talk) as found.port:
        yield found


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
