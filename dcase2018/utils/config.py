"""Settings as dataclasses, and their validation when they are read from options, JSON or HDF5.

The annotation of a field is the type of its value. A `Constraint` adds bounds or choices: that of a field
declared by `setting`, or that of an annotated type such as `NonNegativeInt`. A file must contain every field
and no others, and values are not converted, because people edit and copy these files. (pydantic fills missing
fields with their defaults, ignores unknown ones and accepts NaN, unless each class is configured otherwise.)
"""

import dataclasses
import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

from dcase2018.utils.errors import InputError
from dcase2018.utils.input_files import require_regular_file
from dcase2018.utils.suggestions import did_you_mean, nearest

ConfigT = TypeVar("ConfigT")
ItemT = TypeVar("ItemT")
RecordT = TypeVar("RecordT")

MAX_JSON_BYTES = 100_000_000
MAX_DIGITS = 18  # of a whole number in text, so that it fits into 64 bits


@dataclasses.dataclass(frozen=True)
class Constraint:
    """Allowed values of a setting: finite numbers within bounds, or one of `choices`."""

    help: str
    gt: float | None = None
    ge: float | None = None
    le: float | None = None
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        bounds = ((">", self.gt), (">=", self.ge), ("<=", self.le))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)

    def is_valid(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        return (
            -math.inf < value < math.inf
            and (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.le is None or value <= self.le)
        )


NonNegativeInt = Annotated[int, Constraint("a number of items", ge=0)]
NonNegativeFloat = Annotated[float, Constraint("an amount", ge=0)]


def setting(default: Any, help: str, **constraint: Any) -> Any:
    """Declare a dataclass field with a default, a help text and the bounds or choices of a `Constraint`."""
    return dataclasses.field(default=default, metadata={"constraint": Constraint(help, **constraint)})


def setting_fields(config_type: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], Constraint]]:
    """Iterate over the fields of a settings class and their constraints."""
    for field in dataclasses.fields(config_type):
        yield field, field.metadata["constraint"]


def validate(config: Any) -> None:
    """Raise `InputError` for the first field whose value has another type, or its constraint forbids.

    A number of another library, such as NumPy, is converted.
    """
    hints = get_type_hints(type(config))
    for field, constraint in setting_fields(type(config)):
        value = getattr(config, field.name)
        value_type = hints[field.name]
        _expect(*SCALARS[value_type], value, field.name)
        if not constraint.is_valid(value):
            hint = did_you_mean(str(value), constraint.choices)
            raise InputError(f"{field.name}={value} is not allowed: {hint}it must be {constraint}")
        if type(value) not in SCALARS:
            object.__setattr__(config, field.name, value_type(value))


def check_number(
    name: str,
    value: Any,
    number_type: type[Any],
    *,
    gt: float | None = None,
    ge: float | None = None,
    le: float | None = None,
) -> None:
    """Raise `InputError` unless an argument is a finite number of a type within the bounds of a `Constraint`.

    Examples
    --------
    >>> check_number("jobs", 2, int, ge=1)
    """
    _read(Annotated[number_type, Constraint("", gt, ge, le)], value, name)


def check_seed(seed: Any) -> None:
    """Raise `InputError` unless a seed is a whole number of 32 bits."""
    check_number("seed", seed, int, ge=0, le=2**32 - 1)


def apply_overrides(config: ConfigT, text: str, misplaced: Mapping[str, str] | None = None) -> ConfigT:
    """Return `config` with the values of a list such as `batch_size=32,lr=0.01`.

    Parameters
    ----------
    misplaced
        Names that belong to another command, and the advice to give for each.

    Raises
    ------
    InputError
        If a name is unknown, misplaced or given twice, or a value is not a number or out of range.
    """
    changes: dict[str, Any] = {}
    fields = {field.name: field for field, _ in setting_fields(type(config))}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, equals, value = (token.strip() for token in item.partition("="))
        if not equals:
            raise InputError(f"--hparams {item!r} is not name=value")
        if misplaced and name in misplaced:
            raise InputError(f"--hparams {name} does not belong here: {misplaced[name]}")
        if name not in fields:
            raise InputError(_unknown_name(name, list(fields), misplaced or {}))
        if name in changes:
            raise InputError(f"--hparams {name} is given twice")
        changes[name] = parse_value(fields[name], value)
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def _unknown_name(name: str, fields: Sequence[str], misplaced: Mapping[str, str]) -> str:
    """Return the message about an unknown name: the nearest one first."""
    elsewhere = nearest(name, [*fields, *misplaced])
    if elsewhere in misplaced:
        return f"--hparams {name!r} is unknown; did you mean {elsewhere}? {misplaced[elsewhere]}"
    hint = did_you_mean(name, fields)
    return f"--hparams {name!r} is unknown; {hint}known here: {', '.join(fields)}"


def parse_value(field: dataclasses.Field[Any], text: str) -> Any:
    """Parse a value of the type of a field's default; raises `InputError` if it is not a number."""
    value_type: type[Any] = type(field.default)
    try:
        return value_type(text)
    except ValueError:
        expected = "a whole number" if value_type is int else "a number"
        constraint = field.metadata["constraint"]
        raise InputError(f"{field.name}={text} is not {expected}: it must be {constraint}") from None


