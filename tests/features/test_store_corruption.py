"""A bit is flipped anywhere in a store, but in its frames: it is refused, and nothing hangs or swells."""

import os
import resource
import signal
from pathlib import Path

import h5py
import pytest
from conftest import BASELINE
from test_store import sample_store

from dcase2018.features.store import Store
from dcase2018.utils.errors import Dcase2018Error

REFUSED, AS_WRITTEN = 10, 11
STRIDE = 17  # of the bytes beyond the seal: a child each for all of them takes seven minutes


def told(store: Store) -> list[object]:
    """All that a store says outside its frames."""
    return [store.feature_config, store.writer, *(store.entry(row) for row in range(len(store)))]


def outcome(path: Path, expected: list[object]) -> int:
    """Exit status of a child that reads a store within seconds and little memory; -N if signal N ended it."""
    child = os.fork()
    if not child:
        signal.alarm(10)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
        status = 1
        try:
            status = AS_WRITTEN if told(Store(path)) == expected else 2
        except Dcase2018Error as error:
            status = REFUSED if len(str(error).splitlines()) == 1 else 3
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_a_bit_is_flipped_outside_the_frames(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    frames = sample_store(path)
    expected = told(Store(path))
    assert expected[0] == BASELINE
    with h5py.File(path) as file:
        first = file["frames"].id.get_offset()
    outside = [*range(first), *range(first + sum(clip.nbytes for clip in frames), path.stat().st_size)]
    content = path.read_bytes()
    for at in [*outside[:64], *outside[64::STRIDE]]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        assert outcome(path, expected) == REFUSED, at
