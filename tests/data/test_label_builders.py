"""Label files for one's own sounds: folders, names, and the CSVs of other collections."""

import logging
import shutil
from pathlib import Path

import pytest
from conftest import noise, run_fails, run_ok, write_wav
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2018.data.files import list_clips
from dcase2018.data.label_builders import labels_from_csv, labels_from_filenames, labels_from_folders
from dcase2018.data.labels import read_labels, sanitize_class_name, validate_label, write_table
from dcase2018.utils.errors import InputError

# The first rows of the CSVs of ESC-50 and UrbanSound8K, whose columns these are.
ESC50 = """filename,fold,target,category,esc10,src_file,take
1-100032-A-0.wav,1,0,dog,True,100032,A
2-100038-A-14.wav,2,14,chirping_birds,False,100038,A
"""
URBANSOUND8K = """slice_file_name,fsID,start,end,salience,fold,classID,class
100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark
100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing
"""


def sound(path: Path, seed: int = 0) -> None:
    write_wav(path, noise(2000, seed))


def test_subfolders_are_classes_and_spaces_become_underscores(tmp_path: Path) -> None:
    for seed, name in enumerate(("Hi hat/b.wav", "Hi hat/a.WAV", "dog/deep/down/1.flac", "dog/.hidden.wav")):
        sound(tmp_path / "sounds" / name, seed)
    (tmp_path / "sounds" / "dog" / "notes.txt").write_text("no audio")
    said = run_ok("labels", tmp_path / "sounds", tmp_path / "l.csv")
    assert said == f"{tmp_path / 'l.csv'}: 3 clips of 2 classes, 1 to 2 each\n"
    assert (tmp_path / "l.csv").read_text() == (
        "fname,label\nHi hat/a.WAV,Hi_hat\nHi hat/b.wav,Hi_hat\ndog/deep/down/1.flac,dog\n"
    )
    run_ok("extract", tmp_path / "sounds", tmp_path / "s.h5", "--labels", tmp_path / "l.csv")
    assert "clips    3 with" in run_ok("info", tmp_path / "s.h5")


def test_what_is_odd_about_a_folder_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for seed, name in enumerate(("a/1.wav", "a/2.wav", "b/1.wav", "loose.wav", "..c/1.wav")):
        sound(tmp_path / name, seed)
    (tmp_path / "empty").mkdir()
    (tmp_path / ".cache").mkdir()
    with caplog.at_level(logging.WARNING):
        assert labels_from_folders(tmp_path)["label"].tolist() == ["a", "a", "b"]
    assert f"{tmp_path / 'empty'} holds no audio, and is no class" in caplog.text
    assert "left out, for they lie in no class's subfolder: 'loose.wav'" in caplog.text
    assert f"{tmp_path / '..c'} is hidden, and is no class; rename it if it is one" in caplog.text
    assert ".cache" not in caplog.text
    assert "classes with one clip, which can be learned or tested, not both: 'b'" in caplog.text
    message = run_fails(2, "extract", tmp_path / "empty", tmp_path / "s.h5")
    assert "holds no audio" in message
    (tmp_path / "empty" / "deeper").mkdir()
    message = run_fails(2, "extract", tmp_path / "empty", tmp_path / "s.h5")
    assert "clips in its subfolders are named by --labels, and dcase2018 labels writes that file" in message


def test_folders_that_are_refused(tmp_path: Path) -> None:
    sound(tmp_path / "one" / "a" / "1.wav")
    with pytest.raises(InputError, match=r"holds one class, 'a'; a tagger needs two or more"):
        labels_from_folders(tmp_path / "one")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"holds no labelled clip; a tagger needs two or more"):
        labels_from_folders(tmp_path / "none")
    for seed, name in enumerate(("Hi hat/1.wav", "Hi_hat/1.wav")):
        sound(tmp_path / "same" / name, seed)
    with pytest.raises(InputError, match="'Hi hat' and 'Hi_hat' are both the class 'Hi_hat'; rename one"):
        labels_from_folders(tmp_path / "same")
    for seed, name in enumerate(("None/1.wav", "overall/1.wav", "dog/1.wav")):
        sound(tmp_path / "words" / name, seed)
    with pytest.raises(
        InputError, match=r"2 errors: label 'None' is no class\n  label 'overall' is a word of"
    ):
        labels_from_folders(tmp_path / "words")


