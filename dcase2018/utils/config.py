"""Dataclasses out of files that people edit, or copy half: every value is compared with its declaration.

The type of a field says what a value must be; what a number must be besides is a `Rule`, given by `knob`
or as in `Count`.
"""

import dataclasses
import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

from dcase2018.utils.errors import InputError

Settings = TypeVar("Settings")


@dataclasses.dataclass(frozen=True)
class Constraint:
    """What a value may be: a number within bounds, or one of `choices`."""

    help: str
    gt: float | None = None
    ge: float | None = None
    le: float | None = None
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        bounds = [
            f"{sign} {bound:g}"
            for sign, bound in ((">", self.gt), (">=", self.ge), ("<=", self.le))
            if bound is not None
        ]
        return " and ".join(bounds)

    def is_valid(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        return (
            -math.inf < value < math.inf
            and (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.le is None or value <= self.le)
        )


def setting(default: Any, help: str, **rule: Any) -> Any:
    """Declare a field: its default, what it means, and the bounds of `Rule`."""
    return dataclasses.field(default=default, metadata={"rule": Constraint(help, **rule)})


def validate(settings: Any) -> None:
    """Raise `InputError` for the first field whose value its rule forbids."""
    for field, rule in setting_fields(type(settings)):
        value = getattr(settings, field.name)
        if not rule.is_valid(value):
            raise InputError(f"{field.name}={value} is not allowed: it must be {rule}")


def apply_overrides(settings: Settings, text: str, elsewhere: Mapping[str, str] | None = None) -> Settings:
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
    known = {field.name: field for field, _ in setting_fields(type(settings))}
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
        changes[name] = parse_value(known[name], value)
    return dataclasses.replace(settings, **changes)  # type: ignore[type-var]


def parse_value(field: dataclasses.Field[Any], value: str) -> Any:
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


def diff(mine: Any, theirs: Any) -> list[str]:
    """Say which fields differ, as `name=mine, not theirs`."""
    return [
        f"{field.name}={getattr(mine, field.name)}, not {getattr(theirs, field.name)}"
        for field, _ in setting_fields(type(mine))
        if getattr(mine, field.name) != getattr(theirs, field.name)
    ]


def help_rows(kind: type[Any]) -> list[tuple[str, str]]:
    """Give a row `name = default`, `meaning (bounds)` for each field, for help texts."""
    return [(f"{field.name}={field.default}", f"{rule.help}; {rule}") for field, rule in setting_fields(kind)]


def setting_fields(kind: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], Constraint]]:
    """Walk the fields of a settings class with their rules."""
    for field in dataclasses.fields(kind):
        yield field, field.metadata["rule"]


Record = TypeVar("Record")

NonNegativeInt = Annotated[int, Constraint("how many", ge=0)]
NonNegativeFloat = Annotated[float, Constraint("how much", ge=0)]

PLAIN = {int: (Integral, "a whole number"), float: (Real, "a number"), str: (str, "text")}


def read_json_object(path: Path) -> dict[str, Any]:
    """Read the object that a JSON file holds.

    Raises
    ------
    InputError
        If it holds no JSON, or something else.
    """
    import json  # here, for what reads no JSON starts without it

    try:
        values = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is no JSON: {error}") from None
    return _of(dict, "an object", values, "it")


def from_dict(
    kind: type[Record], values: Mapping[str, Any], given: Mapping[str, Any] | None = None, within: str = ""
) -> Record:
    """Rebuild a dataclass, or a typed dictionary, from its names and values, as read from JSON or HDF5.

    Parameters
    ----------
    given
        Fields that the file does not hold.
    within
        What stands before a name in messages.

    Raises
    ------
    InputError
        If a name is missing or unknown (the file is of another version), or a value is not what its
        field is declared to be.
    """
    given = given or {}
    known = {name: of for name, of in get_type_hints(kind, include_extras=True).items() if name not in given}
    needed = {name for name, of in known.items() if get_origin(of) is not NotRequired}
    odd = sorted(within + name for name in (values.keys() - known.keys()) | (needed - values.keys()))
    if odd:
        raise InputError(f"settings of another version of dcase2018: {', '.join(odd)}")
    read = {name: _read(known[name], value, within + name) for name, value in values.items()}
    return kind(**given, **read)


def _read(kind: Any, value: Any, name: str) -> Any:
    """Return a value as one of a declared type, or raise `InputError` that names it."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is NotRequired:
        return _read(inner[0], value, name)
    if origin is Annotated:
        number, rule = _read(inner[0], value, name), inner[1]
        if not rule.is_valid(number):
            raise InputError(f"{name} must be {rule}, not {number}")
        return number
    if origin in (list, Sequence):
        places = enumerate(_of(list, "a list", value, name))
        return [_read(inner[0], item, f"{name}[{place}]") for place, item in places]
    if origin is dict:
        items = _of(dict, "an object", value, name).items()
        return {
            _read_key(inner[0], key, name): _read(inner[1], item, f"{name}[{key!r}]") for key, item in items
        }
    if dataclasses.is_dataclass(kind) or is_typeddict(kind):
        return from_dict(kind, _of(dict, "an object", value, name), within=f"{name}.")
    return _read_plain(kind, value, name)


def _read_key(kind: Any, key: str, name: str) -> Any:
    """Read a key: JSON has text alone."""
    return _read(kind, int(key) if kind is not str and key.isdecimal() else key, f"a key of {name}")


def _read_plain(kind: type[Any], value: Any, name: str) -> Any:
    family, words = PLAIN[kind]
    value = _of(family, words, value, name)
    try:
        if kind is str or math.isfinite(value):
            return kind(value)
    except OverflowError:  # a whole number that no float holds
        pass
    raise InputError(f"{name} must be {words}, not {reprlib.repr(value)}")


def _of(kind: type[Any], words: str, value: Any, name: str) -> Any:
    if isinstance(value, kind) and not isinstance(value, bool):
        return value
    raise InputError(f"{name} must be {words}, not {reprlib.repr(value)}")
