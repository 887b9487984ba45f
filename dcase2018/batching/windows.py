"""Examples out of a store: windows of frames, cut where a rule or chance says.

A clip shorter than an example is filled up to one: with silence, or with itself again and again.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from dcase2018.features.config import Recipe
from dcase2018.features.store import Store


def count_examples(lengths: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Examples of clips of these many frames: int64, the shape of `lengths`."""
    return np.where(lengths > 0, 1 + np.maximum(0, lengths - window) // hop, 0)


class Windows:
    """All examples of some clips of a store, clip after clip.

    An example is a window of `window` frames; a new one starts every `hop` frames of a clip, and frames
    left over at its end are dropped.

    Parameters
    ----------
    rows
        The clips' rows in the store, (clips,).
    window, hop
        Frames in an example, and from one example's start to the next's.
    short
        What fills up a short clip: "pad" (silence) or "tile" (itself).

    Attributes
    ----------
    counts : ndarray
        Examples of each clip, int64, (clips,).
    clip : ndarray
        Position in `rows` of each example's clip, int32, (examples,).
    """

    def __init__(self, store: Store, rows: np.ndarray, window: int, hop: int, short: str = "pad") -> None:
        self.store, self.rows, self.window, self.hop, self.short = store, rows, window, hop, short
        self.counts = count_examples(store.lengths[rows], window, hop)
        self.clip = np.repeat(np.arange(len(rows), dtype=np.int32), self.counts)
        self._firsts = np.cumsum(self.counts) - self.counts  # example with which each clip begins

    def __len__(self) -> int:
        return len(self.clip)

    def cut(self, examples: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Cut out examples by number: float32, (len(examples), window, recipe.width)."""
        clips = self.clip[examples]
        starts = (examples - self._firsts[clips]) * self.hop
        return _cut(self.store, self.rows[clips], starts, self.window, self.short)


class Crops:
    """One example a clip, cut somewhere else each time; the attributes are those of `Windows`."""

    def __init__(self, store: Store, rows: np.ndarray, window: int, short: str = "pad") -> None:
        self.store, self.rows, self.window, self.short = store, rows, window, short
        self.clip = np.flatnonzero(store.lengths[rows]).astype(np.int32)

    def __len__(self) -> int:
        return len(self.clip)

    def cut(self, examples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Cut out examples by number, at places that `rng` draws: float32, (len, window, recipe.width)."""
        rows = self.rows[self.clip[examples]]
        starts = rng.integers(0, np.maximum(self.store.lengths[rows] - self.window, 0) + 1)
        return _cut(self.store, rows, starts, self.window, self.short)


def _cut(store: Store, rows: np.ndarray, starts: np.ndarray, window: int, short: str) -> np.ndarray:
    """Cut a window out of each clip, from a frame of the clip on, and fill up those of short clips."""
    held = np.minimum(store.lengths[rows], window)  # frames that the clip itself fills
    cut = store.cut(store.offsets[rows] + starts, held, window)
    if short == "pad":
        for i in np.flatnonzero(held < window):
            cut[i, held[i] :] = store.recipe.silence
    return cut


def filled_up(frames: np.ndarray, window: int, short: str, recipe: Recipe) -> np.ndarray:
    """Fill up frames, (some, recipe.width), to a window: with silence ("pad"), or themselves ("tile")."""
    if short == "tile":
        return np.resize(frames, (window, frames.shape[1]))
    return np.pad(frames, ((0, window - len(frames)), (0, 0)), constant_values=recipe.silence)


def in_turn(windows: Windows, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Walk through all examples in order: batches `(examples, position of each one's clip)`."""
    for start in range(0, len(windows), batch_size):
        examples = np.arange(start, min(start + batch_size, len(windows)))
        yield windows.cut(examples), windows.clip[examples]


def sliding(
    pieces: Iterable[np.ndarray],
    recipe: Recipe,
    window: int,
    hop: int,
    short: str | None,
    batch_size: int,
    to_end: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut the examples of one clip whose frames come some at a time: those of `Windows`, in little memory.

    Parameters
    ----------
    pieces
        The clip's frames in order: (some, recipe.width).
    short
        What fills up a short clip; if None, its example is as short as it is.
    to_end
        Whether frames left over at the end get a last example, which ends with them.

    Yields
    ------
    starts : ndarray
        First frame of each example, int64, (examples,): full batches, and a last one.
    examples : ndarray
        float32, (examples, window, recipe.width).
    """
    frames = np.empty((0, recipe.width), np.float32)
    first = start = 0  # number of the first frame that is held, and of that of the next example
    starts: list[int] = []
    examples: list[np.ndarray] = []
    for piece in pieces:
        frames = np.concatenate([frames, piece.astype(np.float32, copy=False)])
        while start + window <= first + len(frames):
            starts.append(start)
            examples.append(frames[start - first : start - first + window].copy())
            start += hop
            if len(starts) == batch_size:
                yield np.array(starts), np.stack(examples)
                starts, examples = [], []
        passed = max(0, min(start - first, len(frames) - window))
        frames, first = frames[passed:], first + passed
    total = first + len(frames)
    if total and (total < window or (to_end and start - hop + window < total)):
        starts.append(max(0, total - window))
        examples.append(filled_up(frames[-window:], window, short, recipe) if short else frames[-window:])
    if starts:
        yield np.array(starts), np.stack(examples)
