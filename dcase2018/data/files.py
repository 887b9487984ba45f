"""List audio files, with the size and modification time that show whether a file changed."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError

log = logging.getLogger(__name__)

# Formats that libsndfile or FFmpeg decodes, also those of video with sound.
EXTENSIONS = frozenset({
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".avr", ".bwf",
    ".caf", ".dsf", ".dts", ".eac3", ".flac", ".flv", ".gsm", ".iff", ".m4a", ".m4b", ".m4v", ".mka",
    ".mkv", ".mov", ".mp1", ".mp2", ".mp3", ".mp4", ".mpc", ".mpeg", ".mpg", ".nist", ".oga", ".ogg",
    ".ogv", ".oma", ".opus", ".paf", ".pvf", ".qcp", ".ra", ".rf64", ".rifx", ".rm", ".sf", ".shn",
    ".snd", ".sph", ".spx", ".svx", ".tak", ".tta", ".voc", ".w64", ".wav", ".wave", ".wavex", ".weba",
    ".webm", ".wma", ".wmv", ".wv",
})  # fmt: skip

MSG_NO_AUDIO = "has no audio files, such as .wav, .flac, .mp3, .ogg or .m4a"

MAX_KINDS = 8  # of left out files that a log line names


@dataclass(frozen=True)
class AudioFile:
    """An audio file, with its size in bytes and its modification time in ns."""

    fname: str
    path: Path
    size: int
    mtime_ns: int

    @property
    def key(self) -> tuple[str, int, int]:
        """Name, size and modification time: equal if the file did not change."""
        return self.fname, self.size, self.mtime_ns


def list_clips(audio_dir: Path, names: Sequence[str] | None = None) -> list[AudioFile]:
    """List the audio files of a dataset folder.

    Parameters
    ----------
    audio_dir
        Folder of the clips.
    names
        Paths below `audio_dir`. None lists the audio files directly in the folder, sorted by name.

    Returns
    -------
    list of AudioFile
        In the order of `names`. An entry that is not a regular file has size and time 0; reading it fails.

    Raises
    ------
    InputError
        If there are no clips, or a clip is missing or outside the folder.
    """
    if not audio_dir.is_dir():
        raise InputError(f"{audio_dir} is not a folder")
    if names is None:
        entries = list(os.scandir(audio_dir))
        names = sorted(entry.name for entry in entries if is_audio(entry.name))
        log_left_out(entry.name for entry in entries if not is_audio(entry.name) and entry.is_file())
    if not names:
        has_subfolders = any(entry.is_dir() for entry in os.scandir(audio_dir))
        hint = "; to include subfolders, list the clips with dcase2018 make-labels and pass --labels"
        raise InputError(f"{audio_dir} {MSG_NO_AUDIO}{hint * has_subfolders}")
    root = Path(os.path.realpath(audio_dir))  # unlike Path.resolve, accepts links that loop
    outside = [name for name in names if not Path(os.path.realpath(root / name)).is_relative_to(root)]
    if outside:
        raise InputError(f"clip {outside[0]!r} is outside {audio_dir}; move it into the folder")
    missing = [name for name in names if not os.path.lexists(root / name)]
    if missing:
        raise InputError(f"{len(missing)} of {len(names)} clips are not in {audio_dir}: {missing[0]!r} ...")
    return [_audio_file(name, root / name) for name in names]


def list_recordings(paths: Sequence[StrPath]) -> list[AudioFile]:
    """List audio files and the audio files in folders at any depth.

    Parameters
    ----------
    paths
        Audio files and folders.

    Returns
    -------
    list of AudioFile
        Without duplicates, sorted by name. Names are relative to the common parent folder of all `paths`, so
        that they are unique.

    Raises
    ------
    InputError
        If a path does not exist, or there are no audio files.
    OSError
        If a folder cannot be read.
    """
    files: set[Path] = set()
    roots: set[Path] = set()
    left_out: list[str] = []
    for path in (Path(os.path.normpath(Path(path).absolute())) for path in paths):  # keeps symbolic links
        if not path.exists():
            raise InputError(f"{path} does not exist; give an audio file or a folder")
        roots.add(path if path.is_dir() else path.parent)
        names = walk_audio_files(path, path, left_out) if path.is_dir() else [""]
        files |= {path / name for name in names}
    log_left_out(left_out)
    if not files:
        raise InputError(f"{', '.join(str(path) for path in paths)} {MSG_NO_AUDIO}")
    root = os.path.commonpath(roots)
    named_files = sorted((path.relative_to(root).as_posix(), path) for path in files)
    return [_audio_file(name, path) for name, path in named_files]


def walk_audio_files(folder: Path, root: Path, left_out: list[str]) -> Iterator[str]:
    """Yield the paths, relative to `root`, of the audio files below a folder, sorted.

    The names of all other files are added to `left_out`; see `log_left_out`.
    """

    def on_error(error: OSError) -> None:
        raise error

    names = []
    for parent, subfolders, filenames in os.walk(folder, onerror=on_error):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        names += [Path(parent, name).relative_to(root).as_posix() for name in filenames if is_audio(name)]
        left_out += [name for name in filenames if not is_audio(name)]
    yield from sorted(names)


def is_audio(name: str) -> bool:
    """Return whether a file name has an audio extension and is not hidden."""
    return Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")


def log_left_out(names: Iterable[str]) -> None:
    """Log how many files of a folder are not used because of their names, by suffix."""
    counts = Counter(map(_kind_of_name, names))
    if counts:
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common(MAX_KINDS))
        more = f" and {len(counts) - MAX_KINDS} other kinds" if len(counts) > MAX_KINDS else ""
        log.info("left out %d files: %s%s", counts.total(), kinds, more)


def _kind_of_name(name: str) -> str:
    suffix = Path(name).suffix.lower()
    if name.startswith("."):
        return f"hidden {suffix}" if suffix else name
    return suffix or "without suffix"


def _audio_file(name: str, path: Path) -> AudioFile:
    if not path.is_file():
        return AudioFile(name, path, 0, 0)
    status = path.stat()
    return AudioFile(name, path, status.st_size, status.st_mtime_ns)
