"""Label files for sounds of one's own: from a folder of folders, from file names, or from another's CSV.

All give the table that `read_labels` reads: `fname`, which is a path below the folder with `/` between its
parts, `label`, and what else is known of a clip. White space and commas in a class's name become an
underscore, since submissions part labels by spaces, and tables by commas.
"""

import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from string import Formatter

import pandas as pd

from dcase2018.data.files import audio_files, is_audio
from dcase2018.data.labels import (
    LABEL_COLUMN,
    LABELS_COLUMN,
    Table,
    labels_per_clip,
    parse_labels,
    raise_if_errors,
    read_table,
    sanitize_class_name,
    sanitize_class_names,
    validate_label,
)
from dcase2018.utils.errors import InputError, shorten_list

log = logging.getLogger(__name__)

Row = Mapping[str, str]


def labels_from_folders(folder: Path) -> pd.DataFrame:
    """Label the clips of a folder by the subfolders in which they lie, at any depth.

    Raises
    ------
    InputError
        If there are fewer than two classes, two subfolders give the same class, or a clip lies in two.
    OSError
        If a folder cannot be read.
    """
    classes: dict[str, str] = {}
    rows: list[Row] = []
    for subfolder in sorted(path for path in folder.iterdir() if path.is_dir()):
        fnames = list(audio_files(subfolder, folder))
        if subfolder.name[0] == ".":
            if fnames:
                log.warning("%s is hidden, and is no class; rename it if it is one", subfolder)
            continue
        if not fnames:
            log.warning("%s holds no audio, and is no class", subfolder)
            continue
        label = sanitize_class_name(subfolder.name)
        other = classes.setdefault(label, subfolder.name)
        if other != subfolder.name:
            raise InputError(
                f"{folder}: the subfolders {other!r} and {subfolder.name!r} are both the class {label!r};"
                " rename one, or join them"
            )
        rows += [{"fname": fname, LABEL_COLUMN: label} for fname in fnames]
    loose = [repr(path.name) for path in sorted(folder.iterdir()) if path.is_file() and is_audio(path.name)]
    if loose:
        log.warning("left out, for they lie in no class's subfolder: %s", shorten_list(loose))
    return _checked(rows, folder, "a class is a subfolder with audio in it")


def labels_from_filenames(folder: Path, pattern: str) -> pd.DataFrame:
    """Label the clips of a folder, at any depth, by their names.

    Parameters
    ----------
    pattern
        Such as `{label}_{rest}.wav`: a field stands for one character or more, as few as fit, but for `/`.
        `label` must be among the fields; the others become columns. A pattern with `/` is compared with
        the path below the folder, one without with the file's name.

    Raises
    ------
    InputError
        If the pattern has no field `label` or fits no clip, there are fewer than two classes, or a clip
        lies in two.
    OSError
        If a folder cannot be read.
    """
    expression = re.compile(_expression(pattern))
    rows: list[Row] = []
    strangers: list[str] = []
    for fname in audio_files(folder, folder):
        match = expression.fullmatch(fname if "/" in pattern else PurePosixPath(fname).name)
        if match:
            rows.append(
                {"fname": fname}
                | match.groupdict()
                | {LABEL_COLUMN: sanitize_class_name(match[LABEL_COLUMN])}
            )
        else:
            strangers.append(repr(fname))
    if strangers:
        log.warning("left out, for they do not fit %r: %s", pattern, shorten_list(strangers))
    return _checked(rows, folder, f"the pattern {pattern!r} must tell them apart")


