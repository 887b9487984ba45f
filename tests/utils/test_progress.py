"""Progress where standard error is no terminal: a line now and then."""

import logging

import pytest

from dcase2018.utils.progress import Progress


def test_a_line_tells_count_figures_and_time_left(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("extract", 40, "clips", done=10, every=0) as progress:
        progress.started -= 10  # ten seconds ago
        progress.update(20, bad=1)
    assert [record.message for record in caplog.records] == ["extract: 30/40 clips, bad=1, 5 s left"]


def test_nothing_is_told_before_its_time(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Progress("extract", 40, "clips", every=3600) as progress:
        for _ in range(40):
            progress.update(1)
    assert caplog.records == []
