"""Error analysis: confusions, scores by class, and the clips that a report shows.

The prediction for a clip is the class with the highest score. For a clip with several labels, a prediction
that is one of them is correct, and the clip is grouped under its label with the lowest score.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dcase2018.data.labels import verified_mask
from dcase2018.evaluation.confidence_intervals import score_table
from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.evaluation.metrics import top_classes

# Kinds of clips that a report shows, in order of priority (see `select_clips`).
ERROR, LEAST_CONFIDENT, CORRECT = "most confident error", "least confident", "most confident correct"
CLIP_KINDS = (ERROR, LEAST_CONFIDENT, CORRECT)

MAX_CLIPS = 200  # shown clips, each with a spectrogram and a player: they determine the size of the report
MAX_PER_CLASS = 5  # shown clips of a kind and class; at most a quarter of the class if they are not errors


def class_table(evaluation: Evaluation) -> pd.DataFrame:
    """Compute the score table, with the most frequent confusion of each class.

    Returns
    -------
    DataFrame
        `score_table`, with the columns `most_confused_with` ("" if all predictions are correct; classes that
        are tied are separated by ", ") and `n_confused`, the number of clips of each of them. The row
        `overall` has the number of all errors.
    """
    table = score_table(evaluation)
    names: list[str] = []
    counts: list[int] = []
    for part in evaluation.by_usage.values():
        errors = confusion_matrix(part)
        np.fill_diagonal(errors, 0)
        most = errors.max(axis=1)
        is_most = (errors == most[:, None]) & (errors > 0)
        names += [", ".join(np.array(part.classes, object)[row]) for row in is_most] + [""]
        counts += [*most, errors.sum()]
    return table.assign(most_confused_with=names, n_confused=counts)


def confusion_matrix(evaluation: Evaluation) -> np.ndarray:
    """Count clips by label (rows) and prediction (columns): int64, (n_classes, n_classes).

    A clip with several labels counts once, on the diagonal, if the prediction is one of them; otherwise it
    counts in the row of each label.
    """
    counts = np.zeros((len(evaluation.classes),) * 2, np.int64)
    for row, column, _ in confusion_cells(evaluation):
        counts[row, column] += 1
    return counts


def confusion_cells(evaluation: Evaluation) -> list[tuple[int, int, int]]:
    """List where each clip counts in the confusion matrix, as (row, column, clip index)."""
    predicted = top_classes(evaluation.scores, 1)[:, 0]
    rows, clips = np.nonzero(evaluation.y_true.T)
    is_correct = evaluation.y_true[clips, predicted[clips]]
    is_counted = ~is_correct | (rows == predicted[clips])
    return [
        (int(row), int(predicted[clip]), int(clip))
        for row, clip in zip(rows[is_counted], clips[is_counted], strict=True)
    ]


def lowest_scored_labels(evaluation: Evaluation) -> np.ndarray:
    """Class index of each clip's label with the lowest score: int, (n_clips,)."""
    return np.where(evaluation.y_true, evaluation.scores, np.inf).argmin(axis=1)


def clip_table(evaluation: Evaluation) -> pd.DataFrame:
    """Compute the clip table of a report.

    Returns
    -------
    DataFrame
        `Evaluation.clips`, with the columns `clip_number`, from 1, in front; `verified` (1 or 0) if the label
        file has it; `given_label_score`, of the label with the lowest score; `margin`, that score minus the
        highest score of another class; and `shown_as`, the kinds that the clip is shown as, comma-separated.
    """
    table = evaluation.clips
    table.insert(0, "clip_number", np.arange(1, len(table) + 1))
    if "manually_verified" in evaluation.labels:
        table["verified"] = verified_mask(evaluation.labels).astype(int)
    class_of_clip = lowest_scored_labels(evaluation)
    table["given_label_score"] = evaluation.scores[np.arange(len(table)), class_of_clip]
    best_other = np.where(evaluation.y_true, -np.inf, evaluation.scores).max(axis=1)
    table["margin"] = table["given_label_score"] - np.where(np.isfinite(best_other), best_other, 0)
    kinds = select_clips(table, class_of_clip)
    table["shown_as"] = [", ".join(kinds.get(clip, [])) for clip in range(len(table))]
    return table


def select_clips(clips: pd.DataFrame, class_of_clip: np.ndarray) -> Mapping[int, list[str]]:
    """Select the clips to show: the first few of each kind and class, in rounds over the classes.

    The most confident error has the lowest margin, the most confident correct clip the highest margin, and
    the least confident clip the lowest maximum score.

    Parameters
    ----------
    clips : DataFrame
        `ap_at_3`, `margin` and `score_1`, one row per clip.
    class_of_clip : ndarray of int, (n_clips,)

    Returns
    -------
    dict
        Kinds of each selected clip, by clip index.
    """
    is_correct = clips["ap_at_3"].to_numpy() == 1
    margin, max_score = clips["margin"].to_numpy(), clips["score_1"].to_numpy()
    orders = {ERROR: margin, LEAST_CONFIDENT: max_score, CORRECT: -margin}
    eligible = {ERROR: ~is_correct, LEAST_CONFIDENT: np.ones(len(clips), bool), CORRECT: is_correct}
    quarter = np.clip(np.bincount(class_of_clip) // 4, 1, MAX_PER_CLASS)
    tables = []
    for kind in CLIP_KINDS:
        order = np.argsort(orders[kind], kind="stable")
        table = pd.DataFrame({"clip": order[eligible[kind][order]], "kind": kind})
        classes = class_of_clip[table["clip"]]
        table["rank"] = table.groupby(classes).cumcount()
        tables.append(table[table["rank"] < (MAX_PER_CLASS if kind == ERROR else quarter[classes])])
    candidates = pd.concat(tables).sort_values("rank", kind="stable")
    selected = candidates["clip"].drop_duplicates()[:MAX_CLIPS]
    candidates = candidates[candidates["clip"].isin(selected)]
    return {int(clip): list(kinds) for clip, kinds in candidates.groupby("clip", sort=True)["kind"]}
