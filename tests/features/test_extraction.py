"""Extraction: every clip is in the store, and the store does not depend on how it was computed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import BASELINE, frames_of_samples, list_dir, noise, run_fails, run_ok, write_wav
from threadpoolctl import threadpool_limits

from dcase2018.features.config import FeatureConfig
from dcase2018.features.extraction import extract
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.store import Store
from dcase2018.utils.errors import Dcase2018Error, InputError


def content(path: Path) -> dict[str, object]:
    """Content of a store, without sizes and times of the source files."""
    store = Store(path)
    return {
        "feature_config": store.feature_config,
        "clips": [(store.fnames[row], store.errors[row]) for row in range(len(store))],
        "frames": [store.frames_of(row).tobytes() for row in range(len(store))],
    }


def test_the_store_has_the_frames_of_all_clips_in_order_of_name(clips: Path, store: Store) -> None:
    assert store.fnames == ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"]
    assert store.lengths.tolist() == [98, 27, 9, 1, 0]
    assert store.errors == ["", "", "", "", "no samples"]
    for row, fname in enumerate(store.fnames):
        samples = soundfile.read(clips / fname, dtype="float32")[0]
        with threadpool_limits(1, "blas"):  # as in a job: the number of threads changes the order of sums
            expected = frames_of_samples(FrontEnd(BASELINE), samples)
        np.testing.assert_array_equal(store.frames_of(row), expected)


def test_no_other_file_remains_beside_the_store(clips: Path, store: Store) -> None:
    assert sorted(path.name for path in store.path.parent.iterdir()) == ["clips", "clips.h5"]


@pytest.mark.parametrize("jobs", [2, 3])
def test_the_store_does_not_depend_on_the_number_of_jobs(
    clips: Path, store: Store, tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcase2018.features.extraction.SHARD_CLIPS", 2)
    extract(clips, tmp_path / "parallel.h5", BASELINE, jobs=jobs)
    assert content(tmp_path / "parallel.h5") == content(store.path)


def test_labels_select_and_order_the_clips(clips: Path, tmp_path: Path) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("fname,label\nc.wav,Bark\na.wav,None\n")
    run_ok("extract", clips, tmp_path / "s.h5", "--labels", labels)
    assert Store(tmp_path / "s.h5").fnames == ["c.wav", "a.wav"]


def test_a_second_run_computes_nothing(clips: Path, store: Store) -> None:
    before = store.path.read_bytes()
    assert extract(clips, store.path, BASELINE).computed == 0
    assert store.path.read_bytes() == before


def test_only_changed_clips_are_computed_again(clips: Path, store: Store, tmp_path: Path) -> None:
    write_wav(clips / "b.wav", noise(20000, seed=9))
    write_wav(clips / "f.wav", noise(3000, seed=10))
    (clips / "c.wav").unlink()
    summary = extract(clips, store.path, BASELINE, prune=True)
    assert (summary.clips, summary.computed) == (5, 2)
    extract(clips, tmp_path / "new.h5", BASELINE)
    assert content(store.path) == content(tmp_path / "new.h5")


def test_dropping_clips_requires_prune(clips: Path, store: Store) -> None:
    before = store.path.read_bytes()
    for fname in ("b.wav", "d.wav"):
        (clips / fname).unlink()
    message = run_fails(2, "extract", clips, store.path)
    assert "has 2 clips that are not among the 3 of" in message
    assert "such as 'b.wav'; name another store, or drop them with --prune" in message
    assert store.path.read_bytes() == before
    assert list_dir(store.path.parent) == ["clips", "clips.h5"]
    run_ok("extract", clips, store.path, "--prune")
    assert Store(store.path).fnames == ["a.wav", "c.wav", "e.wav"]


def test_the_message_about_another_file_does_not_suggest_to_remove_it(clips: Path) -> None:
    message = run_fails(2, "extract", clips, clips / "a.wav")
    assert "a.wav is not a feature store" in message
    assert "remove" not in message


def test_a_damaged_clip_is_computed_again(clips: Path, store: Store, tmp_path: Path) -> None:
    shutil.copy(store.path, tmp_path / "undamaged.h5")
    raw = bytearray(store.path.read_bytes())
    position = raw.index(store.frames_of(1).tobytes())
    raw[position + 100] ^= 1
    store.path.write_bytes(raw)
    assert extract(clips, store.path, BASELINE).computed == 1
    assert content(store.path) == content(tmp_path / "undamaged.h5")


def test_verify_names_damaged_clips(store: Store) -> None:
    assert run_ok("info", store.path, "--verify").endswith("verified all checksums match\n")
    raw = bytearray(store.path.read_bytes())
    for row in (0, 3):
        raw[raw.index(store.frames_of(row).tobytes()) + 5] ^= 128
    store.path.write_bytes(raw)
    message = run_fails(1, "info", store.path, "--verify")
    assert "is damaged in 2 of 5 clips: 'a.wav', 'd.wav'; run dcase2018 extract again" in message


@pytest.mark.slow
@pytest.mark.parametrize("feature_config", ["baseline", "waveform16k"])
def test_a_clip_of_ten_minutes_needs_little_memory(tmp_path: Path, feature_config: str) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    second = np.stack([noise(48000, 1), noise(48000, 2)], axis=1)
    with soundfile.SoundFile(folder / "long.wav", "w", 48000, 2, "FLOAT") as file:
        for _ in range(600):
            file.write(second)
    code = (
        "import pathlib, sys; from dcase2018.features.extraction import extract;"
        "from dcase2018.features.config import FEATURE_CONFIGS;"
        "extract(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), FEATURE_CONFIGS[sys.argv[3]]);"
        "status = pathlib.Path('/proc/self/status').read_text();"
        "print(status.split('VmHWM:')[1].split()[0])"  # peak memory in kB
    )
    command = [sys.executable, "-c", code, folder, tmp_path / "s.h5", feature_config]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 500e6
    assert abs(Store(tmp_path / "s.h5").lengths[0] - 60000) < 5


@pytest.mark.slow
def test_a_dask_cluster_writes_the_same_store(clips: Path, store: Store, tmp_path: Path) -> None:
    from dask.distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        run_ok("extract", clips, tmp_path / "s.h5", "--dask", cluster.scheduler_address)
    assert content(tmp_path / "s.h5") == content(store.path)


def test_another_feature_config_is_refused(clips: Path, store: Store) -> None:
    message = run_fails(2, "extract", clips, store.path, "--hparams", "mel_bands=32")
    assert "mel_bands=64, not 32" in message
    assert "remove it or name another store" in message
    assert not list(store.path.parent.glob(".*"))


def test_one_new_clip_may_fail_on_an_existing_store(clips: Path, store: Store) -> None:
    (clips / "f.wav").write_bytes(b"no audio")
    summary = extract(clips, store.path, BASELINE)
    assert (summary.computed, list(summary.failed)) == (1, ["f.wav"])
    assert extract(clips, store.path, BASELINE).computed == 0


def test_an_unreadable_clip_is_tried_again(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:  # the tests may run as root, who may read anything
        patch.setattr("dcase2018.data.audio_decoders.check_header", fail)
        patch.setattr("dcase2018.features.extraction.SHARD_CLIPS", 1)
        with pytest.raises(InputError, match=r"5 of the first 5 clips .*unreadable: Permission denied"):
            extract(clips, tmp_path / "s.h5", BASELINE)
    summary = extract(clips, tmp_path / "s.h5", BASELINE)
    assert (summary.computed, summary.failed) == (5, {})


@pytest.fixture
def mixed_clips(clips: Path) -> Path:
    """Six valid clips, of which one ends early, and two that cannot be read."""
    content = (clips / "a.wav").read_bytes()
    (clips / "cut.wav").write_bytes(content[:5000])
    (clips / "text.wav").write_bytes(b"this is no audio")
    write_wav(clips / "nan.wav", np.full(5000, np.nan, np.float32), subtype="FLOAT")
    return clips


def test_failed_clips_are_skipped_and_listed_with_the_error(mixed_clips: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dcase2018", "extract", mixed_clips, tmp_path / "s.h5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert [line for line in done.stdout.splitlines() if line.startswith("skipped")] == [
        "skipped: nan.wav: not finite: the samples contain NaN or infinity",
        "skipped: text.wav: not audio: no decoder accepts it",
    ]
    store = Store(tmp_path / "s.h5")
    assert len(store) == 8
    assert (store.lengths > 0).sum() == 5
    assert "failed   text.wav: not audio" in run_ok("info", store.path)
    assert (tmp_path / "s.failed.csv").read_text().splitlines() == [
        "fname,error",
        "nan.wav,not finite: the samples contain NaN or infinity",
        "text.wav,not audio: no decoder accepts it",
    ]
    for name in ("cut", "nan", "text"):
        (mixed_clips / f"{name}.wav").unlink()
    extract(mixed_clips, store.path, BASELINE, prune=True)
    assert not (tmp_path / "s.failed.csv").exists()


CUT_SHORT = "incomplete: header promises 1.0 s, 0.1 s are there"


def test_clips_that_end_early_are_used_and_listed(mixed_clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    for computed in (8, 0):  # a second run reports the clips that it reuses
        summary = extract(mixed_clips, path, BASELINE)
        assert (summary.computed, summary.warnings) == (computed, {"cut.wav": CUT_SHORT})
        assert (tmp_path / "s.warnings.csv").read_text() == f'fname,warning\ncut.wav,"{CUT_SHORT}"\n'
    store = Store(path)
    content = (mixed_clips / "cut.wav").read_bytes()[44:]
    samples = np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
    frames = store.frames_of(store.rows["cut.wav"])
    np.testing.assert_array_equal(frames, frames_of_samples(FrontEnd(BASELINE), samples))
    assert f"warning  cut.wav: {CUT_SHORT}" in run_ok("info", path)
    for name in ("nan", "text"):
        (mixed_clips / f"{name}.wav").unlink()
    run_fails(3, "extract", mixed_clips, path)
    (mixed_clips / "cut.wav").unlink()
    extract(mixed_clips, path, BASELINE, prune=True)
    assert not (tmp_path / "s.warnings.csv").exists()


def test_strict_stops_at_the_first_incomplete_or_failed_clip(mixed_clips: Path, tmp_path: Path) -> None:
    for name, reason in (("cut", CUT_SHORT), ("nan", "not finite: the samples contain NaN or infinity")):
        message = run_fails(1, "extract", mixed_clips, tmp_path / "s.h5", "--strict")
        assert message.strip().endswith(f"clip '{name}.wav' cannot be read completely: {reason}")
        assert not (tmp_path / "s.h5").exists()
        (mixed_clips / f"{name}.wav").unlink()


def test_files_left_out_of_a_folder_are_counted_by_suffix(
    clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.txt", "b.TXT", ".DS_Store", "._a.wav", "README"):
        (clips / name).write_bytes(b"text")
    with caplog.at_level("INFO"):
        extract(clips, tmp_path / "s.h5", BASELINE)
    (line,) = [message for message in caplog.messages if message.startswith("left out")]
    assert line.startswith("left out 5 files: 2 .txt, ")
    assert set(line.partition(": ")[2].split(", ")) == {
        "2 .txt", "1 .DS_Store", "1 hidden .wav", "1 without suffix",
    }  # fmt: skip


def test_a_folder_without_audio_fails_early(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.wav").write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"20 of the first 20 clips cannot be read, such as '0.wav'"):
        extract(tmp_path, tmp_path / "s.h5", BASELINE)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["../a.wav"], r"by absolute paths or with '\.\.', such as '\.\./a.wav'; .* such as 'a.wav'$"),
        (["b/../a.wav"], r"such as 'b/\.\./a.wav'"),
        (["/etc/passwd"], "by absolute paths or with .*, such as '/etc/passwd'"),
        (["a.wav", "x.wav", "y.wav"], "2 of 3 clips are not in .*: 'x.wav', 'y.wav'; correct the names"),
        (["a.wav", "./a.wav"], r"clip '\./a.wav' is listed twice, also as 'a.wav'"),
        (["a.wav", "a.wav"], r"clip 'a.wav' is listed twice, also as 'a.wav'"),
    ],
)
def test_clips_outside_the_folder_or_missing_are_refused(
    clips: Path, tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        extract(clips, tmp_path / "s.h5", BASELINE, names)
    assert not (tmp_path / "s.h5").exists()


def test_file_names_may_have_spaces_and_any_bytes(tmp_path: Path) -> None:
    names = [b"sp ace.wav", b"\xe9\xff.wav", "träumerei, op. 15.wav".encode()]
    for name in names:
        source = write_wav(tmp_path / "clips" / "a.wav", noise(2000))
        source.rename(source.with_name(os.fsdecode(name)))
    extract(tmp_path / "clips", tmp_path / "s.h5", BASELINE)
    assert sorted(map(os.fsencode, Store(tmp_path / "s.h5").fnames)) == sorted(names)


def test_clips_in_subfolders_can_be_named(clips: Path, tmp_path: Path) -> None:
    write_wav(clips / "more" / "a.wav", noise(2000))
    extract(clips, tmp_path / "s.h5", BASELINE, ["more/a.wav", "a.wav"])
    assert Store(tmp_path / "s.h5").fnames == ["more/a.wav", "a.wav"]


def test_a_second_extraction_of_the_same_store_is_refused(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def extract_again(*args: object) -> None:
        with pytest.raises(Dcase2018Error, match="is being written by another process"):
            extract(clips, tmp_path / "s.h5", BASELINE)
        raise KeyboardInterrupt

    monkeypatch.setattr("dcase2018.features.extraction._merge_shards", extract_again)
    with pytest.raises(KeyboardInterrupt):
        extract(clips, tmp_path / "s.h5", BASELINE)
    monkeypatch.undo()
    assert extract(clips, tmp_path / "s.h5", BASELINE).computed == 0  # the shards remain


def test_an_unwritable_store_is_one_error(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = run_fails(1, "extract", clips, tmp_path / "file" / "s.h5")
    assert message.splitlines()[-1].startswith(f"dcase2018: {tmp_path / 'file'}")


def test_entries_that_are_not_files_are_skipped(clips: Path, tmp_path: Path) -> None:
    os.mkfifo(clips / "pipe.wav")
    (clips / "folder.wav").mkdir()
    (clips / "nowhere.wav").symlink_to("nothing")
    summary = extract(clips, tmp_path / "s.h5", BASELINE)
    assert summary.failed == {
        "folder.wav": "unreadable: not a regular file",
        "nowhere.wav": "unreadable: a link to nothing, 'nothing' (not fetched?)",
        "pipe.wav": "unreadable: not a regular file",
    }
    (clips / "nowhere.wav").unlink()
    write_wav(clips / "nowhere.wav", noise(5000))
    assert list(extract(clips, tmp_path / "s.h5", BASELINE).failed) == ["folder.wav", "pipe.wav"]


def test_bands_without_an_fft_bin_are_refused(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="91 of 512 mel bands contain no FFT bin"):
        extract(clips, tmp_path / "s.h5", FeatureConfig(mel_bands=512))


def test_missing_clips_are_skipped_on_request(clips: Path, tmp_path: Path) -> None:
    names = ["a.wav", "x.wav", "b.wav"]
    summary = extract(clips, tmp_path / "s.h5", BASELINE, names, skip_missing=True)
    assert summary.failed == {"x.wav": "unreadable: no such file"}
    store = Store(tmp_path / "s.h5")
    assert store.fnames == names
    assert [length > 0 for length in store.lengths] == [True, False, True]
    write_wav(clips / "x.wav", noise(5000))
    assert extract(clips, tmp_path / "s.h5", BASELINE, names).computed == 1
    with pytest.raises(InputError, match=r"2 of the first 2 clips cannot be read"):
        extract(clips, tmp_path / "t.h5", BASELINE, ["y.wav", "z.wav"], skip_missing=True)


def test_clips_are_stored_and_found_by_the_normal_form_of_their_name(clips: Path, tmp_path: Path) -> None:
    write_wav(clips / "Cafe\u0301.wav", noise(2000))
    names = [".\\a.wav", "Caf\u00e9.wav"]
    extract(clips, tmp_path / "s.h5", BASELINE, names)
    store = Store(tmp_path / "s.h5")
    assert store.fnames == ["a.wav", "Caf\u00e9.wav"]
    assert store.rows_of(["Cafe\u0301.wav", "./a.wav"]).tolist() == [1, 0]
    with pytest.raises(
        InputError, match=r"1 of 1 clips are not in .*: 'b/A.flac' \(did you mean 'a.wav'\?\)"
    ):
        store.rows_of(["b/A.flac"])


def test_linked_clips_are_extracted_from_outside_the_folder(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.wav").symlink_to(clips / "a.wav")
    (tmp_path / "links" / "more").symlink_to(clips)
    extract(tmp_path / "links", tmp_path / "s.h5", BASELINE, ["a.wav", "more/b.wav"])
    extract(clips, tmp_path / "t.h5", BASELINE, ["a.wav", "b.wav"])
    np.testing.assert_array_equal(Store(tmp_path / "s.h5").crc32, Store(tmp_path / "t.h5").crc32)
