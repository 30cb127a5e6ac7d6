"""How are secrets kept on disk? In files that no other user can read, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_private(path: Path, content: str) -> None:
    """Writes the file, or puts it in the place of what was there."""
    draft_of(path, content).replace(path)


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """The secret that the file holds; where there is no file, the one that `make` gives, which is kept.

    Of several processes that make it at the same time one wins, and all get its secret.
    """
    if not path.exists():
        draft = draft_of(path, make())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()


def draft_of(path: Path, content: str) -> Path:
    """A file of mode 0600 beside `path`, on the disk to its last byte."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)
