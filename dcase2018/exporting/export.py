"""Export a run as a folder with a model for another runtime, checked against `predict`."""

import importlib.util
import logging
from pathlib import Path

import pandas as pd

from dcase2018.exporting.bundle import EXPORT_FORMATS, embed_metadata, make_metadata, write_metadata
from dcase2018.exporting.conversion import convert
from dcase2018.exporting.model_card import FSDKAGGLE2018_NOTE, render_model_card
from dcase2018.exporting.parity_check import max_differences
from dcase2018.runs.run import Run
from dcase2018.utils.atomic import StrPath, atomic_directory, ensure_writable
from dcase2018.utils.errors import Dcase2018Error, InputError

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # of a score


def export(
    run: StrPath,
    folder: StrPath,
    format: str = "onnx",
    checkpoint: int | str | None = None,
    overwrite: bool = False,
) -> pd.Series:
    """Export a run as a folder with a model from samples to scores.

    Parameters
    ----------
    format
        "onnx", "litert" or "saved-model".
    checkpoint
        Step of the checkpoint to export, or "best". Default: the trained network.
    overwrite
        Replace an earlier export.

    Returns
    -------
    Series
        Largest difference between a score of the model and of `predict`, indexed by test clip.

    Raises
    ------
    InputError
        If the run or the folder cannot be used, or a package is missing.
    Dcase2018Error, OSError
        If the conversion fails, a difference is above 1e-4, or the folder cannot be written.

    Examples
    --------
    >>> from dcase2018 import export
    >>> export("runs/first", "tagger", format="litert").max()
    """
    source, target = Run.load(run), Path(folder).resolve()  # a link to a folder is kept
    check_export(source, target, format, checkpoint, overwrite)
    metadata = make_metadata(source, checkpoint, format)
    ensure_writable(target.parent)
    with atomic_directory(target, overwrite=True) as partial:
        model = partial / EXPORT_FORMATS[format].file
        convert(source, checkpoint, format, model)
        write_metadata(metadata, partial)
        embed_metadata(model, metadata)
        differences = max_differences(partial, source, checkpoint)
        _check_differences(differences, source)
        card = render_model_card(source, checkpoint, metadata, differences)
        (partial / "README.md").write_text(card, "utf-8")
    if metadata["training_data"]["dataset"]:
        log.warning("%s", FSDKAGGLE2018_NOTE)
    return differences


def check_export(run: Run, folder: Path, format: str, checkpoint: int | str | None, overwrite: bool) -> None:
    """Check before the work that a run can be exported to a folder.

    Raises
    ------
    InputError
        See `export`.
    """
    if format not in EXPORT_FORMATS:
        raise InputError(f"format={format!r} is not allowed: it must be one of {', '.join(EXPORT_FORMATS)}")
    run.model_file(checkpoint)
    if run.hparams.precision != "float32":
        raise InputError(
            f"{run.path} has precision={run.hparams.precision}, which the runtimes do not support;"
            " train it with --hparams precision=float32"
        )
    missing = [name for name in EXPORT_FORMATS[format].modules if not importlib.util.find_spec(name)]
    if missing:
        raise InputError(
            f"--format {format} needs {', '.join(missing)}; install with pip install 'dcase2018[export]'"
        )
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not all((folder / name).is_file() for name in ("model.json", "labels.txt", "example.py")):
        raise InputError(f"{folder} exists and is not an export; name another folder")
    if not overwrite:
        raise InputError(f"{folder} has an export; name another folder, or replace it with --overwrite")


def _check_differences(differences: pd.Series, run: Run) -> None:
    worst = differences.max(skipna=False)
    if not worst <= TOLERANCE:
        raise Dcase2018Error(
            f"the converted model of {run.path} is not written: its scores differ from those of predict by"
            f" {worst:.2g} on {differences.idxmax(skipna=False)!r}, and at most {TOLERANCE:g} is allowed"
        )
