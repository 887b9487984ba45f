"""What a user can cause, as exceptions: one line that names the value, the rule and the mend.

The command line prints the line and leaves with `exit_code`; everything else is a defect of ours
and keeps its traceback.
"""

from collections.abc import Sequence

MOST_NAMED = 5  # of what a message is about


class Dcase2018Error(Exception):
    """It failed: a damaged store, a full disk, a run without a model."""

    exit_code = 1


class InputError(Dcase2018Error):
    """Wrong use or a wrong input file; nothing was begun."""

    exit_code = 2


def shorten_list(names: Sequence[str]) -> str:
    """Name the first few, for a message, and tell how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
