"""Which clips a folder holds: their files, and what would tell that one has changed."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcase2018.data.audio import EXTENSIONS
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError

NO_AUDIO = f"holds no audio: no file ends in {', '.join(sorted(EXTENSIONS))}"


@dataclass(frozen=True)
class AudioFile:
    """A clip's file, and what would tell that it has changed."""

    fname: str
    path: Path
    size: int
    mtime_ns: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.fname, self.size, self.mtime_ns


def list_clips(audio_dir: Path, names: Sequence[str] | None = None) -> list[AudioFile]:
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
        names = sorted(entry.name for entry in os.scandir(audio_dir) if is_audio(entry.name))
    if not names:
        deeper = any(entry.is_dir() for entry in os.scandir(audio_dir))
        mend = "; clips in its subfolders are named by --labels, and dcase2018 labels writes that file"
        raise InputError(f"{audio_dir} {NO_AUDIO}{mend * deeper}")
    root = Path(os.path.realpath(audio_dir))  # which bears links that loop
    outside = [name for name in names if not Path(os.path.realpath(root / name)).is_relative_to(root)]
    if outside:
        raise InputError(f"clip {outside[0]!r} leads out of {audio_dir}; clips must lie in the folder")
    missing = [name for name in names if not os.path.lexists(root / name)]
    if missing:
        raise InputError(f"{len(missing)} of {len(names)} clips are not in {audio_dir}: {missing[0]!r} ...")
    return [_source(name, root / name) for name in names]


def list_recordings(paths: Sequence[StrPath]) -> list[AudioFile]:
    """Find audio files, and those of folders at any depth, each once and in order of name.

    Their names are their paths below the folder that holds all that is given, so that no two are the same.

    Raises
    ------
    InputError
        If something is neither a file nor a folder, or no audio is among it.
    OSError
        If a folder cannot be read.
    """
    found: set[Path] = set()
    tops: set[Path] = set()
    for path in (Path(os.path.normpath(Path(path).absolute())) for path in paths):  # links stay what they are
        if not path.exists():
            raise InputError(f"{path} does not exist; name an audio file or a folder")
        tops.add(path if path.is_dir() else path.parent)
        found |= {path / name for name in audio_files(path, path)} if path.is_dir() else {path}
    if not found:
        named = ", ".join(str(path) for path in paths)
        raise InputError(f"{named} {NO_AUDIO}")
    root = os.path.commonpath(tops)
    named_files = sorted((path.relative_to(root).as_posix(), path) for path in found)
    return [_source(name, path) for name, path in named_files]


def audio_files(folder: Path, root: Path) -> Iterator[str]:
    """Walk the audio files below a folder, in order of name: their paths below `root`."""

    def fail(error: OSError) -> None:
        raise error

    found = []
    for place, subfolders, names in os.walk(folder, onerror=fail):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(place, name).relative_to(root).as_posix() for name in names if is_audio(name)]
    yield from sorted(found)


def is_audio(name: str) -> bool:
    """Whether a file of this name is audio, and not hidden."""
    return Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")


def _source(name: str, path: Path) -> AudioFile:
    if not path.is_file():
        return AudioFile(name, path, 0, 0)
    status = path.stat()
    return AudioFile(name, path, status.st_size, status.st_mtime_ns)
