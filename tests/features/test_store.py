"""Feature stores: what is written is what is read, writes are atomic, and damage is detected."""

import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import BASELINE

from dcase2018.features.config import FeatureConfig
from dcase2018.features.store import ClipRecord, Store, checksum, is_store
from dcase2018.features.store_writer import LIBVER, write_store
from dcase2018.utils.errors import Dcase2018Error, InputError


def sample_store(path: Path, lengths: tuple[int, ...] = (3, 0, 2)) -> list[np.ndarray]:
    """Write a store with random frames; return the frames of each clip."""
    rng = np.random.default_rng(0)
    frames = [rng.standard_normal((length, 64)).astype(np.float32) for length in lengths]
    records = [
        ClipRecord(f"clip {i} é.wav", len(clip), checksum(clip), 10 * i, 20 * i, "" if len(clip) else "none")
        for i, clip in enumerate(frames)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_store(path, BASELINE, records, frames)
    return frames


def repack(source_path: Path, target_path: Path, **frames_options: object) -> Store:
    """Copy a store with h5py alone, as another program could."""
    with h5py.File(source_path) as source, h5py.File(target_path, "w", libver=LIBVER) as target:
        target.attrs.update(source.attrs)
        for name in ("clips", "feature_config"):
            source.copy(name, target)
        target.create_dataset("frames", data=source["frames"][:], **frames_options)
    return Store(target_path)


def test_a_store_reads_what_was_written(tmp_path: Path) -> None:
    frames = sample_store(tmp_path / "s.h5")
    store = Store(tmp_path / "s.h5")
    assert store.feature_config == BASELINE
    assert store.created_by.startswith("dcase2018 ")
    assert store.fnames == [f"clip {i} é.wav" for i in range(3)]
    assert store.errors == ["", "none", ""]
    for row, clip in enumerate(frames):
        np.testing.assert_array_equal(store.frames_of(row), clip)
        assert store.checksum_ok(row)
    assert store.record(2) == ClipRecord("clip 2 é.wav", 2, checksum(frames[2]), 20, 40)


def test_a_store_can_consist_of_empty_clips(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5", (0, 0))
    assert Store(tmp_path / "s.h5").frames_of(1).shape == (0, 64)


def test_a_store_can_be_pickled(tmp_path: Path) -> None:
    frames = sample_store(tmp_path / "s.h5")
    store = Store(tmp_path / "s.h5")
    assert store.frames.shape == (5, 64)  # mapped, but not pickled
    assert len(pickle.dumps(store)) < 5000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).frames_of(0), frames[0])


def test_frames_are_read_only(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    with pytest.raises(ValueError, match="read-only"):
        Store(tmp_path / "s.h5").frames[0] = 0


@pytest.mark.parametrize("lengths", [(3, 0, 2), (1,), (500,) * 40])
def test_frames_are_contiguous_and_aligned_so_that_they_can_be_mapped(
    tmp_path: Path, lengths: tuple[int, ...]
) -> None:
    sample_store(tmp_path / "s.h5", lengths)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["frames"].chunks is None
        assert file["frames"].id.get_offset() % 64 == 0
    assert Store(tmp_path / "s.h5").frames.flags.aligned


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 64), "compression": "gzip"}])
def test_a_repacked_store_is_read(tmp_path: Path, options: dict[str, object]) -> None:
    frames = sample_store(tmp_path / "s.h5")
    store, packed = Store(tmp_path / "s.h5"), repack(tmp_path / "s.h5", tmp_path / "p.h5", **options)
    assert [packed.record(row) for row in range(3)] == [store.record(row) for row in range(3)]
    np.testing.assert_array_equal(packed.frames_of(2), frames[2])
    packed.verify()


