"""Benchmark `fit`: training from the store compared with the reference's design, and with its convolutions.

The reference decodes WAV files and computes log mel frames in a tf.data pipeline. It trains the same model
with the same optimizer in a custom training loop.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from harness import N_CLASSES, Corpus, Row, Size, measure_rates

from dcase2018.cli.keras_setup import keep_freed_memory
from dcase2018.features.store import Store
from dcase2018.models.architectures import CNN_LAYERS, build
from dcase2018.models.hparams import PRESETS
from dcase2018.runs.training_state import StoppingCriteria, TrainingState
from dcase2018.training.experiment import Experiment
from dcase2018.training.fit import fit

PRESET = PRESETS["baseline"]
BATCH_SIZE = PRESET.hparams.batch_size

# One training step.
Step = Callable[[], object]


def tf_data_examples(corpus: Corpus) -> tf.data.Dataset:
    """Batches of the reference's examples, computed from the WAV files."""
    mel_filterbank = tf.signal.linear_to_mel_weight_matrix(64, 1025, 44100, 125, 7500)

    def load_examples(path: tf.Tensor, label: tf.Tensor) -> tf.data.Dataset:
        samples = tf.audio.decode_wav(tf.io.read_file(path))[0][:, 0]
        spectrum = tf.abs(tf.signal.stft(samples, 1102, 441, fft_length=2048))  # (frames, 1025)
        examples = tf.signal.frame(tf.math.log(spectrum @ mel_filterbank + 0.001), 25, 12, axis=0)
        targets = tf.repeat(tf.one_hot(label, N_CLASSES)[None], tf.shape(examples)[0], axis=0)
        return tf.data.Dataset.from_tensor_slices((examples, targets))

    paths = [str(corpus.audio / fname) for fname in corpus.labels["fname"]]
    clips = tf.data.Dataset.from_tensor_slices((paths, np.arange(len(paths)) % N_CLASSES))
    examples = clips.shuffle(len(paths)).repeat().interleave(load_examples, cycle_length=8)
    return examples.shuffle(1000).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)


def reference_step(corpus: Corpus) -> Step:
    model = build("cnn", (25, 64), N_CLASSES, PRESET.hparams)
    optimizer = keras.optimizers.Adam(1e-4, epsilon=1e-8)
    batches: Iterator = iter(tf_data_examples(corpus))

    @tf.function
    def step(examples: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(examples, training=True)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, logits, from_logits=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    return lambda: float(step(*next(batches)))


def convolution_operands(batch_size: int) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Inputs and kernels of the three convolutions of the model `cnn`."""
    shapes = [(25, 64, 1), (13, 32, 100), (7, 16, 150)]
    inputs = [tf.random.normal((batch_size, *shape)) for shape in shapes]
    kernels = [
        tf.random.normal((size, size, shape[-1], filters))
        for (size, filters), shape in zip(CNN_LAYERS, shapes, strict=True)
    ]
    return inputs, kernels


def convolution_step() -> Step:
    """The three convolutions of the model `cnn` and their gradients."""
    inputs, kernels = convolution_operands(BATCH_SIZE)

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(kernels + inputs[1:])  # the first layer's input needs no gradient
            outputs = [tf.nn.conv2d(x, k, 1, "SAME") for x, k in zip(inputs, kernels, strict=True)]
        return tape.gradient(outputs, kernels + inputs[1:])

    return step


def step_rate(step: Step, n_steps: int) -> float:
    step()  # traces and compiles
    started = time.perf_counter()
    for _ in range(n_steps):
        step()
    return n_steps * BATCH_SIZE / (time.perf_counter() - started)


def fit_rate(corpus: Corpus, n_steps: int) -> float:
    """Rate of the second `n_steps` steps of a run, after tracing and compilation."""
    keep_freed_memory()  # as in the command
    path = corpus.root / f"run {time.perf_counter()}"
    experiment = Experiment.create(path, PRESET, Store(corpus.store), corpus.labels)
    fit(experiment, StoppingCriteria(max_steps=2 * n_steps), save_every=n_steps, keep_checkpoints=2)
    checkpoint_dir = experiment.run.checkpoint_dir
    states = [TrainingState.load(checkpoint_dir(step), step) for step in (n_steps, 2 * n_steps)]
    return n_steps * BATCH_SIZE / (states[1].seconds - states[0].seconds)


IMPLEMENTATIONS: dict[str, Callable[[Corpus, int], float]] = {
    "on the fly": lambda corpus, n_steps: step_rate(reference_step(corpus), n_steps),
    "fit": fit_rate,
    "convolutions only": lambda corpus, n_steps: step_rate(convolution_step(), n_steps),
}


def measure(corpus: Corpus, size: Size) -> list[Row]:
    """Measure each implementation in a new process, so that none inherits the memory state of another."""
    implementations = {
        name: partial(rate_in_new_process, name, corpus, size.steps) for name in IMPLEMENTATIONS
    }
    return measure_rates("fit", "examples per second", implementations, size.rounds)


def rate_in_new_process(name: str, corpus: Corpus, n_steps: int) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(rate_of, (name, corpus, n_steps))


def rate_of(name: str, corpus: Corpus, n_steps: int) -> float:
    return IMPLEMENTATIONS[name](corpus, n_steps)
