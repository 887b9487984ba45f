"""Conversion of float16 to float32."""

import numpy as np

from dcase2018.features.store import float16_to_float32


def test_every_finite_float16_is_converted_exactly() -> None:
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    values = values[np.isfinite(values)]
    converted = float16_to_float32(values)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted.view(np.int32), values.astype(np.float32).view(np.int32))
