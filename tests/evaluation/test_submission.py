"""Submissions and score files: round trips, their evaluation, and their errors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, DATA, ToyPipeline, run_fails, run_ok

from dcase2018.data.labels import read_fnames, read_labels
from dcase2018.evaluation.submission import (
    evaluate_scores,
    read_scores,
    score,
    write_scores,
    write_submission,
)
from dcase2018.utils.errors import InputError

TEST_LABELS = DATA / "test_post_competition.csv"  # 200 rows of the real file, 120 of them not Ignored

LABELS = "fname,label,usage\na.wav,Bark,Public\nb.wav,Bus,Private\nc.wav,None,Ignored\nd.wav,Cello,Private\n"

SCORE_COLUMNS = [
    "part", "label", "n_clips", "map3", "ci_low", "ci_high", "accuracy", "accuracy_ci_low",
    "accuracy_ci_high", "precision", "recall", "f1",
]  # fmt: skip


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(LABELS)
    return path


def submission(folder: Path, text: str | bytes) -> Path:
    path = folder / "submission.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def drawn_scores(seed: int = 0) -> pd.DataFrame:
    """Scores of the 200 clips, in the form that `predict` returns."""
    fnames = read_fnames(TEST_LABELS)
    scores = np.random.default_rng(seed).dirichlet(np.full(41, 0.2), len(fnames))
    labels = read_labels(TEST_LABELS)
    for fname, label in zip(labels["fname"], labels["label"], strict=True):
        scores[fnames.index(fname), CLASSES.index(label)] += 0.2
    return pd.DataFrame(scores, pd.Index(fnames, name="fname", dtype=object), CLASSES)


def test_submission_scores_exactly_as_its_scores(tmp_path: Path) -> None:
    scores = drawn_scores()
    write_submission(tmp_path / "s.csv", scores)
    write_scores(tmp_path / "scores.csv", scores)
    pd.testing.assert_frame_equal(read_scores(tmp_path / "scores.csv"), scores, check_exact=True)
    expected = evaluate_scores(scores, read_labels(TEST_LABELS), tmp_path / "scores.csv")
    table = score(tmp_path / "s.csv", TEST_LABELS, CLASSES).table
    pd.testing.assert_frame_equal(table, expected.table.drop(columns="map"), check_exact=True)
    assert 0.3 < expected.map3 < 0.9
    assert len(expected.labels) == 120


@pytest.mark.parametrize(
    "text",
    [
        "fname,label\na.wav,Bark Bus Cello\nb.wav,Bark Bus\nc.wav,Bus\nd.wav,Bark\n",
        "\ufefffname,label\r\na.wav,Bark\r\nb.wav,Cello Bus Bark\r\nd.wav,Bus\r\n",
        '"label","fname"\n"Cello Bus","b.wav"\n"Bark","a.wav"\n\n"Bus Bark","d.wav"\n',
        "id,fname,label\n0,d.wav,Bus\n1,a.wav, Bark \n2,b.wav,Bark  Bus Cello\n",
    ],
)
def test_accepted_forms_of_a_submission(tmp_path: Path, labels: Path, text: str) -> None:
    """Fewer labels, ignored or absent rows, any order, other line ends, quotes, more columns."""
    evaluation = score(submission(tmp_path, text), labels)
    assert evaluation.ap_at_3.tolist() == [1, 1 / 2, 0]
    overall = evaluation.table.query("label == 'overall'").set_index("part")["map3"]
    assert overall.to_dict() == {"all": 0.5, "Private": 0.25, "Public": 1}


def test_class_that_is_not_submitted_is_never_correct(tmp_path: Path, labels: Path) -> None:
    """Cello would be third if the other classes followed in alphabetical order."""
    text = "fname,label\na.wav,Bus\nb.wav,Cello\nd.wav,Bark Bus\n"
    assert score(submission(tmp_path, text), labels).ap_at_3.tolist() == [0, 0, 0]


def test_all_errors_are_reported_at_once(tmp_path: Path, labels: Path) -> None:
    path = submission(
        tmp_path,
        "fname,label\n"
        "a.wav,Bark Bus Cello Bark\n"
        "a.wav,Bark\n"
        "x.wav,Bark\n"
        'c.wav,"Bus,Cello"\n'
        "d.wav,\n"
        "e.wav,cello Dog\n"
        "f.wav,Bark,Bus\n"
        'c.wav,"Bus;Cello"\n',
    )
    with pytest.raises(InputError) as raised:
        score(path, labels)
    assert str(raised.value).splitlines() == [
        f"{path}: 13 errors:",
        "  line 2: 4 labels; at most 3 are allowed: 'Bark Bus Cello Bark'",
        "  line 2: label 'Bark' is listed twice",
        "  line 3: 'a.wav' is already listed in line 2",
        f"  line 4: clip 'x.wav' is not in {labels}",
        "  line 5: 'Bus,Cello': labels must be separated by single spaces",
        "  line 6: label is empty",
        f"  line 7: clip 'e.wav' is not in {labels}",
        "  line 7: label 'cello' is not among the 3 classes; did you mean 'Cello'?",
        "  line 7: label 'Dog' is not among the 3 classes",
        "  line 8: 3 fields, expected 2",
        "  line 9: 'c.wav' is already listed in line 5",
        "  line 9: 'Bus;Cello': labels must be separated by single spaces",
        f"  clip 'b.wav', line 3 of {labels}, is missing",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fname;label\na.wav;Bark\n", "line 1: fields are separated by semicolons; separate them by commas"),
        ("fname\tlabel\na.wav\tBark\n", "line 1: fields are separated by tabs"),
        (
            "fname,labels\na.wav,Bark\n",
            "line 1: the column label is missing; a submission has fname and label",
        ),
        ("a.wav,Bark\n", "line 1: the header must have fname and label"),
        ("", "missing: fname, label"),
        (
            "fname,label\na.wav,Bark\nb.wav,Bus\nd.wav,Bus\tCello\n",
            "line 4: 'Bus\\tCello': labels must be separated by",
        ),
        (b"fname,label\xff\n", "the header must have fname and label"),
        ('fname,label\n"a.wav,Bark\n', "line 2: unexpected end of data"),
    ],
)
def test_invalid_submission(tmp_path: Path, labels: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as raised:
        score(submission(tmp_path, text), labels)
    assert message in str(raised.value)


def test_sample_submission_of_kaggle_has_an_unknown_class() -> None:
    with pytest.raises(InputError, match="label 'Hi-Hat' is not among the 41 classes; did you mean 'Hi-hat'"):
        score(DATA / "sample_submission.csv", TEST_LABELS, CLASSES)


@pytest.mark.slow
def test_score_and_evaluate_give_the_same_table(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run_ok("predict", toy_pipeline.test, toy_pipeline.run, "-o", tmp_path / "s.csv")
    paths = (toy_pipeline.test, toy_pipeline.test_labels, toy_pipeline.run)
    printed = run_ok("evaluate", *paths, "-o", tmp_path / "evaluated.json")
    scored = tmp_path / "scored.json"
    lines = run_ok("score", tmp_path / "s.csv", toy_pipeline.test_labels, "-o", scored).splitlines()
    assert lines[:43] == printed.splitlines()[:43]
    rows, evaluated = (json.loads(path.read_text()) for path in (scored, tmp_path / "evaluated.json"))
    assert rows == [{name: value for name, value in row.items() if name != "map"} for row in evaluated]
    assert [list(row) for row in rows] == [SCORE_COLUMNS] * 3 * 42
    assert {row["part"] for row in rows if row["label"] == "overall"} == {"all", "Public", "Private"}


def test_score_rejects_invalid_input(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    path = submission(tmp_path, "fname,label\na.wav,Growl\n")
    score = ("score", path, toy_pipeline.test_labels, "-o")
    message = run_fails(2, *score, tmp_path / "t.csv")
    assert "line 2: label 'Growl' is not among the 41 classes\n" in message
    assert "and 64 more" in message
    assert "is an input and would be overwritten" in run_fails(2, *score, path)
    assert "must end in .csv or .json" in run_fails(2, *score, tmp_path / "t.txt")
    assert not (tmp_path / "t.csv").exists()


def test_class_map_allows_classes_without_clips(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    labels = tmp_path / "few.csv"
    labels.write_text("fname,label\na.wav,Bark\nb.wav,Bus\n")
    path = submission(tmp_path, "fname,label\na.wav,Cello Bark\nb.wav,Bus\n")
    assert "'Cello' is not among the 2 classes" in run_fails(2, "score", path, labels)
    run_ok("class-map", toy_pipeline.labels, tmp_path / "map.csv")
    printed = run_ok("score", path, labels, "--class-map", tmp_path / "map.csv")
    assert printed.splitlines()[-1].split()[:3] == ["all", "2", "0.7500"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "fname,Bark,Bus\na.wav,0.5,x\nb.wav,nan,1\na.wav,0,1\n",
            "3 errors:\n  line 2: score 'x' of Bus is not a finite number",
        ),
        (
            "fname,label\na.wav,Bark\n",
            "is not a score file: it needs one column per class; dcase2018 predict --scores-output",
        ),
        ("Bark,Bus\n0.5,0.5\n", "the header must have fname"),
    ],
)
def test_invalid_score_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        read_scores(submission(tmp_path, text))
    assert message in str(raised.value)


def test_clips_without_scores_are_reported() -> None:
    scores = drawn_scores()
    with pytest.raises(InputError, match=r"^b.csv has no scores of 120 of 120 clips, such as '00326aa9.wav'"):
        evaluate_scores(scores[:0], read_labels(TEST_LABELS), Path("b.csv"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_not_written(tmp_path: Path, value: float) -> None:
    scores = pd.DataFrame([[0.5, 0.5], [0.1, value]], pd.Index(["a.wav", "b.wav"], name="fname"), ["x", "y"])
    for write in (write_submission, write_scores):
        with pytest.raises(InputError, match=r"score (nan|inf|-inf) of clip 'b.wav' for 'y' is not a finite"):
            write(tmp_path / "s.csv", scores)
    assert not (tmp_path / "s.csv").exists()
