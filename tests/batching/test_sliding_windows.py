"""Windows of streamed frames equal those of the whole clip, for any division into blocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2018.batching.windows import pad_or_tile, sliding_windows
from dcase2018.features.config import FeatureConfig

FEATURES = FeatureConfig(mel_bands=2)


@given(
    cuts=st.lists(st.integers(0, 30), max_size=8),
    window=st.integers(1, 20),
    hop=st.integers(1, 40),
    pad_mode=st.sampled_from(["constant", "wrap", None]),
    batch_size=st.integers(1, 5),
    include_tail=st.booleans(),
)
@settings(max_examples=300)
def test_sliding_windows_do_not_depend_on_blocks(
    cuts: list[int], window: int, hop: int, pad_mode: str | None, batch_size: int, include_tail: bool
) -> None:
    total = sum(cuts)
    frames = np.arange(2 * total, dtype=np.float16).reshape(total, 2)
    blocks = np.split(frames, np.cumsum(cuts)[:-1]) if cuts else []
    batches = list(sliding_windows(blocks, FEATURES, window, hop, pad_mode, batch_size, include_tail))

    expected = list(range(0, total - window + 1, hop)) if total >= window else [0] * bool(total)
    if include_tail and total >= window and expected[-1] + window < total:
        expected.append(total - window)
    assert [start for starts, _ in batches for start in starts] == expected
    for starts, examples in batches:
        assert examples.dtype == np.float32
        for start, example in zip(starts, examples, strict=True):
            unpadded = frames[start : start + window].astype(np.float32)
            padded = pad_or_tile(unpadded, window, pad_mode, FEATURES) if pad_mode else unpadded
            np.testing.assert_array_equal(example, padded)
    n_regular = len(expected) - (include_tail and bool(expected) and expected[-1] % hop != 0)
    assert all(len(starts) == batch_size for starts, _ in batches[: n_regular // batch_size])
    assert all(len(starts) <= batch_size for starts, _ in batches)


def test_short_clips_are_padded_or_repeated() -> None:
    frames = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(pad_or_tile(frames, 7, "wrap", FEATURES)[:, 0], [0, 2, 4, 0, 2, 4, 0])
    assert (
        pad_or_tile(frames, 4, "constant", FEATURES)[3].tolist() == [np.float32(FEATURES.silence_value)] * 2
    )
