"""Does `campaign-gateway worker` outlive what happens to machines: kills, shutdowns, restarts of the database?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from gateway.cli import main
from jobs.smtp import SmtpTransport
from jobs.smtp import mail_server as server_of
from jobs.test_mails import STOPPED
from jobs.worker import Pace
from store.database import owner_transaction
from store.migrate import migrate
from store.models import Company, User
from tests.build import Builder, TestCompany
from tests.conftest import World
from tests.mail_server import ACCEPTED, MailServer, mail_server
from tests.post import Post, at_work, post_of
from tests.restarts import RestartableServer

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent


@pytest.fixture
async def post(world: World) -> AsyncIterator[Post]:
    async with post_of(world.url, world.acme) as found:
        yield found


@asynccontextmanager
async def worker_process(url: str, server: MailServer, *arguments: str) -> AsyncIterator[Process]:
    """`campaign-gateway worker` in a process of its own; killed at the end if it still runs."""
    async with await anyio.open_process(
        [sys.executable, "-m", "gateway", "worker", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "SMTP_URL": server.url},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


async def log_of(process: Process, wanted: str) -> str:
    """What it writes, up to what is wanted."""
    assert process.stderr is not None
    written = b""
    with anyio.move_on_after(30):
        while wanted.encode() not in written:
            written += await process.stderr.receive()
    assert wanted.encode() in written, written.decode()
    return written.decode()


async def status_of(process: Process) -> int:
    """How it ended."""
    with anyio.fail_after(30):
        return await process.wait()


async def test_killed_and_stopped(world: World, post: Post) -> None:
    """What a killed and a stopped worker had is begun again within 15 s, and the stopped one changes nothing later.

    The server had both mails but had not said so: it is said that they may have gone out.
    """
    async with (
        mail_server(silent=True) as server,
        worker_process(world.url, server, "--concurrency", "1") as killed,
        worker_process(world.url, server, "--concurrency", "1") as stopped,
    ):
        for process in (killed, stopped):
            await log_of(process, "worker.listening")
        ids = [await post.ask(), await post.ask()]
        await server.until_received(2)
        killed.send_signal(signal.SIGKILL)
        stopped.send_signal(signal.SIGSTOP)
        async with at_work(world.url, SmtpTransport(server_of(server.url)), pace=Pace()):
            with anyio.fail_after(15):
                assert {await post.end_of(id) for id in ids} == {("FAILED", STOPPED.reply)}
        server.open_for_answers.set()
        stopped.send_signal(signal.SIGCONT)
        await log_of(stopped, "job.claim_lost")
        assert {await post.end_of(id) for id in ids} == {("FAILED", STOPPED.reply)}
    assert len(server.received) == 2
    assert await post.jobs() == 0


async def test_terminated(world: World, post: Post) -> None:
    """SIGTERM: the mail that is being sent is sent to its end, the next one waits for another worker, nothing stays."""
    async with mail_server(silent=True) as server:
        async with worker_process(world.url, server, "--concurrency", "1") as process:
            first, second = await post.ask(email="ada@example.com"), await post.ask(email="bob@example.com")
            await server.until_received(1)
            process.send_signal(signal.SIGTERM)
            log = await log_of(process, "worker.stopping")
            server.open_for_answers.set()
            log += await log_of(process, "worker.stopped")
            assert await status_of(process) == 143
        assert await post.end_of(first) == ("SENT", ACCEPTED)
        assert await post.value("SELECT attempt FROM jobs WHERE subject_id = :id", id=second) == 0
        assert "Traceback" not in log
        assert "job.done" in log
        assert "example.com" not in log
        async with at_work(world.url, SmtpTransport(server_of(server.url))):
            assert await post.end_of(second) == ("SENT", ACCEPTED)
    assert len(server.received) == 2


async def test_interrupted(world: World) -> None:
    """Ctrl-C is the usual way to end a worker by hand."""
    async with mail_server() as server, worker_process(world.url, server) as process:
        await log_of(process, "worker.started")
        process.send_signal(signal.SIGINT)
        assert await status_of(process) == 0


@pytest.fixture
async def restartable() -> AsyncIterator[RestartableServer]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-restart-") as directory:
        server = RestartableServer(Path(directory) / "postgres")
        yield server
        await server.stop()


async def test_database_restarted(restartable: RestartableServer) -> None:
    """A restart of the database harms neither an idle worker nor one whose mail is at the server: it is recorded."""
    url = await restartable.start()
    await migrate(url)
    async with owner_transaction(url) as connection:
        build = Builder(connection)
        company = TestCompany(await build.add(Company))
        company.admin = await build.add(User, company_id=company.id)
    async with (
        mail_server(silent=True) as server,
        worker_process(url, server) as process,
        post_of(url, company) as post,
    ):
        log = await log_of(process, "worker.listening")
        await restartable.stop()
        log += await log_of(process, "worker.connection_lost")
        await restartable.start()
        id = await post.ask()
        await server.until_received(1)
        await restartable.stop()
        server.open_for_answers.set()
        await restartable.start()
        assert await post.end_of(id) == ("SENT", ACCEPTED)
        process.send_signal(signal.SIGTERM)
        assert "Traceback" not in log + await log_of(process, "worker.stopped")
        assert await status_of(process) == 143
    assert len(server.received) == 1


@pytest.mark.usefixtures("template")  # the application's role is there, as it is once for all databases of a server
def test_database_that_is_not_migrated(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker on a database without tables says so and ends."""
    monkeypatch.setenv("DATABASE_URL", server)
    assert main(["worker"]) == 1
    assert "not migrated" in capsys.readouterr().err
