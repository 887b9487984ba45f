"""A report in a real browser, with the network off: it asks for nothing, and what can be pressed works."""

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
def folder(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 30 clips, moved since it was made."""
    root = tmp_path_factory.mktemp("made")
    pd.read_csv(toy_pipeline.test_labels).query("usage != 'Ignored'")[:30].to_csv(
        root / "truth.csv", index=False
    )
    run_ok(
        "report", toy_pipeline.test, root / "truth.csv", toy_pipeline.run, "--output", root / "report",
        "--audio", toy_pipeline.data / "audio_test",
    )  # fmt: skip
    return (root / "report").rename(root / "to mail & hear")


@pytest.fixture(scope="module")
def numbers(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


@pytest.fixture
def opened(folder: Path, open_page: Callable[..., BrowserPage]) -> Callable[..., BrowserPage]:
    """Open the report with the network off."""

    def opened(**settings: Any) -> BrowserPage:
        return open_page(f"{folder.as_uri()}/index.html", offline=True, **{"viewport": DESKTOP} | settings)

    return opened


def show_all(open_page: BrowserPage) -> None:
    """Open every class, and see to it that its pictures are loaded."""
    open_page.page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    for picture in open_page.page.locator("img").all():
        picture.scroll_into_view_if_needed()
        open_page.page.wait_for_function(
            "(one) => one.complete && one.naturalWidth > 0", arg=picture.element_handle()
        )


def test_it_opens_without_a_network_and_without_a_complaint(
    folder: Path, opened: Callable[..., BrowserPage], numbers: dict[str, Any]
) -> None:
    open_page = opened()
    show_all(open_page)
    assert open_page.failures == []
    assert all(address.startswith(folder.as_uri()) for address in open_page.requests)
    assert not any(address.endswith(".ogg") for address in open_page.requests)  # until they are played
    assert open_page.page.locator("img").count() == len(numbers["sides"][0]["shown"])


def test_it_shows_the_numbers_of_the_json(
    opened: Callable[..., BrowserPage], numbers: dict[str, Any]
) -> None:
    page = opened().page
    (side,) = numbers["sides"]
    assert page.locator(".stats .value").all_inner_texts() == [
        f"{side['overall'][part + 'MAP@3']:.4f}" for part in numbers["parts"]
    ]
    rows = {row["label"]: row for row in side["classes"]}
    for line in page.locator("table.classes tbody tr").all():
        name, clips, score, *_ = (cell.strip() for cell in line.locator("th, td").all_inner_texts())
        expected = rows[name]["MAP@3"]
        assert (clips, score) == (str(rows[name]["clips"]), "-" if expected is None else f"{expected:.4f}")


def test_the_table_is_sorted_by_its_headings(opened: Callable[..., BrowserPage]) -> None:
    open_page = opened()
    table = open_page.page.locator("table.classes")

    def column(number: int) -> list[str]:
        return [row.locator("th, td").nth(number).inner_text() for row in table.locator("tbody tr").all()]

    scores = [score for score in column(2) if score != "-"]
    assert scores == sorted(scores)
    heading = table.get_by_role("button", name="class")
    heading.click()
    assert column(0) == sorted(column(0))
    assert table.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"
    heading.focus()
    open_page.page.keyboard.press("Enter")
    assert column(0) == sorted(column(0), reverse=True)
    assert table.locator("[aria-sort]").get_attribute("aria-sort") == "descending"
    table.get_by_role("button", name="MAP@3").click()
    table.get_by_role("button", name="MAP@3").click()
    scores = column(2)
    empty = scores.count("-")
    assert 0 < empty < len(scores)
    assert scores == [*sorted((score for score in scores if score != "-"), reverse=True), *["-"] * empty]
    assert open_page.failures == []


def test_a_cell_of_the_matrix_lists_its_clips_which_lead_to_their_pictures(
    opened: Callable[..., BrowserPage], numbers: dict[str, Any]
) -> None:
    page = opened().page
    (side,) = numbers["sides"]
    wrong = [(i, j) for i, j, _ in side["cells"] if i != j]
    row, column = max(wrong, key=wrong.count)
    page.locator(f"#at-{row}-{column}").click()
    card = page.locator(f"#cell-{row}-{column}")
    assert card.is_visible()
    expected = {
        side["clips"][number - 1]["fname"] for i, j, number in side["cells"] if (i, j) == (row, column)
    }
    assert {item.inner_text().split()[0] for item in card.locator("li").all()} == expected
    clip = card.locator("li a").first
    name = clip.inner_text()
    clip.click()
    assert not card.is_visible()
    assert page.locator("article:target").is_visible()  # in a class that was folded
    assert page.locator("article:target h4").inner_text() == name
    page.go_back()
    card.get_by_text("close").click()
    assert not card.is_visible()
    assert page.locator(f"#at-{row}-{column}").is_visible()


def test_the_matrix_is_reached_by_the_keyboard(opened: Callable[..., BrowserPage]) -> None:
    page = opened().page
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
    assert focused  # and one is again where one was


def test_a_clip_is_played(opened: Callable[..., BrowserPage]) -> None:
    open_page = opened()
    player = open_page.page.locator("audio").first
    player.evaluate("(player) => { player.muted = true; return player.play(); }")
    open_page.page.wait_for_function("(player) => player.currentTime > 0.1", arg=player.element_handle())
    assert sum(address.endswith(".ogg") for address in open_page.requests) == 1
    assert open_page.failures == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_its_window_and_can_be_read(
    opened: Callable[..., BrowserPage], viewport: dict[str, int], scheme: str
) -> None:
    open_page = opened(viewport=viewport, color_scheme=scheme)
    show_all(open_page)
    assert open_page.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    paper, ink = open_page.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light, dark = (sum(map(int, re.findall(r"\d+", colour))) / 3 for colour in (paper, ink))
    assert (light > 200 and dark < 60) if scheme == "light" else (light < 60 and dark > 200)
    label = open_page.page.locator("svg text").first
    assert label.evaluate("(text) => getComputedStyle(text).fill") == ink  # charts go with the page
