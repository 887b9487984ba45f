"""Label files from class folders, file names and CSVs with other column names."""

import logging
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import noise, run_fails, run_ok, write_wav
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2018.cli.main import main
from dcase2018.data.files import list_clips
from dcase2018.data.label_builders import labels_from_csv, labels_from_filenames, labels_from_folders
from dcase2018.data.label_rules import sanitize_class_name, validate_label
from dcase2018.data.labels import read_labels, write_table
from dcase2018.utils.errors import InputError

# The first rows of the CSVs of ESC-50 (Piczak 2015) and UrbanSound8K (Salamon et al. 2014).
ESC50 = """filename,fold,target,category,esc10,src_file,take
1-100032-A-0.wav,1,0,dog,True,100032,A
2-100038-A-14.wav,2,14,chirping_birds,False,100038,A
"""
URBANSOUND8K = """slice_file_name,fsID,start,end,salience,fold,classID,class
100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark
100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing
"""


def write_clip(path: Path, seed: int = 0) -> None:
    write_wav(path, noise(2000, seed))


def test_subfolders_are_classes(tmp_path: Path) -> None:
    for seed, name in enumerate(("Hi hat/b.wav", "Hi hat/a.WAV", "dog/deep/down/1.flac", "dog/.hidden.wav")):
        write_clip(tmp_path / "sounds" / name, seed)
    (tmp_path / "sounds" / "dog" / "notes.txt").write_text("no audio")
    output = run_ok("make-labels", tmp_path / "sounds", tmp_path / "l.csv")
    assert output == f"{tmp_path / 'l.csv'}: 3 clips, 2 classes, 1 to 2 clips per class\n"
    assert (tmp_path / "l.csv").read_text() == (
        "fname,label\nHi hat/a.WAV,Hi_hat\nHi hat/b.wav,Hi_hat\ndog/deep/down/1.flac,dog\n"
    )
    run_ok("extract", tmp_path / "sounds", tmp_path / "s.h5", "--labels", tmp_path / "l.csv")
    assert "clips    3 with" in run_ok("info", tmp_path / "s.h5")


def test_skipped_files_and_folders_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for seed, name in enumerate(("a/1.wav", "a/2.wav", "b/1.wav", "unassigned.wav", "..c/1.wav")):
        write_clip(tmp_path / name, seed)
    (tmp_path / "empty").mkdir()
    (tmp_path / ".cache").mkdir()
    with caplog.at_level(logging.WARNING):
        assert labels_from_folders(tmp_path)["label"].tolist() == ["a", "a", "b"]
    assert f"skipped {tmp_path / 'empty'}, which has no audio files" in caplog.text
    assert "skipped files outside the class folders: 'unassigned.wav'" in caplog.text
    assert f"skipped the hidden folder {tmp_path / '..c'}; rename it if it is a class" in caplog.text
    assert ".cache" not in caplog.text
    assert "classes with a single clip cannot be in both training and validation: 'b'" in caplog.text
    message = run_fails(2, "extract", tmp_path / "empty", tmp_path / "s.h5")
    assert "has no audio files" in message
    (tmp_path / "empty" / "deeper").mkdir()
    message = run_fails(2, "extract", tmp_path / "empty", tmp_path / "s.h5")
    assert "to include subfolders, list the clips with dcase2018 make-labels and pass --labels" in message


def test_invalid_folders_raise(tmp_path: Path) -> None:
    write_clip(tmp_path / "one" / "a" / "1.wav")
    with pytest.raises(InputError, match=r"has one class, 'a'; a tagger needs at least two classes"):
        labels_from_folders(tmp_path / "one")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"has no labelled clip; a tagger needs at least two classes"):
        labels_from_folders(tmp_path / "none")
    for seed, name in enumerate(("Hi hat/1.wav", "Hi_hat/1.wav")):
        write_clip(tmp_path / "same" / name, seed)
    with pytest.raises(InputError, match="'Hi hat' and 'Hi_hat' are both class 'Hi_hat'; rename or merge"):
        labels_from_folders(tmp_path / "same")
    for seed, name in enumerate(("None/1.wav", "overall/1.wav", "dog/1.wav")):
        write_clip(tmp_path / "words" / name, seed)
    with pytest.raises(
        InputError,
        match=r"2 errors:\n  label 'None' looks like an empty field.*\n  label 'overall' is reserved",
    ):
        labels_from_folders(tmp_path / "words")


NAMES = st.text(min_size=1, max_size=20)


