"""Embeddings: the same from a store and from files, for windows and clips, as HDF5 and CSV."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import list_dir

from dcase2018.data.files import list_recordings
from dcase2018.features.store import Store
from dcase2018.inference.embeddings import load_embedder, read_embeddings, write_embeddings
from dcase2018.inference.predictor import Predictor
from dcase2018.runs.run import Run
from dcase2018.utils.errors import InputError


@pytest.fixture(scope="module")
def embedder(runs: dict[str, Path]) -> Predictor:
    return load_embedder(Run.load(runs["logmel96"]))


def level_of(name: str) -> str:
    return "window" if name.startswith("windows") else "clip"


def read_datasets(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray | None]:
    with h5py.File(path) as file:
        fnames = [name.decode() for name in file["fname"]]
        starts = file["start"][:] if "start" in file else None
        return fnames, file["clip"][:], file["features"][:], starts


def test_store_and_files_give_the_same_embeddings(
    embedder: Predictor, stores: dict[str, Store], recordings: Path, tmp_path: Path
) -> None:
    files = list_recordings([recordings])
    from_files = write_embeddings(embedder, files, tmp_path / "files.h5", "window")
    assert write_embeddings(embedder, stores["logmel96"], tmp_path / "store.h5", "window") == from_files
    fnames, clips, features, starts = read_datasets(tmp_path / "files.h5")
    assert from_files == (len(fnames), [], {})
    assert fnames == sorted(set(stores["logmel96"].fnames) - {"empty.wav"})
    from_store = read_datasets(tmp_path / "store.h5")
    for actual, expected in zip(from_store[1:], (clips, features, starts), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert features.dtype == np.float32
    assert features.shape == (len(clips), embedder.n_outputs)
    is_long = clips == fnames.index("long.wav")
    np.testing.assert_allclose(starts[is_long], np.arange(is_long.sum()) * 0.8)
    assert is_long.sum() == 1 + (20 - 1.6149) // 0.8


def test_embeddings_are_the_input_of_the_classifier(embedder: Predictor) -> None:
    model = embedder.run.load_for_inference()
    weights, biases = (np.asarray(weight) for weight in model.weights[-2:])
    rng = np.random.default_rng(0)
    examples = rng.normal(-3, 1, (4, *embedder.run.example_shape)).astype(np.float32)
    logits = embedder(examples) @ weights + biases
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores, model.predict_on_batch(examples), atol=1e-5)


def test_clip_embeddings_are_the_mean_of_windows_and_csv_equals_hdf5(
    embedder: Predictor, stores: dict[str, Store], tmp_path: Path
) -> None:
    for name in ("windows.h5", "windows.csv", "clips.h5", "clips.csv"):
        write_embeddings(embedder, stores["logmel96"], tmp_path / name, level_of(name))
    fnames, clips, features, starts = read_datasets(tmp_path / "windows.h5")
    means = np.array([features[clips == index].mean(axis=0) for index in range(len(fnames))])
    clip_fnames, clip_indices, clip_features, clip_starts = read_datasets(tmp_path / "clips.h5")
    assert (clip_fnames, clip_starts) == (fnames, None)
    np.testing.assert_array_equal(clip_indices, np.arange(len(fnames)))
    np.testing.assert_allclose(clip_features, means, atol=1e-5)
    table = pd.read_csv(tmp_path / "clips.csv", index_col="fname")
    assert list(table.index) == fnames
    np.testing.assert_allclose(table, clip_features, rtol=1e-5)
    table = pd.read_csv(tmp_path / "windows.csv")
    assert list(table["fname"]) == [fnames[index] for index in clips]
    np.testing.assert_allclose(table["start"], starts, atol=1e-3)
    np.testing.assert_allclose(table.filter(regex=r"^f\d+$"), features, rtol=1e-5)


@pytest.mark.parametrize("name", ["windows.h5", "windows.csv", "clips.h5", "clips.csv"])
def test_read_embeddings_returns_one_row_per_clip(
    embedder: Predictor, stores: dict[str, Store], tmp_path: Path, name: str
) -> None:
    write_embeddings(embedder, stores["logmel96"], tmp_path / "clips.h5", "clip")
    write_embeddings(embedder, stores["logmel96"], tmp_path / name, level_of(name))
    fnames, _, features, _ = read_datasets(tmp_path / "clips.h5")
    table = read_embeddings(tmp_path / name)
    np.testing.assert_allclose(table.loc[fnames], features, atol=1e-5)
    assert len(table) == len(fnames)


FEATURES = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"fname": ["a"], "features": FEATURES}, "has no embeddings"),
        ({"fname": ["a"], "features": FEATURES, "clip": [0, 1]}, "has no embeddings"),
        ({"fname": ["a"], "features": FEATURES, "clip": [0, -1]}, "shapes of features and clip do not match"),
        ({"fname": ["a"], "features": FEATURES[0], "clip": [0]}, "shapes of features and clip do not match"),
        ({"fname": ["a"], "features": FEATURES + np.nan, "clip": [0, 0]}, "embeddings that are not finite"),
        ({"fname": [1], "features": FEATURES, "clip": [0, 0]}, "has no embeddings"),
        ({"fname": ["a"], "features": FEATURES[:0], "clip": np.zeros(0, int)}, "has no embeddings"),
    ],
)
def test_invalid_hdf5_raises(datasets: dict[str, object], message: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "e.h5", "w") as file:
        for name, values in datasets.items():
            file[name] = values
    with pytest.raises(InputError, match=message):
        read_embeddings(tmp_path / "e.h5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no embeddings"),
        ("fname,f0\n", "has no embeddings"),
        ("fname,label\na,Bark\n", "the columns must be fname, optionally start, f0, f1 and so on"),
        ("fname,f0,f2\na,1,1\n", "the columns must be fname"),
        ("fname,f0\na,much\n", "has no embeddings"),
        ("f0\n1\n", "has no embeddings"),
    ],
)
def test_invalid_csv_raises(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_embeddings(tmp_path / "e.csv")


def test_a_store_of_another_feature_config_raises(
    embedder: Predictor, stores: dict[str, Store], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"baseline\.h5 .* the run .*trim_db=0\.0"):
        write_embeddings(embedder, stores["baseline"], tmp_path / "e.h5", "window")
    assert list_dir(tmp_path) == []


def test_failed_files_are_returned_unless_all_fail(
    embedder: Predictor, recordings: Path, tmp_path: Path
) -> None:
    for name in ("1.wav", "2.wav"):
        (tmp_path / name).write_bytes(b"no audio")
    invalid = list_recordings([tmp_path])
    with pytest.raises(
        InputError, match=r"none of the recordings can be used, for example 1\.wav: not audio"
    ):
        write_embeddings(embedder, invalid, tmp_path / "e.h5", "window")
    assert list_dir(tmp_path) == ["1.wav", "2.wav"]
    files = [*invalid, *list_recordings([recordings / "one.wav"])]
    n_clips, failed, _ = write_embeddings(embedder, files, tmp_path / "e.csv", "clip")
    assert [failure.file.fname for failure in failed] == ["1.wav", "2.wav"]
    assert n_clips == 1
    assert list(pd.read_csv(tmp_path / "e.csv")["fname"]) == ["one.wav"]
