"""Stratified holdout sets and folds of a label file, of single clips or of whole groups of clips."""

import logging
import warnings
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from dcase2018.data.label_rules import parse_number
from dcase2018.data.labels import class_names, labels_per_clip, multi_hot, verified_mask
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.config import check_number, check_seed
from dcase2018.utils.errors import InputError, shorten_list

log = logging.getLogger(__name__)

MAX_CLASSES = 20  # named in a message

NO_FOLD = (1, Decimal(0), "")


def stratified_holdout(
    labels: pd.DataFrame, fraction: float, seed: int, groups: Sequence[object] | np.ndarray | None = None
) -> np.ndarray:
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
    groups
        Group of each row, such as its recording, (n_rows,). A group is drawn whole or not at all, so that the
        fractions are met less closely. None: each row is a group of its own.

    Returns
    -------
    ndarray
        bool, (n_rows,): True for the drawn rows.

    Raises
    ------
    InputError
        If `fraction` or `seed` is out of range, `groups` does not have one value per row, or no group can be
        drawn, because each has a class that no other group has.

    Examples
    --------
    >>> is_validation = stratified_holdout(labels, fraction=0.1, seed=0)
    >>> train, validation = labels[~is_validation], labels[is_validation]
    """
    check_seed(seed)
    check_number("fraction", fraction, float, gt=0, le=1)
    if fraction == 1:
        raise InputError("fraction is 1; it must be less, so that clips remain")
    group_index = _group_index(groups, len(labels))
    if group_index is not None:
        return _group_holdout(labels, fraction, seed, group_index)
    order = _stratified_order(labels, seed)
    cumulative_counts = np.floor(np.arange(len(order) + 1) * fraction + 0.5)
    is_drawn = np.zeros(len(order), bool)
    is_drawn[order] = np.diff(cumulative_counts) > 0
    y_true = multi_hot(labels, class_names(labels))
    for is_in_class in y_true.T:
        if is_drawn[is_in_class].all():
            is_drawn[is_in_class.argmax()] = False
    return is_drawn


def stratified_folds(
    labels: pd.DataFrame, n_folds: int, seed: int, groups: Sequence[object] | np.ndarray | None = None
) -> np.ndarray:
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
    groups
        Group of each row, such as its recording, (n_rows,). All rows of a group are in one fold, so that the
        sizes of the folds differ more. None: each row is a group of its own.

    Returns
    -------
    ndarray
        int, (n_rows,): fold from 0 to `n_folds - 1`.

    Raises
    ------
    InputError
        If there are fewer than 2 folds, more folds than rows or groups, `seed` is out of range, or `groups`
        does not have one value per row.

    Examples
    --------
    >>> fold = stratified_folds(labels, n_folds=5, seed=0)
    >>> train, validation = labels[fold != 0], labels[fold == 0]
    """
    check_seed(seed)
    check_number("n_folds", n_folds, int, ge=2)
    if n_folds > len(labels):
        raise InputError(f"--folds {n_folds} exceeds the number of clips, {len(labels)}; give fewer folds")
    group_index = _group_index(groups, len(labels))
    if group_index is not None:
        return _group_folds(labels, n_folds, seed, group_index)
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
    """Return a key that identifies and sorts folds."""
    number = parse_number(text)
    return (1, Decimal(0), text.strip()) if number is None else (0, number.normalize(), "")


def _group_index(groups: Sequence[object] | np.ndarray | None, n_rows: int) -> np.ndarray | None:
    """Number the groups from 0: int, (n_rows,). None if no group has several rows."""
    if groups is None:
        return None
    if len(groups) != n_rows:
        raise InputError(f"groups has {len(groups)} values for {n_rows} clips; give one per clip")
    index = pd.factorize(pd.Series(groups, dtype=object))[0]
    if (index < 0).any():
        raise InputError(f"groups has {(index < 0).sum()} missing values; give one per clip")
    return index if len(index) and index.max() + 1 < n_rows else None


