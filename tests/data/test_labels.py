"""Label files and class maps, with the label files of FSDKaggle2018."""

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, DATA, run_fails, run_ok

from dcase2018.data.labels import (
    class_names,
    labels_per_clip,
    multi_hot,
    read_class_map,
    read_fnames,
    read_labels,
    sample_weights,
    verified_mask,
)
from dcase2018.features.store import Store
from dcase2018.utils.errors import InputError

TRAIN = DATA / "train.csv"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_class_map_of_fsdkaggle2018(tmp_path: Path) -> None:
    out = tmp_path / "class_map.csv"
    assert run_ok("class-map", TRAIN, out) == f"{out}: 41 classes\n"
    assert out.read_bytes() == "".join(f"{i},{name}\n" for i, name in enumerate(CLASSES)).encode()
    assert read_class_map(out) == CLASSES


@pytest.mark.parametrize(
    ("name", "n_rows", "first"),
    [
        ("train.csv", 9473, ("00044347.wav", "Hi-hat")),
        ("train_post_competition.csv", 120, ("00044347.wav", "Hi-hat")),
        ("test_post_competition.csv", 120, ("00326aa9.wav", "Oboe")),
    ],
)
def test_label_files_of_fsdkaggle2018(name: str, n_rows: int, first: tuple[str, str]) -> None:
    labels = read_labels(DATA / name, CLASSES)
    assert len(labels) == n_rows  # without the ignored ones
    assert tuple(labels.iloc[0][["fname", "label"]]) == first
    y_true = multi_hot(labels, CLASSES)
    assert (y_true.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(np.array(CLASSES)[y_true.argmax(axis=1)], labels["label"])


def test_sample_submission_is_not_a_label_file() -> None:
    with pytest.raises(
        InputError, match=r"200 errors:\n  line 2: label 'Laughter Hi-Hat Flute' is not among"
    ):
        read_labels(DATA / "sample_submission.csv", CLASSES)
    assert len(read_fnames(DATA / "sample_submission.csv")) == 200


@pytest.mark.parametrize(
    "text",
    [
        "fname,label\na.wav,Bark\nb.wav,Bus\n",
        "fname,label\r\na.wav,Bark\r\nb.wav,Bus\r\n",
        "\ufefffname,label\na.wav,Bark\nb.wav,Bus",
        "label,extra,fname\nBark,1,a.wav\n\nBus,2,b.wav\n\n",
        'fname,label\n"a.wav","Bark"\nb.wav,Bus\n',
    ],
)
def test_csv_variants(tmp_path: Path, text: str) -> None:
    labels = read_labels(write(tmp_path / "l.csv", text))
    assert labels[["fname", "label"]].to_numpy().tolist() == [["a.wav", "Bark"], ["b.wav", "Bus"]]


def test_multi_label_file(tmp_path: Path) -> None:
    text = 'fname,labels,split\n64760,"Bark,Bus",train\nb.flac,Bus,val\nc.d.wav,"Cough, Bark,Bark",train\n'
    labels = read_labels(write(tmp_path / "l.csv", text))
    assert labels["fname"].tolist() == ["64760.wav", "b.flac", "c.d.wav"]
    assert read_fnames(tmp_path / "l.csv") == labels["fname"].tolist()
    assert labels_per_clip(labels) == [["Bark", "Bus"], ["Bus"], ["Cough", "Bark", "Bark"]]
    assert class_names(labels) == ["Bark", "Bus", "Cough"]
    assert multi_hot(labels, ["Bus", "Cough", "Bark"]).astype(int).tolist() == [
        [1, 0, 1],
        [1, 0, 0],
        [0, 1, 1],
    ]
    text = 'fname,labels\na,"Bark,,Bus"\nb,"Bark,Barks"\nc,\nd,"None,Bark"\na,Bus\n'
    with pytest.raises(InputError) as caught:
        read_labels(write(tmp_path / "l.csv", text), CLASSES)
    assert str(caught.value).split("\n  ") == [
        f"{tmp_path / 'l.csv'}: 5 errors:",
        "line 2: label is empty",
        "line 3: label 'Barks' is not among the 41 classes",
        "line 4: label is empty",
        "line 5: label 'None' looks like an empty field; fill it in, or rename the class",
        "line 6: 'a.wav' is already listed in line 2",
    ]


def test_all_errors_are_listed_with_line_numbers(tmp_path: Path) -> None:
    text = "fname,label,manually_verified\na,Bark,1\nb,Barks,1\na,Bus,0\n,Bus,2\nc,None,0\nd,Bus\ne,,0\n"
    with pytest.raises(InputError) as caught:
        read_labels(write(tmp_path / "l.csv", text), CLASSES)
    assert str(caught.value).split("\n  ") == [
        f"{tmp_path / 'l.csv'}: 7 errors:",
        "line 3: label 'Barks' is not among the 41 classes",
        "line 4: 'a' is already listed in line 2",
        "line 5: fname is empty",
        "line 5: manually_verified is '2'; it must be 0 or 1",
        "line 6: label 'None' looks like an empty field; fill it in, or rename the class",
        "line 7: 2 fields, expected 3",
        "line 8: label is empty",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header must have fname and label; missing: fname, label"),
        ("a.wav,Bark\nb.wav,Bus\n", "line 1: the header must have fname and label"),
        ("fname,verified\na.wav,1\n", "missing: label"),
        ("fname,label\n", "l.csv: no clip has a label"),
        ('fname,label\n"a.wav,Bark\n', "line 2: unexpected end of data"),
        ("fname,label,usage\na.wav,None,Ignored\n", "no clip has a label"),
        ("fname;label\na.wav;Bark\n", "line 1: fields are separated by semicolons; separate them by commas"),
        ("fname\tlabel\na.wav\tBark\n", "line 1: fields are separated by tabs; separate them by commas"),
        ("fname,label\na.wav,Bark\n".encode("utf-16"), "l.csv is UTF-16; save it as UTF-8"),
        ("fname,label,label\na,Bark,Bus\n", "line 1: the column 'label' is duplicated"),
        (
            "fname,label\na,Hi hat\n",
            "label 'Hi hat' contains white space; use Hi_hat",
        ),
        ("fname,label\na,overall\n", "line 2: label 'overall' is reserved for score tables"),
        ("fname,label\na\0b,Bark\n", "line 2: fname 'a\\x00b' contains a NUL character"),
    ],
)
def test_invalid_label_files_raise(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read_labels(write(tmp_path / "l.csv", text))


def test_not_a_regular_file_raises(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match=r"is not a regular file; give a CSV"):
            read_labels(path)


def test_white_space_around_a_label_is_stripped(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path / "l.csv", "fname,label\na, Bark\nb,Bark \nc,Bark\n"))
    assert class_names(labels) == ["Bark"]


