"""Exceptions for errors that a user can cause, with a message of one line.

The command line prints the message and exits with `exit_code`. Every other exception is a bug and keeps its
traceback.
"""

from collections.abc import Iterable, Sequence

MAX_NAMES = 5  # in a message


class Dcase2018Error(Exception):
    """The work failed, for example because a store is damaged or a run has no model."""

    exit_code = 1


class InputError(Dcase2018Error):
    """Wrong use or a wrong input file. No work was started."""

    exit_code = 2


def check_classes_exist(names: Iterable[str], classes: Sequence[str], option: str) -> None:
    """Raise `InputError`, which suggests the nearest class, unless all names of an option are classes."""
    for name in names:
        if name not in classes:
            from difflib import get_close_matches

            nearest = get_close_matches(name, classes, 1, cutoff=0)
            raise InputError(f"{option} {name!r} is not a class; the nearest one is {nearest[0]!r}")


def shorten_list(names: Sequence[str], limit: int = MAX_NAMES, separator: str = ", ") -> str:
    """Join the first `limit` names for a message, and append the number of the others."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return separator.join(names[:limit]) + rest
