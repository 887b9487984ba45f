"""Frozen dataclasses of numbers and names that a user may set as `name=value,name=value`.

A field is declared with `knob`, which gives its default, what it means and what it may be. The
features' settings are a `Recipe`, those of training `HParams`.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from dcase2018.foundation.errors import InputError

Settings = TypeVar("Settings")


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value may be: a number within bounds, or one of `choices`."""

    meaning: str
    above: float | None = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        bounds = [
            f"{sign} {bound:g}"
            for sign, bound in ((">", self.above), (">=", self.least), ("<=", self.most))
            if bound is not None
        ]
        return " and ".join(bounds)

    def allows(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        return (
            -math.inf < value < math.inf
            and (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )


def knob(default: Any, meaning: str, **rule: Any) -> Any:
    """Declare a field: its default, what it means, and the bounds of `Rule`."""
    return dataclasses.field(default=default, metadata={"rule": Rule(meaning, **rule)})


def check(settings: Any) -> None:
    """Raise `InputError` for the first field whose value its rule forbids."""
    for field, rule in knobs(type(settings)):
        value = getattr(settings, field.name)
        if not rule.allows(value):
            raise InputError(f"{field.name}={value} is not allowed: it must be {rule}")


def override(settings: Settings, text: str, elsewhere: Mapping[str, str] | None = None) -> Settings:
    """Return `settings` with the values of `text`, a list such as `batch_size=32,lr=0.01`.

    Parameters
    ----------
    elsewhere
        Names that another stage owns, and what to do about them.

    Raises
    ------
    InputError
        For a name that is unknown, given twice or owned elsewhere, and for a value that is no
        number or out of range.
    """
    changes: dict[str, Any] = {}
    known = {field.name: field for field, _ in knobs(type(settings))}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in item.partition("="))
        if not equals:
            raise InputError(f"--hparams {item!r} is not name=value")
        if elsewhere and name in elsewhere:
            raise InputError(f"--hparams {name} does not belong here: {elsewhere[name]}")
        if name not in known:
            raise InputError(f"--hparams {name!r} is unknown; known here: {', '.join(known)}")
        if name in changes:
            raise InputError(f"--hparams {name} is given twice")
        changes[name] = parse(known[name], value)
    return dataclasses.replace(settings, **changes)  # type: ignore[type-var]


def parse(field: dataclasses.Field[Any], value: str) -> Any:
    """Read a value of a field from text.

    Raises
    ------
    InputError
        If it is no number and the field is one.
    """
    kind: type[Any] = type(field.default)
    try:
        return kind(value)
    except ValueError:
        number = "whole number" if kind is int else "number"
        rule = field.metadata["rule"]
        raise InputError(f"{field.name}={value} is no {number}: it must be {rule}") from None


def differences(mine: Any, theirs: Any) -> list[str]:
    """Say which fields differ, as `name=mine, not theirs`."""
    return [
        f"{field.name}={getattr(mine, field.name)}, not {getattr(theirs, field.name)}"
        for field, _ in knobs(type(mine))
        if getattr(mine, field.name) != getattr(theirs, field.name)
    ]


def describe(kind: type[Any]) -> list[tuple[str, str]]:
    """Give a row `name = default`, `meaning (bounds)` for each field, for help texts."""
    return [(f"{field.name}={field.default}", f"{rule.meaning}; {rule}") for field, rule in knobs(kind)]


def knobs(kind: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], Rule]]:
    """Walk the fields of a settings class with their rules."""
    for field in dataclasses.fields(kind):
        yield field, field.metadata["rule"]