@given(NAMES)
def test_sanitized_class_names_have_no_separators(text: str) -> None:
    name = sanitize_class_name(text)
    assert sanitize_class_name(name) == name
    assert not set(name) & {" ", ",", "\n", "\u3000"}
    assert [error for error in validate_label(name) if "white space" in error or "comma" in error] == []


@pytest.mark.parametrize(
    "name", ["a class", "rain, light", "Größe 犬", "-dash", "c=eq", "d<lt>", 'e"quote', " spaced "]
)
def test_unusual_class_names(tmp_path: Path, name: str) -> None:
    write_clip(tmp_path / "sounds" / name / "1.wav")
    write_clip(tmp_path / "sounds" / "other" / "1.wav", 1)
    write_table(tmp_path / "l.csv", labels_from_folders(tmp_path / "sounds"))
    labels = read_labels(tmp_path / "l.csv")
    assert dict(zip(labels["fname"], labels["label"], strict=True)) == {
        f"{name.strip()}/1.wav": name.strip().replace(", ", "_").replace(" ", "_"), "other/1.wav": "other",
    }  # fmt: skip
    assert list_clips(tmp_path / "sounds", labels["fname"].tolist())[0].path.is_file()


def test_clip_in_two_folders_raises(tmp_path: Path) -> None:
    for seed, name in enumerate(("a/1.wav", "a/2.wav", "b/1.wav", "b/3.wav")):
        write_clip(tmp_path / name, seed)  # both 1.wav have the same size, but different content
    assert len(labels_from_folders(tmp_path)) == 4
    shutil.copy(tmp_path / "a" / "2.wav", tmp_path / "b" / "2.wav")
    with pytest.raises(InputError, match=r"1 error: 'a/2\.wav' and 'b/2\.wav' are the same clip; remove one"):
        labels_from_folders(tmp_path)


def test_pattern_labels_file_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("dog_1.wav", "dog_2_b.wav", "part/cat_1.wav", "README.wav"):
        write_clip(tmp_path / name)
    labels = labels_from_filenames(tmp_path, "{label}_{rest}.wav")
    assert labels.to_numpy().tolist() == [
        ["dog_1.wav", "dog", "1"], ["dog_2_b.wav", "dog", "2_b"], ["part/cat_1.wav", "cat", "1"],
    ]  # fmt: skip
    assert list(labels) == ["fname", "label", "rest"]
    assert "skipped files that do not match '{label}_{rest}.wav': 'README.wav'" in caplog.text
    with pytest.raises(InputError, match=r"has one class, 'cat'"):
        labels_from_filenames(tmp_path, "part/{label}_{rest}.wav")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "has no field {label}, as in {label}_{rest}.wav"),
        ("{rest}.wav", "has no field {label}, as in {label}_{rest}.wav"),
        ("{label}_{label}.wav", "the field {label} must be an identifier, used once"),
        ("{label.__class__}_{label}.wav", "the field {label.__class__} must be an identifier"),
        ("{label}_{.wav", "is not a valid template"),
        ("{label}_{}.wav", "write fields as {name}, without a format"),
        ("{label!r}.wav", "write fields as {name}, without a format"),
        ("{label}.flac", "has no labelled clip"),
    ],
)
def test_invalid_patterns_raise(tmp_path: Path, pattern: str, message: str) -> None:
    write_clip(tmp_path / "dog_1.wav")
    assert message in run_fails(2, "make-labels", tmp_path, tmp_path / "l.csv", "--pattern", pattern)


@settings(max_examples=50)
@given(st.text("ab+(.[\\*", min_size=1, max_size=4), st.text("xy1", min_size=1, max_size=4))
def test_pattern_is_matched_literally(literal: str, label: str) -> None:
    import re

    from dcase2018.data.label_builders import template_regex

    regex = template_regex(f"{literal}{{label}}{literal}.wav", "--pattern")
    match = re.fullmatch(regex, f"{literal}{label}{literal}.wav")
    assert match is not None
    assert match["label"] == label