def diff(config: Any, other: Any) -> list[str]:
    """List the fields that differ, as `name=value, not other_value`."""
    return [
        f"{field.name}={getattr(config, field.name)}, not {getattr(other, field.name)}"
        for field, _ in setting_fields(type(config))
        if getattr(config, field.name) != getattr(other, field.name)
    ]


def short_repr(config: Any) -> str:
    """Format a config with the fields that are not at their defaults, as in `HParams(lr=0.002)`."""
    default = type(config)()
    changed = [
        f"{field.name}={getattr(config, field.name)!r}"
        for field, _ in setting_fields(type(config))
        if getattr(config, field.name) != getattr(default, field.name)
    ]
    return f"{type(config).__name__}({', '.join(changed)})"


class NamedItems(dict[str, ItemT]):
    """Presets, models or other items by name; an unknown name raises an `InputError` with the nearest one."""

    def __missing__(self, name: str) -> ItemT:
        from difflib import get_close_matches

        (nearest,) = get_close_matches(str(name), [*self], 1, cutoff=0)
        raise InputError(f"{name!r} is unknown; the nearest name is {nearest!r} of {', '.join(self)}")


def help_rows(config_type: type[Any]) -> list[tuple[str, str]]:
    """Make a row for each field, `name=default` and `help; constraint`, for the help of a command."""
    return [
        (f"{field.name}={field.default}", f"{constraint.help}; {constraint}")
        for field, constraint in setting_fields(config_type)
    ]


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises
    ------
    InputError
        If the path is not a regular file, or the file is too large, not JSON, or not an object.
    OSError
        If it does not exist or cannot be read.
    """
    import json  # 10 ms that commands without JSON do not need

    require_regular_file(path, MAX_JSON_BYTES, "it")
    try:
        values = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is not JSON: {error}") from None
    return _expect(dict, "an object", values, "it")


def from_dict(
    record_type: type[RecordT],
    values: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
    prefix: str = "",
) -> RecordT:
    """Make a dataclass or a typed dictionary from its fields, as read from JSON or HDF5.

    Parameters
    ----------
    defaults
        Values of the fields that the file does not contain.
    prefix
        Path of the record in the file, for messages.

    Raises
    ------
    InputError
        If a field is missing or unknown, or a value does not have the type or the range of its field.
    """
    defaults = defaults or {}
    hints = get_type_hints(record_type, include_extras=True)
    types = {name: hint for name, hint in hints.items() if name not in defaults}
    required = {name for name, hint in types.items() if get_origin(hint) is not NotRequired}
    unexpected = sorted(prefix + name for name in (values.keys() - types.keys()) | (required - values.keys()))
    if unexpected:
        raise InputError(f"settings of another version of dcase2018: {', '.join(unexpected)}")
    fields = {name: _read(types[name], value, prefix + name) for name, value in values.items()}
    return record_type(**defaults, **fields)


def _read(hint: Any, value: Any, name: str) -> Any:
    """Return a value as its declared type, or raise `InputError` with its name."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is NotRequired:
        return _read(args[0], value, name)
    if origin is Annotated:
        converted, constraint = _read(args[0], value, name), args[1]
        if not constraint.is_valid(converted):
            raise InputError(f"{name} must be {constraint}, not {converted}")
        return converted
    if origin in (list, Sequence):
        items = _expect(list, "a list", value, name)
        return [_read(args[0], item, f"{name}[{i}]") for i, item in enumerate(items)]
    if origin is dict:
        pairs = _expect(dict, "an object", value, name).items()
        return {
            _read_key(args[0], key, name): _read(args[1], item, f"{name}[{key!r}]") for key, item in pairs
        }
    if dataclasses.is_dataclass(hint) or is_typeddict(hint):
        return from_dict(hint, _expect(dict, "an object", value, name), prefix=f"{name}.")
    return _read_scalar(hint, value, name)


def _read_key(hint: Any, key: str, name: str) -> Any:
    """Read the key of a dictionary, which JSON stores as text."""
    number = None if hint is str else parse_whole_number(key)
    return _read(hint, key if number is None else number, f"a key of {name}")


def parse_whole_number(text: str) -> int | None:
    """Parse a whole number from 0 to 10^18 - 1; None for other text."""
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else None


SCALARS = {int: (Integral, "a whole number"), float: (Real, "a number"), str: (str, "text")}


def _read_scalar(scalar_type: type[Any], value: Any, name: str) -> Any:
    accepted_type, expected = SCALARS[scalar_type]
    value = _expect(accepted_type, expected, value, name)
    try:
        if scalar_type is str or math.isfinite(value):
            return scalar_type(value)
    except OverflowError:  # an integer out of the range of float
        pass
    raise InputError(f"{name} must be {expected}, not {reprlib.repr(value)}")


def _expect(accepted_type: type[Any], expected: str, value: Any, name: str) -> Any:
    if isinstance(value, accepted_type) and not isinstance(value, bool):
        return value
    raise InputError(f"{name} must be {expected}, not {reprlib.repr(value)}")
