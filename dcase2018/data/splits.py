"""Stratified holdout sets and folds of a label file."""

import logging

import numpy as np
import pandas as pd

from dcase2018.data.labels import LABEL_COLUMN, LABELS_COLUMN, class_names, multi_hot
from dcase2018.utils.config import check_number
from dcase2018.utils.errors import InputError

log = logging.getLogger(__name__)


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
        If `fraction` or `seed` is out of range.

    Examples
    --------
    >>> is_validation = stratified_holdout(labels, fraction=0.1, seed=0)
    >>> train, validation = labels[~is_validation], labels[is_validation]
    """
    check_number("fraction", fraction, float, gt=0, le=1)
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
        Number of folds.
    seed
        Seed of the random generator.

    Returns
    -------
    ndarray
        int, (n_rows,): fold from 0 to `n_folds - 1`.

    Raises
    ------
    InputError
        If there are more folds than rows.

    Examples
    --------
    >>> fold = stratified_folds(labels, n_folds=5, seed=0)
    >>> train, validation = labels[fold != 0], labels[fold == 0]
    """
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
        Column with the name of each clip's fold. Numeric names are sorted as numbers, before all others.

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
    without_fold = labels["fname"][labels[column] == ""]
    if len(without_fold):
        raise InputError(f"--fold-column {column}: clip {without_fold.iloc[0]!r} has no fold")
    names = sorted(set(labels[column]), key=_numeric_key)
    if not 2 <= len(names) <= 100:
        count = f"{len(names)} folds" if len(names) > 1 else f"one fold, {names[0]!r}"
        raise InputError(f"--fold-column {column}: the column has {count}; there must be 2 to 100")
    log.info("folds from column %s: %s", column, ", ".join(names))
    return labels[column].map({name: i for i, name in enumerate(names)}).to_numpy(int)


def _numeric_key(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (1 << 62, name)


def _stratified_order(labels: pd.DataFrame, seed: int) -> np.ndarray:
    """Return the row indices, shuffled and then sorted by stratum: every k-th one is a stratified sample."""
    check_number("seed", seed, int, ge=0, le=2**32 - 1)
    columns = [name for name in (LABEL_COLUMN, LABELS_COLUMN, "manually_verified") if name in labels]
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    strata = labels[columns].iloc[shuffled].agg("\t".join, axis=1)
    return shuffled[np.argsort(strata.to_numpy(dtype=str), kind="stable")]
