"""Error analysis: confusions against hand-made counts, selected clips against their rules."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.reporting import error_analysis
from dcase2018.reporting.error_analysis import (
    class_table,
    clip_table,
    confusion_matrix,
    lowest_scored_labels,
    select_clips,
)

CLASSES = ["a", "b", "c", "d"]


def make_evaluation(scores: list[list[float]], labels: list[str]) -> Evaluation:
    """Clips 0.wav, 1.wav, ... with their labels; several labels of a clip are separated by commas."""
    column = "labels" if any("," in label for label in labels) else "label"
    fnames = [f"{i}.wav" for i in range(len(labels))]
    table = pd.DataFrame({"fname": fnames, column: labels}, dtype=object)
    return Evaluation(table, np.array(scores, float), CLASSES[: len(scores[0])])


def test_confusion_matrix_counts_labels_and_predictions() -> None:
    scores = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [0.1, 0.6, 0.3]]
    counts = confusion_matrix(make_evaluation(scores, ["a", "a", "c", "c"]))
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]


def test_prediction_among_several_labels_is_no_confusion() -> None:
    scores = [[0.7, 0.6, 0.1], [0.1, 0.2, 0.9]]
    counts = confusion_matrix(make_evaluation(scores, ["a,b", "a,b"]))
    assert counts.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_class_table_has_the_most_frequent_confusion() -> None:
    scores = [[0.1, 0.9, 0], [0.2, 0.8, 0], [0.1, 0, 0.9], [0.9, 0, 0.1], [0, 1, 0]]
    table = class_table(make_evaluation(scores, ["a", "a", "a", "a", "b"])).set_index("label")
    assert table["most_confused_with"].tolist() == ["b", "", "", ""]
    assert table["n_confused"].tolist() == [2, 0, 0, 3]
    assert table.loc["a", "map3"] == pytest.approx(np.mean([1 / 2, 1 / 2, 1 / 2, 1]))
    assert table.loc["a", "ci_low"] < table.loc["a", "map3"] < table.loc["a", "ci_high"]
    assert table.loc["c", ["map3", "ci_low", "ci_high"]].isna().all()
    assert table.loc["c", "n_clips"] == 0


def test_class_table_lists_tied_confusions() -> None:
    table = class_table(make_evaluation([[0, 1, 0], [0, 0, 1], [1, 0, 0]], ["a", "a", "b"]))
    assert table["most_confused_with"].tolist() == ["b, c", "a", "", ""]
    assert table["n_confused"].tolist() == [1, 1, 0, 3]


def test_class_table_counts_confusions_of_each_part() -> None:
    evaluation = make_evaluation([[0.1, 0.9], [0.9, 0.1]], ["a", "a"])
    labels = evaluation.labels.assign(usage=["Public", "Private"])
    table = class_table(Evaluation(labels, evaluation.scores, evaluation.classes))
    assert table["part"].tolist() == ["all"] * 3 + ["Private"] * 3 + ["Public"] * 3
    assert table["most_confused_with"].tolist() == ["b", "", "", "", "", "", "b", "", ""]
    assert table["n_confused"].tolist() == [1, 0, 1, 0, 0, 0, 1, 0, 1]


def test_clip_table_has_the_margin_of_the_label() -> None:
    scores = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    table = clip_table(make_evaluation(scores, ["a", "b"]))
    assert table["clip_number"].tolist() == [1, 2]
    assert table["margin"].tolist() == pytest.approx([0.5, -0.3])
    assert table["given_label_score"].tolist() == pytest.approx([0.7, 0.3])
    assert table["shown_as"].tolist() == [
        "least confident, most confident correct",
        "most confident error, least confident",
    ]


def test_clip_with_several_labels_is_grouped_by_the_lowest_score() -> None:
    evaluation = make_evaluation([[0.9, 0.4, 0.5], [0.3, 0.2, 0.1]], ["a,b", "a,b,c"])
    assert lowest_scored_labels(evaluation).tolist() == [1, 2]
    assert clip_table(evaluation)["margin"].tolist() == pytest.approx([-0.1, 0.1])  # no other class: 0


@settings(max_examples=50)
@given(st.integers(1, 200), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_shown_clips_are_the_first_of_each_kind(n_clips: int, n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.full(n_classes, 0.5), n_clips)
    labels = [CLASSES[index] for index in rng.integers(n_classes, size=n_clips)]
    table = clip_table(make_evaluation(scores.tolist(), labels))
    for label, clips in table.groupby("label"):
        is_correct = clips["top_1"] == clips["label"]
        correct = clips[is_correct].assign(margin=lambda table: -table["margin"])
        max_per_class = error_analysis.MAX_PER_CLASS
        quarter = min(max(len(clips) // 4, 1), max_per_class)
        for kind, eligible, column, count in (
            ("most confident error", clips[~is_correct], "margin", max_per_class),
            ("most confident correct", correct, "margin", quarter),
            ("least confident", clips, "score_1", quarter),
        ):
            shown = eligible[eligible["shown_as"].str.contains(kind)]
            expected = eligible.sort_values(column, kind="stable")[:count]
            assert sorted(shown["clip_number"]) == sorted(expected["clip_number"]), (label, kind)


def test_selection_is_limited_and_starts_with_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    class_of_clip = np.repeat(np.arange(10), 40)
    margin = rng.uniform(-1, 1, 400)
    columns = {"margin": margin, "score_1": rng.random(400), "ap_at_3": (margin > 0) * 1.0}
    clips = pd.DataFrame(columns)
    assert len(select_clips(clips, class_of_clip)) > 100
    monkeypatch.setattr(error_analysis, "MAX_CLIPS", 25)
    selected = select_clips(clips, class_of_clip)
    assert len(selected) == 25
    worst = clips.groupby(class_of_clip)["margin"].idxmin()
    assert set(worst) <= set(selected)
