"""Warn if clips to score share their sound with the training clips of a run."""

import numpy as np
import pandas as pd

from dcase2018.data.groups import equal_keys, warn_of_shared_sound
from dcase2018.data.recording_names import find_recordings
from dcase2018.features.identical_clips import clip_keys
from dcase2018.inference.ensemble import Ensemble

CRC32_BITS = np.uint64(0xFFFFFFFF)


def warn_of_shared_clips(ensemble: Ensemble, labels: pd.DataFrame) -> None:
    """Warn if clips are identical to training clips, or share a recording with them by their names.

    Training clips themselves do not count.

    Parameters
    ----------
    ensemble
        The runs that score the clips, with their stores.
    labels
        Clips of the ensemble's stores (see `read_labels`).

    Raises
    ------
    InputError
        If a clip is not in a store, or the training clips of a run are not known.
    """
    for store in {id(member.store): member.store for member in ensemble.members}.values():
        runs = [member.run for member in ensemble.members if member.store is store]
        training = sorted(set().union(*(run.training_clips() for run in runs)))
        keys = clip_keys(store, store.rows_of(labels["fname"])) & CRC32_BITS
        new = ~pd.MultiIndex.from_arrays([labels["fname"], keys]).isin(training)
        fnames = [*labels["fname"][new], *(fname for fname, _ in training)]
        is_scored = np.arange(len(fnames)) < new.sum()
        all_keys = np.concatenate([keys[new], np.array([crc32 for _, crc32 in training], np.uint64)])
        recordings = find_recordings(labels[new], fnames)
        warn_of_shared_sound(fnames, [is_scored], "scored", equal_keys(all_keys), recordings)
