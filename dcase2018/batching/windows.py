"""Examples out of a store: windows of frames, cut where a rule or chance says.

A clip shorter than an example is filled up to one: with silence, or with itself again and again.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from dcase2018.features.config import FeatureConfig
from dcase2018.features.store import Store


def count_examples(lengths: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Examples of clips of these many frames: int64, the shape of `lengths`."""
    return np.where(lengths > 0, 1 + np.maximum(0, lengths - window) // hop, 0)


class AllWindows:
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
        What fills up a short clip: "constant" (silence) or "wrap" (itself).

    Attributes
    ----------
    n_per_clip : ndarray
        Examples of each clip, int64, (clips,).
    clip_index : ndarray
        Position in `rows` of each example's clip, int32, (examples,).
    """

    def __init__(
        self, store: Store, rows: np.ndarray, window: int, hop: int, pad_mode: str = "constant"
    ) -> None:
        self.store, self.rows, self.window, self.hop, self.pad_mode = store, rows, window, hop, pad_mode
        self.n_per_clip = count_examples(store.lengths[rows], window, hop)
        self.clip_index = np.repeat(np.arange(len(rows), dtype=np.int32), self.n_per_clip)
        self._firsts = np.cumsum(self.n_per_clip) - self.n_per_clip  # example with which each clip begins

    def __len__(self) -> int:
        return len(self.clip_index)

    def gather(self, examples: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Cut out examples by number: float32, (len(examples), window, feature_config.n_features)."""
        clips = self.clip_index[examples]
        starts = (examples - self._firsts[clips]) * self.hop
        return _cut(self.store, self.rows[clips], starts, self.window, self.pad_mode)


class RandomCrops:
    """One example a clip, cut somewhere else each time; the attributes are those of `Windows`."""

    def __init__(self, store: Store, rows: np.ndarray, window: int, pad_mode: str = "constant") -> None:
        self.store, self.rows, self.window, self.pad_mode = store, rows, window, pad_mode
        self.clip_index = np.flatnonzero(store.lengths[rows]).astype(np.int32)

    def __len__(self) -> int:
        return len(self.clip_index)

    def gather(self, examples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Cut out examples by number, at places that `rng` draws: float32, (len, window, feature_config.n_features)."""
        rows = self.rows[self.clip_index[examples]]
        starts = rng.integers(0, np.maximum(self.store.lengths[rows] - self.window, 0) + 1)
        return _cut(self.store, rows, starts, self.window, self.pad_mode)


def _cut(store: Store, rows: np.ndarray, starts: np.ndarray, window: int, pad_mode: str) -> np.ndarray:
    """Cut a window out of each clip, from a frame of the clip on, and fill up those of short clips."""
    held = np.minimum(store.lengths[rows], window)  # frames that the clip itself fills
    cut = store.gather_windows(store.offsets[rows] + starts, held, window)
    if pad_mode == "constant":
        for i in np.flatnonzero(held < window):
            cut[i, held[i] :] = store.feature_config.silence_value
    return cut


def pad_or_tile(frames: np.ndarray, window: int, pad_mode: str, feature_config: FeatureConfig) -> np.ndarray:
    """Fill up frames, (some, feature_config.n_features), to a window: with silence ("constant"), or themselves ("wrap")."""
    if pad_mode == "wrap":
        return np.resize(frames, (window, frames.shape[1]))
    return np.pad(frames, ((0, window - len(frames)), (0, 0)), constant_values=feature_config.silence_value)


def iter_batches(windows: AllWindows, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Walk through all examples in order: batches `(examples, position of each one's clip)`."""
    for start in range(0, len(windows), batch_size):
        examples = np.arange(start, min(start + batch_size, len(windows)))
        yield windows.gather(examples), windows.clip_index[examples]


def sliding_windows(
    pieces: Iterable[np.ndarray],
    feature_config: FeatureConfig,
    window: int,
    hop: int,
    pad_mode: str | None,
    batch_size: int,
    include_tail: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut the examples of one clip whose frames come some at a time: those of `Windows`, in little memory.

    Parameters
    ----------
    pieces
        The clip's frames in order: (some, feature_config.n_features).
    short
        What fills up a short clip; if None, its example is as short as it is.
    include_tail
        Whether frames left over at the end get a last example, which ends with them.

    Yields
    ------
    starts : ndarray
        First frame of each example, int64, (examples,): full batches, and a last one.
    examples : ndarray
        float32, (examples, window, feature_config.n_features).
    """
    frames = np.empty((0, feature_config.n_features), np.float32)
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
    if total and (total < window or (include_tail and start - hop + window < total)):
        starts.append(max(0, total - window))
        examples.append(
            pad_or_tile(frames[-window:], window, pad_mode, feature_config) if pad_mode else frames[-window:]
        )
    if starts:
        yield np.array(starts), np.stack(examples)
