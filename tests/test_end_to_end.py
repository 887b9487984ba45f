"""The whole pipeline by its real commands, each in a process of its own, on a toy corpus."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Toy, succeed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_dataset import CLASSES

from dcase2018.dataset import read_labels
from dcase2018.metrics import average_precision
from dcase2018.prediction import Tagger
from dcase2018.run import Run
from dcase2018.store import Store


@pytest.fixture(scope="module")
def evaluated(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("evaluated") / "table.csv"
    return succeed("evaluate", toy.test, toy.truth, toy.run, "--output", out), out


@pytest.fixture(scope="module")
def predicted(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predicted")
    succeed("predict", toy.test, folder / "s.csv", toy.run, "--scores", folder / "scores.csv")
    return folder


def test_the_model_learns(evaluated: tuple[str, Path]) -> None:
    table = pd.read_csv(evaluated[1], index_col="label")
    chance = (1 + 1 / 2 + 1 / 3) / 41
    assert table.loc["overall", "MAP@3"] > 10 * chance


def test_the_table_is_complete_and_consistent(evaluated: tuple[str, Path]) -> None:
    printed, path = evaluated
    table = pd.read_csv(path, index_col="label")
    assert list(table.index) == [*CLASSES, "overall"]
    classes, overall = table.iloc[:-1], table.loc["overall"]
    for part in ("", "Public ", "Private "):
        clips, means = classes[f"{part}clips"], classes[f"{part}MAP@3"]
        assert clips.sum() == overall[f"{part}clips"]
        assert (clips * means.fillna(0)).sum() / clips.sum() == pytest.approx(overall[f"{part}MAP@3"])
    assert (classes["clips"] == classes["Public clips"] + classes["Private clips"]).all()
    assert overall["clips"] == 82
    assert len(printed.splitlines()) == 43
    assert f"{overall['MAP@3']:.4f}" in printed.splitlines()[-1]


def test_scores_are_the_means_of_example_scores(toy: Toy, predicted: Path) -> None:
    store, run = Store(toy.test), Run.load(toy.run)
    model = run.load_model()
    table = pd.read_csv(predicted / "scores.csv", index_col="fname")
    for row in np.flatnonzero(store.lengths)[:20]:
        clip = store.clip(row)
        if len(clip) < 25:
            clip = np.pad(clip, ((0, 25 - len(clip)), (0, 0)), constant_values=store.recipe.silence)
        examples = [clip[start : start + 25] for start in range(0, len(clip) - 24, 12)]
        expected = np.asarray(model(np.stack(examples))).mean(axis=0)
        np.testing.assert_allclose(table.loc[store.fnames[row]], expected, atol=1e-5)


def test_the_submission_has_the_top_three_of_every_clip_in_order(toy: Toy, predicted: Path) -> None:
    raw = (predicted / "s.csv").read_bytes()
    assert raw.startswith(b"fname,label\n")
    assert b"\r" not in raw
    rows = list(csv.reader(raw.decode().splitlines()))[1:]
    assert [fname for fname, _ in rows] == sorted(Store(toy.test).fnames)
    scores = pd.read_csv(predicted / "scores.csv", index_col="fname")
    for fname, label in rows:
        ranked = sorted(CLASSES, key=lambda name: -scores.loc[fname, name])
        assert label.split(" ") == ranked[:3]


def test_an_empty_clip_gets_the_classes_most_frequent_in_training(toy: Toy, predicted: Path) -> None:
    (empty,) = (
        name for name, n in zip(Store(toy.test).fnames, Store(toy.test).lengths, strict=True) if not n
    )
    counts = read_labels(toy.fit_labels)["label"].value_counts()
    expected = sorted(CLASSES, key=lambda name: -counts[name])[:3]
    rows = dict(csv.reader((predicted / "s.csv").read_text().splitlines()))
    assert rows[empty].split(" ") == expected


def test_the_submission_scores_as_evaluated(toy: Toy, predicted: Path, evaluated: tuple[str, Path]) -> None:
    rows = dict(csv.reader((predicted / "s.csv").read_text().splitlines()))
    truth = read_labels(toy.truth)
    values = [
        next((1 / rank for rank, name in enumerate(rows[fname].split(" "), 1) if name == label), 0)
        for fname, label in zip(truth["fname"], truth["label"], strict=True)
    ]
    table = pd.read_csv(evaluated[1], index_col="label")
    assert np.mean(values) == pytest.approx(table.loc["overall", "MAP@3"])


def test_another_process_predicts_the_same_to_the_last_bit(toy: Toy, predicted: Path, tmp_path: Path) -> None:
    succeed("predict", toy.test, tmp_path / "s.csv", toy.run, "--scores", tmp_path / "scores.csv")
    for name in ("s.csv", "scores.csv"):
        assert (tmp_path / name).read_bytes() == (predicted / name).read_bytes()


def test_a_sample_submission_sets_names_and_order(toy: Toy, predicted: Path, tmp_path: Path) -> None:
    lines = toy.sample.read_text().splitlines()
    sample = tmp_path / "sample.csv"
    sample.write_text("\n".join([lines[0], *reversed(lines[1:31])]) + "\n")
    succeed("predict", toy.test, tmp_path / "s.csv", toy.run, "--sample", sample)
    rows = list(csv.reader((tmp_path / "s.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == [line.split(",")[0] for line in sample.read_text().splitlines()]
    everything = dict(csv.reader((predicted / "s.csv").read_text().splitlines()))
    assert dict(rows[1:]).items() <= everything.items()


def test_an_ensemble_is_the_mean_of_its_members(toy: Toy, predicted: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    succeed(
        "fit", toy.train, toy.fit_labels, other, "--preset", "quick", "--epochs", 1,
        "--seed", 5, "--hparams", "classifier=logistic,nl=1,example_window_seconds=0.5",
    )  # fmt: skip
    succeed("predict", toy.test, tmp_path / "s.csv", other, "--scores", tmp_path / "b.csv")
    succeed("predict", toy.test, tmp_path / "s.csv", toy.run, other, "--scores", tmp_path / "ab.csv")
    a, b, ab = (
        pd.read_csv(path, index_col="fname")
        for path in (predicted / "scores.csv", tmp_path / "b.csv", tmp_path / "ab.csv")
    )
    pd.testing.assert_frame_equal(ab, (a + b) / 2)


def test_json_says_the_same_as_csv(toy: Toy, evaluated: tuple[str, Path], tmp_path: Path) -> None:
    succeed("evaluate", toy.test, toy.truth, toy.run, "--output", tmp_path / "t.json")
    rows = json.loads((tmp_path / "t.json").read_text())
    table = pd.read_csv(evaluated[1], index_col="label")
    assert rows["overall"]["MAP@3"] == pytest.approx(table.loc["overall", "MAP@3"])
    absent = table.index[table["Public clips"] == 0][0]
    assert rows[absent]["Public MAP@3"] is None


def test_the_run_folder_holds_what_it_says(toy: Toy) -> None:
    assert sorted(path.name for path in toy.run.iterdir()) == [
        "checkpoints", "events", "history.csv", "model.keras", "run.json",
    ]  # fmt: skip
    values = json.loads((toy.run / "run.json").read_text())
    assert values["classes"] == CLASSES
    assert values["model"] == "mlp"
    assert values["made"]["seed"] == 0
    assert set(values["made"]["versions"]) >= {"dcase2018", "keras", "numpy"}


def test_history_and_validation(toy: Toy) -> None:
    history = pd.read_csv(toy.run / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert (history["step"].diff().dropna() == history["step"][0]).all()
    assert history["loss"].iloc[-1] < history["loss"][0] / 2

    store, run = Store(toy.train), Run.load(toy.run)
    held_out = read_labels(toy.validation)
    scores = Tagger(run, run.load_model()).scores(store, store.find(held_out["fname"]))
    truth = [CLASSES.index(label) for label in held_out["label"]]
    assert history["val_map3"].iloc[-1] == pytest.approx(average_precision(scores, truth).mean())


def test_checkpoints_the_last_thirty(toy: Toy) -> None:
    steps = [int(path.stem[5:]) for path in sorted((toy.run / "checkpoints").iterdir())]
    last = pd.read_csv(toy.run / "history.csv")["step"].iloc[-1]
    assert steps == list(range(5, last + 1, 5))[-30:]
    assert len(steps) == 30


def test_events_for_tensorboard(toy: Toy) -> None:
    events = EventAccumulator(str(toy.run / "events"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "val_map3"}
    assert [event.step for event in events.Scalars("loss")][:2] == [50, 100]
    history = pd.read_csv(toy.run / "history.csv")
    np.testing.assert_allclose(
        [event.value for event in events.Scalars("val_map3")], history["val_map3"], rtol=1e-6
    )
