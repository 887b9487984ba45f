"""Settings, their constraints, and overrides by name=value."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.utils.config import Constraint, apply_overrides, diff, help_rows, setting, validate
from dcase2018.utils.errors import InputError


@dataclasses.dataclass(frozen=True)
class Kettle:
    """Settings with a float, an integer and a choice."""

    litres: float = setting(1.5, "capacity", gt=0, le=10)
    cups: int = setting(4, "number of cups", ge=1)
    metal: str = setting("steel", "material", choices=("steel", "copper"))

    def __post_init__(self) -> None:
        validate(self)


@given(
    litres=st.floats(0, 10, exclude_min=True), cups=st.integers(1), metal=st.sampled_from(["steel", "copper"])
)
def test_overrides_round_trip_through_text(litres: float, cups: int, metal: str) -> None:
    text = f"litres={litres},cups={cups},metal={metal}"
    assert apply_overrides(Kettle(), text) == Kettle(litres, cups, metal)


@given(value=st.floats(), low=st.floats(-5, 5), high=st.floats(-5, 5))
def test_a_constraint_allows_finite_numbers_within_its_bounds(value: float, low: float, high: float) -> None:
    assert Constraint("", gt=low, le=high).is_valid(value) == (low < value <= high)
    assert Constraint("", ge=low).is_valid(value) == (low <= value < math.inf)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("litres=0", "litres=0.0 is not allowed: it must be > 0 and <= 10"),
        ("cups=2.5", "cups=2.5 is not a whole number: it must be >= 1"),
        ("metal=tin", "metal=tin is not allowed: it must be one of steel, copper"),
        ("lid=1", "--hparams 'lid' is unknown; known here: litres, cups, metal"),
    ],
)
def test_a_forbidden_override_is_refused_with_its_constraint(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        apply_overrides(Kettle(), text)
    assert str(error.value) == message


def test_diff_names_both_values_and_help_has_defaults_and_bounds() -> None:
    assert diff(Kettle(cups=3), Kettle()) == ["cups=3, not 4"]
    assert help_rows(Kettle)[0] == ("litres=1.5", "capacity; > 0 and <= 10")
