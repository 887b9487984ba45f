"""What is said of answers: confusions against a loop over clips, choices against their rules."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.report import error_analysis as findings
from dcase2018.report.error_analysis import choose, class_table, clip_table, confusion, hardest_labels

CLASSES = ["a", "b", "c", "d"]


def evaluation(scores: list[list[float]], labels: list[str]) -> Evaluation:
    """Clips 0.wav, 1.wav, ... with their labels; several in one are parted by commas."""
    column = "labels" if any("," in label for label in labels) else "label"
    names = [f"{number}.wav" for number in range(len(labels))]
    table = pd.DataFrame({"fname": names, column: labels}, dtype=object)
    return Evaluation(table, np.array(scores, float), CLASSES[: len(scores[0])])


def test_confusions_are_counted_by_class_and_answer() -> None:
    scores = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [0.1, 0.6, 0.3]]
    assert confusion(evaluation(scores, ["a", "a", "c", "c"])).tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]


def test_an_answer_that_is_one_of_several_labels_is_no_confusion() -> None:
    scores = [[0.7, 0.6, 0.1], [0.1, 0.2, 0.9]]
    counts = confusion(evaluation(scores, ["a,b", "a,b"]))
    assert counts.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_classes_tell_what_they_are_taken_for() -> None:
    scores = [[0.1, 0.9, 0], [0.2, 0.8, 0], [0.1, 0, 0.9], [0.9, 0, 0.1], [0, 1, 0]]
    table = class_table(evaluation(scores, ["a", "a", "a", "a", "b"]))
    assert table["taken_for"].tolist() == ["b", "", "", ""]
    assert table["taken_for_clips"].tolist() == [2, 0, 0, 3]
    assert table.loc["a", "MAP@3"] == pytest.approx(np.mean([1 / 2, 1 / 2, 1 / 2, 1]))
    assert table.loc["a", "low"] < table.loc["a", "MAP@3"] < table.loc["a", "high"]
    assert table.loc["c"].drop(["clips", "taken_for", "taken_for_clips"]).isna().all()


def test_clips_tell_the_distance_of_label_and_answer() -> None:
    scores = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    table = clip_table(evaluation(scores, ["a", "b"]))
    assert table["number"].tolist() == [1, 2]
    assert table["margin"].tolist() == pytest.approx([0.5, -0.3])
    assert table["given_label_score"].tolist() == pytest.approx([0.7, 0.3])
    assert table["shown"].tolist() == ["least sure, most right", "most wrong, least sure"]


def test_a_clip_with_several_labels_stands_in_the_class_that_scored_least() -> None:
    several = evaluation([[0.9, 0.4, 0.5], [0.3, 0.2, 0.1]], ["a,b", "a,b,c"])
    assert hardest_labels(several).tolist() == [1, 2]
    assert clip_table(several)["margin"].tolist() == pytest.approx([-0.1, 0.1])  # nothing but labels: 0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_what_is_shown_keeps_the_rules(n_clips: int, n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.full(n_classes, 0.5), n_clips)
    labels = [CLASSES[label] for label in rng.integers(n_classes, size=n_clips)]
    table = clip_table(evaluation(scores.tolist(), labels))
    right = table["top_1"] == table["truth"]
    for label, own in table.groupby("truth"):
        wrong, found = own[~right[own.index]], own[right[own.index]]
        quarter = min(max(len(own) // 4, 1), findings.MOST_OF_A_CLASS)
        for kind, eligible, order, most in (
            ("most wrong", wrong, "margin", findings.MOST_OF_A_CLASS),
            ("most right", found.assign(margin=-found["margin"]), "margin", quarter),
            ("least sure", own, "score_1", quarter),
        ):
            shown = eligible[eligible["shown"].str.contains(kind)]
            expected = eligible.sort_values(order, kind="stable")[:most]
            assert sorted(shown["number"]) == sorted(expected["number"]), (label, kind)


def test_no_more_is_shown_than_is_allowed_and_each_class_has_its_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(10), 40)
    margin = rng.uniform(-1, 1, 400)
    clips = pd.DataFrame(
        {"margin": margin, "score_1": rng.random(400), "average_precision": (margin > 0) * 1.0}
    )
    assert len(choose(clips, classes)) > 100
    monkeypatch.setattr(findings, "MOST_SHOWN", 25)
    chosen = choose(clips, classes)
    assert len(chosen) == 25
    worst = clips.groupby(classes)["margin"].idxmin()
    assert set(worst) <= set(chosen)