def labels_from_csv(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a CSV whose columns have other names.

    Parameters
    ----------
    columns
        What a column of the label file is in this one: a column's name, or a text with such names in it, as
        in `fold{fold}/{file}`. `fname` and `label` (or `labels`) must be there, here or by their own names.
        All other columns are kept.

    Raises
    ------
    InputError
        If the file has no such column, or for what `read_labels` would refuse, with the line number.
    """
    table = read_table(path)
    made = {name: _parts(source if "{" in source else f"{{{source}}}") for name, source in columns.items()}
    for _, field in chain.from_iterable(made.values()):
        if field is not None and field not in table.header:
            raise InputError(f"{path} has no column {field!r}; it has {', '.join(table.header)}")
    kept = [name for name in table.header if name not in made and name not in columns.values()]
    label = (
        LABELS_COLUMN
        if LABELS_COLUMN in made or (LABELS_COLUMN in kept and LABEL_COLUMN not in (*made, *kept))
        else LABEL_COLUMN
    )
    for name in ("fname", label):
        if name not in (*made, *kept):
            raise InputError(f"{path} has no column {name!r}; say which it is: --columns {name}=COLUMN")
    if {LABEL_COLUMN, LABELS_COLUMN} <= {*made, *kept}:
        raise InputError(
            f"{path}: {LABEL_COLUMN} is the class of a clip, {LABELS_COLUMN} are several; give one of them"
        )
    header = ["fname", label, *(name for name in (*made, *kept) if name not in ("fname", label))]
    named = Table(path, header, [], table.errors)
    for line, found in table.iter_rows():
        row = {name: _filled(parts, found) for name, parts in made.items()} | {n: found[n] for n in kept}
        row[label] = (
            sanitize_class_name(row[label]) if label == LABEL_COLUMN else sanitize_class_names(row[label])
        )
        named.rows.append((line, [row[name] for name in header]))
    return _enough(parse_labels(named), path, "the column of the labels must tell them apart")


Parts = list[tuple[str, str | None]]  # of a text such as `fold{fold}/{file}`: text, and the field behind it


def _parts(text: str) -> Parts:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise InputError(f"{text!r} is not understood ({error}); a field is {{name}}") from None
    for _, field, form, conversion in parts:
        if field == "" or form or conversion:
            raise InputError(f"{text!r} is not understood: a field is {{name}}, and nothing else")
    return [(literal, field) for literal, field, _, _ in parts]


def _filled(parts: Parts, values: Mapping[str, str]) -> str:
    return "".join(literal + (values[field] if field else "") for literal, field in parts)


def _expression(pattern: str) -> str:
    """Regular expression of a pattern of names."""
    parts = _parts(pattern)
    fields = [field for _, field in parts if field]
    if LABEL_COLUMN not in fields:
        raise InputError(f"--pattern {pattern!r} has no field {{label}}, as in {{label}}_{{rest}}.wav")
    odd = [field for field in fields if not field.isidentifier() or fields.count(field) > 1]
    if odd:
        raise InputError(f"--pattern {pattern!r}: {{{odd[0]}}} must be a plain name, and stand there once")
    return "".join(re.escape(literal) + (f"(?P<{field}>[^/]+?)" if field else "") for literal, field in parts)


def _checked(rows: Sequence[Row], folder: Path, rule: str) -> pd.DataFrame:
    """Make the table of a folder's clips, and say what is wrong with it."""
    labels = {row["fname"]: row[LABEL_COLUMN] for row in rows}
    errors = list(chain.from_iterable(map(validate_label, sorted(set(labels.values())))))
    errors += [
        f"{first!r} and {second!r} are the same clip; remove one of them"
        for first, second in _doubles(folder, labels)
    ]
    raise_if_errors(folder, errors)
    return _enough(
        pd.DataFrame(rows, columns=[*rows[0]] if rows else [LABEL_COLUMN], dtype=object), folder, rule
    )


def _enough(labels: pd.DataFrame, origin: Path, rule: str) -> pd.DataFrame:
    """Refuse a table with fewer than two classes, and tell of those with one clip."""
    clips = Counter(chain.from_iterable(labels_per_clip(labels)))
    if len(clips) < 2:
        found = f"one class, {next(iter(clips))!r}" if clips else "no labelled clip"
        raise InputError(f"{origin} holds {found}; a tagger needs two or more: {rule}")
    single = [repr(label) for label in sorted(clips) if clips[label] == 1]
    if single:
        log.warning(
            "classes with one clip, which can be learned or tested, not both: %s", shorten_list(single)
        )
    return labels


def _doubles(folder: Path, fnames: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Find clips that lie in two folders: files of the same name and content."""
    alike = defaultdict(list)
    for fname in fnames:
        alike[PurePosixPath(fname).name, (folder / fname).stat().st_size].append(fname)
    for (_, size), several in alike.items():
        seen: dict[bytes, str] = {}
        for fname in several if len(several) > 1 and size else []:
            with (folder / fname).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            first = seen.setdefault(digest, fname)
            if first != fname:
                yield first, fname
