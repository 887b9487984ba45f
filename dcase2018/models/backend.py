"""Keras with an initialized backend. All modules import Keras from here, and the first import is silent.

TensorFlow's start-up lines come from C++ code that runs before it reads any setting, so that they can only
be hidden by redirecting the file descriptor of standard error.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from dcase2018.utils.errors import InputError

log = logging.getLogger(__name__)


@contextmanager
def _hidden_stderr() -> Iterator[None]:
    """Discard standard error, unless the block raises or messages are verbose."""
    if log.isEnabledFor(logging.DEBUG):
        yield
        return
    if sys.stderr:
        sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def _named_backend() -> Iterator[None]:
    """Name the backend of the environment in errors of the import.

    Raises
    ------
    InputError
        If the backend that KERAS_BACKEND names cannot be loaded.
    """
    try:
        yield
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND")
        if backend is None:
            raise
        raise InputError(
            f"KERAS_BACKEND={backend} cannot be loaded ({error}); install it, or choose another backend"
        ) from None


with _named_backend(), _hidden_stderr():
    import keras as keras

    keras.ops.zeros(())  # the first operation initializes the devices

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its warnings are advice for developers
