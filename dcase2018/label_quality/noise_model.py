"""How likely each clip's label is right, by networks that have not learned it, or not yet by heart.

Their scores, at the temperature that fits the verified clips, are taken for p(class | clip). The label of an
unverified clip is right with probability 1 - error, or else any other class's, by chance (the symmetric noise
of Angluin & Laird, "Learning from noisy examples", 1988). Bayes' rule then tells which class is the true one:

    P(class | clip, label) ~ p(class | clip) * (1 - error, if it is the label's; else error / (classes - 1))

and the error is that under which the labels of all unverified clips together are most likely.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from scipy.special import softmax

from dcase2018.data.labels import LABELS_COLUMN, is_multi_label, parse_fraction, read_table, verified_mask
from dcase2018.evaluation.calibration import apply_temperature, fit_temperature
from dcase2018.utils.errors import InputError

VERIFIED_ERROR = 1e-3  # of a verified label, where it is taken for that of another clip of the same sound


def read_out_of_fold(path: Path) -> pd.DataFrame:
    """Read the scores of `out_of_fold`: a row a clip, indexed by fname, a column a class.

    Raises
    ------
    InputError
        If it is no such table, with every error of the file and its line number.
    """
    table = read_table(path)
    if table.header[:3] != ["fname", LABELS_COLUMN, "verified"] or len(table.header) < 4:
        raise InputError(f"{path} is no out_of_fold.csv; dcase2018 fit --folds writes one")
    scores: dict[str, list[float]] = {}
    for line, (fname, _, _, *texts) in table.rows:
        values = [parse_fraction(text) for text in texts]
        if None in values:
            wrong = texts[values.index(None)]
            table.errors.append((line, f"{wrong!r} is no score from 0 to 1"))
        elif fname in scores:
            table.errors.append((line, f"{fname!r} stands there twice"))
        else:
            scores[fname] = cast(list[float], values)
    table.raise_if_invalid()
    return pd.DataFrame.from_dict(scores, orient="index", columns=table.header[3:])


@dataclass(frozen=True)
class LabelPosterior:
    """What is to be believed of clips, in the order of their label file.

    Attributes
    ----------
    classes
        Their names, str, (classes,).
    given_labels
        Number of the class of each label, int, (clips,).
    verified
        Whether a person has checked it, bool, (clips,).
    scores
        What the networks say: (clips, classes).
    pred_probs
        The same at the temperature that fits the verified clips, sums of 1.
    posterior
        How likely each class is the true one, label and all: (clips, classes); that of a verified clip is its
        label's.
    error
        Estimated share of the unverified labels that are wrong.
    """

    classes: np.ndarray
    given_labels: np.ndarray
    verified: np.ndarray
    scores: np.ndarray
    pred_probs: np.ndarray
    posterior: np.ndarray
    error: float

    @property
    def predicted_labels(self) -> np.ndarray:
        """Number of the class that is most likely the true one, int, (clips,)."""
        return self.posterior.argmax(axis=1)

    def posterior_of(self, chosen: np.ndarray) -> np.ndarray:
        """How likely a class each, by its number, is the true one: (clips,)."""
        return self.posterior[np.arange(len(chosen)), chosen]

    def scores_of(self, chosen: np.ndarray) -> np.ndarray:
        """What the networks say of a class each, by its number: (clips,)."""
        return self.scores[np.arange(len(chosen)), chosen]


def infer_true_labels(
    labels: pd.DataFrame, scores: pd.DataFrame, near_duplicates: csr_array | None = None
) -> LabelPosterior:
    """Judge labels by scores of networks that have not learned the clips.

    Parameters
    ----------
    labels
        See `read_labels`; it must tell which clips are verified.
    scores
        A row a clip, indexed by fname, a column a class, in [0, 1].
    twins
        Which clips are of one sound, whose labels tell of each other: (clips, clips), 1 for two of them, and
        0 for a clip and itself.

    Raises
    ------
    InputError
        If the labels do not tell what is verified, a clip has several, or a clip or label has no score.
    """
    _check(labels, scores)
    given = scores.columns.get_indexer(labels["label"])
    checked = verified_mask(labels)
    own = np.eye(scores.shape[1], dtype=bool)[given]
    values = scores.loc[labels["fname"]].to_numpy(float)
    heard, truth, error = estimate_posterior(values, own, checked, near_duplicates)
    return LabelPosterior(scores.columns.to_numpy(str), given, checked, values, heard, truth, error)


def estimate_posterior(
    scores: np.ndarray, own: np.ndarray, checked: np.ndarray, near_duplicates: csr_array | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Weigh what networks say of clips against their labels.

    Parameters
    ----------
    scores
        (clips, classes), in [0, 1].
    own
        Which class each clip's label names, bool, (clips, classes).
    checked
        Whether the label is verified, bool, (clips,).
    twins
        See `infer_true_labels`.

    Returns
    -------
    tuple
        `pred_probs`, `posterior` and `error` of `LabelPosterior`.
    """
    heard = apply_temperature(
        scores, fit_temperature(scores[checked], own[checked], exclusive=True), exclusive=True
    )
    others = max(1, scores.shape[1] - 1)
    error = _error(heard[own][~checked], others)
    wrong = np.where(checked, VERIFIED_ERROR, error)[:, None]
    likely = np.log(np.where(own, 1 - wrong, wrong / others))  # of each label, by the class that is true
    if near_duplicates is not None:
        likely = likely + near_duplicates @ likely
    truth = softmax(np.log(heard) + likely, axis=1)
    truth[checked] = own[checked]
    return heard, truth, error


def _error(own: np.ndarray, others: int) -> float:
    """The share of wrong labels under which the labels that were given are most likely.

    Parameters
    ----------
    own
        Score of each label's class.
    others
        Number of the other classes.
    """

    def unlikelihood(error: float) -> float:
        prior = np.log(error * (1 - error))  # weak: as if one more label were right, and one wrong
        return float(-prior - np.log((1 - error) * own + error / others * (1 - own)).sum())

    return float(minimize_scalar(unlikelihood, bounds=(0, 1), options={"xatol": 1e-6}).x)


def _check(labels: pd.DataFrame, scores: pd.DataFrame) -> None:
    if is_multi_label(labels):
        raise InputError("only files with one label a clip (a column `label`) can be judged")
    if "manually_verified" not in labels:
        raise InputError(
            "the label file does not tell which clips are verified;"
            " add a column manually_verified of 0 and 1 (0 everywhere, if none is)"
        )
    missing = [fname for fname in labels["fname"] if fname not in scores.index]
    if missing:
        raise InputError(f"clip {missing[0]!r} has no scores; run dcase2018 fit --folds on this label file")
    unknown = sorted(set(labels["label"]) - set(scores.columns))
    if unknown:
        raise InputError(f"label {unknown[0]!r} has no scores; run dcase2018 fit --folds on this label file")
