"""Submissions and files of scores, of whatever program: what they are worth, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, DATA, ToyPipeline, run_fails, run_ok

from dcase2018.data.labels import read_fnames, read_labels
from dcase2018.evaluation.submission import (
    evaluate_scores,
    evaluate_submission,
    read_scores,
    write_scores,
    write_submission,
)
from dcase2018.utils.errors import InputError

TRUTH = DATA / "test_post_competition.csv"  # 200 rows of the real one, of which 120 count

LABELS = "fname,label,usage\na.wav,Bark,Public\nb.wav,Bus,Private\nc.wav,None,Ignored\nd.wav,Cello,Private\n"


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
    """Scores of all 200 clips of the real test set here, as `predict` gives them."""
    names = read_fnames(TRUTH)
    scores = np.random.default_rng(seed).dirichlet(np.full(41, 0.2), len(names))
    y_true = read_labels(TRUTH)
    for fname, label in zip(y_true["fname"], y_true["label"], strict=True):
        scores[names.index(fname), CLASSES.index(label)] += 0.2
    return pd.DataFrame(scores, pd.Index(names, name="fname", dtype=object), CLASSES)


def test_a_submission_is_worth_what_its_scores_are_to_the_bit(tmp_path: Path) -> None:
    scores = drawn_scores()
    write_submission(tmp_path / "s.csv", scores)
    write_scores(tmp_path / "scores.csv", scores)
    pd.testing.assert_frame_equal(read_scores(tmp_path / "scores.csv"), scores, check_exact=True)
    expected = evaluate_scores(scores, read_labels(TRUTH))
    table = evaluate_submission(tmp_path / "s.csv", TRUTH, CLASSES).table
    pd.testing.assert_frame_equal(table, expected.table, check_exact=True)
    assert 0.3 < table.loc["overall", "MAP@3"] < 0.9
    assert table.loc["overall", "clips"] == 120


@pytest.mark.parametrize(
    "text",
    [
        "fname,label\na.wav,Bark Bus Cello\nb.wav,Bark Bus\nc.wav,Bus\nd.wav,Bark\n",
        "\ufefffname,label\r\na.wav,Bark\r\nb.wav,Cello Bus Bark\r\nd.wav,Bus\r\n",
        '"label","fname"\n"Cello Bus","b.wav"\n"Bark","a.wav"\n\n"Bus Bark","d.wav"\n',
        "id,fname,label\n0,d.wav,Bus\n1,a.wav, Bark \n2,b.wav,Bark  Bus Cello\n",
    ],
)
def test_forms_of_a_submission(tmp_path: Path, labels: Path, text: str) -> None:
    """Few labels, rows that do not count or are left out, any order, other line ends, quotes, columns."""
    found = evaluate_submission(submission(tmp_path, text), labels)
    assert found.ap_at_3.tolist() == [1, 1 / 2, 0]
    table = found.table
    assert table.loc["overall", ["MAP@3", "Public MAP@3", "Private MAP@3"]].tolist() == [0.5, 1, 0.25]


def test_a_class_that_is_not_named_is_not_right(tmp_path: Path, labels: Path) -> None:
    """Were the classes without a name to follow by their order, Cello would be third."""
    text = "fname,label\na.wav,Bus\nb.wav,Cello\nd.wav,Bark Bus\n"
    assert evaluate_submission(submission(tmp_path, text), labels).ap_at_3.tolist() == [0, 0, 0]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path, labels: Path) -> None:
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
        evaluate_submission(path, labels)
    assert str(raised.value).splitlines() == [
        f"{path}: 13 errors: line 2: 4 labels, and 3 are allowed: 'Bark Bus Cello Bark'",
        "  line 2: label 'Bark' stands there twice",
        "  line 3: 'a.wav' stands already in line 2",
        f"  line 4: clip 'x.wav' is not in {labels}",
        "  line 5: 'Bus,Cello': labels are parted by single spaces",
        "  line 6: label is empty",
        f"  line 7: clip 'e.wav' is not in {labels}",
        "  line 7: label 'cello' is not among the 3 classes; Cello is",
        "  line 7: label 'Dog' is not among the 3 classes",
        "  line 8: 3 fields, not 2",
        "  line 9: 'c.wav' stands already in line 5",
        "  line 9: 'Bus;Cello': labels are parted by single spaces",
        f"  clip 'b.wav', line 3 of {labels}, is missing",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fname;label\na.wav;Bark\n", "line 1: parted by semicolons; a CSV is parted by commas"),
        ("fname\tlabel\na.wav\tBark\n", "line 1: parted by tabs"),
        ("fname,labels\na.wav,Bark\n", "line 1: a submission has its labels in a column named label"),
        ("a.wav,Bark\n", "line 1: the header must name fname and label"),
        ("", "it has no fname and no label"),
        (
            "fname,label\na.wav,Bark\nb.wav,Bus\nd.wav,Bus\tCello\n",
            "line 4: 'Bus\\tCello': labels are parted by",
        ),
        (b"fname,label\xff\n", "the header must name fname and label"),
        ('fname,label\n"a.wav,Bark\n', "line 2: unexpected end of data"),
    ],
)
def test_what_is_no_submission(tmp_path: Path, labels: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as raised:
        evaluate_submission(submission(tmp_path, text), labels)
    assert message in str(raised.value)


def test_kaggles_sample_names_a_class_that_is_none() -> None:
    with pytest.raises(InputError, match="line 2: label 'Hi-Hat' is not among the 41 classes; Hi-hat is"):
        evaluate_submission(DATA / "sample_submission.csv", TRUTH, CLASSES)


def test_score_says_what_evaluate_says(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run_ok("predict", toy_pipeline.test, tmp_path / "s.csv", toy_pipeline.run)
    said = run_ok(
        "evaluate",
        toy_pipeline.test,
        toy_pipeline.test_labels,
        toy_pipeline.run,
        "--output",
        tmp_path / "evaluated.json",
    )
    assert (
        run_ok("score", tmp_path / "s.csv", toy_pipeline.test_labels, "--output", tmp_path / "scored.json")
        == said
    )
    assert (tmp_path / "scored.json").read_bytes() == (tmp_path / "evaluated.json").read_bytes()


def test_score_refuses(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    path = submission(tmp_path, "fname,label\na.wav,Growl\n")
    message = run_fails(2, "score", path, toy_pipeline.test_labels, "--output", tmp_path / "t.csv")
    assert "line 2: label 'Growl' is not among the 41 classes\n" in message
    assert "and 64 more" in message
    assert "is read and would be overwritten" in run_fails(
        2, "score", path, toy_pipeline.test_labels, "--output", path
    )
    assert "must end in .csv or .json" in run_fails(
        2, "score", path, toy_pipeline.test_labels, "--output", tmp_path / "t.txt"
    )
    assert not (tmp_path / "t.csv").exists()


def test_a_class_map_names_classes_that_no_clip_bears(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    labels = tmp_path / "few.csv"
    labels.write_text("fname,label\na.wav,Bark\nb.wav,Bus\n")
    path = submission(tmp_path, "fname,label\na.wav,Cello Bark\nb.wav,Bus\n")
    assert "'Cello' is not among the 2 classes" in run_fails(2, "score", path, labels)
    run_ok("class-map", toy_pipeline.labels, tmp_path / "map.csv")
    said = run_ok("score", path, labels, "--class-map", tmp_path / "map.csv")
    assert said.splitlines()[-1].split()[:3] == ["overall", "2", "0.7500"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "fname,Bark,Bus\na.wav,0.5,x\nb.wav,nan,1\na.wav,0,1\n",
            "3 errors: line 2: the score 'x' of Bus is no",
        ),
        (
            "fname,label\na.wav,Bark\n",
            "has no column a class; dcase2018 predict --scores-output writes such a file",
        ),
        ("Bark,Bus\n0.5,0.5\n", "the header must name fname"),
    ],
)
def test_what_is_no_file_of_scores(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        read_scores(submission(tmp_path, text))
    assert message in str(raised.value)


def test_clips_without_scores(tmp_path: Path) -> None:
    scores = drawn_scores()
    with pytest.raises(InputError, match=r"clip '00326aa9.wav' has no scores, and so have 119 others"):
        evaluate_scores(scores[:0], read_labels(TRUTH))
