"""Splits and folds, of the training set of FSDKaggle2018 and of random labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, DATA, dcase, run_fails, run_ok
from hypothesis import given
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


def test_a_missing_flag_counts_as_not_verified() -> None:
    labels = pd.DataFrame({"fname": list("abcdef"), "label": list("xxxyyy")})
    as_read, as_text = (
        stratified_folds(labels.assign(manually_verified=flags), 2, seed=0)
        for flags in ([1, np.nan, 0, 1, np.nan, 0], ["1", "0", "0", "1", "0", "0"])
    )
    np.testing.assert_array_equal(as_read, as_text)


@pytest.mark.parametrize("n_folds", [-1, 0, 1, 4])
def test_a_wrong_number_of_folds_is_refused(n_folds: int) -> None:
    labels = pd.DataFrame({"fname": list("abc"), "label": list("xyz")})
    with pytest.raises(InputError, match=r"n_folds must be >= 2, not|exceeds the number of clips, 3"):
        stratified_folds(labels, n_folds, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan"), float("inf")])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    labels = pd.DataFrame({"fname": list("abc"), "label": list("xyz")})
    with pytest.raises(InputError, match=r"^fraction (is|must be)"):
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


grouped_rows = st.lists(
    st.tuples(st.sampled_from("ABC"), st.sampled_from("01"), st.integers(0, 9)), min_size=2, max_size=60
)


def grouped_table(rows: list[tuple[str, str, int]]) -> tuple[pd.DataFrame, np.ndarray]:
    table = pd.DataFrame(rows, columns=["label", "manually_verified", "group"], dtype=object)
    return table, table["group"].to_numpy(int)


@given(grouped_rows, st.floats(0.01, 0.99), st.integers(0, 5))
def test_any_group_is_on_one_side_of_a_holdout(
    rows: list[tuple[str, str, int]], fraction: float, seed: int
) -> None:
    labels, groups = grouped_table(rows)
    if len(set(groups)) == len(groups):  # a stratum of its own for each clip
        return
    groups_of_class = labels.groupby("label")["group"].nunique()
    can_leave = [
        group
        for group in set(groups)
        if (groups_of_class[list(set(labels["label"][groups == group]))] > 1).all()
    ]
    if not can_leave:
        with pytest.raises(InputError, match="no group can be held out, because each has a class that no"):
            stratified_holdout(labels, fraction, seed, groups)
        return
    is_drawn = stratified_holdout(labels, fraction, seed, groups)
    assert is_drawn.any()
    assert set(groups[is_drawn]).isdisjoint(groups[~is_drawn])
    assert class_names(labels[~is_drawn]) == class_names(labels)
    np.testing.assert_array_equal(is_drawn, stratified_holdout(labels, fraction, seed, list(groups)))


@given(grouped_rows, st.integers(2, 8), st.integers(0, 5))
def test_any_group_is_in_one_fold(rows: list[tuple[str, str, int]], n_folds: int, seed: int) -> None:
    labels, groups = grouped_table(rows)
    if n_folds > len(set(groups)):
        with pytest.raises(InputError, match=f"--folds {n_folds} exceeds the number of"):
            stratified_folds(labels, n_folds, seed, groups)
        return
    fold = stratified_folds(labels, n_folds, seed, groups)
    assert set(fold) == set(range(n_folds))
    assert (pd.Series(fold).groupby(groups).nunique() == 1).all()
    np.testing.assert_array_equal(fold, stratified_folds(labels, n_folds, seed, groups))


def test_each_fold_has_a_group_if_there_are_as_many_folds() -> None:
    groups = [12, 6, 4, 7, 0, 14, 7, 11, 9, 12, 2, 14, 5, 11, 11, 1, 15]
    labels = pd.DataFrame({"label": list("AAAABABAAABAAAAAA")}, dtype=object)
    fold = stratified_folds(labels, 12, 0, groups)  # StratifiedGroupKFold leaves one fold without clips
    assert set(fold) == set(range(12))
    assert (pd.Series(fold).groupby(groups).nunique() == 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_groups_have_nearly_the_shares_of_the_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, 120)
    groups = np.repeat(np.arange(120), sizes)
    labels = pd.DataFrame({"label": np.repeat(rng.choice(list("ABC"), 120), sizes)}, dtype=object)
    counts = labels["label"].value_counts()
    drawn = labels["label"][stratified_holdout(labels, 0.25, seed, groups)].value_counts()
    assert (drawn / counts - 0.25).abs().max() < 0.03
    fold = stratified_folds(labels, 4, seed, groups)
    assert (pd.crosstab(labels["label"], fold).div(counts, axis=0) - 0.25).abs().to_numpy().max() < 0.04
    if seed:
        return
    assert (fold != stratified_folds(labels, 4, 7, groups)).any()
    assert (stratified_holdout(labels, 0.25, 0, groups) != stratified_holdout(labels, 0.25, 7, groups)).any()


def test_groups_of_one_clip_change_nothing() -> None:
    labels = read_labels(TRAIN)
    groups = [f"clip {i}" for i in range(len(labels))]
    np.testing.assert_array_equal(stratified_folds(labels, 5, 3, groups), stratified_folds(labels, 5, 3))
    np.testing.assert_array_equal(
        stratified_holdout(labels, 0.1, 3, groups), stratified_holdout(labels, 0.1, 3)
    )
    with pytest.raises(InputError, match=r"groups has 2 values for \d+ clips; give one per clip"):
        stratified_folds(labels, 5, 3, ["a", "b"])
    with pytest.raises(InputError, match="groups has 1 missing values; give one per clip"):
        stratified_holdout(labels, 0.1, 3, [None, *groups[1:]])


def test_class_in_one_group_is_reported_and_kept_for_training(caplog: pytest.LogCaptureFixture) -> None:
    labels = pd.DataFrame({"label": list("AAABBBBC")}, dtype=object)
    groups = list("xxxyyzzy")
    assert stratified_holdout(labels, 0.3, 0, groups).tolist() == [False] * 5 + [True] * 2 + [False]
    stratified_folds(labels, 3, 0, groups)
    message = "classes whose clips are all in one group cannot be in both training and validation: 'A'"
    assert caplog.messages == [message] * 2


def test_multi_label_groups_are_split() -> None:
    labels = pd.DataFrame({"labels": ["A,B", "A", "B", "A,C", "C", "B,C"] * 4}, dtype=object)
    groups = np.arange(24) // 2
    fold = stratified_folds(labels, 4, 0, groups)
    assert np.bincount(fold).tolist() == [6] * 4
    assert (fold[::2] == fold[1::2]).all()
    is_drawn = stratified_holdout(labels, 0.25, 0, groups)
    assert (is_drawn[::2] == is_drawn[1::2]).all()
    assert is_drawn.sum() == 6
