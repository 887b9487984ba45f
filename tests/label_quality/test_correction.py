"""Label correction: which known errors are corrected, and the errors of its input."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import run_fails, run_ok
from noisy_labels import make_labels_with_no_class, make_noisy_labels, write_noisy_labels

from dcase2018.data.labels import read_labels
from dcase2018.evaluation.out_of_fold import read_out_of_fold
from dcase2018.label_quality.correction import correct_labels
from dcase2018.utils.errors import InputError


def test_most_known_errors_are_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    labels, scores, true_labels = make_noisy_labels()
    corrected = correct_labels(labels, scores, 0.8)
    is_changed = (corrected.labels["label"] != labels["label"]).to_numpy()
    is_fixed = is_changed & (corrected.labels["label"] == true_labels).to_numpy()
    is_error = (labels["label"] != true_labels).to_numpy()
    precision, recall = is_fixed.sum() / is_changed.sum(), is_fixed.sum() / is_error.sum()
    with capsys.disabled():
        print(f" [correct-labels: precision {precision:.2f}, recall {recall:.2f}] ", end="")
    assert precision > 0.9
    assert recall > 0.5
    assert not is_changed[(labels["manually_verified"] == "1").to_numpy()].any()
    assert corrected.changes["fname"].tolist() == labels["fname"][is_changed].tolist()
    assert (corrected.changes["confidence"] >= 0.8).all()
    assert (corrected.changes["given_label_score"] < corrected.changes["new_label_score"]).all()
    assert len(correct_labels(labels, scores, 0.99).changes) < len(corrected.changes)


def test_weights_are_calibrated() -> None:
    labels, scores, true_labels = make_noisy_labels(10_000)
    corrected = correct_labels(labels, scores, 0.8).labels
    weights = corrected["weight"].to_numpy(float)
    is_verified = (labels["manually_verified"] == "1").to_numpy()
    assert (weights[is_verified] == 1).all()
    is_correct = (corrected["label"] == true_labels).to_numpy()
    for low, high in ((0, 0.5), (0.5, 0.9), (0.9, 0.99), (0.99, 1)):
        in_bin = ~is_verified & (low <= weights) & (weights <= high)
        assert weights[in_bin].mean() == pytest.approx(is_correct[in_bin].mean(), abs=0.1)
    twice = correct_labels(corrected, scores, 0.8).labels
    assert twice.columns.tolist() == corrected.columns.tolist() == [*labels.columns, "weight"]


def test_clips_of_none_of_the_classes_keep_their_label_with_a_small_weight() -> None:
    labels, scores, true_classes, posterior = make_labels_with_no_class()
    corrected = correct_labels(labels, scores, 0.0)
    is_of_no_class = posterior[:, -1] > 0.6
    assert (corrected.labels["label"] == labels["label"])[is_of_no_class].all()
    weights = corrected.labels["weight"].to_numpy(float)
    assert weights[is_of_no_class].mean() < 0.1
    unverified = (labels["manually_verified"] == "0").to_numpy()
    is_correct = corrected.labels["label"] == np.append(scores.columns, "none")[true_classes]
    assert weights[unverified].mean() == pytest.approx(is_correct[unverified].mean(), abs=0.02)
    sure = correct_labels(labels, scores, 0.7)
    precision = is_correct[sure.changes.index].mean()
    assert len(sure.changes) > 50
    assert precision > 0.8


def test_command_writes_labels_and_changes_and_keeps_its_input(tmp_path: Path) -> None:
    labels, scores, _ = make_noisy_labels(100)
    write_noisy_labels(tmp_path, labels, scores)
    before = (tmp_path / "train.csv").read_bytes()
    new_csv = tmp_path / "new.csv"
    printed = run_ok("correct-labels", tmp_path / "train.csv", tmp_path / "out_of_fold.csv", "-o", new_csv)
    changes = pd.read_csv(tmp_path / "new.changes.csv")
    assert list(changes) == [
        "fname", "label", "new_label", "source", "given_label_score", "new_label_score", "confidence",
    ]  # fmt: skip
    assert printed == f"{new_csv}: {len(changes)} of 100 labels changed\n"
    assert len(changes) > 2
    assert (tmp_path / "train.csv").read_bytes() == before
    new_labels = read_labels(new_csv).set_index("fname")["label"]
    assert new_labels[changes["fname"]].tolist() == changes["new_label"].tolist()
    message = run_fails(2, "correct-labels", tmp_path / "train.csv", tmp_path / "train.csv", "-o", new_csv)
    assert "is not an out_of_fold.csv; dcase2018 fit --folds writes one" in message


def test_clips_and_labels_without_scores_are_reported() -> None:
    labels, scores, _ = make_noisy_labels(20)
    with pytest.raises(InputError, match=r"clip '3.wav' has no scores"):
        correct_labels(labels, scores.drop(index="3.wav"), 0.8)
    with pytest.raises(InputError, match=r"label 'Oboe' has no scores"):
        correct_labels(labels, scores.drop(columns="Oboe"), 0.8)
    with pytest.raises(InputError, match="does not mark verified clips"):
        correct_labels(labels.drop(columns="manually_verified"), scores, 0.8)
    with pytest.raises(InputError, match="clips with several labels are not supported"):
        correct_labels(labels.rename(columns={"label": "labels"}), scores, 0.8)


def test_invalid_scores_are_reported_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "out_of_fold.csv"
    header = "fname,labels,verified,Bark,Bus\n"
    path.write_text(header + "a.wav,Bark,True,0.5,0.5\n")
    assert read_out_of_fold(path).loc["a.wav"].tolist() == [0.5, 0.5]
    path.write_text(header + "a.wav,Bark,True,0.5,much\na.wav,Bus,True,nan,0\nb.wav,Bus,True\n")
    with pytest.raises(InputError) as raised:
        read_out_of_fold(path)
    assert str(raised.value).split(": ", 1)[1].splitlines() == [
        "3 errors:",
        "  line 2: score 'much' is not a number from 0 to 1",
        "  line 3: score 'nan' is not a number from 0 to 1",
        "  line 4: 3 fields, expected 5",
    ]
