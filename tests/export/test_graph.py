"""The graph of an export says of any samples what `extract` and `predict` say; so does a converted one."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import noise, write_wav

from dcase2018.export.conversion import convert
from dcase2018.export.graph import AT_ONCE, Graph, waves
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.predictor import StorePredictor
from dcase2018.models.architectures import build, with_activation
from dcase2018.models.hparams import MODEL_NAMES, HParams
from dcase2018.runs.model_io import save_model
from dcase2018.runs.run import Run

CLASSES = ["one", "two", "three"]
SMALL = FeatureConfig(sample_rate=8000, mel_bands=16, mel_max_hz=4000)
HALVES = dataclasses.replace(SMALL, trim_db=60, normalize="peak", storage_dtype="float16")
WAVEFORM = dataclasses.replace(FEATURE_CONFIGS["waveform16k"], sample_rate=4000, mel_max_hz=2000)


def make_run(feature_config: FeatureConfig, hparams: HParams, model: str = "mlp") -> tuple[Run, keras.Model]:
    """A run with a lively network of random weights."""
    run = Run(Path("none"), model, hparams, feature_config, CLASSES, [3, 2, 1], 1, 0, "", "", "", {})
    keras.utils.set_random_seed(0)
    statistics = np.full(feature_config.n_features, -4.0), np.full(feature_config.n_features, 4.0)
    normal = hparams.normalization == "per_band"
    network = build(model, run.example_shape, len(CLASSES), hparams, statistics if normal else None)
    rng = np.random.default_rng(0)
    for weight in network.trainable_weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(0, 1 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape))
    return run, with_activation(network, hparams.classifier)


def predicted(folder: Path, run: Run, network: keras.Model, clips: list[np.ndarray]) -> np.ndarray:
    """Scores of clips by way of files and a store."""
    for number, samples in enumerate(clips):
        write_wav(folder / f"{number:03}.wav", samples, run.feature_config.sample_rate)
    extract(folder, folder / "clips.h5", run.feature_config)
    store = Store(folder / "clips.h5")
    return StorePredictor(run, network, store).scores(np.arange(len(store)))


def graphed(run: Run, network: keras.Model, clips: list[np.ndarray]) -> np.ndarray:
    graph = Graph(run, network)
    return np.stack([keras.ops.convert_to_numpy(graph(keras.ops.array(samples))) for samples in clips])


def as_pcm(samples: np.ndarray) -> np.ndarray:
    return (np.round(np.clip(samples, -1, 1) * 32767) / 32768).astype(np.float32)


def clips_around_the_edges(run: Run) -> list[np.ndarray]:
    """Noise of lengths at which the number of frames or examples changes, silence, and quiet ends."""
    feature_config = run.feature_config
    examples = [
        feature_config.frame_length
        + (run.example_shape[0] - 1 + n * run.hparams.inference_hop_frames(feature_config))
        * feature_config.hop_length
        for n in (0, 1, AT_ONCE, 2 * AT_ONCE + 3)
    ]
    lengths = [0, 1, feature_config.frame_length - 1, feature_config.frame_length, *examples, examples[1] - 1]
    loud = [as_pcm(noise(length, seed=length)) for length in lengths]
    quiet_ends = np.concatenate([np.zeros(1234), 0.5 * noise(5000), np.full(2345, 1e-5)])
    return [*loud, np.zeros(6000, np.float32), as_pcm(quiet_ends)]


@pytest.mark.parametrize(
    ("feature_config", "hparams"),
    [
        (SMALL, HParams()),
        (SMALL, HParams(pad_mode="wrap", clip_pooling="geometric_mean", inference_hop_seconds=0.05)),
        (SMALL, HParams(classifier="logistic", clip_pooling="geometric_mean", normalization="per_band")),
        (SMALL, HParams(classifier="logistic", example_hop_seconds=0.4)),
        (dataclasses.replace(SMALL, trim_db=20), HParams()),
        (HALVES, HParams(pad_mode="wrap")),
        (dataclasses.replace(FEATURE_CONFIGS["logmel96"], mel_bands=20), HParams()),
        (WAVEFORM, HParams()),
        (FeatureConfig(feature="waveform", sample_rate=4000, mel_max_hz=2000), HParams(pad_mode="wrap")),
    ],
)
def test_the_scores_are_those_of_predict(
    tmp_path: Path, feature_config: FeatureConfig, hparams: HParams
) -> None:
    run, network = make_run(feature_config, dataclasses.replace(hparams, nl=1, nh=16))
    clips = clips_around_the_edges(run)
    expected = predicted(tmp_path, run, network, clips)
    np.testing.assert_allclose(graphed(run, network, clips), expected, atol=2e-5)
    assert np.ptp(expected, axis=0).min() > 0.01  # they are not all the same


@pytest.mark.parametrize("name", ["compact", "crnn", "yamnet"])
def test_layers_with_states_and_loops_stay_what_they_are(tmp_path: Path, name: str) -> None:
    run, network = make_run(SMALL, HParams(normalization="per_band"), name)
    clips = [as_pcm(noise(length, length)) for length in (3000, 9000)]
    expected = predicted(tmp_path, run, network, clips)
    np.testing.assert_allclose(graphed(run, network, clips), expected, atol=1e-5)


@pytest.mark.parametrize("feature_config", [SMALL, FEATURE_CONFIGS["baseline"], FEATURE_CONFIGS["logmel96"]])
def test_the_waves_are_a_windowed_fourier_transform(feature_config: FeatureConfig) -> None:
    kernel, weights = waves(feature_config)
    windows = np.random.default_rng(0).uniform(-1, 1, (20, feature_config.win_length))
    real, imaginary = np.split(windows @ kernel[:, 0].astype(float), 2, axis=1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(feature_config.win_length) / feature_config.win_length)
    spectrum = np.fft.rfft(windows * hann, feature_config.n_fft)
    heard = np.flatnonzero(weights.any(axis=1))
    frequencies = np.fft.rfftfreq(feature_config.n_fft, 1 / feature_config.sample_rate)
    first = np.flatnonzero(frequencies > feature_config.mel_min_hz)[0]
    assert (heard == np.arange(len(weights))).all()
    np.testing.assert_allclose(real - 1j * imaginary, spectrum[:, first : first + len(weights)], atol=1e-5)


def in_runtime(format: str, path: Path) -> Callable[[np.ndarray], np.ndarray]:
    if format == "onnx":
        session = onnxruntime.InferenceSession(path)
        return lambda samples: session.run(["scores"], {"samples": samples})[0]
    if format == "litert":
        runner = Interpreter(str(path)).get_signature_runner()
        return lambda samples: runner(samples=samples)["scores"]
    model = tf.saved_model.load(str(path)).signatures["serving_default"]
    return lambda samples: model(samples=tf.constant(samples))["scores"].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "litert", "saved-model"])
@pytest.mark.parametrize(
    ("name", "feature_config"),
    [*((name, HALVES) for name in MODEL_NAMES if name != "wave"), ("cnn", SMALL), ("wave", WAVEFORM)],
)
def test_a_converted_graph_says_the_same(
    tmp_path: Path, name: str, feature_config: FeatureConfig, format: str
) -> None:
    hparams = HParams(pad_mode="wrap", normalization="per_band", clip_pooling="geometric_mean", nl=1, nh=16)
    made, network = make_run(feature_config, hparams, name)
    run = dataclasses.replace(made, path=tmp_path)
    run.save()
    save_model(network, tmp_path / "model.keras")
    convert(run, None, format, tmp_path / "converted")
    tagged = in_runtime(format, tmp_path / "converted")
    clips = clips_around_the_edges(run)
    expected = graphed(run, network, clips)  # rounding frames otherwise than to halves is 1e-5 away
    np.testing.assert_allclose([tagged(samples) for samples in clips], expected, atol=3e-6)
