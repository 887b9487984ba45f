"""Long and many recordings: memory is bounded, and a killed command resumes to the same output."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import list_dir, noise, write_wav

pytestmark = pytest.mark.slow


SCRIPT = """
import sys
from pathlib import Path
from dcase2018.cli.main import main
sys.modules["jax"] = None  # TensorFlow imports it if it is installed: 90 MB that users do not have
try:
    main(sys.argv[1:])
finally:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    Path("PEAK").write_text(status["VmHWM"].split()[0])
"""


def peak_memory(folder: Path, *args: object) -> float:
    """Return the peak memory of a command in MB, without that of its parent (unlike ru_maxrss)."""
    script = folder / "peak.py"
    script.write_text(SCRIPT.replace("PEAK", str(folder / "peak.txt")))
    subprocess.run([sys.executable, script, *map(str, args)], capture_output=True, check=True)
    return int((folder / "peak.txt").read_text()) / 1024


@pytest.mark.parametrize("options", [(), ("--detect-events", "--output")])
@pytest.mark.parametrize("config", ["baseline", "logmel96"])
def test_memory_is_bounded(
    runs: dict[str, Path], tmp_path: Path, config: str, options: Sequence[str]
) -> None:
    peaks = []
    for minutes in (10, 70):
        path = tmp_path / f"{minutes}.flac"
        with soundfile.SoundFile(path, "w", 44100, 1) as file:
            for minute in range(minutes):
                file.write(noise(44100 * 60, minute))
        output = [*options, tmp_path / "out.csv"] if options else []
        peaks.append(peak_memory(tmp_path, "tag", runs[config], path, *output))
    assert peaks[1] - peaks[0] < 60  # the samples of an hour are 318 MB, its frames 92 MB or 69 MB
    assert peaks[1] < 1000


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("output", ["all.jsonl", "each"])
def test_killed_commands_resume(runs: dict[str, Path], tmp_path: Path, output: str) -> None:
    for index in range(30):
        write_wav(tmp_path / "in" / f"{index:02d}.wav", noise(44100 * 30, index) * np.float32(0.5))
    command = [sys.executable, "-m", "dcase2018", "tag", runs["baseline"], tmp_path / "in", "--detect-events"]

    def start(folder: Path) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        arguments = [*command, "--output", folder / output]
        return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    started = time.monotonic()
    assert start(tmp_path / "complete").wait() == 0
    duration = time.monotonic() - started
    for attempt in range(1, 7):
        process = start(tmp_path / "killed")
        time.sleep(duration * (0.4 + 0.1 * attempt))
        process.kill()
        process.wait()
    assert start(tmp_path / "killed").wait() == 0
    killed, complete = tmp_path / "killed", tmp_path / "complete"
    assert list_dir(killed) == list_dir(complete) == [output]
    if output == "each":
        killed, complete = killed / output, complete / output
        assert len(list_dir(complete)) == 30
    assert read_files(killed) == read_files(complete)
