"""A run as a folder that another program takes, published once it says what `predict` says."""

import importlib.util
from pathlib import Path

import pandas as pd

from dcase2018.export.bundle import FORMATS, describe, introduce
from dcase2018.export.conversion import convert
from dcase2018.export.parity_check import compare
from dcase2018.runs.run import Run
from dcase2018.utils.atomic import StrPath, atomic_directory, ensure_writable
from dcase2018.utils.errors import Dcase2018Error, InputError

TOLERANCE = 1e-4  # in a score


def export(
    run: StrPath,
    folder: StrPath,
    format: str = "onnx",
    checkpoint: int | str | None = None,
    force: bool = False,
) -> pd.Series:
    """Write a run as a folder that another program takes: samples in, scores out.

    Parameters
    ----------
    format
        "onnx", "litert" or "saved-model".
    which
        The network of this step, or "best"; the trained one, if None.
    force
        Replace what an earlier export wrote.

    Returns
    -------
    Series
        How far its scores are from those of `predict` on clips that are made to compare them: the largest
        difference for each, indexed by the clip's name.

    Raises
    ------
    InputError
        If the run has no such network or computes in halves, a package is missing, or the folder is taken.
    Dcase2018Error
        If the network cannot be converted, or a score is further than 1e-4 from that of `predict`.
    OSError
        If it cannot be written.
    """
    trained, target = Run.load(run), Path(folder).resolve()  # a link is followed, and stays
    check_export(trained, target, format, checkpoint, force)
    ensure_writable(target.parent)
    with atomic_directory(target, overwrite=True) as partial:
        convert(trained, checkpoint, format, partial / FORMATS[format].file)
        describe(trained, checkpoint, format, partial)
        differences = compare(partial, trained, checkpoint)
        _check(differences, trained)
        introduce(trained, format, differences, partial)
    return differences


def check_export(run: Run, folder: Path, format: str, checkpoint: int | str | None, force: bool) -> None:
    """See to it, before the work, that a run can be exported to a folder; raises as `export` does."""
    if format not in FORMATS:
        raise InputError(f"format={format!r} is none of {', '.join(FORMATS)}")
    run.model_file(checkpoint)
    if run.hparams.precision != "float32":
        raise InputError(
            f"{run.path} computes in halves (precision={run.hparams.precision}), which the runtimes do not;"
            " fit it with --hparams precision=float32"
        )
    missing = [name for name in FORMATS[format].modules if not importlib.util.find_spec(name)]
    if missing:
        raise InputError(f"--format {format} needs {', '.join(missing)}; pip install 'dcase2018[export]'")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not all((folder / name).is_file() for name in ("model.json", "labels.txt", "example.py")):
        raise InputError(f"{folder} exists and is no export; name another folder")
    if not force:
        raise InputError(f"{folder} holds an export; name another folder, or replace it with --force")


def _check(differences: pd.Series, run: Run) -> None:
    worst = differences.max(skipna=False)
    if not worst <= TOLERANCE:
        raise Dcase2018Error(
            f"the converted network does not say what {run.path} says, so that it is not kept: its scores are"
            f" {worst:.2g} away on {differences.idxmax(skipna=False)!r}, where {TOLERANCE:g} is allowed"
        )
