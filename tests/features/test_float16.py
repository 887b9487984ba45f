"""Conversion of float16 to float32."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from dcase2018.features.store import float16_to_float32

VALUES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
FINITE = VALUES[np.isfinite(VALUES)].reshape(-1, 16)
EXPECTED = FINITE.astype(np.float32).view(np.int32)


def test_every_finite_float16_is_converted_exactly() -> None:
    converted = float16_to_float32(FINITE)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted.view(np.int32), EXPECTED)


def test_conversion_is_exact_in_threads_of_tensorflow() -> None:
    def convert() -> Iterator[np.ndarray]:
        yield float16_to_float32(FINITE).view(np.int32)

    dataset = tf.data.Dataset.from_generator(convert, output_types=tf.int32).prefetch(1)
    (converted,) = dataset.as_numpy_iterator()
    np.testing.assert_array_equal(converted, EXPECTED)
