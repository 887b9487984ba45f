"""Keras models as `.keras` files: written atomically, validated before loading."""

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dcase2018.utils.atomic import atomic_path
from dcase2018.utils.errors import InputError
from dcase2018.utils.input_files import require_regular_file

if TYPE_CHECKING:
    from dcase2018.models.backend import keras

MAX_EXPANSION = 100  # of a model file's size; Keras does not compress its members


def save_model(model: "keras.Model", path: Path) -> None:
    """Write a model to a `.keras` file atomically."""
    with atomic_path(path) as temporary:
        model.save(temporary)


def is_complete(path: Path) -> bool:
    """Check that a `.keras` file exists, and that the checksums and paths in its ZIP archive are valid."""
    return not _find_archive_error(path)


def _find_archive_error(path: Path) -> str:
    """Return what is wrong with a `.keras` file; "" if it can be loaded."""
    try:
        require_regular_file(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            outside = [member.filename for member in members if _is_outside(member)]
            if outside:
                return f"unsafe: its member {outside[0]!r} is outside its folder"
            size, expanded = path.stat().st_size, sum(member.file_size for member in members)
            if expanded > MAX_EXPANSION * size:
                return f"unsafe: it expands from {size / 1e6:.1f} to {expanded / 1e6:.1f} MB"
            return "damaged or incomplete" if archive.testzip() else ""
    except InputError:
        return "not a regular file"
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return "damaged or incomplete"


def _is_outside(member: zipfile.ZipInfo) -> bool:
    """Return whether a member has a path that leaves the archive's folder, or is a symbolic link."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    return path.is_absolute() or ".." in path.parts or is_link


def load_model(path: Path, compiled: bool) -> "keras.Model":
    """Load a model, with its optimizer if `compiled`.

    Raises
    ------
    InputError
        If the file is damaged or is not a Keras model of standard layers.
    """
    from dcase2018.models.backend import keras

    if error := _find_archive_error(path):
        raise InputError(f"{path} is {error}; run the same dcase2018 fit again to write it from a checkpoint")
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
