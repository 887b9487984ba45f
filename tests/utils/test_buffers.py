"""Memory that is used again."""

import threading

import numpy as np

from dcase2018.utils.buffers import reusable_buffer

FLOAT, HALF = np.dtype(np.float32), np.dtype(np.float16)


def test_what_is_asked_for_again_is_the_same_memory() -> None:
    large = reusable_buffer((3, 4), FLOAT)
    assert (large.shape, large.dtype) == ((3, 4), FLOAT)
    assert np.shares_memory(large, reusable_buffer((2, 5), FLOAT))
    assert not np.shares_memory(large, reusable_buffer((3, 4), HALF))
    larger = reusable_buffer((30, 40), FLOAT)
    assert np.shares_memory(larger, reusable_buffer((3, 4), FLOAT))


def test_threads_do_not_share_it() -> None:
    theirs: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: theirs.append(reusable_buffer((3, 4), FLOAT)))
    thread.start()
    thread.join()
    assert not np.shares_memory(reusable_buffer((3, 4), FLOAT), theirs[0])
