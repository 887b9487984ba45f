"""Compute the loss and its gradient by the logits on the Keras backend of this process: JSON in, JSON out."""

import json
import sys
from typing import Any

import keras
import numpy as np

from dcase2018.models.hparams import HParams
from dcase2018.models.losses import loss


def loss_and_gradient(logits: list[list[float]], targets: list[list[float]], hparams: dict[str, Any]) -> Any:
    """Return the loss of each example and the negative gradient by its logits."""
    losses, gradients = [], []
    for example, target in zip(logits, targets, strict=True):
        inputs = keras.Input((1,))
        layer = keras.layers.Dense(len(example))
        model = keras.Model(inputs, layer(inputs))
        layer.set_weights([np.zeros((1, len(example))), np.zeros(len(example))])
        layer.bias.assign(np.array(example, np.float32))
        model.compile(keras.optimizers.SGD(1.0), loss(HParams(**hparams)))
        losses.append(float(model.train_on_batch(np.zeros((1, 1)), np.array([target], np.float32))))
        step = keras.ops.convert_to_numpy(layer.bias).astype(float) - np.array(example)
        gradients.append(step.tolist())
    return [losses, gradients]


if __name__ == "__main__":
    print(json.dumps(loss_and_gradient(**json.load(sys.stdin))))
