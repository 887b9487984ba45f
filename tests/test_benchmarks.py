"""The benchmarks, which measure and do not judge: they are still of this program."""

import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, noise, write_wav


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
    stream = importlib.import_module("stream")
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
        assert event.end - event.start == pytest.approx(1, abs=0.01)
        sounding[round(event.start * 44100) : round(event.end * 44100)] = True
    assert np.abs(made.samples[sounding]).mean() > 5 * np.abs(made.samples[~sounding]).mean()

    truth = list(made.truth)
    late = [replace(event, start=event.start + 1.5, end=event.end + 1.5) for event in truth]
    other = [replace(event, label="another") for event in truth]
    assert stream.event_f1(truth, truth) == pytest.approx((1, 1, 1))
    assert stream.event_f1([*truth, *truth], truth) == pytest.approx((0.5, 1, 2 / 3))
    assert stream.event_f1(truth[:3], truth)[:2] == pytest.approx((1, 3 / len(truth)))
    assert stream.event_f1(late[:1], truth[:1])[2] == stream.event_f1(other, truth)[2] == 0
    assert stream.segments([], 60) == [""] * 60
    told = stream.segments(truth, 60)
    for event in truth:
        assert event.label in told[int(event.start) : int(event.end) + 1]
