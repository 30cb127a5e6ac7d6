"""How are the servers started on one core, and PostgreSQL and the client on another, and all of them stopped?"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.peers.gateway_server import ENGINE, PARTS
from benchmarks.peers.questions import AHEAD, BY_HAND, GATEWAY, MERCURIUS, POSTGRAPHILE, TUNED, WITHOUT_ENGINE, YOGA

NODE_SERVERS = Path(__file__).parent / "servers"
START_SECONDS = 60
STOP_SECONDS = 15
WITHOUT = "without "


@dataclass(frozen=True)
class Cores:
    """Their numbers: the servers share one, of which only one is asked at a time; PostgreSQL and wrk have the other."""

    servers: int
    others: int


@dataclass(frozen=True)
class Server:
    """One that is ready to be asked."""

    name: str
    process: psutil.Process
    address: str

    def url(self, key: str) -> str:
        return f"{self.address}/{key if self.name == BY_HAND else 'graphql'}"


def two_cores() -> Cores:
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2:
        raise SystemExit("Two cores are needed: one for the servers, one for PostgreSQL and who asks.")
    return Cores(found[0], found[1])


def node() -> str:
    """The Node that npm installed beside the servers, else the machine's."""
    own = NODE_SERVERS / "node_modules" / ".bin" / "node"
    found = str(own) if own.exists() else shutil.which("node")
    if found is None or not (NODE_SERVERS / "node_modules" / "mercurius").exists():
        raise SystemExit("The servers are not installed: make bench-peers, or `npm ci` in benchmarks/peers/servers.")
    return found


def command_of(name: str, port: int) -> list[str]:
    gateway = [sys.executable, "-m", "benchmarks.peers.gateway_server", "--port", str(port)]
    if name == GATEWAY:
        return gateway
    if name == WITHOUT_ENGINE:
        return [*gateway, "--without", ENGINE]
    if name.startswith(WITHOUT):
        return [*gateway, "--without", name.removeprefix(WITHOUT)]
    if name == BY_HAND:
        return [sys.executable, "-m", "benchmarks.peers.by_hand", "--port", str(port)]
    files = {
        MERCURIUS: "mercurius.js",
        TUNED: "mercurius-tuned.js",
        AHEAD: "mercurius-ahead.js",
        POSTGRAPHILE: "postgraphile.js",
        YOGA: "yoga.js",
    }
    return [node(), str(NODE_SERVERS / files[name])]


PEERS = [GATEWAY, WITHOUT_ENGINE, MERCURIUS, TUNED, AHEAD, POSTGRAPHILE, YOGA, BY_HAND]
GATEWAYS = [GATEWAY, *(WITHOUT + part for part in PARTS)]


@contextmanager
def running(
    names: Sequence[str], cores: Cores, environment: Mapping[str, str], logs: Path
) -> Iterator[dict[str, Server]]:
    """The servers by their names; none is left when this ends, however it does."""
    with ExitStack() as stack:
        started = {name: stack.enter_context(process(name, cores, environment, logs)) for name in names}
        for server in started.values():
            wait_until_ready(server, logs)
        yield started


@contextmanager
def process(name: str, cores: Cores, environment: Mapping[str, str], logs: Path) -> Iterator[Server]:
    port = free_port()
    with log_of(name, logs).open("wb") as log:
        # NODE_ENV and GRAPHILE_ENV: what their makers say of measurements.
        started = subprocess.Popen(
            ["taskset", "--cpu-list", str(cores.servers), *command_of(name, port)],
            env={
                **os.environ,
                **environment,
                "PORT": str(port),
                "NODE_ENV": "production",
                "GRAPHILE_ENV": "production",
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Server(name, psutil.Process(started.pid), f"http://127.0.0.1:{port}")
    finally:
        started.terminate()
        try:
            started.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def log_of(name: str, logs: Path) -> Path:
    return logs / f"{name.replace(' ', '-').replace(',', '')}.log"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def wait_until_ready(server: Server, logs: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.process.is_running() and server.process.status() != psutil.STATUS_ZOMBIE:
        try:
            # Whatever it says, a token is missing.
            httpx.post(server.url("empty"), json={"query": "{ __typename }"}, timeout=START_SECONDS)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        else:
            return
    said = log_of(server.name, logs).read_text(errors="replace")[-2000:]
    raise SystemExit(f"{server.name} did not start:\n{said}")
