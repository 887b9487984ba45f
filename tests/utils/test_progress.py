"""Progress without a terminal: log lines at intervals, and a bar in a notebook."""

import logging
import sys
import types

import pytest

from dcase2018.utils.progress import Progress


def test_a_line_has_the_count_the_figures_and_the_time_left(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("extract", 40, "clips", done=10, interval=0) as progress:
        progress.started -= 10  # seconds
        progress.update(20, failed=1)
    assert [record.message for record in caplog.records] == ["extract: 30/40 clips, failed=1, 5 s left"]


def test_nothing_is_logged_before_the_interval_has_passed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("extract", 40, "clips", interval=3600) as progress:
        for _ in range(40):
            progress.update(1)
    assert caplog.records == []


@pytest.mark.parametrize(("level", "has_bar"), [(logging.WARNING, True), (logging.ERROR, False)])
def test_a_notebook_shows_a_bar(
    level: int, has_bar: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shell = types.SimpleNamespace(kernel=object(), config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    with caplog.at_level(level, "dcase2018.utils.progress"), Progress("extract", 40, "clips") as progress:
        assert progress.bar.disable == (not has_bar)