def test_csvs_of_esc50_and_urbansound8k(tmp_path: Path) -> None:
    (tmp_path / "esc50.csv").write_text(ESC50)
    (tmp_path / "urban.csv").write_text(URBANSOUND8K)
    run_ok(
        "make-labels",
        tmp_path / "esc50.csv",
        tmp_path / "esc.csv",
        "--columns",
        "fname=filename,label=category",
    )
    labels = read_labels(tmp_path / "esc.csv")
    assert list(labels) == ["fname", "label", "fold", "target", "esc10", "src_file", "take"]
    assert labels.iloc[1, :3].tolist() == ["2-100038-A-14.wav", "chirping_birds", "2"]
    run_ok(
        "make-labels", tmp_path / "urban.csv", tmp_path / "u.csv",
        "--columns", "fname=fold{fold}/{slice_file_name},label=class",
    )  # fmt: skip
    labels = read_labels(tmp_path / "u.csv")
    assert labels["fname"].tolist() == ["fold5/100032-3-0-0.wav", "fold5/100263-2-0-117.wav"]
    assert labels["label"].tolist() == ["dog_bark", "children_playing"]
    assert "fold" in labels


def test_invalid_csvs_raise(tmp_path: Path) -> None:
    path = tmp_path / "esc50.csv"
    path.write_text(ESC50)
    for columns, message in (
        ({"fname": "file", "label": "category"}, "has no column 'file'; it has filename, fold"),
        ({"label": "category"}, "has no column 'fname'; map one with --columns fname=COLUMN"),
        ({"fname": "filename"}, "has no column 'label'; map one with --columns label=COLUMN"),
        ({"fname": "filename", "label": "take", "labels": "category"}, "use one of them"),
        ({"fname": "filename", "label": "take"}, "has one class, 'A'; a tagger needs at least two classes"),
        ({"fname": "take", "label": "category"}, "1 error: line 3: 'A' is already listed in line 2"),
    ):
        with pytest.raises(InputError, match=message):
            labels_from_csv(path, columns)
    out = tmp_path / "l.csv"
    assert "must be NAME=COLUMN" in run_fails(2, "make-labels", path, out, "--columns", "fname")
    assert "maps a column twice" in run_fails(2, "make-labels", path, out, "--columns", "fname=a,fname=b")
    assert "map its columns with --columns fname=" in run_fails(2, "make-labels", path, out)
    assert "is a folder; --columns requires a CSV" in run_fails(
        2, "make-labels", tmp_path, out, "--columns", "fname=a"
    )
    assert not out.exists()


def test_a_column_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("file:name,class!,[1]\na.wav,x,7\nb.wav,y,8\n")
    labels = labels_from_csv(path, {"fname": "file:name", "label": "class!"})
    assert labels.to_numpy().tolist() == [["a.wav", "x", "7"], ["b.wav", "y", "8"]]


def test_csv_with_several_labels_per_clip(tmp_path: Path) -> None:
    path = tmp_path / "several.csv"
    path.write_text('id,tags\n1,"dog bark, rain"\n2,rain\n')
    labels = labels_from_csv(path, {"fname": "clips/{id}.wav", "labels": "tags"})
    assert labels.to_numpy().tolist() == [["clips/1.wav", "dog_bark,rain", "1"], ["clips/2.wav", "rain", "2"]]


@pytest.mark.slow
def test_cross_validation_with_folds_from_class_folders(class_folders: Path, tmp_path: Path) -> None:
    labels, store, run = tmp_path / "l.csv", tmp_path / "s.h5", tmp_path / "run"
    run_ok("make-labels", class_folders, labels, "--pattern", "{label}/{number}.wav")
    rows = labels.read_text().splitlines()
    folds = ["fold", *(str(1 + int(row.split(",")[2]) % 2) for row in rows[1:])]
    labels.write_text("".join(f"{row},{fold}\n" for row, fold in zip(rows, folds, strict=True)))
    run_ok("extract", class_folders, store, "--labels", labels)
    output = run_ok("fit", store, labels, run, "--preset", "quick", "--epochs", 3, "--fold-column", "fold")
    map3 = output.splitlines()[-1].split("MAP@3 ")[1].split()[0]
    assert float(map3) > 0.9  # of verified clips; chance level 0.61
    assert sorted(path.name for path in run.iterdir()) == ["fold-1", "fold-2", "out_of_fold.csv"]
    message = run_fails(2, "fit", store, labels, tmp_path / "r", "--fold-column", "fold", "--folds", 3)
    assert "--folds and --fold-column exclude each other" in message


