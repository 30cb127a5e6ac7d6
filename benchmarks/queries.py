"""How many requests a second does the gateway answer? The typical queries, interleaved, over medium demo data.

Run by hand (`make bench`): absolute figures belong to the machine that is printed with them; what carries over is how
the queries compare with each other and with the empty one.
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
from datetime import UTC, datetime
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

QUERIES = {
    "{__typename}": "{ __typename }",
    "one campaign, user, template": """
        query ($id: ID!) { campaign(id: $id) { name status user { firstName lastName } template { title } } }""",
    "50 campaigns, user, template": """
        { campaigns(first: 50) { nodes { name status user { firstName lastName } template { title } } } }""",
    "20 campaigns x 20 recipients, contact": """
        { campaigns(first: 20, filter: {statusIn: [COMPLETED]}) { nodes { name
            recipients(first: 20) { nodes { status contact { firstName lastName } } } } } }""",
    "100 campaigns x 10 fields": """
        { campaigns(first: 100) { nodes { id databaseId name description type status approved sendAt sentAt
            createdAt } } }""",
    "a Relay page with its total": """
        { campaigns(first: 20, orderBy: {field: NAME}) { totalCount edges { cursor node { name } }
            pageInfo { hasNextPage endCursor } } }""",
}


async def rate(client: httpx.AsyncClient, body: bytes, seconds: float, connections: int) -> float:
    """Requests a second, so many at a time."""
    answered = 0
    end = time.perf_counter() + seconds

    async def keep_asking() -> None:
        nonlocal answered
        while time.perf_counter() < end:
            response = await client.post("/graphql", content=body)
            assert response.status_code == 200, response.text
            assert b'"errors"' not in response.content, response.text
            answered += 1

    started = time.perf_counter()
    await asyncio.gather(*(keep_asking() for _ in range(connections)))
    return answered / (time.perf_counter() - started)


async def measure(address: str, token: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    """The rates of every query in every round; the rounds interleave, so that a slow moment hits all alike."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as client:
        first = await client.post("/graphql", json={"query": "{ campaigns(first: 1) { nodes { id } } }"})
        variables = {"id": first.json()["data"]["campaigns"]["nodes"][0]["id"]}
        bodies = {
            name: json.dumps({"query": query, "variables": variables if "$id" in query else None}).encode()
            for name, query in QUERIES.items()
        }
        rates: dict[str, list[float]] = {name: [] for name in bodies}
        for _ in range(rounds):
            for name, body in bodies.items():
                rates[name].append(await rate(client, body, seconds, connections=8))
    return rates


def show(rates: dict[str, list[float]]) -> None:
    table = Table("query", "requests/s (median)", "of {__typename}")
    empty = statistics.median(rates["{__typename}"])
    for name, found in rates.items():
        median = statistics.median(found)
        table.add_row(name, f"{median:.0f}", f"{median / empty:.2f}")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    Console().print(f"{datetime.now(UTC):%Y-%m-%d} on {machine}; client and server share the cores", table, sep="\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", default="medium", choices=["small", "medium", "large"])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=1.0)
    given = arguments.parse_args()
    gateway = [sys.executable, "-m", "gateway"]
    with tempfile.TemporaryDirectory(prefix="mcg-bench-") as directory:
        environment = {**os.environ, "DATA_DIR": directory, "PORT": "8799", "LOG_LEVEL": "ERROR"}
        subprocess.run([*gateway, "seed", "--size", given.size], env=environment, check=True)
        serving = subprocess.Popen([*gateway, "serve", "--demo"], env=environment, stderr=subprocess.DEVNULL)
        try:
            address = "http://127.0.0.1:8799"
            wait_until_ready(address, serving)
            token = json.loads((Path(directory) / "demo-tokens.json").read_text())[0]["token"]
            show(asyncio.run(measure(address, token, given.rounds, given.seconds)))
        finally:
            serving.terminate()
            serving.wait(30)


def wait_until_ready(address: str, serving: subprocess.Popen[bytes]) -> None:
    while serving.poll() is None:
        try:
            httpx.get(f"{address}/readyz", timeout=30).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("The gateway did not start; run `campaign-gateway serve --demo` to see why.")


if __name__ == "__main__":
    main()
