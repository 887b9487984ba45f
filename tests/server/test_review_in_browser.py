"""The page of review in a real browser, driven by keyboard: decisions, reload, undo, crash, and layout."""

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import requests
import soundfile
from conftest import BrowserPage, Server
from review_corpus import LISTED, ReviewCorpus, make_review_corpus

from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.label_quality.review_decisions import Decision, read_decisions, valid_decisions
from dcase2018.server.review_session import clip_id

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
MAIN = "from dcase2018.cli.main import main"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ReviewCorpus:
    return make_review_corpus(tmp_path_factory.mktemp("review"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "decisions.csv"


def start_server(folder: Path, corpus: ReviewCorpus, runs: dict[str, Path], output: Path) -> Server:
    inputs = (corpus.labels, corpus.issues, runs["baseline"], "--audio", corpus.audio, "-o", output)
    return Server(folder, MAIN, *inputs, "--reviewer", "anna", name="review")


@pytest.fixture(scope="module")
def unchanged_review(
    corpus: ReviewCorpus, runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A review for tests that decide nothing."""
    folder = tmp_path_factory.mktemp("unchanged")
    server = start_server(folder, corpus, runs, folder / "decisions.csv")
    yield server
    assert server.stop() == 128 + signal.SIGTERM
    message = f"dcase2018: stopped; {folder}/decisions.csv has the decisions on 0 of 20 clips\n"
    assert server.errors.read_text() == f"loading the tagger ...\n{message}"


@pytest.fixture
def start_review(
    corpus: ReviewCorpus, runs: dict[str, Path], output: Path, tmp_path: Path
) -> Iterator[Callable[[], Server]]:
    servers: list[Server] = []

    def start_review() -> Server:
        servers.append(start_server(tmp_path / f"server-{len(servers)}", corpus, runs, output))
        return servers[-1]

    yield start_review
    for server in servers:
        if server.process.poll() is None:
            assert server.stop() == 128 + signal.SIGTERM


def wait_for_clip(page: "Page", number: int) -> None:
    """Wait until the clip of this number is shown and can be played."""
    page.locator("#place", has_text=f"clip {number} of 20").wait_for()
    page.locator("#result:not(.loading)").wait_for()
    page.locator("#player[src^='blob:']").wait_for(state="attached")


def valid(output: Path) -> list[tuple[str, str, str]]:
    return [(row.fname, row.decision, row.label) for row in valid_decisions(read_decisions(output))]


def choose_class(page: "Page", text: str) -> None:
    page.keyboard.press("c")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def test_twenty_decisions_by_keyboard(
    start_review: Callable[[], Server], open_page: Callable[..., BrowserPage], output: Path
) -> None:
    server = start_review()
    browser_page = open_page(f"{server.address}/", viewport=DESKTOP)
    page = browser_page.page
    expected = []
    for number, fname in enumerate(LISTED):
        wait_for_clip(page, number + 1)
        if number == 7:
            page.reload()  # continues at the same clip
            wait_for_clip(page, 8)
        if number == 12:  # undo goes back, and the clip is decided again
            page.keyboard.press("u")
            wait_for_clip(page, 12)
            assert page.locator("#status").inner_text() == f"{LISTED[11]}: undone"
            page.keyboard.press("x")
            expected[-1] = (LISTED[11], "none", "")
            wait_for_clip(page, 13)
        action = ("k", "a", "c", "x", "s")[number % 5]
        proposal = page.locator("#proposal").inner_text()
        if action == "c":
            choose_class(page, "2")
        else:
            page.keyboard.press(action)
        expected.append(
            (fname, *{"k": ("keep", "c0"), "a": ("accept", proposal), "c": ("other", "c2"), "x": ("none", ""),
             "s": ("skip", "")}[action])
        )  # fmt: skip
    page.locator("#finished").wait_for()
    assert valid(output) == expected
    assert len(read_decisions(output)) == 22
    assert {proposal for _, decision, proposal in expected if decision == "accept"} <= {"c1", "c2"}
    assert page.locator("#finished-summary").inner_text() == "4 of 20 clips were skipped."
    assert page.locator("#pace").inner_text().startswith("16 of 20 decided, 4 skipped")
    page.locator("#skipped").press("Enter")
    for number in (5, 10, 15, 20):
        wait_for_clip(page, number)
        page.keyboard.press("k")
    page.locator("#finished").wait_for()
    assert page.locator("#finished-summary").inner_text() == "No clip was skipped."
    own = (f"{server.address}/", "data:", f"blob:{server.address}/")
    assert all(url.startswith(own) for url in browser_page.requests)
    failures = [failure for failure in browser_page.failures if not failure.startswith("blob:")]
    assert [failure for failure in failures if "ERR_ABORTED" not in failure] == []  # by the reload


def test_clip_has_its_audio_scores_and_examples(
    unchanged_review: Server, open_page: Callable[..., BrowserPage],
    corpus: ReviewCorpus, runs: dict[str, Path],
) -> None:  # fmt: skip
    for fname in LISTED[:8]:
        address = f"{unchanged_review.address}/api/clips/{clip_id(fname)}"
        response = requests.get(f"{address}/audio", timeout=60)
        assert response.headers["content-type"] == "audio/flac"
        expected, _ = soundfile.read(os.fsencode(corpus.audio / fname), dtype="int16")
        samples, rate = soundfile.read(io.BytesIO(response.content), dtype="int16")
        np.testing.assert_array_equal(samples, expected)
        assert rate == 44100
    page = open_page(f"{unchanged_review.address}/", viewport=DESKTOP).page
    wait_for_clip(page, 1)
    tagger = AudioTagger.open([runs["baseline"]])
    scores = tagger.scores(corpus.audio / LISTED[0])
    shown = page.locator("#scores li").all()
    assert [row.locator(".label").inner_text() for row in shown] == [
        tagger.classes[i] for i in np.argsort(-scores)
    ]
    assert float(str(shown[0].locator("data").get_attribute("value"))) == pytest.approx(
        scores.max(), abs=1e-6
    )
    assert page.locator("#spectrogram").evaluate("(image) => image.naturalWidth") > 10
    assert page.locator("#freq-axis span").all_inner_texts()[0] == "250 Hz"
    assert page.locator("#time-axis span").all_inner_texts()[:3] == ["0:00.00", "0:00.02", "0:00.04"]
    assert (
        page.get_by_role("button", name="Play verified clip 1 of c0").get_attribute("aria-keyshortcuts")
        == "1"
    )
    assert page.locator(".examples button").count() == 6
    page.keyboard.press("4")
    page.locator("#proposal-examples .playing").wait_for()
    page.locator("#proposal-examples .playing").wait_for(state="detached")  # at its end
    page.keyboard.press("Space")
    page.locator("#position:not([aria-valuenow='0.00'])").wait_for()


def test_clip_that_cannot_be_read_shows_the_reason_and_no_picture(
    unchanged_review: Server, open_page: Callable[..., BrowserPage]
) -> None:
    page = open_page(f"{unchanged_review.address}/", viewport=DESKTOP).page
    wait_for_clip(page, 1)
    error = {"error": "the file cannot be read: truncated"}
    page.route(f"**/api/clips/{clip_id(LISTED[-1])}", lambda route: route.fulfill(status=422, json=error))
    page.keyboard.press("p")  # to the last clip
    page.get_by_role("alert").filter(has_text=f"decided, but not played: {error['error']}").wait_for()
    assert not page.locator("#spectrogram").is_visible()
    assert page.get_by_role("button", name="Keep c0").is_enabled()


def test_keys_that_are_held_or_typed_decide_nothing(
    start_review: Callable[[], Server], open_page: Callable[..., BrowserPage], output: Path
) -> None:
    page = open_page(f"{start_review().address}/", viewport=DESKTOP).page
    wait_for_clip(page, 1)
    page.keyboard.press("c")
    page.keyboard.type("xsku none")
    assert page.locator("#matches").inner_text() == "no class has this in its name"
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.down("k")
    for _ in range(5):
        page.keyboard.down("k")  # repeats
    page.keyboard.up("k")
    wait_for_clip(page, 2)
    page.get_by_role("button", name="None of the classes").dblclick()
    wait_for_clip(page, 3)
    assert [row[1] for row in valid(output)] == ["keep", "none"]


def test_focus_is_visible_and_buttons_work_by_keyboard(
    start_review: Callable[[], Server], open_page: Callable[..., BrowserPage], output: Path
) -> None:
    page = open_page(f"{start_review().address}/", viewport=DESKTOP).page
    wait_for_clip(page, 1)
    names = []
    for _ in range(20):
        page.keyboard.press("Tab")
        focused = page.evaluate_handle("document.activeElement").as_element()
        assert focused
        if focused.evaluate("element => element.matches('button')"):
            assert focused.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
            names.append(focused.inner_text().split("\n")[-1])
            if names[-1].endswith("Skip"):
                break
    assert len(names) == 6 + 5
    page.keyboard.press("Space")
    wait_for_clip(page, 2)
    assert [row[1] for row in valid(output)] == ["skip"]
    assert page.evaluate("document.activeElement.id") == "name"  # a screen reader announces the clip


def test_two_windows_and_a_killed_server_lose_nothing(
    start_review: Callable[[], Server], open_page: Callable[..., BrowserPage], output: Path
) -> None:
    server = start_review()
    pages = [open_page(f"{server.address}/", viewport=DESKTOP).page for _ in range(2)]
    for page in pages:
        wait_for_clip(page, 1)
    pages[0].keyboard.press("k")
    wait_for_clip(pages[0], 2)
    pages[1].get_by_role("button", name="None of the classes").dispatch_event("click")
    alert = pages[1].get_by_role("alert")
    alert.filter(has_text="Not saved: the clip was decided in another window.").wait_for()
    pages[1].locator("#decided", has_text="Decided: keep c0").wait_for()
    pages[0].keyboard.press("x")
    wait_for_clip(pages[0], 3)
    server.process.kill()
    server.process.wait()
    pages[0].keyboard.press("k")
    pages[0].get_by_role("alert").filter(has_text="Not saved: the connection to the server failed").wait_for()
    assert pages[0].locator("#place").inner_text() == "clip 3 of 20"
    assert valid(output) == [(LISTED[0], "keep", "c0"), (LISTED[1], "none", "")]
    page = open_page(f"{start_review().address}/", viewport=DESKTOP).page
    wait_for_clip(page, 3)
    assert all(isinstance(row, Decision) for row in read_decisions(output))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_layout_of_review_on_a_phone(
    scheme: str, unchanged_review: Server, open_page: Callable[..., BrowserPage]
) -> None:
    page = open_page(f"{unchanged_review.address}/", viewport=PHONE, color_scheme=scheme).page
    wait_for_clip(page, 1)
    page.get_by_role("button", name="Another class").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 20, 24)"}[scheme]
