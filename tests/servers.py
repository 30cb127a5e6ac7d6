"""Which PostgreSQL servers do the tests run on? Beside the embedded one, the newest the system has."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote

_OLDEST_VERSION = 15
_PORT = 5432  # names the socket; no TCP port is opened
_SETTINGS = """
listen_addresses = ''
port = {port}
unix_socket_directories = '{directory}'
max_connections = 100
timezone = 'UTC'
fsync = off
synchronous_commit = off
full_page_writes = off
"""


@contextmanager
def system_server(directory: Path) -> Iterator[str]:
    """Run a PostgreSQL of the system in `directory` and yield the URL of its database `postgres`.

    `directory` is new or empty and is removed at the end, also after a failure. The server has no TCP port
    and no durability; it sorts by code point, like the embedded one. For root it runs as the system user
    `postgres`, who must be able to pass through the folders above `directory`.
    Errors: RuntimeError with the output of the program that failed, or if there is no server to run.
    """
    programs = _programs()
    if programs is None:
        raise RuntimeError(f"no PostgreSQL {_OLDEST_VERSION} or newer on this system that this user can run")
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise RuntimeError(f"{directory} is not empty")
    data = directory / "data"
    try:
        account = _account()
        if account:
            os.chown(directory, account.pw_uid, account.pw_gid)
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        _run(programs / "initdb", "-D", data, *options)
        settings = _SETTINGS.format(port=_PORT, directory=directory)
        with (data / "postgresql.conf").open("a") as file:
            file.write(settings)
        try:
            _start(programs, data, directory / "log")
            yield f"postgresql+asyncpg://postgres@/postgres?host={quote(str(directory))}&port={_PORT}"
        finally:
            if (data / "postmaster.pid").exists():
                _run(programs / "pg_ctl", "stop", "-D", data, "-m", "immediate", "-w")
    finally:
        shutil.rmtree(directory)


def _start(programs: Path, data: Path, log: Path) -> None:
    try:
        _run(programs / "pg_ctl", "start", "-D", data, "-l", log, "-w", "-t", "60")
    except RuntimeError as error:
        # The file is about to be removed with its directory.
        error.add_note(log.read_text() if log.exists() else "the server wrote no log")
        raise


def system_server_available() -> bool:
    """Whether `system_server` can run here."""
    return _programs() is not None


@cache
def _programs() -> Path | None:
    """The folder of the newest server's programs: of Debian's packages, else of the pg_ctl on PATH."""
    if os.geteuid() == 0 and _account() is None:
        return None
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("pg_ctl")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    versions = {folder: _version(folder) for folder in folders if (folder / "initdb").exists()}
    newest = max(versions, key=versions.__getitem__, default=None)
    return newest if newest and versions[newest] >= _OLDEST_VERSION else None


def _version(programs: Path) -> int:
    said = _run(programs / "pg_ctl", "--version")
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0


def _account() -> pwd.struct_passwd | None:
    """The user to run as instead of root: `postgres`, or None if there is none or we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _run(program: Path, *arguments: str | Path) -> str:
    account = _account()
    done = subprocess.run(  # a program of PostgreSQL, without a shell
        [str(program), *map(str, arguments)],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C"},
        start_new_session=True,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=() if account else None,
        timeout=90,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{program} failed: {done.stdout.strip()}")
    return done.stdout
