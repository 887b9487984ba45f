"""The report in a browser without network: it loads no other resources, and its controls work."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import BrowserPage, ToyPipeline, run_ok

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report_folder(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 30 clips, in a folder that was renamed."""
    root = tmp_path_factory.mktemp("reports")
    labels = pd.read_csv(toy_pipeline.test_labels).query("usage != 'Ignored'")[:30]
    labels.to_csv(root / "labels.csv", index=False)
    run_ok(
        "report", toy_pipeline.test, root / "labels.csv", toy_pipeline.run, "-o", root / "report",
        "--audio", toy_pipeline.data / "audio_test",
    )  # fmt: skip
    return (root / "report").rename(root / "my report & more")


@pytest.fixture(scope="module")
def system(report_folder: Path) -> dict[str, Any]:
    """The system in report.json."""
    return json.loads((report_folder / "report.json").read_text())["systems"][0]


@pytest.fixture
def open_report(report_folder: Path, open_page: Callable[..., BrowserPage]) -> Callable[..., BrowserPage]:
    """Open the report with the network off."""

    def open_report(**settings: Any) -> BrowserPage:
        url = f"{report_folder.as_uri()}/index.html"
        return open_page(url, offline=True, **{"viewport": DESKTOP} | settings)

    return open_report


def show_all(browser: BrowserPage) -> None:
    """Open every class and wait until its images are loaded."""
    browser.page.evaluate("document.querySelectorAll('details').forEach((element) => (element.open = true))")
    for image in browser.page.locator("img").all():
        image.scroll_into_view_if_needed()
        browser.page.wait_for_function(
            "(image) => image.complete && image.naturalWidth > 0", arg=image.element_handle()
        )


def test_opens_offline_without_errors(
    report_folder: Path, open_report: Callable[..., BrowserPage], system: dict[str, Any]
) -> None:
    browser = open_report()
    show_all(browser)
    assert browser.failures == []
    assert all(url.startswith(report_folder.as_uri()) for url in browser.requests)
    assert not any(url.endswith(".ogg") for url in browser.requests)  # loaded when played
    assert browser.page.locator("img").count() == len(system["media"])


def test_shows_the_numbers_of_the_json(
    open_report: Callable[..., BrowserPage], system: dict[str, Any]
) -> None:
    page = open_report().page
    overall = [row for row in system["scores"] if row["label"] == "overall"]
    for metric in ("map3", "accuracy"):
        values = page.locator(f".stats [data-metric={metric}] .value").all_inner_texts()
        assert values == [f"{row[metric]:.4f}" for row in overall]
    rows = {row["label"]: row for row in system["scores"] if row["part"] == "all"}
    for line in page.locator("table.classes tbody tr").all():
        name, n_clips, score, *_ = (cell.strip() for cell in line.locator("th, td").all_inner_texts())
        map3 = rows[name]["map3"]
        expected = (str(rows[name]["n_clips"]), "-" if map3 is None else f"{map3:.4f}")
        assert (n_clips, score) == expected


def test_headings_sort_the_table(open_report: Callable[..., BrowserPage]) -> None:
    browser = open_report()
    table = browser.page.locator("table.classes")

    def column(index: int) -> list[str]:
        return [row.locator("th, td").nth(index).inner_text() for row in table.locator("tbody tr").all()]

    scores = [score for score in column(2) if score != "-"]
    assert scores == sorted(scores)
    heading = table.get_by_role("button", name="class")
    heading.click()
    assert column(0) == sorted(column(0))
    assert table.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"
    heading.focus()
    browser.page.keyboard.press("Enter")
    assert column(0) == sorted(column(0), reverse=True)
    assert table.locator("[aria-sort]").get_attribute("aria-sort") == "descending"
    table.get_by_role("button", name="MAP@3").click()
    table.get_by_role("button", name="MAP@3").click()
    scores = column(2)
    empty = scores.count("-")
    assert 0 < empty < len(scores)
    assert scores == [*sorted((score for score in scores if score != "-"), reverse=True), *["-"] * empty]
    assert browser.failures == []


