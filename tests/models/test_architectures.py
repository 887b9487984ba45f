"""Network architectures, compared with the table of the reference."""

from pathlib import Path

import keras
import numpy as np
import pytest

from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.models.architectures import (
    MODELS,
    count_kernel_weights,
    count_macs,
    embedding_model,
    with_activation,
)
from dcase2018.models.architectures import build as build_network
from dcase2018.models.hparams import MODEL_NAMES, PRESETS, HParams
from dcase2018.models.losses import compile_model
from dcase2018.utils.errors import InputError

SHAPE = (25, 64)


def build(name: str, shape: tuple[int, int], n_classes: int, hparams: HParams) -> keras.Model:
    model = build_network(name, shape, n_classes, hparams)
    compile_model(model, hparams, epoch_steps=10, total_steps=20)
    return model


@pytest.fixture(scope="module")
def cnn() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build("cnn", SHAPE, 41, HParams())


def test_cnn_has_the_output_shapes_of_the_reference(cnn: keras.Model) -> None:
    shapes = [layer.output.shape[1:] for layer in cnn.layers[1:]]
    assert shapes == [
        (25, 64, 1), (25, 64, 100), (13, 32, 100), (13, 32, 150), (7, 16, 150), (7, 16, 200), (200,), (41,)
    ]  # fmt: skip


def test_cnn_has_the_weights_and_macs_of_the_reference(cnn: keras.Model) -> None:
    kernels = [layer.kernel for layer in cnn.layers if hasattr(layer, "kernel")]
    assert [int(np.prod(kernel.shape)) for kernel in kernels] == [4900, 375000, 270000, 8200]
    assert count_kernel_weights(cnn) == 658100
    assert cnn.count_params() == 658591
    assert count_macs(cnn) == 7_840_000 + 156_000_000 + 30_240_000 + 8200


def test_initial_weights_are_truncated_normal(cnn: keras.Model) -> None:
    for layer in cnn.layers:
        if not hasattr(layer, "kernel"):
            continue
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        assert not keras.ops.convert_to_numpy(layer.bias).any()
        assert np.abs(kernel).max() <= 2e-3
        assert abs(kernel.mean()) < 4e-3 / np.sqrt(kernel.size)
        # Truncation at 2 standard deviations reduces the standard deviation to 0.8796.
        assert kernel.std() == pytest.approx(0.8796e-3, rel=3 / np.sqrt(kernel.size))


def test_adam_has_the_parameters_of_the_reference(cnn: keras.Model) -> None:
    config = cnn.optimizer.get_config()
    assert config["learning_rate"] == pytest.approx(1e-4)
    assert (config["epsilon"], config["beta_1"], config["beta_2"]) == (1e-8, 0.9, 0.999)


@pytest.mark.parametrize(("classifier", "name"), [("softmax", "softmax"), ("logistic", "sigmoid")])
def test_with_activation_gives_probabilities(classifier: str, name: str) -> None:
    model = with_activation(build("mlp", SHAPE, 41, HParams(weights_init_stddev=1)), classifier)
    scores = keras.ops.convert_to_numpy(model(np.ones((2, *SHAPE), np.float32)))
    assert model.layers[-1].activation.__name__ == name
    assert with_activation(model, classifier) is model
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.allclose(scores.sum(axis=1), 1) == (classifier == "softmax")


def test_embedding_model_ignores_the_activation() -> None:
    model = build("mlp", SHAPE, 41, HParams(weights_init_stddev=1, nl=1, nh=7))
    examples = np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)
    embeddings = embedding_model(model).predict_on_batch(examples)
    assert embeddings.shape == (2, 7)
    expected = embedding_model(with_activation(model, "softmax")).predict_on_batch(examples)
    np.testing.assert_array_equal(embeddings, expected)


