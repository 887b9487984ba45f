"""Decoders of audio files: libsndfile for simple files, which it decodes exactly, and FFmpeg for all others.

Simple are WAV, AIFF and FLAC with a valid header, and Ogg Vorbis with one complete stream, of which FFmpeg
may drop the first 128 samples.
"""

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import soundfile

from dcase2018.data.audio_errors import INCOMPLETE, AudioReadError
from dcase2018.data.audio_headers import FileView, HeaderCheck, check_header, has_last_ogg_page, ogg_links

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer

BLOCK_SAMPLES = 1 << 20  # samples of all channels per block; bounds the memory of long files

MAX_CHANNELS = 1024
MIN_UNSAFE_PLANES = 8  # PyAV looks for planes behind the last one, and reads other memory as samples

# FFmpeg opens files of these formats only; playlists and scripts, which name other files, are not among them.
DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,avr,caf,dsf,dts,eac3,flac,flv,gsm,iff,ircam,loas,matroska,"
    "mov,mp3,mpc,mpc8,mpeg,mpegts,nistsphere,ogg,oma,epaf,pvf,qcp,rm,shn,sox,tak,tta,voc,w64,wav,wv"
)
OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
# These have the duration in the header; FFmpeg estimates that of other formats.
TIMED_DEMUXERS = {"wav", "w64", "aiff", "au", "caf", "flac", "tta", "wv", "ape", "mov", "matroska"}
DURATION_TOLERANCE = 0.15  # s; encoders add and remove up to this much at both ends

XING_BYTES = 3000  # before the first frame of an MP3 with audio
# The frame count of an MP3: behind the flags, of which the first is for it, or at a fixed place.
XING = re.compile(rb"(?:Xing|Info)\0\0\0[\1\3\5\7\x09\x0b\x0d\x0f](.{4})|VBRI.{10}(.{4})", re.DOTALL)
TAGGED_CODECS = ("mp1", "mp2", "mp3", "aac")  # of files that may have tags between or after the frames
MAX_TAGS = 2

BUFFER_BYTES = 1 << 18  # per read

Block = tuple[np.ndarray, int]  # samples, (n_samples, n_channels), and their sample rate


class Decoder(Protocol):
    """A file that can be decoded from its start any number of times.

    Attributes
    ----------
    sample_rate, n_channels
        Format of the first samples.
    n_samples
        Length according to the header, or an estimate of it; 0 if it is unknown.
    is_pcm16, is_float
        Whether the file stores 16-bit integers, or floats, which have no full scale.
    warning
        What is wrong with the file, as far as it was decoded.
    """

    sample_rate: int
    n_channels: int
    n_samples: int
    is_pcm16: bool
    is_float: bool
    warning: str

    def blocks(self, dtype: str) -> Iterator[Block]:
        """Decode the file; `dtype` "int16" is for 16-bit files only."""

    def close(self) -> None: ...


