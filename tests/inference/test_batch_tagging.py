"""Recordings to tables: nothing mixed up, nothing lost, the same bytes however often it was stopped."""

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
from dcase2018.inference.batch_tagging import DetectionConfig, OutputSpec, tag
from dcase2018.inference.event_detection import EventConfig
from dcase2018.inference.output_formats import TaggingResult
from dcase2018.inference.window_scores import LevelConfig
from dcase2018.utils.atomic import exclusive_lock
from dcase2018.utils.errors import Dcase2018Error, InputError

FOLLOWING = DetectionConfig(LevelConfig(), EventConfig(threshold=0.4))


@pytest.fixture(scope="module")
def listener(runs: dict[str, Path]) -> AudioTagger:
    return AudioTagger.open([runs["baseline"]])


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two folders whose files have the same names, one bad, in a folder with one of its own."""
    folder = tmp_path / "sounds"
    for number, name in enumerate(("a/x.wav", "b/x.wav", "b/deep/y.wav", "z.wav")):
        write_wav(folder / name, noise(20000 + 3000 * number, number))
    (folder / "a" / "bad.wav").write_bytes(b"no audio")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.*")
        if path.is_file()
    }


def test_names_are_paths_below_the_folder_that_holds_all(
    sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(*paths: object) -> list[str]:
        return [source.fname for source in list_recordings([Path(str(path)) for path in paths])]

    assert names(sounds) == ["a/bad.wav", "a/x.wav", "b/deep/y.wav", "b/x.wav", "z.wav"]
    assert names(sounds / "b") == ["deep/y.wav", "x.wav"]
    assert names(sounds / "a" / "x.wav") == ["x.wav"]
    assert names(sounds / "b" / "x.wav", sounds / "a", sounds / "a" / "x.wav") == [
        "a/bad.wav",
        "a/x.wav",
        "b/x.wav",
    ]
    monkeypatch.chdir(sounds / "a")
    assert names("x.wav", "../b/x.wav") == ["a/x.wav", "b/x.wav"]
    with pytest.raises(InputError, match="holds no audio: no file ends in"):
        names(write_wav(sounds / "c" / "x.wav", noise(10)).rename(sounds / "c" / "x.dat").parent)
    with pytest.raises(InputError, match="does not exist"):
        names(sounds / "none.wav")


def test_a_table_has_what_was_heard(listener: AudioTagger, sounds: Path, tmp_path: Path) -> None:
    sources = list_recordings([sounds])
    told = list(tag(listener, sources, None, OutputSpec(tmp_path / "t.csv", "csv", False)))
    assert [isinstance(one, FailedFile) for one in told] == [True, False, False, False, False]
    assert str(told[0]).startswith("a/bad.wav: not audio")
    table = pd.read_csv(tmp_path / "t.csv", index_col="fname")
    assert list(table.columns) == list(listener.classes)
    assert list(table.index) == ["a/x.wav", "b/deep/y.wav", "b/x.wav", "z.wav"]
    for fname, row in table.iterrows():
        np.testing.assert_array_equal(row, listener.scores(sounds / str(fname)))
    list(tag(listener, sources, None, OutputSpec(tmp_path / "t.jsonl", "jsonl", False)))
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [row["scores"] for row in rows] == table.to_dict("records")
    assert [row["fname"] for row in rows] == list(table.index)
    assert list_dir(tmp_path) == ["sounds", "t.csv", "t.jsonl"]


def test_a_file_for_each_mirrors_the_folders(listener: AudioTagger, sounds: Path, tmp_path: Path) -> None:
    for name in ("csv", "jsonl", "audacity", "raven"):
        list(
            tag(
                listener,
                list_recordings([sounds]),
                FOLLOWING,
                OutputSpec(tmp_path / "out", name, True),
                jobs=3,
            )
        )
    suffixes = [".csv", ".jsonl", ".selections.txt", ".txt"]
    recordings = ["a/x.wav", "b/deep/y.wav", "b/x.wav", "z.wav"]
    assert sorted(content(tmp_path / "out")) == sorted(name + end for name in recordings for end in suffixes)
    for name in recordings:
        line = listener.window_scores(sounds / name)
        table = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        assert set(table["fname"]) == {name}
        np.testing.assert_allclose(table["start"], line.starts, atol=1e-3)
        np.testing.assert_allclose(table["end"], line.ends, atol=1e-3)
        np.testing.assert_allclose(table[list(listener.classes)], line.scores, atol=1e-6)
        rows = [json.loads(row) for row in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()]
        np.testing.assert_allclose([list(row["scores"].values()) for row in rows], line.scores, atol=1e-6)


def interrupt(
    listener: AudioTagger,
    folder: Path,
    out: Path,
    after: int,
    following: DetectionConfig | None,
    is_folder: bool,
) -> None:
    """Stop a tagging after some recordings, as an error of the one who asked for it does."""
    work = tag(listener, list_recordings([folder]), following, OutputSpec(out, "csv", is_folder), jobs=1)
    for _ in range(after):
        next(work)
    work.close()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which files are heard."""
    heard: list[str] = []
    for name in ("scores", "timeline"):
        method = getattr(AudioTagger, name)

        def noting(self: AudioTagger, path: Path, *args: object, method: Callable = method) -> object:
            heard.append(path.name)
            return method(self, path, *args)

        monkeypatch.setattr(AudioTagger, name, noting)
    return heard