def test_rows_of_names_missing_clips(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    store = Store(tmp_path / "s.h5")
    assert store.rows_of(store.fnames[::-1]).tolist() == [2, 1, 0]
    with pytest.raises(InputError, match=r"2 of 3 clips are not in .*: 'x.wav', .*run dcase2018 extract"):
        store.rows_of(["x.wav", store.fnames[0], "y.wav"])


def test_another_feature_config_is_refused_with_the_fields_that_differ(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    other = FeatureConfig(mel_bands=96, mel_max_hz=16000)
    with pytest.raises(InputError, match=r"than a test: mel_bands=64, not 96; mel_max_hz=7500.0, not 16000"):
        Store(tmp_path / "s.h5").check_config(other, "a test")


def test_a_failed_write_leaves_the_old_store(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    sample_store(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="got 4 frames for an index of 5"):
        write_store(path, BASELINE, [ClipRecord("a", 5, 0, 0, 0)], [np.zeros((4, 64), np.float32)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"fname,label\n", b"\x89HDF\r\n\x1a\n\x03" + bytes(500)])
def test_the_message_about_another_file_does_not_suggest_to_remove_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"is not a feature store.*; name .*run dcase2018 extract") as error:
        Store(tmp_path / "s.h5")
    assert "remove" not in str(error.value)


def test_another_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w", libver=LIBVER) as file:
        file["layer"] = np.zeros(3)
    with pytest.raises(InputError, match="it has no attribute `format`"):
        Store(tmp_path / "weights.h5")


@pytest.mark.parametrize("userblock_size", [0, 512])
def test_older_formats_are_refused_with_the_advice_to_extract_again(
    tmp_path: Path, userblock_size: int
) -> None:
    with h5py.File(tmp_path / "s.h5", "w", userblock_size=userblock_size) as file:  # as in formats 1 and 2
        file.attrs["format"] = 2
    with pytest.raises(InputError, match=r"not a feature store of format 3; .*run dcase2018 extract again"):
        Store(tmp_path / "s.h5")


def test_a_newer_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file.attrs["format"] = 99
    with pytest.raises(InputError, match="has store format 99, and this version of dcase2018 reads format 3"):
        Store(tmp_path / "s.h5")


@pytest.mark.parametrize("wrong", [{"length": b"text"}, {"fname": 7}, {"error": 1.5}])
def test_objects_of_another_kind_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    sample_store(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+", libver=LIBVER) as file:
        for name, value in wrong.items():
            del file["clips"][name]
            file["clips"][name] = value
    with pytest.raises(InputError, match="is not a feature store, or is damaged"):
        Store(tmp_path / "s.h5")


def test_a_missing_store_is_refused_with_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; dcase2018 extract writes it"):
        Store(tmp_path / "s.h5")


def test_is_store_distinguishes_hdf5_from_audio(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert is_store(tmp_path / "s.h5")
    assert not is_store(tmp_path / "a.wav")


def test_a_truncated_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    sample_store(path)
    content = path.read_bytes()
    for size in range(0, len(content), 97):
        path.write_bytes(content[:size])
        with pytest.raises(InputError):
            Store(path)


def test_a_changed_index_is_refused(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["clips/mtime_ns"][0] += 1
    with pytest.raises(InputError, match="is damaged: its index has the wrong checksum; remove it and run"):
        Store(tmp_path / "s.h5")


def test_a_changed_feature_config_is_refused(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["feature_config"].attrs["mel_max_hz"] = 8000.0
    with pytest.raises(InputError, match="is damaged: its index has the wrong checksum"):
        Store(tmp_path / "s.h5")


def test_an_index_that_does_not_match_the_frames_is_refused(tmp_path: Path) -> None:
    clip = np.zeros((4, 64), np.float32)
    records = [ClipRecord("a", 2, 0, 0, 0), ClipRecord("b", 2, 0, 0, 0)]
    write_store(tmp_path / "s.h5", BASELINE, records, [clip])
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["clips/length"][:] = [1, 3]
        del file.attrs["crc32"]
    with pytest.raises(InputError, match="is damaged"):
        Store(tmp_path / "s.h5")
    with pytest.raises(InputError, match="is damaged: its index does not match its frames"):
        write_store(tmp_path / "s.h5", BASELINE, [ClipRecord("a", -1, 0, 0, 0), records[0]], [clip[:1]])


def test_a_flipped_bit_in_the_frames_is_detected(tmp_path: Path) -> None:
    sample_store(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["frames"][4, 7] += 1e-6
    store = Store(tmp_path / "s.h5")
    assert [store.checksum_ok(row) for row in range(3)] == [True, True, False]
    assert store.rows_of(store.fnames[:2]).tolist() == [0, 1]
    with pytest.raises(Dcase2018Error, match=r"damaged in 1 of 1 clips: 'clip 2 é.wav'"):
        store.rows_of(store.fnames)


def test_each_clip_is_verified_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample_store(tmp_path / "s.h5")
    store = Store(tmp_path / "s.h5")
    store.rows_of(store.fnames[:2])
    checked: list[int] = []
    monkeypatch.setattr(Store, "checksum_ok", lambda self, row: checked.append(row) or True)
    store.rows_of(store.fnames)
    pickle.loads(pickle.dumps(store)).rows_of(store.fnames)
    assert checked == [2]


def run_specification_example(folder: Path) -> subprocess.CompletedProcess[str]:
    specification = (Path(__file__).parents[2] / "features" / "README.md").read_text()
    example = specification.split("```python\n")[1].split("```")[0]
    return subprocess.run(
        [sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_example_of_the_specification_reads_a_store(tmp_path: Path) -> None:
    path = tmp_path / "features" / "demo" / "baseline" / "train.h5"
    sample_store(path)
    done = run_specification_example(tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line[-8:] for line in done.stdout.splitlines()][1] == "o frames"
    assert len(done.stdout.splitlines()) == 3
    with h5py.File(path, "r+") as file:
        file["clips/size"][0] += 1
    assert "AssertionError" in run_specification_example(tmp_path).stderr
