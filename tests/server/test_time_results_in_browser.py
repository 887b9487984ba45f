"""Scores over time, events, their files, and zoom in a real browser, of recordings with known results."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import BrowserPage, Server

from dcase2018.data.files import AudioFile
from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.inference.batch_tagging import freq_range
from dcase2018.inference.event_detection import EventConfig, detect_events
from dcase2018.inference.output_formats import OUTPUT_FORMATS, TaggingResult

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
CLASSES = [f"class_{i}" for i in range(12)]
SECONDS = 20
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="


def response_lines(scores: list[dict[str, float]], events: list[list[tuple[float, float, str]]]) -> str:
    """Return a response for each run with these scores, and these events at all thresholds up to 0.5."""
    preview = {"seconds": SECONDS, "warning": "", "peaks": [0.5] * 100, "spectrogram": PIXEL}
    lines: list[dict[str, Any]] = [{"preview": preview | {"freq_ticks": [[1000, 0.4]]}}]
    for run, values in enumerate(scores):
        lines.append({"run": run, "scores": dict.fromkeys(CLASSES, 0.0) | values, "is_silent": False})
    for run, rows in enumerate(events):
        found = [{"onset": a, "offset": b, "label": label, "score": 0.5} for a, b, label in rows]
        lines.append(
            {
                "run": run,
                "boundaries": list(range(SECONDS + 1)),
                "class_scores": {label: [0.25] * SECONDS for label in CLASSES},
                "detections": [
                    {"threshold": i / 20, "events": found if i <= 10 else [], "n_more": 0}
                    for i in range(2, 19)
                ],
                "freq_range": [0, 22050],
            }
        )
    return "".join(json.dumps(line) + "\n" for line in [*lines, {"end": True}])


@pytest.fixture
def upload_with_response(
    server: Server, open_page: Callable[..., BrowserPage], recordings: Path
) -> Callable[..., "Page"]:
    """Open the page for two runs, and show a recording whose response is given."""

    def upload_with_response(response: str, **settings: Any) -> "Page":
        def runs(route: "Route") -> None:
            names = [{"name": name, "classes": CLASSES, "score_meaning": "Scores."} for name in ("a", "b")]
            route.fulfill(
                json={"runs": names, "limits": {"bytes": 4_000_000, "seconds": 14400}, "examples": []}
            )

        page = open_page("about:blank", **{"viewport": DESKTOP} | settings).page
        page.route("**/api/runs", runs)
        page.route("**/api/stream", lambda route: route.fulfill(body=response))
        page.goto(f"{server.address}/")
        page.set_input_files("#file", recordings / "long.wav")
        page.locator("#status", has_text="Processed in").wait_for()
        return page

    return upload_with_response


SCORES = [
    {"class_3": 0.6, "class_1": 0.2, "class_5": 0.1},
    {"class_3": 0.5, "class_7": 0.4, "class_1": 0.05},
]
EVENTS = [
    [(0.0, 1.0, "class_3"), (1.0, 2.0, "class_9"), (4.0, 6.0, "class_0"), (5.0, 5.5, "class_11")],
    [(1.0, 3.5, "class_9"), (2.0, 3.0, "class_2"), (8.0, 9.0, "class_4"), (12.0, 20.0, "class_7")],
]


def shown_classes(page: "Page") -> list[list[str]]:
    runs = page.locator("#class-tracks article").all()
    return [run.locator(".class-track .label").all_inner_texts() for run in runs]


def test_runs_have_the_same_classes_in_the_same_order(upload_with_response: Callable[..., "Page"]) -> None:
    page = upload_with_response(response_lines(SCORES, EVENTS))
    top_of_both = ["class_3", "class_7", "class_1", "class_5"]
    most_event_time = ["class_9", "class_0", "class_2", "class_4"]
    assert shown_classes(page) == [top_of_both + most_event_time] * 2
    assert page.locator("#class-count").inner_text() == "8 of 12 classes"
    page.get_by_role("button", name="Show all 12").click()
    first, second = shown_classes(page)
    assert first == second
    assert first[:4] == top_of_both
    assert sorted(first) == sorted(CLASSES)
    assert page.locator("#class-count").inner_text() == "12 of 12 classes"
    page.get_by_role("button", name="Show fewer").click()
    assert page.locator("#class-count").inner_text() == "8 of 12 classes"


def test_classes_without_events_are_left_out(upload_with_response: Callable[..., "Page"]) -> None:
    page = upload_with_response(response_lines(SCORES, EVENTS))
    page.locator("#threshold").fill("0.6")
    assert page.locator("#class-count").inner_text() == "4 of 12 classes"
    assert page.locator(".no-events").all_inner_texts() == ["No class reaches a score of 0.60."] * 2
    assert not page.locator(".downloads").first.is_visible()


def test_events_are_counted_and_filtered_by_class(upload_with_response: Callable[..., "Page"]) -> None:
    page = upload_with_response(response_lines(SCORES, EVENTS))
    counts = page.locator(".event-count")
    assert counts.all_inner_texts() == ["4 events", "4 events"]
    options = page.locator("#class-filter option").all_inner_texts()
    assert options == ["all classes", *(f"class_{i}" for i in (0, 2, 3, 4, 7, 9, 11))]
    page.locator("#class-filter").select_option("class_7")
    assert counts.all_inner_texts() == ["0 of 4 events", "1 of 4 events"]
    assert page.locator(".no-events").first.inner_text() == "class_7 does not reach a score of 0.50."
    assert page.locator("tbody").nth(1).locator("td").all_inner_texts() == [
        "class_7", "0:12.000", "0:20.000", "0.500",
    ]  # fmt: skip


def test_many_events_are_cut_in_the_page_only(
    upload_with_response: Callable[..., "Page"], tmp_path: Path
) -> None:
    many = [(i / 100, i / 100 + 0.005, "class_1") for i in range(501)]
    page = upload_with_response(response_lines(SCORES, [many, []]).replace('"n_more": 0', '"n_more": 7'))
    assert page.locator("tbody").first.locator("tr").count() == 500
    assert page.locator(".more-events").first.inner_text() == (
        "and 1 more, which the files contain. 7 later events are left out; dcase2018 tag writes all of them."
    )
    rows = download(page, 0, "CSV", tmp_path)[1].splitlines()
    assert len(rows) == 502
    assert rows[-1] == "long.wav,5.000,5.005,class_1,0.500000"


def download(page: "Page", run: int, name: str, folder: Path) -> tuple[str, str]:
    """Return the name and the content of a file of events."""
    with page.expect_download() as info:
        page.locator("#event-lists article").nth(run).get_by_role("button", name=name, exact=True).click()
    info.value.save_as(folder / "download")
    return info.value.suggested_filename, (folder / "download").read_text()


def test_event_files_are_those_of_tag(
    server: Server,
    open_page: Callable[..., BrowserPage],
    runs: dict[str, Path],
    recordings: Path,
    tmp_path: Path,
) -> None:
    page = open_page(f"{server.address}/").page
    page.set_input_files("#file", recordings / "long.wav")
    page.locator("#status", has_text="Processed in").wait_for(timeout=60_000)
    page.locator("#threshold").fill("0.35")
    tagger = AudioTagger.open([runs["logmel96"]])
    windows = tagger.window_scores(recordings / "long.wav")
    events = detect_events(windows, tagger.classes, EventConfig(threshold=0.35))
    assert events
    bounds = freq_range([run.feature_config for run in tagger.runs], 44100)
    file = AudioFile("long.wav", Path("long.wav"), 0, 0)
    result = TaggingResult(file, tagger.classes, windows, events, bounds)
    for name, suffix in (("Audacity", "txt"), ("Raven", "selections.txt")):
        output_format = OUTPUT_FORMATS[name.lower()]
        lines = [*output_format.header(tagger.classes, True), *output_format.rows(result)]
        fname, content = download(page, 0, name, tmp_path)
        assert fname == f"logmel96.long.{suffix}"
        assert content.splitlines() == lines
    fname, content = download(page, 0, "CSV", tmp_path)
    assert fname == "logmel96.long.csv"
    header, *rows = (line.split(",") for line in content.splitlines())
    assert header == ["fname", "onset", "offset", "label", "score"]
    for (clip, onset, offset, label, score), event in zip(rows, events, strict=True):
        assert (clip, label) == ("long.wav", event.label)
        np.testing.assert_allclose([float(onset), float(offset)], [event.onset, event.offset], atol=6e-4)
        assert float(score) == pytest.approx(event.score, abs=1e-6)


def ticks(page: "Page") -> list[str]:
    return page.locator("#time-axis span").all_inner_texts()


def x_range(page: "Page", selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    assert box
    return box["x"], box["x"] + box["width"]


def test_zoom_shows_a_part_of_the_recording(upload_with_response: Callable[..., "Page"]) -> None:
    page = upload_with_response(response_lines(SCORES, EVENTS))
    assert ticks(page) == [f"0:{second:02}" for second in range(0, 21, 2)]
    assert not page.locator("#scroll").is_visible()
    left, right = x_range(page, "#position")
    page.locator("#position").click(position={"x": (right - left) / 2, "y": 20})
    page.get_by_role("button", name="Zoom in").click()
    page.locator("#position").press("+")
    assert page.locator("#shown").inner_text() == "0:07.5 to 0:12.5"
    assert ticks(page) == ["0:07.5", *(f"0:{half // 2:02}.{half % 2 * 5}" for half in range(16, 26))]
    page.locator(".class-track .track").first.click(position={"x": (right - left) / 5, "y": 10})
    assert page.locator("#position").get_attribute("aria-valuenow") == "8.50"
    page.locator("#scroll").fill("15")
    assert page.locator("#shown").inner_text() == "0:15.0 to 0:20.0"
    event = page.locator("#class-tracks article").nth(1).locator(".class-track").nth(1).locator("rect")
    assert float(str(event.get_attribute("x"))) == pytest.approx((12 - 15) / 5 * 1000)
    image_left, image_right = x_range(page, "#spectrogram")
    assert image_right - image_left == pytest.approx(4 * (right - left), rel=0.01)
    assert image_right == pytest.approx(right, abs=1)
    page.get_by_role("button", name="Play class_0 from 0:04.000").click()
    assert page.locator("#shown").inner_text() == "0:03.7 to 0:08.7"
    page.get_by_role("button", name="Whole recording").click()
    assert page.locator("#shown").inner_text() == ""


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_labels_are_beside_the_plots(
    viewport: dict[str, int], upload_with_response: Callable[..., "Page"]
) -> None:
    page = upload_with_response(response_lines(SCORES, EVENTS), viewport=viewport)
    left, right = x_range(page, "#position")
    assert (left, right) == x_range(page, ".class-track .track")
    assert x_range(page, "#freq-axis span")[1] <= left
    assert x_range(page, ".class-track .label")[1] <= left
    assert all(re.fullmatch(r"0:\d\d", tick) for tick in ticks(page))
    assert 3 <= len(ticks(page)) <= 12
    for factor in (2, 4):
        page.get_by_role("button", name="Zoom in").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), factor
