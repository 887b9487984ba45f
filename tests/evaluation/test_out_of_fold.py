"""Out-of-fold scores: the table of the folds, their mean and spread, invalid files, and the commands."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import accuracy_score, f1_score

from dcase2018.cli.main import main
from dcase2018.data.labels import read_labels
from dcase2018.evaluation.out_of_fold import OutOfFold, format_folds, read_out_of_fold
from dcase2018.utils.errors import InputError

CLASSES = ["a", "b", "c"]


def draw_table(verified: np.ndarray | None = None) -> pd.DataFrame:
    """Scores of 60 clips in five folds; the label of about two thirds has the highest score."""
    rng = np.random.default_rng(0)
    label = np.arange(60) % 3
    scores = rng.dirichlet(np.ones(3), 60)
    scores[np.arange(60), label] += 0.3
    scores /= scores.sum(axis=1, keepdims=True)
    table = pd.DataFrame(scores, columns=CLASSES)
    table.insert(0, "fname", [f"{clip}.wav" for clip in range(60)])
    table.insert(1, "labels", np.array(CLASSES, object)[label])
    table.insert(2, "verified", np.ones(60, bool) if verified is None else verified)
    table.insert(3, "fold", np.arange(60) // 12 + 1)
    return table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw_table(np.arange(60) % 2 == 0).to_csv(tmp_path / "out_of_fold.csv", index=False)
    return tmp_path


def fold_scores(table: pd.DataFrame) -> tuple[list[float], list[float]]:
    """Accuracy and macro F1 of each fold, by scikit-learn."""
    predicted = table[CLASSES].idxmax(axis=1)
    folds = [table["fold"] == number for number in range(1, 6)]
    accuracy = [accuracy_score(table["labels"][fold], predicted[fold]) for fold in folds]
    return accuracy, [f1_score(table["labels"][fold], predicted[fold], average="macro") for fold in folds]


def test_folds_have_mean_and_standard_deviation() -> None:
    table = draw_table()
    out_of_fold = OutOfFold.from_table(table)
    accuracy, f1 = fold_scores(table)
    folds = out_of_fold.fold_table()
    assert folds.index.tolist() == [1, 2, 3, 4, 5]
    assert folds["n_clips"].tolist() == [12] * 5
    assert folds["accuracy"].tolist() == pytest.approx(accuracy)
    assert folds["f1"].tolist() == pytest.approx(f1)
    lines = format_folds(out_of_fold).splitlines()
    assert lines[0] == "out-of-fold scores of 60 clips with verified labels:"
    assert max(map(len, lines)) <= 80
    spread = np.std(accuracy, ddof=1)
    assert lines[-1].startswith(f"accuracy {np.mean(accuracy):.3f} ± {spread:.3f}, MAP@3 0.")
    assert lines[-1].endswith(" over 5 folds (mean ± SD)")


def test_folds_count_verified_labels_if_there_are_any(folder: Path) -> None:
    out_of_fold = OutOfFold.load(folder)
    assert out_of_fold.fold_table()["n_clips"].tolist() == [6] * 5
    assert out_of_fold.evaluation.table["part"].unique().tolist() == ["all", "unverified", "verified"]
    unverified = OutOfFold.from_table(draw_table(np.zeros(60, bool)))
    assert unverified.fold_table()["n_clips"].tolist() == [12] * 5
    assert format_folds(unverified).startswith("out-of-fold scores of 60 clips with unverified labels:")
    assert unverified.evaluation.table["part"].unique().tolist() == ["all"]


def test_file_and_table_give_the_same_evaluation(folder: Path) -> None:
    loaded = OutOfFold.load(folder)
    made = OutOfFold.from_table(draw_table(np.arange(60) % 2 == 0))
    pd.testing.assert_frame_equal(loaded.evaluation.table, made.evaluation.table)
    pd.testing.assert_frame_equal(loaded.fold_table(), made.fold_table())


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("fname,labels,verified,fold,a", "1.wav,b,True,1,0.5", "line 2: label 'b' is not a column"),
        ("fname,labels,verified,fold,a", "1.wav,a,1,1,0.5", "line 2: verified is '1'"),
        ("fname,labels,verified,fold,a", "1.wav,a,True,0,0.5", "line 2: fold is '0'"),
        ("fname,labels,verified,fold,a", f"1.wav,a,True,{5000 * '9'},0.5", "line 2: fold is '999"),
        ("fname,labels,verified,fold,a", "1.wav,a,True,1,2", "line 2: score '2' is not a number from 0 to 1"),
        ("fname,labels,verified,fold", "1.wav,a,True,1", "is not an out_of_fold.csv"),
        ("fname,labels,verified,a", "1.wav,a,True,0.5", "has no column fold"),
        ("fname,labels,verified,fold,a", "", "lists no clip"),
    ],
)
def test_invalid_file_is_refused(tmp_path: Path, header: str, row: str, message: str) -> None:
    (tmp_path / "out_of_fold.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(InputError) as raised:
        OutOfFold.load(tmp_path)
    assert message in str(raised.value)


def test_scores_are_not_taken_for_labels(folder: Path) -> None:
    path = folder / "out_of_fold.csv"
    with pytest.raises(InputError, match=rf"not a label file.*evaluate --out-of-fold {folder}$"):
        read_labels(path)
    assert read_out_of_fold(path).columns.tolist() == CLASSES


def invoke(*args: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, args)))
    return result.exit_code, result.stdout, result.stderr


def test_evaluate_prints_the_out_of_fold_scores(folder: Path, tmp_path: Path) -> None:
    table, clips = tmp_path / "table.csv", tmp_path / "clips.csv"
    code, printed, _ = invoke("evaluate", "--out-of-fold", folder, "-o", table, "--clips-output", clips)
    assert code == 0
    expected = OutOfFold.load(folder)
    assert printed.endswith(f"\n\n{format_folds(expected)}\n")
    written = pd.read_csv(table)
    names = list(expected.evaluation.table)
    pd.testing.assert_frame_equal(written[names], expected.evaluation.table, check_dtype=False)
    assert len(pd.read_csv(clips)) == 60


def test_evaluate_refuses_what_out_of_fold_scores_do_not_use(folder: Path, tmp_path: Path) -> None:
    scores = folder / "out_of_fold.csv"
    for extra, name in (
        (("--pooling", "mean"), "--pooling"), (("--allow-trained",), "--allow-trained"),
        (("--missing", "skip"), "--missing"),
    ):  # fmt: skip
        code, _, message = invoke("evaluate", "--out-of-fold", folder, *extra)
        assert (code, message.rpartition(": ")[2]) == (2, f"omit {name}\n")
    assert invoke("evaluate", scores, "--out-of-fold", folder)[2].endswith("omit STORE\n")
    code, _, message = invoke("evaluate", scores)
    assert (code, "Missing argument 'LABELS'" in message) == (2, True)
    (tmp_path / "empty").mkdir()
    assert "has no out_of_fold.csv" in invoke("evaluate", "--out-of-fold", tmp_path / "empty")[2]
    assert "is an input" in invoke("evaluate", "--out-of-fold", folder, "-o", scores)[2]
