"""Commands for datasets and label files."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcase2018.cli.common import (
    EXISTING,
    FILE,
    INPUT,
    OUTPUT_FOLDER,
    REPLACED_FOLDER,
    Command,
    FiniteFloat,
    check_output,
    exit_if_skipped,
    group_options,
    is_given,
    print_line,
    seed_option,
)
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)


@click.command(cls=Command, epilog="Example:\n  dcase2018 synthesize data/demo")
@click.argument("out", type=REPLACED_FOLDER)
@click.option(
    "--train-per-class",
    default=12,
    show_default=True,
    type=click.IntRange(1),
    help="Training clips per class.",
)
@click.option(
    "--test-per-class", default=4, show_default=True, type=click.IntRange(1), help="Test clips per class."
)
@seed_option
def synthesize(out: Path, train_per_class: int, test_per_class: int, seed: int) -> None:
    """Write a small synthetic 41-class corpus to the folder OUT.

    The corpus has Kaggle's layout: audio_train/, audio_test/, train.csv and sample_submission.csv. The labels
    of the test clips are in test_post_competition.csv. The same seed gives the same bytes.
    """
    from dcase2018.data.synthetic import synthesize

    synthesize(out, train_per_class, test_per_class, seed)


@click.command(cls=Command, epilog="Example:\n  dcase2018 download data/fsdkaggle2018")
@click.argument("out", type=OUTPUT_FOLDER)
@click.option("--mirror", metavar="URL", help="Address of the archives.  [default: Zenodo record 2552860]")
def download(out: Path, mirror: str | None) -> None:
    """Download FSDKaggle2018 to the folder OUT.

    Archives are verified, unpacked and removed. Existing folders are skipped. The download needs about 10 GB
    of disk space.
    """
    from dcase2018.data.fsdkaggle2018 import ZENODO, download

    names = download(out, mirror or ZENODO)
    print_line(f"{out}: downloaded {', '.join(names)}" if names else f"{out}: complete, nothing to download")


class Columns(click.ParamType):
    """A list such as `fname=filename,label=category`."""

    name = "LIST"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> dict[str, str]:
        pairs = [item.partition("=") for item in value.split(",")]
        if not all(name.strip() and source.strip() for name, _, source in pairs):
            self.fail(f"{value!r} must be NAME=COLUMN,NAME=COLUMN", parameter, context)
        columns = {name.strip(): source.strip() for name, _, source in pairs}
        if len(columns) < len(pairs):
            self.fail(f"{value!r} maps a column twice", parameter, context)
        return columns


@click.command(
    cls=Command,
    epilog="Examples:\n"
    "  dcase2018 make-labels sounds labels.csv             sounds/dog/1.wav, sounds/cat/1.wav, ...\n"
    '  dcase2018 make-labels sounds labels.csv --pattern "{label}_{rest}.wav"\n'
    "  dcase2018 make-labels esc50.csv labels.csv --columns fname=filename,label=category\n"
    "  dcase2018 make-labels UrbanSound8K.csv labels.csv \\\n"
    '      --columns "fname=fold{fold}/{slice_file_name},label=class"',
)
@click.argument("source", type=EXISTING)
@click.argument("labels", type=FILE)
@click.option(
    "--pattern",
    metavar="TEXT",
    help="Template of the file names: {label} is the class, any other {field} becomes a column.",
)
@click.option(
    "--columns",
    type=Columns(),
    help="SOURCE is a CSV: take column NAME from COLUMN, or from a template with {COLUMN} fields.",
)
@click.pass_context
def make_labels(
    ctx: click.Context, source: Path, labels: Path, pattern: str | None, columns: dict[str, str] | None
) -> None:
    """Write the label file LABELS for your own clips.

    SOURCE is a folder with one subfolder per class, a folder of clips whose file names contain the class
    (--pattern), or a CSV with other column names (--columns). The fnames are paths below the folder, as
    extract --labels LABELS expects. White space and commas in class names become underscores. Symbolic links
    are followed. Links to nothing are skipped and listed, and the exit code is then 3.
    """
    check_output(labels, source if source.is_file() else None)
    from dcase2018.data.files import broken_links
    from dcase2018.data.label_builders import make_labels
    from dcase2018.data.labels import class_names, multi_hot, write_table

    table = make_labels(source, pattern, columns)
    write_table(labels, table)
    counts = multi_hot(table, class_names(table)).sum(axis=0)
    per_class = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else min(counts)
    print_line(f"{labels}: {len(table)} clips, {len(counts)} classes, {per_class} clips per class")
    skipped = broken_links(source) if source.is_dir() else {}
    exit_if_skipped(ctx, skipped)


@click.command(cls=Command, epilog="Example:\n  dcase2018 class-map data/train.csv class_map.csv")
@click.argument("labels", type=INPUT)
@click.argument("out", type=FILE)
def class_map(labels: Path, out: Path) -> None:
    """Write the classes of the label file LABELS to the CSV OUT.

    The rows are class_index,class_name, sorted by name, from 0, without a header.
    """
    from dcase2018.data.labels import class_names, read_labels, write_class_map

    check_output(out, labels)
    classes = class_names(read_labels(labels))
    write_class_map(out, classes)
    print_line(f"{out}: {len(classes)} classes")


@click.command(
    cls=Command,
    epilog="Examples:\n"
    "  dcase2018 split data/train.csv splits               splits/train.csv, splits/validation.csv\n"
    "  dcase2018 split data/train.csv splits --folds 5     splits/fold-1/train.csv, ...\n"
    "  dcase2018 split labels.csv splits --groups-from '{site}_{recording}_{n}' --content sounds",
)
@click.argument("labels", type=INPUT)
@click.argument("out", type=OUTPUT_FOLDER)
@click.option(
    "--fraction",
    default=0.1,
    show_default=True,
    type=FiniteFloat(0, 1, min_open=True, max_open=True),
    help="Fraction of the clips for validation.",
)
@click.option("--folds", "n_folds", type=click.IntRange(2, 100), help="Write this many folds instead.")
@group_options
@click.option(
    "--content",
    type=EXISTING,
    metavar="FOLDER|STORE",
    help="Folder of the clips, or their store, to keep identical clips on one side.",
)
@seed_option
@click.pass_context
def split(
    ctx: click.Context,
    labels: Path,
    out: Path,
    fraction: float,
    n_folds: int | None,
    group_column: str | None,
    group_pattern: str | None,
    content: Path | None,
    seed: int,
) -> None:
    """Split the label file LABELS into train.csv and validation.csv in the folder OUT.

    The split is stratified by label and manually_verified. Headers and all columns are kept. Each row is in
    one of the two files; with --folds, in the validation.csv of one fold.

    With --groups, --groups-from or --content, all clips of a group are in the same file. The fraction of
    clips is then approximate. Clips of one recording in both files are reported, as far as their names show
    it.
    """
    from dcase2018.data.groups import merge_groups, read_groups, warn_of_shared_sound
    from dcase2018.data.labels import read_labels, write_table
    from dcase2018.data.recording_names import find_recordings
    from dcase2018.data.splits import warn_missing_classes
    from dcase2018.utils.atomic import written_together

    if n_folds is not None and is_given(ctx, "fraction"):
        raise InputError("--fraction and --folds exclude each other")
    table = read_labels(labels)
    fnames = list(table["fname"])
    named_groups = read_groups(table, group_column, group_pattern)
    groups = merge_groups(named_groups, _find_copies(fnames, content))
    holdouts = _hold_out(table, out, fraction, n_folds, seed, groups)
    recordings = find_recordings(table, fnames) if named_groups is None else None
    warn_of_shared_sound(fnames, holdouts.values(), "validation", recordings=recordings)
    for folder in holdouts:
        check_output(folder / "train.csv", labels)
        check_output(folder / "validation.csv", labels)
    with written_together():
        for folder, is_validation in holdouts.items():
            write_table(folder / "validation.csv", table[is_validation])
            write_table(folder / "train.csv", table[~is_validation])
    for folder, is_validation in holdouts.items():
        n_train, n_validation = (~is_validation).sum(), is_validation.sum()
        print_line(f"{folder}: {n_train} training clips, {n_validation} validation clips")
        warn_missing_classes(folder / "train.csv", table, ~is_validation)
        warn_missing_classes(folder / "validation.csv", table, is_validation)


def _hold_out(
    table: "pd.DataFrame",
    out: Path,
    fraction: float,
    n_folds: int | None,
    seed: int,
    groups: "np.ndarray | None",
) -> "dict[Path, np.ndarray]":
    """Return which clips are held out, bool, (n_clips,), by output folder."""
    from dcase2018.data.splits import stratified_folds, stratified_holdout

    if n_folds is not None:
        fold = stratified_folds(table, n_folds, seed, groups)
        return {out / f"fold-{i + 1}": fold == i for i in range(n_folds)}
    is_validation = stratified_holdout(table, fraction, seed, groups)
    if not is_validation.any():
        raise InputError(f"--fraction {fraction:g} of {len(table)} clips is no clip; give a larger fraction")
    return {out: is_validation}


def _find_copies(fnames: Sequence[str], content: Path | None) -> "np.ndarray | None":
    """Return the group of each clip by its content in a folder or store; None without either."""
    from dcase2018.data.groups import equal_keys, log_copies
    from dcase2018.data.identical_files import file_keys
    from dcase2018.features.identical_clips import clip_keys
    from dcase2018.features.store import Store

    if content is None:
        log.info("identical clips are not detected; --content FOLDER or STORE keeps them on one side")
        return None
    if content.is_dir():
        keys = file_keys(content, fnames)
    else:
        store = Store(content)
        keys = clip_keys(store, store.rows_of(fnames))
    copies = equal_keys(keys)
    log_copies(fnames, copies)
    return copies
