"""Build label files: from class folders, from file names, or from a CSV with other column names.

All functions return a table like that of `read_labels`: `fname` is a path below the folder, with `/` as the
separator. White space and commas in class names become underscores.
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

from dcase2018.data.clip_names import normalize_fname
from dcase2018.data.csv_tables import Table, raise_if_errors, read_table
from dcase2018.data.files import index_by_fname, is_audio, log_left_out, walk_audio_files
from dcase2018.data.label_rules import (
    describe_encoding_error,
    normalize_label,
    sanitize_class_name,
    sanitize_class_names,
    similar_labels,
    validate_label,
)
from dcase2018.data.labels import LABEL_COLUMN, LABELS_COLUMN, labels_per_clip, parse_labels
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError, shorten_list

log = logging.getLogger(__name__)

# Usual names of the parts of a dataset.
PART_NAME = re.compile(
    r"(train|training|test|testing|val|valid|validation|dev|development|eval|evaluation|holdout"
    r"|(fold|split|part)[-_ ]?\d+)",
    re.IGNORECASE,
)

TemplateParts = list[tuple[str, str | None]]  # literal text and the field after it, as in `fold{fold}/{file}`


def make_labels(
    source: StrPath, pattern: str | None = None, columns: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Label the clips of a folder, or of a CSV with other column names.

    Parameters
    ----------
    source
        A folder with one subfolder per class; a folder of clips, with `pattern`; or a CSV, with `columns`.
    pattern
        Template of the file names, such as "{label}_{rest}.wav". Fields other than `label` become columns.
    columns
        Column of the CSV, or a template such as "fold{fold}/{file}", for each column of the result.

    Returns
    -------
    DataFrame
        One row per clip: `fname`, `label` or `labels`, and further columns of `pattern` or `columns`.

    Raises
    ------
    InputError
        If `source` and the other arguments do not match, a clip does not match the template, a column is
        missing, or a label is invalid.
    OSError
        If `source` cannot be read.

    Examples
    --------
    >>> dcase2018.make_labels("sounds").to_csv("labels.csv", index=False)
    >>> dcase2018.make_labels("esc50.csv", columns={"fname": "filename", "label": "category"})
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source} does not exist; give a folder of clips, or a CSV")
    if source.is_dir() and columns:
        raise InputError(f"{source} is a folder; --columns requires a CSV")
    if not source.is_dir() and (pattern is not None or not columns):
        raise InputError(f"{source} is a file; map its columns with --columns fname=COLUMN,label=COLUMN")
    if columns:
        return labels_from_csv(source, columns)
    return labels_from_folders(source) if pattern is None else labels_from_filenames(source, pattern)


def labels_from_folders(folder: Path) -> pd.DataFrame:
    """Label the clips of a folder by the subfolder in which they are, at any depth.

    Parameters
    ----------
    folder
        Folder with one subfolder per class.

    Returns
    -------
    DataFrame
        Columns `fname` and `label`.

    Raises
    ------
    InputError
        If there are fewer than two classes, two subfolders map to one class, a clip is in two subfolders, or
        the subfolders are parts of a dataset with the classes below.
    OSError
        If a folder cannot be read.
    """
    files_of_subfolder, left_out = _list_subfolders(folder)
    _check_no_parts(folder, files_of_subfolder)
    folder_of_class: dict[str, str] = {}
    files: dict[str, Path] = {}
    rows: list[Mapping[str, str]] = []
    for name, subfolder_files in files_of_subfolder.items():
        label = _class_of_folder(folder, name, folder_of_class)
        files |= subfolder_files
        rows += [{"fname": fname, LABEL_COLUMN: label} for fname in subfolder_files]
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    log_left_out([*left_out, *(name for name in names if not is_audio(name))])
    unassigned = [repr(name) for name in names if is_audio(name)]
    if unassigned:
        log.warning("skipped files outside the class folders: %s", shorten_list(unassigned))
    hint = "a class is a subfolder with audio files"
    if len(files_of_subfolder) == 1:
        wrapper = next(iter(files_of_subfolder))
        below = [repr(name) for name in _names_below(files, wrapper) if name]
        if below:
            hint += f"; the subfolders of {wrapper!r} are {shorten_list(below)}: give {folder / wrapper}"
    return _validate_table(rows, folder, files, hint)


def _list_subfolders(folder: Path) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """Find the audio files of each subfolder that has some, by normal form, and the names of other files."""
    found = {}
    left_out: list[str] = []
    for subfolder in sorted(path for path in folder.iterdir() if path.is_dir()):
        names, others = walk_audio_files(subfolder, folder)
        files = _existing(index_by_fname(folder, names))
        left_out += others
        if subfolder.name[0] == ".":
            if files:
                log.warning("skipped the hidden folder %s; rename it if it is a class", subfolder)
        elif files:
            found[subfolder.name] = files
        else:
            log.warning("skipped %s, which has no audio files", subfolder)
    return found, left_out


def _existing(files: Mapping[str, Path]) -> dict[str, Path]:
    """Omit links to nothing (see `broken_links`)."""
    return {fname: path for fname, path in files.items() if path.exists()}


def _names_below(files: Iterable[str], subfolder: str) -> list[str]:
    """Return the names of the folders in a subfolder, sorted; "" stands for files of the subfolder itself."""
    start = len(PurePosixPath(normalize_fname(subfolder)).parts)
    return sorted({(*PurePosixPath(fname).parts[start:-1], "")[0] for fname in files})


def _check_no_parts(folder: Path, files_of_subfolder: Mapping[str, Iterable[str]]) -> None:
    """Raise if the subfolders are parts of a dataset, such as `train` and `test`, with the classes below."""
    below = [_names_below(files, name) for name, files in files_of_subfolder.items()]
    if len(below) < 2 or any("" in names for names in below):
        return
    classes = sorted(set(chain.from_iterable(below)))
    have_the_same = len(classes) > 1 and all(names == classes for names in below)
    if have_the_same or all(PART_NAME.fullmatch(name) for name in files_of_subfolder):
        suffixes = {PurePosixPath(fname).suffix for fname in chain.from_iterable(files_of_subfolder.values())}
        rest = "{rest}" + (suffixes.pop() if len(suffixes) == 1 else "")
        raise InputError(
            f"{folder}: the subfolders {shorten_list([*map(repr, files_of_subfolder)])} have subfolders"
            f" themselves: {shorten_list([*map(repr, classes)])}; if these are the classes, use"
            f" make-labels --pattern '{{part}}/{{label}}/{rest}', else --pattern '{{label}}/{{part}}/{rest}'"
        )


def _class_of_folder(folder: Path, name: str, folder_of_class: dict[str, str]) -> str:
    """Return the class of a subfolder, and record it; raise if another subfolder has the same class."""
    wrong_bytes = describe_encoding_error(name)
    if wrong_bytes:
        raise InputError(f"{folder}: the name of the subfolder {wrong_bytes}; rename it")
    label = sanitize_class_name(name)
    first = folder_of_class.setdefault(label, name)
    if first != name and normalize_label(first) == normalize_label(name):
        raise InputError(
            f"{folder}: the subfolders {first!r} and {name!r} print alike, and differ in their Unicode form"
            f" or in spaces ({first!a}, {name!a}); rename one, or merge them"
        )
    if first != name:
        raise InputError(
            f"{folder}: the subfolders {first!r} and {name!r} are both class {label!r}; rename or merge them"
        )
    return label


def labels_from_filenames(folder: Path, pattern: str) -> pd.DataFrame:
    """Label the clips of a folder, at any depth, by their file names.

    Parameters
    ----------
    folder
        Folder of the clips.
    pattern
        A template such as `{label}_{rest}.wav`. A field matches one or more characters except `/`, as few as
        possible. `label` is required; other fields become columns. A pattern with `/` is matched against the
        path below the folder, another one against the file name.

    Returns
    -------
    DataFrame
        Columns `fname`, `label` and the other fields.

    Raises
    ------
    InputError
        If the pattern has no field `label`, there are fewer than two classes, or a clip is in two folders.
    OSError
        If a folder cannot be read.
    """
    regex = re.compile(template_regex(pattern, f"--pattern {pattern!r}"))
    if LABEL_COLUMN not in regex.groupindex:
        raise InputError(f"--pattern {pattern!r} has no field {{label}}, as in {{label}}_{{rest}}.wav")
    rows: list[Mapping[str, str]] = []
    unmatched: list[str] = []
    names, left_out = walk_audio_files(folder, folder)
    files = _existing(index_by_fname(folder, names))
    for fname in files:
        match = regex.fullmatch(fname if "/" in pattern else PurePosixPath(fname).name)
        if match:
            label = {LABEL_COLUMN: sanitize_class_name(match[LABEL_COLUMN])}
            rows.append({"fname": fname} | match.groupdict() | label)
        else:
            unmatched.append(repr(fname))
    log_left_out(left_out)
    if unmatched:
        log.warning("skipped files that do not match %r: %s", pattern, shorten_list(unmatched))
    return _validate_table(rows, folder, files, f"{{label}} in the pattern {pattern!r} is the class")


def labels_from_csv(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a CSV with other column names as labels.

    Parameters
    ----------
    path
        The CSV.
    columns
        Maps columns of the label file to columns of the CSV, or to templates such as `fold{fold}/{file}`.
        `fname` and `label` (or `labels`) are required, in the mapping or in the CSV. All other columns are
        kept.

    Returns
    -------
    DataFrame
        Columns `fname`, `label` or `labels`, and all other columns.

    Raises
    ------
    InputError
        If a column is missing, or the resulting labels are invalid (see `read_labels`).
    OSError
        If the file cannot be read.
    """
    table = read_table(path)
    mapped: dict[str, TemplateParts] = {
        name: _parse_template(source) if "{" in source else [("", source)] for name, source in columns.items()
    }
    for _, field in chain.from_iterable(mapped.values()):
        if field is not None and field not in table.header:
            raise InputError(f"{path} has no column {field!r}; it has {', '.join(table.header)}")
    unmapped = [name for name in table.header if name not in mapped and name not in columns.values()]
    names = [*mapped, *unmapped]
    label = _label_column(path, names, prefers_labels=LABELS_COLUMN in mapped)
    header = ["fname", label, *(name for name in names if name not in ("fname", label))]
    renamed = Table(path, header, [], table.errors)
    sanitize = sanitize_class_name if label == LABEL_COLUMN else sanitize_class_names
    for line, fields in table.iter_rows():
        row = {name: _fill_template(parts, fields) for name, parts in mapped.items()}
        row |= {name: fields[name] for name in unmapped}
        row[label] = sanitize(row[label])
        renamed.rows.append((line, [row[name] for name in header]))
    return _require_two_classes(parse_labels(renamed), path, "check the label column")


