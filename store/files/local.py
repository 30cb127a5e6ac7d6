"""How are files kept under one folder of this machine, whole and durable?"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from store.files.contract import Piece, Stored, checked_folder, checked_key
from store.files.reading import Reading, outcome

CHUNK_BYTES = 4 * 2**20
# How a file is called until it is whole; no key has a step that begins with a dot.
PART = re.compile(r"\.(.+)\.[0-9a-f]{16}\.part")
ATTEMPTS = 20


class LocalFiles:
    """Files under one folder, by the keys that their rows hold; the folder is made when it is needed."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def path_of(self, key: str) -> Path | None:
        """The regular file that the key names; None where there is none, or where the key leads out of the folder.

        Reads the disk, so it belongs into a thread.
        """
        steps = PurePosixPath(key)
        # A null byte ends a path for the operating system, and Python raises ValueError for it.
        if steps.is_absolute() or ".." in steps.parts or "\0" in key:
            return None
        path = (self._root / steps).resolve()
        return path if path.is_relative_to(self._root) and path.is_file() else None

    async def put(self, key: str, pieces: Sequence[Piece], *, name: str, content_type: str) -> Stored:
        """As `Files.put`: under another name until it is whole and on the disk."""
        reading = Reading(pieces)
        work = asyncio.ensure_future(asyncio.to_thread(self._put, checked_key(key), reading))
        return await outcome(work, reading)

    async def delete(self, key: str) -> None:
        """As `Files.delete`; folders that become empty go, too."""
        await asyncio.to_thread(self._delete, checked_key(key))

    async def keys(self, prefix: str) -> list[str]:
        """As `Files.keys`; the key of a put that was cut off is among them."""
        return await asyncio.to_thread(self._keys, checked_folder(prefix))

    def _put(self, key: str, reading: Reading) -> Stored:
        path = self._inside(key)
        with self._new_name(path) as part:
            stored = self._filled(part, reading)
            synced(part)
        # The file's name is in its folder, whose own is in the one above.
        for folder in self._folders_from(path.parent):
            synced(folder)
        return stored

    def _filled(self, part: Path, reading: Reading) -> Stored:
        whole = reading.whole_file()
        if whole is not None and linked(whole, part):
            if (known := reading.known()) is not None:
                return known
            for _ in reading.chunks(CHUNK_BYTES):
                pass
            return reading.stored()
        with self._opened(part) as file:
            for chunk in reading.chunks(CHUNK_BYTES):
                file.write(chunk)
        return reading.stored()

    @contextmanager
    def _new_name(self, path: Path) -> Iterator[Path]:
        """What the file is called until it gets its name at the end, if all went well; it is gone otherwise."""
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        try:
            yield part
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            self._remove_empty(path.parent)
            raise

    def _opened(self, part: Path) -> BinaryIO:
        for _ in range(ATTEMPTS):
            # Whoever deletes the last file of the folder may take it away in between.
            with suppress(FileNotFoundError):
                part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                # Files hold people's data: only their owner reads them.
                return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600), "wb")
        raise FileNotFoundError(errno.ENOENT, "the folder is taken away again and again", str(part.parent))

    def _delete(self, key: str) -> None:
        path = self._inside(key)
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        for left in names_in(path.parent):
            found = PART.fullmatch(left)
            if found and found[1] == path.name:
                path.with_name(left).unlink(missing_ok=True)
        self._remove_empty(path.parent)

    def _keys(self, folder: str) -> list[str]:
        found: set[str] = set()
        top = self._inside(folder)
        for here, _, names in [] if top.is_symlink() else os.walk(top):
            for name in names:
                path = Path(here, name)
                part = PART.fullmatch(name)
                if not path.is_symlink() and path.is_file():
                    found.add(path.with_name(part[1] if part else name).relative_to(self._root).as_posix())
        return sorted(found)

    def _inside(self, key: str) -> Path:
        """The place of a checked key; raises ValueError where links on the disk lead it out of the folder."""
        path = self._root / key
        if not path.parent.resolve().is_relative_to(self._root) and path != self._root:
            raise ValueError(f"leads out of the folder of files: {key!r}")
        return path

    def _folders_from(self, folder: Path) -> list[Path]:
        return [above for above in (folder, *folder.parents) if above.is_relative_to(self._root)]

    def _remove_empty(self, folder: Path) -> None:
        """The folder and those above it below the root, as far as nothing is in them."""
        for empty in self._folders_from(folder)[:-1]:
            try:
                empty.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return


def names_in(folder: Path) -> list[str]:
    """What the folder holds; nothing, where it is gone: whoever deletes its last file takes it away."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def linked(whole: Path, part: Path) -> bool:
    """Whether the file could be given this name as well, which costs nothing; not from another disk."""
    try:
        part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.link(whole, part, follow_symlinks=False)
        part.chmod(0o600)
    except OSError:
        return False
    return True


def synced(path: Path) -> None:
    """Returns when what is in the file, or the names in the folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
