"""Dataclasses out of files: what does not fit its declaration is named."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pytest

from dcase2018.utils.config import NonNegativeFloat, NonNegativeInt, from_dict, read_json_object, setting
from dcase2018.utils.errors import InputError


class Part(TypedDict):
    size: NonNegativeFloat
    colour: NotRequired[str]


@dataclasses.dataclass
class Inner:
    rate: float = setting(0.1, "a rate", gt=0, le=1)

    def __post_init__(self) -> None:
        assert isinstance(self.rate, float)


@dataclasses.dataclass
class Whole:
    path: Path
    name: str
    inner: Inner
    counts: Sequence[NonNegativeInt]
    parts: list[Part]
    times: dict[NonNegativeInt, NonNegativeFloat]
    free: dict[str, Any]


GOOD = {
    "name": "n", "inner": {"rate": 1}, "counts": [1, 2], "parts": [{"size": 0.5}], "times": {"7": 3},
    "free": {"anything": None},
}  # fmt: skip


def read(**changes: object) -> Whole:
    return from_dict(Whole, json.loads(json.dumps(GOOD | changes)), given={"path": Path("p")})


def test_what_was_written_is_read() -> None:
    whole = read(parts=[{"size": 2, "colour": "red"}])
    assert whole == Whole(
        Path("p"), "n", Inner(1.0), [1, 2], [{"size": 2.0, "colour": "red"}], {7: 3.0}, GOOD["free"]
    )
    assert from_dict(Inner, {"rate": np.float64(0.5)}) == Inner(0.5)  # as HDF5 has it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "name must be text, not None"),
        ({"name": 3}, "name must be text, not 3"),
        ({"inner": []}, "inner must be an object, not []"),
        ({"inner": {"rate": "fast"}}, "inner.rate must be a number, not 'fast'"),
        ({"inner": {"rate": True}}, "inner.rate must be a number, not True"),
        ({"inner": {"rate": 10**400}}, "inner.rate must be a number, not 1000"),
        ({"inner": {}}, "settings of another version of dcase2018: inner.rate"),
        ({"counts": 3}, "counts must be a list, not 3"),
        ({"counts": [1, 2.5]}, "counts[1] must be a whole number, not 2.5"),
        ({"counts": [-1]}, "counts[0] must be >= 0, not -1"),
        ({"parts": [{"size": float("nan")}]}, "parts[0].size must be a number, not nan"),
        ({"parts": [{"colour": "red"}]}, "settings of another version of dcase2018: parts[0].size"),
        ({"times": {"soon": 1}}, "a key of times must be a whole number, not 'soon'"),
        ({"times": {"7": "late"}}, "times['7'] must be a number, not 'late'"),
        ({"more": 1}, "settings of another version of dcase2018: more"),
        ({"path": "q"}, "settings of another version of dcase2018: path"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        read(**changes)
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["", '{"a": 1', "[]", "null", "3", "\xff", "[" * 100_000])
def test_a_file_that_holds_no_object(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, "latin-1")
    with pytest.raises(InputError, match=r"it is no JSON|it must be an object"):
        read_json_object(tmp_path / "a.json")