NAMES = st.text(min_size=1, max_size=20)


@settings(deadline=None)
@given(NAMES)
def test_a_class_may_have_any_name_that_is_left_when_spaces_and_commas_are_gone(text: str) -> None:
    name = sanitize_class_name(text)
    assert sanitize_class_name(name) == name
    assert not set(name) & {" ", ",", "\n", "\u3000"}
    assert [error for error in validate_label(name) if "space" in error or "comma" in error] == []


@pytest.mark.parametrize(
    "name", ["a class", "rain, light", "Größe 犬", "-dash", "c=eq", "d<lt>", 'e"quote', " spaced "]
)
def test_classes_of_odd_names(tmp_path: Path, name: str) -> None:
    sound(tmp_path / "sounds" / name / "1.wav")
    sound(tmp_path / "sounds" / "other" / "1.wav", 1)
    write_table(tmp_path / "l.csv", labels_from_folders(tmp_path / "sounds"))
    labels = read_labels(tmp_path / "l.csv")
    assert dict(zip(labels["fname"], labels["label"], strict=True)) == {
        f"{name}/1.wav": name.strip().replace(", ", "_").replace(" ", "_"), "other/1.wav": "other",
    }  # fmt: skip
    assert list_clips(tmp_path / "sounds", labels["fname"].tolist())[0].path.is_file()


def test_a_clip_in_two_folders_is_refused(tmp_path: Path) -> None:
    for seed, name in enumerate(("a/1.wav", "a/2.wav", "b/1.wav", "b/3.wav")):
        sound(tmp_path / name, seed)  # both 1.wav are of one size, and differ
    assert len(labels_from_folders(tmp_path)) == 4
    shutil.copy(tmp_path / "a" / "2.wav", tmp_path / "b" / "2.wav")
    with pytest.raises(InputError, match=r"1 error: 'a/2\.wav' and 'b/2\.wav' are the same clip; remove one"):
        labels_from_folders(tmp_path)


def test_names_by_a_pattern(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("dog_1.wav", "dog_2_b.wav", "part/cat_1.wav", "README.wav"):
        sound(tmp_path / name)
    labels = labels_from_filenames(tmp_path, "{label}_{rest}.wav")
    assert labels.to_numpy().tolist() == [
        ["dog_1.wav", "dog", "1"], ["dog_2_b.wav", "dog", "2_b"], ["part/cat_1.wav", "cat", "1"],
    ]  # fmt: skip
    assert list(labels) == ["fname", "label", "rest"]
    assert "left out, for they do not fit '{label}_{rest}.wav': 'README.wav'" in caplog.text
    with pytest.raises(InputError, match=r"holds one class, 'cat'"):
        labels_from_filenames(tmp_path, "part/{label}_{rest}.wav")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "has no field {label}, as in {label}_{rest}.wav"),
        ("{rest}.wav", "has no field {label}, as in {label}_{rest}.wav"),
        ("{label}_{label}.wav", "{label} must be a plain name, and stand there once"),
        ("{label.__class__}_{label}.wav", "{label.__class__} must be a plain name"),
        ("{label}_{.wav", "is not understood"),
        ("{label}_{}.wav", "a field is {name}, and nothing else"),
        ("{label!r}.wav", "a field is {name}, and nothing else"),
        ("{label}.flac", "holds no labelled clip"),
    ],
)
def test_patterns_that_are_refused(tmp_path: Path, pattern: str, message: str) -> None:
    sound(tmp_path / "dog_1.wav")
    assert message in run_fails(2, "labels", tmp_path, tmp_path / "l.csv", "--pattern", pattern)


@settings(deadline=None, max_examples=50)
@given(st.text("ab+(.[\\*", min_size=1, max_size=4), st.text("xy1", min_size=1, max_size=4))
def test_a_pattern_means_its_letters(literal: str, label: str) -> None:
    import re

    from dcase2018.data.label_builders import _expression

    expression = _expression(f"{literal}{{label}}{literal}.wav")
    match = re.fullmatch(expression, f"{literal}{label}{literal}.wav")
    assert match is not None
    assert match["label"] == label


