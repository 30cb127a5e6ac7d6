"""Does each mail arrive as it is, once, over connections that are encrypted or not, kept open, canceled or closed?"""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from jobs.smtp import SmtpTransport
from jobs.smtp import mail_server as server_of
from jobs.transport import NO_SERVER, OUTBOX, Answer, Mail, Outcome
from tests.mail_connections import ON_BOTH_LOOPS, TAKEN, connected, numbered, received
from tests.mail_server import SILENCE, certificate, crude_server, mail_server, scripted_server

pytestmark = [pytest.mark.anyio, ON_BOTH_LOOPS]


@pytest.mark.parametrize(
    ("extension", "mail", "problem"),
    [
        ("SIZE 100", numbered(1, b"x" * 200), "The mail has 213 bytes; the mail server takes 100 at the most."),
        ("SIZE 213", numbered(1, b"x" * 200), None),
        ("SIZE 0", numbered(1), None),
        ("SIZE", numbered(1), None),
        (f"SIZE {'9' * 5000}", numbered(1), None),
        ("HELP", numbered(1, "Grüße".encode()), "The mail server lacks 8BITMIME, which this mail needs."),
        ("8BITMIME", numbered(1, "Grüße".encode()), None),
        ("HELP", Mail("", "jürgen@example.com", b""), "The mail server lacks SMTPUTF8, which this mail needs."),
        ("SMTPUTF8", Mail("", "jürgen@example.com", b""), None),
        ("HELP", Mail("", "a b@example.com", b""), "The address cannot be written in a command of SMTP."),
        ("HELP", Mail("", "a\r\n@example.com", b""), "The address cannot be written in a command of SMTP."),
        ("HELP", Mail("", "\ud800@example.com", b""), "The address cannot be written in a command of SMTP."),
        ("HELP", Mail("", "", b""), "The address cannot be written in a command of SMTP."),
        ("HELP", Mail("a>b@c.example", "a@c.example", b""), "The address cannot be written in a command of SMTP."),
    ],
)
async def test_what_the_server_cannot_take(extension: str, mail: Mail, problem: str | None) -> None:
    """A mail that a server says it cannot take is refused without a command; the connection serves the next."""
    async with scripted_server(extensions=(extension,)) as server, connected(server.url) as connection:
        assert await connection.hand_over(mail) == (TAKEN if problem is None else Answer(Outcome.REFUSED, problem))
        assert await connection.hand_over(numbered(2)) == TAKEN
    assert len(server.received) == (2 if problem is None else 1)
    assert server.connections == 1


async def test_parameters_of_the_envelope() -> None:
    """What a mail needs of the server is said with its sender (RFC 6152, RFC 6531), and nothing else is."""
    mails = numbered(1), Mail("", "jürgen@example.com", "Grüße".encode())
    async with scripted_server() as server, connected(server.url) as connection:
        assert [await connection.hand_over(mail) for mail in mails] == [TAKEN, TAKEN]
    assert [command for command in server.commands if command.startswith("MAIL")] == [
        "MAIL FROM:<bounce+1@acme.example>",
        "MAIL FROM:<> BODY=8BITMIME SMTPUTF8",
    ]


async def hand_over_all(url: str, mails: list[Mail], connections: int) -> list[Answer]:
    """Each connection takes the next mail that is left."""
    left, answers = iter(mails), list[Answer]()
    transport = SmtpTransport(server_of(url))

    async def one() -> None:
        connection = transport.connection()
        for mail in left:
            assert await connection.ready() is None
            answers.append(await connection.hand_over(mail))
        await connection.close()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(connections):
                tasks.start_soon(one)
    return answers


