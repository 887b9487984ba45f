"""The page in a real browser: requests, results, player, keyboard, microphone and layout."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import av
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
def open_server_page(server: Server, open_page: Callable[..., BrowserPage]) -> Callable[..., BrowserPage]:
    def open_server_page(**settings: object) -> BrowserPage:
        browser_page = open_page(f"{server.address}/", **{"viewport": DESKTOP} | settings)
        browser_page.page.locator("#classes").wait_for()
        return browser_page

    return open_server_page


def wait_for_results(page: "Page") -> None:
    page.locator("#status", has_text="Processed in").wait_for(timeout=60_000)


def upload(page: "Page", path: Path) -> None:
    """Choose a file, and wait for its results."""
    page.set_input_files("#file", path)
    wait_for_results(page)


def shown_scores(page: "Page", run: int) -> dict[str, float]:
    rows = page.locator("#taggers article").nth(run).locator(".top-classes li").all()
    return {
        row.locator(".label").inner_text(): float(str(row.locator("data").get_attribute("value")))
        for row in rows
    }


def position(page: "Page") -> float:
    return float(str(page.locator("#position").get_attribute("aria-valuenow")))


def test_results_of_each_run_are_shown(
    server: Server, open_server_page: Callable[..., BrowserPage], runs: dict[str, Path], recordings: Path
) -> None:
    browser_page = open_server_page()
    page = browser_page.page
    upload(page, recordings / "long.wav")
    blob = f"blob:{server.address}/"  # the player cancels its request for the file when it has enough
    assert [failure for failure in browser_page.failures if not failure.startswith(blob)] == []
    assert all(url.startswith((f"{server.address}/", "data:", blob)) for url in browser_page.requests)
    assert page.locator("#name").inner_text() == "long.wav"
    assert page.locator("#spectrogram").evaluate("(image) => image.naturalWidth") == 2000
    assert page.locator("#taggers h3").all_inner_texts() == list(runs)
    for i, run in enumerate(runs.values()):
        tagger = AudioTagger.open([run])
        scores = tagger.scores(recordings / "long.wav")
        shown = shown_scores(page, i)
        assert list(shown) == [tagger.classes[label] for label in np.argsort(-scores)[:3]]
        np.testing.assert_allclose(list(shown.values()), np.sort(scores)[::-1][:3], atol=1e-6)
        assert page.locator("#class-tracks article").nth(i).locator(".class-track").count() == 3
    meaning = (
        "The scores of all 3 classes sum to 1, so one of them is at the top even if none of them occurs;"
    )
    assert page.locator("#score-meaning").inner_text().startswith(meaning)


@pytest.mark.parametrize("name", ["silence.wav", "empty.wav"])
def test_silent_recording_has_no_classes(
    name: str, open_server_page: Callable[..., BrowserPage], recordings: Path
) -> None:
    page = open_server_page().page
    upload(page, recordings / name)
    assert page.locator(".top-classes").all_inner_texts() == ["silent", "silent"]
    for part in ("#score-meaning", "#over-time", "#events"):
        assert not page.locator(part).is_visible()
    assert page.locator("#warning").is_visible() == (name == "empty.wav")
    if name == "empty.wav":
        assert page.locator("#warning").inner_text() == "Warning: the recording has no samples."


def test_click_seeks_and_space_plays(open_server_page: Callable[..., BrowserPage], recordings: Path) -> None:
    page = open_server_page().page
    upload(page, recordings / "long.wav")
    box = page.locator("#position").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    assert position(page) == pytest.approx(10, abs=0.1)
    track = page.locator(".class-track .track").first
    box = track.bounding_box()
    assert box
    track.click(position={"x": box["width"] * 0.25, "y": 10})
    assert position(page) == pytest.approx(5, abs=0.1)
    page.locator("#position").focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(1000)
    page.keyboard.press("Space")
    assert 5.3 < position(page) < 7
    assert page.locator("#player").evaluate("(player) => player.paused")


def test_page_works_by_keyboard(open_server_page: Callable[..., BrowserPage], recordings: Path) -> None:
    page = open_server_page().page
    choosers: list[FileChooser] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    focused = []
    for _ in range(4):
        page.keyboard.press("Tab")
        focused.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert focused[-2:] == ["file", "record"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    for _ in range(100):
        if choosers:
            break
        page.wait_for_timeout(100)
    choosers[0].set_files(recordings / "long.wav")
    wait_for_results(page)
    page.locator("#position").focus()
    for key, seconds in (("End", 20), ("ArrowLeft", 19.8), ("Home", 0), ("ArrowRight", 0.2), ("PageUp", 2.2)):
        page.keyboard.press(key)
        assert position(page) == pytest.approx(seconds, abs=0.05)
    assert page.locator("#position").get_attribute("aria-valuetext") == "0:02.2 of 0:20.0"


def test_error_of_an_invalid_file_is_shown(
    open_server_page: Callable[..., BrowserPage], recordings: Path, tmp_path: Path
) -> None:
    page = open_server_page().page
    name = "<img src=x onerror=alert(1)>.wav"
    (tmp_path / name).write_bytes(b"not an audio file " * 100)
    page.set_input_files("#file", tmp_path / name)
    alert = page.get_by_role("alert")
    alert.filter(has_text="not audio").wait_for()
    assert alert.inner_text() == f"{name}: the file is not audio of a known format: no decoder accepts it"
    assert page.locator("main img[src='x']").count() == 0
    page.set_input_files("#file", write_wav(tmp_path / "large.wav", np.zeros(2_500_000)))
    alert.filter(has_text="too large").wait_for()
    assert alert.inner_text() == "large.wav is too large: 5 MB; the limit is 4 MB"
    (tmp_path / "nothing.wav").touch()
    page.set_input_files("#file", tmp_path / "nothing.wav")
    alert.filter(has_text="empty").wait_for()
    assert alert.inner_text() == "nothing.wav: the file is empty"
    upload(page, recordings / "one.wav")
    assert alert.inner_text() == ""


def test_request_can_be_cancelled(
    open_server_page: Callable[..., BrowserPage], server: Server, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "long.flac", np.zeros(44100 * 1200, np.int16))
    page = open_server_page().page
    page.set_input_files("#file", path)
    page.locator("#result").wait_for(timeout=60_000)  # the preview is shown before the scores
    assert page.locator("#length").inner_text() == "20:00.0"
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#status").inner_text() == ""
    for _ in range(100):
        if not server.open_uploads():
            break
        page.wait_for_timeout(100)
    assert not server.open_uploads()


def test_incomplete_file_is_reported(
    open_server_page: Callable[..., BrowserPage], recordings: Path, tmp_path: Path
) -> None:
    content = (recordings / "long.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])
    page = open_server_page().page
    upload(page, tmp_path / "cut.wav")
    expected = "Warning: the file is incomplete: header promises 20.0 s, 10.0 s are there."
    assert page.locator("#warning").inner_text() == expected


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("webm", "libopus")])
def test_compressed_formats_are_accepted(
    suffix: str, codec: str, open_server_page: Callable[..., BrowserPage], tmp_path: Path
) -> None:
    path = tmp_path / f"noise.{suffix}"
    with av.open(str(path), "w", format={"m4a": "ipod"}.get(suffix, suffix)) as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise(96000).astype(np.float32)[None], "fltp", "mono")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode()])
    page = open_server_page().page
    assert f".{suffix}" in str(page.locator("#file").get_attribute("accept"))
    upload(page, path)
    assert page.locator("#length").inner_text().startswith("0:02.0")
    assert len(shown_scores(page, 0)) == 3


def test_only_one_file_can_be_dropped(open_server_page: Callable[..., BrowserPage]) -> None:
    page = open_server_page().page
    dropped = page.evaluate_handle(
        """() => {
            const data = new DataTransfer();
            for (const name of ["a.wav", "b.wav"]) data.items.add(new File(["x"], name));
            return data;
        }"""
    )
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    assert page.get_by_role("alert").inner_text() == "2 files were dropped; drop one at a time"


def test_file_can_be_dropped(open_server_page: Callable[..., BrowserPage], recordings: Path) -> None:
    page = open_server_page().page
    dropped = page.evaluate_handle(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.wav"));
            return data;
        }""",
        list((recordings / "one.wav").read_bytes()),
    )
    page.dispatch_event("body", "dragover")
    assert page.locator("body.dragging").count() == 1
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    wait_for_results(page)
    assert page.locator("#name").inner_text() == "dropped.wav"
    assert page.locator("body.dragging").count() == 0


