"""Kaggle's submission: `fname,label`, a label being the top three classes parted by single spaces."""

from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.corpus import write_table
from dcase2018.foundation import AnyPath
from dcase2018.scoring.metrics import top_classes


def write_submission(path: AnyPath, scores: pd.DataFrame) -> None:
    """Write the top three classes of each clip.

    Parameters
    ----------
    scores
        A row a clip, indexed by `fname`, a column a class (see `predict`).

    Raises
    ------
    OSError
        If it cannot be written; a file that stood there is then untouched.
    """
    classes = scores.columns.to_numpy(object)
    labels = [" ".join(classes[ranks]) for ranks in top_classes(scores.to_numpy())]
    table = {"fname": scores.index.to_numpy(object), "label": np.array(labels, object)}
    write_table(Path(path), pd.DataFrame(table))


def write_scores(path: AnyPath, scores: pd.DataFrame) -> None:
    """Write all scores: a row a clip, a column a class."""
    write_table(Path(path), scores.reset_index())
