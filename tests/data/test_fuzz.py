"""Fuzz tests: damaged clips and label files give a correct result or an error, in bounded time."""

import csv
import io
import random
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from conftest import BASELINE, DATA, frames_of_clip, frames_of_samples, noise, write_wav

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError
from dcase2018.data.clip_names import normalize_fname
from dcase2018.data.labels import read_fnames, read_labels
from dcase2018.features.frontend import FrontEnd
from dcase2018.utils.errors import InputError

FRONT_END = FrontEnd(BASELINE)
BASES = [
    ("a.wav", "PCM_16", 1, 44100), ("b.wav", "PCM_24", 2, 48000), ("c.wav", "FLOAT", 1, 44100),
    ("d.wav", "PCM_U8", 1, 8000), ("e.flac", "PCM_16", 1, 44100), ("f.ogg", "VORBIS", 1, 44100),
    ("g.mp3", "MPEG_LAYER_III", 1, 44100),
]  # fmt: skip


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def on_alarm(*_: object) -> None:
        raise AssertionError(f"timeout after {seconds} s")

    previous = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def frames_of(path: Path) -> np.ndarray | None:
    """Return the frames of a clip, or None if it cannot be read for one of the documented reasons."""
    message = ""
    with time_limit(20):
        try:
            with AudioReader(path, 44100) as reader:
                frames = frames_of_clip(FRONT_END, reader)
        except AudioReadError as error:
            message = str(error)
    if message:
        reasons = ("not audio", "not finite", "damaged")
        assert message.split(":")[0] in reasons
        return None
    assert np.isfinite(frames).all()
    return frames


def mutate(content: bytes, rng: random.Random, start: int, stop: int) -> bytes:
    """Change, insert or delete bytes between two offsets."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        offset = rng.randrange(start, min(stop, len(data)))
        match rng.randrange(6):
            case 0 | 1:
                data[offset] ^= 1 << rng.randrange(8)
            case 2:
                data[offset] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 3:
                data[offset : offset + 4] = struct.pack("<I", rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))
            case 4:
                data[offset:offset] = rng.randbytes(rng.choice([1, 2, 8]))
            case 5:
                del data[offset : offset + rng.choice([1, 2, 8, 1000])]
    return bytes(data)


def mutate_file(content: bytes, rng: random.Random) -> bytes:
    """Truncate a file, or flip, overwrite, insert, delete or duplicate bytes, mostly in its header."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        if len(data) < 2:
            break
        offset = rng.randrange(rng.choice([len(data), len(data), min(len(data), 200)]))
        size = rng.choice([1, 2, 4, 100, 5000])
        match rng.randrange(6):
            case 0:
                del data[offset:]
            case 1:
                data[offset] ^= 1 << rng.randrange(8)
            case 2:
                value = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)])
                data[offset : offset + 4] = struct.pack(rng.choice("<>") + "I", value)
            case 3:
                data[offset:offset] = rng.choice([rng.randbytes(size), bytes(size)])
            case 4:
                del data[offset : offset + size]
            case 5:
                data[offset:offset] = data[offset : offset + size]
    return bytes(data)


def make_clip(base: tuple[str, str, int, int], folder: Path) -> tuple[str, bytes, np.ndarray]:
    """Write a valid clip; return its name, content and frames."""
    name, subtype, channels, rate = base
    path = write_wav(folder / name, noise(6000 * channels, 3).reshape(-1, channels), rate, subtype)
    frames = frames_of(path)
    assert frames is not None
    return name, path.read_bytes(), frames


@pytest.mark.parametrize("base", BASES, ids=lambda base: base[0])
def test_damaged_headers(base: tuple[str, str, int, int], tmp_path: Path) -> None:
    name, content, _ = make_clip(base, tmp_path)
    for seed in range(100):
        path = tmp_path / f"mutant-{name}"
        path.write_bytes(mutate(content, random.Random(seed), 0, 64))
        frames = frames_of(path)
        if frames is not None:
            assert len(frames) > 0, seed  # no clip is read as empty,
            assert frames.max() > BASELINE.silence_value + 0.1, seed  # or as silent


def test_damaged_samples_of_a_wav_are_read_unchanged(tmp_path: Path) -> None:
    content = write_wav(tmp_path / "a.wav", noise(6000)).read_bytes()
    for seed in range(100):
        rng = random.Random(seed)
        data = bytearray(content)
        for _ in range(20):
            data[rng.randrange(44, len(data))] = rng.randrange(256)
        (tmp_path / "m.wav").write_bytes(data)
        samples = np.frombuffer(bytes(data[44:]), "<i2").astype(np.float32) / np.float32(32768)
        np.testing.assert_array_equal(frames_of(tmp_path / "m.wav"), frames_of_samples(FRONT_END, samples))


