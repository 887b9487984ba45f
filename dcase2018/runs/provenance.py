"""Where a run comes from: the command, the versions at work, and the state of the source code."""

import importlib.metadata
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

LIBRARIES = ("dcase2018", "keras", "tensorflow", "jax", "torch", "numpy", "h5py")


@cache
def collect_provenance() -> dict[str, object]:
    """Tell it, as a run keeps it; the same for all runs of a process."""
    return {
        "command": shlex.join(sys.argv),
        "versions": {"python": sys.version.split()[0]} | dict(_versions()),
        "source": _source(),
    }


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in LIBRARIES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _source() -> str:
    """Commit that this package is checked out at, with `-dirty` if it was changed; "" if it is installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
