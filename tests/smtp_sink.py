"""What has a mail server taken, however its senders died? One in a process of its own, that is unkind if it is told."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from tests.mail_server import message_from
from tests.sending_worker import FORKING, kill

STARTING_SECONDS = 60


class Stage(Enum):
    """When a connection may break."""

    GREETING = "GREETING"
    SENDER = "MAIL"
    RECIPIENT = "RCPT"
    DATA = "DATA"
    MESSAGE = "in the message"
    TAKEN = "after the message was taken, before its answer"


@dataclass(frozen=True)
class Unkindness:
    """`greylisted`: the share of the recipients that are put off with 4xx twice, one half at RCPT, the others after
    the message. `dropped`: the share of connections' stages at which they break. `delay`: the seconds between taking
    a message, which is then for certain, and answering. `silent`: the numbers (from 1, in the order of taking) of the
    messages that are never answered. `seed`: of its choices.
    """

    greylisted: float = 0
    dropped: float = 0
    delay: float = 0
    silent: frozenset[int] = frozenset()
    seed: int = 1


KIND = Unkindness()
PUT_OFF_TIMES = 2


@dataclass(frozen=True)
class Taken:
    message_id: str
    recipient: str


class Sink:
    """A server at `port`; what it takes is in the file before it answers."""

    def __init__(self, port: int, path: Path) -> None:
        self.port = port
        self._path = path

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def taken(self) -> list[Taken]:
        lines = self._path.read_text().splitlines()
        return [Taken(*line.split(" ")) for line in lines]

    def count(self) -> int:
        """How many mails it has taken."""
        return self._path.read_bytes().count(b"\n")

    def recipients(self) -> Counter[str]:
        """How often each was written to."""
        return Counter(each.recipient for each in self.taken())


@dataclass
class Talk:
    """One connection of the server."""

    unkindness: Unkindness
    chance: random.Random
    put_off: Counter[str]
    file: int
    numbers: Iterator[int]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    recipient: str = ""

    async def run(self) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            self._say(Stage.GREETING, "220 sink")
            while line := await self.reader.readline():
                await self._answer(line.decode().strip())
        self.writer.close()

    async def _answer(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        match verb:
            case "EHLO":
                self.writer.write(b"250-sink\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n")
            case "MAIL":
                self._say(Stage.SENDER, "250 OK")
            case "RCPT":
                self._recipient(rest.partition("<")[2].partition(">")[0])
            case "DATA" if self.recipient:
                self._say(Stage.DATA, "354 go on")
                await self._message()
            case "DATA":
                self.writer.write(b"503 no recipient\r\n")
            case _:
                self.recipient = ""
                self.writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 OK\r\n")

    def _recipient(self, address: str) -> None:
        early = self._is_greylisted(address) and number_of(address) % 2 == 0
        if early and self._puts_off(address):
            self._say(Stage.RECIPIENT, "451 4.7.1 greylisted")
        else:
            self.recipient = address
            self._say(Stage.RECIPIENT, "250 OK")

    async def _message(self) -> None:
        if self._breaks():
            await self.reader.readline()
            self._drop(Stage.MESSAGE)
        message, complete = await message_from(self.reader)
        if not complete:
            self._drop(Stage.MESSAGE)
        recipient, self.recipient = self.recipient, ""
        if self._is_greylisted(recipient) and self._puts_off(recipient):
            self.writer.write(b"451 4.7.1 greylisted\r\n")
            return
        head = message.partition(b"\r\n\r\n")[0].split(b"\r\n")
        (message_id,) = (line.split(b": ")[1].decode() for line in head if line.startswith(b"Message-ID: "))
        # Survives this process; the machine need not be outlived.
        os.write(self.file, f"{message_id} {recipient}\n".encode())
        if next(self.numbers) in self.unkindness.silent:
            await self.reader.read()
        if self.unkindness.delay:
            await asyncio.sleep(self.unkindness.delay)
        self._say(Stage.TAKEN, "250 OK taken")

    def _is_greylisted(self, address: str) -> bool:
        return random.Random(f"{self.unkindness.seed} {address}").random() < self.unkindness.greylisted

    def _puts_off(self, address: str) -> bool:
        self.put_off[address] += 1
        return self.put_off[address] <= PUT_OFF_TIMES

    def _breaks(self) -> bool:
        return self.chance.random() < self.unkindness.dropped

    def _say(self, stage: Stage, reply: str) -> None:
        if self._breaks():
            self._drop(stage)
        self.writer.write(reply.encode() + b"\r\n")

    def _drop(self, stage: Stage) -> None:
        self.writer.transport.abort()
        raise ConnectionAbortedError(stage.value)


def number_of(address: str) -> int:
    """Of `person7@…`."""
    return int("".join(filter(str.isdigit, address.partition("@")[0])) or 0)


async def serve(path: Path, unkindness: Unkindness, port: int, told: Connection) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    chance, put_off, numbers = random.Random(unkindness.seed), Counter[str](), count(1)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Talk(unkindness, chance, put_off, file, numbers, reader, writer).run()

    server = await asyncio.start_server(talk, "127.0.0.1", port)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main(path: Path, unkindness: Unkindness, port: int, told: Connection) -> None:
    asyncio.run(serve(path, unkindness, port, told))


@contextmanager
def smtp_sink(folder: Path, unkindness: Unkindness = KIND, *, port: int = 0) -> Iterator[Sink]:
    """A server on a free port, or the given one; what it has taken is kept in the folder."""
    path = folder / "taken"
    told, tell = FORKING.Pipe(duplex=False)
    process = FORKING.Process(target=main, args=(path, unkindness, port, tell), daemon=True)
    process.start()
    try:
        assert told.poll(STARTING_SECONDS), "the mail server did not start"
        yield Sink(told.recv(), path)
    finally:
        kill(process, signal.SIGKILL)
        process.join()
