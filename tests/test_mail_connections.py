"""Is every mail of a long-lived connection either taken once or certainly still ours, whatever the server does?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.smtp import GARBLED, SILENT, UNCERTAIN, UNREACHABLE, SmtpTransport, in_transit
from jobs.smtp import mail_server as server_of
from jobs.smtp_replies import Reply, names_nobody
from jobs.transport import NO_SERVER, OUTBOX, Answer, Mail, MailConnection, Outcome
from tests.mail_server import (
    ACCEPTED,
    HANG_UP,
    SILENCE,
    Received,
    ScriptedServer,
    certificate,
    crude_server,
    mail_server,
    message_from,
    scripted_server,
)
from tests.post import until

# A worker runs on uvloop, whose transports are not asyncio's.
LOOPS = [pytest.param(("asyncio", {"use_uvloop": uvloop}), id="uvloop" if uvloop else "asyncio") for uvloop in (1, 0)]
pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", LOOPS)]

TAKEN = Answer(Outcome.TAKEN, ACCEPTED)
PIPELINING = pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelining", "one by one"])
ENDLESS = b"250-" + b"x" * 1_000_000
NONSENSE = b"HTTP/1.1 400 Bad Request\r\n"


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


def replied(outcome: Outcome, reply: str) -> tuple[str, Answer]:
    return reply, Answer(outcome, reply)


# Seconds after which a server counts as silent; a busy machine must be faster.
HASTY = 0.4

# What is said to the first mail, what that means, and whether the connection serves the next mail too.
ANSWERS: list[tuple[str, str | bytes, Answer, bool]] = [
    ("MAIL", *replied(Outcome.REFUSED, "550 5.1.8 sender unknown"), True),
    ("MAIL", *replied(Outcome.REFUSED, "550 no such user here"), True),
    ("MAIL", *replied(Outcome.NOT_NOW, "451 greylisted"), True),
    ("MAIL", *replied(Outcome.SERVER_AWAY, "421 too busy"), False),
    ("MAIL", *replied(Outcome.SERVER_AWAY, "530 5.7.0 sign in first"), False),
    ("MAIL", "354 go on", GARBLED, False),
    ("RCPT", *replied(Outcome.ADDRESS_REFUSED, "550 5.1.1 no"), True),
    ("RCPT", *replied(Outcome.REFUSED, "550 5.7.1 not allowed"), True),
    ("RCPT", *replied(Outcome.REFUSED, "554 relay access denied"), True),
    ("RCPT", *replied(Outcome.NOT_NOW, "450 4.2.0 greylisted"), True),
    ("RCPT", *replied(Outcome.NOT_NOW, "452 4.2.2 mailbox full"), True),
    ("RCPT", *replied(Outcome.NOT_NOW, "450 no such user for now"), True),
    ("RCPT", *replied(Outcome.SERVER_AWAY, "421 too many errors"), False),
    ("DATA", *replied(Outcome.REFUSED, "554 no such user"), True),
    ("DATA", *replied(Outcome.NOT_NOW, "451 later"), True),
    ("DATA", *replied(Outcome.SERVER_AWAY, "421 shutting down"), False),
    ("DATA", *replied(Outcome.SERVER_AWAY, "503 where were we"), False),
    ("DATA", "250 OK", GARBLED, False),
    ("MESSAGE", *replied(Outcome.REFUSED, "554 5.1.1 spam"), True),
    ("MESSAGE", *replied(Outcome.NOT_NOW, "451 later"), True),
    ("MESSAGE", *replied(Outcome.NOT_NOW, "421 shutting down"), True),
    ("MESSAGE", *replied(Outcome.TAKEN, "252 for certain"), True),
    ("MESSAGE", "354 more", UNCERTAIN, False),
    ("MESSAGE", b"250 Gr\xfc\xdfe\r\n", Answer(Outcome.TAKEN, "250 Gr\ufffd\ufffde"), True),
    ("MESSAGE", b"250-and", UNCERTAIN, False),
]
BREAKS: list[tuple[str, str | bytes, Answer, bool]] = [
    (stage, said, UNCERTAIN if stage == "MESSAGE" else answer, False)
    for stage in ("MAIL", "RCPT", "DATA", "MESSAGE")
    for said, answer in (
        (HANG_UP, UNREACHABLE),
        (NONSENSE, GARBLED),
        (b"2\xff0 OK\r\n", GARBLED),
        (b"2500 OK\r\n", GARBLED),
        (b"250-one\r\n251 two\r\n", GARBLED),
        (b"150 wait\r\n", GARBLED),
        (ENDLESS, GARBLED),
        (SILENCE, SILENT),
    )
]


@PIPELINING
@pytest.mark.parametrize(("stage", "said", "answer", "stays"), ANSWERS + BREAKS)
async def test_answers(
    stage: str, said: str | bytes, answer: Answer, *, stays: bool, extensions: tuple[str, ...]
) -> None:
    """What is said at each stage has its meaning; the next mail goes out whole, over a new connection if it must."""
    first, second = numbered(1), numbered(2)
    usual = {"DATA": "354 go on", "MESSAGE": ACCEPTED}.get(stage, "250 OK")
    patience = HASTY if said in (SILENCE, b"250-and") else 5
    says = {stage: (said, usual)}
    async with (
        scripted_server(says, extensions=extensions) as server,
        connected(server.url, patience) as connection,
    ):
        assert await connection.ready() is None
        assert await connection.hand_over(first) == answer
        assert await connection.ready() is None
        assert await connection.hand_over(second) == TAKEN
    assert server.received == received(*([first, second] if stage == "MESSAGE" else [second]))
    assert server.connections == (1 if stays else 2)


@pytest.mark.parametrize(
    ("stage", "said", "answer"),
    [
        ("GREETING", *replied(Outcome.REFUSED, "554 not here")),
        ("GREETING", *replied(Outcome.SERVER_AWAY, "421 later")),
        ("GREETING", *replied(Outcome.SERVER_AWAY, "450 later")),
        ("GREETING", HANG_UP, UNREACHABLE),
        ("GREETING", NONSENSE, GARBLED),
        ("GREETING", ENDLESS, GARBLED),
        ("GREETING", SILENCE, SILENT),
        ("EHLO", *replied(Outcome.SERVER_AWAY, "421 later")),
        ("EHLO", HANG_UP, UNREACHABLE),
        ("EHLO", NONSENSE, GARBLED),
        ("EHLO", ENDLESS, GARBLED),
        ("EHLO", SILENCE, SILENT),
    ],
)
async def test_not_ready(stage: str, said: str | bytes, answer: Answer) -> None:
    """A server that cannot be talked to is no matter of any mail; the connection is ready once the server is."""
    usual = {"GREETING": "220 hello", "EHLO": "250 hello"}[stage]
    patience = HASTY if said == SILENCE else 5
    async with (
        scripted_server({stage: (said, said, usual)}) as server,
        connected(server.url, patience) as connection,
    ):
        assert await connection.ready() == answer
        assert await connection.hand_over(numbered(1)) == Answer(Outcome.SERVER_AWAY, answer.reply)
        assert server.received == []
        assert await connection.ready() is None
        assert await connection.hand_over(numbered(1)) == TAKEN
    assert server.connections == 3


async def test_server_of_old() -> None:
    """A server that knows no EHLO is greeted with HELO, and sent one command at a time."""
    async with scripted_server({"EHLO": ("502 what?",)}) as server, connected(server.url) as connection:
        assert await connection.hand_over(numbered(1)) == TAKEN


async def test_one_command_at_a_time() -> None:
    """A server that does not say it takes several commands at once never gets two, as it may forget the second."""
    chunks = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        while chunk := await reader.read(65536):
            chunks.append(chunk)
            writer.write({b"DATA": b"354 go on\r\n"}.get(chunk[:4], ACCEPTED.encode() + b"\r\n"))

    async with crude_server(talk) as port, connected(f"smtp://127.0.0.1:{port}") as connection:
        assert await connection.hand_over(numbered(1)) == TAKEN
    assert [chunk.split()[0] for chunk in chunks] == [b"EHLO", b"MAIL", b"RCPT", b"DATA", b"X-Number:", b"QUIT"]


async def test_nobody_there() -> None:
    """A server that is not there is so for the next mail as well, until it is there."""
    async with crude_server(lambda _reader, _writer: asyncio.sleep(0)) as port:
        pass
    async with connected(f"smtp://127.0.0.1:{port}") as connection:
        assert await connection.ready() == UNREACHABLE
        assert await connection.hand_over(numbered(1)) == UNREACHABLE


@pytest.mark.parametrize("unasked", [b"", b"421 4.4.2 idle for too long\r\n", b"250 OK\r\n"])
@PIPELINING
async def test_closed_between_two_mails(unasked: bytes, extensions: tuple[str, ...]) -> None:
    """A server that closes after each mail, with or without a word, gets them all over new connections."""
    mails = [numbered(number) for number in range(4)]
    says = {"MESSAGE": (ACCEPTED.encode() + b"\r\n" + unasked,)}
    async with (
        scripted_server(says, extensions=extensions, mails_each=1) as server,
        connected(server.url) as connection,
    ):
        for mail in mails:
            assert await connection.hand_over(mail) == TAKEN
    assert (server.received, server.connections) == (received(*mails), 4)


async def test_said_unasked() -> None:
    """What a server says between two mails is no reply to the second one; such a connection is left at once."""
    writers = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await server.talk(reader, writer)

    async with (
        scripted_server() as server,
        crude_server(talk) as port,
        connected(f"smtp://127.0.0.1:{port}") as connection,
    ):
        assert await connection.hand_over(numbered(1)) == TAKEN
        writers[0].write(b"250 OK\r\n")
        await until(lambda: nobody_is_connected(server))
        assert await connection.hand_over(numbered(2)) == TAKEN
    assert (server.received, server.connections) == (received(numbered(1), numbered(2)), 2)


@PIPELINING
async def test_no_more_mails_on_this_connection(extensions: tuple[str, ...]) -> None:
    """421 to the first command of a later mail means a new connection, and is no answer to that mail."""
    mails = [numbered(number) for number in range(4)]
    says = {"MAIL": ("250 OK", "421 enough", "250 OK", "421 enough", "250 OK")}
    async with scripted_server(says, extensions=extensions) as server, connected(server.url) as connection:
        assert [await connection.hand_over(mail) for mail in mails[:3]] == [TAKEN] * 3
    assert (server.received, server.connections) == (received(*mails[:3]), 3)


@pytest.mark.parametrize("greeting", ["421 bye", "554 not any more"])
async def test_gone_between_two_mails(greeting: str) -> None:
    """A server that is away by the next mail is so certainly: nothing of that mail was handed over."""
    says = {"GREETING": ("220 hello", greeting), "MAIL": ("250 OK", "421 enough")}
    async with scripted_server(says) as server, connected(server.url) as connection:
        assert await connection.hand_over(numbered(1)) == TAKEN
        assert await connection.hand_over(numbered(2)) == Answer(Outcome.SERVER_AWAY, greeting)
    assert server.received == received(numbered(1))


@PIPELINING
async def test_silent_between_two_mails(extensions: tuple[str, ...]) -> None:
    """A server that falls silent is waited for once, not again over a new connection for the same mail."""
    says = {"MAIL": ("250 OK", SILENCE)}
    async with scripted_server(says, extensions=extensions) as server, connected(server.url, HASTY) as connection:
        assert await connection.hand_over(numbered(1)) == TAKEN
        assert await connection.hand_over(numbered(2)) == SILENT
        assert server.connections == 1


@PIPELINING
async def test_reset(extensions: tuple[str, ...]) -> None:
    """After a refusal the server forgets the mail before the next begins; one that will not is left."""
    says = {"RCPT": ("550 5.1.1 no", "550 5.1.1 no", "250 OK"), "RSET": ("250 OK", "500 no")}
    async with scripted_server(says, extensions=extensions) as server, connected(server.url) as connection:
        answers = [await connection.hand_over(numbered(number)) for number in range(3)]
    assert [answer.outcome for answer in answers] == [Outcome.ADDRESS_REFUSED, Outcome.ADDRESS_REFUSED, Outcome.TAKEN]
    # Who sends one command at a time also stops at the refusal.
    refused = ["MAIL", "RCPT", *(["DATA"] if extensions else []), "RSET"]
    expected = ["EHLO", *refused, *refused, "EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert [command.split()[0] for command in server.commands] == expected


async def test_data_for_nobody() -> None:
    """A server that asks for the message although it refused the recipient gets none, not even an empty one."""
    says = {"RCPT": ("550 5.1.1 no", "250 OK"), "DATA": ("354 go on",)}
    async with scripted_server(says) as server, connected(server.url) as connection:
        assert (await connection.hand_over(numbered(1))).outcome is Outcome.ADDRESS_REFUSED
        assert await connection.hand_over(numbered(2)) == TAKEN
    assert (server.received, server.connections) == (received(numbered(2)), 2)
    assert server.cut_off == [b""]


async def test_answer_before_the_message() -> None:
    """A reply that comes before the message has been sent is not taken for the reply to the message."""
    says = {"DATA": (b"354 go on\r\n250 OK\r\n", "354 go on")}
    async with scripted_server(says) as server, connected(server.url) as connection:
        assert await connection.hand_over(numbered(1)) == GARBLED
        assert await connection.hand_over(numbered(2)) == TAKEN
    assert (server.received, server.cut_off) == (received(numbered(2)), [b""])


@PIPELINING
async def test_replies_in_pieces(extensions: tuple[str, ...]) -> None:
    """Replies of several lines that arrive byte by byte are read as they were said, whatever the mail before got."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(words: str) -> None:
            for byte in words.encode():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

        refused = False
        await say("220 hello\r\n")
        while line := await reader.readline():
            verb = line.split()[0]
            if verb == b"EHLO":
                await say("".join(f"250-{each}\r\n" for each in ("me", *extensions)) + "250 HELP\r\n")
            elif verb == b"RCPT":
                refused = b"<1@" in line
                await say("450-4.2.0 come\r\n450-\r\n450\n" if refused else "250-fine\n250 Grüße\n")
            elif verb == b"DATA" and not refused:
                await say("354 go on\r\n")
                await message_from(reader)
                await say("250-2.0.0 taken\r\n250 as 4711\r\n")
            else:
                await say("503 who?\r\n" if verb == b"DATA" else "250 OK\r\n")

    async with crude_server(talk) as port, connected(f"smtp://127.0.0.1:{port}") as connection:
        answers = [await connection.hand_over(numbered(number)) for number in range(3)]
    taken = Answer(Outcome.TAKEN, "250 2.0.0 taken\nas 4711")
    assert answers == [taken, Answer(Outcome.NOT_NOW, "450 4.2.0 come\n\n"), taken]


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


