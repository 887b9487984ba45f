"""Child processes that run Python, without importing files of the working directory.

`python -m` and `python -c` search the working directory for modules first. A file `random.py` beside
downloaded recordings would be executed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SAFE_PATH = "PYTHONSAFEPATH"  # the environment variable for -P


def python_command(*arguments: str) -> list[str]:
    """Return the command that runs this Python with `-P` and arguments."""
    return [sys.executable, "-P", *arguments]


@contextmanager
def safe_path_in_children() -> Iterator[None]:
    """Set `-P` for the Python processes that libraries start in the block, such as joblib's workers."""
    previous = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if previous is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = previous