def test_a_matrix_cell_lists_its_clips_and_links_to_them(
    open_report: Callable[..., BrowserPage], system: dict[str, Any]
) -> None:
    page = open_report().page
    errors = [(i, j) for i, j, _ in system["confusion_cells"] if i != j]
    row, column = max(errors, key=errors.count)
    page.locator(f"#count-{row}-{column}").click()
    card = page.locator(f"#cell-{row}-{column}")
    assert card.is_visible()
    numbers = [number for i, j, number in system["confusion_cells"] if (i, j) == (row, column)]
    expected = {system["clips"][number - 1]["fname"] for number in numbers}
    assert {item.inner_text().split()[0] for item in card.locator("li").all()} == expected
    clip = card.locator("li a").first
    name = clip.inner_text()
    clip.click()
    assert not card.is_visible()
    assert page.locator("article:target").is_visible()  # in a class that was collapsed
    assert page.locator("article:target h4").inner_text() == name
    page.go_back()
    card.get_by_text("close").click()
    assert not card.is_visible()
    assert page.locator(f"#count-{row}-{column}").is_visible()


def test_matrix_is_usable_by_keyboard(open_report: Callable[..., BrowserPage]) -> None:
    page = open_report().page
    cell = page.locator(".matrix td a").first
    cell.focus()
    page.keyboard.press("Enter")
    card = page.locator(".cell:target")
    assert card.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "close"
    page.keyboard.press("Enter")
    assert not page.locator(".cell:target").count()
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.closest('.matrix') !== null")
    assert focused  # the focus is back in the matrix


def test_the_whole_matrix_is_shown_on_a_desktop(open_report: Callable[..., BrowserPage]) -> None:
    page = open_report().page
    matrix = page.locator(".matrix")
    assert page.locator(".matrix tbody tr").count() == 41
    width, visible, height, visible_height = matrix.evaluate(
        "(box) => [box.scrollWidth, box.clientWidth, box.scrollHeight, box.clientHeight]"
    )
    assert (width, height) == (visible, visible_height)  # no inner scroller
    box = matrix.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= DESKTOP["width"]


def test_matrix_shows_percentages_of_the_rows(
    open_report: Callable[..., BrowserPage], system: dict[str, Any]
) -> None:
    page = open_report().page
    counts = page.locator(".matrix td a").all_inner_texts()
    page.get_by_label("per cent of the row").check()
    expected = [round(100 * n / sum(row)) for row in system["confusion"] for n in row if n]
    assert page.locator(".matrix td a").all_inner_texts() == [str(number) for number in expected]
    page.get_by_label("per cent of the row").uncheck()
    assert page.locator(".matrix td a").all_inner_texts() == counts


def test_matrix_is_reduced_to_the_confused_classes_on_a_phone(
    open_report: Callable[..., BrowserPage], system: dict[str, Any]
) -> None:
    page = open_report(viewport=PHONE).page
    rows = page.locator(".matrix tbody tr:visible")
    confused = {index for i, j, _ in system["confusion_cells"] if i != j for index in (i, j)}
    assert rows.count() == min(10, len(confused))
    assert page.locator(".matrix").evaluate("(box) => box.scrollWidth <= box.clientWidth")
    page.locator(".matrix-controls select").select_option(str(len(confused)))
    assert rows.count() == len(confused)
    page.locator(".matrix-controls select").select_option("41")
    assert rows.count() == 41


def test_a_clip_plays(open_report: Callable[..., BrowserPage]) -> None:
    browser = open_report()
    player = browser.page.locator("audio").first
    player.evaluate("(player) => { player.muted = true; return player.play(); }")
    browser.page.wait_for_function("(player) => player.currentTime > 0.1", arg=player.element_handle())
    assert sum(url.endswith(".ogg") for url in browser.requests) == 1
    assert browser.failures == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_fits_the_window_and_has_contrast(
    open_report: Callable[..., BrowserPage], viewport: dict[str, int], scheme: str
) -> None:
    browser = open_report(viewport=viewport, color_scheme=scheme)
    show_all(browser)
    assert browser.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    paper, ink = browser.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light, dark = (sum(map(int, re.findall(r"\d+", colour))) / 3 for colour in (paper, ink))
    assert (light > 200 and dark < 60) if scheme == "light" else (light < 60 and dark > 200)
    label = browser.page.locator("svg text").first
    assert label.evaluate("(text) => getComputedStyle(text).fill") == ink  # charts follow the theme
