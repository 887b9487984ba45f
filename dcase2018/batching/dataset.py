"""Labelled clips: the rows of a label file joined with a feature store by file name."""

import dataclasses
import hashlib
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dcase2018.data.labels import multi_hot, sample_weights, verified_mask
from dcase2018.features.store import Store
from dcase2018.utils.errors import InputError

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LabeledDataset:
    """Clips of a store with their labels.

    Attributes
    ----------
    store
        Features of the clips.
    classes
        Class names, in the order of the columns of `y_true`.
    rows
        Rows of the clips in the store, int64, (clips,).
    y_true
        Whether each clip has each label, bool, (clips, classes).
    verified
        Whether the label was verified manually, bool, (clips,); all True without that column.
    weights
        Sample weight of each clip, in [0, 1], float, (clips,); None without that column.
    """

    store: Store
    classes: Sequence[str]
    rows: np.ndarray
    y_true: np.ndarray
    verified: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def from_labels(cls, store: Store, labels: pd.DataFrame, classes: Sequence[str]) -> "LabeledDataset":
        """Look up the clips of a label file in a store.

        Raises
        ------
        InputError
            If a clip is not in the store.
        """
        rows = store.rows_of(labels["fname"])
        return cls(
            store, classes, rows, multi_hot(labels, classes), verified_mask(labels), sample_weights(labels)
        )

    def __len__(self) -> int:
        return len(self.rows)

    def drop_empty(self) -> "LabeledDataset":
        """Select the clips that have frames.

        Raises
        ------
        InputError
            If no clip has frames.
        """
        has_frames = self.store.lengths[self.rows] > 0
        if not has_frames.any():
            raise InputError(f"none of the labelled clips has frames in {self.store.path}")
        if not has_frames.all():
            log.warning("skipped %d labelled clips without frames", (~has_frames).sum())
        return self.select(has_frames)

    def select(self, mask: np.ndarray) -> "LabeledDataset":
        """Select clips by a mask, bool, (clips,)."""
        return dataclasses.replace(
            self,
            rows=self.rows[mask],
            y_true=self.y_true[mask],
            verified=self.verified[mask],
            weights=None if self.weights is None else self.weights[mask],
        )

    def fingerprint(self) -> str:
        """Compute a digest of names, frames, labels and weights, in order of the clips."""
        digest = hashlib.sha256(
            "\0".join(self.store.fnames[row] for row in self.rows).encode("utf-8", "surrogateescape")
        )
        digest.update(self.store.crc32[self.rows].tobytes())
        digest.update(np.packbits(self.y_true, axis=1).tobytes())
        digest.update(self.verified.tobytes())
        if self.weights is not None:
            digest.update(self.weights.tobytes())
        return digest.hexdigest()[:16]

    def feature_stats(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute mean and variance of each feature over all frames: float64, (n_features,) each."""
        n_features = self.store.feature_config.n_features
        count, total, squares = 0, np.zeros(n_features), np.zeros(n_features)
        for row in self.rows:
            frames = self.store.frames_of(row).astype(np.float64)
            count += len(frames)
            total += frames.sum(axis=0)
            squares += np.square(frames).sum(axis=0)
        mean = total / count
        return mean, np.maximum(squares / count - mean**2, 0)