@pytest.mark.parametrize("is_folder", [True, False])
@pytest.mark.parametrize("following", [None, FOLLOWING])
def test_stopped_and_run_again_it_goes_on_to_the_same_bytes(
    listener: AudioTagger, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    is_folder: bool, following: DetectionConfig | None,
) -> None:  # fmt: skip
    sources = list_recordings([sounds])
    whole, out = tmp_path / "whole" / "t.csv", tmp_path / "part" / "t.csv"
    list(tag(listener, sources, following, OutputSpec(whole, "csv", is_folder)))
    for after in range(1, len(sources)):
        interrupt(listener, sounds, out, after, following, is_folder)
        assert is_folder or not out.exists()
        with monkeypatch.context() as patch:
            heard = counted(patch)
            list(tag(listener, sources, following, OutputSpec(out, "csv", is_folder), jobs=3))
        assert len(heard) <= len(sources) - (after - 1)  # the bad one is tried again
        assert content(out.parent) == content(whole.parent)
        assert list_dir(out.parent) == ["t.csv"]
        shutil.rmtree(out.parent)


def test_what_was_kept_is_of_no_use_for_another_setting_file_or_damage(
    runs: dict[str, Path],
    listener: AudioTagger,
    sounds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "t.csv"
    heard = counted(monkeypatch)

    def again(other: AudioTagger, following: DetectionConfig | None = None) -> int:
        interrupt(listener, sounds, out, 5, None, False)
        heard.clear()
        list(tag(other, list_recordings([sounds]), following, OutputSpec(out, "csv", False)))
        return len(heard)

    assert again(listener) == 1  # the bad one
    assert again(AudioTagger.open([runs["baseline"]], clip_pooling="geometric_mean")) == 5
    assert again(AudioTagger.open(list(runs.values()))) == 5
    assert again(listener, FOLLOWING) == 5
    interrupt(listener, sounds, out, 5, None, False)
    kept = sorted((tmp_path / ".t.csv.heard").glob("*.npz"))
    assert len(kept) == 4
    kept[0].write_bytes(kept[0].read_bytes()[:-20])
    write_wav(sounds / "z.wav", noise(44100))
    heard.clear()
    list(tag(listener, list_recordings([sounds]), None, OutputSpec(out, "csv", False)))
    assert 2 <= len(heard) <= 3  # the bad one, the changed one, and the damaged one, if it is another


def test_one_table_has_one_writer(listener: AudioTagger, sounds: Path, tmp_path: Path) -> None:
    folder = tmp_path / ".t.csv.heard"
    folder.mkdir()
    with (
        exclusive_lock(folder, folder),
        pytest.raises(Dcase2018Error, match=r"t\.csv is being written by another process"),
    ):
        list(tag(listener, list_recordings([sounds]), None, OutputSpec(tmp_path / "t.csv", "csv", False)))


def test_nothing_is_written_where_nothing_can_be_heard(listener: AudioTagger, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("1.wav", "2.wav"):
        (tmp_path / "in" / name).write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"no recording can be used, such as 1\.wav: not audio"):
        list(
            tag(
                listener,
                list_recordings([tmp_path / "in"]),
                None,
                OutputSpec(tmp_path / "t.csv", "csv", False),
            )
        )
    assert list_dir(tmp_path) == ["in"]


def test_an_error_ends_the_other_threads(
    listener: AudioTagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody waits for is given up at its next block, and what has not begun never begins."""
    monkeypatch.setattr("dcase2018.data.audio.BLOCK", 1 << 14)
    for number in range(40):
        write_wav(tmp_path / f"{number:02d}.wav", noise(44100 * 2, number))
    heard = counted(monkeypatch)
    work = tag(listener, list_recordings([tmp_path]), None, None, jobs=2)
    assert isinstance(next(work), TaggingResult)
    work.close()
    assert len(heard) < 40
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_times_run_on_in_a_table_of_several(listener: AudioTagger, sounds: Path, tmp_path: Path) -> None:
    everything = DetectionConfig(LevelConfig(), EventConfig(threshold=1e-6))  # each class all the time
    told = list(
        tag(listener, list_recordings([sounds]), everything, OutputSpec(tmp_path / "t.txt", "raven", False))
    )
    table = pd.read_csv(tmp_path / "t.txt", sep="\t")
    lengths = np.array([one.result.seconds for one in told if isinstance(one, TaggingResult)])
    starts, classes = np.cumsum(lengths) - lengths, len(listener.classes)
    np.testing.assert_allclose(table["Begin Time (s)"], np.repeat(starts, classes), atol=1e-6)
    np.testing.assert_allclose(table["End Time (s)"], np.repeat(starts + lengths, classes), atol=1e-6)
    np.testing.assert_array_equal(table["File Offset (s)"], 0)
    np.testing.assert_array_equal(table["Selection"], np.arange(1, 4 * classes + 1))
    assert list(table["Begin Path"][::classes]) == [
        str(sounds / n) for n in ("a/x.wav", "b/deep/y.wav", "b/x.wav", "z.wav")
    ]
    assert (table["Low Freq (Hz)"] == 125).all()
    assert (table["High Freq (Hz)"] == 7500).all()
