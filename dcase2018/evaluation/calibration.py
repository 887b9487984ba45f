"""Calibration of scores by temperature scaling.

Guo et al., "On calibration of modern neural networks", ICML 2017.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, ndtri, softmax

from dcase2018.evaluation.metrics import is_top_1_correct
from dcase2018.inference.ensemble import Ensemble
from dcase2018.runs.run import CALIBRATION
from dcase2018.utils.atomic import write_json
from dcase2018.utils.config import Constraint, NonNegativeFloat, NonNegativeInt, from_dict, read_json_object
from dcase2018.utils.errors import InputError

TEMPERATURE_BOUNDS = (0.2, 10.0)  # a lower temperature rounds different scores to 1
EPS = 1e-30  # smaller scores are raised to it; its logarithm divided by any allowed temperature is finite


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibration of a run, stored as calibration.json in its folder.

    Attributes
    ----------
    temperature : float
        Divisor of the log scores.
    clips : int
        Number of verified validation clips that it was fitted on.
    ece_before, ece_after : float
        Expected calibration error of the scores of these clips, without and with the temperature.
    """

    temperature: Annotated[float, Constraint("divisor of the log scores", gt=0)]
    clips: NonNegativeInt
    ece_before: NonNegativeFloat
    ece_after: NonNegativeFloat

    @classmethod
    def load(cls, run: Path) -> "Calibration":
        """Read the calibration of a run folder.

        Raises
        ------
        InputError
            If the file is missing or damaged.
        """
        path = run / CALIBRATION
        if not path.exists():
            raise InputError(
                f"{path} does not exist; train with dcase2018 fit --validation and verified clips to write it"
            )
        try:
            return from_dict(cls, read_json_object(path))
        except InputError as error:
            raise InputError(
                f"{path} is damaged or of an unknown version: {error}; train again with fit --overwrite"
            ) from None

    def save(self, run: Path) -> None:
        write_json(run / CALIBRATION, dataclasses.asdict(self))


def apply_temperature(scores: np.ndarray, temperature: float, is_single_label: bool) -> np.ndarray:
    """Divide log scores (or log odds) by a temperature; the ranking of the classes stays the same.

    A temperature above 1 makes the scores less confident, one below 1 more confident. Scores within 0.001 of
    1 may become equal.

    Parameters
    ----------
    scores : ndarray, (n_clips, n_classes)
        Scores in [0, 1].
    temperature : float
    is_single_label : bool
        Whether the scores of a clip sum to 1 (softmax). Otherwise each class is scaled on its own (sigmoid).

    Returns
    -------
    ndarray of float64, (n_clips, n_classes)
    """
    logits = _logits(scores, is_single_label) / temperature
    return softmax(logits, axis=1) if is_single_label else expit(logits)


def _logits(scores: np.ndarray, is_single_label: bool) -> np.ndarray:
    scores = np.clip(scores, EPS, None if is_single_label else np.nextafter(1, 0))
    return np.log(scores) if is_single_label else logit(scores)


