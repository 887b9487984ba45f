"""Dataclasses read from files: a value that does not match its declaration is named."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pytest

from dcase2018.utils.config import NonNegativeFloat, NonNegativeInt, from_dict, read_json_object, setting
from dcase2018.utils.errors import InputError


class Item(TypedDict):
    size: NonNegativeFloat
    colour: NotRequired[str]


@dataclasses.dataclass
class Inner:
    rate: float = setting(0.1, "a rate", gt=0, le=1)

    def __post_init__(self) -> None:
        assert isinstance(self.rate, float)


@dataclasses.dataclass
class Record:
    path: Path
    name: str
    inner: Inner
    counts: Sequence[NonNegativeInt]
    items: list[Item]
    times: dict[NonNegativeInt, NonNegativeFloat]
    extra: dict[str, Any]


VALID = {
    "name": "n", "inner": {"rate": 1}, "counts": [1, 2], "items": [{"size": 0.5}], "times": {"7": 3},
    "extra": {"anything": None},
}  # fmt: skip


def read(**changes: object) -> Record:
    return from_dict(Record, json.loads(json.dumps(VALID | changes)), defaults={"path": Path("p")})


def test_a_record_is_read_from_json_and_hdf5() -> None:
    record = read(items=[{"size": 2, "colour": "red"}])
    assert record == Record(
        Path("p"), "n", Inner(1.0), [1, 2], [{"size": 2.0, "colour": "red"}], {7: 3.0}, VALID["extra"]
    )
    assert from_dict(Inner, {"rate": np.float64(0.5)}) == Inner(0.5)  # as h5py returns it


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
        ({"items": [{"size": float("nan")}]}, "items[0].size must be a number, not nan"),
        ({"items": [{"colour": "red"}]}, "settings of another version of dcase2018: items[0].size"),
        ({"times": {"soon": 1}}, "a key of times must be a whole number, not 'soon'"),
        ({"times": {"7": "late"}}, "times['7'] must be a number, not 'late'"),
        ({"more": 1}, "settings of another version of dcase2018: more"),
        ({"path": "q"}, "settings of another version of dcase2018: path"),
    ],
)
def test_a_value_of_another_type_or_range_is_refused_by_name(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as error:
        read(**changes)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", '{"a": 1', "[]", "null", "3", "\xff", "[" * 100_000])
def test_a_file_without_a_json_object_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, "latin-1")
    with pytest.raises(InputError, match=r"it is not JSON|it must be an object"):
        read_json_object(tmp_path / "a.json")
