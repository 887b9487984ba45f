"""What training minimises, and how: loss, optimizer and learning-rate schedule.

Losses are of logits: from scores, which round to 0 and 1, a confidently wrong example could not be told from
another, and not every backend would give it a gradient.
"""

from typing import Any

import keras
from keras import ops
from keras.optimizers import schedules

from dcase2018.models.hparams import HParams


def learning_rate(
    hparams: HParams, epoch_steps: float, total_steps: int
) -> float | schedules.LearningRateSchedule:
    """The rate for each step: constant, or a linear rise and then half a cosine down to 0."""
    if hparams.lr_schedule == "constant":
        return hparams.lr
    rising = min(round(hparams.warmup_epochs * epoch_steps), total_steps)
    falling = max(1, total_steps - rising)
    return schedules.CosineDecay(
        0.0 if rising else hparams.lr,
        decay_steps=falling,
        warmup_target=hparams.lr if rising else None,
        warmup_steps=rising,
    )


@keras.saving.register_keras_serializable("dcase2018")
class MaskedLoss(keras.losses.Loss):
    """Cross-entropy that leaves out unverified examples whose loss stands out of its batch.

    After the batch-wise loss masking of Jeong & Lim (2018): a label that the network contradicts much more
    than the others of the batch is likely wrong.

    Parameters
    ----------
    loss
        Name of a Keras loss that takes logits.
    deviations
        An unverified example does not count if its loss is this many standard deviations above the mean
        of the batch.
    """

    def __init__(
        self, loss: str, label_smoothing: float, deviations: float, name: str = "loss", **base: Any
    ) -> None:
        super().__init__(name=name, **base)
        self.settings = {"loss": loss, "label_smoothing": label_smoothing, "deviations": deviations}
        self.one = getattr(keras.losses, loss)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses of the examples; the last column of `y_true` is 1 for an unverified one, else 0."""
        smoothing = self.settings["label_smoothing"]
        losses = self.one(y_true[:, :-1], y_pred, from_logits=True, label_smoothing=smoothing)
        limit = ops.mean(losses) + self.settings["deviations"] * ops.std(losses)
        outlying = ops.logical_and(losses > limit, y_true[:, -1] > 0.5)
        return ops.where(ops.stop_gradient(outlying), 0.0, losses)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.settings


def loss(hparams: HParams) -> keras.losses.Loss:
    """Cross-entropy of logits: over the classes, or of each class for itself and then their mean."""
    name = {"softmax": "categorical_crossentropy", "logistic": "binary_crossentropy"}[hparams.classifier]
    if hparams.loss_mask_std:
        return MaskedLoss(name, hparams.label_smoothing, hparams.loss_mask_std)
    kinds = {"softmax": keras.losses.CategoricalCrossentropy, "logistic": keras.losses.BinaryCrossentropy}
    return kinds[hparams.classifier](from_logits=True, label_smoothing=hparams.label_smoothing)


def compile_model(model: keras.Model, hparams: HParams, epoch_steps: float, total_steps: int) -> None:
    """Give a network its loss and its optimizer, Adam, whose weight decay is decoupled (AdamW)."""
    optimizer = keras.optimizers.Adam(
        learning_rate(hparams, epoch_steps, total_steps),
        epsilon=hparams.adam_eps,
        weight_decay=hparams.weight_decay or None,
    )
    model.compile(optimizer, loss(hparams))
