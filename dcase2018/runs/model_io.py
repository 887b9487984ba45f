"""Networks as `.keras` files: written whole or not at all, checked when they are read."""

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from dcase2018.utils.atomic import atomic_path
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import keras


def save_model(model: "keras.Model", path: Path) -> None:
    """Write a network as a `.keras` file, whole or not at all."""
    with atomic_path(path) as partial:
        model.save(partial)


def is_complete(path: Path) -> bool:
    """Whether a `.keras` file is there, with all that was written to it: it is an archive with checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return False


def load_model(path: Path, compiled: bool) -> "keras.Model":
    """Load a network, with its optimizer if `compiled`.

    Raises
    ------
    InputError
        If it is damaged, or no Keras model of plain layers.
    """
    import keras

    if not is_complete(path):
        raise InputError(
            f"{path} is refused: it is damaged; the dcase2018 fit that wrote it goes on from a checkpoint"
        )
    try:
        return keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except Exception as error:  # Keras raises whatever it stumbles over
        if isinstance(error, OSError) and error.errno:
            raise  # the system's fault, not the file's
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} is refused: it is no model of plain layers ({reason})") from None


def shapes(model: "keras.Model") -> list[tuple[int | None, ...]]:
    """Shapes of a network's inputs and outputs, without the batch."""
    ends = [*(getattr(model, "inputs", None) or ()), *(getattr(model, "outputs", None) or ())]
    return [tuple(end.shape[1:]) for end in ends]