def open_decoder(path: Path) -> Decoder:
    """Open an audio file with the decoder that reads it best.

    Raises
    ------
    AudioReadError
        If the file is not audio.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        check = check_header(file, os.fstat(file.fileno()).st_size)
        file.seek(0)
        start = file.read(35)
    is_rifx = start[:4] == b"RIFX"  # FFmpeg ignores its byte order
    is_corrected_aiff = start[:4] == b"FORM" and check.patches  # FFmpeg reads also other sizes in it
    is_complete_ogg = _is_vorbis(start) and _is_single_link(path)
    if check.agrees or is_rifx or is_corrected_aiff or _is_timed_flac(start) or is_complete_ogg:
        with suppress(soundfile.LibsndfileError):
            return SoundfileDecoder(path, check)
    if is_rifx:
        raise AudioReadError("not audio: libsndfile does not decode this RIFX file")
    return FfmpegDecoder(path, check)


def _is_timed_flac(start: bytes) -> bool:
    """Return whether a file that starts like this is a FLAC file with its length in the header."""
    return start[:4] == b"fLaC" and len(start) > 25 and bool(start[21] & 15 or any(start[22:26]))


def _is_vorbis(start: bytes) -> bool:
    return start[:4] == b"OggS" and start[28:] == b"\1vorbis"


def _is_single_link(path: Path) -> bool:
    """Return whether an Ogg file is complete and not chained."""
    return has_last_ogg_page(path) and len(ogg_links(path)) == 1


class SoundfileDecoder:
    """Decode with libsndfile. FFmpeg decodes what libsndfile fails to decode."""

    def __init__(self, path: Path, check: HeaderCheck) -> None:
        self._path, self._check = path, check
        self._view = FileView(path, 0, check.end, check.patches) if check.patches or check.end else None
        self._file = soundfile.SoundFile(self._view or os.fsencode(path))
        self.sample_rate, self.n_channels = self._file.samplerate, self._file.channels
        self.n_samples = self._file.frames
        self.is_pcm16 = self._file.subtype == "PCM_16"
        self.is_float = self._file.subtype in ("FLOAT", "DOUBLE")
        loss = _find_loss(self._file.frames / self._file.samplerate, 0.0, check)
        self.warning = f"{INCOMPLETE}: {loss}" if loss else check.warning

    def close(self) -> None:
        self._file.close()
        if self._view:
            self._view.close()

    def blocks(self, dtype: str) -> Iterator[Block]:
        n_read = 0
        while n_read < self.n_samples:
            samples = self._read(n_read, dtype)
            if not len(samples):
                yield from self._rest(n_read, dtype)
                return
            n_read += len(samples)
            yield samples, self.sample_rate

    def _read(self, n_read: int, dtype: str) -> np.ndarray:
        """Read the next block, of no samples if the file is damaged."""
        try:
            if not n_read:
                self._file.seek(0)
            return self._file.read(BLOCK_SAMPLES // self.n_channels, dtype, always_2d=True)
        except soundfile.LibsndfileError:
            return np.zeros((0, self.n_channels), dtype)

    def _rest(self, n_read: int, dtype: str) -> Iterator[Block]:
        """Decode what follows the first samples with FFmpeg."""
        decoder = FfmpegDecoder(self._path, self._check)
        for samples, sample_rate in decoder.blocks("float32"):
            rest = samples[n_read:]
            n_read -= len(samples) - len(rest)
            if len(rest):
                yield (rest * 32768 if dtype == "int16" else rest), sample_rate
        self.warning = decoder.warning


class FfmpegDecoder:
    """Decode with FFmpeg, which continues after damage. Samples are float32."""

    def __init__(self, path: Path, check: HeaderCheck) -> None:
        self._path, self._check = path, check
        with path.open("rb") as file:
            self._magic = file.read(12)
        starts = ogg_links(path) if self._magic[:4] == b"OggS" else [0]
        self._ranges = list(zip(starts, [*starts[1:], check.end], strict=True))
        self._n_bad = 0
        self.is_pcm16, self.warning = False, check.warning
        with self._open(0) as (container, stream):
            context = stream.codec_context
            self.sample_rate, self.n_channels = context.sample_rate, context.layout.nb_channels
            is_lossless = context.name.startswith(("pcm_", "wavpack"))
            self.is_float = is_lossless and context.format.name.startswith(("flt", "dbl"))
            self._is_tagged = context.name.startswith(TAGGED_CODECS)
            self._promised = self._find_promise(container, stream)
            self.n_samples = round((self._promised or (container.duration or 0) / 1e6) * self.sample_rate)

    def close(self) -> None:
        """Do nothing: the file is open only while it is decoded."""

    def blocks(self, dtype: str) -> Iterator[Block]:
        assert dtype == "float32"
        self._n_bad, n_seconds = 0, 0.0
        for index in range(len(self._ranges)):
            for samples, sample_rate in _merge(self._frames(index)):
                n_seconds += len(samples) / sample_rate
                yield samples, sample_rate
        loss = self._find_loss(n_seconds)
        if not n_seconds:
            raise AudioReadError(f"damaged: {loss}" if loss else "not audio: nothing in it can be decoded")
        self.warning = f"{INCOMPLETE}: {loss}" if loss else self._check.warning

    @contextmanager
    def _open(self, index: int) -> "Iterator[tuple[InputContainer, AudioStream]]":
        """Open a link of the file and its best audio stream."""
        import av  # imported only when needed: the import takes as long as reading many clips

        start, end = self._ranges[index]
        view = FileView(self._path, start, end, self._check.patches)
        try:
            container = av.open(
                view, "r", options=OPTIONS, buffer_size=BUFFER_BYTES, metadata_errors="replace"
            )
        except av.FFmpegError:
            view.close()
            raise AudioReadError(self._reason()) from None
        with closing(view), container:
            stream = cast("AudioStream | None", container.streams.best("audio"))
            if stream is None:
                raise AudioReadError("not audio: the file has no audio stream")
            if stream.codec_context is None or not stream.codec_context.sample_rate:
                raise AudioReadError("not audio: FFmpeg has no decoder for its audio stream")
            stream.codec_context.thread_count = 1  # other clips use the other cores
            yield container, stream

    def _reason(self) -> str:
        if self._magic[4:8] == b"ftyp":
            return (
                "damaged: the MP4 file has no index, as a recording that was cut off; repair it and try again"
            )
        if self._magic[:4] == b"OggS":
            return "damaged: the Ogg file has no complete page of audio"
        return "not audio: no decoder accepts it"

    def _frames(self, index: int) -> Iterator[Block]:
        """Decode a link of the file. Damaged packets are counted and left out."""
        import av

        try:
            with self._open(index) as (container, stream):
                for packet in container.demux(stream):
                    try:
                        frames = packet.decode()
                    except av.FFmpegError:
                        self._n_bad += 1
                        continue
                    yield from ((_to_float(frame), frame.sample_rate) for frame in frames)
        except (av.FFmpegError, AudioReadError):
            self._n_bad += 1

    def _find_promise(self, container: "InputContainer", stream: "AudioStream") -> float | None:
        """Return the duration in s according to the header. None if the header has none."""
        formats = set(container.format.name.split(","))
        if "mp3" in formats:
            return self._find_mp3_promise(container, stream)
        if not formats & TIMED_DEMUXERS or self._check.patches:
            return None
        if stream.duration is not None:
            return float(stream.duration * (stream.time_base or 0))
        return container.duration / 1e6 if container.duration else None

    def _find_mp3_promise(self, container: "InputContainer", stream: "AudioStream") -> float | None:
        """Read the frame count of an MP3 before its first frame with audio."""
        packet = next(container.demux(stream))
        if packet.pos is None or not packet.duration or not packet.time_base:
            return None
        frame_seconds = float(packet.duration * packet.time_base)
        with self._path.open("rb") as file:
            file.seek(max(0, packet.pos - XING_BYTES))
            header = file.read(min(packet.pos, XING_BYTES))
        if match := XING.search(header):
            n_frames = int.from_bytes(match[1] or match[2], "big")
            return n_frames * frame_seconds
        return None

    def _find_loss(self, n_seconds: float) -> str:
        """Return which audio of the file is lost."""
        if loss := _find_loss(n_seconds, self._promised or 0.0, self._check):
            return loss
        if self._magic[:4] == b"OggS" and not has_last_ogg_page(self._path):
            return f"the last page is missing, {n_seconds:.1f} s are there"
        if self._n_bad > (MAX_TAGS if self._is_tagged else 0):
            return f"{n_seconds:.1f} s are there, damaged parts left out: {self._n_bad}"
        return ""


def _find_loss(n_seconds: float, promised: float, check: HeaderCheck) -> str:
    """Return that the header of a file promises more than `n_seconds` of audio, if it does."""
    tolerance = DURATION_TOLERANCE
    if check.promised_ratio > 1:
        if not n_seconds:
            return "the file ends before its audio"
        promised, tolerance = n_seconds * check.promised_ratio, 0.0
    if n_seconds >= promised - tolerance:
        return ""
    digits = 1 if promised - n_seconds > 0.1 else 4
    return f"header promises {promised:.{digits}f} s, {n_seconds:.{digits}f} s are there"


def _to_float(frame: "av.AudioFrame") -> np.ndarray:
    """Return the samples of a frame in [-1, 1]: float32, (n_samples, n_channels)."""
    n_channels = frame.layout.nb_channels
    if frame.format.is_planar and n_channels >= MIN_UNSAFE_PLANES:
        frame = _interleave(frame)
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, n_channels)
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))


def _interleave(frame: "av.AudioFrame") -> "av.AudioFrame":
    """Copy a frame with a plane per channel to one with a single plane."""
    import av

    (interleaved,) = av.AudioResampler(frame.format.packed).resample(frame)
    return interleaved


def _merge(frames: Iterator[Block]) -> Iterator[Block]:
    """Concatenate frames of one format to blocks of at least `BLOCK_SAMPLES`, the last but one."""
    pending: list[np.ndarray] = []
    n_samples, block_rate = 0, 0
    for samples, sample_rate in frames:
        n_channels = samples.shape[1]
        if pending and (sample_rate != block_rate or n_channels != pending[0].shape[1]):
            yield np.concatenate(pending), block_rate
            pending, n_samples = [], 0
        pending.append(samples)
        n_samples, block_rate = n_samples + len(samples), sample_rate
        if n_samples * n_channels >= BLOCK_SAMPLES:
            yield np.concatenate(pending), block_rate
            pending, n_samples = [], 0
    if n_samples:
        yield np.concatenate(pending), block_rate
