"""Kaggle's submission: `fname,label`, a label being the top three classes parted by single spaces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.corpus import write_table
from dcase2018.scoring.metrics import top_classes


def write_submission(path: Path, fnames: Sequence[str], scores: np.ndarray, classes: Sequence[str]) -> None:
    """Write the top three classes of each clip.

    Parameters
    ----------
    scores
        (clips, classes).
    """
    labels = [" ".join(classes[index] for index in ranks) for ranks in top_classes(scores)]
    write_table(path, pd.DataFrame({"fname": fnames, "label": labels}, dtype=object))


def write_scores(path: Path, fnames: Sequence[str], scores: np.ndarray, classes: Sequence[str]) -> None:
    """Write all scores: a row a clip, a column a class."""
    table = pd.DataFrame(scores, columns=list(classes))
    table.insert(0, "fname", np.array(fnames, object))
    write_table(path, table)
