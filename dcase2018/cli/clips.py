"""The clips of a label file that a command uses: which exist, and which may be scored."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from dcase2018.inference.ensemble import Ensemble


def select_available(
    labels: "pd.DataFrame", available: Collection[str], place: Path, skipped: dict[str, str]
) -> "pd.DataFrame":
    """Drop the clips of a label file that are not available in a place, and add them to `skipped`.

    Raises
    ------
    InputError
        If no clip is left.
    """
    is_available = labels["fname"].isin(list(available))
    if not is_available.any():
        raise InputError(f"none of the {len(labels)} clips is in {place}; is it the right one?")
    skipped |= dict.fromkeys(labels["fname"][~is_available], f"not in {place}")
    return labels[is_available].reset_index(drop=True)


def select_stored(labels: "pd.DataFrame", ensemble: "Ensemble", skipped: dict[str, str]) -> "pd.DataFrame":
    """Drop the clips that a store of the ensemble lacks, and add them to `skipped`."""
    for member in ensemble.members:
        labels = select_available(labels, member.store.rows, member.store.path, skipped)
    return labels


def check_clips(ensemble: "Ensemble", labels: "pd.DataFrame", allow_trained: bool) -> None:
    """Check before the slow import of Keras that the clips of a label file can and may be scored."""
    from dcase2018.evaluation.evaluate import check_training_clips

    ensemble.validate_clips(labels["fname"])
    check_training_clips(ensemble, labels["fname"], allow_trained)
    ensemble.warn_of_namesakes(labels["fname"])
