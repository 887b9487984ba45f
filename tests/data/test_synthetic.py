"""The synthetic corpus: layout, reproducibility and variation."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import CLASSES, ToyPipeline, run_fails

from dcase2018.data.labels import read_fnames, read_labels
from dcase2018.data.synthetic import CLASS_SOUNDS, synthesize, synthesize_clip


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_same_seed_gives_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthesize(tmp_path / name, train_per_class=1, test_per_class=1, seed=seed)
    a, b, c = (read_files(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() != c.keys()


def test_layout_is_that_of_kaggle(toy_pipeline: ToyPipeline) -> None:
    names = sorted(path.name for path in toy_pipeline.data.iterdir())
    assert names == [
        "audio_test", "audio_train", "sample_submission.csv", "test_post_competition.csv", "train.csv",
    ]  # fmt: skip
    train = read_labels(toy_pipeline.labels, CLASSES)
    assert sorted(train["fname"]) == sorted(p.name for p in (toy_pipeline.data / "audio_train").iterdir())
    assert set(train["label"]) == set(CLASSES)
    assert set(train["manually_verified"]) == {"0", "1"}
    test = read_labels(toy_pipeline.test_labels, CLASSES)
    assert test["label"].value_counts().to_dict() == dict.fromkeys(CLASSES, 2)
    assert set(test["usage"]) == {"Public", "Private"}
    sample = read_fnames(toy_pipeline.sample)
    assert sample == sorted(p.name for p in (toy_pipeline.data / "audio_test").iterdir())
    assert set(test["fname"]) < set(sample)


def test_clips_are_16_bit_mono_at_44100_hz(toy_pipeline: ToyPipeline) -> None:
    n_empty = 0
    for path in (toy_pipeline.data / "audio_test").iterdir():
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (44100, 1, "PCM_16")
        n_empty += info.frames == 0
        assert info.frames == 0 or 0.3 <= info.duration <= 5
    assert n_empty == 1


@pytest.mark.parametrize("label", CLASS_SOUNDS)
def test_clips_of_a_class_are_audible_and_different(label: str) -> None:
    first, second = (synthesize_clip(CLASS_SOUNDS[label], np.random.default_rng(seed)) for seed in (1, 2))
    for samples in (first, second):
        assert 0.1 < np.abs(samples).max() < 1
    assert len(first) != len(second)


def test_non_empty_folder_raises(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("existing")
    assert "exists and is not empty" in run_fails(2, "synthesize", tmp_path)
    assert read_files(tmp_path) == {"train.csv": b"existing"}
