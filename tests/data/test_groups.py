"""Groups of clips by column, by file name and by content, and the recordings that names suggest."""

import logging
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE, noise, write_wav
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.cli.data import split
from dcase2018.data.groups import (
    check_one_side,
    equal_keys,
    groups_from_column,
    groups_from_pattern,
    merge_groups,
    read_groups,
    warn_of_shared_sound,
)
from dcase2018.data.identical_files import file_keys
from dcase2018.data.labels import read_fnames
from dcase2018.data.recording_names import find_recordings
from dcase2018.features.extraction import extract
from dcase2018.utils.errors import InputError


def label_table(*fnames: str, **columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"fname": fnames, "label": "a"} | columns, dtype=object)


@pytest.mark.parametrize(
    ("pattern", "fnames", "expected"),
    [
        (
            "{site}_{rec}_{n}",
            ["s1_r1_1.wav", "s1_r1_2.flac", "s1_r2_1.wav", "s2_r1_1.wav"],
            [("s1", "r1")] * 2 + [("s1", "r2"), ("s2", "r1")],
        ),
        ("{n}_{rec}", ["dog/1_x.wav", "cat/2_x.flac"], [("x",), ("x",)]),
        ("{folder}/{rest}", ["x/1.wav", "x/2.wav", "y/1.wav"], [("x",), ("x",), ("y",)]),
        ("{fold}-{source}-{rest}-{n}.wav", ["1-17-A-0.wav", "1-17-B-0.wav"], [("1", "17")] * 2),
        ("{rec}.{n}.wav", ["r.1.wav", "r.2.wav"], [("r",), ("r",)]),
    ],
)
def test_pattern_groups_by_all_fields_but_n_and_rest(
    pattern: str, fnames: list[str], expected: list[tuple[str, ...]]
) -> None:
    assert groups_from_pattern(label_table(*fnames), pattern).tolist() == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{site}_{rec}", "must have the field {n}, which differs within a group, and other fields"),
        ("{n}_{rest}", "must have the field {n}, which differs within a group, and other fields"),
        ("{site}_{rec}_{n}", "does not match 1 of 2 names: 'b.wav'; write another pattern"),
        ("{a}_{a}_{n}", "the field {a} must be an identifier, used once"),
        ("{a", "is not a valid template"),
    ],
)
def test_unusable_patterns_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        groups_from_pattern(label_table("s_r_1.wav", "b.wav"), pattern)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_groups_from_a_column() -> None:
    labels = label_table("a", "b", "c", rec=["x", "y", "x"], site=["1", "", "2"])
    assert groups_from_column(labels, "rec").tolist() == ["x", "y", "x"]
    with pytest.raises(InputError, match="--groups set: no such column; the columns are fname, label, rec"):
        groups_from_column(labels, "set")
    with pytest.raises(InputError, match="--groups site: 1 clips have no group, such as 'b'; fill in"):
        groups_from_column(labels, "site")
    with pytest.raises(InputError, match="--groups and --groups-from exclude each other"):
        read_groups(labels, "rec", "{rec}_{n}")
    assert read_groups(labels, None, None) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abcdef")), min_size=1, max_size=12))
def test_merged_groups_are_the_connected_clips(rows: list[tuple[int, str]]) -> None:
    expected = list(range(len(rows)))
    for i, j in combinations(range(len(rows)), 2):
        if rows[i][0] == rows[j][0] or rows[i][1] == rows[j][1]:
            expected = [expected[i] if group == expected[j] else group for group in expected]
    merged = merge_groups(*zip(*rows, strict=True), None)
    assert merged is not None
    for i, j in combinations(range(len(rows)), 2):
        assert (merged[i] == merged[j]) == (expected[i] == expected[j])


def test_equal_keys_leave_clips_without_content_alone() -> None:
    groups = equal_keys(np.array([7, 0, 7, 0, 9], np.uint64))
    assert len(set(groups)) == 4
    assert groups[0] == groups[2]


@pytest.mark.parametrize(
    "fnames",
    [
        ["rec12_003.wav", "rec12_004.wav"],
        ["x/rec12-3.wav", "x/rec12-10.wav"],
        ["12345_0.5.wav", "12345_11.0.wav"],
        ["r_part1.wav", "r_part2.wav"],
        ["rec3clip1.wav", "rec3clip2.wav"],
        ["1-100032-A-0.wav", "2-100032-B-0.wav"],
        ["fold1/101415-3-0-2.wav", "fold1/101415-3-1-0.wav"],
        ["b020_90_100.wav", "b020_100_110.wav"],
        ["bed/0a7c2a8d_nohash_0.wav", "bed/0a7c2a8d_nohash_1.wav"],
        ["000.wav", "000_copy.wav"],
        ["a - Copy (2).wav", "a (1).wav"],
        ["a.wav", "a.flac"],
    ],
)
def test_names_of_clips_of_one_recording(fnames: list[str]) -> None:
    others = ["other.wav", "another.wav"]
    recordings = find_recordings(label_table(*fnames, *others), [*fnames, *others])
    assert recordings is not None
    assert recordings[0] == recordings[1]
    assert len(set(recordings)) == 3


@pytest.mark.parametrize(
    "fnames",
    [
        ["00044347.wav", "001ca53d.wav"],
        ["20190512_063000.wav", "20190512_064000.wav"],
        ["site_2018-03-04.wav", "site_2018-03-05.wav"],
        ["dog/1.wav", "dog/2.wav"],
        ["x/rec_1.wav", "y/rec_1.wav"],
        ["1.wav", "2.wav"],
    ],
)
def test_names_of_different_recordings(fnames: list[str]) -> None:
    others = ["other.wav", "another.wav"]
    recordings = find_recordings(label_table(*fnames, *others), [*fnames, *others])
    assert recordings is not None
    assert len(set(recordings)) == 4


