"""Provenance of a run: command, library versions, source commit, and fingerprints of its inputs."""

import importlib.metadata
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

LIBRARIES = ("dcase2018", "keras", "tensorflow", "jax", "torch", "numpy", "h5py")

# Fingerprints in run.json, and the inputs of `fit` that they are of.
INPUTS = {
    "training_fingerprint": "LABELS",
    "validation_fingerprint": "--validation",
    "pretrained_fingerprint": "--pretrained",
}


@cache
def collect_provenance() -> dict[str, object]:
    """Collect command, versions and commit; the result is the same for all runs of a process."""
    return {
        "command": shlex.join(sys.argv),
        "versions": {"python": sys.version.split()[0]} | dict(_versions()),
        "source": _source_commit(),
    }


def _versions() -> list[tuple[str, str]]:
    versions = []
    for name in LIBRARIES:
        try:
            versions.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _source_commit() -> str:
    """Return the commit of this checkout, with `-dirty` after changes; "" for an installed package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def input_difference(name: str, fingerprint: str, existing: str) -> list[str]:
    """Describe how an input of `fit` differs from that of another run, by their fingerprints; [] if equal."""
    if fingerprint == existing:
        return []
    if name == "training_fingerprint":
        return ["other training clips, labels or frames in LABELS and STORE"]
    option = INPUTS[name]
    if not fingerprint:
        return [f"{option} is missing"]
    return [f"{option} has another content" if existing else f"{option} is new"]
