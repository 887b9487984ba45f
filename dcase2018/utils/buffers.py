"""Reusable memory for intermediate arrays: allocating large arrays can take longer than computing them."""

import math
import threading

import numpy as np

_buffers = threading.local()


def reusable_buffer(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialized array that is valid until this thread calls again with the same dtype."""
    size = math.prod(shape)
    buffer = getattr(_buffers, dtype.name, None)
    if buffer is None or buffer.size < size:
        buffer = np.empty(size, dtype)
        setattr(_buffers, dtype.name, buffer)
    return buffer[:size].reshape(shape)
