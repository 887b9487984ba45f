"""Examples of clips: windows of frames at a fixed hop or at random positions.

A clip that is shorter than a window is padded to one, with silence or by repeating the clip.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from dcase2018.features.config import FeatureConfig
from dcase2018.features.store import Store


def count_examples(lengths: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Count the examples of clips with these numbers of frames: int64, the shape of `lengths`."""
    return np.where(lengths > 0, 1 + np.maximum(0, lengths - window) // hop, 0)


class AllWindows:
    """All windows of some clips of a store, in order of the clips.

    A window starts every `hop` frames of a clip. Frames at the end that do not fill a window are dropped.

    Parameters
    ----------
    store
        Features of the clips.
    rows
        Rows of the clips in the store, int, (clips,).
    window, hop
        Frames per window, and frames from one window's start to the next.
    pad_mode
        Padding of a short clip: "constant" (silence) or "wrap" (repeats the clip).

    Attributes
    ----------
    n_per_clip : ndarray
        Windows of each clip, int64, (clips,).
    clip_index : ndarray
        Index in `rows` of each window's clip, int32, (windows,).
    """

    def __init__(
        self, store: Store, rows: np.ndarray, window: int, hop: int, pad_mode: str = "constant"
    ) -> None:
        self.store, self.rows, self.window, self.hop, self.pad_mode = store, rows, window, hop, pad_mode
        self.n_per_clip = count_examples(store.lengths[rows], window, hop)
        self.clip_index = np.repeat(np.arange(len(rows), dtype=np.int32), self.n_per_clip)
        self._first_window = np.cumsum(self.n_per_clip) - self.n_per_clip  # of each clip

    def __len__(self) -> int:
        return len(self.clip_index)

    def gather(self, indices: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Read windows by index: float32, (len(indices), window, n_features)."""
        clips = self.clip_index[indices]
        starts = (indices - self._first_window[clips]) * self.hop
        return _read_windows(self.store, self.rows[clips], starts, self.window, self.pad_mode)


class RandomCrops:
    """One window per clip, at a new random position each time; attributes as in `AllWindows`."""

    def __init__(self, store: Store, rows: np.ndarray, window: int, pad_mode: str = "constant") -> None:
        self.store, self.rows, self.window, self.pad_mode = store, rows, window, pad_mode
        self.clip_index = np.flatnonzero(store.lengths[rows]).astype(np.int32)

    def __len__(self) -> int:
        return len(self.clip_index)

    def gather(self, indices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Read a window at a random position: float32, (len(indices), window, n_features)."""
        rows = self.rows[self.clip_index[indices]]
        starts = rng.integers(0, np.maximum(self.store.lengths[rows] - self.window, 0) + 1)
        return _read_windows(self.store, rows, starts, self.window, self.pad_mode)


def _read_windows(
    store: Store, rows: np.ndarray, starts: np.ndarray, window: int, pad_mode: str
) -> np.ndarray:
    """Read the window that starts at a frame of each clip, and pad those of short clips."""
    n_valid = np.minimum(store.lengths[rows], window)  # frames before the padding
    windows = store.gather_windows(store.offsets[rows] + starts, n_valid, window)
    if pad_mode == "constant":
        for i in np.flatnonzero(n_valid < window):
            windows[i, n_valid[i] :] = store.feature_config.silence_value
    return windows


def pad_or_tile(frames: np.ndarray, window: int, pad_mode: str, feature_config: FeatureConfig) -> np.ndarray:
    """Pad frames, (n_frames, n_features), to a window with silence ("constant") or by repetition ("wrap")."""
    if pad_mode == "wrap":
        return np.resize(frames, (window, frames.shape[1]))
    return np.pad(frames, ((0, window - len(frames)), (0, 0)), constant_values=feature_config.silence_value)


def iter_batches(windows: AllWindows, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Iterate over all windows in order, as batches `(x, clip index of each window)`."""
    for start in range(0, len(windows), batch_size):
        indices = np.arange(start, min(start + batch_size, len(windows)))
        yield windows.gather(indices), windows.clip_index[indices]


def sliding_windows(
    blocks: Iterable[np.ndarray],
    feature_config: FeatureConfig,
    window: int,
    hop: int,
    pad_mode: str | None,
    batch_size: int,
    include_tail: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut a stream of frames into the windows of `AllWindows`, in constant memory.

    Parameters
    ----------
    blocks
        Frames of one clip in order, (n_frames, n_features) each.
    feature_config
        Feature config of the frames.
    window, hop
        Frames per window, and frames from one window's start to the next.
    pad_mode
        Padding of a short clip. If None, its window is as short as the clip.
    batch_size
        Windows per batch; the last batch may be smaller.
    include_tail
        Whether frames at the end that do not fill a window get a window that ends with the last frame.

    Yields
    ------
    starts : ndarray
        First frame of each window, int64, (batch,).
    x : ndarray
        Windows, float32, (batch, window, n_features).
    """
    frames = np.empty((0, feature_config.n_features), np.float32)
    buffer_start = start = 0  # frame indices of the buffer's first frame and of the next window
    starts: list[int] = []
    windows: list[np.ndarray] = []
    for block in blocks:
        frames = np.concatenate([frames, block.astype(np.float32, copy=False)])
        while start + window <= buffer_start + len(frames):
            starts.append(start)
            windows.append(frames[start - buffer_start :][:window].copy())
            start += hop
            if len(starts) == batch_size:
                yield np.array(starts), np.stack(windows)
                starts, windows = [], []
        n_consumed = max(0, min(start - buffer_start, len(frames) - window))
        frames, buffer_start = frames[n_consumed:], buffer_start + n_consumed
    total = buffer_start + len(frames)
    if total and (total < window or (include_tail and start - hop + window < total)):
        tail = frames[-window:]
        starts.append(max(0, total - window))
        windows.append(pad_or_tile(tail, window, pad_mode, feature_config) if pad_mode else tail)
    if starts:
        yield np.array(starts), np.stack(windows)
