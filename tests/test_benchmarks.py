"""The benchmark scripts run and measure what they claim."""

import importlib
import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, ToyPipeline, noise, write_wav

from dcase2018.data.labels import read_labels
from dcase2018.evaluation.evaluate import Evaluation, evaluate
from dcase2018.evaluation.significance import compare
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.models.hparams import PRESETS
from dcase2018.runs.run import Run
from dcase2018.utils.errors import InputError

BENCHMARKS = ROOT / "tests" / "benchmarks"
ENV = os.environ | {"PYTHONPATH": str(ROOT)}
SMALL = (
    "--seconds", "20", "--report-seconds", "20", "--rounds", "1", "--steps", "2", "--batches", "3",
    "--clips", "10",
)  # fmt: skip

# The rows of each benchmark: (benchmark, implementation), the reference of each benchmark first.
ROWS = {
    "extraction": [
        ("extraction", "plain loop"), ("extraction", "extract -j 1"), ("extraction", "extract -j 2"),
        ("extraction", "decoding only"),
    ],
    "batches": [
        ("batches", "h5py, slice by slice"), ("batches", "BatchLoader"),
        ("batches", "BatchLoader, 10x store"), ("batches", "copying memory"),
        ("crops", "h5py, slice by slice"), ("crops", "BatchLoader"), ("crops", "in Keras"),
        ("crops", "in Keras, 2 threads"),
    ],
    "fit": [("fit", "on the fly"), ("fit", "fit"), ("fit", "convolutions only")],
    "predict": [("predict", "model.predict"), ("predict", "predict"), ("predict", "convolutions only")],
    "report": [("report", "evaluate, and decoding"), ("report", "report")],
    "export": [
        (f"export {preset}", name)
        for preset in ("baseline", "compact")
        for name in ("extract, predict", "onnx", "litert")
    ],
}  # fmt: skip


