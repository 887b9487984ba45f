"""The networks against the reference's table."""

import keras
import numpy as np
import pytest

from dcase2018.hparams import HParams
from dcase2018.models import build as build_network
from dcase2018.models import kernel_weights, multiplies
from dcase2018.objective import compile_model, learning_rate

SHAPE = (25, 64)


def build(name: str, shape: tuple[int, int], n_classes: int, hparams: HParams) -> keras.Model:
    model = build_network(name, shape, n_classes, hparams)
    compile_model(model, hparams, epoch_steps=10, epochs=2)
    return model


@pytest.fixture(scope="module")
def cnn() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build("cnn", SHAPE, 41, HParams())


def test_cnn_has_the_activation_shapes_of_the_table(cnn: keras.Model) -> None:
    shapes = [layer.output.shape[1:] for layer in cnn.layers[1:]]
    assert shapes == [
        (25, 64, 1), (25, 64, 100), (13, 32, 100), (13, 32, 150), (7, 16, 150), (7, 16, 200), (200,), (41,)
    ]  # fmt: skip


def test_cnn_has_the_weights_and_multiplies_of_the_table(cnn: keras.Model) -> None:
    kernels = [layer.kernel for layer in cnn.layers if hasattr(layer, "kernel")]
    assert [int(np.prod(kernel.shape)) for kernel in kernels] == [4900, 375000, 270000, 8200]
    assert kernel_weights(cnn) == 658100
    assert cnn.count_params() == 658591
    assert multiplies(cnn) == 7_840_000 + 156_000_000 + 30_240_000 + 8200


def test_initial_weights_are_a_truncated_normal(cnn: keras.Model) -> None:
    for layer in cnn.layers:
        if not hasattr(layer, "kernel"):
            continue
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        assert not keras.ops.convert_to_numpy(layer.bias).any()
        assert np.abs(kernel).max() <= 2e-3
        assert abs(kernel.mean()) < 4e-3 / np.sqrt(kernel.size)
        # The standard deviation of a normal that is cut at two of its own is 0.8796 of it.
        assert kernel.std() == pytest.approx(0.8796e-3, rel=3 / np.sqrt(kernel.size))


def test_adam_is_set_as_in_the_reference(cnn: keras.Model) -> None:
    config = cnn.optimizer.get_config()
    assert config["learning_rate"] == pytest.approx(1e-4)
    assert (config["epsilon"], config["beta_1"], config["beta_2"]) == (1e-8, 0.9, 0.999)


@pytest.mark.parametrize(("classifier", "name"), [("softmax", "softmax"), ("logistic", "sigmoid")])
def test_classifiers(classifier: str, name: str) -> None:
    model = build("mlp", SHAPE, 41, HParams(classifier=classifier, weights_init_stddev=1))
    scores = keras.ops.convert_to_numpy(model(np.ones((2, *SHAPE), np.float32)))
    assert model.layers[-1].activation.__name__ == name
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.allclose(scores.sum(axis=1), 1) == (classifier == "softmax")


@pytest.mark.parametrize("classifier", ["softmax", "logistic"])
def test_losses(classifier: str) -> None:
    model = build("mlp", SHAPE, 3, HParams(classifier=classifier, nl=1, nh=4))
    examples = np.random.default_rng(0).standard_normal((5, *SHAPE)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    p = keras.ops.convert_to_numpy(model(examples)).astype(np.float64)
    cross_entropy = {
        "softmax": -np.log(p[targets == 1]).mean(),
        "logistic": -np.where(targets == 1, np.log(p), np.log(1 - p)).mean(),
    }
    assert model.evaluate(examples, targets, verbose=0) == pytest.approx(cross_entropy[classifier], rel=1e-4)


def test_mlp_has_nl_layers_of_nh_units() -> None:
    model = build("mlp", SHAPE, 41, HParams(nl=3, nh=17))
    widths = [layer.units for layer in model.layers if hasattr(layer, "units")]
    assert widths == [17, 17, 17, 41]
    assert multiplies(model) == 1600 * 17 + 2 * 17 * 17 + 17 * 41


def test_a_cosine_rises_and_falls() -> None:
    hparams = HParams(lr=0.5, schedule="cosine", warmup_epochs=2)
    rate = learning_rate(hparams, epoch_steps=10, epochs=12)
    values = [float(rate(step)) for step in range(121)]
    np.testing.assert_allclose(values[:21], np.linspace(0, 0.5, 21), atol=1e-6)
    np.testing.assert_allclose(values[20:], 0.25 * (1 + np.cos(np.linspace(0, np.pi, 101))), atol=1e-6)
    falling = learning_rate(HParams(lr=0.5, schedule="cosine"), epoch_steps=10, epochs=1)
    assert [float(falling(step)) for step in (0, 5, 10)] == pytest.approx([0.5, 0.25, 0])


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_computes_in_halves_and_scores_in_float32(precision: str) -> None:
    model = build("mlp", SHAPE, 41, HParams(precision=precision, weights_init_stddev=0.1))
    assert {layer.compute_dtype for layer in model.layers[1:-1]} == {precision.removeprefix("mixed_")}
    assert {layer.variable_dtype for layer in model.layers[1:]} == {"float32"}
    assert model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"  # of other networks
    examples = np.random.default_rng(0).standard_normal((8, *SHAPE)).astype(np.float32)
    losses = [float(model.train_on_batch(examples, np.eye(41)[:8])) for _ in range(20)]
    assert losses[-1] < losses[0]