def _label_column(path: Path, names: Sequence[str], prefers_labels: bool) -> str:
    """Return whether the table is single-label or multi-label, as the name of its label column."""
    is_multi_label = prefers_labels or (LABELS_COLUMN in names and LABEL_COLUMN not in names)
    label = LABELS_COLUMN if is_multi_label else LABEL_COLUMN
    for name in ("fname", label):
        if name not in names:
            raise InputError(f"{path} has no column {name!r}; map one with --columns {name}=COLUMN")
    if {LABEL_COLUMN, LABELS_COLUMN} <= set(names):
        raise InputError(
            f"{path} has both {LABEL_COLUMN} (one per clip) and {LABELS_COLUMN} (several); use one of them"
        )
    return label


def _parse_template(text: str) -> TemplateParts:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise InputError(f"{text!r} is not a valid template ({error}); write fields as {{name}}") from None
    for _, field, format_spec, conversion in parts:
        if field == "" or format_spec or conversion:
            raise InputError(f"{text!r} is not a valid template; write fields as {{name}}, without a format")
    return [(literal, field) for literal, field, _, _ in parts]


def _fill_template(parts: TemplateParts, values: Mapping[str, str]) -> str:
    return "".join(literal + (values[field] if field else "") for literal, field in parts)


def template_regex(pattern: str, option: str) -> str:
    """Convert a template to a regular expression with one named group per field.

    Raises
    ------
    InputError
        If a field is not an identifier or is used twice. The message starts with `option`.
    """
    parts = _parse_template(pattern)
    fields = [field for _, field in parts if field]
    invalid = [field for field in fields if not field.isidentifier() or fields.count(field) > 1]
    if invalid:
        raise InputError(f"{option}: the field {{{invalid[0]}}} must be an identifier, used once")
    return "".join(re.escape(literal) + (f"(?P<{field}>[^/]+?)" if field else "") for literal, field in parts)


