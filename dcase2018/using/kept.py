"""What was heard, kept in a hidden folder beside the output until that is written.

A work that was killed goes on from there. A result is known by the file that was heard (its path, size and
time) and by all that decides what is said of it; what an interrupted write left, or other settings, is of no
use and goes.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from dcase2018.corpus import Source
from dcase2018.foundation import kept_on_the_way, published
from dcase2018.using.listening import Listener
from dcase2018.using.timeline import OverTime, Timeline

Result = np.ndarray | Timeline  # scores of a clip, or over time


class Kept:
    """Results in a folder; `settings` are what decides them beside the files."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder, self.settings = folder, settings

    def path(self, source: Source) -> Path:
        """The file of a recording's result."""
        key = json.dumps([self.settings, str(source.path), source.size, source.mtime_ns])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"

    def has(self, source: Source) -> bool:
        """Whether the result of a recording is there and whole."""
        try:
            self.load(source)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False
        return True

    def load(self, source: Source) -> Result:
        """Read the result of a recording that is there."""
        with np.load(self.path(source), allow_pickle=False) as file:
            return _unpacked(dict(file))

    def save(self, source: Source, result: Result) -> None:
        """Keep a result, whole or not at all."""
        with published(self.path(source), durable=False) as partial, partial.open("wb") as file:
            np.savez(file, **_packed(result))

    def clear(self, sources: Sequence[Source]) -> None:
        """Remove all but the results of some recordings."""
        expected = {self.path(source) for source in sources}
        for path in self.folder.iterdir():
            if path not in expected:
                path.unlink()


def _packed(result: Result) -> dict[str, Any]:
    if isinstance(result, np.ndarray):
        return {"clip": result}
    return {field.name: np.asarray(getattr(result, field.name)) for field in fields(Timeline)}


def _unpacked(values: dict[str, Any]) -> Result:
    if "clip" in values:
        return np.asarray(values["clip"])
    plain: dict[str, Any] = {name: value if value.ndim else float(value) for name, value in values.items()}
    return Timeline(**plain)


@contextmanager
def kept_beside(output: Path, sources: Sequence[Source], settings: str) -> Iterator[Kept]:
    """Hold the folder of what is kept for an output; it goes when the output is written.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    Dcase2018Error
        If another process is making this output.
    """
    with kept_on_the_way(output, "heard") as folder:
        kept = Kept(folder, settings)
        kept.clear(sources)
        yield kept


def settings_of(listener: Listener, over_time: OverTime | None) -> str:
    """Digest of all that decides what is said of a recording beside the recording."""
    digest = hashlib.sha256()
    for run in listener.runs:
        digest.update(run.model_file(listener.which).read_bytes())
        values = [asdict(run.hparams), asdict(run.recipe), list(run.classes), list(run.class_clips)]
        digest.update(json.dumps(values).encode())
    digest.update(json.dumps(over_time and asdict(over_time)).encode())
    return digest.hexdigest()
