"""Progress without a terminal: log lines at intervals, and a bar in a notebook."""

import contextlib
import fcntl
import io
import logging
import os
import pty
import re
import struct
import sys
import termios
import types

import pytest

from dcase2018.utils.progress import Progress, terminal_columns


def test_a_line_has_the_count_the_figures_and_the_time_left(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("extract", 40, "clips", done=10) as progress:
        progress.started -= 10  # seconds
        progress.last_logged -= 10
        progress.update(20, failed=1)
    assert [record.message for record in caplog.records] == ["extract: 30/40 clips, failed=1, 5 s left"]


def test_nothing_is_logged_before_the_interval_has_passed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("extract", 40, "clips") as progress:
        for _ in range(40):
            progress.update(1)
    assert caplog.records == []


BAR = """
import logging
from dcase2018.utils.progress import Progress
logging.basicConfig(level=logging.INFO)
with Progress("fit", {total}, "steps", done={done}) as progress:
    progress.bar.mininterval = 0
    for _ in range(2):
        progress.update(200, epoch=123, loss="0.7073", examples="12785/s")
"""


def draw_bar(code: str, columns: int, **environment: str) -> list[str]:
    """Run code on a terminal of this width, 0 for an unknown one; return the lines that it drew."""
    pid, terminal = pty.fork()
    if pid == 0:
        inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        os.execve(sys.executable, [sys.executable, "-c", f"input()\n{code}"], inherited | environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24 * bool(columns), columns, 0, 0))
    os.write(terminal, b"\n")  # the size is set
    output = b""
    with contextlib.suppress(OSError):  # the end of a terminal's output
        while data := os.read(terminal, 65536):
            output += data
    os.waitpid(pid, 0)
    os.close(terminal)
    return [line for line in re.split(r"[\r\n]+", output.decode()) if line.strip()]


@pytest.mark.parametrize(
    ("total", "columns", "environment", "shown"),
    [
        (66000, 100, {}, " steps [00:00 left, epoch=123, loss=0.7073, examples=12785/s]"),
        (660, 80, {}, "[00:00 left, epoch=123, loss=0.7073, examples=12785/s]"),
        (6600000, 80, {}, "epoch=123, loss=0.7073]"),
        (6600000, 0, {"COLUMNS": "80"}, "epoch=123, loss=0.7073]"),
        (6600000, 50, {}, " left]"),
    ],
)
def test_a_bar_fits_in_a_line_and_leaves_out_the_last_figures_first(
    total: int, columns: int, environment: dict[str, str], shown: str
) -> None:
    lines = draw_bar(BAR.format(total=total, done=total // 5), columns, **environment)
    width = columns or int(environment["COLUMNS"])
    assert all(len(line) < width for line in lines)
    last = re.sub(r"\d+:\d+(:\d+)?", "00:00", lines[-1])
    assert last.startswith("fit: ")
    assert last.endswith(shown)


def test_columns_are_those_of_the_environment_or_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "63")
    assert terminal_columns() == 63
    monkeypatch.setenv("COLUMNS", "wide")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert terminal_columns() == 80


@pytest.mark.parametrize(("level", "has_bar"), [(logging.WARNING, True), (logging.ERROR, False)])
def test_a_notebook_shows_a_bar(
    level: int, has_bar: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shell = types.SimpleNamespace(kernel=object(), config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    with caplog.at_level(level, "dcase2018.utils.progress"), Progress("extract", 40, "clips") as progress:
        assert progress.bar.disable == (not has_bar)
