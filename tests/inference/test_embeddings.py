"""Embeddings: out of a store and of files alike, by window and by clip, as HDF5 and CSV."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import list_dir

from dcase2018.data.files import list_recordings
from dcase2018.features.store import Store
from dcase2018.inference.embeddings import Embedder, embed, read_embeddings
from dcase2018.runs.run import Run
from dcase2018.utils.errors import InputError


@pytest.fixture(scope="module")
def embedder(runs: dict[str, Path]) -> Embedder:
    return Embedder(Run.load(runs["logmel96"]))


def read(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray | None]:
    with h5py.File(path) as file:
        fnames = [name.decode() for name in file["fname"]]
        starts = file["start"][:] if "start" in file else None
        return fnames, file["clip"][:], file["features"][:], starts


def test_store_and_files_give_the_same(
    embedder: Embedder, stores: dict[str, Store], recordings: Path, tmp_path: Path
) -> None:
    sources = list_recordings([recordings])
    assert embed(embedder, stores["logmel96"], tmp_path / "store.h5", per_window=True) == []
    assert embed(embedder, sources, tmp_path / "files.h5", per_window=True) == []
    fnames, clips, features, starts = read(tmp_path / "files.h5")
    assert fnames == sorted(set(stores["logmel96"].fnames) - {"empty.wav"})
    for mine, theirs in zip(read(tmp_path / "store.h5")[1:], (clips, features, starts), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert features.dtype == np.float32
    assert features.shape == (len(clips), embedder.width)
    long = clips == fnames.index("long.wav")
    np.testing.assert_allclose(starts[long], np.arange(long.sum()) * 0.8)
    assert long.sum() == 1 + (20 - 1.6149) // 0.8


def test_the_classifier_stands_on_them(embedder: Embedder, recordings: Path) -> None:
    model = embedder.run.load_for_inference()
    weights, biases = (np.asarray(weight) for weight in model.weights[-2:])
    rng = np.random.default_rng(0)
    examples = rng.normal(-3, 1, (4, *embedder.run.example_shape)).astype(np.float32)
    logits = embedder.network.predict_on_batch(examples) @ weights + biases
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores, model.predict_on_batch(examples), atol=1e-5)


def test_a_clip_is_the_mean_of_its_windows_and_csv_has_the_same(
    embedder: Embedder, stores: dict[str, Store], tmp_path: Path
) -> None:
    for name in ("windows.h5", "windows.csv", "clips.h5", "clips.csv"):
        embed(embedder, stores["logmel96"], tmp_path / name, per_window=name.startswith("windows"))
    fnames, clips, features, starts = read(tmp_path / "windows.h5")
    means = np.array([features[clips == number].mean(axis=0) for number in range(len(fnames))])
    again, numbers, of_clips, none = read(tmp_path / "clips.h5")
    assert (again, none) == (fnames, None)
    np.testing.assert_array_equal(numbers, np.arange(len(fnames)))
    np.testing.assert_allclose(of_clips, means, atol=1e-5)
    table = pd.read_csv(tmp_path / "clips.csv", index_col="fname")
    assert list(table.index) == fnames
    np.testing.assert_allclose(table, of_clips, rtol=1e-5)
    table = pd.read_csv(tmp_path / "windows.csv")
    assert list(table["fname"]) == [fnames[number] for number in clips]
    np.testing.assert_allclose(table["start"], starts, atol=1e-3)
    np.testing.assert_allclose(table.filter(regex=r"^f\d+$"), features, rtol=1e-5)


@pytest.mark.parametrize("name", ["windows.h5", "windows.csv", "clips.h5", "clips.csv"])
def test_what_was_written_is_read_as_a_row_a_clip(
    embedder: Embedder, stores: dict[str, Store], tmp_path: Path, name: str
) -> None:
    embed(embedder, stores["logmel96"], tmp_path / "clips.h5", per_window=False)
    embed(embedder, stores["logmel96"], tmp_path / name, per_window=name.startswith("windows"))
    fnames, _, features, _ = read(tmp_path / "clips.h5")
    table = read_embeddings(tmp_path / name)
    np.testing.assert_allclose(table.loc[fnames], features, atol=1e-5)
    assert len(table) == len(fnames)


def test_files_that_have_no_embeddings(tmp_path: Path) -> None:
    features = np.zeros((2, 3), np.float32)
    for number, (columns, message) in enumerate(
        (
            ({"fname": ["a"], "features": features}, "has no embeddings"),
            ({"fname": ["a"], "features": features, "clip": [0, 1]}, "has no embeddings"),
            ({"fname": ["a"], "features": features, "clip": [0, -1]}, "features and clip do not fit"),
            ({"fname": ["a"], "features": features[0], "clip": [0]}, "features and clip do not fit"),
            ({"fname": ["a"], "features": features + np.nan, "clip": [0, 0]}, "are not finite"),
            ({"fname": [1], "features": features, "clip": [0, 0]}, "has no embeddings"),
            ({"fname": ["a"], "features": features[:0], "clip": np.zeros(0, int)}, "has no embedding"),
        )
    ):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            for name, values in columns.items():
                file[name] = values
        with pytest.raises(InputError, match=message):
            read_embeddings(tmp_path / f"{number}.h5")
    for text in ("", "fname,f0\n", "fname,label\na,Bark\n", "fname,f0,f2\na,1,1\n", "fname,f0\na,much\n"):
        (tmp_path / "e.csv").write_text(text)
        with pytest.raises(InputError, match="has no embedding"):
            read_embeddings(tmp_path / "e.csv")
    (tmp_path / "e.csv").write_text("f0\n1\n")
    with pytest.raises(InputError, match="has no embedding"):
        read_embeddings(tmp_path / "e.csv")


def test_what_cannot_be_embedded(
    embedder: Embedder, stores: dict[str, Store], recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"baseline\.h5 was not made by the feature_config of the run .*trim_db=0\.0"
    ):
        embed(embedder, stores["baseline"], tmp_path / "e.h5", per_window=True)
    for name in ("1.wav", "2.wav"):
        (tmp_path / name).write_bytes(b"no audio")
    bad = list_recordings([tmp_path])
    with pytest.raises(InputError, match=r"no recording can be used, such as 1\.wav: not audio"):
        embed(embedder, bad, tmp_path / "e.h5", per_window=True)
    assert list_dir(tmp_path) == ["1.wav", "2.wav"]
    told = embed(
        embedder, [*bad, *list_recordings([recordings / "one.wav"])], tmp_path / "e.csv", per_window=False
    )
    assert [one.source.fname for one in told] == ["1.wav", "2.wav"]
    assert list(pd.read_csv(tmp_path / "e.csv")["fname"]) == ["one.wav"]
