"""How many requests a second does a server answer, are its answers the same as the others', and who is busy with it?"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.peers.processes import Cores, Server
from benchmarks.peers.questions import Question, comparable, difference
from store.models import JsonValue

CONNECTIONS = 8
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {token}"
wrk.body = [==[{body}]==]
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{{"requests": %d, "microseconds": %d, "bad": %d, "slow": %d}}\\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Asker:
    """Who asks: with whose token, and for which campaign where it is one."""

    token: str
    campaign_id: str
    cores: Cores
    postmaster: psutil.Process
    folder: Path


@dataclass(frozen=True)
class Measured:
    """One run: requests a second, the milliseconds within which 99 of 100 were answered, and who was busy.

    `server` and `postgres`: how much of one core they had, from 0 to 1.
    """

    rate: float
    slow: float
    server: float
    postgres: float

    @property
    def efficiency(self) -> float:
        return self.rate / self.server


Found = dict[tuple[str, str], list[Measured]]


def ask(asker: Asker, server: Server, question: Question) -> JsonValue:
    """The data of one answer."""
    response = httpx.post(
        server.url(question.key),
        json=question.body(server.name, asker.campaign_id),
        headers={"Authorization": f"Bearer {asker.token}"},
        timeout=60,
    )
    found = response.json()
    if response.status_code != 200 or "errors" in found:
        raise SystemExit(f"{server.name}, {question.title}: {response.status_code} {response.text[:2000]}")
    data: JsonValue = found["data"]
    return data


def check(asker: Asker, servers: Sequence[Server], questions: Sequence[Question]) -> None:
    """Ends the program unless all servers give the same answers as the first."""
    for question in questions:
        expected = comparable(ask(asker, servers[0], question))
        for server in servers[1:]:
            differs = difference(expected, comparable(ask(asker, server, question)))
            if differs:
                raise SystemExit(f"{question.title}: {servers[0].name} and {server.name} differ at {differs}")


def busy(process: psutil.Process) -> float:
    """The seconds of processor that it and its children have had, those too that have ended."""
    own = process.cpu_times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for child in process.children():
        # PostgreSQL's helpers come and go.
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            seconds += times.user + times.system
    return float(seconds)


def run(asker: Asker, server: Server, question: Question, seconds: int) -> Measured:
    script = asker.folder / "ask.lua"
    body = json.dumps(question.body(server.name, asker.campaign_id))
    script.write_text(SCRIPT.format(token=asker.token, body=body))
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s"]
    command += ["--timeout", "30s", "--script", str(script), server.url(question.key)]
    served, stored, started = busy(server.process), busy(asker.postmaster), time.perf_counter()
    done = subprocess.run(
        ["taskset", "--cpu-list", str(asker.cores.others), *command],
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds + 90,
    )
    elapsed = time.perf_counter() - started
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["bad"] or not found["requests"]:
        raise SystemExit(f"{server.name}, {question.title}: {found['bad']} requests failed\n{done.stdout}")
    return Measured(
        found["requests"] / found["microseconds"] * 1e6,
        found["slow"] / 1000,
        (busy(server.process) - served) / elapsed,
        (busy(asker.postmaster) - stored) / elapsed,
    )


def measure(
    asker: Asker,
    servers: Mapping[str, Server],
    questions: Sequence[Question],
    *,
    rounds: int,
    seconds: int,
    progress: Callable[[str], None],
) -> Found:
    """Every server is asked every question in every round, one at a time; each round begins with another server."""
    ordered = list(servers.values())
    found: Found = {(question.key, server.name): [] for question in questions for server in ordered}
    check(asker, ordered, questions)
    # The first round fills caches and lets compilers work; it is not counted.
    for counted in range(rounds + 1):
        turn = ordered[counted % len(ordered) :] + ordered[: counted % len(ordered)]
        for question in questions:
            for server in turn:
                progress(f"round {counted} of {rounds}: {question.title}, {server.name}")
                measured = run(asker, server, question, seconds if counted else 1)
                if counted:
                    found[question.key, server.name].append(measured)
        check(asker, ordered, questions)
    return found
