"""What becomes of a mail that is handed to a mail server, whatever the server does?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiosmtplib import SMTP, SMTPNotSupported
from pydantic import ValidationError

from gateway.settings import Settings
from gateway.worker import transport_of
from jobs.smtp import UNCERTAIN, MailServer, Security, SmtpTransport, sign_in
from jobs.smtp import mail_server as server_of
from jobs.transport import NO_SERVER, OUTBOX, Answer, Mail, Outcome
from tests.mail_server import ACCEPTED, HANG_UP, Received, certificate, crude_server, mail_server

pytestmark = pytest.mark.anyio

MESSAGE = b"Subject: Hello\r\n\r\n.\r\n..two dots\r\n" + "Grüße".encode() + b"\r\n"
MAIL = Mail("news@acme.example", "ada@example.com", MESSAGE)
UNREACHABLE = Answer(Outcome.NOT_NOW, "The mail server cannot be reached.")
SILENT = Answer(Outcome.NOT_NOW, "The mail server does not answer.")
NOT_SMTP = Answer(Outcome.NOT_NOW, "What the mail server says is not SMTP.")
UNTRUSTED = Answer(Outcome.REFUSED, "The mail server's certificate is not trusted.")


async def handed_over(url: str, mail: Mail = MAIL) -> Answer:
    return await SmtpTransport(server_of(url)).hand_over(mail)


async def handed_over_in_haste(url: str) -> Answer:
    return await SmtpTransport(server_of(url), timeout=0.2, data_timeout=0.2).hand_over(MAIL)


async def test_taken_byte_for_byte() -> None:
    """The server gets the message as it is, lines with dots and all, for the two addresses of the envelope."""
    async with mail_server() as server:
        assert await handed_over(server.url) == Answer(Outcome.TAKEN, ACCEPTED)
    assert server.received == [Received("news@acme.example", "ada@example.com", MESSAGE, False, None)]


async def test_addresses_beyond_ascii() -> None:
    """An address with letters beyond ASCII is sent as it is to a server that takes such."""
    async with mail_server() as server:
        answer = await handed_over(server.url, Mail("news@acme.example", "jürgen@example.com", MESSAGE))
    assert answer.outcome is Outcome.TAKEN
    assert server.received[0].recipient == "jürgen@example.com"


@pytest.mark.parametrize(
    ("where", "reply", "outcome"),
    [
        ("recipients", "550 no such user", Outcome.ADDRESS_REFUSED),
        ("recipients", "554 no", Outcome.REFUSED),
        ("recipients", "451 greylisted", Outcome.NOT_NOW),
        ("recipients", "421 closing", Outcome.NOT_NOW),
        ("messages", "550 no such user", Outcome.REFUSED),
        ("messages", "451 greylisted", Outcome.NOT_NOW),
    ],
)
async def test_refusals(where: str, reply: str, outcome: Outcome) -> None:
    """A refusal of the recipient or of the message leaves the mail with us; its first digit says for how long."""
    async with mail_server(**{where: (reply,)}) as server:  # type: ignore[arg-type]  # both names are of such a tuple
        assert await handed_over(server.url) == Answer(outcome, reply)


async def test_hang_ups() -> None:
    """A connection lost before the message is certain; one lost while its answer is awaited is not."""
    async with mail_server(recipients=(HANG_UP,)) as server:
        assert await handed_over(server.url) == UNREACHABLE
    async with mail_server(messages=(HANG_UP,)) as server:
        assert await handed_over(server.url) == UNCERTAIN


async def test_silence() -> None:
    """A server that says nothing is waited for only so long, and after the message nothing is certain."""

    async def say_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with crude_server(say_nothing) as port:
        assert await handed_over_in_haste(f"smtp://127.0.0.1:{port}") == SILENT
    async with mail_server(silent=True) as server:
        assert await handed_over_in_haste(server.url) == UNCERTAIN


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        (b"554 not here\r\n", Answer(Outcome.REFUSED, "554 not here")),
        (b"421 later\r\n", Answer(Outcome.NOT_NOW, "421 later")),
        (b"HTTP/1.1 400 Bad Request\r\n", NOT_SMTP),
        (b"", UNREACHABLE),
    ],
)
async def test_greetings(greeting: bytes, answer: Answer) -> None:
    """A server that does not want to talk is told from one that cannot at the moment."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)

    async with crude_server(greet) as port:
        assert await handed_over(f"smtp://127.0.0.1:{port}") == answer
    assert await handed_over(f"smtp://127.0.0.1:{port}") == UNREACHABLE