def test_empty_manually_verified_is_false(tmp_path: Path) -> None:
    text = "fname,label,manually_verified\na,Bark,\nb,Bark,1\nc,Bark,0\n"
    assert verified_mask(read_labels(write(tmp_path / "l.csv", text))).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("form", "expected"),
    [("1", "1"), ("1.0", "1"), ("True", "1"), ("yes", "1"), ("0.0", "0"), ("FALSE", "0"), ("No", "0")],
)
def test_forms_of_manually_verified(tmp_path: Path, form: str, expected: str) -> None:
    labels = read_labels(write(tmp_path / "l.csv", f"fname,label,manually_verified\na,Bark, {form}\n"))
    assert labels["manually_verified"].tolist() == [expected]
    assert verified_mask(labels).tolist() == [expected == "1"]


def test_empty_values_of_manually_verified_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_labels(write(tmp_path / "l.csv", "fname,label,manually_verified\na,Bark,\nb,Bark,1\nc,Bark,\n"))
    assert "manually_verified is empty for 2 of 3 clips; they count as not verified" in caplog.text


@pytest.mark.parametrize(
    "values", [[1, 0, 0], [1.0, 0.0, np.nan], [True, False, False], ["1.0", "0", ""], ["yes", None, "no"]]
)
def test_manually_verified_of_a_table_that_pandas_read(values: list[object]) -> None:
    labels = pd.DataFrame({"fname": ["a", "b", "c"], "label": "Bark", "manually_verified": values})
    assert verified_mask(labels).tolist() == [True, False, False]
    with pytest.raises(InputError, match="manually_verified is '2'; it must be 0 or 1"):
        verified_mask(labels.assign(manually_verified=2))


