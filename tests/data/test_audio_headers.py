"""WAV, RF64, RIFX and AIFF headers whose sizes do not agree with the file: all audio is used, and exactly."""

import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dcase2018.data.audio import AudioReader

RATE = 44100
N = 30000
PCM = np.random.default_rng(0).integers(-3000, 3000, N).astype("<i2")
UNFINISHED = "the header has no length, as of an unfinished recording; all audio of the file is used"


def wav(pcm: bytes, data_size: int, riff_size: int = 0, magic: bytes = b"RIFF", chunk: bytes = b"") -> bytes:
    order = ">" if magic == b"RIFX" else "<"
    riff = struct.pack(f"{order}4sI4s", magic, riff_size, b"WAVE")
    fmt = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return riff + chunk + fmt + struct.pack(f"{order}4sI", b"data", data_size) + pcm


def rf64(pcm: bytes, size: int) -> bytes:
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, min(size + 72, 2**64 - 1), size, size // 2, 0)
    return wav(pcm, 2**32 - 1, 2**32 - 1, b"RF64", ds64)


def aiff(pcm: bytes, size: int, n_samples: int) -> bytes:
    rate = bytes([0x40, 0x0E, 0xAC, 0x44]) + bytes(6)  # 44100 as an 80-bit float
    comm = struct.pack(">4sIhIh", b"COMM", 18, 1, n_samples, 16) + rate
    return b"FORM" + bytes(4) + b"AIFF" + comm + struct.pack(">4sIII", b"SSND", size, 0, 0) + pcm


def read(path: Path) -> tuple[np.ndarray, str]:
    """Return the samples as 16-bit integers, and the warning."""
    with AudioReader(path, RATE) as reader:
        samples = np.concatenate([np.zeros(0, np.int16), *reader.blocks()])
        assert reader.seconds == len(samples) / RATE
        return np.asarray(samples * (32768 / reader.full_scale), np.int64), reader.warning


def starting_with(values: list[int]) -> np.ndarray:
    pcm = PCM.copy()
    pcm[:1000] = np.resize(values, 1000)
    return pcm


@pytest.mark.parametrize("start", [[0], [1, 0, 3, 5], [-1, -3], [0x4142, 0, 7, 0]])
@pytest.mark.parametrize("sizes", [(0, 0), (0, 8), (0, 36), (0, 36 + 2 * N), (0, 2**32 - 1), (2**32 - 1, 0)])
def test_an_unfinished_wav_is_read_completely(
    tmp_path: Path, start: list[int], sizes: tuple[int, int]
) -> None:
    pcm = starting_with(start)
    (tmp_path / "a.wav").write_bytes(wav(pcm.tobytes(), *sizes))
    samples, warning = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, pcm)
    assert warning == UNFINISHED


@pytest.mark.parametrize("size", [0x7FFFF000, 2**31 - 37, 2**31, 2**32 - 45, 2**32 - 1])
def test_a_size_written_to_a_pipe_is_ignored(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.wav").write_bytes(wav(PCM.tobytes(), size))
    samples, warning = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, PCM)
    assert warning == UNFINISHED


@pytest.mark.parametrize("excess", [1, 8, 36, 44])
def test_a_size_that_includes_the_header_is_corrected(tmp_path: Path, excess: int) -> None:
    (tmp_path / "a.wav").write_bytes(wav(PCM.tobytes(), 2 * N + excess))
    samples, warning = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, PCM)
    assert (
        warning == f"the length in the header is too large (bytes: {excess}); all audio of the file is used"
    )