CONTAINERS = {
    "a.wav": "PCM_16", "b.wav": "FLOAT", "a.rf64": "PCM_16", "a.aiff": "PCM_16", "a.flac": "PCM_16",
    "a.ogg": "VORBIS", "a.mp3": "MPEG_LAYER_III", "a.caf": "PCM_16", "a.w64": "PCM_16", "a.au": "PCM_16",
    "a.opus": "libopus", "a.m4a": "aac", "a.webm": "libopus",
}  # fmt: skip


def write_container(path: Path) -> None:
    """Write 2 s of noise with libsndfile or FFmpeg."""
    if CONTAINERS[path.name].isupper():
        formats = {".mp3": "MP3", ".aiff": "AIFF", ".flac": "FLAC", ".ogg": "OGG", ".rf64": "RF64"}
        format = formats.get(path.suffix, path.suffix[1:].upper())
        soundfile.write(path, noise(2 * 44100), 44100, CONTAINERS[path.name], format=format)
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CONTAINERS[path.name], rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise(2 * 48000)[None], format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTAINERS)
def test_mutated_files_of_every_container(tmp_path: Path, name: str) -> None:
    write_container(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    n_read = n_skipped = 0
    for seed in range(200):
        (tmp_path / "mutant").write_bytes(mutate_file(content, random.Random(seed)))
        try:
            with time_limit(20), AudioReader(tmp_path / "mutant", 44100) as reader:
                blocks = list(reader.blocks())
        except AudioReadError:
            n_skipped += 1
            continue
        n_read += 1
        assert all(np.isfinite(block).all() for block in blocks), seed
        assert sum(map(len, blocks)) == pytest.approx(44100 * reader.seconds, abs=500), seed
    assert min(n_read, n_skipped) > 10


@pytest.mark.parametrize("base", BASES, ids=lambda base: base[0])
def test_truncated_files(base: tuple[str, str, int, int], tmp_path: Path) -> None:
    name, content, expected = make_clip(base, tmp_path)
    rng = random.Random(1)
    for _ in range(30):
        path = tmp_path / f"truncated-{name}"
        path.write_bytes(content[: rng.randrange(len(content))])
        frames = frames_of(path)
        assert frames is None or len(frames) <= len(expected)


def test_random_bytes(tmp_path: Path) -> None:
    rng = random.Random(2)
    for _ in range(100):
        magic = rng.choice([b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3", b"FORM"])
        (tmp_path / "a.wav").write_bytes(magic + rng.randbytes(rng.randrange(2000)))
        frames = frames_of(tmp_path / "a.wav")
        assert frames is None or len(frames)


def test_samples_that_overflow_the_features_raise(tmp_path: Path) -> None:
    samples = np.full(6000, 3e38, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    assert frames_of(tmp_path / "a.wav") is None


def test_damaged_label_files(tmp_path: Path) -> None:
    content = (DATA / "train.csv").read_bytes()[:3000].rpartition(b"\n")[0]
    inserts = [
        b'"',
        b"\0",
        b"\n",
        b"\r",
        b",",
        b"\xff",
        b"\xef\xbb\xbf",
        b"None",
        b",,",
        b"\n\n",
        b"../",
        b" ",
    ]
    n_read = n_rejected = 0
    for seed in range(300):
        rng = random.Random(seed)
        data = content
        for _ in range(rng.choice([1, 2, 5])):
            offset = rng.randrange(rng.choice([40, len(data)]))
            data = data[:offset] + rng.choice([*inserts, b""]) + data[offset + rng.choice([0, 1, 3]) :]
        path = tmp_path / "labels.csv"
        path.write_bytes(data)
        try:
            labels = read_labels(path)
        except InputError:
            n_rejected += 1
            continue
        n_read += 1
        text = data.decode("utf-8", "surrogateescape").lstrip("\ufeff")
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
        header, *rows = [row for row in ([field.strip() for field in row] for row in reader) if any(row)]
        named = [i for i, name in enumerate(header) if name]
        assert list(labels) == [header[i] for i in named]
        read_value = {"fname": normalize_fname, "manually_verified": lambda text: text or "0"}
        for row in rows:
            for i in named:
                row[i] = read_value.get(header[i], str)(row[i])
        assert labels.to_numpy().tolist() == [[row[i] for i in named] for row in rows]
        assert labels["fname"].is_unique
        assert read_fnames(path) == labels["fname"].tolist()
    assert min(n_read, n_rejected) > 30
