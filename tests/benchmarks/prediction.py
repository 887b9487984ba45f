"""Benchmark `predict`: scores of clips in a store compared with `model.predict` in memory."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from harness import N_CLASSES, Corpus, Row, Size, measure_rates
from training import convolution_operands

from dcase2018.batching.windows import AllWindows
from dcase2018.features.store import Store
from dcase2018.inference.predictor import INFERENCE_BATCH, StorePredictor
from dcase2018.models.architectures import build
from dcase2018.models.hparams import PRESETS
from dcase2018.training.experiment import Experiment


def measure(corpus: Corpus, size: Size) -> list[Row]:
    store = Store(corpus.store)
    preset = PRESETS["baseline"]
    run = Experiment.create(Path("none"), preset, store, corpus.labels).run
    model = build("cnn", (25, 64), N_CLASSES, preset.hparams)
    rows = np.arange(min(size.clips, len(store)))
    windows = AllWindows(store, rows, 25, 12)
    examples = windows.gather(np.arange(len(windows)))
    predictors: dict[str, Callable[[], object]] = {
        "model.predict": lambda: model.predict(examples, batch_size=INFERENCE_BATCH, verbose=0),
        "predict": lambda: StorePredictor(run, model, store).scores(rows),
        "convolutions only": convolutions(len(windows)),
    }
    for predict in predictors.values():
        predict()  # traces and compiles

    def rate(predict: Callable[[], object]) -> float:
        started = time.perf_counter()
        predict()
        return len(windows) / (time.perf_counter() - started)

    implementations = {name: partial(rate, predict) for name, predict in predictors.items()}
    return measure_rates("predict", "examples per second", implementations, size.rounds)


def convolutions(n_examples: int) -> Callable[[], None]:
    """Upper limit: the convolutions of the model `cnn` for at least `n_examples` examples."""

    @tf.function
    def convolve(inputs: list[tf.Tensor], kernels: list[tf.Tensor]) -> list[tf.Tensor]:
        return [tf.nn.conv2d(x, k, 1, "SAME") for x, k in zip(inputs, kernels, strict=True)]

    batch_size = min(INFERENCE_BATCH, n_examples)
    inputs, kernels = convolution_operands(batch_size)

    def run() -> None:
        for _ in range(n_examples // batch_size):
            convolve(inputs, kernels)

    return run
