"""Compare the sizes in the header of a WAV, RF64, W64, CAF or AIFF file with the size of the file.

Recorders that lose power, pipes and files above 4 GB leave wrong sizes, although the audio is complete. The
corrected sizes are applied to a view of the file, which FFmpeg then decodes.
"""

import io
import math
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from dcase2018.data.audio_errors import INCOMPLETE

MAX_CHUNKS = 1000  # of a file; one with more is damaged, or has a tail of zeros

WRAP = 1 << 32  # sizes are stored modulo this
UNKNOWN_SIZE = WRAP - 1
MAX_SIZE = 1 << 62  # larger ones are not sizes, such as -1
# A program that writes to a pipe stores the largest size of 31 or 32 bits, with or without the header.
STREAM_SIZES = (range((1 << 31) - (1 << 16), (1 << 31) + (1 << 10)), range(WRAP - (1 << 16), WRAP))
MAX_HEADER_BYTES = 44  # some recorders count the header as samples

BOS_PAGE = re.compile(rb"OggS\0[\2\3\6\7]")  # first page of an Ogg stream
SEARCH_BYTES = 1 << 20
EOS_FLAG = 4  # of the last page of an Ogg stream
MAX_OGG_PAGE = 65307  # bytes

MSG_UNFINISHED = "the header has no length, as of an unfinished recording; all audio of the file is used"
MSG_TOO_LARGE = "the length in the header is too large (bytes: {}); all audio of the file is used"
MSG_WRAPPED = "the header cannot store a length above 4 GB; all audio of the file is used"
MSG_TAIL = "{} unknown bytes after the audio are not used"


@dataclass(frozen=True)
class HeaderCheck:
    """Whether a header agrees with the size of its file.

    Attributes
    ----------
    agrees
        Whether libsndfile reads the header, and it agrees with the size of the file.
    warning
        What is wrong with the header, if audio may be concerned.
    patches
        Offsets and bytes that correct the header.
    end
        Where the audio of the file ends. None for the end of the file.
    promised_ratio
        How many times more bytes of audio the header promises than there are; infinite if there are none.
    """

    agrees: bool = False
    warning: str = ""
    patches: Sequence[tuple[int, bytes]] = ()
    end: int | None = None
    promised_ratio: float = 1.0


@dataclass(frozen=True)
class Layout:
    """How the chunks of a format are stored.

    Attributes
    ----------
    start
        Offset of the first chunk in bytes.
    header
        Format of a chunk header: identifier and size.
    data_id
        Identifier of the chunk with the samples.
    header_in_size
        Bytes of the chunk header that its size includes.
    align
        Chunks start at multiples of this many bytes.
    """

    start: int
    header: struct.Struct
    data_id: bytes
    header_in_size: int = 0
    align: int = 2


RIFF = Layout(12, struct.Struct("<4sI"), b"data")
RIFX = Layout(12, struct.Struct(">4sI"), b"data")
AIFF = Layout(12, struct.Struct(">4sI"), b"SSND")
CAF = Layout(8, struct.Struct(">4sQ"), b"data", align=1)
W64 = Layout(40, struct.Struct("<16sQ"), b"data\xf3\xac\xd3\x11\x8c\xd1\0\xc0O\x8e\xdb\x8a", 24, 8)
LAYOUTS = {
    (b"RIFF", b"WAVE"): RIFF,
    (b"RF64", b"WAVE"): RIFF,
    (b"BW64", b"WAVE"): RIFF,
    (b"RIFX", b"WAVE"): RIFX,
    (b"FORM", b"AIFF"): AIFF,
    (b"FORM", b"AIFC"): AIFF,
}


@dataclass(frozen=True)
class Samples:
    """Where the samples of a file are: their offset, and their size according to the header.

    `ds64_start` is the offset of the 64-bit sizes of RF64, or None.
    """

    layout: Layout
    start: int
    size: int
    ds64_start: int | None


