"""Embeddings: what a network makes of examples before it classifies them.

They are for those who compare sounds, look at a collection, or train something small of their own. The
embedding of a clip is the mean of its windows'.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dcase2018.corpus import BadClipError, Clip, Source, problem_of
from dcase2018.examples import Windows, in_turn, sliding
from dcase2018.features import FrontEnd, Store
from dcase2018.foundation import Dcase2018Error, InputError, Progress, ended_in_order
from dcase2018.networks import without_classifier
from dcase2018.runs import Run
from dcase2018.using.listening import EXAMPLES_AT_ONCE, Hearing, SetAside
from dcase2018.using.vectors import published_vectors

log = logging.getLogger(__name__)

Batches = Iterator[tuple[np.ndarray, np.ndarray]]  # first frames of examples, and the examples


class Embedder:
    """A run's network without its classifier, and how it hears.

    Raises
    ------
    InputError
        If the run has no such network, or it is no Keras model of plain layers.
    """

    def __init__(self, run: Run, which: int | str | None = None) -> None:
        self.run, self.hearing = run, Hearing.of(run)
        self.front_end = FrontEnd(run.recipe)
        self.network = without_classifier(run.read_network(run.model_file(which)))

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return int(self.network.output_shape[-1])

    def of_file(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Embed the windows of a file as a clip: starts in seconds, (windows,), and (windows, width)."""
        how = self.hearing
        with Clip(path, how.recipe.sample_rate) as clip:
            pieces = self.front_end.pieces(clip)
            return self._of(sliding(pieces, how.recipe, how.window, how.hop, how.short, EXAMPLES_AT_ONCE))

    def of_row(self, store: Store, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Embed the windows of a clip of a store, as `of_file` does."""
        how = self.hearing
        windows = Windows(store, np.array([row]), how.window, how.hop, how.short)
        starts = np.arange(len(windows)) * how.hop
        batches = (examples for examples, _ in in_turn(windows, EXAMPLES_AT_ONCE))
        return self._of(
            (starts[number * EXAMPLES_AT_ONCE :][: len(examples)], examples)
            for number, examples in enumerate(batches)
        )

    def _of(self, batches: Batches) -> tuple[np.ndarray, np.ndarray]:
        starts, features = [np.zeros(0, np.int64)], [np.zeros((0, self.width), np.float32)]
        for some, examples in batches:
            starts.append(some)
            features.append(self.network.predict_on_batch(examples))
            if not np.isfinite(features[-1]).all():
                raise Dcase2018Error(f"the network of {self.run.path} gives features that are not finite")
        return np.concatenate(starts) * self.hearing.hop_seconds, np.concatenate(features)


def embed(
    embedder: Embedder, clips: Store | Sequence[Source], path: Path, per_window: bool
) -> list[SetAside]:
    """Write the embeddings of clips, telling the progress.

    Parameters
    ----------
    clips
        All clips of a store, in its order; or audio files.
    path
        .csv, .h5 or .hdf5 (see `vectors`).
    per_window
        A row a window; otherwise a row a clip. Clips without frames have none.

    Returns
    -------
    list of SetAside
        Files that cannot be used.

    Raises
    ------
    InputError
        If the store is of another recipe, or none of the files can be used.
    Dcase2018Error
        If the network gives features that are not finite, a clip of the store is damaged, or SIGTERM came.
    OSError
        If it cannot be written.
    """
    set_aside: list[SetAside] = []
    with ended_in_order(), published_vectors(path, embedder.width, per_window) as add:
        with Progress("embed", len(clips), "clips") as progress:
            for fname, result in _each(embedder, clips):
                progress.update(1)
                if isinstance(result, SetAside):
                    set_aside.append(result)
                    continue
                starts, features = result
                if not len(features):
                    log.warning("%s has no frames, and gets no row", fname)
                elif per_window:
                    add(fname, starts, features)
                else:
                    add(fname, None, features.mean(axis=0, dtype=float, keepdims=True))
        if set_aside and len(set_aside) == len(clips):
            raise InputError(f"no recording can be used, such as {set_aside[0]}")
    return set_aside


def _each(
    embedder: Embedder, clips: Store | Sequence[Source]
) -> Iterator[tuple[str, SetAside | tuple[np.ndarray, np.ndarray]]]:
    if isinstance(clips, Store):
        clips.check_recipe(embedder.run.recipe, f"the run {embedder.run.path}")
        for fname, row in zip(clips.fnames, clips.find(clips.fnames), strict=True):
            yield fname, embedder.of_row(clips, row)
        return
    for source in clips:
        try:
            yield source.fname, embedder.of_file(source.path)
        except (BadClipError, OSError) as error:
            yield source.fname, SetAside(source, problem_of(error))