@pytest.mark.parametrize(
    ("parts", "classes"),
    [
        (("train", "valid", "test"), ("cat", "dog")),
        (("fold1", "fold2", "fold3"), ("cat", "dog")),
        (("north", "south"), ("cat", "dog")),
        (("Training", "TESTING"), ("cat",)),
    ],
)
def test_parts_with_the_classes_below_are_refused(
    tmp_path: Path, parts: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    paths = [f"{part}/{label}/{part}.wav" for part in parts for label in classes]
    for seed, path in enumerate(paths):
        write_clip(tmp_path / path, seed)
    named = ", ".join(map(repr, sorted(parts)))
    with pytest.raises(InputError) as caught:
        labels_from_folders(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the subfolders {named} have subfolders themselves: {', '.join(map(repr, classes))}; if"
        " these are the classes, use make-labels --pattern '{part}/{label}/{rest}.wav',"
        " else --pattern '{label}/{part}/{rest}.wav'"
    )
    if len(classes) > 1:
        labels = labels_from_filenames(tmp_path, "{part}/{label}/{rest}.wav")
        assert labels[["fname", "label", "part"]].to_numpy().tolist() == [
            [path, path.split("/")[1], path.split("/")[0]] for path in sorted(paths)
        ]


@pytest.mark.parametrize(
    "paths",
    [
        ("cat/wav/1.wav", "dog/wav/2.wav"),  # one common subfolder holds no classes
        ("cat/a/1.wav", "cat/b/2.wav", "dog/a/3.wav"),
        ("train/a/1.wav", "bus/a/2.wav", "bus/3.wav"),
        ("test/1.wav", "train/2.wav"),
    ],
)
def test_folders_inside_class_folders_are_allowed(tmp_path: Path, paths: tuple[str, ...]) -> None:
    for seed, path in enumerate(paths):
        write_clip(tmp_path / path, seed)
    labels = labels_from_folders(tmp_path)
    assert sorted(labels["fname"]) == sorted(paths)
    assert labels["label"].tolist() == [fname.split("/")[0] for fname in labels["fname"]]


def test_the_classes_in_a_wrapper_folder_are_named(tmp_path: Path) -> None:
    for seed, path in enumerate(("sounds/cat/1.wav", "sounds/dog/1.wav")):
        write_clip(tmp_path / path, seed)
    message = f"the subfolders of 'sounds' are 'cat', 'dog': give {tmp_path / 'sounds'}$"
    with pytest.raises(InputError, match=message):
        labels_from_folders(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            "M\u00f6we",
            "Mo\u0308we",
            r"'Mo\u0308we' and 'M\u00f6we' print alike, and differ in their Unicode form",
        ),
        (
            "M\udcf6we",
            "gull",
            r"the name of the subfolder 'M\ufffdwe' is not UTF-8 \(byte 0xf6\); rename it$",
        ),
        ("dog", "dog\u200b", r"the classes 'dog' and 'dog\\u200b' are one name in two forms; rename one"),
        ("0", "0.0", r"the classes '0' and '0.0' are one name in two forms; rename one"),
        ("nan", "dog", "label 'nan' looks like an empty field; fill it in, or rename the class"),
    ],
)
def test_class_folders_that_are_no_class_names_are_refused(
    tmp_path: Path, first: str, second: str, message: str
) -> None:
    for seed, name in enumerate((first, second)):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        write_clip(tmp_path / "1.wav", seed)
        (tmp_path / "1.wav").rename(tmp_path / "sounds" / name / "1.wav")
    with pytest.raises(InputError, match=message):
        labels_from_folders(tmp_path / "sounds")


def test_labels_are_in_unicode_form_nfc(tmp_path: Path) -> None:
    for seed, name in enumerate(("Mo\u0308we/e\u0301.wav", "Amsel/1.wav")):
        write_clip(tmp_path / name, seed)
    labels = labels_from_folders(tmp_path)
    assert labels.to_numpy().tolist() == [["Amsel/1.wav", "Amsel"], ["M\u00f6we/\u00e9.wav", "M\u00f6we"]]
    labels = labels_from_filenames(tmp_path, "{label}/{rest}.wav")
    assert labels["label"].tolist() == ["Amsel", "M\u00f6we"]


def test_broken_links_are_skipped_and_listed(tmp_path: Path) -> None:
    for seed, name in enumerate(("cat/1.wav", "dog/1.wav")):
        write_clip(tmp_path / "set" / name, seed)
    (tmp_path / "set" / "cat" / "2.wav").symlink_to("nothing")
    result = CliRunner().invoke(main, ["make-labels", str(tmp_path / "set"), str(tmp_path / "l.csv")])
    assert result.exit_code == 3
    assert result.stdout.endswith("skipped: cat/2.wav: a link to nothing, 'nothing' (not fetched?)\n")
    assert read_labels(tmp_path / "l.csv")["fname"].tolist() == ["cat/1.wav", "dog/1.wav"]