def check_header(file: BinaryIO, file_size: int) -> HeaderCheck:
    """Compare the header of an open WAV, RF64, W64, CAF or AIFF file with the size of the file.

    Files of other formats, or without samples, do not agree, and have no corrections.
    """
    magic = file.read(12)
    layout = LAYOUTS.get((magic[:4], magic[8:]))
    layout = {b"caff": CAF, b"riff": W64}.get(magic[:4], layout)
    samples = _find_samples(file, file_size, layout) if layout else None
    if not samples:
        return HeaderCheck()
    remaining = file_size - samples.start
    if samples.size > remaining:
        return _check_oversized(samples, remaining)
    if layout in (CAF, W64):
        return HeaderCheck() if samples.size else _corrected(samples, remaining, MSG_UNFINISHED)
    return _check_what_follows(file, file_size, samples)


def _find_samples(file: BinaryIO, file_size: int, layout: Layout) -> Samples | None:
    """Walk the chunks to the samples."""
    position, ds64_start, size64 = layout.start, None, None
    for _ in range(MAX_CHUNKS):
        fields = _read_chunk_header(file, file_size, position, layout)
        if fields is None:
            return None
        chunk_id, size = fields
        size = max(0, size - layout.header_in_size)
        position += layout.header.size
        if chunk_id == b"ds64":
            sizes = file.read(16)
            if len(sizes) == 16:
                ds64_start, size64 = position, struct.unpack("<8xQ", sizes)[0]
        if chunk_id == layout.data_id:
            size = size64 if size64 is not None and size == UNKNOWN_SIZE else size
            return Samples(layout, position, size, ds64_start)
        position += size + -size % layout.align
    return None


def _read_chunk_header(
    file: BinaryIO, file_size: int, position: int, layout: Layout
) -> tuple[bytes, int] | None:
    """Read the identifier and the size of the chunk at a position; None if the file ends before."""
    if position > file_size:
        return None
    file.seek(position)
    fields = file.read(layout.header.size)
    if len(fields) < layout.header.size:
        return None
    chunk_id, size = layout.header.unpack(fields)
    return chunk_id, size


def _check_oversized(samples: Samples, remaining: int) -> HeaderCheck:
    """Check a header that promises more bytes than there are."""
    excess = samples.size - remaining
    if samples.size >= MAX_SIZE or any(samples.size in sizes for sizes in STREAM_SIZES):
        return _corrected(samples, remaining, MSG_UNFINISHED)
    if excess <= MAX_HEADER_BYTES:
        return _corrected(samples, remaining, MSG_TOO_LARGE.format(excess))
    ratio = samples.size / remaining if remaining else math.inf
    return replace(_corrected(samples, remaining, ""), promised_ratio=ratio)


def _check_what_follows(file: BinaryIO, file_size: int, samples: Samples) -> HeaderCheck:
    """Check what follows the samples of a file that is large enough for its header."""
    layout, end = samples.layout, samples.start + samples.size
    if _has_only_chunks(file, file_size, end + samples.size % 2, layout):
        return HeaderCheck(agrees=True)
    if samples.size == 0:
        return _corrected(samples, file_size - end, MSG_UNFINISHED)
    n_wraps = (file_size - end) // WRAP
    real_end = end + n_wraps * WRAP
    if n_wraps and _has_only_chunks(file, file_size, real_end + real_end % 2, layout):
        return _corrected(samples, real_end - samples.start, MSG_WRAPPED)
    file.seek(end)
    tail = file.read(1 << 16)
    if not any(tail):  # zeros that a recorder or a file system appended
        return HeaderCheck(end=end)
    if layout.data_id in (tail[:4], tail[1:5]):  # more samples
        return HeaderCheck()
    return HeaderCheck(warning=f"{INCOMPLETE}: {MSG_TAIL.format(file_size - end)}", end=end)


