"""Photograph the page of `serve` on the demo corpus: the picture of the README.

Run it from the project's folder after `make train PRESET=quick`, where there is Chromium; it writes
tests/benchmarks/serve.png.
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
from playwright.sync_api import sync_playwright

RUN, CLIPS = "runs/demo/quick", Path("data/demo/audio_test")
TARGET = Path(__file__).with_name("serve.png")
WIDTH, MARGIN = 980, 20
COUNT, PAUSE_SECONDS = 7, 0.8


def stream(path: Path) -> Path:
    """Write some clips into one recording, with pauses of faint noise between."""
    rng = np.random.default_rng(0)
    parts = []
    for clip in sorted(CLIPS.iterdir())[20 : 20 + COUNT]:
        parts += [rng.normal(0, 1e-3, int(44100 * PAUSE_SECONDS)), soundfile.read(clip)[0]]
    soundfile.write(path, np.concatenate(parts), 44100)
    return path


def main() -> None:
    command = [sys.executable, "-m", "dcase2018", "serve", RUN, "--port", "0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
    ):
        assert server.stdout
        address = server.stdout.readline().strip()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 800})
        page.goto(address)
        page.locator("#known").wait_for()
        page.set_input_files("#file", stream(Path(folder) / "a walk.wav"))
        page.locator("#status", has_text="Heard in").wait_for(timeout=60_000)
        page.locator("#view").click(position={"x": 330, "y": 40})
        page.wait_for_timeout(500)
        top, bottom = (page.locator(place).bounding_box() for place in ("#name", ".lanes"))
        assert top
        assert bottom
        y = top["y"] - MARGIN
        part = {"x": 0, "y": y, "width": WIDTH, "height": bottom["y"] + bottom["height"] + MARGIN - y}
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=part))).convert("RGB")
        browser.close()
        server.terminate()
    shot.quantize(128, dither=Image.Dither.NONE).save(TARGET, optimize=True)
    print(TARGET)


if __name__ == "__main__":
    main()
