"""Losses and rates against formulas."""

import keras
import numpy as np
import pytest

from dcase2018.networks.hparams import HParams
from dcase2018.networks.objective import MaskedLoss, compile_model, learning_rate, loss


def test_a_cosine_rises_and_falls() -> None:
    hparams = HParams(lr=0.5, schedule="cosine", warmup_epochs=2)
    rate = learning_rate(hparams, epoch_steps=10, total_steps=120)
    values = [float(rate(step)) for step in range(121)]
    np.testing.assert_allclose(values[:21], np.linspace(0, 0.5, 21), atol=1e-6)
    np.testing.assert_allclose(values[20:], 0.25 * (1 + np.cos(np.linspace(0, np.pi, 101))), atol=1e-6)
    falling = learning_rate(HParams(lr=0.5, schedule="cosine"), epoch_steps=10, total_steps=10)
    assert [float(falling(step)) for step in (0, 5, 10)] == pytest.approx([0.5, 0.25, 0])


def scores(n: int = 6, n_classes: int = 4) -> np.ndarray:
    logits = np.random.default_rng(0).standard_normal((n, n_classes))
    return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


def test_label_smoothing_gives_all_classes_a_share() -> None:
    p, targets = scores(), np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
    smooth = 0.8 * targets + 0.2 / 4
    expected = -(smooth * np.log(p)).sum(axis=1).mean()
    assert float(loss(HParams(label_smoothing=0.2))(targets, p)) == pytest.approx(expected, rel=1e-5)


def test_wrong_labels_that_stand_out_do_not_count() -> None:
    n = 40
    truth = np.arange(n) % 4
    p = np.full((n, 4), 0.02, np.float32)
    p[np.arange(n), truth] = 0.94
    labels, unverified = truth.copy(), np.zeros(n)
    wrong = [3, 8, 21, 30]
    labels[wrong] = (labels[wrong] + 1) % 4  # planted errors, one of them called verified
    unverified[[*wrong[:3], 5, 6, 7]] = 1
    targets = np.column_stack([np.eye(4)[labels], unverified]).astype(np.float32)
    masked = keras.ops.convert_to_numpy(MaskedLoss("categorical_crossentropy", 0.0, 1.5).call(targets, p))
    assert np.flatnonzero(masked == 0).tolist() == wrong[:3]
    np.testing.assert_allclose(masked[30], -np.log(0.02), rtol=1e-5)
    np.testing.assert_allclose(np.delete(masked, wrong), -np.log(0.94), rtol=1e-4)
    restored = keras.losses.deserialize(keras.losses.serialize(loss(HParams(loss_mask=1.5))))
    assert float(restored(targets, p)) == pytest.approx(masked.mean())


def test_weight_decay_is_decoupled_from_the_gradient() -> None:
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(2, activation="softmax")(inputs)
    model = keras.Model(inputs, outputs)
    compile_model(model, HParams(lr=0.1, weight_decay=0.5), epoch_steps=1, total_steps=1)
    kernel = keras.ops.convert_to_numpy(model.weights[0]).copy()
    model.train_on_batch(np.zeros((1, 3)), np.full((1, 2), 0.5))  # inputs of 0 give no gradient
    decayed = keras.ops.convert_to_numpy(model.weights[0])
    np.testing.assert_allclose(decayed, kernel * (1 - 0.1 * 0.5), rtol=1e-5)
