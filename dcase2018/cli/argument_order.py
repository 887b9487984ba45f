"""Recognize swapped arguments by what the files are."""

import csv
import itertools
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path

import click

from dcase2018.utils.errors import InputError

MAX_ROWS = 200  # of a CSV, to recognize what it is
MAX_ENTRIES = 10_000  # of a folder, to find audio

LABEL_FILE_COLUMNS = {"labels", "manually_verified", "usage", "freesound_id", "license", "weight"}


class Kind(Enum):
    """What a path is."""

    MISSING = auto()
    STORE = auto()
    RUN = auto()
    FOLDER = auto()
    AUDIO_FOLDER = auto()
    AUDIO = auto()
    LABELS = auto()
    ONE_LABEL = auto()  # a label file or a submission: clips with one label each and no other column
    SUBMISSION = auto()
    SCORES = auto()
    CLASS_MAP = auto()
    CSV = auto()
    OTHER = auto()


LABEL_FILES = {Kind.LABELS, Kind.ONE_LABEL, Kind.CSV}

# What each argument may be, by the name of the parameter.
EXPECTED = {
    "store": {Kind.STORE},
    "labels_csv": LABEL_FILES,
    "labels": LABEL_FILES,
    "out_of_fold_csv": {Kind.SCORES},
    "submission": {Kind.SUBMISSION, Kind.ONE_LABEL},
    "run": {Kind.RUN},
    "runs": {Kind.RUN},
    "study": {Kind.FOLDER},
    "a": {Kind.RUN, Kind.SCORES},
    "b": {Kind.RUN, Kind.SCORES},
    "audio_dir": {Kind.AUDIO_FOLDER},
    "audio": {Kind.AUDIO_FOLDER, Kind.AUDIO},
    "clips": {Kind.STORE, Kind.AUDIO_FOLDER, Kind.AUDIO},
    "source": {Kind.AUDIO_FOLDER, Kind.SCORES, Kind.SUBMISSION, *LABEL_FILES},
    "out": {Kind.FOLDER, Kind.CLASS_MAP},
    "output": {Kind.FOLDER},
}


def check_order(command: click.Command, ctx: click.Context, args: Sequence[str]) -> None:
    """Raise `InputError` if the arguments fit the command in another order only.

    Parameters
    ----------
    args
        Arguments and options of the command, as typed.
    """
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    typed = _typed_values(command, ctx, arguments, args)
    if not typed or not all(argument.name in EXPECTED for argument in arguments):
        return
    values = [value for texts in typed for value in texts]
    slots = [argument for argument, texts in zip(arguments, typed, strict=True) for _ in texts]
    kinds = {value: kind_of(value) for value in values}
    if _fits(values, slots, kinds):
        return
    order = next((order for order in _orders(values, slots) if _fits(order, slots, kinds)), None)
    if order:
        usage = " ".join(argument.make_metavar(ctx) for argument in arguments)
        options = list(args)
        for value in values:
            options.remove(value)
        raise InputError(
            f"the arguments are in another order: {command.name} takes {usage};"
            f" use dcase2018 {shlex.join([command.name or '', *order, *options])}"
        )


def _typed_values(
    command: click.Command, ctx: click.Context, arguments: Sequence[click.Argument], args: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the texts of each argument; [] if one of them is missing or the command line is invalid."""
    try:
        texts = command.make_parser(ctx).parse_args(args=list(args))[0]
    except click.UsageError:
        return []
    values = [texts.get(argument.name or "") for argument in arguments]
    typed = [(value,) if isinstance(value, str) else value for value in values]
    return typed if all(isinstance(value, tuple) and value for value in typed) else []  # type: ignore[return-value]


def _orders(values: Sequence[str], slots: Sequence[click.Argument]) -> Iterator[list[str]]:
    """Yield the values in other orders; those of an argument with several values keep their order."""
    n_single = sum(argument.nargs == 1 for argument in slots)
    repeated = next((place for place, argument in enumerate(slots) if argument.nargs != 1), n_single)
    for chosen in itertools.permutations(range(len(values)), n_single):
        others = [values[i] for i in range(len(values)) if i not in chosen]
        single = [values[i] for i in chosen]
        yield [*single[:repeated], *others, *single[repeated:]]


def _fits(values: Sequence[str], slots: Sequence[click.Argument], kinds: Mapping[str, Kind]) -> bool:
    return all(kinds[value] in _expected(argument) for value, argument in zip(values, slots, strict=True))


def _expected(argument: click.Argument) -> set[Kind]:
    expected = EXPECTED[argument.name or ""]
    is_output = not getattr(argument.type, "exists", True)
    return expected | {Kind.MISSING, Kind.FOLDER} if is_output else expected


def kind_of(text: str) -> Kind:
    """Recognize what a path is; `-` stands for a store that is not needed."""
    path = Path(text)
    if text == "-":
        return Kind.STORE
    if not path.exists():
        return Kind.MISSING
    try:
        return _kind_of_folder(path) if path.is_dir() else _kind_of_file(path)
    except (OSError, UnicodeDecodeError, csv.Error):
        return Kind.OTHER


def _kind_of_folder(path: Path) -> Kind:
    from dcase2018.data.files import is_audio

    if (path / "run.json").exists() or any(path.glob("fold-*/run.json")):
        return Kind.RUN
    names = (name for _, _, names in os.walk(path) for name in names)
    has_audio = any(is_audio(name) for name in itertools.islice(names, MAX_ENTRIES))
    return Kind.AUDIO_FOLDER if has_audio else Kind.FOLDER


def _kind_of_file(path: Path) -> Kind:
    from dcase2018.data.files import is_audio
    from dcase2018.features.store import is_store

    if not path.is_file():
        return Kind.OTHER
    if is_store(path):
        return Kind.STORE
    return Kind.AUDIO if is_audio(path.name) else _kind_of_csv(path)


def _kind_of_csv(path: Path) -> Kind:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(itertools.islice(csv.reader(file), MAX_ROWS))
    header = rows[0] if rows else []
    if header[:1] == ["0"] and len(header) == 2:
        return Kind.CLASS_MAP
    if "fname" not in header:
        return Kind.CSV
    if "label" in header:
        label = header.index("label")
        if any(" " in row[label].strip() for row in rows[1:] if len(row) > label):
            return Kind.SUBMISSION
        return Kind.LABELS if LABEL_FILE_COLUMNS & set(header) else Kind.ONE_LABEL
    if "verified" in header or "labels" not in header:
        return Kind.SCORES
    return Kind.LABELS
