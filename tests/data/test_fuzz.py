"""Damaged clips and label files by the hundred: a right answer or a named error, and soon."""

import csv
import io
import random
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import BASELINE, DATA, noise, write_wav

from dcase2018.data.audio import AudioReader, AudioReadError
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
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"it took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def frames_of(path: Path) -> np.ndarray | None:
    """Frames of a clip, or None where it is set aside with a reason."""
    reason = ""
    with at_most(20):
        try:
            with AudioReader(path, 44100) as clip:
                frames = FRONT_END(clip)
        except AudioReadError as error:
            reason = str(error)
    if reason:
        assert reason.split(":")[0] in (
            "not audio",
            "truncated",
            "truncated or damaged",
            "not finite",
            "damaged",
        )
        return None
    assert np.isfinite(frames).all()
    return frames


def mutated(content: bytes, chance: random.Random, first: int, last: int) -> bytes:
    """Change some bytes between two places, cut the file, or put bytes in."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(first, min(last, len(data)))
        match chance.randrange(6):
            case 0 | 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                data[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 3:
                data[at : at + 4] = struct.pack("<I", chance.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))
            case 4:
                data[at:at] = chance.randbytes(chance.choice([1, 2, 8]))
            case 5:
                del data[at : at + chance.choice([1, 2, 8, 1000])]
    return bytes(data)


def whole(base: tuple[str, str, int, int], folder: Path) -> tuple[str, bytes, np.ndarray]:
    """Name, content and frames of an undamaged clip."""
    name, subtype, channels, rate = base
    path = write_wav(folder / name, noise(6000 * channels, 3).reshape(-1, channels), rate, subtype)
    frames = frames_of(path)
    assert frames is not None
    return name, path.read_bytes(), frames


@pytest.mark.parametrize("base", BASES, ids=lambda base: base[0])
def test_damaged_headers(base: tuple[str, str, int, int], tmp_path: Path) -> None:
    name, content, _ = whole(base, tmp_path)
    used = 0
    for seed in range(100):
        path = tmp_path / f"mutant-{name}"
        path.write_bytes(mutated(content, random.Random(seed), 0, 64))
        frames = frames_of(path)
        if frames is not None:
            used += 1
            assert len(frames) > 0, seed  # no clip is taken for an empty one,
            assert frames.max() > BASELINE.silence_value + 0.1, seed  # nor for a silent one
    assert used < 100


def test_damaged_samples_of_a_wav_are_read_as_they_stand(tmp_path: Path) -> None:
    content = write_wav(tmp_path / "a.wav", noise(6000)).read_bytes()
    for seed in range(100):
        chance = random.Random(seed)
        data = bytearray(content)
        for _ in range(20):
            data[chance.randrange(44, len(data))] = chance.randrange(256)
        (tmp_path / "m.wav").write_bytes(data)
        samples = np.frombuffer(bytes(data[44:]), "<i2").astype(np.float32) / np.float32(32768)
        np.testing.assert_array_equal(frames_of(tmp_path / "m.wav"), FRONT_END.samples(samples))


@pytest.mark.parametrize("base", BASES, ids=lambda base: base[0])
def test_cut_files(base: tuple[str, str, int, int], tmp_path: Path) -> None:
    name, content, expected = whole(base, tmp_path)
    chance = random.Random(1)
    for _ in range(30):
        path = tmp_path / f"cut-{name}"
        path.write_bytes(content[: chance.randrange(len(content))])
        frames = frames_of(path)
        if name.endswith((".wav", ".flac")):  # these tell their length; a stream does not
            assert frames is None
        elif frames is not None:
            assert len(frames) <= len(expected)


def test_what_libsndfile_makes_of_bytes_at_random(tmp_path: Path) -> None:
    chance = random.Random(2)
    for _ in range(100):
        start = chance.choice([b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3", b"FORM"])
        (tmp_path / "a.wav").write_bytes(start + chance.randbytes(chance.randrange(2000)))
        frames = frames_of(tmp_path / "a.wav")
        assert frames is None or len(frames)


def test_samples_too_large_for_their_features(tmp_path: Path) -> None:
    samples = np.full(6000, 3e38, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    assert frames_of(tmp_path / "a.wav") is None


def test_damaged_label_files(tmp_path: Path) -> None:
    content = (DATA / "train.csv").read_bytes()[:3000].rpartition(b"\n")[0]
    odd = [b'"', b"\0", b"\n", b"\r", b",", b"\xff", b"\xef\xbb\xbf", b"None", b",,", b"\n\n", b"../", b" "]
    read = refused = 0
    for seed in range(300):
        chance = random.Random(seed)
        data = content
        for _ in range(chance.choice([1, 2, 5])):
            at = chance.randrange(chance.choice([40, len(data)]))
            data = data[:at] + chance.choice([*odd, b""]) + data[at + chance.choice([0, 1, 3]) :]
        path = tmp_path / "labels.csv"
        path.write_bytes(data)
        try:
            labels = read_labels(path)
        except InputError:
            refused += 1
            continue
        read += 1
        text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if any(row)]
        column = rows[0].index("label")
        assert labels.to_numpy().tolist() == [
            [field.strip() if i == column else field for i, field in enumerate(row)] for row in rows[1:]
        ]
        assert labels["fname"].is_unique
        assert read_fnames(path) == labels["fname"].tolist()
    assert min(read, refused) > 30
