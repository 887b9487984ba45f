"""Reading a clip: mono samples at one sample rate, block by block, and what is wrong with a bad one.

16-bit mono PCM at the wanted rate is read as it is, so that the reference's sample / 32768 stays exact.
Everything else that libsndfile reads (other widths, float, FLAC, Ogg, MP3) comes as float32 in [-1, 1],
mixed to mono by the mean of the channels and resampled with soxr.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

UNREADABLE = "unreadable"  # which another time may find mended, though the file is the same

# A WAV header gives this size, and so does a data chunk, where the writer could not know it.
UNKNOWN_SIZE = 0xFFFFFFFF

OGG_PAGE, LAST_PAGE = 65307, 4  # most bytes of a page, and the flag of the last

# Bit rates of MP3 in kbit/s, and its sample rates in Hz, by what a frame's header says.
MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
MP3_RATES = (44100, 48000, 32000)


class AudioReadError(Exception):
    """A clip that cannot be used; the text is the reason, without the clip's name."""


def describe_error(error: AudioReadError | OSError) -> str:
    """Say why a clip cannot be used."""
    return f"{UNREADABLE}: {error.strerror or error}" if isinstance(error, OSError) else str(error)


@dataclass(frozen=True)
class Chunks:
    """How a container is laid out: its first bytes, chunks of a name and a size, and the samples' name."""

    start: int  # where the first chunk begins
    head: struct.Struct
    data: bytes
    counted: int = 0  # bytes of a chunk's head that its size includes
    align: int = 2  # chunks begin at multiples of this


RIFF = Chunks(12, struct.Struct("<4sI"), b"data")
RIFX = Chunks(12, struct.Struct(">4sI"), b"data")
AIFF = Chunks(12, struct.Struct(">4sI"), b"SSND")
W64 = Chunks(40, struct.Struct("<16sQ"), b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a", 24, 8)


def check_whole(file: BinaryIO, size: int) -> int | None:
    """Compare what an open file's header promises with its size in bytes.

    Returns
    -------
    int or None
        Samples of an MP3 that does not tell its length, as counted here; None of all other files.

    Raises
    ------
    AudioReadError
        If the file is cut off, or goes on after its samples.
    """
    head = file.read(12)
    chunks = {b"RIFF": RIFF, b"RF64": RIFF, b"RIFX": RIFX, b"FORM": AIFF, b"riff": W64}.get(head[:4])
    if chunks:
        _check_chunks(file, size, chunks)
    elif head[:4] == b"OggS":
        _check_last_page(file, size)
    elif head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        file.seek(0)
        return _check_frames(file.read())
    return None


def _check_chunks(file: BinaryIO, file_size: int, chunks: Chunks) -> None:
    file.seek(chunks.start)
    found, large = False, UNKNOWN_SIZE
    while len(head := file.read(chunks.head.size)) == chunks.head.size:
        name, size = chunks.head.unpack(head)
        size = max(0, size - chunks.counted)
        left = file_size - file.tell()
        if found and not name[:4].isascii():
            raise AudioReadError(
                f"damaged: {left + chunks.head.size} bytes follow the samples that the header promises"
            )
        if name == b"ds64" and size >= 16:  # of RF64: sizes that 32 bits do not hold
            large = struct.unpack("<8xQ", file.read(16))[0]
            file.seek(-16, 1)
        if name == chunks.data:
            found = True
            size = large if size == UNKNOWN_SIZE else size
            if size > left and size != UNKNOWN_SIZE:
                raise AudioReadError(f"truncated: {left} of {size} bytes of samples")
        file.seek(min(size + -size % chunks.align, file_size), 1)


def _check_last_page(file: BinaryIO, size: int) -> None:
    file.seek(max(0, size - OGG_PAGE))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 or len(page) < 27 + page[26] + sum(lengths) or not page[5] & LAST_PAGE:
        raise AudioReadError("truncated: its last page is missing")


def _check_frames(data: bytes) -> int | None:
    """Walk the frames of an MP3, and return its samples unless its header counts them."""
    place = 0
    if data[:3] == b"ID3" and len(data) > 10:
        place = 10 + sum(
            (byte & 127) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True)
        )
    told = _counted_frames(data[place : place + 200])
    frames = samples = 0
    while (frame := _frame(data[place : place + 4])) and place + frame[0] <= len(data):
        frames, samples, place = frames + 1, samples + frame[1], place + frame[0]
    if told is not None and frames - 1 < told:  # the header is in a frame of its own
        raise AudioReadError(f"truncated: {max(0, frames - 1)} of {told} frames")
    if told is None and frame:
        raise AudioReadError("truncated: its last frame is cut off")
    return samples if told is None else None


