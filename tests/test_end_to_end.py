"""The whole pipeline by its real commands, each in a process of its own, on a toy corpus."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, ToyPipeline, dcase, list_dir, run_fails, run_ok
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dcase2018.batching.windows import AllWindows
from dcase2018.data.labels import multi_hot, read_labels
from dcase2018.evaluation.metrics import average_precision
from dcase2018.features.config import FeatureConfig
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.predictor import StorePredictor
from dcase2018.runs.run import Run


@pytest.fixture(scope="module")
def evaluated(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("evaluated") / "table.csv"
    return run_ok(
        "evaluate", toy_pipeline.test, toy_pipeline.test_labels, toy_pipeline.run, "--output", out
    ), out


@pytest.fixture(scope="module")
def predicted(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predicted")
    done = dcase(
        "predict",
        toy_pipeline.test,
        folder / "s.csv",
        toy_pipeline.run,
        "--scores-output",
        folder / "scores.csv",
    )
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stderr)
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
    assert len(printed.splitlines()) == 44
    bounds = f"{overall['low']:.3f}-{overall['high']:.3f}"
    assert printed.splitlines()[-1].split()[:4] == ["overall", "82", f"{overall['MAP@3']:.4f}", bounds]


def test_scores_are_the_means_of_example_scores(toy_pipeline: ToyPipeline, predicted: Path) -> None:
    store, run = Store(toy_pipeline.test), Run.load(toy_pipeline.run)
    model = run.load_for_inference()
    table = pd.read_csv(predicted / "scores.csv", index_col="fname")
    for row in np.flatnonzero(store.lengths)[:20]:
        clip = store.frames_of(row)
        if len(clip) < 25:
            clip = np.pad(
                clip, ((0, 25 - len(clip)), (0, 0)), constant_values=store.feature_config.silence_value
            )
        examples = [clip[start : start + 25] for start in range(0, len(clip) - 24, 12)]
        expected = np.asarray(model(np.stack(examples))).mean(axis=0)
        np.testing.assert_allclose(table.loc[store.fnames[row]], expected, atol=1e-5)


def test_the_submission_has_the_top_three_of_every_clip_in_order(
    toy_pipeline: ToyPipeline, predicted: Path
) -> None:
    raw = (predicted / "s.csv").read_bytes()
    assert raw.startswith(b"fname,label\n")
    assert b"\r" not in raw
    rows = list(csv.reader(raw.decode().splitlines()))[1:]
    assert [fname for fname, _ in rows] == sorted(Store(toy_pipeline.test).fnames)
    scores = pd.read_csv(predicted / "scores.csv", index_col="fname")
    for fname, label in rows:
        ranked = sorted(CLASSES, key=lambda name: -scores.loc[fname, name])
        assert label.split(" ") == ranked[:3]


def test_an_empty_clip_gets_the_classes_most_frequent_in_training(
    toy_pipeline: ToyPipeline, predicted: Path
) -> None:
    (empty,) = (
        name
        for name, n in zip(Store(toy_pipeline.test).fnames, Store(toy_pipeline.test).lengths, strict=True)
        if not n
    )
    counts = read_labels(toy_pipeline.fit_labels)["label"].value_counts()
    expected = sorted(CLASSES, key=lambda name: -counts[name])[:3]
    rows = dict(csv.reader((predicted / "s.csv").read_text().splitlines()))
    assert rows[empty].split(" ") == expected
    said = (predicted / "said.txt").read_text()
    assert f"so that they get the classes most frequent in training: {empty} (no samples)\n" in said


def test_the_submission_scores_as_evaluated(
    toy_pipeline: ToyPipeline, predicted: Path, evaluated: tuple[str, Path]
) -> None:
    rows = dict(csv.reader((predicted / "s.csv").read_text().splitlines()))
    truth = read_labels(toy_pipeline.test_labels)
    values = [
        next((1 / rank for rank, name in enumerate(rows[fname].split(" "), 1) if name == label), 0)
        for fname, label in zip(truth["fname"], truth["label"], strict=True)
    ]
    table = pd.read_csv(evaluated[1], index_col="label")
    assert np.mean(values) == pytest.approx(table.loc["overall", "MAP@3"])


def test_another_process_predicts_the_same_to_the_last_bit(
    toy_pipeline: ToyPipeline, predicted: Path, tmp_path: Path
) -> None:
    run_ok(
        "predict",
        toy_pipeline.test,
        tmp_path / "s.csv",
        toy_pipeline.run,
        "--scores-output",
        tmp_path / "scores.csv",
    )
    for name in ("s.csv", "scores.csv"):
        assert (tmp_path / name).read_bytes() == (predicted / name).read_bytes()


def test_a_sample_submission_sets_names_and_order(
    toy_pipeline: ToyPipeline, predicted: Path, tmp_path: Path
) -> None:
    lines = toy_pipeline.sample.read_text().splitlines()
    sample = tmp_path / "sample.csv"
    sample.write_text("\n".join([lines[0], *reversed(lines[1:31])]) + "\n")
    run_ok("predict", toy_pipeline.test, tmp_path / "s.csv", toy_pipeline.run, "--sample-submission", sample)
    rows = list(csv.reader((tmp_path / "s.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == [line.split(",")[0] for line in sample.read_text().splitlines()]
    everything = dict(csv.reader((predicted / "s.csv").read_text().splitlines()))
    assert dict(rows[1:]).items() <= everything.items()


def test_json_says_the_same_as_csv(
    toy_pipeline: ToyPipeline, evaluated: tuple[str, Path], tmp_path: Path
) -> None:
    run_ok(
        "evaluate",
        toy_pipeline.test,
        toy_pipeline.test_labels,
        toy_pipeline.run,
        "--output",
        tmp_path / "t.json",
    )
    rows = json.loads((tmp_path / "t.json").read_text())
    table = pd.read_csv(evaluated[1], index_col="label")
    assert rows["overall"]["MAP@3"] == pytest.approx(table.loc["overall", "MAP@3"])
    absent = table.index[table["Public clips"] == 0][0]
    assert rows[absent]["Public MAP@3"] is None


def test_clip_by_clip(
    toy_pipeline: ToyPipeline, predicted: Path, evaluated: tuple[str, Path], tmp_path: Path
) -> None:
    done = dcase(
        "evaluate",
        toy_pipeline.test,
        toy_pipeline.test_labels,
        toy_pipeline.run,
        "-v",
        "--clips-output",
        tmp_path / "clips.csv",
    )
    assert done.stdout == evaluated[0]
    clips = pd.read_csv(tmp_path / "clips.csv")
    truth, submission = (
        read_labels(toy_pipeline.test_labels),
        pd.read_csv(predicted / "s.csv", index_col="fname"),
    )
    assert list(clips)[:3] == ["fname", "usage", "truth"]
    assert clips["fname"].tolist() == truth["fname"].tolist()
    assert clips["truth"].tolist() == truth["label"].tolist()
    ranked = clips["top_1"] + " " + clips["top_2"] + " " + clips["top_3"]
    assert ranked.tolist() == submission.loc[clips["fname"], "label"].tolist()
    assert (clips["score_1"] >= clips["score_2"]).all()
    table = pd.read_csv(evaluated[1], index_col="label")
    assert clips["average_precision"].mean() == pytest.approx(table.loc["overall", "MAP@3"])
    row = clips.iloc[7]
    told = f"{row['fname']}: {row['truth']}: {row['top_1']} {row['score_1']:.4f}, {row['top_2']} "
    assert told in done.stderr
    assert "after 50 clips:\n" in done.stderr


def test_the_run_folder_holds_what_it_says(toy_pipeline: ToyPipeline) -> None:
    assert sorted(path.name for path in toy_pipeline.run.iterdir()) == [
        "best.keras", "calibration.json", "checkpoints", "events", "history.csv", "model.keras", "run.json",
    ]  # fmt: skip
    values = json.loads((toy_pipeline.run / "run.json").read_text())
    assert values["classes"] == CLASSES
    assert values["model"] == "mlp"
    assert values["seed"] == 0
    assert set(values["made"]["versions"]) >= {"dcase2018", "keras", "numpy", "python"}
    assert values["made"]["backend"] == keras.backend.backend()
    assert (
        f"fit {toy_pipeline.train} {toy_pipeline.fit_labels} {toy_pipeline.run} --preset quick"
        in values["made"]["command"]
    )


def test_history_and_validation(toy_pipeline: ToyPipeline) -> None:
    history = pd.read_csv(toy_pipeline.run / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    store, run = Store(toy_pipeline.train), Run.load(toy_pipeline.run)
    examples = len(AllWindows(store, store.rows_of(read_labels(toy_pipeline.fit_labels)["fname"]), 25, 12))
    assert history["step"].tolist() == [epoch * examples // 64 for epoch in range(1, 6)]
    np.testing.assert_allclose(history["learning_rate"], 1e-3)
    assert history["loss"].iloc[-1] < history["loss"][0] / 2

    held_out = read_labels(toy_pipeline.validation)
    truth = multi_hot(held_out, CLASSES)
    for checkpoint, expected in ((None, history["map3"].iloc[-1]), ("best", history["map3"].max())):
        scores = StorePredictor(run, run.load_for_inference(checkpoint), store).scores(
            store.rows_of(held_out["fname"])
        )
        assert average_precision(scores, truth).mean() == pytest.approx(expected)


def test_checkpoints_the_last_thirty(toy_pipeline: ToyPipeline) -> None:
    ends = pd.read_csv(toy_pipeline.run / "history.csv")["step"]
    expected = sorted({*range(5, ends.iloc[-1] + 1, 5), *ends})[-30:]
    assert Run.load(toy_pipeline.run).checkpoints == expected
    assert len(expected) == 30


def test_events_for_tensorboard(toy_pipeline: ToyPipeline) -> None:
    events = EventAccumulator(str(toy_pipeline.run / "events"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "learning_rate", "map3"}
    for name in ("loss", "learning_rate"):
        assert [event.step for event in events.Scalars(name)] == [1, 50, 100, 150]
    history = pd.read_csv(toy_pipeline.run / "history.csv")
    np.testing.assert_allclose(
        [event.value for event in events.Scalars("map3")], history["map3"], rtol=1e-6
    )


def test_other_means_and_hops_in_scoring(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    store, run = Store(toy_pipeline.test), Run.load(toy_pipeline.run)
    model = run.load_for_inference()
    run_ok(
        "predict", toy_pipeline.test, tmp_path / "s.csv", toy_pipeline.run, "--scores-output", tmp_path / "scores.csv",
        "--pooling", "geometric_mean", "--hop-seconds", 0.05,
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "scores.csv", index_col="fname")
    for row in np.flatnonzero(store.lengths >= 25)[:10]:
        clip = store.frames_of(row)
        examples = [clip[start : start + 25] for start in range(0, len(clip) - 24, 5)]
        expected = np.exp(np.log(np.maximum(model(np.stack(examples)), 1e-7)).mean(axis=0))
        np.testing.assert_allclose(table.loc[store.fnames[row]], expected / expected.sum(), atol=1e-5)


@pytest.mark.slow
def test_an_ensemble_is_the_mean_of_members_of_any_recipe(
    toy_pipeline: ToyPipeline, predicted: Path, tmp_path: Path
) -> None:
    train, test, other = tmp_path / "train.h5", tmp_path / "test.h5", tmp_path / "other"
    extract(toy_pipeline.data / "audio_train", train, FeatureConfig(mel_bands=20))
    extract(toy_pipeline.data / "audio_test", test, FeatureConfig(mel_bands=20))
    run_ok(
        "fit", train, toy_pipeline.fit_labels, other, "--preset", "quick", "--max-steps", 20,
        "--seed", 5, "--hparams", "classifier=logistic,nl=1,example_window_seconds=0.5",
    )  # fmt: skip
    message = run_fails(2, "predict", toy_pipeline.test, tmp_path / "s.csv", toy_pipeline.run, other)
    assert f"was not made by the feature_config of the run {other}: mel_bands=64, not 20" in message
    run_ok("predict", test, tmp_path / "s.csv", other, "--scores-output", tmp_path / "b.csv")
    run_ok(
        "predict", toy_pipeline.test, tmp_path / "s.csv", toy_pipeline.run, other, "--store", test,
        "--scores-output", tmp_path / "ab.csv",
    )  # fmt: skip
    a, b, ab = (
        pd.read_csv(path, index_col="fname")
        for path in (predicted / "scores.csv", tmp_path / "b.csv", tmp_path / "ab.csv")
    )
    pd.testing.assert_frame_equal(ab, (a + b) / 2)


def test_info_tells_the_size_and_work_of_a_network(toy_pipeline: ToyPipeline) -> None:
    told = run_ok("info", toy_pipeline.run)
    weights = 1600 * 256 + 256 * 256 + 256 * 41
    assert f"weights  {weights + 256 + 256 + 41:,}, of which {weights:,} multiply\n" in told
    assert f"work     {weights / 1e6:.1f}M multiplies an example, {weights / 0.12e6:.1f}M a second of" in told
    assert f"{toy_pipeline.run}: mlp, 5 of 5 epochs, " in told
    assert "hparams  batch_size = 64\n" in told
    assert "feature_config   mel_bands = 64\n" in told


@pytest.mark.parametrize("command", ["fit", "evaluate", "predict"])
def test_a_damaged_clip_is_refused_before_the_work(
    toy_pipeline: ToyPipeline, tmp_path: Path, command: str
) -> None:
    store = Store(toy_pipeline.train)
    fname = read_labels(toy_pipeline.fit_labels)["fname"][3]
    content = bytearray(toy_pipeline.train.read_bytes())
    content[content.index(store.frames_of(store.rows[fname]).tobytes()) + 9] ^= 64
    damaged = tmp_path / "s.h5"
    damaged.write_bytes(content)
    arguments = {
        "fit": (damaged, toy_pipeline.fit_labels, tmp_path / "run"),
        "evaluate": (damaged, toy_pipeline.fit_labels, toy_pipeline.run),
        "predict": (damaged, tmp_path / "submission.csv", toy_pipeline.run),
    }
    message = run_fails(1, command, *arguments[command])
    assert f"clips: {fname!r}; run dcase2018 extract again" in message
    assert "loading Keras" not in message
    assert list_dir(tmp_path) == ["s.h5"]
