"""Network architectures.

Each architecture is a function from a tensor `(batch, n_frames, n_features)` and the hyperparameters to a
tensor `(batch, embedding_size)`. `build` adds the input and the classifier, whose outputs are logits;
`with_activation` adds the activation. All architectures except `mlp` support any number of frames and
features, and all run on any Keras backend.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dcase2018.models.backend import keras
from dcase2018.models.hparams import HParams
from dcase2018.utils.config import NamedItems
from dcase2018.utils.errors import InputError

layers = keras.layers

Architecture = Callable[[keras.KerasTensor, HParams], keras.KerasTensor]

# Convolutions of the reference: (kernel size, filters), with 3x3 max-pooling of stride 2 between them.
CNN_LAYERS = ((7, 100), (5, 150), (3, 200))

# Separable convolutions of YAMNet: (stride, filters).
YAMNET_LAYERS = (
    (1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024),
)  # fmt: skip
YAMNET_SHAPE, YAMNET_CLASSES = (96, 64), 521


def cnn(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """Three convolutions, as in the reference: 658,100 weights at 25 x 64 and 41 classes."""
    x = _add_channel_axis(x)  # (25, 64, 1)
    for i, (size, filters) in enumerate(CNN_LAYERS):
        if i:
            x = layers.MaxPooling2D(3, strides=2, padding="same")(x)  # (13, 32, 100), (7, 16, 150)
        x = layers.Conv2D(filters, size, padding="same", activation="relu", **_init(hparams))(x)
    return layers.GlobalMaxPooling2D()(x)  # (200,)


def mlp(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """Multi-layer perceptron of the reference: `nl` dense layers of `nh` units."""
    x = layers.Flatten()(x)
    for _ in range(hparams.nl):
        x = layers.Dense(hparams.nh, activation="relu", **_init(hparams))(x)
    return x


def compact(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """A small CNN: a large kernel and stride first, then 3x3 convolutions, then one over time.

    Pooling precedes normalization and activation, which makes them cheaper.
    """
    x = _add_channel_axis(x)  # (n_frames, n_bands, 1)
    x = _conv(x, 32, size=7, strides=(4, 2), pool=(1, 2))  # (n_frames / 4, n_bands / 4, 32)
    x = _conv(x, 64, pool=2)  # (n_frames / 8, n_bands / 8, 64)
    x = _conv(_conv(x, 96), 128, pool=2)  # (n_frames / 16, n_bands / 16, 128)
    x = _conv(x, 128)
    x = _conv1d(_flatten_bands(x), 128, size=1)  # (n_frames / 16, 128)
    return _mean_max_pool_time(_conv1d(x, 128, size=3))


def vgg(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """Pairs of 3x3 convolutions with pooling after each pair (Simonyan & Zisserman 2015): 4.7M weights."""
    x = _add_channel_axis(x)
    for filters in (64, 128, 256, 512):
        x = _conv(_conv(x, filters), filters)
        x = layers.AveragePooling2D(2, padding="same")(x)
    return _global_pool(x)


def resnet(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """Residual blocks of two 3x3 convolutions (He et al. 2016)."""
    x = _conv(_add_channel_axis(x), 32, size=7, strides=2)
    for filters in (32, 64, 128, 256):
        shortcut = _conv(x, filters, size=1, strides=2, activation=None)
        y = _conv(_conv(x, filters, strides=2), filters, activation=None)
        x = layers.ReLU()(layers.Add()([shortcut, y]))
    return _global_pool(x)


def crnn(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """Convolutions with strong pooling over frequency, then a bidirectional GRU over time."""
    x = _add_channel_axis(x)
    for filters in (32, 64, 96):
        x = layers.MaxPooling2D((2, 4), padding="same")(_conv(x, filters))
    return _mean_max_pool_time(layers.Bidirectional(layers.GRU(96, return_sequences=True))(_flatten_bands(x)))


def wave(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """One-dimensional convolutions on samples; the first is a learned filterbank with kernels of 20 ms."""
    hop_length = x.shape[-1]
    x = layers.Reshape((-1, 1))(x)  # (samples, 1)
    x = _conv1d(x, 96, size=2 * hop_length, strides=hop_length // 2)
    for filters in (96, 128, 160, 192):
        x = layers.MaxPooling1D(3, strides=2, padding="same")(_conv1d(x, filters, size=5))
    return _mean_max_pool_time(x)


def yamnet(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """YAMNet (Plakal & Ellis): MobileNet v1, with depthwise separable 3x3 convolutions."""
    x = _bn_relu(
        layers.Conv2D(32, 3, 2, padding="same", use_bias=False)(_add_channel_axis(x))
    )  # (48, 32, 32)
    for strides, filters in YAMNET_LAYERS:
        x = _bn_relu(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x))
        x = _bn_relu(layers.Conv2D(filters, 1, use_bias=False)(x))
    return layers.GlobalAveragePooling2D()(x)  # of (3, 2, 1024): (1024,)


MODELS = NamedItems[Architecture](
    cnn=cnn, mlp=mlp, compact=compact, vgg=vgg, resnet=resnet, crnn=crnn, wave=wave, yamnet=yamnet
)


def _add_channel_axis(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Reshape((*x.shape[1:], 1))(x)


def _conv(
    x: keras.KerasTensor,
    filters: int,
    size: int = 3,
    strides: int | tuple[int, int] = 1,
    activation: str | None = "relu",
    pool: int | tuple[int, int] | None = None,
) -> keras.KerasTensor:
    """Convolution, optional max-pooling, batch normalization and activation."""
    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(
        x
    )
    if pool:
        x = layers.MaxPooling2D(pool, padding="same")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation(activation)(x) if activation else x


def _conv1d(x: keras.KerasTensor, filters: int, size: int, strides: int = 1) -> keras.KerasTensor:
    x = layers.Conv1D(filters, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(
        x
    )
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))


def _bn_relu(x: keras.KerasTensor) -> keras.KerasTensor:
    """Batch normalization without a learned scale, as in YAMNet, and ReLU."""
    return layers.ReLU()(layers.BatchNormalization(scale=False, epsilon=1e-4)(x))


def _global_pool(x: keras.KerasTensor) -> keras.KerasTensor:
    """Pool by the mean over frequency, then by mean and maximum over time: (2 * filters,)."""
    return _mean_max_pool_time(keras.ops.mean(x, axis=2))


def _flatten_bands(x: keras.KerasTensor) -> keras.KerasTensor:
    """Flatten (n_frames, n_bands, filters) to (n_frames, n_bands * filters)."""
    return layers.TimeDistributed(layers.Flatten())(x)


def _mean_max_pool_time(x: keras.KerasTensor) -> keras.KerasTensor:
    """Concatenate mean and maximum over time, as in PANNs (Kong et al. 2020): (2 * filters,)."""
    return layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])


def _init(hparams: HParams) -> dict[str, object]:
    """Return the initializers of the reference: truncated normal weights, zero biases."""
    normal = keras.initializers.TruncatedNormal(stddev=hparams.weights_init_stddev)
    return {"kernel_initializer": normal, "bias_initializer": "zeros"}


def build(
    name: str,
    input_shape: tuple[int, int],
    n_classes: int,
    hparams: HParams,
    norm_stats: tuple[np.ndarray, np.ndarray] | None = None,
) -> keras.Model:
    """Build a network with its classifier, for training.

    Parameters
    ----------
    name
        Key of `MODELS`.
    input_shape
        Frames per example and features per frame.
    n_classes
        Number of outputs.
    hparams
        Uses `precision`, `mean_subtraction`, `dropout` and the hyperparameters of the architecture.
    norm_stats
        Mean and variance of each feature, (n_features,) each, for normalization. None: no normalization.

    Returns
    -------
    Model
        From `(batch, n_frames, n_features)` to logits, float32 (batch, n_classes); see `with_activation`.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(hparams.precision)
    try:
        x = inputs = keras.Input(input_shape)
        if norm_stats:
            mean, variance = (values.tolist() for values in norm_stats)
            x = layers.Normalization(mean=mean, variance=variance)(x)
        if hparams.mean_subtraction:
            x -= hparams.mean_subtraction * keras.ops.mean(x, axis=1, keepdims=True)
        x = MODELS[name](x, hparams)
        if hparams.dropout:
            x = layers.Dropout(hparams.dropout)(x)
        logits = layers.Dense(n_classes, dtype="float32", **_init(hparams))(x)
        return keras.Model(inputs, logits, name=name)
    finally:
        keras.config.set_dtype_policy(policy)