def _frame(head: bytes) -> tuple[int, int] | None:
    """Length in bytes and samples of the frame that begins so; None if none does (a tag, or the end)."""
    if len(head) < 4 or head[0] != 255 or head[1] & 0xE6 != 0xE2:  # 11 bits of sync, layer III
        return None
    version, rate, padding = head[1] >> 3 & 3, head[2] >> 2 & 3, head[2] >> 1 & 1
    kbits = head[2] >> 4
    if version == 1 or rate == 3 or kbits in (0, 15):
        return None
    full = version == 3  # MPEG 1; else 2, or 2.5 at a quarter of the rates
    samples = 1152 if full else 576
    hertz = MP3_RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    return samples * 125 * (MPEG1 if full else MPEG2)[kbits] // hertz + padding, samples


def _counted_frames(frame: bytes) -> int | None:
    """Frames that the header of an MP3 counts; None without one."""
    for name, flag, place in ((b"Xing", 7, 8), (b"Info", 7, 8), (b"VBRI", None, 14)):
        at = frame.find(name)
        if at > 0 and len(frame) >= at + place + 4 and (flag is None or frame[at + flag] & 1):
            return int.from_bytes(frame[at + place : at + place + 4], "big")
    return None


EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"})

RATES = range(1000, 1_000_001)  # in Hz; beyond them a header is damaged, and would swell when resampled

BLOCK = 1 << 20  # samples of all channels read at a time: memory does not grow with a clip

GUESS = 4 * 1152  # samples by which libsndfile may be wrong where an MP3 does not tell its length


class AudioReader:
    """An audio file, open for reading.

    Attributes
    ----------
    seconds : float
        How long it is.
    converted : bool
        Whether it is mixed to mono or resampled.
    full_scale : float
        What a block's samples have to be divided by to lie in [-1, 1].

    Raises
    ------
    AudioReadError
        If it is no audio or no file, or shorter than its header says.
    OSError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        if not path.is_file():  # a pipe would be waited for
            raise AudioReadError(f"{UNREADABLE}: it is no file")
        with path.open("rb") as file:
            counted = check_whole(file, path.stat().st_size)
        self.sample_rate = sample_rate
        try:
            self._sound = soundfile.SoundFile(os.fsencode(path))
        except soundfile.LibsndfileError as error:
            raise AudioReadError(f"not audio: {_reason(error)}") from None
        if counted is not None and counted > self._sound.frames + GUESS:
            raise AudioReadError(
                "an MP3 of varying bit rate without a header that tells its length; convert it"
            )
        self._tells_length = counted is None
        if self._sound.samplerate not in RATES:
            raise AudioReadError(f"damaged: a sample rate of {self._sound.samplerate} Hz")
        self.is_resampled_or_downmixed = self._sound.channels != 1 or self._sound.samplerate != sample_rate
        self.seconds = self._sound.frames / self._sound.samplerate
        exact = self._sound.subtype == "PCM_16" and not self.is_resampled_or_downmixed
        self._dtype = "int16" if exact else "float32"
        self.full_scale = 32768.0 if exact else 1.0

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._sound.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """Read the clip from its start: int16 or float32, (some samples,), at `sample_rate`.

        Raises
        ------
        AudioReadError
            If the file ends early, cannot be decoded, or holds a sample that is not finite.
        """
        blocks = self._decoded()
        if self._sound.samplerate != self.sample_rate:
            blocks = _resampled(blocks, self._sound.samplerate, self.sample_rate)
        return blocks

    def _decoded(self) -> Iterator[np.ndarray]:
        sound = self._sound
        done = 0
        try:
            sound.seek(0)
            while done < sound.frames:
                block = sound.read(BLOCK // sound.channels, self._dtype, always_2d=True)
                if not len(block) and not self._tells_length:
                    return
                if not len(block):
                    raise AudioReadError(f"truncated: {done} of {sound.frames} samples")
                done += len(block)
                mono = block[:, 0] if sound.channels == 1 else block.mean(axis=1)
                if not np.isfinite(mono).all():
                    raise AudioReadError("not finite: it holds NaN or infinity")
                yield mono
        except soundfile.LibsndfileError as error:
            raise AudioReadError(f"truncated or damaged: {_reason(error)}") from None


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string) or f"libsndfile's error {error.code}"


def _resampled(blocks: Iterator[np.ndarray], rate: int, wanted: int) -> Iterator[np.ndarray]:
    import soxr  # only for clips that need it: it takes as long to load as many clips to read

    stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
