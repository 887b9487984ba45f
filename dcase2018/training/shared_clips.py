"""Keep clips that share their sound in one fold, and warn if training and validation clips share it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dcase2018.data.groups import check_one_side, equal_keys, log_copies, merge_groups, warn_of_shared_sound
from dcase2018.data.recording_names import find_recordings
from dcase2018.data.splits import stratified_folds
from dcase2018.features.identical_clips import clip_keys
from dcase2018.features.store import Store


def assign_folds(
    labels: pd.DataFrame, store: Store, n_folds: int, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Assign clips to stratified folds, with identical clips in one fold.

    Clips of one recording in several folds are reported, as far as their names show it, unless there are
    `groups`.

    Parameters
    ----------
    labels
        The result of `read_labels`.
    store
        Features of the clips.
    n_folds, seed
        See `stratified_folds`.
    groups
        Group of each clip, (n_clips,); all clips of a group are in one fold.

    Returns
    -------
    ndarray
        int, (n_clips,): fold from 0 to `n_folds - 1`.

    Raises
    ------
    InputError
        If a clip is not in the store, or there are more folds than groups.
    """
    copies = _copies(store, labels["fname"])
    log_copies(list(labels["fname"]), copies)
    fold = stratified_folds(labels, n_folds, seed, merge_groups(groups, copies))
    warn_of_shared_folds(labels, store, fold, groups)
    return fold


def warn_of_shared_folds(
    labels: pd.DataFrame, store: Store, fold: np.ndarray, groups: np.ndarray | None = None
) -> None:
    """Warn of identical clips and clips of one recording in different folds.

    Parameters
    ----------
    labels, store, groups
        See `assign_folds`.
    fold
        Fold of each clip, int, (n_clips,).

    Raises
    ------
    InputError
        If a clip is not in the store, or a group is in several folds.
    """
    _warn(labels, store, [fold == index for index in range(fold.max() + 1)], "held-out", groups)
    if groups is not None:
        check_one_side(groups, fold)


def warn_of_shared_validation(
    labels: pd.DataFrame,
    validation: pd.DataFrame,
    store: Store,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Warn of validation clips that are identical to training clips, or cut from the same recordings.

    Parameters
    ----------
    labels, validation
        Training clips and validation clips (see `read_labels`).
    store
        Features of all clips.
    groups
        Group of each training clip, and of each validation clip.

    Raises
    ------
    InputError
        If a clip is not in the store, or a group has training and validation clips.
    """
    is_validation = np.arange(len(labels) + len(validation)) >= len(labels)
    if groups is not None:
        check_one_side(np.concatenate(groups), is_validation)
    both = pd.concat([labels, validation], ignore_index=True)
    _warn(both, store, [is_validation], "validation", groups)


def _warn(
    labels: pd.DataFrame, store: Store, held_out_masks: Sequence[np.ndarray], part: str, groups: object
) -> None:
    fnames = list(labels["fname"])
    recordings = find_recordings(labels, fnames) if groups is None else None
    warn_of_shared_sound(fnames, held_out_masks, part, _copies(store, fnames), recordings)


def _copies(store: Store, fnames: Sequence[str]) -> np.ndarray:
    return equal_keys(clip_keys(store, store.rows_of(fnames)))
