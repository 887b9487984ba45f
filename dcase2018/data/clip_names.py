"""Names of clips: a normal form, and the nearest existing name for messages."""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from dcase2018.utils.errors import shorten_list

MAX_LISTED = 20  # missing clips named in one message
MAX_HINTS = 3  # nearest names given in one message
MAX_COMPARED = 5000  # existing names that a misspelled name is compared with


def normalize_fname(text: str) -> str:
    r"""Return the normal form of a clip's name, by which names are compared.

    The normal form is a path in Unicode form NFC with `/` as the separator. It has no `.` parts, no repeated
    slashes, and no white space around its parts. Bytes that are not UTF-8 are preserved.

    Examples
    --------
    >>> normalize_fname(" ./cat\\1.wav")
    'cat/1.wav'
    """
    path = unicodedata.normalize("NFC", text).replace("\\", "/").strip()
    parts = (part.strip() for part in path.split("/"))
    return "/" * path.startswith("/") + "/".join(part for part in parts if part not in ("", "."))


def leaves_folder(fname: str) -> bool:
    """Return whether a name in normal form is absolute or contains `..`."""
    return fname.startswith("/") or ".." in fname.split("/")


def describe_missing(missing: Sequence[str], existing: Collection[str]) -> str:
    """List names for a message, the first ones with the nearest existing name if there is one."""
    nearest = nearest_fnames(missing[:MAX_HINTS], existing)
    hints = [f"{name!r}" + (f" (did you mean {near!r}?)" if near else "") for name, near in nearest]
    return shorten_list(hints + [repr(name) for name in missing[MAX_HINTS:]], MAX_LISTED)


def nearest_fnames(names: Iterable[str], existing: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each name with the most similar existing one.

    A similar name has the same file name, except for folders, the suffix and the case, or is spelled almost
    alike.
    """
    by_key: dict[str, list[str]] = {}
    for candidate in sorted(existing):
        for key in _keys(candidate):
            by_key.setdefault(key, []).append(candidate)
    for name in names:
        candidates = [candidate for key in _keys(name) for candidate in by_key.get(key, ())]
        if not candidates and len(existing) <= MAX_COMPARED:
            stems = {_without_suffix(candidate): candidate for candidate in existing}
            similar = difflib.get_close_matches(_without_suffix(name), stems, 10, 0.75)
            candidates = [stems[stem] for stem in similar if _numbers(stem) == _numbers(name)]
        yield name, max(candidates, key=lambda candidate: _similarity(name, candidate), default=None)


def _without_suffix(fname: str) -> str:
    return fname.removesuffix(PurePosixPath(fname).suffix)


def _numbers(fname: str) -> list[str]:
    """Return the numbers in a name without its suffix: two names that differ in them are two clips."""
    return re.findall(r"\d+", _without_suffix(fname))


def _keys(fname: str) -> set[str]:
    """Return the last part of a path, with and without its suffix, without distinction of case."""
    last = PurePosixPath(unicodedata.normalize("NFKC", fname).casefold())
    return {last.name, last.stem}


def _similarity(name: str, candidate: str) -> float:
    return difflib.SequenceMatcher(None, name.casefold(), candidate.casefold()).ratio()
