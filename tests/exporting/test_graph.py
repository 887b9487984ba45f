"""The inference graph and its conversions return the scores of `extract` and `predict` for any samples."""

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

from dcase2018.exporting.conversion import convert
from dcase2018.exporting.graph import GRAPH_BATCH, InferenceGraph, windowed_dft_kernel
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
FLOAT16 = dataclasses.replace(SMALL, trim_db=60, normalize="peak", storage_dtype="float16")
WAVEFORM = dataclasses.replace(FEATURE_CONFIGS["waveform16k"], sample_rate=4000, mel_max_hz=2000)


def make_run(feature_config: FeatureConfig, hparams: HParams, model: str = "mlp") -> tuple[Run, keras.Model]:
    """Return a run, and a network whose random weights give scores that vary."""
    run = Run(Path("none"), model, hparams, feature_config, CLASSES, [3, 2, 1], [], 1, 0, "", "", "", {})
    keras.utils.set_random_seed(0)
    norm_stats = None
    if hparams.normalization == "per_band":
        norm_stats = np.full(feature_config.n_features, -4.0), np.full(feature_config.n_features, 4.0)
    network = build(model, run.example_shape, len(CLASSES), hparams, norm_stats)
    rng = np.random.default_rng(0)
    for weight in network.trainable_weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(0, 1 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape))
    return run, with_activation(network, hparams.classifier)


def predict_clips(folder: Path, run: Run, network: keras.Model, clips: list[np.ndarray]) -> np.ndarray:
    """Score clips from files and a store."""
    for index, samples in enumerate(clips):
        write_wav(folder / f"{index:03}.wav", samples, run.feature_config.sample_rate)
    extract(folder, folder / "clips.h5", run.feature_config)
    store = Store(folder / "clips.h5")
    return StorePredictor(run, network, store).scores(np.arange(len(store)))


def run_graph(run: Run, network: keras.Model, clips: list[np.ndarray]) -> np.ndarray:
    graph = InferenceGraph(run, network)
    return np.stack([keras.ops.convert_to_numpy(graph(keras.ops.array(samples))) for samples in clips])


def round_to_pcm16(samples: np.ndarray) -> np.ndarray:
    return (np.round(np.clip(samples, -1, 1) * 32767) / 32768).astype(np.float32)


def edge_case_clips(run: Run) -> list[np.ndarray]:
    """Return noise with lengths around a change of the number of frames or windows, and silent clips."""
    feature_config = run.feature_config
    window_lengths = [
        feature_config.frame_length
        + (run.example_shape[0] - 1 + n * run.hparams.inference_hop_frames(feature_config))
        * feature_config.hop_length
        for n in (0, 1, GRAPH_BATCH, 2 * GRAPH_BATCH + 3)
    ]
    frame_length = feature_config.frame_length
    lengths = [0, 1, frame_length - 1, frame_length, *window_lengths, window_lengths[1] - 1]
    noise_clips = [round_to_pcm16(noise(length, seed=length)) for length in lengths]
    silent_ends = np.concatenate([np.zeros(1234), 0.5 * noise(5000), np.full(2345, 1e-5)])
    quiet_noise = noise(6000, level=10 ** (-85 / 20))
    silent = [np.zeros(6000), np.full(5000, 0.2), quiet_noise]
    with_offset = [silent_ends + 0.1, noise(3000) - 0.05, np.append(np.full(4000, 0.2), 0.3)]
    return [*noise_clips, *map(round_to_pcm16, [silent_ends, *silent, *with_offset])]


@pytest.mark.parametrize(
    ("feature_config", "hparams"),
    [
        (SMALL, HParams()),
        (SMALL, HParams(pad_mode="wrap", clip_pooling="geometric_mean", inference_hop_seconds=0.05)),
        (SMALL, HParams(classifier="logistic", clip_pooling="geometric_mean", normalization="per_band")),
        (SMALL, HParams(classifier="logistic", example_hop_seconds=0.4)),
        (dataclasses.replace(SMALL, trim_db=20), HParams()),
        (FLOAT16, HParams(pad_mode="wrap")),
        (dataclasses.replace(FEATURE_CONFIGS["logmel96"], mel_bands=20), HParams()),
        (WAVEFORM, HParams()),
        (FeatureConfig(feature="waveform", sample_rate=4000, mel_max_hz=2000), HParams(pad_mode="wrap")),
    ],
)
def test_graph_scores_are_those_of_predict(
    tmp_path: Path, feature_config: FeatureConfig, hparams: HParams
) -> None:
    run, network = make_run(feature_config, dataclasses.replace(hparams, nl=1, nh=16))
    clips = edge_case_clips(run)
    expected = predict_clips(tmp_path, run, network, clips)
    np.testing.assert_allclose(run_graph(run, network, clips), expected, atol=2e-5)
    assert np.ptp(expected, axis=0).min() > 0.01  # the scores vary


@pytest.mark.parametrize("name", ["compact", "crnn", "yamnet"])
def test_normalization_and_recurrent_layers_are_preserved(tmp_path: Path, name: str) -> None:
    run, network = make_run(SMALL, HParams(normalization="per_band"), name)
    clips = [round_to_pcm16(noise(length, length)) for length in (3000, 9000)]
    expected = predict_clips(tmp_path, run, network, clips)
    np.testing.assert_allclose(run_graph(run, network, clips), expected, atol=1e-5)


@pytest.mark.parametrize("feature_config", [SMALL, FEATURE_CONFIGS["baseline"], FEATURE_CONFIGS["logmel96"]])
def test_the_kernel_is_a_windowed_fourier_transform(feature_config: FeatureConfig) -> None:
    kernel, weights = windowed_dft_kernel(feature_config)
    windows = np.random.default_rng(0).uniform(-1, 1, (20, feature_config.win_length))
    real, imaginary = np.split(windows @ kernel[:, 0].astype(float), 2, axis=1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(feature_config.win_length) / feature_config.win_length)
    spectrum = np.fft.rfft(windows * hann, feature_config.n_fft)
    used_bins = np.flatnonzero(weights.any(axis=1))
    frequencies = np.fft.rfftfreq(feature_config.n_fft, 1 / feature_config.sample_rate)
    first = np.flatnonzero(frequencies > feature_config.mel_min_hz)[0]
    assert (used_bins == np.arange(len(weights))).all()
    np.testing.assert_allclose(real - 1j * imaginary, spectrum[:, first : first + len(weights)], atol=1e-5)


def load_runtime(format: str, path: Path) -> Callable[[np.ndarray], np.ndarray]:
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
    [*((name, FLOAT16) for name in MODEL_NAMES if name != "wave"), ("cnn", SMALL), ("wave", WAVEFORM)],
)
def test_converted_graphs_return_the_same_scores(
    tmp_path: Path, name: str, feature_config: FeatureConfig, format: str
) -> None:
    hparams = HParams(pad_mode="wrap", normalization="per_band", clip_pooling="geometric_mean", nl=1, nh=16)
    run, network = make_run(feature_config, hparams, name)
    run = dataclasses.replace(run, path=tmp_path)
    run.save()
    save_model(network, tmp_path / "model.keras")
    convert(run, None, format, tmp_path / "converted")
    score = load_runtime(format, tmp_path / "converted")
    clips = edge_case_clips(run)
    expected = run_graph(run, network, clips)  # without rounding to float16, differences are 1e-5
    np.testing.assert_allclose([score(samples) for samples in clips], expected, atol=3e-6)
