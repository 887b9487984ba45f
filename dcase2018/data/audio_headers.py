"""Compare the sizes in the header of a WAV, RF64 or AIFF file with the size of the file.

Recorders that lose power, pipes and files above 4 GB leave wrong sizes, although the audio is complete. The
corrected sizes are applied to a view of the file, which FFmpeg then decodes.
"""

import io
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dcase2018.data.audio_errors import INCOMPLETE

MAX_CHUNKS = 1000  # of a file; one with more is damaged, or has a tail of zeros

WRAP = 1 << 32  # sizes are stored modulo this
UNKNOWN_SIZE = WRAP - 1
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
    """What a header says about the size of its file.

    Attributes
    ----------
    agrees
        Whether the header is complete and agrees with the size of the file.
    warning
        What is wrong with the header, if audio may be concerned.
    patches
        Offsets and bytes that correct the header.
    end
        Where the audio of the file ends. None for the end of the file.
    """

    agrees: bool = False
    warning: str = ""
    patches: Sequence[tuple[int, bytes]] = ()
    end: int | None = None


@dataclass(frozen=True)
class Chunks:
    """The chunks of a RIFF-like file, as far as they are valid.

    Attributes
    ----------
    order
        Byte order of the sizes.
    data_start, data_size
        Offset of the samples, and their size according to the header. None without samples.
    ds64_start
        Offset of the 64-bit sizes of RF64, or None.
    """

    order: str
    data_start: int
    data_size: int
    ds64_start: int | None


def check_header(file: BinaryIO, file_size: int) -> HeaderCheck:
    """Compare the header of an open WAV, RF64 or AIFF file with the size of the file.

    Files of other formats, or without samples, do not agree, and have no corrections.
    """
    magic = file.read(12)
    if not _is_riff_like(magic):
        return HeaderCheck()
    data_id, order = (b"SSND", ">") if magic[:4] == b"FORM" else (b"data", ">" if magic[3:4] == b"X" else "<")
    chunks = _find_samples(file, file_size, order, data_id)
    if not chunks:
        return HeaderCheck()
    size, remaining = chunks.data_size, file_size - chunks.data_start
    if size > remaining:
        return _check_oversized(chunks, size, remaining)
    end = chunks.data_start + size
    if (size > 0 or not remaining) and _has_only_chunks(file, file_size, end + size % 2, order, data_id):
        return HeaderCheck(agrees=True)
    if size == 0:
        is_empty = _has_only_chunks(file, file_size, end, order, data_id)
        return HeaderCheck(agrees=True) if is_empty else _corrected(chunks, remaining, MSG_UNFINISHED)
    return _check_tail(file, file_size, chunks, data_id)


def _is_riff_like(magic: bytes) -> bool:
    is_wave = magic[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and magic[8:] == b"WAVE"
    return is_wave or (magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"))


def _find_samples(file: BinaryIO, file_size: int, order: str, data_id: bytes) -> Chunks | None:
    """Walk the chunks to the samples."""
    header = struct.Struct(f"{order}4sI")
    position, ds64_start, size64 = 12, None, None
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        fields = file.read(header.size)
        if len(fields) < header.size:
            return None
        chunk_id, size = header.unpack(fields)
        position += header.size
        if chunk_id == b"ds64":
            sizes = file.read(16)
            if len(sizes) == 16:
                ds64_start, size64 = position, struct.unpack("<8xQ", sizes)[0]
        if chunk_id == data_id:
            size = size64 if size64 is not None and size == UNKNOWN_SIZE else size
            return Chunks(order, position, min(size, max(UNKNOWN_SIZE, file_size + WRAP)), ds64_start)
        position += size + size % 2
    return None


def _check_oversized(chunks: Chunks, size: int, remaining: int) -> HeaderCheck:
    """Check a header that promises more bytes than there are."""
    if size >= UNKNOWN_SIZE or any(size in sizes for sizes in STREAM_SIZES):
        return _corrected(chunks, remaining, MSG_UNFINISHED)
    if size - remaining <= MAX_HEADER_BYTES:
        return _corrected(chunks, remaining, MSG_TOO_LARGE.format(size - remaining))
    return HeaderCheck()  # the decoder reports how much is there


def _check_tail(file: BinaryIO, file_size: int, chunks: Chunks, data_id: bytes) -> HeaderCheck:
    """Check a file with unknown bytes after the samples."""
    end = chunks.data_start + chunks.data_size
    n_wraps = (file_size - end) // WRAP
    real_end = end + n_wraps * WRAP
    if n_wraps and _has_only_chunks(file, file_size, real_end + real_end % 2, chunks.order, data_id):
        return _corrected(chunks, real_end - chunks.data_start, MSG_WRAPPED)
    file.seek(end)
    tail = file.read(1 << 16)
    if not any(tail):  # zeros that a recorder or a file system appended
        return HeaderCheck(end=end)
    if data_id in (tail[:4], tail[1:5]):  # more samples
        return HeaderCheck()
    warning = f"{INCOMPLETE}: {MSG_TAIL.format(file_size - end)}"
    return HeaderCheck(warning=warning, end=end)


def _corrected(chunks: Chunks, size: int, warning: str) -> HeaderCheck:
    """Return the corrections that set the size of the samples."""
    field = struct.pack(f"{chunks.order}I", min(size, UNKNOWN_SIZE))
    patches = [(chunks.data_start - 4, field)]
    if chunks.ds64_start is not None:
        patches = [(chunks.ds64_start + 8, struct.pack("<Q", size))]
        patches.append((chunks.data_start - 4, struct.pack("<I", UNKNOWN_SIZE)))
    return HeaderCheck(warning=warning, patches=patches, end=chunks.data_start + size)


def _has_only_chunks(file: BinaryIO, file_size: int, position: int, order: str, data_id: bytes) -> bool:
    """Return whether valid chunks, none of them with samples, follow up to the end of the file."""
    header = struct.Struct(f"{order}4sI")
    for _ in range(MAX_CHUNKS):
        if position >= file_size - 1:  # one byte may pad the last chunk
            return True
        file.seek(position)
        fields = file.read(header.size)
        if len(fields) < header.size:
            return False
        chunk_id, size = header.unpack(fields)
        if chunk_id == data_id or not all(32 <= byte < 127 for byte in chunk_id):
            return False
        position += header.size + size + size % 2
        if position > file_size + 1:
            return False
    return False


class FileView:
    """A range of a file, with some bytes replaced, as a file object for PyAV.

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
