"""Examples of frames that come some at a time: those of the whole clip, however it is cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2018.batching.windows import pad_or_tile, sliding_windows
from dcase2018.features.config import FeatureConfig

RECIPE = FeatureConfig(mel_bands=2)


@given(
    cuts=st.lists(st.integers(0, 30), max_size=8),
    window=st.integers(1, 20),
    hop=st.integers(1, 40),
    pad_mode=st.sampled_from(["constant", "wrap", None]),
    batch_size=st.integers(1, 5),
    include_tail=st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_examples_are_those_of_the_whole(
    cuts: list[int], window: int, hop: int, pad_mode: str | None, batch_size: int, include_tail: bool
) -> None:
    total = sum(cuts)
    frames = np.arange(2 * total, dtype=np.float16).reshape(total, 2)
    pieces = np.split(frames, np.cumsum(cuts)[:-1]) if cuts else []
    batches = list(sliding_windows(pieces, RECIPE, window, hop, pad_mode, batch_size, include_tail))

    expected = list(range(0, total - window + 1, hop)) if total >= window else [0] * bool(total)
    if include_tail and total >= window and expected[-1] + window < total:
        expected.append(total - window)
    assert [start for starts, _ in batches for start in starts] == expected
    for starts, examples in batches:
        assert examples.dtype == np.float32
        for start, example in zip(starts, examples, strict=True):
            part = frames[start : start + window].astype(np.float32)
            whole = pad_or_tile(part, window, pad_mode, RECIPE) if pad_mode else part
            np.testing.assert_array_equal(example, whole)
    regular = len(expected) - (include_tail and bool(expected) and expected[-1] % hop != 0)
    assert all(len(starts) == batch_size for starts, _ in batches[: regular // batch_size])
    assert all(len(starts) <= batch_size for starts, _ in batches)


def test_what_is_short_is_filled_up() -> None:
    frames = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(pad_or_tile(frames, 7, "wrap", RECIPE)[:, 0], [0, 2, 4, 0, 2, 4, 0])
    assert pad_or_tile(frames, 4, "constant", RECIPE)[3].tolist() == [np.float32(RECIPE.silence_value)] * 2
