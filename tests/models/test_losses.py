"""Losses and learning rates, compared with formulas."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from gradient_probe import loss_and_gradient

from dcase2018.models.hparams import HParams
from dcase2018.models.losses import (
    MaskedLoss,
    compile_model,
    learning_rate,
    learning_rate_after,
    loss,
)


def test_cosine_schedule_with_warmup() -> None:
    hparams = HParams(lr=0.5, lr_schedule="cosine", warmup_epochs=2)
    rate = learning_rate(hparams, epoch_steps=10, total_steps=120)
    values = [float(rate(step)) for step in range(121)]
    np.testing.assert_allclose(values[:21], np.linspace(0, 0.5, 21), atol=1e-6)
    np.testing.assert_allclose(values[20:], 0.25 * (1 + np.cos(np.linspace(0, np.pi, 101))), atol=1e-6)
    without_warmup = learning_rate(HParams(lr=0.5, lr_schedule="cosine"), epoch_steps=10, total_steps=10)
    assert [float(without_warmup(step)) for step in (0, 5, 10)] == pytest.approx([0.5, 0.25, 0])


@pytest.mark.parametrize("warmup_epochs", [0, 2, 100])
def test_logged_learning_rate_is_that_of_the_optimizer(warmup_epochs: int) -> None:
    hparams = HParams(lr=0.5, lr_schedule="cosine", warmup_epochs=warmup_epochs)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    compile_model(model, hparams, epoch_steps=10.5, total_steps=120)
    for step in (0, 1, 20, 21, 22, 70, 119, 120, 121):
        model.optimizer.iterations.assign(step)
        expected = float(model.optimizer.learning_rate)
        assert learning_rate_after(step, hparams, 10.5, 120) == pytest.approx(expected, abs=1e-7)


def test_constant_learning_rate_is_logged_as_float32() -> None:
    assert learning_rate_after(3, HParams(lr=1e-4), 10, 120) == float(np.float32(1e-4))


# Correct and wrong, uncertain and confident predictions: in float32, 1 + exp(-60) is 1.
LOGITS = [[0.5, -1.0, 0.0], [0.0, -60.0, -60.0], [60.0, 0.0, -60.0], [-60.0, 60.0, 0.0], [-1.0, 0.0, -1.0]]
TARGETS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.3, 0.0, 0.7], [0.0, 1.0, 0.0]]

HPARAMS: list[dict[str, Any]] = [
    {"classifier": classifier, "label_smoothing": smoothing, "loss_mask_std": mask}
    for classifier in ("softmax", "logistic")
    for smoothing in (0.0, 0.2)
    for mask in (0.0, 2.0)
]


def formula(classifier: str, label_smoothing: float, loss_mask_std: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-entropy of each example and its negative gradient by the logits, in float64."""
    z, t = np.array(LOGITS), np.array(TARGETS)
    if classifier == "logistic":
        t = (1 - label_smoothing) * t + label_smoothing / 2
        losses = (np.logaddexp(0, z) - t * z).mean(axis=1)
        return losses, (t - 1 / (1 + np.exp(-z))) / z.shape[1]
    t = (1 - label_smoothing) * t + label_smoothing / z.shape[1]
    log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    return -(t * log_p).sum(axis=1), t - np.exp(log_p)


def probe_input(hparams: dict[str, Any]) -> dict[str, Any]:
    is_unverified = [0.0] if hparams["loss_mask_std"] else []
    targets = [[*target, *is_unverified] for target in TARGETS]
    return {"logits": LOGITS, "targets": targets, "hparams": hparams}


@pytest.mark.parametrize("hparams", HPARAMS, ids=str)
def test_loss_and_gradient_of_confident_errors(hparams: dict[str, Any]) -> None:
    losses, gradients = loss_and_gradient(**probe_input(hparams))
    expected_losses, expected_gradients = formula(**hparams)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradients, expected_gradients, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("hparams", HPARAMS, ids=str)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_loss_and_gradient_on_other_backends(backend: str, hparams: dict[str, Any]) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    script = Path(__file__).with_name("gradient_probe.py")
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, script], input=json.dumps(probe_input(hparams)), env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    losses, gradients = json.loads(done.stdout)
    expected_losses, expected_gradients = formula(**hparams)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradients, expected_gradients, atol=1e-5)


def test_masked_loss_ignores_outliers_among_unverified_examples() -> None:
    n = 40
    y_true = np.arange(n) % 4
    logits = np.full((n, 4), np.log(0.02), np.float32)
    logits[np.arange(n), y_true] = np.log(0.94)
    labels, is_unverified = y_true.copy(), np.zeros(n)
    wrong = [3, 8, 21, 30]
    labels[wrong] = (labels[wrong] + 1) % 4  # label errors, one of them in a verified label
    is_unverified[[*wrong[:3], 5, 6, 7]] = 1
    targets = np.column_stack([np.eye(4)[labels], is_unverified]).astype(np.float32)
    masked = keras.ops.convert_to_numpy(
        MaskedLoss("categorical_crossentropy", 0.0, 1.5).call(targets, logits)
    )
    assert np.flatnonzero(masked == 0).tolist() == wrong[:3]
    np.testing.assert_allclose(masked[30], -np.log(0.02), rtol=1e-5)
    np.testing.assert_allclose(np.delete(masked, wrong), -np.log(0.94), rtol=1e-4)
    restored = keras.losses.deserialize(keras.losses.serialize(loss(HParams(loss_mask_std=1.5))))
    assert float(restored(targets, logits)) == pytest.approx(masked.mean())


def test_weight_decay_is_decoupled() -> None:
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(2)(inputs)
    model = keras.Model(inputs, outputs)
    compile_model(model, HParams(lr=0.1, weight_decay=0.5), epoch_steps=1, total_steps=1)
    kernel = keras.ops.convert_to_numpy(model.weights[0]).copy()
    model.train_on_batch(np.zeros((1, 3)), np.full((1, 2), 0.5))  # zero inputs give no gradient
    decayed = keras.ops.convert_to_numpy(model.weights[0])
    np.testing.assert_allclose(decayed, kernel * (1 - 0.1 * 0.5), rtol=1e-5)
