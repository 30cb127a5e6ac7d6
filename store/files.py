"""Where are the bytes of files?"""

from __future__ import annotations

from pathlib import Path, PurePosixPath


class LocalFiles:
    """Files under one folder of this machine, by the keys that their rows hold."""

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
