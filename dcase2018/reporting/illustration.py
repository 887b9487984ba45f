"""Pictures and excerpts of the clips that a report shows, made by several processes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from dcase2018.features import Recipe
from dcase2018.foundation import Progress, workers
from dcase2018.reporting.account import Side
from dcase2018.reporting.excerpts import SECONDS, write_excerpt
from dcase2018.reporting.pictures import Strip, draw_clip
from dcase2018.scoring import scores_over_time, top_classes

FEW = 16  # clips that are sooner done than processes are started


@dataclass(frozen=True)
class Task:
    """A clip to illustrate; the target lacks a suffix."""

    number: int
    target: Path
    recipe: Recipe
    frames: np.ndarray
    strip: Strip
    source: Path | None

    def __call__(self) -> tuple[int, dict[str, Any]]:
        """Make the files; return the clip's number and what the report says of them."""
        made: dict[str, Any] = {"picture": None, "excerpt": None, "silent": None}
        if len(self.frames):
            picture = self.target.with_suffix(".webp")
            draw_clip(picture, self.frames, self.recipe, self.strip)
            made["picture"] = f"{picture.parent.name}/{picture.name}"
        if self.source:
            excerpt = self.target.with_suffix(".ogg")
            made["silent"] = write_excerpt(excerpt, self.source, self.recipe) or None
            made["excerpt"] = None if made["silent"] else f"{excerpt.parent.name}/{excerpt.name}"
        return self.number, made


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
    tasks = list(_tasks(folder, side, sources))
    made: dict[int, dict[str, Any]] = {}
    with (
        Progress("illustrate", len(tasks), "clips") as progress,
        workers(1 if len(tasks) <= FEW else jobs) as parallel,
    ):
        for number, files in parallel(joblib.delayed(task)() for task in tasks):
            made[number] = files
            progress.update(1)
    return [{"number": task.number, **_of_store(side, task.number), **made[task.number]} for task in tasks]


def _tasks(folder: Path, side: Side, sources: Mapping[str, Path]) -> Iterator[Task]:
    shown = side.clips[side.clips["shown"] != ""]
    store = side.ensemble.members[0].store
    most = round(SECONDS / store.recipe.stft_hop_seconds)
    examples = scores_over_time(side.ensemble, list(shown["fname"]))
    places = len(str(len(side.clips)))
    for (clip, row), (seconds, scores) in zip(shown.iterrows(), examples, strict=True):
        yield Task(
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