@pytest.mark.parametrize("classifier", ["softmax", "logistic"])
def test_loss_is_the_cross_entropy_of_the_scores(classifier: str) -> None:
    model = build("mlp", SHAPE, 3, HParams(classifier=classifier, nl=1, nh=4))
    examples = np.random.default_rng(0).standard_normal((5, *SHAPE)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    p = keras.ops.convert_to_numpy(with_activation(model, classifier)(examples)).astype(np.float64)
    cross_entropy = {
        "softmax": -np.log(p[targets == 1]).mean(),
        "logistic": -np.where(targets == 1, np.log(p), np.log(1 - p)).mean(),
    }
    assert model.evaluate(examples, targets, verbose=0) == pytest.approx(cross_entropy[classifier], rel=1e-4)


def test_mlp_has_nl_layers_of_nh_units() -> None:
    model = build("mlp", SHAPE, 41, HParams(nl=3, nh=17))
    widths = [layer.units for layer in model.layers if hasattr(layer, "units")]
    assert widths == [17, 17, 17, 41]
    assert count_macs(model) == 1600 * 17 + 2 * 17 * 17 + 17 * 41


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_computes_in_16_bits_and_scores_in_float32(precision: str) -> None:
    model = build("mlp", SHAPE, 41, HParams(precision=precision, weights_init_stddev=0.1))
    assert {layer.compute_dtype for layer in model.layers[1:-1]} == {precision.removeprefix("mixed_")}
    assert {layer.variable_dtype for layer in model.layers[1:]} == {"float32"}
    assert model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"  # the global policy is restored
    examples = np.random.default_rng(0).standard_normal((8, *SHAPE)).astype(np.float32)
    losses = [float(model.train_on_batch(examples, np.eye(41)[:8])) for _ in range(20)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_mean_subtraction_removes_a_fraction_of_each_bands_mean(fraction: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, *SHAPE)).astype(np.float32)
    means = x.mean(axis=1, keepdims=True)
    plain = build("mlp", SHAPE, 41, HParams(weights_init_stddev=0.1))
    subtracting = build("mlp", SHAPE, 41, HParams(weights_init_stddev=0.1, mean_subtraction=fraction))
    subtracting.set_weights(plain.get_weights())
    np.testing.assert_allclose(
        subtracting.predict(x, verbose=0),
        plain.predict(x - fraction * means, verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )


def test_model_names_are_the_keys_of_models() -> None:
    assert tuple(MODELS) == MODEL_NAMES


def test_loaded_model_gets_its_activation(tmp_path: Path) -> None:
    build("compact", SHAPE, 41, HParams()).save(tmp_path / "training.keras")
    keras.utils.clear_session()  # resets the layer names, as in a new process
    loaded = keras.saving.load_model(tmp_path / "training.keras", compile=False)
    model = with_activation(loaded, "softmax")
    scores = keras.ops.convert_to_numpy(model(np.zeros((2, *SHAPE), np.float32)))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)


def test_an_unknown_model_raises_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="'cnx' is unknown; the nearest name is 'cnn' of cnn, mlp, "):
        build("cnx", (25, 64), 3, HParams())


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("shape", [(128, 96), (77, 40)])
def test_every_architecture_supports_any_input_shape(
    name: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    mean, variance = np.full(shape[1], 5.0), np.full(shape[1], 4.0)
    hparams = HParams(dropout=0.2, weights_init_stddev=0.05, nh=16)
    model = build_network(name, shape, 5, hparams, (mean, variance))
    examples = np.random.default_rng(0).normal(5, 2, (3, *shape)).astype(np.float32)
    logits = keras.ops.convert_to_numpy(model(examples))
    scores = keras.ops.convert_to_numpy(with_activation(model, "softmax")(examples))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), scores, rtol=1e-4)
    without_normalization = build_network(name, shape, 5, hparams)
    without_normalization.set_weights(
        [w for w in model.get_weights() if w.shape != mean.shape or not np.array_equal(w, mean)]
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(without_normalization((examples - 5) / 2)), logits, atol=1e-3
    )
    with_activation(model, "softmax").save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(restored(examples)), scores)


def test_compact_preset_is_within_its_budget() -> None:
    feature_config, hparams = FEATURE_CONFIGS["logmel96"], PRESETS["compact"].hparams
    model = build_network(
        "compact", (hparams.example_frames(feature_config), feature_config.n_features), 41, hparams
    )
    assert model.count_params() <= 658_100
    examples_per_second = 1 / (hparams.inference_hop_frames(feature_config) * feature_config.stft_hop_seconds)
    assert count_macs(model) * examples_per_second <= 162e6


def test_macs_of_recurrent_networks() -> None:
    crnn = build_network("crnn", (128, 96), 41, HParams())
    recurrent = 2 * 16 * (192 * 3 * 96 + 96 * 3 * 96)  # 2 directions, 16 steps, 3 gates
    convolutions = 128 * 96 * 9 * 32 + 64 * 24 * 9 * 32 * 64 + 32 * 6 * 9 * 64 * 96
    assert count_macs(crnn) == recurrent + convolutions + 384 * 41
