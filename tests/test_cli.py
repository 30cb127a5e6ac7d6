"""Do the commands do what a person at a terminal expects?"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psutil
import pytest

from gateway.cli import main
from schema.build import build_schema
from tests.conftest import World

ROOT = Path(__file__).parent.parent
READY_SECONDS = 60


@pytest.fixture
def directory() -> Iterator[Path]:
    """A data directory that the embedded server's user can reach, also when the tests run as root."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-cli-") as found:
        yield Path(found) / "data"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *arguments]


def environment(**variables: object) -> dict[str, str]:
    return {**os.environ, **{name: str(value) for name, value in variables.items()}}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def ask(port: int, token: str, query: str) -> object:
    request = Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    with urlopen(request, timeout=10) as response:
        return json.load(response)


@contextmanager
def serving(directory: Path, port: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`serve --demo` in a process group of its own, as a terminal gives it; interrupted at the end if it still runs."""
    process = subprocess.Popen(
        command(*(arguments or ("serve", "--demo"))),
        cwd=ROOT,
        env=environment(DATA_DIR=directory, PORT=port),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until_ready(process, port)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)


def wait_until_ready(process: subprocess.Popen[str], port: int) -> None:
    """Asks again and again, and looks in between whether the process has ended."""
    deadline = monotonic() + READY_SECONDS
    while monotonic() < deadline:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=READY_SECONDS):
                return
        except (URLError, ConnectionError):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                raise AssertionError(process.communicate()[1]) from None
    raise AssertionError("not ready in time")


def servers_of(directory: Path) -> list[psutil.Process]:
    """The PostgreSQL processes on this data directory."""
    processes = psutil.process_iter(["cmdline", "name"])
    return [
        process
        for process in processes
        if "postgres" in (process.info["name"] or "") and str(directory) in " ".join(process.info["cmdline"] or ())
    ]


def test_demo_from_first_start_to_second(directory: Path) -> None:
    """Every role in two companies is served; Ctrl-C stops it all; data and tokens stay, tokens for the demo alone."""
    port = free_port()
    with serving(directory, port) as first:
        tokens = json.loads((directory / "demo-tokens.json").read_text())
        assert (directory / "demo-tokens.json").stat().st_mode & 0o777 == 0o600
        assert (directory / "files").stat().st_mode & 0o777 == 0o700
        assert [set(token) for token in tokens] == [{"company", "role", "email", "token"}] * 6
        assert len({(token["company"], token["role"]) for token in tokens}) == 6
        for token in tokens:
            answer = ask(port, token["token"], "{ viewer { user { email role } company { name } } }")
            user = {"email": token["email"], "role": token["role"]}
            assert answer == {"data": {"viewer": {"user": user, "company": {"name": token["company"]}}}}
        before = ask(port, tokens[0]["token"], "{ campaigns { totalCount nodes { id } } }")
        os.killpg(first.pid, signal.SIGINT)
        said = first.communicate(timeout=30)[1]
    assert first.returncode == 0
    assert "Traceback" not in said
    assert all(token["token"] in said for token in tokens)
    assert f"http://127.0.0.1:{port}/#token=" in said
    assert servers_of(directory) == []
    with serving(directory, port) as second:
        assert json.loads((directory / "demo-tokens.json").read_text()) == tokens
        assert ask(port, tokens[0]["token"], "{ campaigns { totalCount nodes { id } } }") == before
        second.terminate()
        second.communicate(timeout=30)
    assert second.returncode == 143
    assert servers_of(directory) == []
    with serving(directory, port, "serve"), pytest.raises(HTTPError, match="401"):
        ask(port, tokens[0]["token"], "{ __typename }")


def test_demo_after_a_kill(directory: Path) -> None:
    """After kill -9 of the gateway the next start finds its data, and stops PostgreSQL when it ends."""
    port = free_port()
    with serving(directory, port) as killed:
        token = json.loads((directory / "demo-tokens.json").read_text())[0]["token"]
        killed.kill()
    assert servers_of(directory) != []
    with serving(directory, port) as next_one:
        assert "errors" not in str(ask(port, token, "{ campaigns { totalCount } }"))
        os.killpg(next_one.pid, signal.SIGINT)
        next_one.communicate(timeout=30)
    assert servers_of(directory) == []


def test_demo_by_several_processes(directory: Path) -> None:
    """The demo may be served by several processes; Ctrl-C stops them, PostgreSQL and all, without a complaint."""
    port = free_port()
    with serving(directory, port, "serve", "--demo", "--workers", "2") as gateway:
        children = psutil.Process(gateway.pid).children(recursive=True)
        assert sum("spawn_main" in " ".join(child.cmdline()) for child in children) == 2
        token = json.loads((directory / "demo-tokens.json").read_text())[0]["token"]
        assert "errors" not in str(ask(port, token, "{ campaigns { totalCount } }"))
        os.killpg(gateway.pid, signal.SIGINT)
        said = gateway.communicate(timeout=30)[1]
    assert gateway.returncode == 0
    assert "Traceback" not in said
    assert said.count("Serving on") == 1
    assert servers_of(directory) == []
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def run(*arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_demo_is_for_loopback_only(directory: Path) -> None:
    """Demo tokens are not made where others could reach the gateway, and nothing is started."""
    refused = run("serve", "--demo", DATA_DIR=directory, HOST="0.0.0.0")
    assert (refused.returncode, "loopback" in refused.stderr) == (1, True)
    assert not directory.exists()


def test_demo_is_for_its_own_database_only(world: World, directory: Path) -> None:
    """Demo tokens are not made for the users of a database that somebody named."""
    refused = run("serve", "--demo", DATA_DIR=directory, DATABASE_URL=world.url)
    assert (refused.returncode, "DATABASE_URL" in refused.stderr) == (1, True)
    assert not directory.exists()


def test_a_taken_port_is_said(world: World) -> None:
    """A port that another program holds is named, without a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = run("serve", DATABASE_URL=world.url, PORT=taken.getsockname()[1])
    assert refused.returncode == 1
    assert "Cannot listen on 127.0.0.1:" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`schema` prints the definition language and needs neither database nor settings."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == build_schema().as_str() + "\n"


def test_token_is_made_for_a_user(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`token` prints a token once, and refuses a user that does not exist and a scope that means nothing."""
    monkeypatch.setenv("DATABASE_URL", world.url)
    assert main(["token", "--user", str(world.acme.member), "--scopes", "read,export"]) == 0
    assert capsys.readouterr().out.startswith("mcg_")
    assert main(["token", "--user", "99999"]) == 1
    assert "There is no user 99999." in capsys.readouterr().err
    assert main(["token", "--user", str(world.acme.member), "--scopes", "everything"]) == 1
    assert "--scopes takes some of" in capsys.readouterr().err


def test_doctor(world: World, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`doctor` finds a migrated database in order, and says what an empty one lacks."""
    monkeypatch.setenv("DATABASE_URL", world.url)
    assert main(["doctor"]) == 0
    assert "problem" not in capsys.readouterr().out
    monkeypatch.setenv("DATABASE_URL", server)
    assert main(["doctor"]) == 1
    assert "problem  schema at revision" in capsys.readouterr().out


def test_migrate_and_seed(
    empty_database: str, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`migrate` may be repeated; `seed` fills an empty database and refuses a filled one."""
    monkeypatch.setenv("DATABASE_URL", empty_database)
    monkeypatch.setenv("DATA_DIR", str(directory))
    assert main(["migrate"]) == 0
    assert main(["seed", "--size", "small"]) == 0
    assert any(path.is_file() for path in (directory / "files").rglob("*"))
    assert main(["seed"]) == 1
    assert capsys.readouterr().err


def test_output_that_nobody_reads_to_its_end() -> None:
    """`campaign-gateway schema | head` ends quietly."""
    with subprocess.Popen(command("schema"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize("name", ["doctor", "migrate"])
def test_a_database_that_is_not_there_is_said(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that cannot be reached is said in a sentence, without a traceback and without its URL."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:hunter2@127.0.0.1:{free_port()}/campaigns")
    assert main([name]) == 1
    said = capsys.readouterr().err
    assert "The database cannot be reached" in said
    assert "Traceback" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--user", "0"],
        ["--user", "99999999999"],
        ["--user", "1", "--days", "-5"],
        ["--user", "1", "--days", "999999999"],
        ["--user", "1", "--name", "x" * 256],
    ],
)
def test_absurd_tokens_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A token for nobody, of the past or for ever, or with a novel for a name, is refused before anything is done."""
    with pytest.raises(SystemExit, match="2"):
        main(["token", *arguments])
    assert "usage:" in capsys.readouterr().err
