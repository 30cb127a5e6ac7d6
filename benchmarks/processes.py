"""How much more does the gateway answer with a second process? Lists, by one and by two processes, interleaved.

Run by hand. Client and database run on the same cores, so what a second process brings is bounded by what they leave:
the table shows the processor time of each, and the rate when everything shares one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.queries import QUERIES, wait_until_ready

LIST = "50 campaigns, user, template"
GATEWAY = [sys.executable, "-m", "gateway"]
FIRST_PORT = 8797
END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"content-length: "


class Client(asyncio.Protocol):
    """One connection: asks again as soon as it is answered, and counts the answers."""

    transport: asyncio.Transport

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._pending = b""
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's are not registered as such
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        head, found, body = self._pending.partition(END_OF_HEAD)
        if not found or len(body) < int(head.lower().partition(LENGTH)[2].partition(b"\r\n")[0]):
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        assert b'"errors"' not in body, body
        self._pending = b""
        self.answered += 1
        self.transport.write(self._request)


async def answers(port: int, request: bytes, connections: int, seconds: float) -> int:
    """How many answers there are in so many seconds."""
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: Client(request), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    before = sum(client.answered for client in clients)
    await asyncio.sleep(seconds)
    found = sum(client.answered for client in clients) - before
    for client in clients:
        client.transport.abort()
    return found


@dataclass
class SetUp:
    """A gateway of so many processes; `cores`: those that it, the database and the client may use, if not all."""

    name: str
    port: int
    processes: int
    cores: list[int] | None = None
    rates: list[float] = field(default_factory=list)
    milliseconds: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, parties: dict[str, psutil.Process], request: bytes, connections: int, seconds: float) -> None:
        """One round."""
        with bound(list(parties.values()), self.cores):
            before = {name: processor_seconds(process) for name, process in parties.items()}
            started = time.perf_counter()
            found = uvloop.run(answers(self.port, request, connections, seconds))
            self.rates.append(found / (time.perf_counter() - started))
            for name, process in parties.items():
                used = (processor_seconds(process) - before[name]) / found * 1000
                self.milliseconds.setdefault(name, []).append(used)


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def processor_seconds(process: psutil.Process) -> float:
    """Of it and its children; not of this process's, which are parties of their own."""
    ours = process.pid == os.getpid()
    times = [member.cpu_times() for member in ([process] if ours else family(process))]
    return sum(each.user + each.system for each in times)


@contextmanager
def bound(processes: Sequence[psutil.Process], cores: list[int] | None) -> Iterator[None]:
    """They and what they start use these cores alone while this lasts."""
    every = list(range(os.cpu_count() or 1))
    if cores is None:
        yield
        return
    try:
        use_cores(processes, cores)
        yield
    finally:
        use_cores(processes, every)


def use_cores(processes: Sequence[psutil.Process], cores: list[int]) -> None:
    for process in processes:
        for member in family(process):
            for thread in member.threads():
                os.sched_setaffinity(thread.id, cores)


def show(setups: Sequence[SetUp]) -> None:
    first = setups[0]
    table = Table("set-up", "requests/s (median)", f"x {first.name}", "processor ms a request")
    for setup in setups:
        ratio = statistics.median(rate / base for rate, base in zip(setup.rates, first.rates, strict=True))
        used = ", ".join(f"{name} {statistics.median(found):.2f}" for name, found in setup.milliseconds.items())
        table.add_row(setup.name, f"{statistics.median(setup.rates):.0f}", f"{ratio:.2f}", used)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    Console(width=120).print(f"{datetime.now(UTC):%Y-%m-%d} on {machine}: {LIST}", table, bound_of(first), sep="\n")


def bound_of(one: SetUp) -> str:
    """What more than one process can bring at most where all cores are shared."""
    used = {name: statistics.median(found) for name, found in one.milliseconds.items()}
    cores = os.cpu_count() or 1
    most = cores * used["gateway"] / sum(used.values())
    return f"A gateway that used all that {cores} cores leave it would answer {most:.2f} x as much as one process."


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", default="medium", choices=["small", "medium", "large"])
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--connections", type=int, default=16)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="mcg-bench-") as directory, ExitStack() as stack:
        environment = {**os.environ, "DATA_DIR": directory, "LOG_LEVEL": "ERROR"}
        subprocess.run([*GATEWAY, "seed", "--size", given.size], env=environment, check=True)
        gateways = {number: stack.enter_context(serving(number, environment)) for number in (1, 2)}
        token = json.loads((Path(directory) / "demo-tokens.json").read_text())[0]["token"]
        postmaster = int((Path(directory) / "postgres" / "postmaster.pid").read_text().split()[0])
        setups = [SetUp("1 process", FIRST_PORT + 1, 1), SetUp("2 processes", FIRST_PORT + 2, 2)]
        if hasattr(os, "sched_setaffinity"):
            setups.append(SetUp("1 process, all on one core", FIRST_PORT + 1, 1, [0]))
        for round_number in range(given.rounds + 1):
            for setup in setups:
                parties = {
                    "gateway": gateways[setup.processes],
                    "PostgreSQL": psutil.Process(postmaster),
                    "client": psutil.Process(),
                }
                setup.measure(parties, request_of(token), given.connections, given.seconds)
                if round_number == 0:
                    setup.rates.clear()
                    setup.milliseconds.clear()
        show(setups)


def request_of(token: str) -> bytes:
    body = json.dumps({"query": QUERIES[LIST]}).encode()
    head = (
        f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def serving(processes: int, environment: dict[str, str]) -> Iterator[psutil.Process]:
    port = FIRST_PORT + processes
    command = [*GATEWAY, "serve", "--demo", "--no-worker", "--workers", str(processes)]
    gateway = subprocess.Popen(command, env={**environment, "PORT": str(port)}, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", gateway)
        yield psutil.Process(gateway.pid)
    finally:
        gateway.terminate()
        gateway.wait(30)


if __name__ == "__main__":
    main()
