"""The page in a real browser: nothing is asked elsewhere, and what can be pressed, dropped or said works."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import requests
import soundfile
from conftest import BrowserPage, Server, noise, write_wav

from dcase2018.inference.audio_tagger import AudioTagger

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FileChooser, Page

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture
def opened(server: Server, open_page: Callable[..., BrowserPage]) -> Callable[..., BrowserPage]:
    def opened(**settings: object) -> BrowserPage:
        opened = open_page(f"{server.address}/", **{"viewport": DESKTOP} | settings)
        opened.page.locator("#known").wait_for()
        return opened

    return opened


def hear(page: "Page", path: Path) -> None:
    """Choose a file, and wait for the end of its answer."""
    page.set_input_files("#file", path)
    page.locator("#status", has_text="Heard in").wait_for(timeout=60_000)


def shown_scores(page: "Page", run: int) -> dict[str, float]:
    rows = page.locator("article").nth(run).locator(".best li").all()
    return {
        row.locator(".label").inner_text(): float(str(row.locator("data").get_attribute("value")))
        for row in rows
    }


def position(page: "Page") -> float:
    return float(str(page.locator("#view").get_attribute("aria-valuenow")))


def test_a_file_is_shown_and_told_what_it_is_by_each_run(
    server: Server, opened: Callable[..., BrowserPage], runs: dict[str, Path], recordings: Path
) -> None:
    open_page = opened()
    hear(open_page.page, recordings / "long.wav")
    blob = f"blob:{server.address}/"  # the player reads the file itself, and breaks off when it has enough
    assert [failure for failure in open_page.failures if not failure.startswith(blob)] == []
    assert all(address.startswith((f"{server.address}/", "data:", blob)) for address in open_page.requests)
    assert open_page.page.locator("#name").inner_text() == "long.wav"
    assert open_page.page.locator("#mels").evaluate("(image) => image.naturalWidth") == 1200
    assert open_page.page.locator("article h3").all_inner_texts() == list(runs)
    for number, run in enumerate(runs.values()):
        listener = AudioTagger.open([run])
        scores = listener.scores(recordings / "long.wav")
        shown = shown_scores(open_page.page, number)
        assert list(shown) == [listener.classes[best] for best in np.argsort(-scores)[:3]]
        np.testing.assert_allclose(list(shown.values()), np.sort(scores)[::-1][:3], atol=1e-6)
        assert open_page.page.locator("article").nth(number).locator(".lane").count() == 3


def test_silence_has_no_events(opened: Callable[..., BrowserPage], recordings: Path) -> None:
    page = opened().page
    hear(page, recordings / "silence.wav")
    told = page.locator("article").first.locator(".none")
    assert told.inner_text() == "No class reaches a score of 0.5."
    assert not page.locator("table.events").first.is_visible()


def test_it_is_played_from_where_it_is_pressed(opened: Callable[..., BrowserPage], recordings: Path) -> None:
    page = opened().page
    hear(page, recordings / "long.wav")
    box = page.locator("#view").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    assert position(page) == pytest.approx(10, abs=0.1)
    track = page.locator(".lane .track").first
    box = track.bounding_box()
    assert box
    track.click(position={"x": box["width"] * 0.25, "y": 10})
    assert position(page) == pytest.approx(5, abs=0.1)
    page.locator("#view").focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(1000)
    page.keyboard.press("Space")
    assert 5.3 < position(page) < 7
    assert page.locator("#player").evaluate("(player) => player.paused")


def test_the_keyboard_is_enough(opened: Callable[..., BrowserPage], recordings: Path) -> None:
    page = opened().page
    choosers: list[FileChooser] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached[-2:] == ["file", "record"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    for _ in range(100):
        if choosers:
            break
        page.wait_for_timeout(100)
    choosers[0].set_files(recordings / "long.wav")
    page.locator("#status", has_text="Heard in").wait_for(timeout=60_000)
    page.locator("#view").focus()
    for key, seconds in (("End", 20), ("ArrowLeft", 19.8), ("Home", 0), ("ArrowRight", 0.2), ("PageUp", 2.2)):
        page.keyboard.press(key)
        assert position(page) == pytest.approx(seconds, abs=0.05)
    assert page.locator("#view").get_attribute("aria-valuetext") == "0:02.2 of 0:20.0"


def test_a_file_that_cannot_be_heard_is_told_why(
    opened: Callable[..., BrowserPage], recordings: Path, tmp_path: Path
) -> None:
    page = opened().page
    name = "<img src=x onerror=alert(1)>.wav"
    (tmp_path / name).write_bytes(b"no sound at all " * 100)
    page.set_input_files("#file", tmp_path / name)
    problem = page.get_by_role("alert")
    problem.filter(has_text="cannot be heard").wait_for()
    assert problem.inner_text().startswith(f"{name}: this file cannot be heard: not audio")
    assert page.locator("main img[src='x']").count() == 0
    page.set_input_files("#file", write_wav(tmp_path / "large.wav", np.zeros(2_500_000)))
    problem.filter(has_text="too large").wait_for()
    assert problem.inner_text() == "large.wav is too large: 5 MB; up to 4 MB are taken here"
    hear(page, recordings / "one.wav")
    assert problem.inner_text() == ""


def test_what_takes_long_can_be_cancelled(
    opened: Callable[..., BrowserPage], server: Server, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "long.flac", np.zeros(44100 * 1200, np.int16))
    page = opened().page
    page.set_input_files("#file", path)
    page.locator("#sound").wait_for(timeout=60_000)  # it is shown before all is said
    assert page.locator("#length").inner_text() == "20:00.0"
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#status").inner_text() == ""
    for _ in range(100):
        if not server.held():
            break
        page.wait_for_timeout(100)
    assert not server.held()


def test_a_file_is_dropped(opened: Callable[..., BrowserPage], recordings: Path) -> None:
    page = opened().page
    dropped = page.evaluate_handle(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.wav"));
            return data;
        }""",
        list((recordings / "one.wav").read_bytes()),
    )
    page.dispatch_event("body", "dragover")
    assert page.locator("body.over").count() == 1
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    page.locator("#status", has_text="Heard in").wait_for(timeout=60_000)
    assert page.locator("#name").inner_text() == "dropped.wav"
    assert page.locator("body.over").count() == 0


