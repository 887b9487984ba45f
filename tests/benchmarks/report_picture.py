"""Take a screenshot of a report on the demo corpus.

Run this from the project folder after `make report PRESET=quick`. It needs Chromium, and writes
docs/images/report.png.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

REPORT = Path("runs/demo/quick/report/index.html")
TARGET = Path("docs/images/report.png")
WIDTH, HEIGHT, GAP = 800, 900, 20
SELECTORS = ("header", "#clips")


def screenshot(page: Page, selector: str) -> Image.Image:
    """Scroll to an element and take a screenshot of the viewport."""
    page.locator(selector).evaluate("(element) => element.scrollIntoView({ behavior: 'instant' })")
    page.wait_for_function(
        "[...document.querySelectorAll('details[open] img')].every((image) => image.complete)"
    )
    return Image.open(io.BytesIO(page.screenshot()))


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(REPORT.absolute().as_uri())
        page.evaluate("document.querySelectorAll('[open] img').forEach((image) => (image.loading = 'eager'))")
        images = [screenshot(page, selector) for selector in SELECTORS]
        browser.close()
    picture = Image.new("RGB", (len(images) * (WIDTH + GAP) - GAP, HEIGHT), "#d5dae0")
    for column, image in enumerate(images):
        picture.paste(image, (column * (WIDTH + GAP), 0))
    picture.quantize(96, dither=Image.Dither.NONE).save(TARGET, optimize=True)
    print(TARGET)


if __name__ == "__main__":
    main()
