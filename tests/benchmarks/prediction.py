"""Scores of clips out of a store against `model.predict` on all their examples in memory."""

import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from comparison import Corpus, Row, compare
from training import convolution_operands

from dcase2018.batching.windows import AllWindows
from dcase2018.features.store import Store
from dcase2018.inference.predictor import INFERENCE_BATCH, StorePredictor
from dcase2018.models.architectures import build
from dcase2018.models.hparams import PRESETS
from dcase2018.training.experiment import Experiment

N_CLIPS = 60


def measure(corpus: Corpus, rounds: int = 3) -> list[Row]:
    store = Store(corpus.store)
    preset = PRESETS["baseline"]
    run = Experiment.create(Path("none"), preset, store, corpus.labels).run
    model = build("cnn", (25, 64), 41, preset.hparams)
    rows = np.arange(N_CLIPS)
    windows = AllWindows(store, rows, 25, 12)
    examples = windows.gather(np.arange(len(windows)))

    @tf.function
    def convolutions(inputs: list[tf.Tensor], kernels: list[tf.Tensor]) -> list[tf.Tensor]:
        return [tf.nn.conv2d(x, k, 1, "SAME") for x, k in zip(inputs, kernels, strict=True)]

    inputs, kernels = convolution_operands(INFERENCE_BATCH)

    def limit() -> None:
        for _ in range(len(windows) // INFERENCE_BATCH):
            convolutions(inputs, kernels)

    ways = {
        "model.predict": lambda: model.predict(examples, batch_size=INFERENCE_BATCH, verbose=0),
        "Tagger": lambda: StorePredictor(run, model, store).scores(rows),
        "convolutions alone": limit,
    }
    for way in ways.values():
        way()

    def rate_of(name: str) -> float:
        started = time.perf_counter()
        ways[name]()
        return len(windows) / (time.perf_counter() - started)

    return compare("predict", "examples a second", rate_of, list(ways), rounds)
