"""librosa, which is imported from here, with a cache folder for Numba.

The import fails if Numba can write neither to the installed packages nor to the home folder. The functions
used here compile nothing, so a temporary folder that is removed at exit is enough.
"""

import atexit
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path


def _set_numba_cache() -> None:
    """Set a temporary cache folder for Numba if it would have none."""
    package = importlib.util.find_spec("librosa")
    is_writable = bool(package and os.access(Path(str(package.origin)).parent, os.W_OK))
    if not is_writable and "NUMBA_CACHE_DIR" not in os.environ:
        os.environ["NUMBA_CACHE_DIR"] = folder = tempfile.mkdtemp(prefix="dcase2018-numba-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


_set_numba_cache()

import librosa as librosa  # noqa: E402
from librosa.display import specshow as specshow  # noqa: E402