def with_activation(model: keras.Model, classifier: str) -> keras.Model:
    """Add the activation of the classifier, for inference.

    Parameters
    ----------
    model
        A network with logits as outputs. A network with an activation is returned unchanged.
    classifier
        "softmax" or "logistic".

    Returns
    -------
    Model
        Shares the layers of `model`. Its outputs are scores in [0, 1], float32 (batch, n_classes). Those of
        "softmax" sum to 1; those of "logistic" are independent probabilities.
    """
    if getattr(model.layers[-1], "activation", None) is not keras.activations.linear:
        return model
    name = {"softmax": "softmax", "logistic": "sigmoid"}[classifier]
    activation = layers.Activation(name, dtype="float32", name="scores")  # unique among the layers
    return keras.Model(model.input, activation(model.output), name=model.name)


def load_yamnet(path: Path) -> keras.Model:
    """Load YAMNet with its published weights.

    Parameters
    ----------
    path
        `yamnet.h5`, an HDF5 weights file of Keras 2.

    Raises
    ------
    InputError
        If the file has other weights, or none.
    """
    model = build("yamnet", YAMNET_SHAPE, YAMNET_CLASSES, HParams(classifier="logistic"))
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} does not contain the weights of YAMNet ({reason})") from None
    return model


def transfer_weights(model: keras.Model, source: keras.Model, classifier: bool = True) -> list[str]:
    """Copy weights between the layers of two networks, in order, where the shapes are equal.

    Parameters
    ----------
    model
        The network to change.
    source
        The network to copy from.
    classifier
        Whether to copy the last layer, too. Its units must be the same classes.

    Returns
    -------
    list of str
        Names of the changed layers of `model`.
    """
    pairs = zip(_layers_with_weights(model), _layers_with_weights(source), strict=False)
    last = _layers_with_weights(model)[-1]
    matching = [
        (layer, source_layer)
        for layer, source_layer in pairs
        if (classifier or layer is not last)
        and [weight.shape for weight in layer.weights] == [weight.shape for weight in source_layer.weights]
    ]
    for layer, source_layer in matching:
        layer.set_weights(source_layer.get_weights())
    return [layer.name for layer, _ in matching]


def _layers_with_weights(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model.layers if layer.weights]


def embedding_model(model: keras.Model) -> keras.Model:
    """Return the network without its classifier: from examples to embeddings, (batch, embedding_size)."""
    return keras.Model(model.inputs, _layers_with_weights(model)[-1].input, name="features")


def count_macs(model: keras.Model) -> int:
    """Count the multiply-accumulate operations per example: kernel weights times output positions."""
    return sum(
        math.prod(kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        for kernel in _kernels(layer)
    )


def estimate_step_memory(model: keras.Model, batch_size: int) -> int:
    """Estimate the memory of a training step in bytes: the outputs of all layers and their gradients."""
    n_outputs = sum(math.prod(layer.output.shape[1:]) for layer in model.layers)
    return 2 * 4 * batch_size * n_outputs


def count_kernel_weights(model: keras.Model) -> int:
    """Count the weights of all kernels, without biases and normalization parameters."""
    return sum(math.prod(kernel.shape) for layer in model.layers for kernel in _kernels(layer))


def _kernels(layer: keras.Layer) -> list[keras.Variable]:
    return [
        weight
        for weight in layer.trainable_weights
        if len(weight.shape) > 1 and not weight.path.endswith("bias")
    ]