def test_the_csvs_of_other_collections(tmp_path: Path) -> None:
    (tmp_path / "esc50.csv").write_text(ESC50)
    (tmp_path / "urban.csv").write_text(URBANSOUND8K)
    run_ok(
        "labels", tmp_path / "esc50.csv", tmp_path / "esc.csv", "--columns", "fname=filename,label=category"
    )
    labels = read_labels(tmp_path / "esc.csv")
    assert list(labels) == ["fname", "label", "fold", "target", "esc10", "src_file", "take"]
    assert labels.iloc[1, :3].tolist() == ["2-100038-A-14.wav", "chirping_birds", "2"]
    run_ok(
        "labels", tmp_path / "urban.csv", tmp_path / "u.csv",
        "--columns", "fname=fold{fold}/{slice_file_name},label=class",
    )  # fmt: skip
    labels = read_labels(tmp_path / "u.csv")
    assert labels["fname"].tolist() == ["fold5/100032-3-0-0.wav", "fold5/100263-2-0-117.wav"]
    assert labels["label"].tolist() == ["dog_bark", "children_playing"]
    assert "fold" in labels


def test_tables_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "esc50.csv"
    path.write_text(ESC50)
    for columns, message in (
        ({"fname": "file", "label": "category"}, "has no column 'file'; it has filename, fold"),
        ({"label": "category"}, "has no column 'fname'; say which it is: --columns fname=COLUMN"),
        ({"fname": "filename"}, "has no column 'label'; say which it is: --columns label=COLUMN"),
        ({"fname": "filename", "label": "take", "labels": "category"}, "give one of them"),
        ({"fname": "filename", "label": "take"}, "holds one class, 'A'; a tagger needs two or more"),
        ({"fname": "take", "label": "category"}, "1 error: line 3: 'A' stands already in line 2"),
    ):
        with pytest.raises(InputError, match=message):
            labels_from_csv(path, columns)
    out = tmp_path / "l.csv"
    assert "is not NAME=COLUMN" in run_fails(2, "labels", path, out, "--columns", "fname")
    assert "names a column twice" in run_fails(2, "labels", path, out, "--columns", "fname=a,fname=b")
    assert "say what its columns mean: --columns fname=" in run_fails(2, "labels", path, out)
    assert "is a folder, and --columns" in run_fails(2, "labels", tmp_path, out, "--columns", "fname=a")
    assert not out.exists()


def test_a_csv_with_several_labels_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "several.csv"
    path.write_text('id,tags\n1,"dog bark, rain"\n2,rain\n')
    labels = labels_from_csv(path, {"fname": "clips/{id}.wav", "labels": "tags"})
    assert labels.to_numpy().tolist() == [["clips/1.wav", "dog_bark,rain", "1"], ["clips/2.wav", "rain", "2"]]


@pytest.mark.slow
def test_from_folders_to_folds_of_a_column(class_folders: Path, tmp_path: Path) -> None:
    labels, store, run = tmp_path / "l.csv", tmp_path / "s.h5", tmp_path / "run"
    run_ok("labels", class_folders, labels, "--pattern", "{label}/{number}.wav")
    rows = labels.read_text().splitlines()
    folds = ["fold", *(str(1 + int(row.split(",")[2]) % 2) for row in rows[1:])]
    labels.write_text("".join(f"{row},{fold}\n" for row, fold in zip(rows, folds, strict=True)))
    run_ok("extract", class_folders, store, "--labels", labels)
    said = run_ok("fit", store, labels, run, "--preset", "quick", "--epochs", 3, "--fold-column", "fold")
    assert float(said.split()[-1]) > 0.9  # of verified clips; by chance 0.61
    assert sorted(path.name for path in run.iterdir()) == ["fold-1", "fold-2", "out_of_fold.csv"]
    message = run_fails(2, "fit", store, labels, tmp_path / "r", "--fold-column", "fold", "--folds", 3)
    assert "give one" in message
