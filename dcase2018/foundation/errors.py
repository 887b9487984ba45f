"""What a user can cause, as exceptions: one line that names the value, the rule and the mend.

The command line prints the line and leaves with `exit_code`; everything else is a defect of ours
and keeps its traceback.
"""


class Dcase2018Error(Exception):
    """It failed: a damaged store, a full disk, a run without a model."""

    exit_code = 1


class InputError(Dcase2018Error):
    """Wrong use or a wrong input file; nothing was begun."""

    exit_code = 2
