"""The store: what is written is what is read, whole or not at all, and damage is noticed."""

import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import BASELINE

from dcase2018.features.config import FeatureConfig
from dcase2018.features.store import ClipRecord, Store, checksum, write_store
from dcase2018.utils.errors import Dcase2018Error, InputError


def sample_store(path: Path, lengths: tuple[int, ...] = (3, 0, 2)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    frames = [rng.standard_normal((length, 64)).astype(np.float32) for length in lengths]
    entries = [
        ClipRecord(f"clip {i} é.wav", len(clip), checksum(clip), 10 * i, 20 * i, "" if len(clip) else "none")
        for i, clip in enumerate(frames)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_store(path, BASELINE, entries, frames)
    return frames


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    frames = sample_store(tmp_path / "s.h5")
    store = Store(tmp_path / "s.h5")
    assert store.feature_config == BASELINE
    assert store.fnames == [f"clip {i} é.wav" for i in range(3)]
    assert store.errors == ["", "none", ""]
    for row, clip in enumerate(frames):
        np.testing.assert_array_equal(store.frames_of(row), clip)
        assert store.checksum_ok(row)
    assert store.entry(2) == ClipRecord("clip 2 é.wav", 2, checksum(frames[2]), 20, 40)


def test_a_store_of_empty_clips(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5", (0, 0))
    assert Store(tmp_path / "s.h5").frames_of(1).shape == (0, 64)


def test_a_store_travels_between_processes(tmp_path: Path) -> None:
    frames = sample_store(tmp_path / "s.h5")
    store = Store(tmp_path / "s.h5")
    assert store.frames.shape == (5, 64)  # mapped, but that does not travel
    assert len(pickle.dumps(store)) < 5000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).clip(0), frames[0])


def test_frames_are_read_only(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    with pytest.raises(ValueError, match="read-only"):
        Store(tmp_path / "s.h5").frames[0] = 0


def test_names_are_found_or_named(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    store = Store(tmp_path / "s.h5")
    assert store.rows_of(store.fnames[::-1]).tolist() == [2, 1, 0]
    with pytest.raises(InputError, match=r"clip 'x.wav' and 1 more are not in .*; run dcase2018 extract"):
        store.rows_of(["x.wav", store.fnames[0], "y.wav"])


def test_another_recipe_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    other = FeatureConfig(mel_bands=96, mel_max_hz=16000)
    with pytest.raises(InputError, match=r"mel_bands=64, not 96; mel_max_hz=7500.0, not 16000"):
        Store(tmp_path / "s.h5").check_config(other, "a test")


def test_a_failed_write_leaves_the_old_store(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    sample_store(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="4 frames were given for an index of 5"):
        write_store(path, BASELINE, [ClipRecord("a", 5, 0, 0, 0)], [np.zeros((4, 64), np.float32)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"fname,label\n", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_what_is_no_store_may_be_the_users_own(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"is no .*feature store.*; name the store that") as refusal:
        Store(tmp_path / "s.h5")
    assert "remove" not in str(refusal.value)


def test_another_hdf5_file_is_no_store(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layer"] = np.zeros(3)
    with pytest.raises(InputError, match="it names no store format"):
        Store(tmp_path / "weights.h5")


def without_seal(path: Path, target: Path) -> Path:
    """Write a store again as one of format 1, by h5py alone."""
    with h5py.File(path) as source, h5py.File(target, "w") as file:
        for name in source:
            source.copy(name, file)
        file.attrs.update(source.attrs)
        file.attrs["format"] = 1
    return target


def test_a_store_of_format_1_is_read(tmp_path: Path) -> None:
    frames = sample_store(tmp_path / "s.h5")
    old, new = Store(without_seal(tmp_path / "s.h5", tmp_path / "old.h5")), Store(tmp_path / "s.h5")
    assert [old.entry(row) for row in range(3)] == [new.entry(row) for row in range(3)]
    assert (old.format, new.format, old.feature_config) == (1, 2, new.feature_config)
    np.testing.assert_array_equal(old.clip(2), frames[2])


@pytest.mark.parametrize("wrong", [{"length": b"text"}, {"fname": 7}, {"problem": 1.5}])
def test_a_store_of_format_1_with_objects_of_another_kind(tmp_path: Path, wrong: dict[str, object]) -> None:
    sample_store(tmp_path / "s.h5")
    path = without_seal(tmp_path / "s.h5", tmp_path / "old.h5")
    with h5py.File(path, "r+") as file:
        for name, value in wrong.items():
            del file["clips"][name]
            file["clips"][name] = value
    with pytest.raises(InputError, match="is no whole feature store"):
        Store(path)


def test_a_missing_store_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; dcase2018 extract makes it"):
        Store(tmp_path / "s.h5")


def test_a_store_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    sample_store(path)
    content = path.read_bytes()
    for keep in range(0, len(content), 97):
        path.write_bytes(content[:keep])
        with pytest.raises(InputError):
            Store(path)


def test_another_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    content = bytearray((tmp_path / "s.h5").read_bytes())
    content[8] = 99
    (tmp_path / "s.h5").write_bytes(content)
    with pytest.raises(InputError, match="is of store format 99, this program reads 1 and 2"):
        Store(tmp_path / "s.h5")


def test_an_index_that_was_changed_is_refused_unread(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["clips/mtime_ns"][0] += 1
    with pytest.raises(InputError, match="damaged feature store: the checksum of its index"):
        Store(tmp_path / "s.h5")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["frames"][4, 7] += 1e-6
    store = Store(tmp_path / "s.h5")
    assert [store.checksum_ok(row) for row in range(3)] == [True, True, False]
    assert store.rows_of(store.fnames[:2]).tolist() == [0, 1]
    with pytest.raises(Dcase2018Error, match=r"damaged in 1 of 1 clips: 'clip 2 é.wav'"):
        store.rows_of(store.fnames)


def test_a_clip_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample_store(tmp_path / "s.h5")
    store = Store(tmp_path / "s.h5")
    store.rows_of(store.fnames[:2])
    checked: list[int] = []
    monkeypatch.setattr(Store, "checksum_ok", lambda self, row: checked.append(row) or True)
    store.rows_of(store.fnames)
    pickle.loads(pickle.dumps(store)).find(store.fnames)
    assert checked == [2]


def test_the_example_of_the_specification_reads_a_store(tmp_path: Path) -> None:
    specification = (Path(__file__).parents[2] / "features" / "README.md").read_text()
    example = specification.split("```python\n")[1].split("```")[0]
    sample_store(tmp_path / "features" / "demo" / "baseline" / "train.h5")
    command = [sys.executable, "-c", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line[-8:] for line in done.stdout.splitlines()][1] == "o frames"
    assert len(done.stdout.splitlines()) == 3


def test_an_index_that_does_not_fit_the_frames(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    path = without_seal(tmp_path / "s.h5", tmp_path / "old.h5")
    with h5py.File(path, "r+") as file:
        file["clips/length"][0] = 4
    with pytest.raises(InputError, match="damaged: its index does not fit its frames"):
        Store(path)
