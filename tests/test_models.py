"""The networks against the reference's table."""

import keras
import numpy as np
import pytest

from dcase2018.hparams import HParams
from dcase2018.models import build, kernel_weights, multiplies

SHAPE = (25, 64)


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