def test_labels_and_weights_that_are_no_text_or_number_are_refused() -> None:
    labels = pd.DataFrame({"fname": ["a", "b"], "label": ["Bark", np.nan], "weight": [0.5, np.nan]})
    with pytest.raises(InputError, match=r"label nan of row 1 is not text; use dcase2018.read_labels"):
        class_names(labels)
    with pytest.raises(InputError, match=r"neither a column label nor labels; use dcase2018.read_labels"):
        class_names(labels[["fname"]])
    with pytest.raises(InputError, match=r"the weight of clip 'b' is nan; it must be a number from 0 to 1"):
        sample_weights(labels)


def test_usage_is_read_in_any_case_and_checked(tmp_path: Path) -> None:
    text = "fname,label,usage\na,Bark, ignored\nb,Bark,PRIVATE \nc,Bus,Public\nd,None,Ignored\n"
    labels = read_labels(write(tmp_path / "l.csv", text))
    assert labels[["fname", "usage"]].to_numpy().tolist() == [["b", "Private"], ["c", "Public"]]
    write(tmp_path / "l.csv", "fname,label,usage\na,Bark,Ignore\nb,Bark,\n")
    with pytest.raises(InputError) as caught:
        read_labels(tmp_path / "l.csv")
    assert str(caught.value).split("\n  ") == [
        f"{tmp_path / 'l.csv'}: 2 errors:",
        "line 2: usage is 'Ignore'; it must be Public, Private or Ignored",
        "line 3: usage is ''; it must be Public, Private or Ignored",
    ]


def test_a_clip_by_two_names_is_refused(tmp_path: Path) -> None:
    text = "fname,label\ncat/a.wav,Bark\n./cat/a.wav,Bark\ncat\\b.wav,Bus\nCaf\u00e9,Bus\nCafe\u0301,Bus\n"
    with pytest.raises(InputError) as caught:
        read_labels(write(tmp_path / "l.csv", text))
    assert str(caught.value).split("\n  ")[1:] == [
        "line 3: './cat/a.wav' is already listed in line 2 as 'cat/a.wav'",
        "line 6: 'Cafe\u0301' is already listed in line 5 as 'Caf\u00e9'",
    ]
    labels = read_labels(write(tmp_path / "l.csv", text.replace("./", "./x/").replace("Cafe\u0301", "d")))
    assert labels["fname"].tolist() == ["cat/a.wav", "x/cat/a.wav", "cat/b.wav", "Caf\u00e9", "d"]


def test_labels_in_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    text = "fname,{}\na.wav,M\u00f6we\nb.wav,Mo\u0308we\nc.wav,Amsel\n"
    for column in ("label", "labels"):
        labels = read_labels(write(tmp_path / "l.csv", text.format(column)))
        assert class_names(labels) == ["Amsel", "M\u00f6we"]
    write(tmp_path / "m.csv", "0,Amsel\n1,Mo\u0308we\n")
    assert read_class_map(tmp_path / "m.csv") == ["Amsel", "M\u00f6we"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("0 0.0", "line 3: label '0.0' is written '0' in line 2; write one form"),
        ("7 07", "line 3: label '07' is written '7' in line 2; write one form"),
        ("dog dog\u200b", r"line 3: label 'dog\u200b' is written 'dog' in line 2; write one form"),
        ("nan Bark", "line 2: label 'nan' looks like an empty field; fill it in, or rename the class"),
        ("Bark <NA>", "line 3: label '<NA>' looks like an empty field"),
        ("Bark NULL", "line 3: label 'NULL' looks like an empty field"),
    ],
)
def test_labels_that_look_empty_or_are_one_number_are_refused(
    tmp_path: Path, labels: str, message: str
) -> None:
    first, second = labels.split(" ")
    with pytest.raises(InputError, match=re.escape(message)):
        read_labels(write(tmp_path / "l.csv", f"fname,label\na,{first}\nb,{second}\nc,Owl\n"))


