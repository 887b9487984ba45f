"""Recordings that the page offers to try."""

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from conftest import SERVE, BrowserPage, Server, noise, write_wav

from dcase2018.server.examples import choose_examples


@pytest.fixture
def clips(tmp_path: Path, recordings: Path) -> Path:
    """New clips, and one with the name of a training clip."""
    for name in ("a", "b", "c", "d", "e", "f"):
        write_wav(tmp_path / "clips" / f"{name}.wav", noise(44100, ord(name)))
    (tmp_path / "clips" / "one.wav").write_bytes((recordings / "one.wav").read_bytes())
    return tmp_path / "clips"


def test_examples_are_spread_over_clips_that_no_run_was_trained_on(
    clips: Path, runs: dict[str, Path], recordings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_examples(clips, list(runs.values())) == {
        name: clips / name for name in ("a.wav", "c.wav", "e.wav")
    }
    for name in ("a", "b", "c", "d"):
        (clips / f"{name}.wav").unlink()
    assert list(choose_examples(clips, [runs["baseline"]])) == ["e.wav", "f.wav"]
    without_name = (clips / "f.wav").rename(clips / os.fsdecode(b"\xe4.wav"))
    assert list(choose_examples(clips, [runs["baseline"]])) == ["e.wav", "\ufffd.wav"]
    for path in (clips / "e.wav", without_name):
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert choose_examples(clips, [runs["baseline"]]) == {}
    assert "has no clip that the runs were not trained on" in caplog.text


@pytest.mark.slow
@pytest.mark.browser
def test_example_is_processed_by_a_click(
    clips: Path, runs: dict[str, Path], tmp_path: Path, open_page: Callable[..., BrowserPage]
) -> None:
    server = Server(tmp_path / "served", SERVE, runs["baseline"], "--examples", clips)
    response = requests.get(f"{server.address}/api/examples/1", timeout=10)
    assert response.content == (clips / "c.wav").read_bytes()
    assert requests.get(f"{server.address}/api/examples/3", timeout=10).status_code == 404
    page = open_page(f"{server.address}/").page
    page.get_by_role("button", name="c.wav").click()
    page.locator("#status", has_text="Processed in").wait_for(timeout=60_000)
    assert page.locator("#name").inner_text() == "c.wav"
    (clips / "e.wav").unlink()
    page.get_by_role("button", name="e.wav").click()
    page.get_by_role("alert").filter(has_text="does not exist").wait_for()
    assert server.stop() == 128 + signal.SIGTERM
