"""Parts of a label file: what is held out, and folds."""

import logging

import numpy as np
import pandas as pd

from dcase2018.data.labels import LABEL_COLUMN, LABELS_COLUMN, class_names, multi_hot
from dcase2018.utils.errors import InputError

log = logging.getLogger(__name__)


def stratified_holdout(labels: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """Draw the rows of a validation set: bool, (rows,).

    Every stratum (label, or all labels, and `manually_verified` together) gives its share, to within one row;
    but no class is held out whole.

    Parameters
    ----------
    fraction
        Share of the rows to hold out, in (0, 1).
    """
    order = _stratified_order(labels, seed)
    shares = np.floor(np.arange(len(order) + 1) * fraction + 0.5)
    chosen = np.zeros(len(order), bool)
    chosen[order] = np.diff(shares) > 0
    y_true = multi_hot(labels, class_names(labels))
    for clips in y_true.T:
        if chosen[clips].all():
            chosen[clips.argmax()] = False  # the first of them is learned
    return chosen


def stratified_folds(labels: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    """Deal the rows into folds 0 to `n_folds - 1`, stratified as in `stratified_holdout`: int, (rows,).

    Raises
    ------
    InputError
        If there are more folds than rows.
    """
    if n_folds > len(labels):
        raise InputError(f"--folds {n_folds} is more than there are clips ({len(labels)}); give fewer")
    order = _stratified_order(labels, seed)
    fold = np.empty(len(order), int)
    fold[order] = np.arange(len(order)) % n_folds
    return fold


def folds_from_column(labels: pd.DataFrame, column: str) -> np.ndarray:
    """Take the folds that a column names, numbered from 0 in ascending order: int, (rows,).

    Raises
    ------
    InputError
        If there is no such column, a clip has no fold, or there are not 2 to 100 of them.
    """
    if column not in labels:
        raise InputError(f"--fold-column {column}: the label file has {', '.join(labels.columns)}")
    without = labels["fname"][labels[column] == ""]
    if len(without):
        raise InputError(f"--fold-column {column}: clip {without.iloc[0]!r} has no fold")
    names = sorted(set(labels[column]), key=_by_number)
    if not 2 <= len(names) <= 100:
        found = f"{len(names)} folds" if len(names) > 1 else f"one fold, {names[0]!r}"
        raise InputError(f"--fold-column {column}: it names {found}; there must be 2 to 100")
    log.info("folds by %s: %s", column, ", ".join(names))
    return labels[column].map({name: number for number, name in enumerate(names)}).to_numpy(int)


def _by_number(name: str) -> tuple[int, str]:
    """Sort names that are numbers by them, and others, by the alphabet, behind."""
    return (int(name), "") if name.isdecimal() else (1 << 62, name)


def _stratified_order(labels: pd.DataFrame, seed: int) -> np.ndarray:
    """Row numbers, shuffled, then sorted by stratum: every k-th of them is a stratified draw."""
    keys = [name for name in (LABEL_COLUMN, LABELS_COLUMN, "manually_verified") if name in labels]
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    strata = labels[keys].iloc[shuffled].agg("\t".join, axis=1)
    return shuffled[np.argsort(strata.to_numpy(dtype=str), kind="stable")]
