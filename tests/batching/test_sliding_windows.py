"""Examples of frames that come some at a time: those of the whole clip, however it is cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2018.batching.windows import filled_up, sliding
from dcase2018.features.config import Recipe

RECIPE = Recipe(mel_bands=2)


@given(
    cuts=st.lists(st.integers(0, 30), max_size=8),
    window=st.integers(1, 20),
    hop=st.integers(1, 40),
    short=st.sampled_from(["pad", "tile", None]),
    batch_size=st.integers(1, 5),
    to_end=st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_examples_are_those_of_the_whole(
    cuts: list[int], window: int, hop: int, short: str | None, batch_size: int, to_end: bool
) -> None:
    total = sum(cuts)
    frames = np.arange(2 * total, dtype=np.float16).reshape(total, 2)
    pieces = np.split(frames, np.cumsum(cuts)[:-1]) if cuts else []
    batches = list(sliding(pieces, RECIPE, window, hop, short, batch_size, to_end))

    expected = list(range(0, total - window + 1, hop)) if total >= window else [0] * bool(total)
    if to_end and total >= window and expected[-1] + window < total:
        expected.append(total - window)
    assert [start for starts, _ in batches for start in starts] == expected
    for starts, examples in batches:
        assert examples.dtype == np.float32
        for start, example in zip(starts, examples, strict=True):
            part = frames[start : start + window].astype(np.float32)
            whole = filled_up(part, window, short, RECIPE) if short else part
            np.testing.assert_array_equal(example, whole)
    regular = len(expected) - (to_end and bool(expected) and expected[-1] % hop != 0)
    assert all(len(starts) == batch_size for starts, _ in batches[: regular // batch_size])
    assert all(len(starts) <= batch_size for starts, _ in batches)


def test_what_is_short_is_filled_up() -> None:
    frames = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(filled_up(frames, 7, "tile", RECIPE)[:, 0], [0, 2, 4, 0, 2, 4, 0])
    assert filled_up(frames, 4, "pad", RECIPE)[3].tolist() == [np.float32(RECIPE.silence)] * 2
