"""The clips that a report shows, illustrated by several processes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from dcase2018.foundation import Progress, workers
from dcase2018.reporting.account import Side
from dcase2018.reporting.excerpts import SECONDS
from dcase2018.reporting.illustration import Illustration
from dcase2018.reporting.pictures import Strip
from dcase2018.scoring import scores_over_time, top_classes

FEW = 24  # clips that are sooner done than processes are started


def illustrate(folder: Path, side: Side, sources: Mapping[str, Path], jobs: int = -1) -> list[dict[str, Any]]:
    """Make the pictures and excerpts of the clips that a side shows.

    Files are named by the numbers of the clips, never by their names.

    Parameters
    ----------
    sources
        The audio files of the clips, by name; none where the report has no sound.

    Returns
    -------
    list of dict
        For each clip, in order of number: `number`, the `seconds` that its frames last, its `problem` if it
        has none, `picture` and `excerpt`, the names of files or None, and why it is `silent`, or None.
    """
    clips = list(_planned(folder, side, sources))
    made: dict[int, dict[str, Any]] = {}
    with (
        Progress("illustrate", len(clips), "clips") as progress,
        workers(1 if len(clips) <= FEW else jobs) as parallel,
    ):
        for number, files in parallel(joblib.delayed(clip)() for clip in clips):
            made[number] = files
            progress.update(1)
    return [{"number": clip.number, **_of_store(side, clip.number), **made[clip.number]} for clip in clips]


def _planned(folder: Path, side: Side, sources: Mapping[str, Path]) -> Iterator[Illustration]:
    shown = side.clips[side.clips["shown"] != ""]
    store = side.ensemble.members[0].store
    most = round(SECONDS / store.recipe.stft_hop_seconds)
    examples = scores_over_time(side.ensemble, list(shown["fname"]))
    places = len(str(len(side.clips)))
    for (clip, row), (seconds, scores) in zip(shown.iterrows(), examples, strict=True):
        yield Illustration(
            row["number"],
            folder / f"{side.key}{row['number']:0{places}}",
            store.recipe,
            store.clip(store.rows[row["fname"]])[:most],
            _strip(side, clip, seconds, scores),
            sources.get(row["fname"]),
        )


def _strip(side: Side, clip: int, seconds: np.ndarray, scores: np.ndarray) -> Strip:
    """The top three of a clip over time, by their ranks, and the label if it is not among them."""
    truth = side.evaluation.truth[clip]
    top = top_classes(side.evaluation.scores[clip : clip + 1])[0]
    names = [f"{rank} ✓" if truth[index] else f"{rank}" for rank, index in enumerate(top, 1)]
    classes = list(top)
    if not truth[top].any():
        classes.append(side.hardest_labels[clip])
        names.append("✓")
    return Strip(names, seconds, scores[:, classes].T)


def _of_store(side: Side, number: int) -> dict[str, Any]:
    """How long a clip is in the store, in s, and its problem there, if it has one."""
    store = side.ensemble.members[0].store
    row = store.rows[side.clips["fname"].iloc[number - 1]]
    return {
        "seconds": float(store.lengths[row] * store.recipe.stft_hop_seconds),
        "problem": store.problems[row],
    }
