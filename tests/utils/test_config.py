"""Settings that a user may override by name=value."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.utils.config import Constraint, apply_overrides, diff, help_rows, setting, validate
from dcase2018.utils.errors import InputError


@dataclasses.dataclass(frozen=True)
class Kettle:
    """Settings with a number of each kind, and a word."""

    litres: float = setting(1.5, "how much it holds", gt=0, le=10)
    cups: int = setting(4, "how many it fills", ge=1)
    metal: str = setting("steel", "what it is made of", choices=("steel", "copper"))

    def __post_init__(self) -> None:
        validate(self)


@given(
    litres=st.floats(0, 10, exclude_min=True), cups=st.integers(1), metal=st.sampled_from(["steel", "copper"])
)
def test_settings_go_round_through_text(litres: float, cups: int, metal: str) -> None:
    assert apply_overrides(Kettle(), f"litres={litres},cups={cups},metal={metal}") == Kettle(
        litres, cups, metal
    )


@given(value=st.floats(), above=st.floats(-5, 5), most=st.floats(-5, 5))
def test_a_rule_allows_numbers_within_its_bounds_and_no_others(
    value: float, above: float, most: float
) -> None:
    assert Constraint("", gt=above, most=most).allows(value) == (above < value <= most)
    assert Constraint("", least=above).allows(value) == (above <= value < math.inf)


def test_what_is_not_allowed_is_named_with_its_rule() -> None:
    for text, message in (
        ("litres=0", "litres=0.0 is not allowed: it must be > 0 and <= 10"),
        ("cups=2.5", "cups=2.5 is no whole number: it must be >= 1"),
        ("metal=tin", "metal=tin is not allowed: it must be one of steel, copper"),
        ("lid=1", "--hparams 'lid' is unknown; known here: litres, cups, metal"),
    ):
        with pytest.raises(InputError) as refused:
            apply_overrides(Kettle(), text)
        assert str(refused.value) == message


def test_what_differs_and_what_is_there_is_told() -> None:
    assert diff(Kettle(cups=3), Kettle()) == ["cups=3, not 4"]
    assert help_rows(Kettle)[0] == ("litres=1.5", "how much it holds; > 0 and <= 10")