def test_what_the_browser_cannot_play_is_heard_all_the_same(
    opened: Callable[..., BrowserPage], tmp_path: Path
) -> None:
    page = opened().page
    hear(page, write_wav(tmp_path / "old.aiff", noise(44100 * 5)))
    assert page.locator("#unplayable").is_visible()
    assert len(shown_scores(page, 0)) == 3
    page.locator("#view").press("End")
    assert position(page) == 5
    hear(page, write_wav(tmp_path / "new.wav", noise(44100)))
    assert not page.locator("#unplayable").is_visible()


def test_a_microphone_that_may_not_be_used(opened: Callable[..., BrowserPage]) -> None:
    page = opened().page
    page.get_by_role("button", name="Record").click()
    page.get_by_role("alert").filter(has_text="There is no microphone to record from").wait_for()
    assert page.get_by_role("button", name="Record").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_on_a_phone(
    scheme: str, opened: Callable[..., BrowserPage], recordings: Path
) -> None:
    page = opened(viewport=PHONE, color_scheme=scheme, reduced_motion="reduce").page
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        hear(page, recordings / "long.wav")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 20, 24)"}[scheme]


def test_what_the_microphone_hears_is_scored_as_the_same_samples_in_a_file(
    chromium: "Browser", server: Server, runs: dict[str, Path], tmp_path: Path
) -> None:
    spoken = write_wav(tmp_path / "spoken.wav", noise(48000 * 3) * np.linspace(0.2, 3, 48000 * 3), 48000)
    fake = [
        "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}",
    ]  # fmt: skip
    browser = chromium.browser_type.launch(executable_path=shutil.which("chromium"), args=fake)
    page = browser.new_context(permissions=["microphone"]).new_page()
    page.goto(f"{server.address}/")
    page.locator("#known").wait_for()
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name="Stop (0:03)").click(timeout=30_000)
    page.locator("#status", has_text="Heard in").wait_for(timeout=60_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the recording").click()
    saved = tmp_path / "saved.wav"
    download.value.save_as(saved)
    shown = [shown_scores(page, number) for number in range(len(runs))]
    browser.close()
    samples, _ = soundfile.read(saved)
    assert len(samples) > 100_000
    assert np.abs(samples).max() > 0.2  # something was heard
    for told, (name, run) in zip(shown, runs.items(), strict=True):
        listener = AudioTagger.open([run])
        scores = dict(zip(listener.classes, listener.scores(saved), strict=True))
        answer = requests.post(f"{server.address}/api/tag?run={name}", data=saved.read_bytes(), timeout=60)
        for label, score in told.items():
            assert score == pytest.approx(scores[label], abs=1e-6)
            assert score == pytest.approx(answer.json()["scores"][label], abs=1e-6)
