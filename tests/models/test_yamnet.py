"""YAMNet: features, architecture, and weights in the layout of the published file.

The tests do not use the published file. The synthetic one has its layers, names, order and shapes.
"""

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import noise, run_ok, write_wav

from dcase2018.data.labels import read_labels
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.models.architectures import YAMNET_LAYERS, build, count_macs, load_yamnet
from dcase2018.models.hparams import HParams, Preset
from dcase2018.runs.run import Run
from dcase2018.training.experiment import Experiment, InitialWeights
from dcase2018.training.fit import fit
from dcase2018.utils.errors import InputError

Layer = tuple[str, dict[str, tuple[int, ...]]]


def published_layers() -> list[Layer]:
    """Return the layers of yamnet.h5 with the shapes of their weights."""

    def batch_norm(name: str, filters: int) -> Layer:
        return f"{name}/bn", dict.fromkeys(("beta", "moving_mean", "moving_variance"), (filters,))

    layers: list[Layer] = [("input_1", {})]
    layers += [("layer1/conv", {"kernel": (3, 3, 1, 32)}), batch_norm("layer1/conv", 32), ("layer1/relu", {})]
    channels = 32
    for i, (_, filters) in enumerate(YAMNET_LAYERS, 2):
        depthwise, pointwise = f"layer{i}/depthwise_conv", f"layer{i}/pointwise_conv"
        layers += [(depthwise, {"depthwise_kernel": (3, 3, channels, 1)}), batch_norm(depthwise, channels)]
        layers += [(pointwise, {"kernel": (1, 1, channels, filters)}), batch_norm(pointwise, filters)]
        channels = filters
    return [*layers, ("logits", {"kernel": (1024, 521), "bias": (521,)}), ("predictions", {})]


def random_weights(rng: np.random.Generator, weight: str, shape: tuple[int, ...]) -> np.ndarray:
    low = 0.5 if weight == "moving_variance" else -0.05
    return rng.uniform(low, low + 0.1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write random weights in the format of Keras 2: one group per layer, names in attributes."""
    path = tmp_path_factory.mktemp("yamnet") / "yamnet.h5"
    rng = np.random.default_rng(0)
    layers = published_layers()
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name, _ in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.2.4-tf"
        for name, shapes in layers:
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{weight}:0".encode() for weight in shapes]
            for weight, shape in shapes.items():
                group[f"{name}/{weight}:0"] = random_weights(rng, weight, shape)
    return path


def test_features_are_those_of_the_reference_at_16_khz() -> None:
    feature_config = FEATURE_CONFIGS["yamnet"]
    assert (feature_config.win_length, feature_config.hop_length, feature_config.n_fft) == (400, 160, 512)
    assert (feature_config.mel_bands, feature_config.mel_min_hz, feature_config.mel_max_hz) == (64, 125, 7500)
    assert feature_config.mel_log_offset == 0.001


def test_architecture_has_the_published_size() -> None:
    model = build("yamnet", (96, 64), 521, HParams(classifier="logistic"))
    assert round(count_macs(model) / 1e6, 1) == 69.2
    assert round(model.count_params() / 1e6, 1) == 3.8
    assert round(sum(np.prod(w.shape) for w in model.trainable_weights) / 1e6, 1) == 3.7
    assert [layer.output.shape[1:] for layer in model.layers if "pooling" in layer.name] == [(1024,)]
    assert (3, 2, 1024) in [layer.output.shape[1:] for layer in model.layers]


def test_weights_are_loaded_in_order(weights_file: Path) -> None:
    model = load_yamnet(weights_file)
    rng = np.random.default_rng(0)
    layers = [layer for layer in model.layers if layer.weights]
    expected = [shapes for _, shapes in published_layers() if shapes]
    for layer, shapes in zip(layers, expected, strict=True):
        for values, (name, shape) in zip(layer.get_weights(), shapes.items(), strict=True):
            np.testing.assert_array_equal(values, random_weights(rng, name, shape))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of four clips with the features of YAMNet, and their labels."""
    for i in range(4):
        write_wav(tmp_path / "clips" / f"{i}.wav", noise(30000, seed=i))
    (tmp_path / "train.csv").write_text("fname,label\n0.wav,Bark\n1.wav,Bus\n2.wav,Bark\n3.wav,Bus\n")
    extract(tmp_path / "clips", tmp_path / "s.h5", FEATURE_CONFIGS["yamnet"])
    return Store(tmp_path / "s.h5")


@pytest.mark.slow
def test_fine_tuning_keeps_a_frozen_backbone(weights_file: Path, store: Store) -> None:
    labels, run = store.path.with_name("train.csv"), store.path.with_name("run")
    options = ("--preset", "yamnet", "--pretrained", weights_file, "--max-steps", 1)
    hparams = "freeze=backbone,verified_finetune_fraction=0"
    run_ok("fit", store.path, labels, run, *options, "--hparams", hparams)
    pretrained, tuned = load_yamnet(weights_file), Run.load(run).load_for_inference()
    assert tuned.output.shape == (None, 2)
    kernels = [[w for w in model.get_weights() if w.ndim == 4] for model in (pretrained, tuned)]
    for expected, kernel in zip(*kernels, strict=True):
        np.testing.assert_array_equal(kernel, expected)


def test_pretrained_weights_of_another_architecture_raise(
    weights_file: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    initial = dataclasses.replace(
        InitialWeights.find(weights_file), feature_config=FEATURE_CONFIGS["baseline"]
    )
    labels = read_labels(store.path.with_name("train.csv"))
    path = store.path.with_name("run")
    with caplog.at_level("WARNING"):
        experiment = Experiment.create(path, Preset("cnn", HParams(), 1), store, labels, initial=initial)
    assert "--pretrained was trained with other features; here sample_rate=16000, not 44100" in caplog.text
    message = "yamnet.h5 has no layer that fits --model cnn; use the --model of that file"
    with pytest.raises(InputError, match=message):
        fit(experiment)


def test_other_files_are_not_loaded(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file.create_group("dense").attrs["weight_names"] = [b"kernel:0"]
    (tmp_path / "text.h5").write_text("text")
    for name in ("other.h5", "text.h5"):
        with pytest.raises(InputError, match=f"{name} does not contain the weights of YAMNet"):
            load_yamnet(tmp_path / name)
    with pytest.raises(InputError, match=r"is neither a run folder nor YAMNet weights \(.h5\)"):
        InitialWeights.find(Path(__file__))