@pytest.mark.parametrize("address", ["a@b.example>\r\nRCPT TO:<c@d.example", "a\0@b.example", "Ada <a@b.example>"])
async def test_what_is_not_an_address(address: str) -> None:
    """A mail goes to the very address that is stored, or nowhere; none can carry a command of its own."""
    async with mail_server() as server:
        answer = await handed_over(server.url, Mail("news@acme.example", address, MESSAGE))
    assert answer == Answer(Outcome.REFUSED, "The address cannot be written in a command of SMTP.")
    assert server.received == []


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls"])
async def test_encryption(tmp_path: Path, scheme: str) -> None:
    """STARTTLS is used when it is offered; a certificate that is not trusted ends it before anything is sent."""
    of_server, of_client = certificate(tmp_path)
    async with mail_server(tls=of_server, users={"me@x": "pass word"}) as server:
        url = f"{scheme}://me%40x:pass%20word@127.0.0.1:{server.port}"
        assert await handed_over(url) == UNTRUSTED
        assert server.received == []
        answer = await SmtpTransport(server_of(url), tls=of_client).hand_over(MAIL)
    assert answer == Answer(Outcome.TAKEN, ACCEPTED)
    assert [(mail.encrypted, mail.user) for mail in server.received] == [(True, "me@x")]


async def test_encryption_from_the_start(tmp_path: Path) -> None:
    """`smtps` checks the certificate as well."""
    of_server, of_client = certificate(tmp_path)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 encrypted, but no\r\n")
        await reader.read()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=of_server)
    url = f"smtps://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        assert await handed_over(url) == UNTRUSTED
        answer = await SmtpTransport(server_of(url), tls=of_client).hand_over(MAIL)
    finally:
        server.close()
    assert answer == Answer(Outcome.REFUSED, "554 encrypted, but no")


async def test_required_encryption_that_is_not_offered() -> None:
    """`smtp+starttls` sends nothing to a server that does not encrypt."""
    async with mail_server() as server:
        answer = await handed_over(f"smtp+starttls://127.0.0.1:{server.port}")
    assert (answer.outcome, "STARTTLS" in answer.reply, server.received) == (Outcome.REFUSED, True, [])


async def test_wrong_password() -> None:
    """What the server says to a wrong password is not passed on: it may repeat what it was sent."""
    async with mail_server(users={"me": "right"}) as server:
        answer = await handed_over(f"smtp://me:hunter2@127.0.0.1:{server.port}")
    assert answer == Answer(Outcome.REFUSED, "535 The mail server does not let the gateway sign in.")
    assert server.received == []


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail", MailServer("mail", 25, Security.STARTTLS_IF_OFFERED)),
        ("smtps://a%40b:c%2Fd@mail.example:1465", MailServer("mail.example", 1465, Security.TLS, "a@b", "c/d")),
        ("smtp+starttls://me@bücher.example/", MailServer("xn--bcher-kva.example", 587, Security.STARTTLS, "me")),
        ("smtp://[::1]:2525", MailServer("::1", 2525, Security.STARTTLS_IF_OFFERED)),
    ],
)
async def test_urls(url: str, server: MailServer) -> None:
    """The URL names the server, the usual port by default, and who signs in."""
    assert server_of(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "mail:25",
        "http://mail",
        "smtp://",
        "smtp://mail:high",
        "smtp://mail/in",
        "smtp://mail?x=1",
        "smtp://:hunter2@mail",
    ],
)
async def test_wrong_urls(url: str) -> None:
    """A URL that makes no sense is refused when the settings are read."""
    with pytest.raises(ValidationError, match="must"):
        Settings(smtp_url=url)


async def test_password_is_not_shown() -> None:
    """Neither settings nor server nor mail show secrets or people when they are printed."""
    settings = Settings(smtp_url="smtp://me:hunter2@mail")
    assert "hunter2" not in repr(settings) + repr(server_of("smtp://me:hunter2@mail"))
    assert "example" not in repr(MAIL)


async def test_without_a_mail_server() -> None:
    """Without SMTP_URL the demo keeps mails in its outbox, and anything else refuses them."""
    assert transport_of(Settings(), demo=True) is OUTBOX
    assert transport_of(Settings(), demo=False) is NO_SERVER
    assert isinstance(transport_of(Settings(smtp_url="smtp://mail"), demo=True), SmtpTransport)
    kept = await OUTBOX.hand_over(MAIL)
    assert kept == Answer(Outcome.TAKEN, "Kept in the outbox: no mail server is set (SMTP_URL).")
    assert await NO_SERVER.hand_over(MAIL) == Answer(Outcome.REFUSED, "No mail server is set (SMTP_URL).")


class Remote(SMTP):
    """A client that is connected to another machine without encryption."""

    def get_transport_info(self, key: str) -> object:
        return {"sslcontext": None, "peername": ("192.0.2.1", 25)}[key]


async def test_password_in_clear() -> None:
    """No password is sent over a network that others may listen to."""
    with pytest.raises(SMTPNotSupported, match="the password is not sent"):
        await sign_in(Remote(), "me", "hunter2")