def fit_temperature(scores: np.ndarray, y_true: np.ndarray, is_single_label: bool) -> float:
    """Fit the temperature that maximizes the posterior of held-out clips.

    The prior of the log temperature is normal with mean 0 and standard deviation 1/2. It weighs as much as a
    few clips, so that few clips, or clips that are all correct, give no extreme temperature.

    Parameters
    ----------
    scores : ndarray, (n_clips, n_classes)
        Scores of clips that were not trained on.
    y_true : ndarray of bool, (n_clips, n_classes)
    is_single_label : bool
        See `apply_temperature`.
    """
    logits = _logits(scores, is_single_label)

    def neg_log_posterior(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if is_single_label:
            log_likelihood = log_softmax(scaled, axis=1)[y_true]
        else:
            log_likelihood = -np.logaddexp(0, np.where(y_true, -scaled, scaled))
        return float(2 * log_temperature**2 - log_likelihood.sum())

    result = minimize_scalar(neg_log_posterior, bounds=np.log(TEMPERATURE_BOUNDS), options={"xatol": 1e-6})
    return float(np.exp(result.x))


def reliability_table(scores: np.ndarray, y_true: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Compare confidence with accuracy, in bins of equal width.

    Parameters
    ----------
    scores : ndarray, (n_clips, n_classes)
        Scores in [0, 1].
    y_true : ndarray of bool, (n_clips, n_classes)
    bins : int

    Returns
    -------
    DataFrame
        One row per bin: its bounds `low` and `high` (low < confidence <= high), `n_clips`, and the means
        `confidence` and `accuracy`, NaN in a bin without clips.
    """
    confidence, is_correct = scores.max(axis=1), is_top_1_correct(scores, y_true)
    edges = np.linspace(0, 1, bins + 1)
    bin_of_clip = np.clip(np.searchsorted(edges, confidence) - 1, 0, bins - 1)  # confidence 0: first bin
    n_clips = np.bincount(bin_of_clip, minlength=bins)
    means = [
        np.divide(np.bincount(bin_of_clip, x, bins), n_clips, out=np.full(bins, np.nan), where=n_clips > 0)
        for x in (confidence, is_correct)
    ]
    columns = {"low": edges[:-1], "high": edges[1:], "n_clips": n_clips}
    return pd.DataFrame(columns | {"confidence": means[0], "accuracy": means[1]})


def calibration_error(scores: np.ndarray, y_true: np.ndarray, bins: int = 10) -> float:
    """Compute the expected calibration error (ECE), in [0, 1]; NaN without clips.

    It is the absolute difference of accuracy and confidence in a bin of `reliability_table`, averaged over
    the clips.
    """
    if not len(scores):
        return float("nan")
    table = reliability_table(scores, y_true, bins)
    difference = (table["accuracy"] - table["confidence"]).abs().fillna(0)
    return float((difference * table["n_clips"]).sum() / table["n_clips"].sum())


def confidence_bias(scores: np.ndarray, y_true: np.ndarray) -> dict[str, Any]:
    """Compare mean confidence and accuracy: are scores too confident or too cautious?

    Parameters
    ----------
    scores, y_true : ndarray, (n_clips, n_classes)
        See `reliability_table`; one clip or more.

    Returns
    -------
    dict
        `confidence` and `accuracy`, means over the clips; `difference`, of confidence minus accuracy;
        `interval`, its normal 95 % interval, None for a single clip; and `verdict`: `overconfident` or
        `underconfident` if the interval excludes 0, else `unbiased`, or `unknown` for a single clip.
    """
    confidence, is_correct = scores.max(axis=1), is_top_1_correct(scores, y_true)
    differences = confidence - is_correct
    mean, interval, verdict = float(differences.mean()), None, "unknown"
    if len(differences) > 1:
        half_width = ndtri(0.975) * differences.std(ddof=1) / np.sqrt(len(differences))
        interval = [float(mean - half_width), float(mean + half_width)]
        verdict = "overconfident" if interval[0] > 0 else "underconfident" if interval[1] < 0 else "unbiased"
    return {
        "confidence": float(confidence.mean()),
        "accuracy": float(is_correct.mean()),
        "difference": mean,
        "interval": interval,
        "verdict": verdict,
    }


def load_calibration(ensemble: Ensemble) -> Calibration:
    """Read the calibration of a run that was opened as an ensemble of one.

    Raises
    ------
    InputError
        If the run has none, a checkpoint is selected, or there are several runs: averaging changes the
        calibration.
    """
    if len(ensemble.members) > 1:
        raise InputError("--calibrate supports a single run: averaging several runs changes the calibration")
    if ensemble.checkpoint is not None:
        raise InputError("--calibrate supports the final model only: omit --checkpoint")
    return Calibration.load(ensemble.members[0].run.path)


def calibrate(ensemble: Ensemble, scores: pd.DataFrame) -> pd.DataFrame:
    """Apply the temperature of a run to its scores; the ranking of the classes stays the same.

    Parameters
    ----------
    ensemble : Ensemble
        The run, opened as an ensemble of one.
    scores : DataFrame
        Scores by this run, one row per clip, one column per class (see `predict`).

    Raises
    ------
    InputError
        If the run has no calibration, a checkpoint is selected, or there are several runs.

    Examples
    --------
    >>> ensemble = dcase2018.Ensemble.open("runs/first", dcase2018.Store("features/test.h5"))
    >>> dcase2018.calibrate(ensemble, dcase2018.predict(ensemble))
    """
    is_single_label = ensemble.members[0].run.hparams.classifier == "softmax"
    temperature = load_calibration(ensemble).temperature
    calibrated = apply_temperature(scores.to_numpy(), temperature, is_single_label)
    return pd.DataFrame(calibrated, scores.index, scores.columns)
