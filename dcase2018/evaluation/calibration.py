"""What makes a run's scores shares of clips that are right: a temperature, found by validation clips."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax

from dcase2018.evaluation.metrics import top_classes
from dcase2018.inference.ensemble import Ensemble
from dcase2018.runs.run import CALIBRATION
from dcase2018.utils.atomic import write_json
from dcase2018.utils.config import Constraint, NonNegativeFloat, NonNegativeInt, from_dict, read_json_object
from dcase2018.utils.errors import InputError


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What fit keeps beside the trained network.

    Attributes
    ----------
    temperature
        What the logarithms of scores are to be divided by.
    clips
        How many verified validation clips it was found by.
    ece_before, ece_after
        Expected calibration error of their scores as they are, and with the temperature.
    """

    temperature: Annotated[float, Constraint("what logarithms of scores are divided by", gt=0)]
    clips: NonNegativeInt
    ece_before: NonNegativeFloat
    ece_after: NonNegativeFloat

    @classmethod
    def load(cls, run: Path) -> "Calibration":
        """Read that of a run's folder.

        Raises
        ------
        InputError
            If there is none, or it is damaged.
        """
        file = run / CALIBRATION
        if not file.is_file():
            raise InputError(
                f"{file} does not exist; dcase2018 fit --validation writes it, by verified clips"
            )
        try:
            return from_dict(cls, read_json_object(file))
        except InputError as error:
            raise InputError(f"{file} is damaged or foreign: {error}; fit it again with --force") from None

    def save(self, run: Path) -> None:
        """Write it into a run's folder."""
        write_json(run / CALIBRATION, dataclasses.asdict(self))


TEMPERATURES = (0.1, 10.0)
SMALLEST = 1e-30  # what is taken for a smaller one; at any of the temperatures it stays a number


def apply_temperature(scores: np.ndarray, temperature: float, exclusive: bool) -> np.ndarray:
    """Divide the logarithms of scores, or their log odds, by a temperature.

    Above 1 scores draw nearer to each other, below they part. The order of a clip's classes stays.

    Parameters
    ----------
    scores
        (clips, classes), in [0, 1].
    exclusive
        Whether a clip has one class, so that its scores sum to 1; else each class has odds of its own.
    """
    tempered = _logarithms(scores, exclusive) / temperature
    return softmax(tempered, axis=1) if exclusive else expit(tempered)


def _logarithms(scores: np.ndarray, exclusive: bool) -> np.ndarray:
    scores = np.clip(scores, SMALLEST, None if exclusive else np.nextafter(1, 0))
    return np.log(scores) if exclusive else logit(scores)


def fit_temperature(scores: np.ndarray, y_true: np.ndarray, exclusive: bool) -> float:
    """Find the temperature at which scores are most likely, by clips that no network has learned.

    Its logarithm is assumed beforehand to be within 1/2 of 0 or so (normally distributed), which decides as
    much as some clips do: few of them do not lead far astray, nor do some that are all right to a bound.
    """
    logarithms = _logarithms(scores, exclusive)

    def unlikelihood(log_temperature: float) -> float:
        tempered = logarithms / np.exp(log_temperature)
        if exclusive:
            likely = log_softmax(tempered, axis=1)[y_true]
        else:
            likely = -np.logaddexp(0, np.where(y_true, -tempered, tempered))
        return float(2 * log_temperature**2 - likely.sum())

    found = minimize_scalar(unlikelihood, bounds=np.log(TEMPERATURES), options={"xatol": 1e-6})
    return float(np.exp(found.x))


def reliability_table(scores: np.ndarray, y_true: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Compare confidence with accuracy, in bins of equal width.

    Parameters
    ----------
    scores
        (clips, classes), in [0, 1].
    truth
        Which classes each clip bears: bool, (clips, classes).

    Returns
    -------
    DataFrame
        A row a bin, those without clips too: its bounds `low` and `high` (`low` < confidence <= `high`),
        `clips`, and the means `confidence` and `accuracy`, NaN without clips.
    """
    best = top_classes(scores, 1)
    confidence = np.take_along_axis(scores, best, axis=1)[:, 0]
    right = np.take_along_axis(y_true, best, axis=1)[:, 0]
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence) - 1, 0, bins - 1)  # a confidence of 0 is in the first
    clips = np.bincount(place, minlength=bins)
    means = [
        np.divide(np.bincount(place, of, bins), clips, out=np.full(bins, np.nan), where=clips > 0)
        for of in (confidence, right)
    ]
    columns = {"low": edges[:-1], "high": edges[1:], "clips": clips}
    return pd.DataFrame(columns | {"confidence": means[0], "accuracy": means[1]})


def calibration_error(scores: np.ndarray, y_true: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error (ECE), in [0, 1]: the distance of accuracy from confidence in a bin of
    `reliability`, averaged over the clips. NaN without clips."""
    table = reliability_table(scores, y_true, bins)
    distance = (table["accuracy"] - table["confidence"]).abs().fillna(0)
    return float((distance * table["clips"]).sum() / table["clips"].sum()) if len(scores) else float("nan")


def load_calibration(ensemble: Ensemble) -> Calibration:
    """Read the calibration of a run, opened as an ensemble of one.

    Raises
    ------
    InputError
        If the run has none, or there are several: their mean is less sure than each of them, so that
        their temperatures may make it worse than it is.
    """
    if len(ensemble.members) > 1:
        raise InputError("a calibration is of one run, and the mean over several is less sure of itself")
    if ensemble.checkpoint is not None:
        raise InputError("a calibration is of the trained network; leave --checkpoint away")
    return Calibration.load(ensemble.members[0].run.path)


def calibrate_scores(ensemble: Ensemble, scores: pd.DataFrame) -> pd.DataFrame:
    """Scores by a run (see `predict`) at its temperature: shares of clips that are right, in the same order.

    Raises
    ------
    InputError
        See `load_calibration`.
    """
    exclusive = ensemble.members[0].run.hparams.classifier == "softmax"
    cooled = apply_temperature(scores.to_numpy(), load_calibration(ensemble).temperature, exclusive)
    return pd.DataFrame(cooled, scores.index, scores.columns)
