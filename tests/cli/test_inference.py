"""`tag` and `embed` as a user runs them."""

import inspect
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ToyPipeline, dcase, noise, run_fails, run_ok, write_wav

from dcase2018.cli.main import main
from dcase2018.inference.event_detection import EventConfig


@pytest.mark.slow
def test_tag_says_what_predict_says(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    audio = toy_pipeline.data / "audio_test"
    printed = run_ok("tag", toy_pipeline.run, audio, "--output", tmp_path / "tags.csv").splitlines()
    run_ok(
        "predict",
        toy_pipeline.test,
        tmp_path / "s.csv",
        toy_pipeline.run,
        "--scores-output",
        tmp_path / "scores.csv",
    )
    mine, theirs = (pd.read_csv(tmp_path / name, index_col="fname") for name in ("tags.csv", "scores.csv"))
    assert list(mine.columns) == list(theirs.columns)
    assert list(mine.index) == list(theirs.index)
    np.testing.assert_allclose(mine, theirs, atol=1e-6)
    best = pd.read_csv(tmp_path / "s.csv", index_col="fname")["label"]
    for line in printed:
        fname, _, scores = line.partition(": ")
        assert [one.split()[0] for one in scores.split(", ")] == best[fname].split()


def test_tag_follows_a_recording_and_sets_bad_ones_aside(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    audio = toy_pipeline.data / "audio_test"
    name = sorted(path.name for path in audio.iterdir())[0]
    write_wav(tmp_path / "in" / "quiet.wav", np.zeros(44100))
    shutil.copy(audio / name, tmp_path / "in" / name)
    (tmp_path / "in" / "bad.wav").write_bytes(b"no audio")
    done = dcase(
        "tag", toy_pipeline.run, tmp_path / "in", "--detect-events", "--threshold", 0.1, "--output", tmp_path / "out",
        "--format", "audacity", "-j", 2,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "set aside: bad.wav: not audio" in done.stdout
    assert "quiet.wav: no events in 1.0 s" in done.stdout
    told = [line for line in done.stdout.splitlines() if line.startswith(f"{name}: ")]
    assert told
    labels = (tmp_path / "out" / f"{name}.txt").read_text().splitlines()
    for line, event in zip(labels, told, strict=True):
        start, end, label = line.split("\t")
        assert event.startswith(f"{name}: {float(start):.1f} to {float(end):.1f} s: {label} 0.")
    assert (tmp_path / "out" / "quiet.wav.txt").read_text() == ""


def test_tag_refuses_before_the_work(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    clip = write_wav(tmp_path / "x.wav", noise(1000))
    for arguments, message in (
        (["--threshold", 0.3], "--threshold says what an event is, and a clip has none; add --detect-events"),
        (["--merge-gap", 3], "--merge-gap says what an event is"),
        (["--format", "csv"], "--format csv needs a file or a folder to write; add --output"),
        (
            ["--output", tmp_path / "t.txt"],
            "audacity is a format of events, and a clip has none; add --detect-events",
        ),
        (
            ["--output", tmp_path / "out"],
            "must end in .csv or .jsonl; a file a recording needs --detect-events",
        ),
        (
            ["--detect-events", "--output", clip],
            "x.wav is a file; name a folder, or a file that ends in .csv, .jsonl, .selections.txt, .txt",
        ),
        (
            ["--detect-events", "--threshold", 0.3, "--low-threshold", 0.4],
            "release=0.4 is not allowed: it is at most",
        ),
        (["--ensemble-with", tmp_path], "holds no run; dcase2018 fit makes one"),
        (["--checkpoint", 3], "--checkpoint takes the steps"),
    ):
        said = run_fails(2, "tag", toy_pipeline.run, clip, *arguments)
        assert message in said, said
        assert "loading Keras" not in said
    (tmp_path / "empty").mkdir()
    assert "holds no audio: no file ends in" in run_fails(2, "tag", toy_pipeline.run, tmp_path / "empty")


def test_the_help_of_tag_tells_the_defaults_of_events() -> None:
    helps = {param.name: str(getattr(param, "help", "")) for param in main.commands["tag"].params}
    defaults = {name: p.default for name, p in inspect.signature(EventConfig).parameters.items()}
    assert defaults.pop("low_threshold") == 0
    assert "[default: half the threshold]" in helps["low_threshold"]
    for name, value in defaults.items():
        assert f"[default: {value:g}]" in helps[name]


@pytest.mark.parametrize("per", [pytest.param("window", marks=pytest.mark.slow), "clip"])
def test_embed_takes_a_store_or_files(toy_pipeline: ToyPipeline, tmp_path: Path, per: str) -> None:
    audio = toy_pipeline.data / "audio_test"
    assert run_ok("embed", toy_pipeline.run, toy_pipeline.test, tmp_path / "store.csv", "--level", per) == (
        f"{tmp_path / 'store.csv'}: {len(list(audio.iterdir()))} clips\n"
    )
    run_ok("embed", toy_pipeline.run, audio, tmp_path / "files.csv", "--level", per)
    mine, theirs = (pd.read_csv(tmp_path / name) for name in ("files.csv", "store.csv"))
    pd.testing.assert_frame_equal(mine, theirs, atol=1e-5)


def test_embed_refuses_before_the_work(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    assert "must end in .h5, .hdf5 or .csv" in run_fails(
        2, "embed", toy_pipeline.run, toy_pipeline.test, tmp_path / "e.txt"
    )
    assert "is read and would be overwritten" in run_fails(
        2, "embed", toy_pipeline.run, toy_pipeline.test, toy_pipeline.test
    )
