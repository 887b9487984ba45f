"""The networks: from the frames of an example to the features that a classifier stands on.

Every network is a function of a tensor `(batch, n_frames, width)` and the hyperparameters to a tensor
`(batch, features)`; `build` puts an input before it and a classifier behind it. It learns from logits, and
`scorer` puts behind it what makes scores of them. All take any number of frames and bands but for `mlp`, and
nothing here belongs to one backend.
"""

import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers

from dcase2018.models.hparams import HParams
from dcase2018.utils.errors import InputError

Network = Callable[[keras.KerasTensor, HParams], keras.KerasTensor]

# The reference's convolutions: (kernel size, feature maps); 3x3 max-pooling of stride 2 between them.
CNN_LAYERS = ((7, 100), (5, 150), (3, 200))

# YAMNet's separable convolutions: (stride, feature maps).
YAMNET_LAYERS = (
    (1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024),
)  # fmt: skip
YAMNET_SHAPE, YAMNET_CLASSES = (96, 64), 521


def cnn(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """The reference's three-layer CNN (658,100 weights at 25 x 64 and 41 classes)."""
    x = _as_image(x)  # (25, 64, 1)
    for number, (size, maps) in enumerate(CNN_LAYERS):
        if number:
            x = layers.MaxPooling2D(3, strides=2, padding="same")(x)  # (13, 32, 100), (7, 16, 150)
        x = layers.Conv2D(maps, size, padding="same", activation="relu", **_init(hparams))(x)
    return layers.GlobalMaxPooling2D()(x)  # (200,)


def mlp(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """The reference's multi-layer perceptron: `nl` dense layers of `nh` units."""
    x = layers.Flatten()(x)
    for _ in range(hparams.nl):
        x = layers.Dense(hparams.nh, activation="relu", **_init(hparams))(x)
    return x


def compact(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """For a laptop: a wide view with a large stride, convolutions on small maps, and a recurrent layer."""
    x = _conv(_as_image(x), 32, size=7, strides=(4, 2))
    x = layers.MaxPooling2D((1, 2), padding="same")(x)  # (n_frames / 4, n_bands / 4, 32)
    x = _conv(x, 64)
    for maps in ((96, 128), (128,)):
        x = layers.MaxPooling2D(2, padding="same")(x)
        for n_maps in maps:
            x = _conv(x, n_maps)
    x = _conv1d(_by_frame(x), 128, size=1)  # (n_frames / 16, 128)
    return _over_time(layers.Bidirectional(layers.GRU(64, return_sequences=True))(x))


def vgg(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """Pairs of 3x3 convolutions between poolings, after Simonyan & Zisserman (2015): 4.7M weights."""
    x = _as_image(x)
    for maps in (64, 128, 256, 512):
        x = _conv(_conv(x, maps), maps)
        x = layers.AveragePooling2D(2, padding="same")(x)
    return _pool(x)


def resnet(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """Residual blocks of two 3x3 convolutions, after He et al. (2016)."""
    x = _conv(_as_image(x), 32, size=7, strides=2)
    for maps in (32, 64, 128, 256):
        shortcut = _conv(x, maps, size=1, strides=2, activation=None)
        y = _conv(_conv(x, maps, strides=2), maps, activation=None)
        x = layers.ReLU()(layers.Add()([shortcut, y]))
    return _pool(x)


def crnn(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """Convolutions that keep the time, and a recurrent layer that combines what it hears."""
    x = _as_image(x)
    for maps in (32, 64, 96):
        x = layers.MaxPooling2D((2, 4), padding="same")(_conv(x, maps))
    return _over_time(layers.Bidirectional(layers.GRU(96, return_sequences=True))(_by_frame(x)))


def wave(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """One-dimensional convolutions on samples: a bank of learned filters first, 20 ms long."""
    width = x.shape[-1]
    x = layers.Reshape((-1, 1))(x)  # (samples, 1)
    x = _conv1d(x, 96, size=2 * width, strides=width // 2)
    for maps in (96, 128, 160, 192):
        x = layers.MaxPooling1D(3, strides=2, padding="same")(_conv1d(x, maps, size=5))
    return _over_time(x)


def yamnet(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """YAMNet of Plakal & Ellis: MobileNet v1, each 3x3 convolution parted into one a map and a 1x1 one."""
    x = _unscaled(layers.Conv2D(32, 3, 2, padding="same", use_bias=False)(_as_image(x)))  # (48, 32, 32)
    for strides, maps in YAMNET_LAYERS:
        x = _unscaled(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x))
        x = _unscaled(layers.Conv2D(maps, 1, use_bias=False)(x))
    return layers.GlobalAveragePooling2D()(x)  # of (3, 2, 1024): (1024,)


MODELS: dict[str, Network] = {
    "cnn": cnn,
    "mlp": mlp,
    "compact": compact,
    "vgg": vgg,
    "resnet": resnet,
    "crnn": crnn,
    "wave": wave,
    "yamnet": yamnet,
}


def _as_image(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Reshape((*x.shape[1:], 1))(x)


def _conv(
    x: keras.KerasTensor,
    maps: int,
    size: int = 3,
    strides: int | tuple[int, int] = 1,
    activation: str | None = "relu",
) -> keras.KerasTensor:
    """Convolution, batch normalisation, activation."""
    x = layers.Conv2D(maps, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation(activation)(x) if activation else x


def _conv1d(x: keras.KerasTensor, maps: int, size: int, strides: int = 1) -> keras.KerasTensor:
    x = layers.Conv1D(maps, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))


def _unscaled(x: keras.KerasTensor) -> keras.KerasTensor:
    """YAMNet's batch normalisation, without a factor to learn, and ReLU."""
    return layers.ReLU()(layers.BatchNormalization(scale=False, epsilon=1e-4)(x))


def _pool(x: keras.KerasTensor) -> keras.KerasTensor:
    """Mean over the bands; then mean and maximum over time: (2 * maps,)."""
    return _over_time(keras.ops.mean(x, axis=2))


def _by_frame(x: keras.KerasTensor) -> keras.KerasTensor:
    """All bands and maps of a frame in one row, which tells where a band is: (frames, bands * maps)."""
    return layers.TimeDistributed(layers.Flatten())(x)


def _over_time(x: keras.KerasTensor) -> keras.KerasTensor:
    """Mean and maximum over time, side by side: (2 * features,)."""
    return layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])


def _init(hparams: HParams) -> dict[str, object]:
    """Initial weights of the reference: truncated normal, biases 0."""
    normal = keras.initializers.TruncatedNormal(stddev=hparams.weights_init_stddev)
    return {"kernel_initializer": normal, "bias_initializer": "zeros"}


def build(
    name: str,
    input_shape: tuple[int, int],
    n_classes: int,
    hparams: HParams,
    norm_stats: tuple[np.ndarray, np.ndarray] | None = None,
) -> keras.Model:
    """Build a network of `MODELS` with its classifier, to learn (see `scorer`).

    Parameters
    ----------
    input_shape
        Frames in an example, and values in a frame.
    norm_stats
        Mean and variance of each value, to standardize by: (width,) each. If None, values go in as they are.

    Returns
    -------
    Model
        From `(batch, n_frames, width)` to logits, float32 (batch, n_classes).
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(hparams.precision)
    try:
        x = inputs = keras.Input(input_shape)
        if norm_stats:
            mean, variance = (values.tolist() for values in norm_stats)
            x = layers.Normalization(mean=mean, variance=variance)(x)
        x = MODELS[name](x, hparams)
        if hparams.dropout:
            x = layers.Dropout(hparams.dropout)(x)
        logits = layers.Dense(n_classes, dtype="float32", **_init(hparams))(x)
        return keras.Model(inputs, logits, name=name)
    finally:
        keras.config.set_dtype_policy(policy)


def with_activation(model: keras.Model, classifier: str) -> keras.Model:
    """Put the activation behind a network that learns; one that has it already is returned as it is.

    Parameters
    ----------
    classifier
        "softmax" or "logistic".

    Returns
    -------
    Model
        Of the same layers, to scores in [0, 1], float32 (batch, n_classes): they sum to 1, or are one
        probability a class if the classifier is logistic.
    """
    if getattr(model.layers[-1], "activation", None) is not keras.activations.linear:
        return model
    kind = {"softmax": "softmax", "logistic": "sigmoid"}[classifier]
    activation = layers.Activation(kind, dtype="float32", name="scores")  # a name that no other layer has
    return keras.Model(model.input, activation(model.output), name=model.name)


def load_yamnet(path: Path) -> keras.Model:
    """Load YAMNet with the weights that its authors publish, `yamnet.h5` (Keras 2's HDF5 of weights).

    Raises
    ------
    InputError
        If the file holds other weights, or none.
    """
    model = build("yamnet", YAMNET_SHAPE, YAMNET_CLASSES, HParams(classifier="logistic"))
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} does not hold the weights of YAMNet ({reason})") from None
    return model


def transfer_weights(model: keras.Model, source: keras.Model, classifier: bool = True) -> list[str]:
    """Copy the weights of every layer of `source` that fits: the layers in order, where shapes agree.

    Parameters
    ----------
    classifier
        Whether to copy the last layer too: the classes are the same.

    Returns
    -------
    list of str
        Names of the layers of `model` that were set.
    """
    pairs = zip(_weighted(model), _weighted(source), strict=False)
    last = _weighted(model)[-1]
    fitting = [
        (mine, theirs)
        for mine, theirs in pairs
        if (classifier or mine is not last)
        and [weight.shape for weight in mine.weights] == [weight.shape for weight in theirs.weights]
    ]
    for mine, theirs in fitting:
        mine.set_weights(theirs.get_weights())
    return [mine.name for mine, _ in fitting]


def _weighted(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model.layers if layer.weights]


def embedding_model(model: keras.Model) -> keras.Model:
    """The network up to what its classifier stands on: from examples to features, (batch, features)."""
    return keras.Model(model.inputs, _weighted(model)[-1].input, name="features")


def count_macs(model: keras.Model) -> int:
    """Multiplications by weights for one example: those of a position times the positions of the output."""
    return sum(
        math.prod(kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        for kernel in _kernels(layer)
    )


def estimate_step_memory(model: keras.Model, batch_size: int) -> int:
    """Estimate the memory that a step of training takes: what all layers give, and the gradients of that."""
    values = sum(math.prod(layer.output.shape[1:]) for layer in model.layers)
    return 2 * 4 * batch_size * values


def count_kernel_weights(model: keras.Model) -> int:
    """Weights that multiply: those without biases and the numbers of normalisation."""
    return sum(math.prod(kernel.shape) for layer in model.layers for kernel in _kernels(layer))


def _kernels(layer: keras.Layer) -> list[keras.Variable]:
    return [
        weight
        for weight in layer.trainable_weights
        if len(weight.shape) > 1 and not weight.path.endswith("bias")
    ]