async def test_not_signed_in() -> None:
    """A connection that may not sign in is not kept open while somebody puts the password right."""
    async with scripted_server({"AUTH": ("535 no",)}, extensions=("AUTH PLAIN",)) as server:
        connection = SmtpTransport(server_of(f"smtp://me:wrong@127.0.0.1:{server.port}")).connection()
        assert await connection.ready() is not None
        await until(lambda: nobody_is_connected(server))


async def nobody_is_connected(server: ScriptedServer) -> bool:
    return server.open_connections == 0


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


@pytest.mark.parametrize(
    ("nobody", "text"),
    [
        (True, "5.1.1 <a@b.example>: rejected"),
        (True, "5.1.1 The account does\n5.1.1 not exist"),
        (True, "5.1.2 bad domain"),
        (True, "5.1.3 syntax"),
        (True, "5.1.6 moved"),
        (True, "5.1.10 null MX"),
        (True, "5.2.1 disabled"),
        (True, "no such user here"),
        (True, "User unknown in virtual mailbox table"),
        (True, "<a@b.example>: Recipient address rejected: User unknown"),
        (True, "Unrouteable address: mailbox not found"),
        (True, "5.1.0 Address does not exist"),
        (True, "5.0.0 Invalid recipient"),
        (True, "This user doesn't have a b.example account"),
        (False, "5.1.8 Sender address unknown"),
        (False, "5.1.7 bad sender"),
        (False, "5.1.0 rejected"),
        (False, "5.2.2 mailbox full, user unknown to have space"),
        (False, "5.7.1 Recipient not found: relaying denied"),
        (False, "5.1.15 something new"),
        (False, "5.1.1.2 is on a list"),
        (False, "relay not permitted"),
        (False, "Relay access denied"),
        (False, "Blocked by a list, see https://blocks.example"),
        (False, "Sender address rejected: Domain not found"),
        (False, "Mailbox full"),
        (False, "No."),
    ],
)
async def test_who_is_given_up(text: str, *, nobody: bool) -> None:
    """An address is given up for what says that nobody is there, not for what is said of us, or for a full mailbox."""
    assert names_nobody(Reply(550, text)) is nobody


LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x", b"\r\n", b"\n", b"\r", b"\n.\r\n", b"\r\n.\r"]))


@given(LINES)
async def test_quoting_of_dots(parts: list[bytes]) -> None:
    """Whatever the message holds, its end on the wire comes once, and what a server reads is the message in lines."""
    message = b"".join(parts)
    wire = in_transit(message)
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    *lines, end, nothing = wire.split(b"\r\n")
    assert (end, nothing) == (b".", b"")
    assert b"." not in lines
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    read = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
    assert (message.splitlines() or [b""]) == read.splitlines()