@pytest.mark.parametrize("kind", ["aiosmtpd", "pipelining", "one by one"])
async def test_five_hundred_mails(kind: str) -> None:
    """500 mails over 10 connections arrive once each, byte for byte, lines that begin with dots and long ones too."""
    bodies = [
        b"\r\n.\r\n",
        b".\r\n",
        b"\r\n..\r\n...\r\n.x\r\n",
        b"\r\n" * 50,
        b"x" * 900 + b"\r\n",
        b"line\r\n" * 100,
    ]
    mails = [numbered(number, bodies[number % len(bodies)]) for number in range(500)]
    extensions = ("PIPELINING",) if kind == "pipelining" else ()
    async with mail_server() if kind == "aiosmtpd" else scripted_server(extensions=extensions) as server:
        assert await hand_over_all(server.url, mails, connections=10) == [TAKEN] * 500
    assert sorted(map(repr, server.received)) == sorted(map(repr, received(*mails)))
    assert server.connections == 10


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls", "smtp"])
async def test_encrypted(tmp_path: Path, scheme: str) -> None:
    """Mails go over one encrypted connection one after the other, those too that are larger than a record of TLS."""
    of_server, of_client = certificate(tmp_path)
    mails = [numbered(number, b"line\r\n" * 4_000) for number in range(5)]
    from_the_start = of_server if scheme == "smtps" else None
    extensions = ("PIPELINING",) if scheme == "smtps" else ("PIPELINING", "STARTTLS")
    async with (
        scripted_server(extensions=extensions, tls=of_server) as server,
        crude_server(server.talk, tls=from_the_start) as port,
    ):
        connection = SmtpTransport(server_of(f"{scheme}://127.0.0.1:{port}"), tls=of_client).connection()
        with anyio.fail_after(20):
            assert [await connection.hand_over(mail) for mail in mails] == [TAKEN] * 5
            await connection.close()
    assert [mail.message for mail in server.received] == [mail.message for mail in mails]
    assert {mail.encrypted for mail in server.received} == {True}
    assert server.connections == 1


async def test_sign_in() -> None:
    """A connection signs in once for all its mails; a wrong password is no matter of the mails."""
    async with mail_server(users={"me": "hunter2"}) as server:
        async with connected(f"smtp://me:hunter2@127.0.0.1:{server.port}") as connection:
            assert [await connection.hand_over(numbered(number)) for number in range(3)] == [TAKEN] * 3
        assert [mail.user for mail in server.received] == ["me"] * 3
        assert server.connections == 1
        async with connected(f"smtp://me:wrong@127.0.0.1:{server.port}") as connection:
            answer = await connection.ready()
            assert answer == Answer(Outcome.REFUSED, "535 The mail server does not let the gateway sign in.")
            assert await connection.hand_over(numbered(9)) == Answer(Outcome.SERVER_AWAY, answer.reply)
        assert len(server.received) == 3


@pytest.mark.parametrize("stage", ["RCPT", "MESSAGE"])
async def test_canceled(stage: str) -> None:
    """After a hand-over that was canceled, the late reply to it is not taken for one to the next mail."""
    async with scripted_server({stage: (SILENCE, "250 second")}) as server, connected(server.url) as connection:
        with anyio.move_on_after(0.1) as given_up:
            await connection.hand_over(numbered(1))
        assert given_up.cancelled_caught
        answer = await connection.hand_over(numbered(2))
    assert answer == (Answer(Outcome.TAKEN, "250 second") if stage == "MESSAGE" else TAKEN)
    assert server.connections == 2


async def test_leave_is_taken() -> None:
    """A connection that is closed says so to the server, and may be used again; one that was not open closes too."""
    async with scripted_server() as server, connected(server.url) as connection:
        await connection.close()
        assert await connection.hand_over(numbered(1)) == TAKEN
        await connection.close()
        assert server.commands[-1] == "QUIT"
        assert await connection.hand_over(numbered(2)) == TAKEN
    assert (server.received, server.connections) == (received(numbered(1), numbered(2)), 2)


async def test_without_a_mail_server() -> None:
    """The outbox is a connection that takes all; where no server is set, no connection is ready."""
    kept = await OUTBOX.hand_over(numbered(1))
    assert await OUTBOX.connection().ready() is None
    assert await OUTBOX.connection().hand_over(numbered(1)) == kept
    assert await NO_SERVER.connection().ready() == Answer(Outcome.REFUSED, "No mail server is set (SMTP_URL).")
    await NO_SERVER.connection().close()