def _group_holdout(labels: pd.DataFrame, fraction: float, seed: int, group_index: np.ndarray) -> np.ndarray:
    """Draw each group that brings the strata closer to `fraction` and leaves every class, in random order."""
    tie_break = np.full(len(labels), 0.01)  # a stratum of all clips, with a small weight
    strata = np.column_stack([pd.get_dummies(_strata(labels)), tie_break])
    y_true = multi_hot(labels, class_names(labels))
    _warn_of_classes_in_one_group(labels, group_index)
    strata_counts, class_counts = (_sum_by_group(values, group_index) for values in (strata, y_true))
    totals, n_kept = strata_counts.sum(axis=0), class_counts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(class_counts))

    def distance(missing: np.ndarray) -> np.ndarray:  # chi-square
        return (missing**2 / totals).sum(axis=-1)

    missing, is_drawn = fraction * totals, np.zeros(len(order), bool)
    can_leave = ~((class_counts > 0) & (class_counts == n_kept)).any(axis=1)
    if not can_leave.any():
        raise InputError(
            "no group can be held out, because each has a class that no other group has; give smaller groups"
        )
    for group in order[can_leave[order]]:
        leaves_classes = (n_kept > class_counts[group])[class_counts[group] > 0].all()
        if leaves_classes and distance(missing - strata_counts[group]) < distance(missing):
            is_drawn[group] = True
            missing, n_kept = missing - strata_counts[group], n_kept - class_counts[group]
    if not is_drawn.any():  # the smallest step beyond the fraction
        candidates = np.flatnonzero(can_leave)
        is_drawn[candidates[distance(missing - strata_counts[candidates]).argmin()]] = True
    return is_drawn[group_index]


def _group_folds(labels: pd.DataFrame, n_folds: int, seed: int, group_index: np.ndarray) -> np.ndarray:
    """Assign whole groups to folds by scikit-learn's `StratifiedGroupKFold`."""
    from sklearn.model_selection import StratifiedGroupKFold  # importing it takes a second

    n_groups = group_index.max() + 1
    if n_folds > n_groups:
        raise InputError(
            f"--folds {n_folds} exceeds the number of groups of clips, {n_groups}; give fewer folds"
        )
    _warn_of_classes_in_one_group(labels, group_index)
    strata = pd.factorize(_strata(labels))[0]
    if np.bincount(strata).max() < n_folds:  # then scikit-learn cannot stratify
        strata = np.zeros_like(strata)
    random_names = np.random.default_rng(seed).permutation(n_groups)
    fold = np.empty(len(labels), int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of strata with fewer clips than folds
        splits = StratifiedGroupKFold(n_folds).split(strata, strata, random_names[group_index])
        for index, (_, held_out) in enumerate(splits):
            fold[held_out] = index
    for empty in np.setdiff1d(np.arange(n_folds), fold):  # rare: about as many groups as folds
        fold[_smallest_group_of_fullest_fold(fold, group_index)] = empty
    return fold


def _smallest_group_of_fullest_fold(fold: np.ndarray, group_index: np.ndarray) -> np.ndarray:
    """Select the rows of the smallest group in the fold with the most groups: bool, (n_rows,)."""
    groups, first, sizes = np.unique(group_index, return_index=True, return_counts=True)
    in_fullest = fold[first] == np.bincount(fold[first]).argmax()
    return group_index == groups[in_fullest][sizes[in_fullest].argmin()]


def _warn_of_classes_in_one_group(labels: pd.DataFrame, group_index: np.ndarray) -> None:
    classes = class_names(labels)
    group_sets = [group_index[is_in_class] for is_in_class in multi_hot(labels, classes).T]
    in_one_group = [
        repr(name)
        for name, groups in zip(classes, group_sets, strict=True)
        if len(groups) > 1 and len(np.unique(groups)) == 1
    ]
    if in_one_group:
        log.warning(
            "classes whose clips are all in one group cannot be in both training and validation: %s",
            shorten_list(in_one_group),
        )


def _sum_by_group(values: np.ndarray, group_index: np.ndarray) -> np.ndarray:
    """Add up the rows of each group: float64, (n_groups, n_columns)."""
    sums = np.zeros((group_index.max() + 1, values.shape[1]))
    np.add.at(sums, group_index, values)
    return sums


def _strata(labels: pd.DataFrame) -> np.ndarray:
    """Return the stratum of each row: its labels and `manually_verified`."""
    pairs = zip(labels_per_clip(labels), verified_mask(labels), strict=True)
    return np.array([f"{','.join(names)}\t{is_verified:d}" for names, is_verified in pairs], str)


def _stratified_order(labels: pd.DataFrame, seed: int) -> np.ndarray:
    """Return the row indices, shuffled and then sorted by stratum: every k-th one is a stratified sample."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    return shuffled[np.argsort(_strata(labels)[shuffled], kind="stable")]
