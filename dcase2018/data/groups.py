"""Groups of clips that must be on one side of a split, such as the clips of one recording.

A group is named by a column of the label file or by the file names, or consists of identical clips. Clips of
one group in training and validation, or in training and test, make scores look better than they are.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dcase2018.data.label_builders import template_regex
from dcase2018.utils.errors import InputError, shorten_list

log = logging.getLogger(__name__)

# Fields of a pattern that differ between the clips of a group.
MEMBER_FIELDS = ("n", "rest")

# How to avoid clips on both sides, for messages.
KEEP_COPIES = "fit --folds and split --content FOLDER keep copies on one side"
KEEP_RECORDINGS = (
    "split and fit --folds keep recordings on one side with --groups COLUMN or --groups-from PATTERN,"
    " such as '{site}_{recording}_{n}'"
)


def read_groups(labels: pd.DataFrame, column: str | None, pattern: str | None) -> np.ndarray | None:
    """Return the groups of `--groups COLUMN` or `--groups-from PATTERN`; None without either.

    Raises
    ------
    InputError
        If both are given, or see `groups_from_column` and `groups_from_pattern`.
    """
    if column is not None and pattern is not None:
        raise InputError("--groups and --groups-from exclude each other")
    if column is not None:
        return groups_from_column(labels, column)
    return None if pattern is None else groups_from_pattern(labels, pattern)


def groups_from_column(labels: pd.DataFrame, column: str) -> np.ndarray:
    """Return the group of each clip in a column of a label file: object, (n_rows,).

    Raises
    ------
    InputError
        If the column is missing, or a clip has no group.
    """
    if column not in labels:
        raise InputError(f"--groups {column}: no such column; the columns are {', '.join(labels.columns)}")
    without_group = labels["fname"][labels[column] == ""]
    if len(without_group):
        raise InputError(
            f"--groups {column}: {len(without_group)} clips have no group, such as"
            f" {without_group.iloc[0]!r}; fill in the column"
        )
    return labels[column].to_numpy(object)


def groups_from_pattern(labels: pd.DataFrame, pattern: str) -> np.ndarray:
    """Return the group of each clip in its file name.

    Parameters
    ----------
    labels
        The result of `read_labels`.
    pattern
        A template such as `{site}_{recording}_{n}`, as in `labels_from_filenames`. The fields `n` and `rest`
        differ within a group; all other fields together are the group. A pattern without a suffix is matched
        against the name without its suffix.

    Returns
    -------
    ndarray
        object, (n_rows,): the fields of the group, as a tuple.

    Raises
    ------
    InputError
        If the pattern has no field `n` or `rest`, or no other field, or does not match a name.
    """
    option = f"--groups-from {pattern!r}"
    regex = re.compile(template_regex(pattern, option))
    names = [name for name in regex.groupindex if name not in MEMBER_FIELDS]
    if not names or len(names) == len(regex.groupindex):
        raise InputError(
            f"{option} must have the field {{n}}, which differs within a group, and other fields,"
            " which are the group; write, for example, '{recording}_{n}'"
        )
    matches = [regex.fullmatch(_matched_name(fname, pattern)) for fname in labels["fname"]]
    unmatched = [repr(fname) for fname, match in zip(labels["fname"], matches, strict=True) if match is None]
    if unmatched:
        raise InputError(
            f"{option} does not match {len(unmatched)} of {len(matches)} names: {shorten_list(unmatched)};"
            " write another pattern, or give the groups in a column with --groups COLUMN"
        )
    groups = np.empty(len(matches), object)
    groups[:] = [tuple(match[name] for name in names) for match in matches if match]
    return groups


def _matched_name(fname: str, pattern: str) -> str:
    """Return what a pattern is matched against: path or name, with or without suffix."""
    name = fname if "/" in pattern else fname.rpartition("/")[2]
    if PurePosixPath(pattern).suffix:
        return name
    return name.removesuffix(PurePosixPath(name).suffix)


def equal_keys(keys: np.ndarray) -> np.ndarray:
    """Group the clips with the same key, except 0, which is a group for each clip: int, (n_clips,)."""
    groups = pd.factorize(keys)[0]
    is_zero = keys == 0
    groups[is_zero] = len(keys) + np.arange(is_zero.sum())
    return groups


def merge_groups(*groupings: Sequence[object] | np.ndarray | None) -> np.ndarray | None:
    """Join groups that have a clip in common.

    Parameters
    ----------
    groupings
        Group of each clip, (n_clips,), by one or more criteria. None is ignored.

    Returns
    -------
    ndarray or None
        int, (n_clips,): clips have the same group if they are in one group by any criterion, or linked by
        other clips. None if there is no criterion.

    Examples
    --------
    >>> merge_groups(["a", "a", "b", "c"], [0, 1, 1, 2]).tolist()
    [0, 0, 0, 1]
    """
    criteria = [grouping for grouping in groupings if grouping is not None]
    if not criteria:
        return None
    n_clips = len(criteria[0])
    clips, nodes, n_nodes = [], [], n_clips
    for grouping in criteria:
        index, names = pd.factorize(pd.Series(grouping, dtype=object), use_na_sentinel=False)
        clips.append(np.arange(n_clips))
        nodes.append(n_nodes + index)
        n_nodes += len(names)
    edges = (np.concatenate(clips), np.concatenate(nodes))
    graph = coo_array((np.ones(len(edges[0]), bool), edges), shape=(n_nodes, n_nodes))
    return connected_components(graph, directed=False)[1][:n_clips]


def check_one_side(groups: np.ndarray, sides: np.ndarray) -> None:
    """Raise `InputError` if a group has clips on several sides.

    Parameters
    ----------
    groups
        Group of each clip, (n_clips,).
    sides
        Fold of each clip, or whether it is a validation clip, (n_clips,).
    """
    pairs = pd.DataFrame({"group": groups, "side": sides}).drop_duplicates()
    shared = pairs["group"][pairs["group"].duplicated()].unique()
    if len(shared):
        raise InputError(
            "groups of --groups or --groups-from are in both training and validation:"
            f" {shorten_list([*map(repr, shared.tolist())])};"
            " use the same option of dcase2018 split, or fit --folds"
        )


def log_copies(fnames: Sequence[str], copies: np.ndarray) -> None:
    """Log how many clips are copies of others, and stay on one side, by their `equal_keys`."""
    is_copy = pd.Series(copies).duplicated().to_numpy()
    if is_copy.any():
        copy = int(is_copy.argmax())
        original = int((copies == copies[copy]).argmax())
        log.info(
            "%d of %d clips are identical to others, such as %r and %r; copies stay on one side",
            is_copy.sum(), len(fnames), fnames[original], fnames[copy],
        )  # fmt: skip


def warn_of_shared_sound(
    fnames: Sequence[str],
    held_out_masks: Iterable[np.ndarray],
    part: str,
    copies: np.ndarray | None = None,
    recordings: np.ndarray | None = None,
) -> None:
    """Warn about held-out clips that are identical to training clips, or cut from the same recordings.

    Parameters
    ----------
    fnames
        Names of all clips.
    held_out_masks
        Which clips are held out, bool, (n_clips,), for each fold. All others are training clips.
    part
        Name of the held-out clips in the message, such as "validation".
    copies
        Group of each clip by content, (n_clips,); see `equal_keys`. None if it is unknown.
    recordings
        Recording of each clip, (n_clips,). None if it is unknown. Identical clips are not counted again.
    """
    n_held_out = 0
    identical: list[tuple[int, int]] = []  # pairs of a held-out clip and a training clip
    related: list[tuple[int, int]] = []
    for is_held_out in held_out_masks:
        n_held_out += int(is_held_out.sum())
        copy_of, relative_of = (_training_partners(groups, is_held_out) for groups in (copies, recordings))
        identical += copy_of.items()
        related += ((clip, other) for clip, other in relative_of.items() if clip not in copy_of)
    for pairs, relation, remedy in (
        (identical, "are identical to training clips", KEEP_COPIES),
        (related, "are named like training clips of the same recording", KEEP_RECORDINGS),
    ):
        if pairs:
            log.warning(
                "%d of %d %s clips %s, such as %r and %r; their scores mislead: %s",
                len(pairs), n_held_out, part, relation, *(fnames[clip] for clip in pairs[0]), remedy,
            )  # fmt: skip


def _training_partners(groups: np.ndarray | None, is_held_out: np.ndarray) -> dict[int, int]:
    """Map the held-out clips whose group has training clips to the first of these."""
    if groups is None:
        return {}
    names, clips = groups.tolist(), np.arange(len(groups))
    first_of_group = {names[clip]: clip for clip in reversed(clips[~is_held_out].tolist())}
    held_out = clips[is_held_out].tolist()
    return {clip: first_of_group[names[clip]] for clip in held_out if names[clip] in first_of_group}
