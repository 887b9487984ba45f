"""Memory that is used again for what is passing: getting new memory from the system can take longer than
the arithmetic in it."""

import math
import threading

import numpy as np

_of_thread = threading.local()


def reusable_buffer(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Lend an array of any values, which is this thread's until it asks for the next one of this dtype."""
    size = math.prod(shape)
    held = getattr(_of_thread, dtype.name, None)
    if held is None or held.size < size:
        held = np.empty(size, dtype)
        setattr(_of_thread, dtype.name, held)
    return held[:size].reshape(shape)
