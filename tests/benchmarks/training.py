"""`fit` against the reference's design in plain TensorFlow, and against its convolutions alone.

The reference decodes WAVs and computes log mel frames on the fly, in a tf.data pipeline, and trains the
same network by the same optimizer in a loop of its own.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from comparison import Corpus, Row, compare

from dcase2018.cli.keras_setup import keep_freed_memory
from dcase2018.features.store import Store
from dcase2018.models.architectures import CNN_LAYERS, build
from dcase2018.models.hparams import PRESETS
from dcase2018.runs.training_state import StoppingCriteria, TrainingState
from dcase2018.training.experiment import Experiment
from dcase2018.training.fit import fit

STEPS = 30
PRESET = PRESETS["baseline"]


def examples_on_the_fly(corpus: Corpus) -> tf.data.Dataset:
    """Batches of the reference's examples, straight from the WAVs."""
    mel = tf.signal.linear_to_mel_weight_matrix(64, 1025, 44100, 125, 7500)

    def examples(path: tf.Tensor, label: tf.Tensor) -> tf.data.Dataset:
        samples = tf.audio.decode_wav(tf.io.read_file(path))[0][:, 0]
        frames = tf.abs(tf.signal.stft(samples, 1102, 441, fft_length=2048))
        cut = tf.signal.frame(tf.math.log(frames @ mel + 0.001), 25, 12, axis=0)
        targets = tf.repeat(tf.one_hot(label, 41)[None], tf.shape(cut)[0], axis=0)
        return tf.data.Dataset.from_tensor_slices((cut, targets))

    paths = [str(corpus.audio / fname) for fname in corpus.labels["fname"]]
    clips = tf.data.Dataset.from_tensor_slices((paths, np.arange(len(paths)) % 41))
    clips = clips.shuffle(len(paths)).repeat()
    return clips.interleave(examples, cycle_length=8).shuffle(1000).batch(64).prefetch(tf.data.AUTOTUNE)


def reference(corpus: Corpus) -> Callable[[], None]:
    model = build("cnn", (25, 64), 41, PRESET.hparams)
    optimizer = keras.optimizers.Adam(1e-4, epsilon=1e-8)
    batches: Iterator = iter(examples_on_the_fly(corpus))

    @tf.function
    def step(examples: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            scores = model(examples, training=True)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, scores))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    return lambda: float(step(*next(batches))) and None


def convolution_operands(batch_size: int) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Inputs and kernels of the cnn's three convolutions."""
    shapes = [(25, 64, 1), (13, 32, 100), (7, 16, 150)]
    inputs = [tf.random.normal((batch_size, *shape)) for shape in shapes]
    kernels = [
        tf.random.normal((size, size, shape[-1], maps))
        for (size, maps), shape in zip(CNN_LAYERS, shapes, strict=True)
    ]
    return inputs, kernels


def convolutions() -> Callable[[], None]:
    """The three convolutions of the cnn and their gradients, and nothing else."""
    inputs, kernels = convolution_operands(64)

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(kernels + inputs[1:])  # the first layer's input needs no gradient
            outputs = [tf.nn.conv2d(x, k, 1, "SAME") for x, k in zip(inputs, kernels, strict=True)]
        return tape.gradient(outputs, kernels + inputs[1:])

    return lambda: step() and None


def rate(step: Callable[[], None]) -> float:
    step()
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return STEPS * 64 / (time.perf_counter() - started)


def ours(corpus: Corpus) -> float:
    """Rate of the second half of a run, that has traced and compiled all it needs."""
    keep_freed_memory()  # as the command does
    path = corpus.root / f"run {time.perf_counter()}"
    experiment = Experiment.create(path, PRESET, Store(corpus.store), corpus.labels)
    fit(experiment, StoppingCriteria(max_steps=2 * STEPS), save_every=STEPS)
    half, whole = (
        TrainingState.load(experiment.run.checkpoint_dir(step), step) for step in (STEPS, 2 * STEPS)
    )
    return STEPS * 64 / (whole.seconds - half.seconds)


WAYS: dict[str, Callable[[Corpus], float]] = {
    "on the fly": lambda corpus: rate(reference(corpus)),
    "fit": ours,
    "convolutions alone": lambda corpus: rate(convolutions()),
}


def measure(corpus: Corpus, rounds: int = 3) -> list[Row]:
    """Each way in a process of its own, whose memory the others have not shaped."""

    def rate_of(name: str) -> float:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(rate_of_way, (name, corpus))

    return compare("fit", "examples a second", rate_of, list(WAYS), rounds)


def rate_of_way(name: str, corpus: Corpus) -> float:
    return WAYS[name](corpus)
