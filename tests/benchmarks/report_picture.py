"""Photograph a report on the demo corpus: the picture of the README.

Run it from the project's folder after `make report PRESET=quick`, where there is Chromium; it writes
tests/benchmarks/report.png.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

REPORT = Path("runs/demo/quick/report/index.html")
TARGET = Path(__file__).with_name("report.png")
WIDTH, HEIGHT, GAP = 800, 900, 20
PLACES = ("header", "#clips")


def photograph(page: Page, place: str) -> Image.Image:
    """Scroll to a place, and take what the window shows."""
    page.locator(place).evaluate("(one) => one.scrollIntoView({ behavior: 'instant' })")
    page.wait_for_function("[...document.querySelectorAll('details[open] img')].every((one) => one.complete)")
    return Image.open(io.BytesIO(page.screenshot()))


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(REPORT.absolute().as_uri())
        page.evaluate("document.querySelectorAll('[open] img').forEach((one) => (one.loading = 'eager'))")
        shots = [photograph(page, place) for place in PLACES]
        browser.close()
    picture = Image.new("RGB", (len(shots) * (WIDTH + GAP) - GAP, HEIGHT), "#d5dae0")
    for number, shot in enumerate(shots):
        picture.paste(shot, (number * (WIDTH + GAP), 0))
    picture.quantize(96, dither=Image.Dither.NONE).save(TARGET, optimize=True)
    print(TARGET)


if __name__ == "__main__":
    main()
