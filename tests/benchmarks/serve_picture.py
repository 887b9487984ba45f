"""Take a screenshot of the page of `serve` with a recording from the demo corpus.

Run this from the project folder after `make train PRESET=quick`. It needs Chromium, and writes
docs/images/serve.png.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import Page, sync_playwright

RUN, CLIPS = "runs/demo/quick", Path("data/demo/audio_test")
TARGET = Path("docs/images/serve.png")
WIDTH, MARGIN = 980, 20
N_CLIPS, PAUSE_SECONDS, SR = 7, 0.8, 44100


def write_recording(path: Path) -> Path:
    """Write some clips into one recording, separated by faint noise."""
    rng = np.random.default_rng(0)
    parts = []
    for clip in sorted(CLIPS.iterdir())[20 : 20 + N_CLIPS]:
        parts += [rng.normal(0, 1e-3, int(SR * PAUSE_SECONDS)), soundfile.read(clip)[0]]
    soundfile.write(path, np.concatenate(parts), SR)
    return path


def screenshot(page: Page) -> Image.Image:
    """Take a screenshot from the name of the recording to the end of the scores over time."""
    top, bottom = (page.locator(selector).bounding_box() for selector in ("#name", "#events"))
    assert top
    assert bottom
    y = top["y"] - MARGIN
    area = {"x": 0, "y": y, "width": WIDTH, "height": bottom["y"] - y}
    return Image.open(io.BytesIO(page.screenshot(full_page=True, clip=area))).convert("RGB")


def main() -> None:
    command = [sys.executable, "-m", "dcase2018", "serve", RUN, "--port", "0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
    ):
        assert server.stdout
        url = server.stdout.readline().strip()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 800})
        page.goto(url)
        page.locator("#classes").wait_for()
        page.set_input_files("#file", write_recording(Path(folder) / "a walk.wav"))
        page.locator("#event-lists tbody tr").first.wait_for(timeout=60_000)
        page.locator("#position").click(position={"x": 330, "y": 40})
        page.wait_for_timeout(500)
        image = screenshot(page)
        browser.close()
        server.terminate()
    image.quantize(128, dither=Image.Dither.NONE).save(TARGET, optimize=True)
    print(TARGET)


if __name__ == "__main__":
    main()
