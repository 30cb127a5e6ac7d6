"""Do several processes serve one port as one gateway, and does none of them outlive it?"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import text

from gateway.processes import connections_of
from gateway.settings import Settings
from store.database import owner_transaction
from tests.conftest import World
from tests.post import until
from tests.streaming import PROGRESS, SECONDS, event_stream, progress, running_export, signed_in, state

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent
CAMPAIGNS = {"query": "{ campaigns { totalCount } }"}
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'campaigns'::regclass"


@dataclass
class Serving:
    """`campaign-gateway serve` in processes of its own; `said` is what it has written so far."""

    process: asyncio.subprocess.Process
    http: httpx.AsyncClient
    said: str = ""

    @property
    def children(self) -> list[int]:
        """Those that serve, or will."""
        found = psutil.Process(self.process.pid).children()
        return [child.pid for child in found if is_alive(child.pid) and "spawn_main" in " ".join(child.cmdline())]

    async def until_said(self, pattern: str) -> re.Match[str]:
        assert self.process.stderr is not None
        async with asyncio.timeout(60):
            while not (found := re.search(pattern, self.said)):
                line = await self.process.stderr.readline()
                assert line, self.said
                self.said += line.decode()
        return found

    async def both_started(self) -> list[int]:
        """The two processes, which do not serve yet."""
        pattern = r'"serve-{0}".*"process.started"'
        for number in (1, 2):
            await self.until_said(pattern.format(number))
        return self.children

    async def ended(self) -> int:
        """How it ended; no process of it is left that holds what it wrote to."""
        assert self.process.stderr is not None
        async with asyncio.timeout(SECONDS):
            self.said += (await self.process.stderr.read()).decode()
            return await self.process.wait()

    async def is_asked(self, token: str) -> httpx.Response:
        """Over a connection of its own, which any of the processes may accept."""
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=self.http.base_url, timeout=SECONDS) as http:
            return await http.post("/graphql", json=CAMPAIGNS, headers=headers)

    async def is_closed(self) -> bool:
        """Whether nobody listens any more."""
        try:
            _, writer = await asyncio.open_connection(self.http.base_url.host, self.http.base_url.port)
        except ConnectionError:
            return True
        writer.close()
        return False


@asynccontextmanager
async def starting(url: str, directory: Path, *arguments: str) -> AsyncIterator[Serving]:
    """It is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", *arguments),
        env={**os.environ, "DATABASE_URL": url, "DATA_DIR": str(directory), "PORT": "0"},
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    async with httpx.AsyncClient(timeout=SECONDS) as http:
        serving = Serving(process, http)
        try:
            yield serving
        finally:
            if process.returncode is None:
                process.kill()
                await serving.ended()


@asynccontextmanager
async def running(url: str, directory: Path, *arguments: str) -> AsyncIterator[Serving]:
    """Two processes that serve, unless the arguments say otherwise."""
    async with starting(url, directory, *(arguments or ("--workers", "2", "--no-worker"))) as serving:
        serving.http.base_url = httpx.URL((await serving.until_said(r"Serving on (\S+)"))[1])
        yield serving


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def held_up(pid: int) -> Iterator[None]:
    """The process does nothing while this lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def slow_answer(serving: Serving, url: str, token: str) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """A request that waits in the database until this ends."""
    async with owner_transaction(url) as connection:
        await connection.execute(text("LOCK TABLE campaigns"))
        asked = asyncio.create_task(serving.is_asked(token))

        async def waits() -> bool:
            return bool(await connection.scalar(text(WAITING)))

        await until(waits)
        yield asked


async def test_each_process_serves(world: World, tmp_path: Path) -> None:
    """Either process alone answers, and shows what changes to those who watch; the log says which of them writes."""
    token, id = world.acme.tokens["admin"], await running_export(world.url, world.acme)
    async with running(world.url, tmp_path) as serving, AsyncExitStack() as stack:
        first, second = serving.children
        streams = []
        for other in (first, second):
            with held_up(other):
                assert (await serving.is_asked(token)).json() == {"data": {"campaigns": {"totalCount": 5}}}
                streams.append(await stack.enter_async_context(event_stream(serving, token, PROGRESS, {"id": id})))
                assert await streams[-1].event() == state(0, 0)
        await progress(world.url, world.acme, id, rows_processed=7)
        assert [await stream.event() for stream in streams] == [state(1, 7)] * 2
        for name in ("serve-1", "serve-2"):
            await serving.until_said(rf'"signals.listening".*"process": "{name}"')


async def test_a_killed_process_is_replaced(world: World, tmp_path: Path) -> None:
    """When one is killed the other goes on, and another one takes its place."""
    token = world.acme.tokens["admin"]
    async with running(world.url, tmp_path) as serving:
        killed, other = serving.children
        os.kill(killed, signal.SIGKILL)
        line = await serving.until_said(r'\{.*"process.ended".*\}')
        assert json.loads(line[0]).items() >= {"name": "serve-1", "pid": killed, "status": -9, "served": True}.items()
        assert (await serving.is_asked(token)).status_code == 200
        with held_up(other):
            assert (await serving.is_asked(token)).status_code == 200
        assert set(serving.children) > {other}
        serving.process.terminate()
        assert await serving.ended() == 143
        assert serving.said.count("Serving on") == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0), (signal.SIGHUP, 143)])
async def test_stopping(world: World, tmp_path: Path, number: signal.Signals, status: int) -> None:
    """All processes take their leave of streams, end what they have begun to answer, and take on nothing more."""
    id, token = await running_export(world.url, world.acme), world.acme.tokens["admin"]
    async with running(world.url, tmp_path) as serving, AsyncExitStack() as stack:
        streams = []
        for other in serving.children:
            with held_up(other):
                streams.append(await stack.enter_async_context(event_stream(serving, token, PROGRESS, {"id": id})))
                assert await streams[-1].event() == state(0, 0)
        watching = await stack.enter_async_context(signed_in(serving, token))
        async with slow_answer(serving, world.url, token) as answer:
            serving.process.send_signal(number)
            assert [await stream.block() for stream in streams] == [("", "1000")] * 2
            assert await watching.closed() == 1012
            await until(serving.is_closed)
            assert not answer.done()
        assert (await answer).json() == {"data": {"campaigns": {"totalCount": 5}}}
        assert await serving.ended() == status
        assert "Traceback" not in serving.said
        assert "process.ended" not in serving.said


async def test_a_second_interrupt(world: World, tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for what is being answered."""
    async with running(world.url, tmp_path) as serving:
        async with slow_answer(serving, world.url, world.acme.tokens["admin"]) as answer:
            serving.process.send_signal(signal.SIGINT)
            await until(serving.is_closed)
            serving.process.send_signal(signal.SIGINT)
            assert await serving.ended() == 0
            assert "timeout graceful shutdown exceeded" not in serving.said
        assert (await answer).status_code == 500


