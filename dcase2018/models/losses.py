"""Losses, optimizer and learning rate schedule.

Losses are computed from logits. Scores round to 0 and 1, where the loss is no longer exact and some backends
give no gradient.
"""

import math
from typing import Any

import numpy as np

from dcase2018.models.backend import keras
from dcase2018.models.hparams import HParams

ops, schedules = keras.ops, keras.optimizers.schedules


def learning_rate(
    hparams: HParams, epoch_steps: float, total_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate schedule.

    Parameters
    ----------
    hparams
        Uses `lr`, `lr_schedule` and `warmup_epochs`.
    epoch_steps
        Steps per epoch.
    total_steps
        Steps of the whole training.

    Returns
    -------
    float or LearningRateSchedule
        A constant, or a linear warmup from 0 and then half a cosine to 0.
    """
    if hparams.lr_schedule == "constant":
        return hparams.lr
    warmup_steps, decay_steps = _schedule_steps(hparams, epoch_steps, total_steps)
    return schedules.CosineDecay(
        0.0 if warmup_steps else hparams.lr,
        decay_steps=decay_steps,
        warmup_target=hparams.lr if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def learning_rate_after(step: int, hparams: HParams, epoch_steps: float, total_steps: int) -> float:
    """Compute the value of `learning_rate` after `step` steps without Keras, which compiles it each time.

    The loss scaling of float16 skips steps, which count here.
    """
    if hparams.lr_schedule == "constant":
        return float(np.float32(hparams.lr))
    warmup_steps, decay_steps = _schedule_steps(hparams, epoch_steps, total_steps)
    if step < warmup_steps:
        return hparams.lr * step / warmup_steps
    progress = min(1, (step - warmup_steps) / decay_steps)
    return hparams.lr * (1 + math.cos(math.pi * progress)) / 2


def _schedule_steps(hparams: HParams, epoch_steps: float, total_steps: int) -> tuple[int, int]:
    """Return the steps of the warmup and of the decay."""
    warmup_steps = min(round(hparams.warmup_epochs * epoch_steps), total_steps)
    return warmup_steps, max(1, total_steps - warmup_steps)


@keras.saving.register_keras_serializable("dcase2018")
class MaskedLoss(keras.losses.Loss):
    """Cross-entropy without the unverified examples whose loss is an outlier in its batch.

    This is the batch-wise loss masking of Jeong & Lim (2018): an exceptionally large loss suggests a wrong
    label.

    Parameters
    ----------
    loss
        Name of a Keras loss function with the parameter `from_logits`.
    label_smoothing
        Passed to the loss function.
    n_std
        The loss of an unverified example is set to 0 if it is this many standard deviations above the mean of
        the batch.
    """

    def __init__(
        self, loss: str, label_smoothing: float, n_std: float, name: str = "loss", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.config = {"loss": loss, "label_smoothing": label_smoothing, "n_std": n_std}
        self.base_loss = getattr(keras.losses, loss)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the losses. The last column of `y_true` is 1 for unverified examples, else 0."""
        smoothing = self.config["label_smoothing"]
        losses = self.base_loss(y_true[:, :-1], y_pred, from_logits=True, label_smoothing=smoothing)
        threshold = ops.mean(losses) + self.config["n_std"] * ops.std(losses)
        is_masked = ops.logical_and(losses > threshold, y_true[:, -1] > 0.5)
        return ops.where(ops.stop_gradient(is_masked), 0.0, losses)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.config


def loss(hparams: HParams) -> keras.losses.Loss:
    """Return the cross-entropy of logits: categorical, or the mean of the binary ones if logistic."""
    name = {"softmax": "categorical_crossentropy", "logistic": "binary_crossentropy"}[hparams.classifier]
    if hparams.loss_mask_std:
        return MaskedLoss(name, hparams.label_smoothing, hparams.loss_mask_std)
    losses = {"softmax": keras.losses.CategoricalCrossentropy, "logistic": keras.losses.BinaryCrossentropy}
    return losses[hparams.classifier](from_logits=True, label_smoothing=hparams.label_smoothing)


def compile_model(model: keras.Model, hparams: HParams, epoch_steps: float, total_steps: int) -> None:
    """Compile a network with its loss and with Adam, whose weight decay is decoupled (AdamW)."""
    optimizer = keras.optimizers.Adam(
        learning_rate(hparams, epoch_steps, total_steps),
        epsilon=hparams.adam_eps,
        weight_decay=hparams.weight_decay or None,
    )
    model.compile(optimizer, loss(hparams))
