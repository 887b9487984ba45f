"""What there is to say of a tagger's answers: tables of classes, confusions and clips, and what to show.

The answer to a clip is the class with the best score. Of a clip with several labels, an answer that is one
of them is right, and the clip stands in the class of the label that scored least.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dcase2018.data.labels import verified_mask
from dcase2018.evaluation.confidence_intervals import intervals
from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.evaluation.metrics import top_classes

# What clips are shown for, and how they are ordered (see `clip_table`).
KINDS = ("most wrong", "least sure", "most right")

MOST_SHOWN = 200  # clips with a picture and a player: they bound the size of the report
MOST_OF_A_CLASS = 5  # for each kind; of those that are not wrong also a quarter of the class at most


def class_table(evaluation: Evaluation) -> pd.DataFrame:
    """Scores with their intervals by class, and what its clips are taken for most.

    The rows and columns of `intervals`, and `taken_for` ("" if all answers are right) and `taken_for_clips`.
    """
    table = intervals(evaluation)
    wrong = confusion(evaluation)
    np.fill_diagonal(wrong, 0)
    most = wrong.max(axis=1)
    names = [evaluation.classes[index] if most[row] else "" for row, index in enumerate(wrong.argmax(axis=1))]
    table["taken_for"] = [*names, ""]
    table["taken_for_clips"] = [*most, wrong.sum()]
    return table


def confusion(evaluation: Evaluation) -> np.ndarray:
    """Count clips by class (rows) and answer (columns): int64, (classes, classes).

    A clip with several labels counts once, on the diagonal, if the answer is one of them; else in the row of
    each of them.
    """
    counts = np.zeros((len(evaluation.classes),) * 2, np.int64)
    for row, column, _ in cells(evaluation):
        counts[row, column] += 1
    return counts


def cells(evaluation: Evaluation) -> list[tuple[int, int, int]]:
    """Where each clip counts in the confusion matrix: (row, column, clip)."""
    answers = top_classes(evaluation.scores, 1)[:, 0]
    rows, clips = np.nonzero(evaluation.y_true.T)
    right = evaluation.y_true[clips, answers[clips]]
    counted = ~right | (rows == answers[clips])
    return [
        (int(row), int(answers[clip]), int(clip))
        for row, clip in zip(rows[counted], clips[counted], strict=True)
    ]


def hardest_labels(evaluation: Evaluation) -> np.ndarray:
    """The class of each clip: that of its labels which scored least, int, (clips,)."""
    return np.where(evaluation.y_true, evaluation.scores, np.inf).argmin(axis=1)


def clip_table(evaluation: Evaluation) -> pd.DataFrame:
    """What `Evaluation.clips` says, and what orders the clips.

    Columns are added: `number`, from 1, before the others; `verified` where the labels tell it (1 or 0);
    `given_label_score`, of the label that scored least; `margin`, by which that is above the best of the other
    classes; and `shown`, the kinds that the clip is shown for, parted by commas.
    """
    table = evaluation.clips
    table.insert(0, "number", np.arange(1, len(table) + 1))
    if "manually_verified" in evaluation.labels:
        table["verified"] = verified_mask(evaluation.labels).astype(int)
    table["given_label_score"] = evaluation.scores[np.arange(len(table)), hardest_labels(evaluation)]
    others = np.where(evaluation.y_true, -np.inf, evaluation.scores).max(axis=1)
    table["margin"] = table["given_label_score"] - np.where(np.isfinite(others), others, 0)
    shown = choose(table, hardest_labels(evaluation))
    table["shown"] = [", ".join(shown.get(clip, [])) for clip in range(len(table))]
    return table


def choose(clips: pd.DataFrame, classes: np.ndarray) -> Mapping[int, list[str]]:
    """Choose what to show: of each class the first few of each kind, all first ones before any second.

    Most wrong is the answer that is furthest above the label, most right the label that is furthest above all
    else, least sure the clip whose best score is lowest.

    Parameters
    ----------
    clips
        `average_precision`, `margin` and `score_1`, a row a clip.
    classes
        The class of each clip, (clips,).
    """
    right = clips["average_precision"].to_numpy() == 1
    margin, best = clips["margin"].to_numpy(), clips["score_1"].to_numpy()
    orders = (
        np.argsort(margin, kind="stable"),
        np.argsort(best, kind="stable"),
        np.argsort(-margin, kind="stable"),
    )
    eligible = (~right, np.ones(len(clips), bool), right)
    quarter = np.clip(np.bincount(classes) // 4, 1, MOST_OF_A_CLASS)
    parts = []
    for kind, order, fit in zip(KINDS, orders, eligible, strict=True):
        part = pd.DataFrame({"clip": order[fit[order]], "kind": kind})
        own = classes[part["clip"]]
        part["place"] = part.groupby(own).cumcount()
        parts.append(part[part["place"] < (MOST_OF_A_CLASS if kind == KINDS[0] else quarter[own])])
    candidates = pd.concat(parts).sort_values("place", kind="stable")
    kept = candidates["clip"].drop_duplicates()[:MOST_SHOWN]
    chosen = candidates[candidates["clip"].isin(kept)]
    return {int(clip): list(kinds) for clip, kinds in chosen.groupby("clip", sort=True)["kind"]}