async def test_a_killed_parent(world: World, tmp_path: Path) -> None:
    """After kill -9 of the parent the others end too, in order: what is being answered is answered."""
    async with running(world.url, tmp_path) as serving:
        children = serving.children
        async with slow_answer(serving, world.url, world.acme.tokens["admin"]) as answer:
            serving.process.kill()
            await until(serving.is_closed)
        assert (await answer).status_code == 200
        assert await serving.ended() == -9
        assert not any(map(is_alive, children))


async def test_what_only_one_process_does(world: World, tmp_path: Path) -> None:
    """One worker does the jobs, in the parent; it has stopped when the command ends."""
    async with running(world.url, tmp_path, "--workers", "2") as serving:
        await serving.until_said("worker.listening")
        serving.process.terminate()
        assert await serving.ended() == 143
    lines = [json.loads(line) for line in serving.said.splitlines() if line.startswith("{")]
    assert [line["process"] for line in lines if line["event"] == "worker.started"] == ["parent"]
    assert [line["process"] for line in lines if line["event"] == "worker.stopped"] == ["parent"]


async def test_when_it_is_ready(world: World, tmp_path: Path) -> None:
    """It is said that the gateway serves when the last process does."""
    async with starting(world.url, tmp_path, "--workers", "2", "--no-worker") as serving:
        _, second = await serving.both_started()
        with held_up(second):
            await serving.until_said(r'"process.serving"')
        await serving.until_said("Serving on")
    lines = serving.said.splitlines()
    (said,) = [number for number, line in enumerate(lines) if line.startswith("Serving on")]
    assert sum("process.serving" in line for line in lines[:said]) == 2


async def test_an_interrupt_while_it_starts(world: World, tmp_path: Path) -> None:
    """Ctrl-C in a terminal, which reaches every process that there is, ends them in order while they start, too."""
    async with starting(world.url, tmp_path, "--workers", "2", "--no-worker") as serving:
        children = await serving.both_started()

        async def are_at_work() -> bool:
            """So long that Python runs, and so short that they do not serve yet."""
            return all(psutil.Process(pid).cpu_times().user > 0.1 for pid in children)

        async def have_ended() -> bool:
            return not any(map(is_alive, children))

        await until(are_at_work)
        with held_up(serving.process.pid):
            os.killpg(serving.process.pid, signal.SIGINT)
            await until(have_ended)
        assert await serving.ended() == 0
        assert "Traceback" not in serving.said


async def test_a_process_that_cannot_start(world: World, tmp_path: Path) -> None:
    """If one of the first ends before it serves, the command says so and leaves nothing behind."""
    async with starting(world.url, tmp_path, "--workers", "2") as serving:
        children = await serving.both_started()
        os.kill(children[1], signal.SIGKILL)
        assert await serving.ended() == 1
        assert "A process has ended before it could serve" in serving.said
        assert "Serving on" not in serving.said
        assert "Traceback" not in serving.said
        assert not any(map(is_alive, children))


async def test_one_process(world: World, tmp_path: Path) -> None:
    """One process is enough unless more are asked for, and its log need not say which it is."""
    async with running(world.url, tmp_path, "--no-worker") as serving:
        await serving.until_said("signals.listening")
        assert serving.children == []
        assert '"process"' not in serving.said
        serving.process.terminate()
        assert await serving.ended() == 143


def test_an_embedded_database_has_room() -> None:
    """The embedded database grants as many connections as the processes and their worker may hold."""
    assert connections_of(Settings()) == 100
    many = Settings(server_processes=8, database_pool_size=20, worker_concurrency=10)
    assert connections_of(many) == 8 * 41 + 32 + 20
