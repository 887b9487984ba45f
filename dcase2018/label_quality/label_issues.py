"""Unverified labels, ranked by how likely they are wrong, with reasons."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from dcase2018.features.store import Store
from dcase2018.label_quality.noise_model import LabelPosterior, infer_true_labels
from dcase2018.utils.errors import InputError

# The cosine of two embeddings, less the mean of all, from which on they are of one sound: copies that are
# softer, compressed or a little noisier reach it, others of the class now and then, and of other classes not.
SAME_SOUND = 0.98
EMBEDDINGS_AT_ONCE = 1024

UNUSUAL = 0.05  # share of the verified clips that are as unlike every class as one that is "like no class"

NOTHING = 0.01  # how far a value may be from silence, or from those of other frames, where nothing sounds

NO_SOUND, NO_CLASS, AGREED = "no sound in it", "like no class", "heard as labelled"


def find_label_issues(
    labels: pd.DataFrame,
    scores: pd.DataFrame,
    embeddings: pd.DataFrame | None = None,
    store: Store | None = None,
) -> pd.DataFrame:
    """Rank the unverified clips by how likely their labels are wrong.

    Parameters
    ----------
    labels, scores
        See `dcase2018.label_quality.noise_model.infer_true_labels`.
    embeddings
        A row a clip, indexed by fname: what clips of one sound are found by, whose labels tell of each other.
    store
        What clips with nothing in them are found by.

    Returns
    -------
    DataFrame
        A row an unverified clip, most suspicious first: `rank` from 1, `fname`, `label`, `issue_probability` (how
        likely the label is wrong), `predicted_label` (a class, or ""), `reason`, and the networks' scores of both,
        `given_label_score` and `predicted_label_score` (NaN without a class).

    Raises
    ------
    InputError
        See `infer_true_labels`; or if no clip has an embedding, or one is not in the store.
    """
    near_duplicates = (
        csr_array((len(labels), len(labels))) if embeddings is None else _twins(labels, embeddings)
    )
    silent = np.zeros(len(labels), bool) if store is None else _silent(labels, store)
    beliefs = infer_true_labels(labels, scores, near_duplicates)
    reasons = _reasons(labels, beliefs, near_duplicates, silent)
    suspicion = np.where(silent, 1, 1 - beliefs.posterior_of(beliefs.given_labels))
    ranked = _table(labels, beliefs, suspicion, reasons)[~beliefs.verified]
    ranked = ranked.sort_values(["issue_probability", "fname"], ascending=[False, True], ignore_index=True)
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked


def _twins(labels: pd.DataFrame, embeddings: pd.DataFrame) -> csr_array:
    """Which clips are of one sound: (clips, clips), 1 for two of them, and 0 for a clip and itself."""
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
        np.argwhere(vectors[start : start + EMBEDDINGS_AT_ONCE] @ vectors.T >= SAME_SOUND)
        + np.array([start, 0])
        for start in range(0, len(vectors), EMBEDDINGS_AT_ONCE)
    ]
    one, other = clips[np.concatenate(pairs)].T
    apart = one != other
    return csr_array((np.ones(apart.sum()), (one[apart], other[apart])), shape=(len(labels), len(labels)))


def _silent(labels: pd.DataFrame, store: Store) -> np.ndarray:
    """Which clips have no frames, or only such as digital silence or a constant has: bool, (clips,)."""

    def is_silent(frames: np.ndarray) -> bool:
        frames = frames.astype(np.float32)
        still = len(frames) > 1 and np.ptp(frames, axis=0).max() <= NOTHING
        return bool(still or (np.abs(frames - store.feature_config.silence_value) <= NOTHING).all())

    return np.array([is_silent(store.frames_of(row)) for row in store.rows_of(labels["fname"])], bool)


def _reasons(
    labels: pd.DataFrame, beliefs: LabelPosterior, near_duplicates: csr_array, silent: np.ndarray
) -> np.ndarray:
    """Why each label is, or is not, suspected: str, (clips,)."""
    heard, checked = beliefs.pred_probs.max(axis=1), beliefs.verified
    least = np.quantile(heard[checked], UNUSUAL) if checked.any() else 0
    reasons = np.where(
        beliefs.predicted_labels == beliefs.given_labels,
        AGREED,
        np.char.add("heard as ", beliefs.classes[beliefs.predicted_labels]),
    ).astype(object)
    reasons[heard < least] = NO_CLASS
    for clip in np.flatnonzero(np.diff(near_duplicates.indptr)):
        others = near_duplicates.indices[near_duplicates.indptr[clip] : near_duplicates.indptr[clip + 1]]
        others = others[beliefs.given_labels[others] != beliefs.given_labels[clip]]
        if len(others):
            twin = others[checked[others].argmax()]  # a verified one, if there is one
            fname, label = labels["fname"].iloc[twin], beliefs.classes[beliefs.given_labels[twin]]
            reasons[clip] = f"same sound as {fname}, {'verified' if checked[twin] else 'labelled'} {label}"
    reasons[silent] = NO_SOUND
    return reasons


def _table(
    labels: pd.DataFrame, beliefs: LabelPosterior, suspicion: np.ndarray, reasons: np.ndarray
) -> pd.DataFrame:
    """The columns of `suspects` but for the rank, a row a clip, in the order of the labels."""
    best = np.where(np.isin(reasons, (NO_SOUND, NO_CLASS)), beliefs.given_labels, beliefs.predicted_labels)
    proposed = best != beliefs.given_labels
    return pd.DataFrame(
        {
            "fname": labels["fname"],
            "label": labels["label"],
            "issue_probability": suspicion,
            "predicted_label": np.where(proposed, beliefs.classes[best], ""),
            "reason": reasons,
            "given_label_score": beliefs.scores_of(beliefs.given_labels),
            "predicted_label_score": np.where(proposed, beliefs.scores_of(best), np.nan),
        }
    )
