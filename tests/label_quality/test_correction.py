"""Planted errors: which are found, and what is changed beside them."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import run_fails, run_ok
from noisy_labels import corpus, write

from dcase2018.data.labels import read_labels
from dcase2018.label_quality.correction import correct_labels
from dcase2018.label_quality.noise_model import read_out_of_fold
from dcase2018.utils.errors import InputError


def test_planted_errors_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    labels, scores, truth = corpus()
    proposal = correct_labels(labels, scores, 0.8)
    changed = (proposal.labels["label"] != labels["label"]).to_numpy()
    right = changed & (proposal.labels["label"] == truth).to_numpy()
    errors = (labels["label"] != truth).to_numpy()
    precision, recall = right.sum() / changed.sum(), right.sum() / errors.sum()
    with capsys.disabled():
        print(f" [relabel: precision {precision:.2f}, recall {recall:.2f}] ", end="")
    assert precision > 0.9
    assert recall > 0.5
    assert not changed[(labels["manually_verified"] == "1").to_numpy()].any()
    assert proposal.changes["fname"].tolist() == labels["fname"][changed].tolist()
    assert (proposal.changes["confidence"] >= 0.8).all()
    assert (proposal.changes["given_label_score"] < proposal.changes["predicted_label_score"]).all()
    assert len(correct_labels(labels, scores, 0.99).changes) < len(proposal.changes)


def test_weights_tell_how_likely_the_labels_are_right() -> None:
    labels, scores, truth = corpus(10_000)
    new = correct_labels(labels, scores, 0.8).labels
    weights = new["weight"].to_numpy(float)
    checked = (labels["manually_verified"] == "1").to_numpy()
    assert (weights[checked] == 1).all()
    right = (new["label"] == truth).to_numpy()
    for low, high in ((0, 0.5), (0.5, 0.9), (0.9, 0.99), (0.99, 1)):
        some = ~checked & (low <= weights) & (weights <= high)
        assert weights[some].mean() == pytest.approx(right[some].mean(), abs=0.1)
    again = correct_labels(new, scores, 0.8).labels
    assert again.columns.tolist() == new.columns.tolist() == [*labels.columns, "weight"]


def test_the_command_writes_beside_and_changes_nothing(tmp_path: Path) -> None:
    labels, scores, _ = corpus(100)
    write(tmp_path, labels, scores)
    before = (tmp_path / "train.csv").read_bytes()
    said = run_ok("relabel", tmp_path / "train.csv", tmp_path / "out_of_fold.csv", tmp_path / "new.csv")
    changes = pd.read_csv(tmp_path / "new.changes.csv")
    assert said == f"{tmp_path / 'new.csv'}: {len(changes)} of 100 labels are changed\n"
    assert len(changes) > 2
    assert (tmp_path / "train.csv").read_bytes() == before
    new = read_labels(tmp_path / "new.csv").set_index("fname")["label"]
    assert new[changes["fname"]].tolist() == changes["predicted_label"].tolist()
    message = run_fails(2, "relabel", tmp_path / "train.csv", tmp_path / "train.csv", tmp_path / "new.csv")
    assert "is no out_of_fold.csv; dcase2018 fit --folds writes one" in message


def test_what_has_no_scores_is_named() -> None:
    labels, scores, _ = corpus(20)
    with pytest.raises(InputError, match=r"clip '3.wav' has no scores"):
        correct_labels(labels, scores.drop(index="3.wav"), 0.8)
    with pytest.raises(InputError, match=r"label 'Oboe' has no scores"):
        correct_labels(labels, scores.drop(columns="Oboe"), 0.8)
    with pytest.raises(InputError, match="does not tell which clips are verified"):
        correct_labels(labels.drop(columns="manually_verified"), scores, 0.8)
    with pytest.raises(InputError, match="only files with one label a clip"):
        correct_labels(labels.rename(columns={"label": "labels"}), scores, 0.8)


def test_damaged_scores_are_told_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "out_of_fold.csv"
    header = "fname,labels,verified,Bark,Bus\n"
    path.write_text(header + "a.wav,Bark,True,0.5,0.5\n")
    assert read_out_of_fold(path).loc["a.wav"].tolist() == [0.5, 0.5]
    path.write_text(header + "a.wav,Bark,True,0.5,much\na.wav,Bus,True,nan,0\nb.wav,Bus,True\n")
    with pytest.raises(InputError) as told:
        read_out_of_fold(path)
    assert str(told.value).split(": ", 1)[1].splitlines() == [
        "3 errors: line 2: 'much' is no score from 0 to 1",
        "  line 3: 'nan' is no score from 0 to 1",
        "  line 4: 3 fields, not 5",
    ]
