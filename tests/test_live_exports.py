"""Is an export seen through to its end, whichever gateway is asked and whichever worker writes it?"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.client import Gateway, running_gateway
from tests.conftest import World
from tests.exporting import Exports, exporting, exports_of
from tests.streaming import Events, event_stream, signed_in

pytestmark = pytest.mark.anyio

CONTACTS = 3_000
ASK = """
    mutation ($format: ExportFormat!) {
      exportContacts(scope: { all: true }, format: $format, columns: ["email", "last_name"]) {
        export { id status } userErrors { code }
      }
    }
"""
FIELDS = "id status rowsProcessed rowsTotal progress { sequence percent stalled } error { code }"
FOLLOW = f"""
    subscription ($id: ID!, $after: BigInt) {{
      exportProgress(id: $id, afterSequence: $after) {{ sequence isFinal export {{ {FIELDS} }} }}
    }}
"""
POLL = f"query ($id: ID!) {{ export(id: $id) {{ {FIELDS} }} }}"
BOARD = "subscription { exportsProgress(first: 20) { exports { id status } } }"
DOWNLOAD = "query ($id: ID!) { export(id: $id) { sha256 downloadUrl { url } } }"


@pytest.fixture
async def gateways(world: World, tmp_path: Path) -> AsyncIterator[list[Gateway]]:
    """Two gateways over one database and one folder of files, without workers of their own."""
    async with AsyncExitStack() as stack:
        files_url = f"file://{tmp_path}/files"
        opening = [running_gateway(world.url, files_url=files_url, log_level="WARNING") for _ in range(2)]
        yield [await stack.enter_async_context(each) for each in opening]


@pytest.fixture
async def exports(world: World, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exports_of(world.url, world.acme, tmp_path) as found:
        await found.add_contacts(CONTACTS)
        yield found


async def asked(gateway: Gateway, token: str, format: str = "CSV") -> str:
    answer = (await gateway.ask(ASK, token, {"format": format})).data["exportContacts"]
    assert answer["userErrors"] == []
    assert answer["export"]["status"] == "PENDING"
    return str(answer["export"]["id"])


async def progress_of(stream: Events) -> Any:
    """The next event; comments, which keep proxies awake, are passed over."""
    while (block := await stream.block()) is not None and block[0] == "":
        pass
    assert block is not None
    assert block[0] == "next", block
    return json.loads(block[1])["data"]["exportProgress"]


def check_order(events: list[Any]) -> None:
    """Sequences grow, rows never fall, and the last event alone is final."""
    sequences = [event["sequence"] for event in events]
    assert sequences == sorted(set(sequences))
    rows = [event["export"]["rowsProcessed"] for event in events]
    assert rows == sorted(rows)
    assert [event["isFinal"] for event in events] == [False] * (len(events) - 1) + [True]


async def test_seen_through_on_either(gateways: list[Gateway], exports: Exports, world: World) -> None:
    """With two gateways and two workers, every export comes to its end on a socket of one and a stream of the other."""
    token = world.acme.tokens["admin"]
    ended: dict[str, list[list[Any]]] = {}

    async def by_socket(id: str) -> None:
        async with signed_in(gateways[0], token) as socket:
            await socket.subscribe(FOLLOW, {"id": id})
            events = [(await socket.event())["exportProgress"]]
            while not events[-1]["isFinal"]:
                events.append((await socket.event())["exportProgress"])
            await socket.end_of()
        ended.setdefault(id, []).append(events)

    async def by_stream(id: str) -> None:
        async with event_stream(gateways[1], token, FOLLOW, {"id": id}) as stream:
            events = [await progress_of(stream)]
            while not events[-1]["isFinal"]:
                events.append(await progress_of(stream))
            assert await stream.block() == ("complete", "")
        ended.setdefault(id, []).append(events)

    ids = [await asked(gateways[turn % 2], token, format) for turn, format in enumerate(["CSV", "XLSX", "JSONL"] * 2)]
    async with (
        exporting(world.url, exports.folder, chunk=100),
        exporting(world.url, exports.folder, chunk=100),
        anyio.create_task_group() as tasks,
    ):
        for id in ids:
            tasks.start_soon(by_socket, id)
            tasks.start_soon(by_stream, id)
    assert ended.keys() == set(ids)
    for id, seen in ended.items():
        for events in seen:
            check_order(events)
            polled = (await gateways[1].ask(POLL, token, {"id": id})).data["export"]
            assert events[-1]["export"] == polled
            assert (polled["status"], polled["rowsProcessed"]) == ("COMPLETED", CONTACTS + 2)


async def test_coming_back(gateways: list[Gateway], exports: Exports, world: World) -> None:
    """A client that drops after every event, and comes back to the other gateway with the sequence, misses nothing."""
    token = world.acme.tokens["admin"]
    id = await asked(gateways[0], token)
    events: list[Any] = []
    async with exporting(world.url, exports.folder, chunk=50):
        while not events or not events[-1]["isFinal"]:
            after = events[-1]["sequence"] if events else None
            async with signed_in(gateways[len(events) % 2], token) as socket:
                await socket.subscribe(FOLLOW, {"id": id, "after": after})
                events.append((await socket.event())["exportProgress"])
        # The end is told again to whoever asks for it once more.
        async with signed_in(gateways[0], token) as socket:
            await socket.subscribe(FOLLOW, {"id": id, "after": events[-1]["sequence"]})
            assert (await socket.event())["exportProgress"] == events[-1]
            await socket.end_of()
    check_order(events)
    assert events[-1]["export"]["status"] == "COMPLETED"


async def test_board(gateways: list[Gateway], exports: Exports, world: World) -> None:
    """A board shows an export come and go through its states, and other companies' boards show nothing of it."""
    seen: list[str] = []
    async with (
        signed_in(gateways[1], world.acme.tokens["member"]) as socket,
        signed_in(gateways[1], world.globex.tokens["admin"]) as other,
        exporting(world.url, exports.folder, chunk=50),
    ):
        await socket.subscribe(BOARD)
        await other.subscribe(BOARD)
        first = (await other.event())["exportsProgress"]
        await socket.event()
        id = await asked(gateways[0], world.acme.tokens["member"])
        while "COMPLETED" not in seen:
            board = (await socket.event())["exportsProgress"]["exports"]
            seen += [export["status"] for export in board if export["id"] == id]
        await other.subscribe(BOARD, id="2")
        assert (await other.event("2"))["exportsProgress"] == first
    assert seen[-1] == "COMPLETED"
    assert set(seen) <= {"PENDING", "RUNNING", "COMPLETED"}


async def test_downloaded(gateways: list[Gateway], exports: Exports, world: World) -> None:
    """What was asked for of one gateway is downloaded from the other: the file that the export tells of."""
    token = world.acme.tokens["admin"]
    id = await asked(gateways[0], token)
    async with (
        exporting(world.url, exports.folder),
        event_stream(gateways[1], token, FOLLOW, {"id": id}) as stream,
    ):
        while not (await progress_of(stream))["isFinal"]:
            pass
    export = (await gateways[1].ask(DOWNLOAD, token, {"id": id})).data["export"]
    downloaded = await gateways[1].http.get(export["downloadUrl"]["url"])
    assert downloaded.status_code == 200
    assert hashlib.sha256(downloaded.content).hexdigest() == export["sha256"]
    rows = list(csv.reader(io.StringIO(downloaded.text)))
    assert len(rows) == CONTACTS + 3
    assert ["12@example.com", "'=Last 12"] in rows