def _corrected(samples: Samples, size: int, warning: str) -> HeaderCheck:
    """Return the corrections that set the size of the samples."""
    field_format = samples.layout.header.format.replace("16s", "").replace("4s", "")
    field_size = struct.calcsize(field_format)
    value = min(size + samples.layout.header_in_size, 256**field_size - 1)
    patches = [(samples.start - field_size, struct.pack(field_format, value))]
    if samples.layout is AIFF:  # FFmpeg reads no further than this size
        patches.append((4, struct.pack(">I", min(samples.start + size - 8, UNKNOWN_SIZE))))
    if samples.layout is RIFF and samples.ds64_start is None:
        patches.append((0, b"RIFF"))  # of an RF64 file without its 64-bit sizes
    if samples.ds64_start is not None:
        patches = [
            (samples.start - 4, struct.pack("<I", UNKNOWN_SIZE)),
            (samples.ds64_start + 8, struct.pack("<Q", size)),
        ]
    return HeaderCheck(warning=warning, patches=patches, end=samples.start + size)


def _has_only_chunks(file: BinaryIO, file_size: int, position: int, layout: Layout) -> bool:
    """Return whether valid chunks, none of them with samples, follow up to the end of the file."""
    for _ in range(MAX_CHUNKS):
        if position in (file_size, file_size + 1, file_size - 1):  # one byte may pad the last chunk
            return True
        fields = _read_chunk_header(file, file_size, position, layout)
        if fields is None:
            return False
        chunk_id, size = fields
        if chunk_id == layout.data_id or not all(32 <= byte < 127 for byte in chunk_id):
            return False
        position += layout.header.size + size + size % 2
    return False


class FileView:
    """A range of a file, with some bytes replaced, as a file object for PyAV and soundfile.

    Parameters
    ----------
    path
    start, end
        Range in bytes. `end` None is the end of the file.
    patches
        Offsets in the file and the bytes there.
    """

    def __init__(
        self, path: Path, start: int = 0, end: int | None = None, patches: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._patches = start, patches
        self._end = os.fstat(self._file.fileno()).st_size if end is None else end
        self._position = start
        self.name = "audio"  # without suffix: FFmpeg recognizes the format by the content alone

    def read(self, size: int = -1) -> bytes:
        n_left = max(0, self._end - self._position)
        if not n_left:
            return b""
        self._file.seek(self._position)
        data = self._file.read(n_left if size < 0 else min(size, n_left))
        for offset, patch in self._patches:
            first = max(offset, self._position)
            last = min(offset + len(patch), self._position + len(data))
            if first < last:
                at = first - self._position
                replacement = patch[first - offset : last - offset]
                data = data[:at] + replacement + data[at + len(replacement) :]
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = max(self._start, base + offset)
        return self.tell()

    def tell(self) -> int:
        return self._position - self._start

    def close(self) -> None:
        self._file.close()


def ogg_links(path: Path) -> list[int]:
    """Find where the links of a chained Ogg file start; FFmpeg reads links of one format only.

    Returns
    -------
    list of int
        Offsets in bytes. The streams of one link that are interleaved start with adjacent pages.
    """
    starts, next_page = [0], 0
    with path.open("rb") as file:
        for position in _find_all(file, BOS_PAGE):
            if position > next_page:
                starts.append(position)
            file.seek(position)
            next_page = _page_end(file.read(27 + 255), position)
    return starts


def _find_all(file: BinaryIO, pattern: re.Pattern[bytes]) -> Iterator[int]:
    """Yield the offsets of a pattern of 6 bytes in a file, which is read in blocks."""
    start = 0
    while len(block := _read_at(file, start, SEARCH_BYTES)) > 5:
        yield from (start + match.start() for match in pattern.finditer(block))
        start += len(block) - 5


def _read_at(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _page_end(page: bytes, position: int) -> int:
    """Return where a page of Ogg ends, from its header."""
    n_segments = page[26] if len(page) > 26 else 0
    return position + 27 + n_segments + sum(page[27 : 27 + n_segments])


def has_last_ogg_page(path: Path) -> bool:
    """Return whether an Ogg file ends with a complete page that is marked as the last one."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        start = file.seek(max(0, size - MAX_OGG_PAGE))
        tail = file.read()
    at = tail.rfind(b"OggS")
    page = tail[max(0, at) :]
    return at >= 0 and len(page) > 26 and bool(page[5] & EOS_FLAG) and _page_end(page, start + at) <= size
