"""Labelled clips: where a label file and a store meet, joined by name."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dcase2018.dataset import class_indices
from dcase2018.errors import InputError
from dcase2018.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledClips:
    """Clips of a store and what they are.

    Attributes
    ----------
    rows
        The clips' rows in the store, int64, (clips,).
    truth
        Index in `classes` of each clip's label, int64, (clips,).
    """

    store: Store
    classes: Sequence[str]
    rows: np.ndarray
    truth: np.ndarray

    @classmethod
    def find(cls, store: Store, labels: pd.DataFrame, classes: Sequence[str]) -> "LabelledClips":
        """Look up the clips of a label file (see `read_labels`) in a store.

        Raises
        ------
        InputError
            If a clip is not in the store.
        """
        return cls(store, classes, store.find(labels["fname"]), class_indices(labels, classes))

    def __len__(self) -> int:
        return len(self.rows)

    def audible(self) -> "LabelledClips":
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
        return LabelledClips(self.store, self.classes, self.rows[heard], self.truth[heard])

    def fingerprint(self) -> str:
        """Digest of names, frames and labels: the same for the same clips in the same order."""
        digest = hashlib.sha256(
            "\0".join(self.store.fnames[row] for row in self.rows).encode("utf-8", "surrogateescape")
        )
        digest.update(self.store.crc32[self.rows].tobytes())
        digest.update(self.truth.tobytes())
        return digest.hexdigest()[:16]