def _validate_table(
    rows: Sequence[Mapping[str, str]], folder: Path, files: Mapping[str, Path], hint: str
) -> pd.DataFrame:
    """Convert the rows of a folder's clips to a table; raise on invalid values and duplicate clips."""
    labels = sorted({row[LABEL_COLUMN] for row in rows})
    errors = [
        f"{row['fname']!r}: {name} {error}; rename it"
        for row in rows
        for name, value in row.items()
        if name != "fname" and (error := describe_encoding_error(value))
    ]
    errors += chain.from_iterable(map(validate_label, labels))
    errors += [
        f"the classes {first!r} and {label!r} are one name in two forms; rename one, or merge them"
        for first, label in similar_labels(labels)
    ]
    errors += [
        f"{first!r} and {second!r} are the same clip; remove one of them"
        for first, second in _find_duplicates({row["fname"]: files[row["fname"]] for row in rows})
    ]
    raise_if_errors(folder, errors)
    columns = [*rows[0]] if rows else ["fname", LABEL_COLUMN]
    return _require_two_classes(pd.DataFrame(rows, columns=columns, dtype=object), folder, hint)


def _require_two_classes(labels: pd.DataFrame, source: Path, hint: str) -> pd.DataFrame:
    """Raise if there are fewer than two classes; warn about classes with one clip."""
    n_clips = Counter(chain.from_iterable(labels_per_clip(labels)))
    if len(n_clips) < 2:
        count = f"one class, {next(iter(n_clips))!r}" if n_clips else "no labelled clip"
        raise InputError(f"{source} has {count}; a tagger needs at least two classes: {hint}")
    single = [repr(label) for label in sorted(n_clips) if n_clips[label] == 1]
    if single:
        log.warning(
            "classes with a single clip cannot be in both training and validation: %s", shorten_list(single)
        )
    return labels


def _find_duplicates(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Find clips that are in two folders: files with the same name and content."""
    candidates = defaultdict(list)
    for fname, path in files.items():
        candidates[PurePosixPath(fname).name, path.stat().st_size].append(fname)
    for (_, size), same_size in candidates.items():
        first_of_digest: dict[bytes, str] = {}
        for fname in same_size if len(same_size) > 1 and size else []:
            with files[fname].open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            first = first_of_digest.setdefault(digest, fname)
            if first != fname:
                yield first, fname
