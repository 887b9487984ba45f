"""Label issues: known errors are ranked first, with the correct reasons; verified clips are left out."""

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE, run_fails, run_ok
from noisy_labels import make_labels_with_no_class, make_noisy_labels, write_noisy_labels
from sklearn.metrics import average_precision_score

from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.label_quality.label_issues import find_label_issues
from dcase2018.utils.errors import InputError


def test_known_errors_are_ranked_first() -> None:
    labels, scores, true_labels = make_noisy_labels()
    issues = find_label_issues(labels, scores)
    unverified = labels[labels["manually_verified"] == "0"]
    assert sorted(issues["fname"]) == sorted(unverified["fname"])
    assert issues["rank"].tolist() == list(range(1, len(issues) + 1))
    assert issues["issue_probability"].is_monotonic_decreasing
    assert issues["issue_probability"].between(0, 1).all()
    is_wrong = issues["label"] != issues["fname"].map(dict(zip(labels["fname"], true_labels, strict=True)))
    assert is_wrong[:100].mean() > 0.95
    score_only = average_precision_score(is_wrong, -issues["given_label_score"])
    assert average_precision_score(is_wrong, issues["issue_probability"]) > max(0.95, score_only)
    assert issues["issue_probability"].sum() == pytest.approx(is_wrong.sum(), rel=0.1)
    shuffled = find_label_issues(labels.sample(frac=1, random_state=0), scores.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(shuffled, issues, atol=1e-6)


def issue_of(
    scores: list[float], embeddings: pd.DataFrame | None = None, store: Store | None = None
) -> pd.Series:
    """Row of x.wav, an unverified Bark, among verified clips whose predictions agree with their labels."""
    n = 40
    fnames = ["x.wav", *(f"{i}.wav" for i in range(n))]
    columns = {
        "fname": fnames,
        "label": ["Bark", *(["Bark", "Flute"] * (n // 2))],
        "manually_verified": ["0"] + ["1"] * n,
    }
    values = [scores, *([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]] * (n // 2))]
    table = pd.DataFrame(values, fnames, ["Bark", "Flute", "Oboe"])
    issues = find_label_issues(pd.DataFrame(columns, dtype=object), table, embeddings, store)
    assert list(issues["fname"]) == ["x.wav"]
    return issues.iloc[0]


def test_reason_and_predicted_label() -> None:
    agreeing = issue_of([0.95, 0.04, 0.01])
    assert (agreeing["reason"], agreeing["predicted_label"]) == ("agrees with label", "")
    assert agreeing["issue_probability"] < 0.1
    assert np.isnan(agreeing["predicted_label_score"])
    flute = issue_of([0.04, 0.95, 0.01])
    assert (flute["reason"], flute["predicted_label"]) == ("predicted as Flute", "Flute")
    assert (flute["given_label_score"], flute["predicted_label_score"]) == (0.04, 0.95)
    assert flute["issue_probability"] > 0.9
    uncertain = issue_of([0.3, 0.35, 0.35])
    assert agreeing["issue_probability"] < uncertain["issue_probability"] < flute["issue_probability"]


def test_clips_of_none_of_the_classes_have_no_predicted_label() -> None:
    labels, scores, true_classes, posterior = make_labels_with_no_class()
    issues = find_label_issues(labels, scores).set_index("fname")
    of_no_class = issues[issues["reason"] == "none of the classes"]
    truth = pd.DataFrame({"is_none": true_classes < 0, "none_prob": posterior[:, -1]}, scores.index)
    precision = truth["is_none"][of_no_class.index].mean()
    assert precision == pytest.approx(of_no_class["none_probability"].mean(), abs=0.03)
    assert len(of_no_class) > 0.7 * truth["is_none"].sum()
    assert (issues["none_probability"] <= issues["issue_probability"] + 1e-12).all()
    assert (of_no_class["predicted_label"] == "").all()
    assert of_no_class["predicted_label_score"].isna().all()
    np.testing.assert_allclose(issues["none_probability"], truth["none_prob"][issues.index], atol=0.15)
    is_wrong = true_classes != scores.columns.get_indexer(labels["label"])
    is_wrong = pd.Series(is_wrong, scores.index)[issues.index]
    for low, high in ((0, 0.1), (0.1, 0.9), (0.9, 1)):
        in_bin = issues["issue_probability"].between(low, high)
        assert issues["issue_probability"][in_bin].mean() == pytest.approx(is_wrong[in_bin].mean(), abs=0.05)


def test_labels_of_near_duplicates_are_combined() -> None:
    rng = np.random.default_rng(0)
    fnames = ["x.wav", *(f"{i}.wav" for i in range(40))]
    vectors = rng.standard_normal((41, 16)) + 5
    scores = [0.5, 0.49, 0.01]
    alone = issue_of(scores, pd.DataFrame(vectors, fnames))
    assert alone.equals(issue_of(scores))
    vectors[0] = vectors[2] + 0.01  # 1.wav is a Flute
    conflicting = issue_of(scores, pd.DataFrame(vectors, fnames))
    assert conflicting["reason"] == "near duplicate of 1.wav, verified Flute"
    assert conflicting["predicted_label"] == "Flute"
    assert conflicting["issue_probability"] > 0.98
    vectors[0] = vectors[1] - 0.01  # 0.wav is a Bark
    agreeing = issue_of(scores, pd.DataFrame(vectors, fnames))
    assert agreeing["issue_probability"] < alone["issue_probability"] / 10
    without_embedding = issue_of(scores, pd.DataFrame(vectors[1:], fnames[1:]))
    assert without_embedding["issue_probability"] == alone["issue_probability"]
    with pytest.raises(InputError, match=r"no labelled clip has an embedding, such as 'x\.wav'"):
        issue_of(scores, pd.DataFrame(vectors[:1], ["y.wav"]))


@pytest.mark.parametrize(
    ("n_frames", "is_marked", "expected"),
    [(0, False, True), (5, True, True), (5, False, False)],
    ids=["no frames", "silent in the store", "frames of a steady tone"],
)
def test_silent_clips(tmp_path: Path, n_frames: int, is_marked: bool, expected: bool) -> None:
    tone = np.tile(np.linspace(-6, 1, 64, dtype=np.float32), (n_frames, 1))
    noise = np.random.default_rng(1).normal(-3, 1, (5, 64)).astype(np.float32)
    clips = {"x.wav": tone, **{f"{i}.wav": noise for i in range(40)}}
    records = [ClipRecord(name, len(clip), checksum(clip), 0, 0) for name, clip in clips.items()]
    records[0] = replace(records[0], is_silent=is_marked)
    write_store(tmp_path / "s.h5", BASELINE, records, list(clips.values()))
    issue = issue_of([0.95, 0.04, 0.01], store=Store(tmp_path / "s.h5"))
    assert (issue["reason"] == "silent", issue["issue_probability"] == 1) == (expected, expected)
    assert (issue["none_probability"] == 1) == expected


def test_command_prints_ten_issues_and_writes_all(tmp_path: Path) -> None:
    labels, scores, *_ = make_labels_with_no_class(200, intercept=-1)
    write_noisy_labels(tmp_path, labels, scores)
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["fname"] = list(labels["fname"])
        file["features"] = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
        file["clip"] = np.arange(200)
    issues_csv = tmp_path / "issues.csv"
    command = ("find-label-issues", tmp_path / "train.csv", tmp_path / "out_of_fold.csv", "-o", issues_csv)
    printed = run_ok(*command, "--embeddings", tmp_path / "e.h5").splitlines()
    issues = pd.read_csv(issues_csv, keep_default_na=False)
    n_unverified = (labels["manually_verified"] == "0").sum()
    assert len(issues) == n_unverified
    assert list(issues) == [
        "rank", "fname", "label", "issue_probability", "none_probability", "predicted_label", "reason",
        "given_label_score", "predicted_label_score",
    ]  # fmt: skip
    assert printed[0].split() == ["rank", "fname", "label", "issue_probability", "reason"]
    assert [line.split()[1] for line in printed[1:11]] == issues["fname"][:10].tolist()
    n_wrong = f"{issues['issue_probability'].sum():.0f}"
    n_none = f"{issues['none_probability'].sum():.0f}"
    assert int(n_none) > 10
    summary = f"{n_unverified} unverified labels, an estimated {n_wrong} of them wrong"
    assert printed[11:] == [f"{issues_csv}: {summary}", f"estimated clips of none of the classes: {n_none}"]


@pytest.mark.slow
def test_command_rejects_invalid_input_in_one_line(tmp_path: Path) -> None:
    labels, scores, _ = make_noisy_labels(20)
    write_noisy_labels(tmp_path, labels, scores)
    train_csv, out_of_fold_csv = tmp_path / "train.csv", tmp_path / "out_of_fold.csv"
    issues_csv = tmp_path / "issues.csv"
    (tmp_path / "e.h5").write_bytes(b"nothing")
    for arguments, expected in (
        ((train_csv, train_csv), r"is not an out_of_fold\.csv; dcase2018 fit --folds writes one"),
        ((train_csv, out_of_fold_csv, "-o", train_csv), r"train\.csv is an input and would be overwritten"),
        (
            (train_csv, out_of_fold_csv, "--embeddings", tmp_path / "e.h5"),
            r"e\.h5 has no embeddings",
        ),
        (
            (train_csv, out_of_fold_csv, "--store", out_of_fold_csv),
            r"out_of_fold\.csv is not a feature store",
        ),
    ):
        message = run_fails(2, "find-label-issues", "-o", issues_csv, *arguments)
        assert re.search(expected, message)
        assert message.count("\n") == 1
    assert not issues_csv.exists()
