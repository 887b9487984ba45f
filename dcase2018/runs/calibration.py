"""What makes a run's scores shares of clips that are right: a temperature, found by validation clips."""

import dataclasses
from pathlib import Path
from typing import Annotated

from dcase2018.foundation import Amount, Count, InputError, Rule, from_dict, publish_json, read_object

FILE = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What fit keeps beside the trained network.

    Attributes
    ----------
    temperature
        What the logarithms of scores are to be divided by.
    clips
        How many verified validation clips it was found by.
    error, calibrated_error
        Expected calibration error of their scores as they are, and with the temperature.
    """

    temperature: Annotated[float, Rule("what logarithms of scores are divided by", above=0)]
    clips: Count
    error: Amount
    calibrated_error: Amount

    @classmethod
    def load(cls, run: Path) -> "Calibration":
        """Read that of a run's folder.

        Raises
        ------
        InputError
            If there is none, or it is damaged.
        """
        file = run / FILE
        if not file.is_file():
            raise InputError(
                f"{file} does not exist; dcase2018 fit --validation writes it, by verified clips"
            )
        try:
            return from_dict(cls, read_object(file))
        except InputError as error:
            raise InputError(f"{file} is damaged or foreign: {error}; fit it again with --force") from None

    def save(self, run: Path) -> None:
        """Write it into a run's folder."""
        publish_json(run / FILE, dataclasses.asdict(self))
