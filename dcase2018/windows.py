"""Examples out of a store: which windows of frames there are, and cutting them out.

An example is a window of `window` frames; a new one starts every `hop` frames of a clip, and frames left
over at its end are dropped. A clip shorter than a window gives one example, padded with silence.
"""

from collections.abc import Iterator

import numpy as np

from dcase2018.store import Store


def count_examples(lengths: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Examples of clips of these many frames: int64, the shape of `lengths`."""
    return np.where(lengths > 0, 1 + np.maximum(0, lengths - window) // hop, 0)


class Windows:
    """All examples of some clips of a store, clip after clip.

    Parameters
    ----------
    rows
        The clips' rows in the store, (clips,).
    window, hop
        Frames in an example, and from one example's start to the next's.

    Attributes
    ----------
    counts : ndarray
        Examples of each clip, int64, (clips,).
    clip : ndarray
        Position in `rows` of each example's clip, int32, (examples,).
    """

    def __init__(self, store: Store, rows: np.ndarray, window: int, hop: int) -> None:
        self.store, self.rows, self.window, self.hop = store, rows, window, hop
        self.counts = count_examples(store.lengths[rows], window, hop)
        self.clip = np.repeat(np.arange(len(rows), dtype=np.int32), self.counts)
        self._firsts = np.cumsum(self.counts) - self.counts  # example with which each clip begins

    def __len__(self) -> int:
        return len(self.clip)

    def cut(self, examples: np.ndarray) -> np.ndarray:
        """Cut out examples by number: float32, (len(examples), window, recipe.width)."""
        clips = self.clip[examples]
        rows = self.rows[clips]
        starts = self.store.offsets[rows] + (examples - self._firsts[clips]) * self.hop
        held = np.minimum(self.store.lengths[rows], self.window)  # frames that the clip itself fills
        cut = self.store.cut(starts, self.window)
        for i in np.flatnonzero(held < self.window):
            cut[i, held[i] :] = self.store.recipe.silence
        return cut


def in_turn(windows: Windows, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Walk through all examples in order: batches `(examples, position of each one's clip)`."""
    for start in range(0, len(windows), batch_size):
        examples = np.arange(start, min(start + batch_size, len(windows)))
        yield windows.cut(examples), windows.clip[examples]
