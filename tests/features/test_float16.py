"""Half precision to single precision."""

import numpy as np

from dcase2018.features.store import float16_to_float32


def test_every_finite_half_becomes_the_single_that_it_is() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    single = float16_to_float32(halves)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single.view(np.int32), halves.astype(np.float32).view(np.int32))
