"""Where are graphql-core's own tests? In its source distribution, of which a copy is kept outside the repository."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

KEPT = Path.home() / ".cache" / "campaign-gateway"


class Unreachable(Exception):
    """The source distribution could not be downloaded; says why."""


def unpacked(version: str) -> Path:
    """The folder of graphql-core's sources of a version, downloaded from PyPI when it is first asked for."""
    folder = KEPT / f"graphql_core-{version}"
    if not folder.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        # Beside its place, into which it is moved when it is whole.
        with TemporaryDirectory(dir=KEPT) as beside:
            archive = downloaded(version, Path(beside))
            with tarfile.open(archive) as file:
                file.extractall(beside, filter="data")
            (Path(beside) / folder.name).rename(folder)
    return folder


def downloaded(version: str, folder: Path) -> Path:
    name = "graphql-core"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        name,
        "--dest",
        folder,
    ]
    done = subprocess.run([*command, f"{name}=={version}"], capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.tar.gz"))
    if done.returncode or not found:
        raise Unreachable(f"graphql-core's tests cannot be run, as pip cannot download its sources:\n{done.stderr}")
    return found[0]
