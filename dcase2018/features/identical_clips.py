"""Find clips with the same frames by the index of a store."""

import numpy as np

from dcase2018.features.store import Store


def clip_keys(store: Store, rows: np.ndarray) -> np.ndarray:
    """Return a key of each clip's frames: uint64, (n_rows,), equal for clips with the same frames.

    The key consists of the number of frames and their CRC-32. It is 0 for a clip without frames and for a
    silent one, all of whose values are equal: such clips are identical, but no copies of each other.

    Examples
    --------
    >>> keys = clip_keys(store, store.rows_of(labels["fname"]))  # doctest: +SKIP
    """
    keys = store.lengths[rows].astype(np.uint64) << np.uint64(32) | store.crc32[rows].astype(np.uint64)
    keys[[_is_silent(store, row) for row in rows]] = 0
    return keys


def _is_silent(store: Store, row: int) -> bool:
    start, length = store.offsets[row], store.lengths[row]
    if length and np.ptp(store.frames[start]):  # one frame is enough for nearly all clips
        return False
    frames = store.frames_of(row)
    return not length or bool((frames == frames[0, 0]).all())
