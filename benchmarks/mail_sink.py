"""What would a mail server take at the most? One that takes every mail at once and keeps nothing but the count.

It is a process of its own, and does so little for each mail that whoever sends is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

HELLO = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0\r\n"
HELLO_WITHOUT_PIPELINING = b"250-sink\r\n250 8BITMIME\r\n"
END = b"\r\n.\r\n"


@dataclass
class Count:
    """`bytes` are those of the messages on the wire; `recipients` how many addresses there were without repetitions."""

    mails: int = 0
    bytes: int = 0
    recipients: int = 0
    connections: int = 0


class Sink(asyncio.Protocol):
    """A connection; all of them share a count and the addresses."""

    def __init__(self, count: Count, addresses: set[bytes], hello: bytes) -> None:
        self._count = count
        self._addresses = addresses
        self._hello = hello
        self._received = bytearray()
        self._in_message = False
        self._searched = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not registered as such.
        self._transport = cast(asyncio.Transport, transport)
        self._count.connections += 1
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        replies: list[bytes] = []
        while reply := self._message() if self._in_message else self._command():
            replies.append(reply)
        if replies:
            self._transport.write(b"".join(replies))

    def _message(self) -> bytes | None:
        end = self._received.find(END, self._searched)
        if end < 0:
            self._searched = max(0, len(self._received) - len(END))
            return None
        self._count.mails += 1
        self._count.bytes += end + len(END)
        del self._received[: end + len(END)]
        self._in_message = False
        return b"250 OK\r\n"

    def _command(self) -> bytes | None:
        end = self._received.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        verb = line[:4].upper()
        if verb == b"DATA":
            self._in_message = True
            self._searched = 0
            return b"354 Go ahead\r\n"
        if verb == b"RCPT":
            self._addresses.add(line[8:].strip())
            self._count.recipients = len(self._addresses)
        return {b"EHLO": self._hello, b"QUIT": b"221 Bye\r\n"}.get(verb, b"250 OK\r\n")


async def serve(*, pipelining: bool) -> None:
    """Prints its port, then the count for every line it reads, and ends with its input."""
    count, addresses = Count(), set[bytes]()
    hello = HELLO if pipelining else HELLO_WITHOUT_PIPELINING
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(count, addresses, hello), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(asdict(count)), flush=True)
    server.close()


@dataclass(frozen=True)
class MailSink:
    """A sink that runs; `pid` is for whoever measures what it takes."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def count(self) -> Count:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return Count(**json.loads(self.process.stdout.readline()))


@contextmanager
def mail_sink(*, pipelining: bool = True) -> Iterator[MailSink]:
    command = [sys.executable, "-m", "benchmarks.mail_sink", *([] if pipelining else ["--without-pipelining"])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield MailSink(process, int(process.stdout.readline()))
        finally:
            process.stdin.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-pipelining", action="store_true")
    uvloop.run(serve(pipelining=not parser.parse_args().without_pipelining))
