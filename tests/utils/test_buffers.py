"""Reusable memory for intermediate arrays."""

import threading

import numpy as np

from dcase2018.utils.buffers import reusable_buffer

FLOAT, HALF = np.dtype(np.float32), np.dtype(np.float16)


def test_a_buffer_is_reused_per_dtype() -> None:
    large = reusable_buffer((3, 4), FLOAT)
    assert (large.shape, large.dtype) == ((3, 4), FLOAT)
    assert np.shares_memory(large, reusable_buffer((2, 5), FLOAT))
    assert not np.shares_memory(large, reusable_buffer((3, 4), HALF))
    larger = reusable_buffer((30, 40), FLOAT)
    assert np.shares_memory(larger, reusable_buffer((3, 4), FLOAT))


def test_threads_do_not_share_a_buffer() -> None:
    buffers: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: buffers.append(reusable_buffer((3, 4), FLOAT)))
    thread.start()
    thread.join()
    assert not np.shares_memory(reusable_buffer((3, 4), FLOAT), buffers[0])
