"""The commands `tag` and `embed`."""

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
def test_tag_prints_and_writes_the_scores_of_predict(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    audio = toy_pipeline.data / "audio_test"
    printed = run_ok("tag", toy_pipeline.run, audio, "-o", tmp_path / "tags.csv").splitlines()
    run_ok(
        "predict", toy_pipeline.test, toy_pipeline.run, "-o", tmp_path / "submission.csv",
        "--scores-output", tmp_path / "scores.csv",
    )  # fmt: skip
    tags, scores = (pd.read_csv(tmp_path / name, index_col="fname") for name in ("tags.csv", "scores.csv"))
    assert list(tags.columns) == list(scores.columns)
    assert list(tags.index) == list(scores.index)
    np.testing.assert_allclose(tags, scores, atol=1e-6)
    submission = pd.read_csv(tmp_path / "submission.csv", index_col="fname")["label"]
    for line in printed:
        fname, _, top = line.partition(": ")
        if top != "silent":
            assert [entry.split()[0] for entry in top.split(", ")] == submission[fname].split()


@pytest.mark.slow
def test_tag_detects_events_and_skips_invalid_files(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    audio = toy_pipeline.data / "audio_test"
    fname = sorted(path.name for path in audio.iterdir())[0]
    write_wav(tmp_path / "in" / "silent.wav", np.zeros(44100))
    shutil.copy(audio / fname, tmp_path / "in" / fname)
    (tmp_path / "in" / "bad.wav").write_bytes(b"no audio")
    done = dcase(
        "tag", toy_pipeline.run, tmp_path / "in", "--detect-events", "--threshold", 0.1,
        "-o", tmp_path / "out", "--format", "audacity", "-j", 2,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "failed: bad.wav: not audio" in done.stdout
    assert "silent.wav: silent, no events in 1.0 s" in done.stdout
    printed = [line for line in done.stdout.splitlines() if line.startswith(f"{fname}: ")]
    assert printed
    labels = (tmp_path / "out" / f"{fname}.txt").read_text().splitlines()
    for label_line, line in zip(labels, printed, strict=True):
        onset, offset, label = label_line.split("\t")
        assert line.startswith(f"{fname}: {float(onset):.3f} to {float(offset):.3f} s: {label} 0.")
    assert (tmp_path / "out" / "silent.wav.txt").read_text() == ""


@pytest.mark.slow
def test_tag_checks_its_arguments_before_the_work(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    clip = write_wav(tmp_path / "x.wav", noise(1000))
    for arguments, message in (
        (["--threshold", 0.3], "--threshold applies to events only; add --detect-events"),
        (["--merge-gap", 3], "--merge-gap applies to events only"),
        (["--format", "csv"], "--format csv needs an output file or folder; add --output"),
        (["--output", tmp_path / "t.txt"], "--format audacity is for events only; add --detect-events"),
        (
            ["--output", tmp_path / "out"],
            "must end in .csv or .jsonl; one file per recording needs --detect-events",
        ),
        (
            ["--detect-events", "--output", clip],
            "x.wav is a file; name a folder, or a file that ends in .csv, .jsonl, .events.csv, .txt, ",
        ),
        (
            ["--detect-events", "--threshold", 0.3, "--low-threshold", 0.4],
            "low_threshold=0.4 is not allowed: it must be <= threshold (0.3)",
        ),
        (["--ensemble-with", tmp_path], "holds no run; dcase2018 fit makes one"),
        (["--checkpoint", 3], "--checkpoint takes the steps"),
        (
            ["--hide", "Glockenspeil"],
            "--hide 'Glockenspeil' is not a class; the nearest one is 'Glockenspiel'",
        ),
    ):
        stderr = run_fails(2, "tag", toy_pipeline.run, clip, *arguments)
        assert message in stderr, stderr
        assert "loading Keras" not in stderr
    (tmp_path / "empty").mkdir()
    assert "has no audio files, such as .wav" in run_fails(2, "tag", toy_pipeline.run, tmp_path / "empty")


def test_the_help_of_tag_has_the_defaults_of_event_config() -> None:
    command = main.get_command(None, "tag")
    helps = {param.name: str(getattr(param, "help", "")) for param in command.params}
    defaults = {name: p.default for name, p in inspect.signature(EventConfig).parameters.items()}
    assert defaults.pop("low_threshold") == 0
    assert "[default: half the threshold]" in helps["low_threshold"]
    for name, value in defaults.items():
        assert f"[default: {value:g}]" in helps[name]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["window", "clip"])
def test_embed_accepts_a_store_or_audio(toy_pipeline: ToyPipeline, tmp_path: Path, level: str) -> None:
    audio = toy_pipeline.data / "audio_test"
    stdout = run_ok(
        "embed", toy_pipeline.run, toy_pipeline.test, "-o", tmp_path / "store.csv", "--level", level
    )
    run_ok("embed", toy_pipeline.run, audio, "--output", tmp_path / "audio.csv", "--level", level)
    from_audio, from_store = (pd.read_csv(tmp_path / name) for name in ("audio.csv", "store.csv"))
    pd.testing.assert_frame_equal(from_audio, from_store, atol=1e-5)
    assert stdout == f"{tmp_path / 'store.csv'}: {from_store['fname'].nunique()} clips\n"


@pytest.mark.slow
def test_embed_checks_its_arguments_before_the_work(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    arguments = ("embed", toy_pipeline.run, toy_pipeline.test)
    assert "must end in .h5, .hdf5 or .csv" in run_fails(2, *arguments, "-o", tmp_path / "e.txt")
    assert "would be overwritten" in run_fails(2, *arguments, "-o", toy_pipeline.test)
    assert "Missing option '-o' / '--output'" in run_fails(2, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["tag", "embed"])
def test_incomplete_audio_is_used_and_reported(
    toy_pipeline: ToyPipeline, tmp_path: Path, command: str
) -> None:
    path = write_wav(tmp_path / "in" / "cut.wav", noise(44100))
    path.write_bytes(path.read_bytes()[: 44 + 44100])
    done = dcase(command, toy_pipeline.run, tmp_path / "in", "-o", tmp_path / "out.csv")
    assert done.returncode == 3, done.stderr
    assert "warning: cut.wav: incomplete: header promises 1.0 s, 0.5 s are there\n" in done.stdout
    assert len(pd.read_csv(tmp_path / "out.csv")) >= 1
