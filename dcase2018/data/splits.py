"""Stratified holdout sets and folds of a label file."""

import logging
from decimal import Decimal

import numpy as np
import pandas as pd

from dcase2018.data.label_rules import parse_number
from dcase2018.data.labels import LABEL_COLUMN, LABELS_COLUMN, class_names, multi_hot
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError, shorten_list

log = logging.getLogger(__name__)

MAX_CLASSES = 20  # named in a message

NO_FOLD = (1, Decimal(0), "")


def stratified_holdout(labels: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """Draw a stratified holdout set.

    A stratum is a label (in a multi-label file, a set of labels) combined with `manually_verified`. From each
    stratum, `fraction` of the rows is drawn, to within one row. At least one clip of each class is not drawn.
    Unlike with `sklearn.model_selection.StratifiedShuffleSplit`, a stratum may have a single row.

    Parameters
    ----------
    labels
        The result of `read_labels`.
    fraction
        Fraction of the rows to draw, in (0, 1).
    seed
        Seed of the random generator.

    Returns
    -------
    ndarray
        bool, (n_rows,): True for the drawn rows.

    Raises
    ------
    InputError
        If `fraction` is not in (0, 1).

    Examples
    --------
    >>> is_validation = stratified_holdout(labels, fraction=0.1, seed=0)
    >>> train, validation = labels[~is_validation], labels[is_validation]
    """
    if not 0 < fraction < 1:
        raise InputError(f"fraction is {fraction}; it must be between 0 and 1")
    order = _stratified_order(labels, seed)
    cumulative_counts = np.floor(np.arange(len(order) + 1) * fraction + 0.5)
    is_drawn = np.zeros(len(order), bool)
    is_drawn[order] = np.diff(cumulative_counts) > 0
    y_true = multi_hot(labels, class_names(labels))
    for is_in_class in y_true.T:
        if is_drawn[is_in_class].all():
            is_drawn[is_in_class.argmax()] = False
    return is_drawn


def stratified_folds(labels: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    """Assign the rows to folds, with the strata of `stratified_holdout`.

    Folds differ by at most one row per stratum and in total. Unlike with
    `sklearn.model_selection.StratifiedKFold`, every stratum may have fewer rows than there are folds.

    Parameters
    ----------
    labels
        The result of `read_labels`.
    n_folds
        Number of folds, at least 2.
    seed
        Seed of the random generator.

    Returns
    -------
    ndarray
        int, (n_rows,): fold from 0 to `n_folds - 1`.

    Raises
    ------
    InputError
        If there are fewer than 2 folds, or more folds than rows.

    Examples
    --------
    >>> fold = stratified_folds(labels, n_folds=5, seed=0)
    >>> train, validation = labels[fold != 0], labels[fold == 0]
    """
    if n_folds < 2:
        raise InputError(f"{n_folds} folds; there must be at least 2")
    if n_folds > len(labels):
        raise InputError(f"--folds {n_folds} exceeds the number of clips, {len(labels)}; give fewer folds")
    order = _stratified_order(labels, seed)
    fold = np.empty(len(order), int)
    fold[order] = np.arange(len(order)) % n_folds
    return fold


def folds_from_column(labels: pd.DataFrame, column: str) -> np.ndarray:
    """Return the folds in a column of a label file.

    Parameters
    ----------
    labels
        The result of `read_labels`.
    column
        Column with the name of each clip's fold. A number in several forms, such as `1`, `01` and `1.0`, is
        one fold. Numbers are sorted before all other names.

    Returns
    -------
    ndarray
        int, (n_rows,): index of the fold in the sorted names.

    Raises
    ------
    InputError
        If the column is missing, a clip has no fold, or there are not 2 to 100 folds.
    """
    if column not in labels:
        raise InputError(
            f"--fold-column {column}: no such column; the columns are {', '.join(labels.columns)}"
        )
    values = labels[column].astype(object)
    keys = [_fold_key(str(value)) for value in values.where(values.notna(), "")]
    without_fold = [fname for fname, key in zip(labels["fname"], keys, strict=True) if key == NO_FOLD]
    if without_fold:
        raise InputError(f"--fold-column {column}: clip {without_fold[0]!r} has no fold")
    folds = sorted(set(keys))
    names = [name or f"{number:f}" for _, number, name in folds]
    if not 2 <= len(folds) <= 100:
        count = f"{len(folds)} folds" if len(folds) > 1 else f"one fold, {names[0]!r}"
        raise InputError(f"--fold-column {column}: the column has {count}; there must be 2 to 100")
    log.info("folds from column %s: %s", column, ", ".join(names))
    index = {key: i for i, key in enumerate(folds)}
    return np.array([index[key] for key in keys], int)


def warn_missing_classes(place: StrPath, labels: pd.DataFrame, is_selected: np.ndarray) -> None:
    """Log the classes of a label file that no selected clip has; `place` is where these clips are."""
    absent = sorted({*class_names(labels)} - {*class_names(labels[is_selected])})
    if absent:
        log.warning("%s has no clip of %s", place, shorten_list(absent, MAX_CLASSES))


def _fold_key(text: str) -> tuple[int, Decimal, str]:
    """Return a key by which folds are told apart and sorted."""
    number = parse_number(text)
    return (1, Decimal(0), text.strip()) if number is None else (0, number.normalize(), "")


def _stratified_order(labels: pd.DataFrame, seed: int) -> np.ndarray:
    """Return the row indices, shuffled and then sorted by stratum: every k-th one is a stratified sample."""
    columns = [name for name in (LABEL_COLUMN, LABELS_COLUMN, "manually_verified") if name in labels]
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    strata = labels[columns].iloc[shuffled].astype(str).agg("\t".join, axis=1)
    return shuffled[np.argsort(strata.to_numpy(dtype=str), kind="stable")]
