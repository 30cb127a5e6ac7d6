"""Is every mail of a long-lived connection either taken once or certainly still ours, whatever the server does?"""

from __future__ import annotations

import asyncio

import pytest

from jobs.smtp import GARBLED, SILENT, UNCERTAIN, UNREACHABLE, SmtpTransport
from jobs.smtp import mail_server as server_of
from jobs.transport import Answer, Outcome
from tests.mail_connections import ON_BOTH_LOOPS, PIPELINING, TAKEN, connected, numbered, received
from tests.mail_server import ACCEPTED, HANG_UP, SILENCE, ScriptedServer, crude_server, message_from, scripted_server
from tests.post import until

pytestmark = [pytest.mark.anyio, ON_BOTH_LOOPS]

ENDLESS = b"250-" + b"x" * 1_000_000
NONSENSE = b"HTTP/1.1 400 Bad Request\r\n"


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


async def test_not_signed_in() -> None:
    """A connection that may not sign in is not kept open while somebody puts the password right."""
    async with scripted_server({"AUTH": ("535 no",)}, extensions=("AUTH PLAIN",)) as server:
        connection = SmtpTransport(server_of(f"smtp://me:wrong@127.0.0.1:{server.port}")).connection()
        assert await connection.ready() is not None
        await until(lambda: nobody_is_connected(server))


async def nobody_is_connected(server: ScriptedServer) -> bool:
    return server.open_connections == 0


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