def test_other_unfinished_headers_are_read_completely(tmp_path: Path) -> None:
    swapped = PCM.astype(">i2").tobytes()
    contents = {
        "RF64 0": rf64(PCM.tobytes(), 0),
        "RF64 max": rf64(PCM.tobytes(), 2**64 - 1),
        "RF64 excess": rf64(PCM.tobytes(), 2 * N + 44),
        "RF64 without sizes": wav(PCM.tobytes(), 2**32 - 1, magic=b"RF64"),
        "RIFX 0": wav(swapped, 0, magic=b"RIFX"),
        "RIFX max": wav(swapped, 2**32 - 1, magic=b"RIFX"),
        "AIFF 0": aiff(swapped, 0, 0),
        "AIFF max": aiff(swapped, 2**32 - 1, 2**32 - 1),
        "AIFF 2^31": aiff(swapped, 2**31, 0),
    }
    for name, content in contents.items():
        (tmp_path / "a").write_bytes(content)
        samples, warning = read(tmp_path / "a")
        np.testing.assert_array_equal(samples, PCM, name)
        assert warning, name


def test_valid_headers_have_no_warning(tmp_path: Path) -> None:
    text = struct.pack("<4sI", b"LIST", 5) + b"ascii\0"
    swapped = PCM.astype(">i2").tobytes()
    for content in (
        wav(PCM.tobytes(), 2 * N),
        wav(PCM.tobytes() + text * 3, 2 * N),
        wav(PCM.tobytes(), 2 * N, chunk=text),
        wav(PCM.tobytes() + bytes(100_000), 2 * N),  # padding
        rf64(PCM.tobytes(), 2 * N),
        wav(swapped, 2 * N, magic=b"RIFX"),
        aiff(swapped, 2 * N + 8, N),
    ):
        (tmp_path / "a.wav").write_bytes(content)
        samples, warning = read(tmp_path / "a.wav")
        np.testing.assert_array_equal(samples, PCM)
        assert warning == ""


def test_a_wav_without_samples_is_empty(tmp_path: Path) -> None:
    for tail in (b"", struct.pack("<4sI", b"LIST", 4) + b"text"):
        (tmp_path / "a.wav").write_bytes(wav(b"", 0) + tail)
        samples, warning = read(tmp_path / "a.wav")
        assert (len(samples), warning) == (0, "")


def test_unknown_bytes_after_the_samples_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(PCM.tobytes() + b"\x01\x02\x03" * 100, 2 * N))
    samples, warning = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, PCM)
    assert warning == "incomplete: 300 unknown bytes after the audio are not used"


@pytest.mark.parametrize("data_size", [2 * N, 0])
def test_a_gigabyte_of_zeros_after_the_audio_takes_no_time(tmp_path: Path, data_size: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(PCM.tobytes(), data_size))
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    started = time.process_time()
    with AudioReader(path, RATE) as reader:
        np.testing.assert_array_equal(next(reader.blocks())[:N] * (32768 / reader.full_scale), PCM)
        assert reader.seconds == (N if data_size else ((1 << 30) - 44) // 2) / RATE
    assert time.process_time() - started < 0.5


SPARSE_SCRIPT = """
import sys
from pathlib import Path
from dcase2018.data.audio import AudioReader
with AudioReader(Path(sys.argv[1]), 8000) as reader:
    total = sum(len(block) for block in reader.blocks())
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(total, reader.seconds, int(status["VmHWM"].split()[0]) // 1024, reader.warning)
"""


@pytest.mark.slow
def test_a_wav_above_4_gb_with_a_wrapped_size_is_read_completely(tmp_path: Path) -> None:
    size = (1 << 32) + 8000
    path = tmp_path / "a.wav"
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 64000, 8, 64)  # refused by both decoders
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 8, 8000, 128000, 16, 16)
    header = b"RIFF" + bytes(4) + b"WAVE" + fmt + struct.pack("<4sI", b"data", size % 2**32)
    path.write_bytes(header)
    with path.open("r+b") as file:
        file.truncate(len(header) + size)
    command = [sys.executable, "-c", SPARSE_SCRIPT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total, seconds, megabytes, warning = done.stdout.split(maxsplit=3)
    assert int(total) == size // 16
    assert float(seconds) == pytest.approx(size / 16 / 8000)
    assert int(megabytes) < 400
    assert warning.strip() == "the header cannot store a length above 4 GB; all audio of the file is used"
