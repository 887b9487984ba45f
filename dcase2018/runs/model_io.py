"""Keras models as `.keras` files: written atomically, validated before loading."""

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from dcase2018.utils.atomic import atomic_path
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import keras


def save_model(model: "keras.Model", path: Path) -> None:
    """Write a model to a `.keras` file atomically."""
    with atomic_path(path) as temporary:
        model.save(temporary)


def is_complete(path: Path) -> bool:
    """Check that a `.keras` file exists and that the checksums of its ZIP archive match."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return False


def load_model(path: Path, compiled: bool) -> "keras.Model":
    """Load a model, with its optimizer if `compiled`.

    Raises
    ------
    InputError
        If the file is damaged or is not a Keras model of standard layers.
    """
    import keras

    if not is_complete(path):
        raise InputError(
            f"{path} is damaged or incomplete; run the same dcase2018 fit again to write it from a checkpoint"
        )
    try:
        return keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except Exception as error:  # Keras raises many types for an invalid file
        if isinstance(error, OSError) and error.errno:
            raise  # an error of the system, not of the file
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} is not a Keras model of standard layers ({reason})") from None


def shapes(model: "keras.Model") -> list[tuple[int | None, ...]]:
    """Return the shapes of a model's inputs and outputs, without the batch axis."""
    tensors = [*(getattr(model, "inputs", None) or ()), *(getattr(model, "outputs", None) or ())]
    return [tuple(tensor.shape[1:]) for tensor in tensors]
