"""Batch tagging: results in order, with the same bytes however often the work was interrupted."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import list_dir, noise, write_wav

from dcase2018.data.files import list_recordings
from dcase2018.inference.audio_tagger import AudioTagger, FailedFile
from dcase2018.inference.batch_tagging import DetectionConfig, tag_files
from dcase2018.inference.event_detection import EventConfig
from dcase2018.inference.output_formats import OutputSpec, TaggingResult
from dcase2018.inference.window_scores import LevelConfig
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.locks import exclusive_lock

DETECTION = DetectionConfig(LevelConfig(), EventConfig(threshold=0.4))


@pytest.fixture(scope="module")
def tagger(runs: dict[str, Path]) -> AudioTagger:
    return AudioTagger.open([runs["baseline"]])


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder with a file, and two folders whose files have the same names; one file is invalid."""
    folder = tmp_path / "sounds"
    for index, name in enumerate(("a/x.wav", "b/x.wav", "b/deep/y.wav", "z.wav")):
        write_wav(folder / name, noise(20000 + 3000 * index, index))
    (folder / "a" / "bad.wav").write_bytes(b"no audio")
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.*")
        if path.is_file()
    }


def csv_file(path: Path) -> OutputSpec:
    return OutputSpec(path, "csv", is_folder=False)


