"""What training minimises, and how: loss, optimizer and learning-rate schedule."""

import keras
from keras.optimizers import schedules

from dcase2018.hparams import HParams


def learning_rate(
    hparams: HParams, epoch_steps: float, epochs: int
) -> float | schedules.LearningRateSchedule:
    """The rate for each step: constant, or a linear rise and then half a cosine down to 0."""
    if hparams.schedule == "constant":
        return hparams.lr
    rising = round(min(hparams.warmup_epochs, epochs) * epoch_steps)
    falling = max(1, round(epochs * epoch_steps) - rising)
    return schedules.CosineDecay(
        0.0 if rising else hparams.lr,
        decay_steps=falling,
        warmup_target=hparams.lr if rising else None,
        warmup_steps=rising,
    )


def compile_model(model: keras.Model, hparams: HParams, epoch_steps: float, epochs: int) -> None:
    """Give a network its loss and its optimizer, Adam."""
    losses = {"softmax": "categorical_crossentropy", "logistic": "binary_crossentropy"}
    optimizer = keras.optimizers.Adam(learning_rate(hparams, epoch_steps, epochs), epsilon=hparams.adam_eps)
    model.compile(optimizer, losses[hparams.classifier])
