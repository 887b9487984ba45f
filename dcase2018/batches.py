"""Examples out of a store: which windows there are, and batches of them for Keras.

An example is a window of `window` frames; a new one starts every `hop` frames of a clip, and frames left
over at its end are dropped. A clip shorter than a window gives one example, padded with silence.
"""

from collections.abc import Iterator

import keras
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
    clip : ndarray
        Position in `rows` of each example's clip, int64, (examples,).
    """

    def __init__(self, store: Store, rows: np.ndarray, window: int, hop: int) -> None:
        self.store, self.window = store, window
        lengths = store.lengths[rows]
        counts = count_examples(lengths, window, hop)
        self.clip = np.repeat(np.arange(len(rows)), counts)
        nth = np.arange(len(self.clip)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._starts = store.offsets[rows][self.clip] + nth * hop
        self._held = np.minimum(lengths, window)[self.clip]  # frames that the clip itself fills

    def __len__(self) -> int:
        return len(self.clip)

    def cut(self, examples: np.ndarray) -> np.ndarray:
        """Cut out examples by number: float32, (len(examples), window, bands)."""
        frames = self.store.frames
        starts, held = self._starts[examples], self._held[examples]
        whole = held == self.window
        cut = np.empty((len(examples), self.window, frames.shape[1]), np.float32)
        if whole.any():
            views = np.lib.stride_tricks.sliding_window_view(frames, self.window, axis=0)
            cut[whole] = views[starts[whole]].swapaxes(1, 2)
        for i in np.flatnonzero(~whole):
            cut[i, : held[i]] = frames[starts[i] : starts[i] + held[i]]
            cut[i, held[i] :] = self.store.recipe.silence
        return cut


class Batches(keras.utils.PyDataset):
    """Endless shuffled batches `(examples, targets)`; `steps` of them make an epoch.

    The batch of a number is a function of (seed, number) alone: the epoch is the number divided by
    `steps`, and every epoch has an order of its own in which each example comes once. Examples that
    do not fill a batch are left out of that epoch.

    Parameters
    ----------
    targets
        Target of each clip of `windows`, float32, (clips, classes).
    """

    def __init__(self, windows: Windows, targets: np.ndarray, batch_size: int, seed: int) -> None:
        super().__init__()
        self.windows, self.targets, self.seed = windows, targets, seed
        self.batch_size = min(batch_size, len(windows))
        self.steps = len(windows) // self.batch_size
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    @property
    def num_batches(self) -> None:
        """None: Keras then counts on from epoch to epoch."""
        return None

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, step = divmod(number, self.steps)
        examples = self.order(epoch)[step * self.batch_size :][: self.batch_size]
        return self.windows.cut(examples), self.targets[self.windows.clip[examples]]

    def order(self, epoch: int) -> np.ndarray:
        """Numbers of all examples in the order of an epoch."""
        held, order = self._order
        if held != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.windows))
            self._order = epoch, order  # one assignment: safe between threads
        return order


def in_turn(windows: Windows, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Walk through all examples in order: batches `(examples, position of each one's clip)`."""
    for start in range(0, len(windows), batch_size):
        examples = np.arange(start, min(start + batch_size, len(windows)))
        yield windows.cut(examples), windows.clip[examples]
