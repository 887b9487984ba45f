"""The benchmarks, which measure and do not judge: they are still of this program."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import ROOT, ToyPipeline, noise, write_wav

from dcase2018.data.labels import read_labels
from dcase2018.evaluation.evaluate import evaluate
from dcase2018.evaluation.significance import compare
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.models.hparams import PRESETS
from dcase2018.runs.run import Run
from dcase2018.utils.errors import InputError


def test_every_benchmark_finds_what_it_measures() -> None:
    folder = ROOT / "tests" / "benchmarks"
    names = sorted(path.stem for path in folder.glob("*.py"))
    assert "run" in names
    done = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}"],
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_measure_over_time_knows_right_from_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    stream = importlib.import_module("event_detection")
    names = {f"{number}.wav": f"class {number % 3}" for number in range(20)}
    for number, name in enumerate(names):
        silence = np.zeros(4410)
        write_wav(tmp_path / name, np.concatenate([silence, noise(44100, number), silence]))
    made = stream.compose(tmp_path, names, 1.0, seed=0)
    assert len(made.samples) == 60 * 44100
    assert 5 < len(made.truth) == len(made.fnames) <= 20
    sounding = np.zeros(len(made.samples), bool)
    for fname, event in zip(made.fnames, made.truth, strict=True):
        assert event.label == names[fname]
        assert event.offset - event.onset == pytest.approx(1, abs=0.01)
        sounding[round(event.onset * 44100) : round(event.offset * 44100)] = True
    assert np.abs(made.samples[sounding]).mean() > 5 * np.abs(made.samples[~sounding]).mean()

    truth = list(made.truth)
    late = [replace(event, onset=event.onset + 1.5, offset=event.offset + 1.5) for event in truth]
    other = [replace(event, label="another") for event in truth]
    assert stream.event_f1(truth, truth) == pytest.approx((1, 1, 1))
    assert stream.event_f1([*truth, *truth], truth) == pytest.approx((0.5, 1, 2 / 3))
    assert stream.event_f1(truth[:3], truth)[:2] == pytest.approx((1, 3 / len(truth)))
    assert stream.event_f1(late[:1], truth[:1])[2] == stream.event_f1(other, truth)[2] == 0
    assert stream.segments([], 60) == [""] * 60
    told = stream.segments(truth, 60)
    for event in truth:
        assert event.label in told[int(event.onset) : int(event.offset) + 1]


def recipes(*args: object) -> subprocess.Popen[str]:
    command = map(str, [sys.executable, ROOT / "tests" / "benchmarks" / "compare_configs.py", *args])
    paths = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        list(command), env=paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ideas_are_read_as_they_are_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    module = importlib.import_module("compare_configs")
    path, labels = tmp_path / "ideas.txt", tmp_path / "train.csv"
    path.write_text(
        "# presets, and what is taken from\n\n"
        "small one: --preset compact --epochs 5  # as it is\n"
        "as it was:\n"
        'other labels: --labels "of mine.csv" --features wide --preset=quick --hparams lr=0.1\n'
    )
    small, before, other = module.read_ideas(path, labels)
    assert (small.name, small.folder, small.feature_config) == ("small one", "small-one", "logmel96")
    assert small.options == ["--preset", "compact", "--epochs", "5"]
    assert (before.options, before.feature_config, before.labels) == (
        ["--preset", "baseline"],
        "baseline",
        labels,
    )
    assert (other.feature_config, other.labels) == ("logmel96", Path("of mine.csv"))
    assert other.options == ["--preset", "quick", "--hparams", "lr=0.1"]
    for text, reason in (
        ("quick", "line 1: there is no colon"),
        ("a: --epochs 1\n\na :", "line 3: 'a' names no folder of its own"),
        ("stores: ", "line 1: 'stores' names no folder"),
        (": --epochs 1", "line 1: '' names no folder"),
        ("a: --seed 1", "line 1: --seed is not an idea's"),
        ("a: --features narrow", "line 1: argument --features: invalid choice: 'narrow'"),
        ("a: 'b", "line 1: No closing quotation"),
        ("# a", "has no idea"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=re.escape(reason)):
            module.read_ideas(path, labels)


def test_an_idea_learns_from_the_features_that_make_gives_its_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    module = importlib.import_module("compare_configs")
    makefile = dict(
        re.findall(r"^RECIPE_(\w+) = (\w+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    )
    assert set(makefile) == set(PRESETS)
    for preset, feature_config in makefile.items():
        assert module.read_idea(f"it: --preset {preset}", Path("train.csv")).feature_config == feature_config


@pytest.mark.slow
def test_ideas_are_compared_and_what_is_done_is_not_done_again(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    ideas, out = tmp_path / "ideas.txt", tmp_path / "out"
    quick = "--preset quick --epochs 1"
    lines = [f"quick: {quick}", f"no such: {quick} --hparams rate=1", f"timid: {quick} --hparams lr=1e-5"]
    validation = ("--validation", toy_pipeline.data / "audio_train", toy_pipeline.validation)
    train = ("--train", toy_pipeline.data / "audio_train", toy_pipeline.fit_labels)

    def told(code: int, *args: object) -> tuple[list[list[str]], str]:
        ideas.write_text("\n".join(lines))
        process = recipes(ideas, out, *train, *args, "--jobs", 2)
        table, said = process.communicate()
        assert process.returncode == code, said
        assert table == (out / "table.md").read_text()
        return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]], said

    (quick_row, no_such, timid), said = told(1, *validation, "--seeds", 2)
    assert said.count("MAP@3") == 4
    assert no_such[:2] == ["no such", "--hparams 'rate' is unknown"]
    rows = json.loads((out / "table.json").read_text())
    assert [row["idea"] for row in rows] == ["quick", "no such", "timid"]
    assert "known here: " in rows[1]["error"]

    runs = [[out / name / f"seed-{seed}" for seed in range(2)] for name in ("quick", "timid")]
    labels = read_labels(toy_pipeline.validation, Run.load(runs[0][0]).classes)
    sides = [
        [evaluate(Ensemble.open([run], [Store(toy_pipeline.train)]), labels) for run in side] for side in runs
    ]
    compared = compare(*sides)
    assert rows[2]["seeds"] == pytest.approx(compared["seeds"]["b"])
    assert rows[2]["difference"] == pytest.approx(compared["difference"])
    assert rows[2]["difference_interval"] == pytest.approx(compared["seeds"]["both"])
    assert rows[2]["difference"] < 0
    assert timid[4:6] == [
        f"{compared['difference']:+.4f}",
        "{:+.4f} to {:+.4f}".format(*compared["seeds"]["both"]),
    ]
    assert quick_row[1] == f"{compared['a']:.4f}"
    assert rows[0]["map3"] == pytest.approx(compared["a"])
    assert rows[0]["interval"][0] < rows[0]["map3"] < rows[0]["interval"][1]
    assert rows[0]["weights"] == keras.saving.load_model(runs[0][0] / "model.keras").count_params()
    assert "difference" not in rows[0]
    assert min(rows[0]["seconds"], rows[0]["processor_seconds"]) > 0

    networks = {path: path.read_bytes() for path in out.glob("*/seed-*/model.keras")}
    scored = {path: path.stat().st_mtime_ns for path in out.glob("*/*.*.*.csv")}
    assert len(networks) == len(scored) == 4
    before = (out / "table.md").read_text()
    told(1, *validation, "--seeds", 2)
    assert (out / "table.md").read_text() == before
    assert {path: path.read_bytes() for path in out.glob("*/seed-*/model.keras")} == networks
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*.*.*.csv")} == scored

    lines[1:] = [f"folds: {quick} --folds 2", f"timid: {quick} --hparams lr=1e-4"]
    (quick_row, folds, timid), _ = told(
        1, "--validation", toy_pipeline.data / "audio_test", toy_pipeline.test_labels, "--seeds", 1
    )
    assert timid[1].startswith(f"{runs[1][0]} had other options")
    labels = read_labels(toy_pipeline.test_labels, Run.load(runs[0][0]).classes)
    sides = [
        [evaluate(Ensemble.open([out / name / "seed-0"], [Store(toy_pipeline.test)]), labels)]
        for name in ("quick", "folds")
    ]
    assert (quick_row[1], folds[1]) == tuple(f"{side[0].ap_at_3.mean():.4f}" for side in sides)
    assert folds[4] == f"{compare(*sides)['difference']:+.4f}"
    assert (out / "quick" / "seed-0" / "model.keras").read_bytes() == networks[
        out / "quick" / "seed-0" / "model.keras"
    ]


@pytest.mark.slow
def test_a_comparison_that_is_stopped_leaves_nothing_behind(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    ideas, out = tmp_path / "ideas.txt", tmp_path / "out"
    ideas.write_text("long: --preset quick --epochs 10000\n")
    logs = [out / "long" / f"seed-{seed}.fit.log" for seed in range(2)]
    clips = (
        toy_pipeline.data / "audio_train",
        toy_pipeline.fit_labels,
        "--validation",
        toy_pipeline.data / "audio_train",
        toy_pipeline.validation,
    )
    process = recipes(ideas, out, "--train", *clips, "--jobs", 2)
    deadline = time.monotonic() + 120
    while not all(log.exists() and "epoch 2" in log.read_text() for log in logs):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    assert process.communicate()[1].endswith("the same command goes on\n")
    assert process.returncode == 128 + signal.SIGTERM
    assert all("run the same command again to go on\n" in log.read_text() for log in logs)
    assert not (out / "long" / "seed-2.fit.log").exists()
