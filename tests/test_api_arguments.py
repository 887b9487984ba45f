"""Arguments of the Python API that no function accepts, and the error that each of them gives."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dcase2018 as dc
from dcase2018.data.labels import sample_weights
from dcase2018.server.uploads import UploadLimits
from dcase2018.utils.parallel import parallel_pool

LABELS = pd.DataFrame({"fname": ["a.wav", "b.wav"], "label": ["x", "y"]})


def open_pool(jobs: Any) -> None:
    with parallel_pool(jobs):
        pass


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dc.HParams(batch_size=1.5), "batch_size must be a whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: dc.HParams(batch_size=True), "batch_size must be a whole number, not True"),
        (lambda: dc.HParams(lr=math.nan), "lr=nan is not allowed: it must be > 0 and <= 10"),
        (lambda: dc.HParams(lr="0.1"), "lr must be a number, not '0.1'"),  # type: ignore[arg-type]
        (lambda: dc.HParams(classifier=["softmax"]), r"classifier must be text, not \['softmax'\]"),  # type: ignore[arg-type]
        (lambda: dc.HParams(batch_size=0), "batch_size=0 is not allowed: it must be >= 1 and <= 65536"),
        (lambda: dc.FeatureConfig(mel_bands=64.5), "mel_bands must be a whole number"),  # type: ignore[arg-type]
        (lambda: dc.EventConfig(threshold=math.nan), "threshold=nan is not allowed: it must be > 0 and <= 1"),
        (lambda: dc.LevelConfig(silence_threshold_db=math.inf), "silence_threshold_db=inf is not allowed"),
        (lambda: dc.StoppingCriteria(max_minutes=math.nan), "max_minutes must be a number, not nan"),
        (lambda: dc.StoppingCriteria(max_steps=0), "max_steps must be >= 1, not 0"),
        (lambda: dc.StoppingCriteria(patience=2.5), "patience must be a whole number"),  # type: ignore[arg-type]
        (lambda: UploadLimits(upload_seconds=math.nan), "upload_seconds must be a number, not nan"),
        (lambda: dc.stratified_holdout(LABELS, math.nan, 0), "fraction must be a number, not nan"),
        (lambda: dc.stratified_holdout(LABELS, -0.1, 0), "fraction must be > 0 and <= 1, not -0.1"),
        (lambda: dc.stratified_holdout(LABELS, 0.5, -1), "seed must be >= 0"),
        (lambda: dc.stratified_holdout(LABELS, 0.5, -1, groups=[0, 0]), "seed must be >= 0"),
        (lambda: dc.stratified_folds(LABELS, 2, -1, groups=[0, 0]), "seed must be >= 0"),
        (lambda: dc.stratified_folds(LABELS, 1.5, 0), "n_folds must be a whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: dc.fit(None, keep_checkpoints=0), "keep_checkpoints must be >= 1, not 0"),  # type: ignore[arg-type]
        (lambda: dc.synthesize("none", train_per_class=0), "train_per_class must be >= 1, not 0"),
        (lambda: dc.AudioTagger.open([]), "runs is empty; name at least one path"),
        (lambda: dc.AudioTagger.open("none"), "none holds no run"),
        (lambda: dc.AudioTagger.open(Path("none")), "none holds no run"),
        (lambda: dc.make_labels("none"), "none does not exist; give a folder of clips, or a CSV"),
        (lambda: dc.compare([], []), "a system has no evaluation; give at least one"),
        (lambda: dc.tag(None, [], levels=dc.LevelConfig()), "levels apply to events only"),  # type: ignore[arg-type]
        (lambda: dc.tag(None, []), "audio is empty; name at least one path"),  # type: ignore[arg-type]
        (lambda: dc.tag(None, "a.wav", format="events"), "format 'events' needs an output file"),  # type: ignore[arg-type]
        (lambda: dc.tag(None, "a.wav", output="t.txt"), "--format audacity is for events only"),  # type: ignore[arg-type]
        (
            lambda: dc.tag(None, "a.wav", output="t", format="praat"),  # type: ignore[arg-type]
            "format 'praat' is unknown; allowed are csv, jsonl, events, audacity, raven",
        ),
        (lambda: dc.embed(None, "a.wav", "e.npy"), "e.npy must end in .h5, .hdf5 or .csv"),  # type: ignore[arg-type]
        (lambda: dc.embed(None, "a.wav", "e.h5", "clips"), "level must be one of window, clip, not 'clips'"),  # type: ignore[arg-type]
        (lambda: dc.AudioTagger([]), "a tagger needs at least one run"),
        (lambda: dc.Ensemble([]), "an ensemble needs at least one run"),
        (lambda: dc.Ensemble.open(["run"], []), "stores is empty; give one Store or more"),
        (lambda: open_pool(0), "jobs must be -1, for one process per core, or at least 1, not 0"),
        (lambda: open_pool(1.5), "jobs must be a whole number, not 1.5"),
        (
            lambda: sample_weights(LABELS.assign(weight=[1, math.nan])),
            "the weight of clip 'b.wav' is nan; it must be a number from 0 to 1",
        ),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(dc.InputError, match=f"^{message}") as error:
        call()
    assert "\n" not in str(error.value)


def test_numbers_of_numpy_are_accepted() -> None:
    hparams = dc.HParams(batch_size=np.int64(32), lr=np.float32(0.5))  # type: ignore[arg-type]
    assert hparams == dc.HParams(batch_size=32, lr=0.5)
    assert [type(hparams.batch_size), type(hparams.lr)] == [int, float]
