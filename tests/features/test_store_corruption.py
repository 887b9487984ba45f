"""Single-bit flips outside the frames: each is detected or without effect; HDF5 neither crashes nor hangs."""

import os
import random
import resource
import signal
from pathlib import Path

import h5py
import pytest
from conftest import BASELINE
from test_store import repack, sample_store

from dcase2018.features.store import Store
from dcase2018.utils.errors import Dcase2018Error

N_FLIPS = 2000
FLIPS_PER_CHILD = 100
SECONDS_PER_CHILD = 60
MEMORY_BYTES = 256 << 20  # beyond that of the test process


def describe(store: Store) -> list[object]:
    """Everything that a store contains, except its frames."""
    records = [store.record(row) for row in range(len(store))]
    return [store.feature_config, store.created_by, store.frames.shape, store.frames.dtype, *records]


def ranges_of_frames(path: Path) -> list[range]:
    """Positions of the bytes of the frames in the file."""
    with h5py.File(path) as file:
        frames = file["frames"]
        if frames.chunks is None:
            return [range(frames.id.get_offset(), frames.id.get_offset() + frames.nbytes)]
        chunks = [frames.id.get_chunk_info(i) for i in range(frames.id.get_num_chunks())]
        return [range(chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks]


def check_flips(path: Path, flips: list[tuple[int, int]], expected: list[object]) -> tuple[int, int]:
    """Open a store with each of some bits flipped; return how many flips were detected and had no effect."""
    content = path.read_bytes()
    n_detected = n_without_effect = 0
    for position, bit in flips:
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        damaged_path = path.with_name(
            f"{position}-{bit}.h5"
        )  # HDF5 caches the content of a file that is open
        damaged_path.write_bytes(damaged)
        try:
            store = Store(damaged_path)
            assert describe(store) == expected, f"wrong value after a flip of bit {bit} at {position}"
            store.verify()
            n_without_effect += 1
        except Dcase2018Error as error:
            n_detected += len(str(error).splitlines()) == 1
        damaged_path.unlink()
    return n_detected, n_without_effect


def check_in_child(path: Path, flips: list[tuple[int, int]], expected: list[object]) -> tuple[int, int]:
    """Run `check_flips` in a process with limits of time and memory; a crash fails the test."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(SECONDS_PER_CHILD)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES,) * 2)
        try:
            os.write(writer, " ".join(map(str, check_flips(path, flips, expected))).encode())
        except BaseException as error:
            os.write(writer, f"failed: {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        result = file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, flips
    assert result, flips
    assert not result.startswith("failed"), result
    n_detected, n_without_effect = result.split()
    return int(n_detected), int(n_without_effect)


@pytest.mark.slow
@pytest.mark.parametrize("is_compressed", [False, True])
def test_bit_flips_outside_the_frames_are_detected_or_without_effect(
    tmp_path: Path, is_compressed: bool
) -> None:
    path = tmp_path / "s.h5"
    sample_store(path, (3, 0, 20, 40))
    if is_compressed:
        repack(path, tmp_path / "p.h5", chunks=(8, 64), compression="gzip")
        path = tmp_path / "p.h5"
    expected = describe(Store(path))
    assert expected[0] == BASELINE
    frames = {position for positions in ranges_of_frames(path) for position in positions}
    outside = [position for position in range(path.stat().st_size) if position not in frames]
    draw = random.Random(0)
    flips = [(draw.choice(outside), draw.randrange(8)) for _ in range(N_FLIPS)]
    flips += [(position, bit) for position in range(48) for bit in range(8)]  # all of the superblock
    n_detected = n_checked = 0
    for start in range(0, len(flips), FLIPS_PER_CHILD):
        detected, without_effect = check_in_child(path, flips[start : start + FLIPS_PER_CHILD], expected)
        n_detected += detected
        n_checked += detected + without_effect
    assert n_checked == len(flips)
    assert n_detected > N_FLIPS / 4  # the others hit unused bytes