@pytest.mark.parametrize("template", ["{label}_{i:03}.wav", "clip_{i:03}.wav", "{label}/clip_{i}.wav"])
def test_counters_without_recordings_are_no_recordings(template: str) -> None:
    rows = [("ab"[i % 2], template.format(label="ab"[i % 2], i=i)) for i in range(40)]
    labels = pd.DataFrame(rows, columns=["label", "fname"], dtype=object)
    assert find_recordings(labels, list(labels["fname"])) is None


def test_shared_sound_is_counted_once_and_reported_with_an_example(caplog: pytest.LogCaptureFixture) -> None:
    fnames = ["r1_1", "r1_2", "r2_1", "copy"]
    held_out = np.array([False, True, False, True])
    copies, recordings = np.array([0, 1, 2, 0]), np.array(["r1", "r1", "r2", "r1"])
    warn_of_shared_sound(fnames, [held_out], "validation", copies, recordings)
    identical, related = caplog.messages
    assert identical.startswith(
        "1 of 2 validation clips are identical to training clips, such as 'copy' and 'r1_1';"
    )
    assert "split --content" in identical
    assert related.startswith("1 of 2 validation clips are named like training clips of the same recording,")
    assert "such as 'r1_2' and 'r1_1'" in related
    assert "--groups COLUMN or --groups-from PATTERN" in related


def test_nothing_is_reported_without_shared_sound(caplog: pytest.LogCaptureFixture) -> None:
    groups = np.array([0, 0, 1, 1])
    warn_of_shared_sound(list("abcd"), [groups == 0, groups == 1], "held-out", groups, groups)
    assert not caplog.messages
    check_one_side(groups, groups)


def test_group_on_two_sides_is_refused() -> None:
    with pytest.raises(InputError, match="in both training and validation: 'x'; use the same option of"):
        check_one_side(np.array(["x", "y", "x"], object), np.array([0, 1, 1]))


def test_identical_files_have_one_key_unless_they_are_silent(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("sub/b", 1), ("c", 2)):
        write_wav(tmp_path / f"{name}.wav", noise(900, seed))
    for name, length in (("d", 900), ("e", 900), ("f", 0), ("g", 0)):
        write_wav(tmp_path / f"{name}.wav", np.zeros(length))
    (tmp_path / "x.wav").write_bytes(b"not audio")
    (tmp_path / "y.wav").write_bytes(b"not audio")
    keys = file_keys(tmp_path, [f"{name}.wav" for name in ("a", "c", "sub/b", "d", "e", "f", "g", "x", "y")])
    assert keys[0] == keys[2] != 0
    assert keys[1] not in (0, keys[0])
    assert keys[3:7].tolist() == [0] * 4
    assert keys[7] == keys[8] != 0


def run_split(caplog: pytest.LogCaptureFixture, *args: object) -> str:
    """Run `split` in this process; return its log."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        split.main([*map(str, args)], standalone_mode=False)
    return "\n".join(caplog.messages)


def write_copies(folder: Path) -> Path:
    """Write ten sounds, three of them twice under unrelated names, and a label file; return the latter."""
    names = [f"{chr(97 + i)}x" for i in range(10)]
    for seed, name in enumerate(names):
        write_wav(folder / "audio" / f"{name}.wav", noise(9000, seed))
    for seed in range(3):
        write_wav(folder / "audio" / f"z{chr(97 + seed)}.wav", noise(9000, seed))
    rows = [f"{path.name},{'pq'[i % 2]}" for i, path in enumerate(sorted((folder / "audio").iterdir()))]
    (folder / "labels.csv").write_text("\n".join(["fname,label", *rows, ""]))
    return folder / "labels.csv"


def test_split_keeps_copies_on_one_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = write_copies(tmp_path)
    extract(tmp_path / "audio", tmp_path / "s.h5", BASELINE)
    for content in (tmp_path / "audio", tmp_path / "s.h5"):
        log = run_split(caplog, labels, tmp_path / "parts", "--folds", 5, "--content", content)
        assert "3 of 13 clips are identical to others, such as 'ax.wav' and 'za.wav'; copies" in log
        for fold in range(1, 6):
            held_out = set(read_fnames(tmp_path / "parts" / f"fold-{fold}" / "validation.csv"))
            for letter in "abc":
                assert (f"{letter}x.wav" in held_out) == (f"z{letter}.wav" in held_out)


def test_split_reports_recordings_on_both_sides_and_keeps_groups_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        f"site{r % 3}_rec{r:02}_{n:03}.wav,{'ab'[r % 2]},rec{r:02}\n" for r in range(12) for n in range(8)
    ]
    labels, parts = tmp_path / "l.csv", tmp_path / "parts"
    labels.write_text("fname,label,recording\n" + "".join(rows))
    log = run_split(caplog, labels, parts, "--fraction", 0.25)
    assert "24 of 24 validation clips are named like training clips of the same recording" in log
    assert "--content FOLDER or STORE keeps them on one side" in log
    for option, value in (("--groups", "recording"), ("--groups-from", "{site}_{rec}_{n}")):
        log = run_split(caplog, labels, parts, "--fraction", 0.25, option, value)
        assert "named like" not in log
        train, validation = (pd.read_csv(parts / f"{name}.csv") for name in ("train", "validation"))
        assert len(validation) == 24
        assert set(train["recording"]).isdisjoint(validation["recording"])


def test_log_level_of_shared_sound_is_warning(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_shared_sound(["a", "b"], [np.array([False, True])], "validation", np.zeros(2))
    assert caplog.records[0].levelno == logging.WARNING
