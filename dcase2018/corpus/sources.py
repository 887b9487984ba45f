"""Which clips a folder holds: their files, and what would tell that one has changed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dcase2018.corpus.audio import EXTENSIONS
from dcase2018.foundation import InputError


@dataclass(frozen=True)
class Source:
    """A clip's file, and what would tell that it has changed."""

    fname: str
    path: Path
    size: int
    mtime_ns: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.fname, self.size, self.mtime_ns


def find_sources(audio_dir: Path, names: Sequence[str] | None = None) -> list[Source]:
    """Find the files of the clips, in order.

    Raises
    ------
    InputError
        If there are none, or a name is not in the folder or leads out of it. What has a clip's name and is
        no file (a folder, a pipe, a link to nothing) is among them: it cannot be read.
    """
    if not audio_dir.is_dir():
        raise InputError(f"{audio_dir} is no folder")
    if names is None:
        names = sorted(
            entry.name
            for entry in os.scandir(audio_dir)
            if Path(entry.name).suffix.lower() in EXTENSIONS and not entry.name.startswith(".")
        )
    if not names:
        deeper = any(entry.is_dir() for entry in os.scandir(audio_dir))
        mend = "; clips in its subfolders are named by --labels, and dcase2018 labels writes that file"
        raise InputError(
            f"{audio_dir} holds no audio: no file ends in {', '.join(sorted(EXTENSIONS))}{mend * deeper}"
        )
    root = Path(os.path.realpath(audio_dir))  # which bears links that loop
    outside = [name for name in names if not Path(os.path.realpath(root / name)).is_relative_to(root)]
    if outside:
        raise InputError(f"clip {outside[0]!r} leads out of {audio_dir}; clips must lie in the folder")
    missing = [name for name in names if not os.path.lexists(root / name)]
    if missing:
        raise InputError(f"{len(missing)} of {len(names)} clips are not in {audio_dir}: {missing[0]!r} ...")
    return [_source(name, root / name) for name in names]


def _source(name: str, path: Path) -> Source:
    if not path.is_file():
        return Source(name, path, 0, 0)
    status = path.stat()
    return Source(name, path, status.st_size, status.st_mtime_ns)
