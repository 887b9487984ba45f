"""The decisions file: every row survives, whatever the file name, a crash, or a full disk."""

import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dcase2018.label_quality.review_decisions import Decision, read_decisions
from dcase2018.server.decision_log import DecisionLog
from dcase2018.utils.errors import Dcase2018Error, InputError

# Any text of a file name: bytes that are not UTF-8 are the surrogates from \udc80 to \udcff.
NAMES = st.lists(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from(["\udc80", "\udcff", '"', ",", "\n"])
)
reused_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)


def decide(fname: str, decision: str = "none", label: str = "") -> Decision:
    return Decision(fname, decision, label, "anna", "2026-01-02T03:04:05Z", "issues.csv")


def append(path: Path, *rows: Decision) -> list[Decision]:
    """Append rows; return those that were there."""
    with DecisionLog(path) as log:
        earlier = list(log.rows)
        for row in rows:
            log.append(row)
            assert read_decisions(path) == log.rows  # at once, before the file is closed
    return earlier


@reused_folder
@given(
    st.lists(
        NAMES.map("".join).filter(lambda name: name.strip() == name != "" and "\0" not in name), max_size=5
    )
)
@example(["a\r\nb.wav", "a\rb.wav", '"quoted", ü.wav', "\udcff.wav"])
def test_any_file_name_survives(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "names.csv"
    path.unlink(missing_ok=True)
    rows = [decide(name, "other", "Bark") for name in names]
    assert append(path, *rows) == []
    assert append(path) == rows


def test_file_cut_at_any_byte_keeps_all_complete_rows(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    names = ("a", 'two\n"lines"', "c")
    rows = [Decision(name, "keep", "Bark", "", "", "") for name in names]
    append(path, *rows)
    content = path.read_bytes()
    ends = [len(content) - len(content.split(b"\n", 1)[1])]
    for n_rows in range(1, len(rows) + 1):
        other = tmp_path / f"{n_rows}.csv"
        append(other, *rows[:n_rows])
        ends.append(other.stat().st_size)
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        n_complete = sum(end <= length for end in ends[1:])
        found = append(path, decide("new.wav"))
        assert found[:n_complete] == rows[:n_complete]
        assert [row.fname for row in found[n_complete:]] in ([], [rows[min(n_complete, 2)].fname])
        assert read_decisions(path) == [*found, decide("new.wav")]


def test_incomplete_row_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "decisions.csv"
    append(path, decide("a.wav"))
    with path.open("ab") as file:
        file.write(b"b.wav,none,,an")
    assert append(path) == [decide("a.wav")]
    assert caplog.messages == [f"{path}: an incomplete last row was removed: b'b.wav,none,,an'"]


def test_file_of_a_spreadsheet_program_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    append(path, decide("a.wav"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")[:-2])
    assert append(path, decide("b.wav")) == [decide("a.wav")]
    assert read_decisions(path) == [decide("a.wav"), decide("b.wav")]


def test_other_file_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    for content in ("fname,label\na.wav,Bark", "\n", "fname,decision,label,reviewer,time,source,extra\n"):
        path.write_text(content)
        with pytest.raises(InputError, match="is not a file of decisions; choose another --output"):
            append(path)
        assert path.read_text() == content


def test_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    with DecisionLog(path), pytest.raises(Dcase2018Error, match="being written by another review"):
        DecisionLog(path)
    append(path, decide("a.wav"))  # unlocked


@pytest.mark.parametrize("change", ["replace", "remove", "append"])
def test_file_that_another_program_changed_is_not_written(change: str, tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    with DecisionLog(path) as log:
        log.append(decide("a.wav"))
        content = path.read_bytes()
        if change != "append":
            path.unlink()
        if change != "remove":
            path.write_bytes(content + b"b.wav,none,,ben,,\n" * (change == "append"))
        with pytest.raises(Dcase2018Error, match="was changed by another program"):
            log.append(decide("c.wav"))
        assert log.rows == [decide("a.wav")]


@contextmanager
def max_file_size(n_bytes: int) -> Iterator[None]:
    """Let writes beyond a size fail, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_row_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    with DecisionLog(path) as log:
        log.append(decide("a.wav"))
        content = path.read_bytes()
        with max_file_size(len(content) + 10), pytest.raises(OSError, match="File too large"):
            log.append(decide("b.wav"))
        assert path.read_bytes() == content
        log.append(decide("b.wav"))
    assert read_decisions(path) == [decide("a.wav"), decide("b.wav")]


KILLED = """
import os, signal, sys
from pathlib import Path
from dcase2018.label_quality.review_decisions import Decision
from dcase2018.server.decision_log import DecisionLog
log = DecisionLog(Path(sys.argv[1]))
for number in range(1000):
    log.append(Decision(f"{number}.wav", "none", "", "anna", "", ""))
    print(number, flush=True)
"""


@pytest.mark.slow
def test_killed_process_loses_no_acknowledged_row(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    process = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    acknowledged: Sequence[str] = [process.stdout.readline() for _ in range(20)]
    process.kill()
    acknowledged += re.findall(r"\d+\n", process.communicate()[0])
    fnames = [row.fname for row in append(path)]
    assert fnames[: len(acknowledged)] == [f"{int(line)}.wav" for line in acknowledged]
    assert len(fnames) <= len(acknowledged) + 1
