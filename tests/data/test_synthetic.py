"""The demo corpus: layout, reproducibility, variety."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import CLASSES, ToyPipeline, run_fails

from dcase2018.data.labels import read_fnames, read_labels
from dcase2018.data.synthetic import CLASS_SOUNDS, synthesize, synthesize_clip


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthesize(tmp_path / name, train_per_class=1, test_per_class=1, seed=seed)
    a, b, c = (content(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() != c.keys()


def test_the_layout_is_kaggles(toy_pipeline: ToyPipeline) -> None:
    names = sorted(path.name for path in toy_pipeline.data.iterdir())
    assert names == [
        "audio_test", "audio_train", "sample_submission.csv", "test_post_competition.csv", "train.csv",
    ]  # fmt: skip
    train = read_labels(toy_pipeline.labels, CLASSES)
    assert sorted(train["fname"]) == sorted(p.name for p in (toy_pipeline.data / "audio_train").iterdir())
    assert set(train["label"]) == set(CLASSES)
    assert set(train["manually_verified"]) == {"0", "1"}
    truth = read_labels(toy_pipeline.test_labels, CLASSES)
    assert truth["label"].value_counts().to_dict() == dict.fromkeys(CLASSES, 2)
    assert set(truth["usage"]) == {"Public", "Private"}
    asked = read_fnames(toy_pipeline.sample)
    assert asked == sorted(p.name for p in (toy_pipeline.data / "audio_test").iterdir())
    assert set(truth["fname"]) < set(asked)


def test_clips_are_of_the_promised_form(toy_pipeline: ToyPipeline) -> None:
    empty = 0
    for path in (toy_pipeline.data / "audio_test").iterdir():
        found = soundfile.info(path)
        assert (found.samplerate, found.channels, found.subtype) == (44100, 1, "PCM_16")
        empty += found.frames == 0
        assert found.frames == 0 or 0.3 <= found.duration <= 5
    assert empty == 1


@pytest.mark.parametrize("label", CLASS_SOUNDS)
def test_a_voice_is_heard_and_varies(label: str) -> None:
    one, two = (synthesize_clip(CLASS_SOUNDS[label], np.random.default_rng(seed)) for seed in (1, 2))
    for samples in (one, two):
        assert 0.1 < np.abs(samples).max() < 1
    assert len(one) != len(two)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("mine")
    assert "exists and is not empty" in run_fails(2, "synthesize", tmp_path)
    assert content(tmp_path) == {"train.csv": b"mine"}
