"""The networks: builders from the shape of an example to a Keras model.

Every builder takes `(n_frames, n_bands)` of an example, the number of classes and the hyperparameters,
and returns a model of `(batch, n_frames, n_bands)` log mel frames to `(batch, n_classes)` scores in
[0, 1]. Nothing here belongs to one backend.
"""

import math
from collections.abc import Callable

import keras
from keras import layers

from dcase2018.hparams import HParams

Builder = Callable[[tuple[int, int], int, HParams], keras.Model]

# The reference's convolutions: (kernel size, feature maps); 3x3 max-pooling of stride 2 between them.
CNN_LAYERS = ((7, 100), (5, 150), (3, 200))


def cnn(input_shape: tuple[int, int], n_classes: int, hparams: HParams) -> keras.Model:
    """Build the reference's three-layer CNN (658,100 weights at 25 x 64 and 41 classes)."""
    inputs = keras.Input(input_shape)  # (25, 64)
    x = layers.Reshape((*input_shape, 1))(inputs)  # (25, 64, 1)
    for number, (size, maps) in enumerate(CNN_LAYERS):
        if number:
            x = layers.MaxPooling2D(3, strides=2, padding="same")(x)  # (13, 32, 100), (7, 16, 150)
        x = layers.Conv2D(maps, size, padding="same", activation="relu", **_init(hparams))(x)
    x = layers.GlobalMaxPooling2D()(x)  # (200,)
    return keras.Model(inputs, _scores(x, n_classes, hparams), name="cnn")


def mlp(input_shape: tuple[int, int], n_classes: int, hparams: HParams) -> keras.Model:
    """Build the reference's multi-layer perceptron: `nl` dense layers of `nh` units."""
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(inputs)
    for _ in range(hparams.nl):
        x = layers.Dense(hparams.nh, activation="relu", **_init(hparams))(x)
    return keras.Model(inputs, _scores(x, n_classes, hparams), name="mlp")


MODELS: dict[str, Builder] = {"cnn": cnn, "mlp": mlp}


def _init(hparams: HParams) -> dict[str, object]:
    """Initial weights: truncated normal, biases 0."""
    normal = keras.initializers.TruncatedNormal(stddev=hparams.weights_init_stddev)
    return {"kernel_initializer": normal, "bias_initializer": "zeros"}


def _scores(x: keras.KerasTensor, n_classes: int, hparams: HParams) -> keras.KerasTensor:
    """Put the classifier on top: scores that sum to 1, or one probability a class, always float32."""
    activation = {"softmax": "softmax", "logistic": "sigmoid"}[hparams.classifier]
    return layers.Dense(n_classes, activation=activation, dtype="float32", **_init(hparams))(x)


def build(name: str, input_shape: tuple[int, int], n_classes: int, hparams: HParams) -> keras.Model:
    """Build a network of `MODELS`, computing in the precision that the hyperparameters say."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(hparams.precision)
    try:
        return MODELS[name](input_shape, n_classes, hparams)
    finally:
        keras.config.set_dtype_policy(policy)


def multiplies(model: keras.Model) -> int:
    """Multiplications of weights for one example: kernel size times output positions, summed."""
    return sum(
        math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        if hasattr(layer, "kernel")
    )


def kernel_weights(model: keras.Model) -> int:
    """Weights without biases."""
    return sum(math.prod(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel"))
