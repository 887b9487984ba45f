"""The pipeline on a toy corpus: each command in a process of its own."""

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
    """What evaluate prints, and its score table."""
    path = tmp_path_factory.mktemp("evaluated") / "table.csv"
    inputs = (toy_pipeline.test, toy_pipeline.test_labels, toy_pipeline.run)
    return run_ok("evaluate", *inputs, "-o", path), path


@pytest.fixture(scope="module")
def predicted(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the outputs of predict: s.csv, scores.csv and stderr.txt."""
    folder = tmp_path_factory.mktemp("predicted")
    outputs = ("-o", folder / "s.csv", "--scores-output", folder / "scores.csv")
    done = dcase("predict", toy_pipeline.test, toy_pipeline.run, *outputs)
    assert done.returncode == 0, done.stderr
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


def read_part(path: Path, part: str = "all") -> pd.DataFrame:
    """Read the rows of one part of a score table, by label."""
    table = pd.read_csv(path)
    return table[table["part"] == part].set_index("label")


def read_submission(path: Path) -> dict[str, str]:
    return dict(csv.reader(path.read_text().splitlines()))


def test_model_is_better_than_chance(evaluated: tuple[str, Path]) -> None:
    chance = (1 + 1 / 2 + 1 / 3) / 41
    assert read_part(evaluated[1]).loc["overall", "map3"] > 10 * chance


def test_score_table_is_complete_and_consistent(evaluated: tuple[str, Path]) -> None:
    printed, path = evaluated
    parts = {part: read_part(path, part) for part in ("all", "Public", "Private")}
    assert sum(map(len, parts.values())) == len(pd.read_csv(path))
    for table in parts.values():
        assert list(table.index) == [*CLASSES, "overall"]
        classes, overall = table.iloc[:-1], table.loc["overall"]
        n_clips = classes["n_clips"]
        assert n_clips.sum() == overall["n_clips"]
        assert (n_clips * classes["map3"].fillna(0)).sum() / n_clips.sum() == pytest.approx(overall["map3"])
    usages = parts["Public"]["n_clips"] + parts["Private"]["n_clips"]
    assert (parts["all"]["n_clips"] == usages).all()
    overall = parts["all"].loc["overall"]
    assert overall["n_clips"] == 82
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[1:42]] == CLASSES
    assert max(map(len, lines)) <= 80
    intervals = [
        f"{overall[f'{name}low']:.3f}-{overall[f'{name}high']:.3f}" for name in ("ci_", "accuracy_ci_")
    ]
    map3, accuracy, precision, recall, f1, mean_ap = (
        f"{overall[name]:.4f}" for name in ("map3", "accuracy", "precision", "recall", "f1", "map")
    )
    assert lines[42].split() == ["overall", "82", map3, intervals[0], precision, recall, f1]
    assert lines[45].split() == ["all", "82", map3, intervals[0], accuracy, intervals[1], f1, mean_ap]
    assert [line.split()[0] for line in lines[46:]] == ["Private", "Public"]


def test_scores_are_means_of_example_scores(toy_pipeline: ToyPipeline, predicted: Path) -> None:
    store, run = Store(toy_pipeline.test), Run.load(toy_pipeline.run)
    model = run.load_for_inference()
    table = pd.read_csv(predicted / "scores.csv", index_col="fname")
    for row in np.flatnonzero(store.lengths)[:20]:
        frames = store.frames_of(row)
        if len(frames) < 25:
            padding = ((0, 25 - len(frames)), (0, 0))
            frames = np.pad(frames, padding, constant_values=store.feature_config.silence_value)
        examples = [frames[start : start + 25] for start in range(0, len(frames) - 24, 12)]
        expected = np.asarray(model(np.stack(examples))).mean(axis=0)
        np.testing.assert_allclose(table.loc[store.fnames[row]], expected, atol=1e-5)


def test_submission_has_the_top_three_of_every_clip_in_order(
    toy_pipeline: ToyPipeline, predicted: Path
) -> None:
    content = (predicted / "s.csv").read_bytes()
    assert content.startswith(b"fname,label\n")
    assert b"\r" not in content
    rows = list(csv.reader(content.decode().splitlines()))[1:]
    assert [fname for fname, _ in rows] == sorted(Store(toy_pipeline.test).fnames)
    scores = pd.read_csv(predicted / "scores.csv", index_col="fname")
    for fname, label in rows:
        ranked = sorted(CLASSES, key=lambda name: -scores.loc[fname, name])
        assert label.split(" ") == ranked[:3]


def test_an_empty_clip_gets_the_most_frequent_training_classes(
    toy_pipeline: ToyPipeline, predicted: Path
) -> None:
    store = Store(toy_pipeline.test)
    (empty,) = (name for name, length in zip(store.fnames, store.lengths, strict=True) if not length)
    counts = read_labels(toy_pipeline.fit_labels)["label"].value_counts()
    expected = sorted(CLASSES, key=lambda name: -counts[name])[:3]
    assert read_submission(predicted / "s.csv")[empty].split(" ") == expected
    message = f"without frames get the classes most frequent in training: {empty} (no samples)\n"
    assert message in (predicted / "stderr.txt").read_text()


def test_submission_scores_as_evaluated(
    toy_pipeline: ToyPipeline, predicted: Path, evaluated: tuple[str, Path]
) -> None:
    rows = read_submission(predicted / "s.csv")
    labels = read_labels(toy_pipeline.test_labels)
    values = [
        next((1 / rank for rank, name in enumerate(rows[fname].split(" "), 1) if name == label), 0)
        for fname, label in zip(labels["fname"], labels["label"], strict=True)
    ]
    assert np.mean(values) == pytest.approx(read_part(evaluated[1]).loc["overall", "map3"])


@pytest.mark.slow
def test_predictions_are_bit_exact_across_processes(
    toy_pipeline: ToyPipeline, predicted: Path, tmp_path: Path
) -> None:
    outputs = ("-o", tmp_path / "s.csv", "--scores-output", tmp_path / "scores.csv")
    run_ok("predict", toy_pipeline.test, toy_pipeline.run, *outputs)
    for name in ("s.csv", "scores.csv"):
        assert (tmp_path / name).read_bytes() == (predicted / name).read_bytes()


@pytest.mark.slow
def test_sample_submission_sets_names_and_order(
    toy_pipeline: ToyPipeline, predicted: Path, tmp_path: Path
) -> None:
    lines = toy_pipeline.sample.read_text().splitlines()
    sample = tmp_path / "sample.csv"
    sample.write_text("\n".join([lines[0], *reversed(lines[1:31])]) + "\n")
    outputs = ("-o", tmp_path / "s.csv", "--sample-submission", sample)
    run_ok("predict", toy_pipeline.test, toy_pipeline.run, *outputs)
    rows = list(csv.reader((tmp_path / "s.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == [line.split(",")[0] for line in sample.read_text().splitlines()]
    assert dict(rows[1:]).items() <= read_submission(predicted / "s.csv").items()


@pytest.mark.slow
def test_json_table_equals_csv_table(
    toy_pipeline: ToyPipeline, evaluated: tuple[str, Path], tmp_path: Path
) -> None:
    inputs = (toy_pipeline.test, toy_pipeline.test_labels, toy_pipeline.run)
    run_ok("evaluate", *inputs, "-o", tmp_path / "t.json")
    rows = {(row["part"], row["label"]): row for row in json.loads((tmp_path / "t.json").read_text())}
    table = read_part(evaluated[1])
    assert rows["all", "overall"]["map3"] == pytest.approx(table.loc["overall", "map3"])
    public = read_part(evaluated[1], "Public")
    absent = public.index[public["n_clips"] == 0][0]
    assert rows["Public", absent]["map3"] is None


@pytest.mark.slow
def test_clips_output_has_label_and_top_three_of_each_clip(
    toy_pipeline: ToyPipeline, predicted: Path, evaluated: tuple[str, Path], tmp_path: Path
) -> None:
    inputs = (toy_pipeline.test, toy_pipeline.test_labels, toy_pipeline.run)
    done = dcase("evaluate", *inputs, "-v", "--clips-output", tmp_path / "clips.csv")
    assert done.stdout == evaluated[0]
    clips = pd.read_csv(tmp_path / "clips.csv")
    labels = read_labels(toy_pipeline.test_labels)
    submission = pd.read_csv(predicted / "s.csv", index_col="fname")
    assert list(clips)[:3] == ["fname", "usage", "label"]
    assert clips["fname"].tolist() == labels["fname"].tolist()
    assert clips["label"].tolist() == labels["label"].tolist()
    ranked = clips["top_1"] + " " + clips["top_2"] + " " + clips["top_3"]
    assert ranked.tolist() == submission.loc[clips["fname"], "label"].tolist()
    assert (clips["score_1"] >= clips["score_2"]).all()
    assert clips["ap_at_3"].mean() == pytest.approx(read_part(evaluated[1]).loc["overall", "map3"])
    row = clips.iloc[7]
    line = f"{row['fname']}: {row['label']}: {row['top_1']} {row['score_1']:.4f}, {row['top_2']} "
    assert line in done.stderr
    assert "after 50 clips:\n" in done.stderr


def test_run_folder_has_the_documented_files(toy_pipeline: ToyPipeline) -> None:
    assert list_dir(toy_pipeline.run) == [
        "best.keras", "calibration.json", "checkpoints", "events", "history.csv", "model.keras", "run.json",
        "training_clips.csv",
    ]  # fmt: skip
    values = json.loads((toy_pipeline.run / "run.json").read_text())
    assert values["classes"] == CLASSES
    assert values["model"] == "mlp"
    assert values["seed"] == 0
    provenance = values["provenance"]
    assert set(provenance["versions"]) >= {"dcase2018", "keras", "numpy", "python"}
    assert provenance["backend"] == keras.backend.backend()
    command = f"fit {toy_pipeline.train} {toy_pipeline.fit_labels} {toy_pipeline.run} --preset quick"
    assert command in provenance["command"]


def test_history_has_steps_losses_and_validation_scores(toy_pipeline: ToyPipeline) -> None:
    history = pd.read_csv(toy_pipeline.run / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    store, run = Store(toy_pipeline.train), Run.load(toy_pipeline.run)
    fit_rows = store.rows_of(read_labels(toy_pipeline.fit_labels)["fname"])
    n_examples = len(AllWindows(store, fit_rows, 25, 12))
    assert history["step"].tolist() == [epoch * (n_examples // 64) for epoch in range(1, 6)]
    np.testing.assert_allclose(history["learning_rate"], 1e-3)
    assert history["loss"].iloc[-1] < history["loss"][0] / 2

    labels = read_labels(toy_pipeline.validation)
    rows, y_true = store.rows_of(labels["fname"]), multi_hot(labels, CLASSES)
    for checkpoint, expected in ((None, history["map3"].iloc[-1]), ("best", history["map3"].max())):
        scores = StorePredictor(run, run.load_for_inference(checkpoint), store).scores(rows)
        assert average_precision(scores, y_true).mean() == pytest.approx(expected)


def test_the_last_three_checkpoints_are_kept(toy_pipeline: ToyPipeline) -> None:
    epoch_ends = pd.read_csv(toy_pipeline.run / "history.csv")["step"]
    expected = sorted({*range(5, epoch_ends.iloc[-1] + 1, 5), *epoch_ends})[-3:]
    assert Run.load(toy_pipeline.run).checkpoints == expected


def test_tensorboard_events_equal_the_history(toy_pipeline: ToyPipeline) -> None:
    events = EventAccumulator(str(toy_pipeline.run / "events"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "learning_rate", "map3", "validation_loss"}
    for name in ("loss", "learning_rate"):
        assert [event.step for event in events.Scalars(name)] == [1, 50, 100, 150]
    history = pd.read_csv(toy_pipeline.run / "history.csv")
    np.testing.assert_allclose([event.value for event in events.Scalars("map3")], history["map3"], rtol=1e-6)


@pytest.mark.slow
def test_pooling_and_hop_of_inference_can_be_chosen(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    store, run = Store(toy_pipeline.test), Run.load(toy_pipeline.run)
    model = run.load_for_inference()
    outputs = ("-o", tmp_path / "s.csv", "--scores-output", tmp_path / "scores.csv")
    options = ("--pooling", "geometric_mean", "--hop-seconds", 0.05)
    run_ok("predict", toy_pipeline.test, toy_pipeline.run, *outputs, *options)
    table = pd.read_csv(tmp_path / "scores.csv", index_col="fname")
    for row in np.flatnonzero(store.lengths >= 25)[:10]:
        frames = store.frames_of(row)
        examples = [frames[start : start + 25] for start in range(0, len(frames) - 24, 5)]
        expected = np.exp(np.log(np.maximum(model(np.stack(examples)), 1e-7)).mean(axis=0))
        np.testing.assert_allclose(table.loc[store.fnames[row]], expected / expected.sum(), atol=1e-5)


@pytest.mark.slow
def test_ensemble_is_the_mean_over_runs_with_any_feature_config(
    toy_pipeline: ToyPipeline, predicted: Path, tmp_path: Path
) -> None:
    train, test, other = tmp_path / "train.h5", tmp_path / "test.h5", tmp_path / "other"
    extract(toy_pipeline.data / "audio_train", train, FeatureConfig(mel_bands=20))
    extract(toy_pipeline.data / "audio_test", test, FeatureConfig(mel_bands=20))
    run_ok(
        "fit", train, toy_pipeline.fit_labels, other, "--preset", "quick", "--max-steps", 20,
        "--seed", 5, "--hparams", "classifier=logistic,nl=1,example_window_seconds=0.5",
    )  # fmt: skip
    ensemble = ("predict", toy_pipeline.test, toy_pipeline.run, other, "-o", tmp_path / "s.csv")
    message = run_fails(2, *ensemble)
    assert f"has another feature config than the run {other}: mel_bands=64, not 20" in message
    run_ok("predict", test, other, "-o", tmp_path / "s.csv", "--scores-output", tmp_path / "b.csv")
    run_ok(*ensemble, "--extra-store", test, "--scores-output", tmp_path / "ab.csv")
    a, b, ab = (
        pd.read_csv(path, index_col="fname")
        for path in (predicted / "scores.csv", tmp_path / "b.csv", tmp_path / "ab.csv")
    )
    pd.testing.assert_frame_equal(ab, (a + b) / 2)


@pytest.mark.slow
def test_info_prints_size_and_work_of_a_model(toy_pipeline: ToyPipeline) -> None:
    output = run_ok("info", toy_pipeline.run)
    weights = 1600 * 256 + 256 * 256 + 256 * 41
    assert f"weights  {weights + 256 + 256 + 41:,}, of which {weights:,} in kernels\n" in output
    assert f"MACs     {weights / 1e6:.1f}M per example, {weights / 0.12e6:.1f}M per second of" in output
    assert f"{toy_pipeline.run}: mlp, 5 of 5 epochs, " in output
    assert "hparams  batch_size = 64\n" in output
    assert "features mel_bands = 64\n" in output


@pytest.mark.parametrize("command", ["fit", "evaluate", "predict"])
def test_a_damaged_clip_is_refused_before_keras_is_loaded(
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
        "predict": (damaged, toy_pipeline.run, "-o", tmp_path / "submission.csv"),
    }
    message = run_fails(1, command, *arguments[command])
    assert f"clips: {fname!r}; run dcase2018 extract again" in message
    assert "loading Keras" not in message
    assert list_dir(tmp_path) == ["s.h5"]
