"""Labelled clips: where a label file and a store meet, joined by name."""

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
    """Clips of a store and what they are.

    Attributes
    ----------
    rows
        The clips' rows in the store, int64, (clips,).
    truth
        Which of `classes` each clip bears, bool, (clips, classes).
    verified
        Whether a person has checked the label, bool, (clips,); all, if the label file does not tell.
    weights
        What each clip counts for, in [0, 1], (clips,); None, if the label file does not tell.
    """

    store: Store
    classes: Sequence[str]
    rows: np.ndarray
    y_true: np.ndarray
    verified: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def from_labels(cls, store: Store, labels: pd.DataFrame, classes: Sequence[str]) -> "LabeledDataset":
        """Look up the clips of a label file (see `read_labels`) in a store.

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
        """Those that have frames.

        Raises
        ------
        InputError
            If none has.
        """
        heard = self.store.lengths[self.rows] > 0
        if not heard.any():
            raise InputError(f"none of the labelled clips has frames in {self.store.path}")
        if not heard.all():
            log.warning("%d labelled clips have no frames and are left out", (~heard).sum())
        return self.select(heard)

    def select(self, chosen: np.ndarray) -> "LabeledDataset":
        """Some of the clips, which a mask chooses."""
        return dataclasses.replace(
            self,
            rows=self.rows[chosen],
            y_true=self.y_true[chosen],
            verified=self.verified[chosen],
            weights=None if self.weights is None else self.weights[chosen],
        )

    def fingerprint(self) -> str:
        """Digest of names, frames, labels and weights: the same for the same clips in the same order."""
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
        """Mean and variance of each value of a frame over all frames: two float64, (feature_config.n_features,)."""
        count, total, squares = (
            0,
            np.zeros(self.store.feature_config.n_features),
            np.zeros(self.store.feature_config.n_features),
        )
        for row in self.rows:
            frames = self.store.frames_of(row).astype(np.float64)
            count += len(frames)
            total += frames.sum(axis=0)
            squares += np.square(frames).sum(axis=0)
        mean = total / count
        return mean, np.maximum(squares / count - mean**2, 0)