def test_fnames_are_relative_to_the_common_folder(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fnames(*paths: object) -> list[str]:
        return [file.fname for file in list_recordings([Path(str(path)) for path in paths])]

    assert fnames(sounds) == ["a/bad.wav", "a/x.wav", "b/deep/y.wav", "b/x.wav", "z.wav"]
    assert fnames(sounds / "b") == ["deep/y.wav", "x.wav"]
    assert fnames(sounds / "a" / "x.wav") == ["x.wav"]
    assert fnames(sounds / "b" / "x.wav", sounds / "a", sounds / "a" / "x.wav") == [
        "a/bad.wav",
        "a/x.wav",
        "b/x.wav",
    ]
    monkeypatch.chdir(sounds / "a")
    assert fnames("x.wav", "../b/x.wav") == ["a/x.wav", "b/x.wav"]
    with pytest.raises(InputError, match="has no audio files, such as"):
        fnames(write_wav(sounds / "c" / "x.wav", noise(10)).rename(sounds / "c" / "x.dat").parent)
    with pytest.raises(InputError, match="does not exist"):
        fnames(sounds / "none.wav")


def test_a_file_of_clip_scores_has_all_scores(tagger: AudioTagger, sounds: Path, tmp_path: Path) -> None:
    files = list_recordings([sounds])
    results = list(tag_files(tagger, files, None, csv_file(tmp_path / "t.csv")))
    assert [isinstance(result, FailedFile) for result in results] == [True, False, False, False, False]
    assert str(results[0]).startswith("a/bad.wav: not audio")
    table = pd.read_csv(tmp_path / "t.csv", index_col="fname")
    assert list(table.columns) == list(tagger.classes)
    assert list(table.index) == ["a/x.wav", "b/deep/y.wav", "b/x.wav", "z.wav"]
    for fname, row in table.iterrows():
        np.testing.assert_array_equal(row, tagger.scores(sounds / str(fname)))
    list(tag_files(tagger, files, None, OutputSpec(tmp_path / "t.jsonl", "jsonl", False)))
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [row["scores"] for row in rows] == table.to_dict("records")
    assert [row["fname"] for row in rows] == list(table.index)
    assert list_dir(tmp_path) == ["sounds", "t.csv", "t.jsonl"]


def test_files_per_recording_mirror_the_folders(tagger: AudioTagger, sounds: Path, tmp_path: Path) -> None:
    for name in ("csv", "jsonl", "audacity", "raven"):
        output = OutputSpec(tmp_path / "out", name, is_folder=True)
        list(tag_files(tagger, list_recordings([sounds]), DETECTION, output, jobs=3))
    suffixes = [".csv", ".jsonl", ".selections.txt", ".txt"]
    fnames = ["a/x.wav", "b/deep/y.wav", "b/x.wav", "z.wav"]
    assert sorted(read_files(tmp_path / "out")) == sorted(
        fname + suffix for fname in fnames for suffix in suffixes
    )
    for fname in fnames:
        expected = tagger.window_scores(sounds / fname)
        table = pd.read_csv(tmp_path / "out" / f"{fname}.csv")
        assert set(table["fname"]) == {fname}
        np.testing.assert_allclose(table["start"], expected.starts, atol=1e-3)
        np.testing.assert_allclose(table["end"], expected.ends, atol=1e-3)
        np.testing.assert_allclose(table[list(tagger.classes)], expected.scores, atol=1e-6)
        rows = [json.loads(row) for row in (tmp_path / "out" / f"{fname}.jsonl").read_text().splitlines()]
        scores = [list(row["scores"].values()) for row in rows]
        np.testing.assert_allclose(scores, expected.scores, atol=1e-6)


def test_raven_frequencies_are_at_most_half_the_sample_rate_of_the_recording(
    tagger: AudioTagger, tmp_path: Path
) -> None:
    for rate in (8000, 22050, 96000):
        write_wav(tmp_path / "in" / f"{rate}.wav", noise(2 * rate), rate)
    detection = DetectionConfig(LevelConfig(), EventConfig(threshold=0.01))
    output = OutputSpec(tmp_path / "t.selections.txt", "raven", is_folder=False)
    for _ in range(2):  # the second time from scores in the cache
        interrupt(tagger, tmp_path / "in", output, 2, detection)
    list(tag_files(tagger, list_recordings([tmp_path / "in"]), detection, output))
    table = pd.read_csv(output.path, sep="\t")
    rates = table["Begin Path"].map(lambda path: int(Path(path).stem))
    highest = table.groupby(rates)["High Freq (Hz)"].agg(["min", "max"])
    limit = max(run.feature_config.mel_max_hz for run in tagger.runs)
    expected = [[min(limit, rate / 2)] * 2 for rate in (8000, 22050, 96000)]
    assert highest.to_numpy().tolist() == expected


def interrupt(
    tagger: AudioTagger, folder: Path, output: OutputSpec, after: int, detection: DetectionConfig | None
) -> None:
    """Stop a call of `tag` after some results, as an exception of the caller does."""
    results = tag_files(tagger, list_recordings([folder]), detection, output, jobs=1)
    for _ in range(after):
        next(results)
    results.close()


def record_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of the files that are scored."""
    calls: list[str] = []
    for name in ("clip_scores", "window_scores"):
        method = getattr(AudioTagger, name)

        def recording(self: AudioTagger, path: Path, *args: object, method: Callable = method) -> object:
            calls.append(path.name)
            return method(self, path, *args)

        monkeypatch.setattr(AudioTagger, name, recording)
    return calls


@pytest.mark.parametrize("is_folder", [True, False])
@pytest.mark.parametrize("detection", [None, DETECTION])
def test_an_interrupted_call_resumes_to_the_same_bytes(
    tagger: AudioTagger, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    is_folder: bool, detection: DetectionConfig | None,
) -> None:  # fmt: skip
    files = list_recordings([sounds])
    complete, resumed = (
        OutputSpec(tmp_path / name / "t.csv", "csv", is_folder) for name in ("complete", "resumed")
    )
    list(tag_files(tagger, files, detection, complete))
    for after in range(1, len(files)):
        interrupt(tagger, sounds, resumed, after, detection)
        assert is_folder or not resumed.path.exists()
        with monkeypatch.context() as patch:
            calls = record_calls(patch)
            list(tag_files(tagger, files, detection, resumed, jobs=3))
        assert len(calls) <= len(files) - (after - 1)  # the invalid file is tried again
        assert read_files(resumed.path.parent) == read_files(complete.path.parent)
        assert list_dir(resumed.path.parent) == ["t.csv"]
        shutil.rmtree(resumed.path.parent)


def test_the_cache_is_invalid_for_other_settings_and_changed_or_damaged_files(
    runs: dict[str, Path],
    tagger: AudioTagger,
    sounds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = csv_file(tmp_path / "t.csv")
    calls = record_calls(monkeypatch)

    def n_scored(other: AudioTagger, detection: DetectionConfig | None = None) -> int:
        interrupt(tagger, sounds, output, 5, None)
        calls.clear()
        list(tag_files(other, list_recordings([sounds]), detection, output))
        return len(calls)

    assert n_scored(tagger) == 1  # the invalid file
    assert n_scored(AudioTagger.open([runs["baseline"]], clip_pooling="geometric_mean")) == 5
    assert n_scored(AudioTagger.open(list(runs.values()))) == 5
    assert n_scored(tagger, DETECTION) == 5
    interrupt(tagger, sounds, output, 5, None)
    cached = sorted((tmp_path / ".t.csv.cache").glob("*.npz"))
    assert len(cached) == 4
    cached[0].write_bytes(cached[0].read_bytes()[:-20])
    write_wav(sounds / "z.wav", noise(44100))
    calls.clear()
    list(tag_files(tagger, list_recordings([sounds]), None, output))
    assert 2 <= len(calls) <= 3  # the invalid, the changed and the damaged file; the last two may be one


def test_an_output_has_one_writer(tagger: AudioTagger, sounds: Path, tmp_path: Path) -> None:
    folder = tmp_path / ".t.csv.cache"
    folder.mkdir()
    with (
        exclusive_lock(folder, folder),
        pytest.raises(Dcase2018Error, match=r"t\.csv is being written by another process"),
    ):
        list(tag_files(tagger, list_recordings([sounds]), None, csv_file(tmp_path / "t.csv")))


def test_nothing_is_written_if_all_files_fail(tagger: AudioTagger, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("1.wav", "2.wav"):
        (tmp_path / "in" / name).write_bytes(b"RIFF")
    message = r"none of the recordings can be used, for example 1\.wav: not audio"
    with pytest.raises(InputError, match=message):
        list(tag_files(tagger, list_recordings([tmp_path / "in"]), None, csv_file(tmp_path / "t.csv")))
    assert list_dir(tmp_path) == ["in"]


def test_closing_stops_all_threads(
    tagger: AudioTagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running work stops at its next block, and queued work does not start."""
    monkeypatch.setattr("dcase2018.data.audio_decoders.BLOCK_SAMPLES", 1 << 14)
    for index in range(40):
        write_wav(tmp_path / f"{index:02d}.wav", noise(44100 * 2, index))
    calls = record_calls(monkeypatch)
    earlier_threads = set(threading.enumerate())
    results = tag_files(tagger, list_recordings([tmp_path]), None, None, jobs=2)
    assert isinstance(next(results), TaggingResult)
    results.close()
    assert len(calls) < 40
    new_threads = set(threading.enumerate()) - earlier_threads
    assert not [thread for thread in new_threads if "ThreadPool" in thread.name]


def test_raven_times_continue_from_one_recording_to_the_next(
    tagger: AudioTagger, sounds: Path, tmp_path: Path
) -> None:
    every_class = DetectionConfig(LevelConfig(), EventConfig(threshold=1e-6))  # one event per class
    output = OutputSpec(tmp_path / "t.txt", "raven", is_folder=False)
    results = list(tag_files(tagger, list_recordings([sounds]), every_class, output))
    table = pd.read_csv(tmp_path / "t.txt", sep="\t")
    lengths = np.array([result.scores.seconds for result in results if isinstance(result, TaggingResult)])
    starts, n_classes = np.cumsum(lengths) - lengths, len(tagger.classes)
    np.testing.assert_allclose(table["Begin Time (s)"], np.repeat(starts, n_classes), atol=1e-6)
    np.testing.assert_allclose(table["End Time (s)"], np.repeat(starts + lengths, n_classes), atol=1e-6)
    np.testing.assert_array_equal(table["File Offset (s)"], 0)
    np.testing.assert_array_equal(table["Selection"], np.arange(1, 4 * n_classes + 1))
    assert list(table["Begin Path"][::n_classes]) == [
        str(sounds / fname) for fname in ("a/x.wav", "b/deep/y.wav", "b/x.wav", "z.wav")
    ]
    assert (table["Low Freq (Hz)"] == 125).all()
    assert (table["High Freq (Hz)"] == 7500).all()
