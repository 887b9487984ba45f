"""Read audio files block by block as mono samples at one sample rate.

16-bit mono PCM at the target rate is returned unchanged, so that dividing by 32768 is exact.
All other formats that libsndfile decodes are returned as float32 in [-1, 1]: channels are averaged, and soxr
resamples.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"})

UNREADABLE = "unreadable"  # prefix of errors that may be temporary, although the file is the same

VALID_SAMPLE_RATES = range(1000, 1_000_001)  # Hz; other rates come from a damaged header

BLOCK_SAMPLES = 1 << 20  # samples of all channels per block; bounds the memory of long files

MP3_LENGTH_TOLERANCE = 4 * 1152  # samples; libsndfile estimates the length of an MP3 without a header

# A streaming writer stores this size in the WAV header and in the data chunk.
UNKNOWN_SIZE = 0xFFFFFFFF

MAX_OGG_PAGE, LAST_PAGE_FLAG = 65307, 4  # bytes; bit of the header type

# MP3 bit rates in kbit/s by header index, and sample rates in Hz.
MPEG1_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MPEG2_KBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
MP3_RATES = (44100, 48000, 32000)


class AudioReadError(Exception):
    """An audio file cannot be used. The message is the reason, without the name of the file.

    Examples
    --------
    >>> try:
    ...     scores = tagger.scores("clip.wav")
    ... except AudioReadError as error:
    ...     print(f"clip.wav: {error}")
    """


def describe_error(error: AudioReadError | OSError) -> str:
    """Return why an audio file cannot be used, as stored in `STORE.failed.csv`."""
    return f"{UNREADABLE}: {error.strerror or error}" if isinstance(error, OSError) else str(error)


@dataclass(frozen=True)
class ChunkLayout:
    """Chunk layout of a RIFF-like container.

    Attributes
    ----------
    start
        Offset of the first chunk in bytes.
    header
        Format of a chunk header: identifier and size.
    data_id
        Identifier of the chunk with the samples.
    header_in_size
        Bytes of the chunk header that its size field includes.
    align
        Chunks start at multiples of this many bytes.
    """

    start: int
    header: struct.Struct
    data_id: bytes
    header_in_size: int = 0
    align: int = 2


RIFF = ChunkLayout(12, struct.Struct("<4sI"), b"data")
RIFX = ChunkLayout(12, struct.Struct(">4sI"), b"data")
AIFF = ChunkLayout(12, struct.Struct(">4sI"), b"SSND")
W64 = ChunkLayout(40, struct.Struct("<16sQ"), b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a", 24, 8)
LAYOUTS = {b"RIFF": RIFF, b"RF64": RIFF, b"RIFX": RIFX, b"FORM": AIFF, b"riff": W64}


def check_not_truncated(file: BinaryIO, file_size: int) -> int | None:
    """Compare the length in the header of an open file with its size in bytes.

    Returns
    -------
    int or None
        Number of samples of an MP3 whose header has no frame count. None for all other files.

    Raises
    ------
    AudioReadError
        If the file is truncated, or if unknown data follows its samples.
    """
    magic = file.read(12)
    if layout := LAYOUTS.get(magic[:4]):
        _check_chunks(file, file_size, layout)
    elif magic[:4] == b"OggS":
        _check_last_ogg_page(file, file_size)
    elif magic[:3] == b"ID3" or (magic[:1] == b"\xff" and magic[1:2] >= b"\xe0"):
        file.seek(0)
        return _check_mp3_frames(file.read())
    return None


def _check_chunks(file: BinaryIO, file_size: int, layout: ChunkLayout) -> None:
    file.seek(layout.start)
    has_data, rf64_size = False, UNKNOWN_SIZE
    while len(header := file.read(layout.header.size)) == layout.header.size:
        chunk_id, size = layout.header.unpack(header)
        size = max(0, size - layout.header_in_size)
        remaining = file_size - file.tell()
        if has_data and not chunk_id[:4].isascii():
            n_bytes = remaining + layout.header.size
            raise AudioReadError(f"damaged: {n_bytes} unknown bytes after the samples")
        if chunk_id == b"ds64" and size >= 16:  # sizes of RF64 that do not fit in 32 bits
            rf64_size = struct.unpack("<8xQ", file.read(16))[0]
            file.seek(-16, 1)
        if chunk_id == layout.data_id:
            has_data = True
            size = rf64_size if size == UNKNOWN_SIZE else size
            if size > remaining and size != UNKNOWN_SIZE:
                raise AudioReadError(f"truncated: {remaining} of {size} bytes of samples")
        file.seek(min(size + -size % layout.align, file_size), 1)


def _check_last_ogg_page(file: BinaryIO, file_size: int) -> None:
    file.seek(max(0, file_size - MAX_OGG_PAGE))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 or len(page) < 27 + page[26] + sum(lengths) or not page[5] & LAST_PAGE_FLAG:
        raise AudioReadError("truncated: the last page is missing")


def _check_mp3_frames(data: bytes) -> int | None:
    """Count the frames of an MP3; return its number of samples unless the header has a frame count."""
    offset = 0
    if data[:3] == b"ID3" and len(data) > 10:
        offset = 10 + sum(
            (byte & 127) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True)
        )
    header_frame_count = _header_frame_count(data[offset : offset + 200])
    n_frames = n_samples = 0
    while (frame := _parse_mp3_header(data[offset : offset + 4])) and offset + frame[0] <= len(data):
        n_frames, n_samples, offset = n_frames + 1, n_samples + frame[1], offset + frame[0]
    if header_frame_count is None:
        if frame:
            raise AudioReadError("truncated: the last frame is incomplete")
        return n_samples
    if n_frames - 1 < header_frame_count:  # the frame count is in a frame of its own
        raise AudioReadError(f"truncated: {max(0, n_frames - 1)} of {header_frame_count} frames")
    return None


def _parse_mp3_header(header: bytes) -> tuple[int, int] | None:
    """Return the length in bytes and in samples of an MP3 frame; None if the bytes start no frame."""
    if len(header) < 4 or header[0] != 255 or header[1] & 0xE6 != 0xE2:  # 11 sync bits, layer III
        return None
    version, rate_index, padding = header[1] >> 3 & 3, header[2] >> 2 & 3, header[2] >> 1 & 1
    kbits_index = header[2] >> 4
    if version == 1 or rate_index == 3 or kbits_index in (0, 15):
        return None
    is_mpeg1 = version == 3  # else MPEG 2, or MPEG 2.5 at a quarter of the rates
    n_samples = 1152 if is_mpeg1 else 576
    sample_rate = MP3_RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    kbits = (MPEG1_KBITS if is_mpeg1 else MPEG2_KBITS)[kbits_index]
    return n_samples * 125 * kbits // sample_rate + padding, n_samples


def _header_frame_count(frame: bytes) -> int | None:
    """Return the frame count of a Xing, Info or VBRI header; None without one."""
    for tag, flag_offset, count_offset in ((b"Xing", 7, 8), (b"Info", 7, 8), (b"VBRI", None, 14)):
        start = frame.find(tag)
        count = start + count_offset
        if start > 0 and len(frame) >= count + 4 and (flag_offset is None or frame[start + flag_offset] & 1):
            return int.from_bytes(frame[count : count + 4], "big")
    return None


class AudioReader:
    """An audio file, open for reading. Use it as a context manager.

    Parameters
    ----------
    path
        An audio file in one of the formats of `EXTENSIONS`.
    sample_rate
        Sample rate of the blocks in Hz.

    Attributes
    ----------
    seconds : float
        Duration of the file.
    is_resampled_or_downmixed : bool
        Whether the blocks differ from the samples of the file in sample rate or number of channels.
    full_scale : float
        Divide the blocks by this value to get samples in [-1, 1].

    Raises
    ------
    AudioReadError
        If the path is not a regular file, the file is not audio, or it is shorter than its header says.
    OSError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        if not path.is_file():  # opening a pipe would block
            raise AudioReadError(f"{UNREADABLE}: not a regular file")
        with path.open("rb") as file:
            n_mp3_samples = check_not_truncated(file, path.stat().st_size)
        self.sample_rate = sample_rate
        try:
            self._file = soundfile.SoundFile(os.fsencode(path))
        except soundfile.LibsndfileError as error:
            raise AudioReadError(f"not audio: {_error_text(error)}") from None
        if n_mp3_samples is not None and n_mp3_samples > self._file.frames + MP3_LENGTH_TOLERANCE:
            raise AudioReadError("unknown length: a variable bit rate MP3 without a header; convert it")
        self._length_known = n_mp3_samples is None
        if self._file.samplerate not in VALID_SAMPLE_RATES:
            raise AudioReadError(f"damaged: the sample rate is {self._file.samplerate} Hz")
        self.is_resampled_or_downmixed = self._file.channels != 1 or self._file.samplerate != sample_rate
        self.seconds = self._file.frames / self._file.samplerate
        is_native_pcm16 = self._file.subtype == "PCM_16" and not self.is_resampled_or_downmixed
        self._dtype = "int16" if is_native_pcm16 else "float32"
        self.full_scale = 32768.0 if is_native_pcm16 else 1.0

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """Read the file from its start.

        Yields
        ------
        ndarray
            int16 or float32, (n_samples,), at `sample_rate`. The blocks have different lengths.

        Raises
        ------
        AudioReadError
            If the file is truncated, cannot be decoded, or has NaN or infinite samples.
        """
        blocks = self._decode()
        if self._file.samplerate != self.sample_rate:
            blocks = _resample(blocks, self._file.samplerate, self.sample_rate)
        return blocks

    def _decode(self) -> Iterator[np.ndarray]:
        file = self._file
        n_read = 0
        try:
            file.seek(0)
            while n_read < file.frames:
                block = file.read(BLOCK_SAMPLES // file.channels, self._dtype, always_2d=True)
                if not len(block):
                    if self._length_known:
                        raise AudioReadError(f"truncated: {n_read} of {file.frames} samples")
                    return
                n_read += len(block)
                mono = block[:, 0] if file.channels == 1 else block.mean(axis=1)
                if not np.isfinite(mono).all():
                    raise AudioReadError("not finite: the samples contain NaN or infinity")
                yield mono
        except soundfile.LibsndfileError as error:
            raise AudioReadError(f"truncated or damaged: {_error_text(error)}") from None


def _error_text(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string) or f"libsndfile error {error.code}"


def _resample(blocks: Iterator[np.ndarray], sample_rate: int, target_rate: int) -> Iterator[np.ndarray]:
    import soxr  # imported only when needed: the import takes as long as reading many clips

    stream = soxr.ResampleStream(sample_rate, target_rate, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
