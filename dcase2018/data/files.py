"""List audio files, with the size and modification time that show whether a file changed.

Clips are named by the normal form of their path below the dataset folder, whatever the form of the path.
Symbolic links are followed, also out of the folder, as git-annex and DVC make them.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcase2018.data.audio_errors import UNREADABLE, AudioReadError
from dcase2018.data.clip_names import (
    describe_missing,
    leaves_folder,
    nearest_fnames,
    normalize_fname,
)
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

    def check_exists(self) -> None:
        """Raise an `AudioReadError` with the reason if the path is no entry of its folder, or a broken link.

        Other entries that are not regular files are left to the reader.
        """
        if not self.path.exists():
            raise AudioReadError(f"{UNREADABLE}: {describe_missing_file(self.path)}")


def list_clips(
    audio_dir: Path, names: Sequence[str] | None = None, allow_missing: bool = False
) -> list[AudioFile]:
    """List the audio files of a dataset folder.

    Parameters
    ----------
    audio_dir
        Folder of the clips.
    names
        Paths below `audio_dir`, in any form (see `normalize_fname`). None lists the audio files directly in
        the folder, sorted by name.
    allow_missing
        List names without a file too.

    Returns
    -------
    list of AudioFile
        In the order of `names`. An entry that is not a regular file has size and time 0; reading it fails.

    Raises
    ------
    InputError
        If there are no clips, two names have one normal form, a name is absolute or contains `..`, or a clip
        is missing, unless `allow_missing`.
    """
    if not audio_dir.is_dir():
        raise InputError(f"{audio_dir} is not a folder")
    if names is None:
        entries = list(os.scandir(audio_dir))
        log_left_out(entry.name for entry in entries if not is_audio(entry.name) and entry.is_file())
        files = index_by_fname(audio_dir, (entry.name for entry in entries if is_audio(entry.name)))
    else:
        files = _find_clips(audio_dir, names, allow_missing)
    if not files:
        has_subfolders = any(entry.is_dir() for entry in os.scandir(audio_dir))
        hint = "; to include subfolders, list the clips with dcase2018 make-labels and pass --labels"
        raise InputError(f"{audio_dir} {MSG_NO_AUDIO}{hint * has_subfolders}")
    root = Path(os.path.realpath(audio_dir))  # absolute for other processes; accepts links that loop
    return [_audio_file(name, root / path.relative_to(audio_dir)) for name, path in files.items()]


def _find_clips(audio_dir: Path, names: Sequence[str], allow_missing: bool) -> dict[str, Path]:
    """Map the normal form of each name to its path; raises the errors of `list_clips`."""
    first: dict[str, str] = {}
    for name in names:
        fname = normalize_fname(name)
        if fname in first:
            raise InputError(f"clip {name!r} is listed twice, also as {first[fname]!r}")
        first[fname] = name
    paths = {fname: audio_dir / name for fname, name in first.items()}
    outside = [name for name in paths if leaves_folder(name)]
    unresolved = [name for name, path in paths.items() if not os.path.lexists(path)]
    existing = find_audio_files(audio_dir) if outside or unresolved else {}
    if outside:
        nearest = dict(nearest_fnames(outside[:1], existing))[outside[0]]
        hint = f", such as {nearest!r}" if nearest else ""
        raise InputError(
            f"{len(outside)} of {len(names)} clips are named by absolute paths or with '..', such as"
            f" {outside[0]!r}; write paths below {audio_dir}{hint}"
        )
    missing = [name for name in unresolved if name not in existing]
    if missing and not allow_missing:
        raise InputError(
            f"{len(missing)} of {len(names)} clips are not in {audio_dir}:"
            f" {describe_missing(missing, existing)};"
            " correct the names, or skip these clips with --missing skip"
        )
    return paths | {name: existing[name] for name in unresolved if name in existing}


def find_audio_files(folder: Path) -> dict[str, Path]:
    """Find the audio files below a folder: the normal form of each name, sorted, and its path.

    Raises
    ------
    InputError
        If two files have one name in normal form.
    OSError
        If a folder cannot be read.
    """
    return index_by_fname(folder, walk_audio_files(folder, folder)[0])


def broken_links(folder: Path) -> dict[str, str]:
    """Return the names of audio files below a folder that are links to nothing, each with its target."""
    broken = (path for path in _walk(folder)[0] if not path.exists())
    files = index_by_fname(folder, (path.relative_to(folder).as_posix() for path in broken))
    return {fname: describe_missing_file(path) for fname, path in files.items()}


def describe_missing_file(path: Path) -> str:
    """Return why a path does not exist: it is a link to nothing, or there is no such file."""
    if path.is_symlink():
        return f"a link to nothing, {str(path.readlink())!r} (not fetched?)"
    return "no such file"


def index_by_fname(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Map the normal form of names, sorted, to their paths; raise `InputError` if two have the same form."""
    files: dict[str, Path] = {}
    for name in names:
        first = files.setdefault(normalize_fname(name), folder / name)
        if first != folder / name:
            raise InputError(
                f"{folder}: the names {str(first.relative_to(folder))!r} and {name!r} print alike, and differ"
                f" in their Unicode form or in spaces ({name!a}); rename or remove one"
            )
    return dict(sorted(files.items()))


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
        names, others = walk_audio_files(path, path) if path.is_dir() else ([""], [])
        files |= {path / name for name in names}
        left_out += others
    log_left_out(left_out)
    if not files:
        raise InputError(f"{', '.join(str(path) for path in paths)} {MSG_NO_AUDIO}")
    root = os.path.commonpath(roots)
    named_files = sorted((path.relative_to(root).as_posix(), path) for path in files)
    return [_audio_file(name, path) for name, path in named_files]


def walk_audio_files(folder: Path, root: Path) -> tuple[list[str], list[str]]:
    """List the paths, relative to `root`, of the audio files below a folder, sorted, and other files' names.

    Links to folders are followed, unless they lead back to a folder that contains them.
    """
    files, others, circular = _walk(folder)
    for link in circular:
        log.warning("skipped the link %s: it leads to a folder that contains it", link)
    return sorted(path.relative_to(root).as_posix() for path in files), others


def _walk(folder: Path) -> tuple[list[Path], list[str], list[Path]]:
    """Return the audio files below a folder, other files' names, and links to folders that contain them."""

    def on_error(error: OSError) -> None:
        raise error

    files: list[Path] = []
    others: list[str] = []
    circular: list[Path] = []
    for parent, subfolders, filenames in os.walk(folder, onerror=on_error, followlinks=True):
        visible = [Path(parent, name) for name in subfolders if not name.startswith(".")]
        circular += filter(_is_circular, visible)
        subfolders[:] = [path.name for path in visible if path not in circular]
        files += [Path(parent, name) for name in filenames if is_audio(name)]
        others += [name for name in filenames if not is_audio(name)]
    return files, others, circular


def _is_circular(path: Path) -> bool:
    """Return whether a folder is a link to a folder that contains it, directly or by other links."""
    if not path.is_symlink():
        return False
    target = Path(os.path.realpath(path))
    return any(Path(os.path.realpath(parent)).is_relative_to(target) for parent in path.absolute().parents)


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
