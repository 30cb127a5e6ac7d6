"""As which user of the system does the embedded PostgreSQL run, when the gateway runs as root?"""

import os
import pwd
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SYSTEM_ACCOUNT = "pgserver"


class SystemAccountError(Exception):
    """There is no such user and none can be made; the message says what a person can do."""


def account_for(directory: Path, programs: Path, log: Callable[[str], None]) -> pwd.struct_passwd | None:
    """The system user to run PostgreSQL as, None for our own.

    PostgreSQL refuses root. For root it is the owner of existing data, or else `pgserver`, made if missing;
    folders on the way to the data and the programs that let no strangers through are opened for passing
    (o+x), and the log names them.
    """
    if os.geteuid() != 0:
        return None
    try:
        new = not (directory / "PG_VERSION").exists()
        account = system_account() if new else pwd.getpwuid(directory.stat().st_uid)
    except KeyError as error:
        raise SystemAccountError(f"the owner of {directory} is no user of this system: {error}") from None
    opened = []
    for folder in (*directory.parents, programs, *programs.parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            opened.append(str(folder))
    passing = f"; every user may now pass through {', '.join(opened)} (o+x)" if opened else ""
    log(f"running as root, which PostgreSQL refuses: it runs as the system user {account.pw_name}{passing}")
    return account


def system_account() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_ACCOUNT)
    command = ("useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_ACCOUNT)
    with suppress(FileNotFoundError):
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603  # nothing of it is input
    try:
        # Looked up whatever useradd said: another process may have made the user at the same moment.
        return pwd.getpwnam(SYSTEM_ACCOUNT)
    except KeyError:
        raise SystemAccountError(
            f"PostgreSQL does not run as root and the system user {SYSTEM_ACCOUNT} cannot be made "
            f"({' '.join(command)}): make it, or run as an ordinary user, or set DATABASE_URL"
        ) from None