def test_sample_weights_are_numbers_from_0_to_1(tmp_path: Path) -> None:
    text = "fname,label,weight\na,Bark,1\nb,Bark,0.25\nc,Bark,1e-3\n"
    assert sample_weights(read_labels(write(tmp_path / "l.csv", text))).tolist() == [1, 0.25, 0.001]
    assert sample_weights(read_labels(write(tmp_path / "l.csv", "fname,label\na,Bark\n"))) is None
    text = "fname,label,weight\na,Bark,1.5\nb,Bark,\nc,Bark,0\nd,Bark,nan\ne,Bark,much\n"
    with pytest.raises(InputError) as caught:
        read_labels(write(tmp_path / "l.csv", text))
    assert str(caught.value).split("\n  ") == [
        f"{tmp_path / 'l.csv'}: 4 errors:",
        "line 2: weight is '1.5'; it must be a number from 0 to 1",
        "line 3: weight is ''; it must be a number from 0 to 1",
        "line 5: weight is 'nan'; it must be a number from 0 to 1",
        "line 6: weight is 'much'; it must be a number from 0 to 1",
    ]


def test_allow_duplicates_keeps_identical_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "l.csv", "fname,label\na,Bark\nb,Bus\na,Bark\na,Bark\n")
    with pytest.raises(InputError, match=r"2 errors:\n  line 4: 'a' is already listed in line 2\n"):
        read_labels(path)
    assert read_labels(path, allow_duplicates=True)["fname"].tolist() == ["a", "b", "a", "a"]
    assert "l.csv: 2 rows are duplicates; every copy counts" in caplog.text
    write(path, "fname,label\na,Bark\nb,Bus\na,Bus\n")
    with pytest.raises(InputError, match=r"line 4: 'a' is already listed in line 2 with other values$"):
        read_labels(path, allow_duplicates=True)


def test_file_names_that_are_not_utf8_are_preserved(tmp_path: Path) -> None:
    raw = b"fname,label\n\xe9\xff clip.wav,Bark\nsp ace.wav,Bus\n"
    labels = read_labels(write(tmp_path / "l.csv", raw))
    assert labels["fname"][0].encode("utf-8", "surrogateescape") == b"\xe9\xff clip.wav"


@pytest.mark.parametrize("text", ["0,A\n2,B\n", "1,A\n", "0,A,B\n", "index,name\n0,A\n", "0,A\n1,A\n"])
def test_invalid_class_maps_raise(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        read_class_map(write(tmp_path / "m.csv", text))


def test_invalid_label_file_writes_no_output(tmp_path: Path) -> None:
    invalid = write(tmp_path / "bad.csv", "a.wav,Bark\n")
    for command in (("class-map", invalid, tmp_path / "map.csv"), ("split", invalid, tmp_path / "out")):
        assert "the header must have fname and label" in run_fails(2, *command)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_a_store_or_a_workbook_is_not_read_as_a_csv(store: Store) -> None:
    with pytest.raises(InputError, match=r"clips.h5 is an HDF5 file, such as a store; give a CSV"):
        read_labels(store.path)
    workbook = store.path.with_name("labels.xlsx")
    with zipfile.ZipFile(workbook, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(InputError, match=r"labels.xlsx is a workbook or a ZIP archive; give a CSV"):
        read_labels(workbook)
