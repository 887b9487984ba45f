"""Splits and folds, of the training set of FSDKaggle2018 and of random labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, DATA, dcase, run_fails, run_ok
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2018.data.labels import class_names, read_fnames, read_labels
from dcase2018.data.splits import folds_from_column, stratified_folds, stratified_holdout
from dcase2018.utils.errors import InputError

TRAIN = DATA / "train.csv"


def test_split_keeps_header_columns_and_every_row(tmp_path: Path) -> None:
    source = DATA / "train_post_competition.csv"
    run_ok("split", source, tmp_path, "--fraction", 0.25)
    lines = source.read_text().splitlines()
    train, validation = (
        (tmp_path / f"{name}.csv").read_text().splitlines() for name in ("train", "validation")
    )
    assert train[0] == validation[0] == lines[0]
    assert sorted(train[1:] + validation[1:]) == sorted(lines[1:])


def strata(labels: pd.DataFrame) -> pd.Series:
    return labels["label"] + labels["manually_verified"]


def test_holdout_of_fsdkaggle2018_is_stratified() -> None:
    labels = read_labels(TRAIN)
    is_drawn = stratified_holdout(labels, 0.1, seed=3)
    assert abs(is_drawn.sum() - 947.3) < 1
    counts = pd.crosstab(strata(labels), is_drawn)
    assert (counts[True] - counts.sum(axis=1) / 10).abs().max() <= 1
    assert class_names(labels[~is_drawn]) == CLASSES
    np.testing.assert_array_equal(is_drawn, stratified_holdout(labels, 0.1, seed=3))
    assert (is_drawn != stratified_holdout(labels, 0.1, seed=4)).any()


def test_folds_of_fsdkaggle2018_are_stratified() -> None:
    labels = read_labels(TRAIN)
    fold = stratified_folds(labels, 5, seed=0)
    counts = pd.crosstab(strata(labels), fold)
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1
    assert set(fold) == set(range(5))


def test_split_writes_disjoint_folds(tmp_path: Path) -> None:
    run_ok("split", TRAIN, tmp_path, "--folds", 4)
    fnames = [name for k in range(1, 5) for name in read_fnames(tmp_path / f"fold-{k}" / "validation.csv")]
    assert sorted(fnames) == sorted(read_fnames(TRAIN))
    for k in range(1, 5):
        train = set(read_fnames(tmp_path / f"fold-{k}" / "train.csv"))
        assert train.isdisjoint(read_fnames(tmp_path / f"fold-{k}" / "validation.csv"))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("01")), min_size=1, max_size=60),
    st.floats(0.01, 0.99),
    st.integers(0, 5),
)
def test_any_holdout_is_stratified(rows: list[tuple[str, str]], fraction: float, seed: int) -> None:
    labels = pd.DataFrame(rows, columns=["label", "manually_verified"], dtype=object)
    counts = pd.crosstab(strata(labels), stratified_holdout(labels, fraction, seed))
    n_drawn = counts[True] if True in counts else 0 * counts[False]
    assert ((n_drawn - counts.sum(axis=1) * fraction).abs() <= 1 + 1e-9).all()
    assert class_names(labels[~stratified_holdout(labels, fraction, seed)]) == class_names(labels)


def test_holdout_never_draws_all_clips_of_a_class(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("fname,label\n" + "".join(f"{i},class{i // 2}\n" for i in range(9)))
    labels = read_labels(tmp_path / "l.csv")
    for seed in range(20):
        assert not stratified_holdout(labels, 0.5, seed)[8]
    (tmp_path / "one.csv").write_text("fname,label\na,A\nb,B\n")
    message = run_fails(2, "split", tmp_path / "one.csv", tmp_path / "parts")
    assert "--fraction 0.1 of 2 clips is no clip; give a larger fraction" in message
    assert not (tmp_path / "parts").exists()


def test_folds_from_column() -> None:
    labels = pd.DataFrame({"fname": list("abcde"), "fold": ["10", "2", "2", "1", "10"]}, dtype=object)
    assert folds_from_column(labels, "fold").tolist() == [2, 1, 1, 0, 2]
    for column, values, message in (
        ("set", "12121", "--fold-column set: no such column; the columns are fname, fold"),
        ("fold", ["1", "", "2", "1", "1"], "clip 'b' has no fold"),
        ("fold", "11111", "has one fold, '1'; there must be 2 to 100"),
    ):
        with pytest.raises(InputError, match=message):
            folds_from_column(labels.assign(fold=list(values)), column)


@pytest.mark.parametrize(
    "values", [["1", "1.0", " 2", "01", "2."], [1, 1, 2, 1, 2], [1.0, 1.0, 2.0, 1.0, 2.0]]
)
def test_a_fold_number_in_several_forms_is_one_fold(values: list[object]) -> None:
    labels = pd.DataFrame({"fname": list("abcde"), "fold": values})
    assert folds_from_column(labels, "fold").tolist() == [0, 0, 1, 0, 1]
    with pytest.raises(InputError, match="clip 'c' has no fold"):
        folds_from_column(labels.astype({"fold": object}).replace({"fold": {values[2]: np.nan}}), "fold")


def test_numbers_are_sorted_before_other_fold_names() -> None:
    labels = pd.DataFrame({"fname": list("abcde"), "fold": ["x", "10", "-1", "9.5", "nan"]})
    assert folds_from_column(labels, "fold").tolist() == [4, 2, 0, 1, 3]


@pytest.mark.parametrize("n_folds", [-1, 0, 1, 4])
def test_a_wrong_number_of_folds_is_refused(n_folds: int) -> None:
    labels = pd.DataFrame({"fname": list("abc"), "label": list("xyz")})
    with pytest.raises(InputError, match=r"there must be at least 2|exceeds the number of clips, 3"):
        stratified_folds(labels, n_folds, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan"), float("inf")])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    labels = pd.DataFrame({"fname": list("abc"), "label": list("xyz")})
    with pytest.raises(InputError, match="it must be between 0 and 1"):
        stratified_holdout(labels, fraction, seed=0)


def test_numbers_and_texts_of_manually_verified_are_split_alike() -> None:
    texts = pd.DataFrame({"label": list("xxxyyy"), "manually_verified": list("010101")})
    numbers = texts.astype({"manually_verified": int})
    np.testing.assert_array_equal(stratified_holdout(texts, 0.5, 3), stratified_holdout(numbers, 0.5, 3))


def test_split_reports_classes_that_a_part_lacks(tmp_path: Path) -> None:
    counts = {"one": 1, "two": 2, "many": 20}
    rows = [f"{label}{i}.wav,{label}" for label, count in counts.items() for i in range(count)]
    (tmp_path / "l.csv").write_text("\n".join(["fname,label", *rows]))
    done = dcase("split", tmp_path / "l.csv", tmp_path / "s")
    assert f"{tmp_path / 's' / 'validation.csv'} has no clip of one, two\n" in done.stderr
    assert "train.csv has no clip" not in done.stderr
    done = dcase("split", tmp_path / "l.csv", tmp_path / "s", "--folds", 2)
    assert done.stderr.count("/train.csv has no clip of one\n") == 1
    assert done.stderr.count("/validation.csv has no clip of one\n") == 1