def test_format_that_the_browser_cannot_play(
    open_server_page: Callable[..., BrowserPage], tmp_path: Path
) -> None:
    page = open_server_page().page
    upload(page, write_wav(tmp_path / "old.aiff", noise(44100 * 5)))
    assert page.locator("#unplayable").is_visible()
    assert len(shown_scores(page, 0)) == 3
    page.locator("#position").press("End")
    assert position(page) == 5
    upload(page, write_wav(tmp_path / "new.wav", noise(44100)))
    assert not page.locator("#unplayable").is_visible()


def test_microphone_without_permission(open_server_page: Callable[..., BrowserPage]) -> None:
    page = open_server_page().page
    page.get_by_role("button", name="Record").click()
    page.get_by_role("alert").filter(has_text="The microphone cannot be used").wait_for()
    assert page.get_by_role("button", name="Record").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_layout_on_a_phone(
    scheme: str, open_server_page: Callable[..., BrowserPage], recordings: Path
) -> None:
    page = open_server_page(viewport=PHONE, color_scheme=scheme, reduced_motion="reduce").page
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        upload(page, recordings / "long.wav")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 20, 24)"}[scheme]


def test_recorded_audio_has_the_scores_of_the_saved_file(
    chromium: "Browser", server: Server, runs: dict[str, Path], tmp_path: Path
) -> None:
    source = write_wav(tmp_path / "source.wav", noise(48000 * 3) * np.linspace(0.2, 3, 48000 * 3), 48000)
    arguments = [
        "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={source}",
    ]  # fmt: skip
    browser = chromium.browser_type.launch(executable_path=shutil.which("chromium"), args=arguments)
    page = browser.new_context(permissions=["microphone"]).new_page()
    page.goto(f"{server.address}/")
    page.locator("#classes").wait_for()
    n_starts = page.evaluate(
        """() => {
            const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            let count = 0;
            navigator.mediaDevices.getUserMedia = (options) => (count++, getUserMedia(options));
            for (let i = 0; i < 2; i++) document.getElementById("record").click(); // a double click
            return count;
        }"""
    )
    assert n_starts == 1
    page.get_by_role("button", name="Stop (0:03)").click(timeout=30_000)
    wait_for_results(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the recording").click()
    saved = tmp_path / "saved.wav"
    download.value.save_as(saved)
    shown = [shown_scores(page, i) for i in range(len(runs))]
    browser.close()
    samples, _ = soundfile.read(saved)
    assert len(samples) > 100_000
    assert np.abs(samples).max() > 0.2  # not silent
    for shown_of_run, (name, run) in zip(shown, runs.items(), strict=True):
        tagger = AudioTagger.open([run])
        scores = dict(zip(tagger.classes, tagger.scores(saved), strict=True))
        response = requests.post(f"{server.address}/api/tag?run={name}", data=saved.read_bytes(), timeout=60)
        for label, score in shown_of_run.items():
            assert score == pytest.approx(scores[label], abs=1e-6)
            assert score == pytest.approx(response.json()["scores"][label], abs=1e-6)
