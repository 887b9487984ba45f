"""Unverified labels, ranked by the probability that they are wrong, with a reason each."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from dcase2018.features.store import Store
from dcase2018.label_quality.noise_model import LabelPosterior, infer_true_labels
from dcase2018.utils.errors import InputError

# Least cosine of the centred embeddings of near duplicates. Quieter, compressed or slightly noisier copies
# reach it; other clips of the class do occasionally, clips of other classes do not.
DUPLICATE_COSINE = 0.98
EMBEDDING_BATCH = 1024

SILENT, NO_CLASS, AGREES = "silent", "none of the classes", "agrees with label"


def find_label_issues(
    labels: pd.DataFrame,
    scores: pd.DataFrame,
    embeddings: pd.DataFrame | None = None,
    store: Store | None = None,
) -> pd.DataFrame:
    """Rank the unverified clips by the probability that their label is wrong.

    Parameters
    ----------
    labels : DataFrame
        One row per clip (see `read_labels`), with one label each and the column `manually_verified`.
    scores : DataFrame
        Out-of-fold scores, indexed by fname, one column per class (see `read_out_of_fold`).
    embeddings : DataFrame, optional
        One row per clip, indexed by fname. They detect near duplicates, whose labels are combined.
    store : Store, optional
        Features of the clips, with those that are silent or have no frames.

    Returns
    -------
    DataFrame
        One row per unverified clip, most probable issue first: `rank` from 1, `fname`, `label`,
        `issue_probability`, `none_probability` (that the clip is of none of the classes), `predicted_label`
        ("" if it is the given one, or there is none), `reason`, `given_label_score`, and
        `predicted_label_score` (NaN without a predicted label).

    Raises
    ------
    InputError
        If clips have several labels, the column `manually_verified` is missing, a clip or label has no
        scores, no clip has an embedding, or a clip is not in the store.

    Examples
    --------
    >>> scores = dcase2018.read_out_of_fold("runs/folds/out_of_fold.csv")
    >>> issues = dcase2018.find_label_issues(dcase2018.read_labels("train.csv"), scores)
    >>> issues.loc[0, ["label", "reason"]].tolist()
    ['Cough', 'predicted as Shatter']
    """
    near_duplicates = (
        csr_array((len(labels), len(labels))) if embeddings is None else _near_duplicates(labels, embeddings)
    )
    is_silent = np.zeros(len(labels), bool)
    if store is not None:
        rows = store.rows_of(labels["fname"])
        is_silent = store.is_silent[rows] | (store.lengths[rows] == 0)
    posterior = infer_true_labels(labels, scores, near_duplicates)
    reasons = _explain(labels, posterior, near_duplicates, is_silent)
    issues = _issue_table(labels, posterior, reasons, is_silent)[~posterior.is_verified]
    issues = issues.sort_values(["issue_probability", "fname"], ascending=[False, True], ignore_index=True)
    issues.insert(0, "rank", np.arange(1, len(issues) + 1))
    return issues


def _near_duplicates(labels: pd.DataFrame, embeddings: pd.DataFrame) -> csr_array:
    """Pairs of near duplicates: (n_clips, n_clips), 1 for a pair, 0 elsewhere and on the diagonal."""
    row = embeddings.index.get_indexer(labels["fname"])
    clips = np.flatnonzero(row >= 0)
    if not len(clips):
        raise InputError(
            f"no labelled clip has an embedding, such as {labels['fname'].iloc[0]!r};"
            " run dcase2018 embed on the store of this label file"
        )
    vectors = embeddings.to_numpy(float)[row[clips]]
    vectors -= vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(float).tiny)
    pairs = [
        np.argwhere(vectors[start : start + EMBEDDING_BATCH] @ vectors.T >= DUPLICATE_COSINE)
        + np.array([start, 0])
        for start in range(0, len(vectors), EMBEDDING_BATCH)
    ]
    i, j = clips[np.concatenate(pairs)].T
    off_diagonal = i != j
    ones = np.ones(off_diagonal.sum())
    return csr_array((ones, (i[off_diagonal], j[off_diagonal])), shape=(len(labels), len(labels)))


def _explain(
    labels: pd.DataFrame, posterior: LabelPosterior, near_duplicates: csr_array, is_silent: np.ndarray
) -> np.ndarray:
    """Reason for the issue probability of each clip: str, (n_clips,)."""
    given, is_verified = posterior.given_labels, posterior.is_verified
    reasons = np.where(
        posterior.predicted_labels == given,
        AGREES,
        np.char.add("predicted as ", posterior.classes[posterior.predicted_labels]),
    ).astype(object)
    reasons[posterior.has_no_class] = NO_CLASS
    for clip in np.flatnonzero(np.diff(near_duplicates.indptr)):
        duplicates = near_duplicates.indices[near_duplicates.indptr[clip] : near_duplicates.indptr[clip + 1]]
        conflicting = duplicates[given[duplicates] != given[clip]]
        if len(conflicting):
            duplicate = conflicting[is_verified[conflicting].argmax()]  # a verified one, if there is one
            status = "verified" if is_verified[duplicate] else "labelled"
            fname, label = labels["fname"].iloc[duplicate], posterior.classes[given[duplicate]]
            reasons[clip] = f"near duplicate of {fname}, {status} {label}"
    reasons[is_silent] = SILENT
    return reasons


def _issue_table(
    labels: pd.DataFrame, posterior: LabelPosterior, reasons: np.ndarray, is_silent: np.ndarray
) -> pd.DataFrame:
    """All columns of `find_label_issues` except the rank, one row per clip, in the order of the labels."""
    predicted, is_other = posterior.predicted_labels, posterior.has_other_class & ~is_silent
    return pd.DataFrame(
        {
            "fname": labels["fname"],
            "label": labels["label"],
            "issue_probability": np.where(is_silent, 1, 1 - posterior.posterior_of(posterior.given_labels)),
            "none_probability": np.where(is_silent, 1, posterior.none_probs),
            "predicted_label": np.where(is_other, posterior.classes[predicted], ""),
            "reason": reasons,
            "given_label_score": posterior.scores_of(posterior.given_labels),
            "predicted_label_score": np.where(is_other, posterior.scores_of(predicted), np.nan),
        }
    )