@pytest.fixture
def import_benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a module of tests/benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_all_benchmark_modules_import() -> None:
    names = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
    assert {"run", "compare_configs", "event_detection"} <= set(names)
    result = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}"],
        env=ENV | {"PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def run_benchmarks(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / "run.py", *args]
    return subprocess.run(list(map(str, command)), env=ENV, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_benchmark_runs_at_its_smallest_size(name: str, tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    result = run_benchmarks(output, name, *SMALL)
    assert result.returncode == 0, result.stderr
    rows = json.loads(output.read_text())["rows"]
    assert [(row["benchmark"], row["implementation"]) for row in rows] == ROWS[name]
    for row in rows:
        assert math.isfinite(row["rate"])
        assert row["rate"] > 0
        reference = next(other for other in rows if other["benchmark"] == row["benchmark"])
        assert row["unit"] == reference["unit"]
        assert row["ratio"] == pytest.approx(row["rate"] / reference["rate"])
        assert f"{row['benchmark']:16} {row['implementation']:24} {row['rate']:10.0f}" in result.stdout


def test_all_benchmarks_are_tested() -> None:
    source = (BENCHMARKS / "run.py").read_text()
    names = re.findall(r'^    "(\w+)": \w+,$', source, flags=re.MULTILINE)
    assert sorted(names) == sorted(ROWS)


@pytest.mark.slow
def test_unknown_benchmark_is_refused(tmp_path: Path) -> None:
    result = run_benchmarks(tmp_path / "bench.json", "speed")
    assert result.returncode == 2
    assert "unknown benchmark speed; choose from extraction, " in result.stderr
    assert not (tmp_path / "bench.json").exists()


def test_event_detection_metrics(import_benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark = import_benchmark("event_detection")
    labels = {f"{index}.wav": f"class {index % 3}" for index in range(20)}
    silence = np.zeros(4410)
    for index, fname in enumerate(labels):
        write_wav(tmp_path / fname, np.concatenate([silence, noise(44100, index), silence]))
    recording = benchmark.mix_recording(tmp_path, labels, minutes=1.0, seed=0)
    assert len(recording.samples) == 60 * 44100
    assert 5 < len(recording.true_events) == len(recording.fnames) <= 20
    is_active = np.zeros(len(recording.samples), bool)
    for fname, event in zip(recording.fnames, recording.true_events, strict=True):
        assert event.label == labels[fname]
        assert event.offset - event.onset == pytest.approx(1, abs=0.01)
        is_active[round(event.onset * 44100) : round(event.offset * 44100)] = True
    assert np.abs(recording.samples[is_active]).mean() > 5 * np.abs(recording.samples[~is_active]).mean()

    true_events = list(recording.true_events)
    late = [replace(event, onset=event.onset + 1.5, offset=event.offset + 1.5) for event in true_events]
    other_class = [replace(event, label="another") for event in true_events]
    assert benchmark.event_f1(true_events, true_events) == pytest.approx((1, 1, 1))
    assert benchmark.event_f1([*true_events, *true_events], true_events) == pytest.approx((0.5, 1, 2 / 3))
    assert benchmark.event_f1(true_events[:3], true_events)[:2] == pytest.approx((1, 3 / len(true_events)))
    assert benchmark.event_f1(late[:1], true_events[:1])[2] == 0
    assert benchmark.event_f1(other_class, true_events)[2] == 0
    assert benchmark.segment_labels([], 60) == [""] * 60
    segments = benchmark.segment_labels(true_events, 60)
    for event in true_events:
        assert event.label in segments[int(event.onset) : int(event.offset) + 1]


@pytest.mark.slow
def test_event_detection_script_prints_its_results(toy_pipeline: ToyPipeline) -> None:
    command = [
        sys.executable, BENCHMARKS / "event_detection.py", toy_pipeline.run,
        toy_pipeline.data / "audio_test", toy_pipeline.test_labels, "--minutes", 0.5, "--hop-seconds", 0.2,
    ]  # fmt: skip
    result = subprocess.run(list(map(str, command)), env=ENV, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)
    assert values["minutes"] == 0.5
    assert values["n_clips"] > 2
    fractions = [values[name] for name in values if name not in {"minutes", "n_clips", "n_events"}]
    assert len(fractions) == 7
    assert all(0 <= value <= 1 for value in fractions)


def start_comparison(*args: object) -> subprocess.Popen[str]:
    command = list(map(str, [sys.executable, BENCHMARKS / "compare_configs.py", *args]))
    return subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_read_configs(import_benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    module = import_benchmark("compare_configs")
    path, labels = tmp_path / "configs.txt", tmp_path / "train.csv"
    path.write_text(
        "# presets and changes\n\n"
        "small one: --preset compact --epochs 5  # unchanged\n"
        "reference:\n"
        'other labels: --labels "my labels.csv" --features logmel96 --preset=quick --hparams lr=0.1\n'
    )
    small, reference, other = module.read_configs(path, labels)
    assert (small.name, small.folder, small.features) == ("small one", "small-one", "logmel96")
    assert small.options == ["--preset", "compact", "--epochs", "5"]
    assert (reference.options, reference.features) == (["--preset", "baseline"], "baseline")
    assert reference.labels == labels
    assert (other.features, other.labels) == ("logmel96", Path("my labels.csv"))
    assert other.options == ["--preset", "quick", "--hparams", "lr=0.1"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("quick", "line 1: the colon is missing"),
        ("a: --epochs 1\n\na :", "line 3: 'a' has no folder name of its own"),
        ("stores: ", "line 1: 'stores' has no folder name of its own"),
        (": --epochs 1", "line 1: '' has no folder name of its own"),
        ("a: --seed 1", "line 1: --seed is not allowed here"),
        ("a: --features narrow", "line 1: argument --features: invalid choice: 'narrow'"),
        ("a: --preset tiny", "line 1: argument --preset: invalid choice: 'tiny'"),
        ("a: 'b", "line 1: No closing quotation"),
        ("# a", "is empty"),
    ],
)
def test_read_configs_reports_the_line_of_an_error(
    text: str, reason: str, import_benchmark: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    module = import_benchmark("compare_configs")
    path = tmp_path / "configs.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(reason)):
        module.read_configs(path, tmp_path / "train.csv")


def test_config_uses_the_features_of_its_preset(import_benchmark: Callable[[str], ModuleType]) -> None:
    module = import_benchmark("compare_configs")
    for name, preset in PRESETS.items():
        assert module.parse_config(f"it: --preset {name}", Path("train.csv")).features == preset.features


@pytest.mark.slow
def test_configs_are_compared_and_finished_work_is_reused(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    configs, out = tmp_path / "configs.txt", tmp_path / "out"
    quick = "--preset quick --epochs 1"
    lines = [f"quick: {quick}", f"invalid: {quick} --hparams rate=1", f"slow: {quick} --hparams lr=1e-5"]
    train = ("--train", toy_pipeline.data / "audio_train", toy_pipeline.fit_labels)
    validation = ("--validation", toy_pipeline.data / "audio_train", toy_pipeline.validation)
    test = ("--validation", toy_pipeline.data / "audio_test", toy_pipeline.test_labels)

    def run(code: int, *args: object) -> tuple[list[list[str]], str]:
        """Compare the configurations in `lines`; return the cells of the table, and the log."""
        configs.write_text("\n".join(lines))
        process = start_comparison(configs, out, *train, *args, "--jobs", 2)
        table, messages = process.communicate()
        assert process.returncode == code, messages
        assert table == (out / "table.md").read_text()
        return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]], messages

    def evaluations(runs: list[Path], store: Path, labels_csv: Path) -> list[Evaluation]:
        labels = read_labels(labels_csv, Run.load(out / "quick" / "seed-0").classes)
        return [evaluate(Ensemble.open([path], [Store(store)]), labels) for path in runs]

    (quick_row, invalid, slow), messages = run(1, *validation, "--seeds", 2)
    assert messages.count("MAP@3") == 4
    assert invalid[0] == "invalid"
    assert "'rate'" in invalid[1]
    rows = json.loads((out / "table.json").read_text())
    assert [row["config"] for row in rows] == ["quick", "invalid", "slow"]
    assert "rate" in rows[1]["error"]

    runs = [[out / name / f"seed-{seed}" for seed in range(2)] for name in ("quick", "slow")]
    expected = compare(*(evaluations(paths, toy_pipeline.train, toy_pipeline.validation) for paths in runs))
    assert rows[2]["seeds"] == pytest.approx(expected["seeds"]["b"])
    assert rows[2]["difference"] == pytest.approx(expected["difference"])
    assert rows[2]["difference_interval"] == pytest.approx(expected["seeds"]["combined"])
    assert rows[2]["difference"] < 0
    assert slow[4] == f"{expected['difference']:+.4f}"
    assert slow[5] == "{:+.4f} to {:+.4f}".format(*expected["seeds"]["combined"])
    assert quick_row[1] == f"{expected['a']:.4f}"
    assert rows[0]["map3"] == pytest.approx(expected["a"])
    assert rows[0]["interval"][0] < rows[0]["map3"] < rows[0]["interval"][1]
    assert rows[0]["weights"] == keras.saving.load_model(runs[0][0] / "model.keras").count_params()
    assert "difference" not in rows[0]
    assert min(rows[0]["seconds"], rows[0]["processor_seconds"]) > 0

    models = {path: path.read_bytes() for path in out.glob("*/seed-*/model.keras")}
    score_times = {path: path.stat().st_mtime_ns for path in out.glob("*/*.*.*.csv")}
    assert len(models) == len(score_times) == 4
    table = (out / "table.md").read_text()
    run(1, *validation, "--seeds", 2)
    assert (out / "table.md").read_text() == table
    assert {path: path.read_bytes() for path in out.glob("*/seed-*/model.keras")} == models
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*.*.*.csv")} == score_times

    lines[1:] = [f"folds: {quick} --folds 2", f"slow: {quick} --hparams lr=1e-4"]
    (quick_row, folds, slow), _ = run(1, *test, "--seeds", 1)
    assert slow[1].startswith(f"{runs[1][0]} was trained with other options")
    pair = [
        evaluations([out / name / "seed-0"], toy_pipeline.test, toy_pipeline.test_labels)
        for name in ("quick", "folds")
    ]
    assert (quick_row[1], folds[1]) == tuple(f"{side[0].ap_at_3.mean():.4f}" for side in pair)
    assert folds[4] == f"{compare(*pair)['difference']:+.4f}"
    model = out / "quick" / "seed-0" / "model.keras"
    assert model.read_bytes() == models[model]


@pytest.mark.slow
def test_stopped_comparison_stops_its_trainings(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    configs, out = tmp_path / "configs.txt", tmp_path / "out"
    configs.write_text("long: --preset quick --epochs 10000\n")
    logs = [out / "long" / f"seed-{seed}.fit.log" for seed in range(2)]
    process = start_comparison(
        configs, out, "--train", toy_pipeline.data / "audio_train", toy_pipeline.fit_labels,
        "--validation", toy_pipeline.data / "audio_train", toy_pipeline.validation, "--jobs", 2,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not all(log.exists() and "epoch 2" in log.read_text() for log in logs):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    assert process.communicate()[1].endswith("run the same command again to resume\n")
    assert process.returncode == 128 + signal.SIGTERM
    assert all("run the same command again to resume" in log.read_text() for log in logs)
    assert not (out / "long" / "seed-2.fit.log").exists()


def test_review_gain_reviews_the_first_clips_by_the_truth(
    import_benchmark: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "label_quality")
    review_gain = import_benchmark("review_gain")
    labels, scores, true_labels = importlib.import_module("noisy_labels").make_noisy_labels(200)
    unverified = labels.index[labels["manually_verified"] == "0"]
    true_labels[unverified[0]] = "Siren"  # is none of the classes
    labels.to_csv(tmp_path / "train.csv", index=False)
    labels.assign(label=true_labels).to_csv(tmp_path / "truth.csv", index=False)
    monkeypatch.setattr(review_gain, "score_by_folds", lambda args: scores)
    args = Namespace(
        out=tmp_path, train=[tmp_path, tmp_path / "train.csv"], truth=tmp_path / "truth.csv", clips=10,
        fit_options="--preset quick",
    )  # fmt: skip
    lines = review_gain.write_configs(args).read_text().splitlines()
    assert lines[1] == f"10 clips reviewed (first): --preset quick --labels {tmp_path}/reviewed-first.csv"
    assert [line.split(":")[0] for line in lines] == [
        "given labels", "10 clips reviewed (first)", "10 clips reviewed (random)",
        f"{len(unverified)} clips reviewed (all)",
    ]  # fmt: skip
    truth = dict(zip(labels["fname"], true_labels, strict=True))
    reviewed = read_labels(tmp_path / "reviewed-all.csv")
    assert reviewed["label"].tolist() == [truth[fname] for fname in reviewed["fname"]]
    assert len(reviewed) == 199
    first = pd.read_csv(tmp_path / "label-issues.csv")["fname"][:10]
    reviewed = read_labels(tmp_path / "reviewed-first.csv").set_index("fname")
    given = dict(zip(labels["fname"], labels["label"], strict=True))
    expected = {fname: truth[fname] if fname in set(first) else given[fname] for fname in given}
    assert reviewed["label"].to_dict() == {
        name: label for name, label in expected.items() if label != "Siren"
    }
    args.clips = len(unverified) + 1
    with pytest.raises(InputError, match=f"it must be from 1 to {len(unverified)}, the unverified clips"):
        review_gain.write_configs(args)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_accelerator_benchmark_at_its_smallest_size(tmp_path: Path) -> None:
    output = tmp_path / "accelerator.json"
    options = [
        "--presets",
        "compact",
        "--precisions",
        "float32",
        "--clips",
        "100",
        "--rounds",
        "1",
        "--steps",
        "2",
        "--epochs",
        "1",
    ]
    result = subprocess.run(
        [sys.executable, BENCHMARKS / "accelerator.py", output, *options],
        env=ENV | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    values = json.loads(output.read_text())
    assert values["clips"] == 100
    rates = values["rates"]["compact, float32"]["examples_per_second"]
    assert list(rates) == ["store", "store, 1 thread", "store, 4 threads", "device"]
    assert all(rate["min"] > 0 for rate in rates.values())
    assert values["fit"]["exit_code"] == 0
    assert (values["fit"]["epochs"], values["fit"]["steps"]) == (1, 3)
