"""The seal of a store: what tells, before HDF5 reads a byte of it, that its index is what was written.

HDF5 believes what stands in its headers: a flipped bit there can change a name without a word, ask for all
memory or never come to an end. A store therefore begins with a user block, which HDF5 leaves to its
writer, with a checksum of everything but the frames; each clip's frames have one of their own.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 512  # the least user block that HDF5 knows
MAGIC = b"DCASE18\n"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
FORMAT = 2

# Magic, format, CRC-32 of all that follows but the frames, and where the frames lie: first byte, bytes.
HEAD = struct.Struct("<8sIIQQ")
COVERED = 16  # first byte that the checksum covers

PIECE_BYTES = 1 << 20


class SealError(Exception):
    """The bytes of a store are not those that were sealed; the text is the reason."""


def write_seal(path: Path, position: int, n_bytes: int) -> None:
    """Seal a file whose first `BLOCK_BYTES` are kept free, and whose frames lie where it is said.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with path.open("r+b") as file:
        file.write(HEAD.pack(MAGIC, FORMAT, 0, position, n_bytes))
        file.flush()
        crc32 = _checksum(file, position, n_bytes)
        file.seek(0)
        file.write(HEAD.pack(MAGIC, FORMAT, crc32, position, n_bytes))


def read_seal(path: Path) -> int:
    """Check the seal of a store and tell its format: 1 for an HDF5 file without a seal, 0 for no store.

    Raises
    ------
    SealError
        If the bytes are not those that were sealed. What a newer format seals is not checked.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD.size)
        if head[:8] == HDF5_MAGIC:
            return 1
        if head[:8] != MAGIC:
            return 0
        if len(head) < HEAD.size:
            raise SealError("it is cut off")
        _, form, crc32, position, n_bytes = HEAD.unpack(head)
        if form <= FORMAT and _checksum(file, position, n_bytes) != crc32:
            raise SealError("the checksum of its index does not hold")
        return int(form)


def _checksum(file: BinaryIO, position: int, n_bytes: int) -> int:
    """CRC-32 of a file from `COVERED` on, its frames left out."""
    size = file.seek(0, 2)
    first = min(position, size)
    crc32 = 0
    for start, stop in ((COVERED, first), (min(first + n_bytes, size), size)):
        file.seek(start)
        for piece in _pieces(file, stop - start):
            crc32 = zlib.crc32(piece, crc32)
    return crc32


def _pieces(file: BinaryIO, left: int) -> Iterator[bytes]:
    """Read so many bytes, or what there is of them, with bounded memory."""
    while left > 0 and (piece := file.read(min(left, PIECE_BYTES))):
        yield piece
        left -= len(piece)
