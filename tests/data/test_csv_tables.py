"""Forms of CSV files that spreadsheets, pandas and text editors write."""

import re
from pathlib import Path

import pytest

from dcase2018.data.labels import read_fnames, read_labels
from dcase2018.utils.errors import InputError

ROWS = ["Bell0.wav,Bell", "Bell1.wav,Bell", "Cup0.wav,Cup"]


def with_rows(header: str, form: str = "{}") -> str:
    return "\n".join([header, *map(form.format, ROWS)]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        with_rows("fname, label").replace(",", ", "),
        with_rows(" fname ,label\u00a0"),
        with_rows("fname,label,", "{},"),
        with_rows("fname,label,,", "{},,") + ",,,\n,,,\n",
        with_rows("fname,label", "{},,"),
        with_rows("fname,label", " {} "),
        with_rows('"fname","label"'),
        with_rows('"fname", "label"').replace("Cup0.wav,Cup", '"Cup0.wav", "Cup"'),
        with_rows("\ufeff\ufefffname,label"),
        with_rows('\ufeff"fname",label'),
        with_rows(",fname,label", "7,{}"),
    ],
)
def test_white_space_and_empty_columns_are_ignored(tmp_path: Path, text: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(text, encoding="utf-8")
    labels = read_labels(path)
    assert list(labels) == ["fname", "label"]
    assert [f"{fname},{label}" for fname, label in labels.to_numpy()] == ROWS
    assert read_fnames(path) == labels["fname"].tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            with_rows("fname,label,", "{},") + "x.wav,Cup,checked\n",
            "line 5: 'checked' is in a column without",
        ),
        (with_rows("fname,label") + "x.wav,Cup,,7\n", "line 5: 4 fields, expected 2"),
        (with_rows(",fname,label", "seven,{}"), "line 2: 'seven' is in a column without a name"),
        (with_rows("FName,Label"), "missing: fname, label; found: 'FName', 'Label'"),
        ("sep=,\n" + with_rows("fname,label"), "missing: fname, label; found: 'sep='"),
        ("# by hand\n" + with_rows("fname,label"), "missing: fname, label; found: '# by hand'"),
        ("\n".join(ROWS), "missing: fname, label; found: 'Bell0.wav', 'Bell'"),
        (with_rows("fname,label, label", "{},x"), "line 1: the column 'label' is duplicated"),
    ],
)
def test_wrong_headers_and_rows_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "l.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(message)):
        read_labels(tmp_path / "l.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_utf16_and_utf32_are_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "l.csv").write_bytes(with_rows("fname,label").encode(encoding))
    with pytest.raises(InputError, match=r"l.csv is UTF-16; save it as UTF-8"):
        read_labels(tmp_path / "l.csv")


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac_roman", "cp850"])
@pytest.mark.parametrize(("column", "line"), [("label", 3), ("place", 3)])
def test_only_names_of_clips_may_have_bytes_that_are_not_utf8(
    tmp_path: Path, encoding: str, column: str, line: int
) -> None:
    path = tmp_path / "l.csv"
    path.write_bytes(f"fname,{column},x\na.wav,M,1\nb.wav,M\u00f6we,1\nc.wav,M\u00f6we,1\n".encode(encoding))
    message = (
        rf"l.csv: 1 error: line {line}: {column} 'M\ufffdwe' is not UTF-8 \(byte 0x..\); save the file as"
    )
    with pytest.raises(InputError, match=message):
        read_fnames(path)
    path.write_bytes("fname,label\nM\u00f6we.wav,M\u00f6we\n".encode(encoding).replace(b",M", b",A"))
    with pytest.raises(InputError, match=r"label 'A\ufffdwe' is not UTF-8"):
        read_labels(path)
    path.write_bytes("fname,label\nM\u00f6we.wav,gull\n".encode(encoding))
    assert read_labels(path)["fname"][0].encode("utf-8", "surrogateescape") == "M\u00f6we.wav".encode(
        encoding
    )
    path.write_bytes("fname,label,\u00f6\nM.wav,gull,1\n".encode(encoding))
    with pytest.raises(InputError, match=r"line 1: the column '\ufffd' is not UTF-8"):
        read_labels(path)
