"""The report folder: an HTML page, and every number on it as JSON and CSV.

index.html       the page; it loads nothing but files in clips/
report.json      all numbers of the page
classes.csv      the score table: one row per part and class
folds.csv        of out-of-fold scores: one row per fold
confusion.csv    the confusion matrix: one row per label, one column per prediction
clips.csv        one row per clip
reliability.csv  one row per confidence bin
history.csv      training history: one row per run and epoch
clips/           a spectrogram of each shown clip, and its audio

With two systems, the CSV names start with a- and b-. compared_classes.csv has the scores of A
and B by class, and changed_clips.csv the clips whose scores differ.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcase2018.data.files import describe_missing_file
from dcase2018.data.labels import write_table
from dcase2018.evaluation.evaluate import Evaluation, evaluate
from dcase2018.evaluation.out_of_fold import OutOfFold
from dcase2018.inference.ensemble import Ensemble, check_classes
from dcase2018.reporting.charts import learning_curves, reliability_diagram
from dcase2018.reporting.clip_media import MAX_SECONDS, find_audio, make_clip_media
from dcase2018.reporting.html import render
from dcase2018.reporting.summary import SystemResult, report_data, tables
from dcase2018.runs.run import OUT_OF_FOLD_CSV
from dcase2018.utils.atomic import StrPath, atomic_directory, ensure_writable
from dcase2018.utils.config import read_json_object
from dcase2018.utils.errors import InputError

INDEX_HTML, REPORT_JSON, CLIPS_FOLDER = "index.html", "report.json", "clips"


def report(
    ensemble: Ensemble,
    labels: pd.DataFrame,
    out: StrPath,
    audio: StrPath | None = None,
    jobs: int = -1,
    allow_trained: bool = False,
    corpus: str = "",
) -> Path:
    """Write an HTML report of an ensemble on labelled clips.

    Parameters
    ----------
    ensemble : Ensemble
        The runs to report, with their stores.
    labels : DataFrame
        Clips of the ensemble's stores, with labels among its classes (see `read_labels`).
    out : str or PathLike
        The folder to write. An existing report is replaced.
    audio : str or PathLike, optional
        The folder of the clips, to add audio players.
    jobs : int
        Number of processes that plot the clips; -1 for one per core.
    allow_trained : bool
        Score training clips too; the report then counts them.
    corpus : str
        Where the clips are from, such as the path of the label file. It is in the head of the page.

    Returns
    -------
    Path
        The HTML page.

    Raises
    ------
    InputError
        If `out` contains files that are not part of a report, a clip is not in `audio`, a network was
        trained on a clip, or see `predict`.
    Dcase2018Error, OSError
        See `predict` and `atomic_directory`.

    Examples
    --------
    >>> ensemble = dcase2018.Ensemble.open(["runs/first"], [dcase2018.Store("features/test.h5")])
    >>> labels = dcase2018.read_labels("data/test_post_competition.csv", ensemble.classes)
    >>> dcase2018.report(ensemble, labels, "report", "data/audio_test")
    PosixPath('report/index.html')
    """
    check_report(out, labels, audio)
    system = SystemResult(display_name(ensemble), "", ensemble, evaluate(ensemble, labels, allow_trained))
    return _write_report([system], Path(out), audio, jobs, corpus)


def check_report(
    out: StrPath, labels: pd.DataFrame, audio: StrPath | None = None, skip_missing: bool = False
) -> dict[str, str]:
    """Check before the work that a report can be written and that its clips are in `audio`.

    Parameters
    ----------
    out, labels, audio
        See `report`.
    skip_missing
        Allow clips that are not in `audio`. They get no audio player.

    Returns
    -------
    dict
        The reason for each clip that is not in `audio`.

    Raises
    ------
    InputError, OSError
        See `report`.
    """
    out = Path(out)
    ensure_writable(out.absolute().parent)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; choose a folder for the report")
    if out.exists() and any(out.iterdir()):
        _check_existing(out)
    if audio is None:
        return {}
    files = find_audio(Path(audio), list(labels["fname"]), skip_missing)
    return {
        fname: f"{describe_missing_file(path)} in {audio}"
        for fname, path in files.items()
        if skip_missing and not path.exists()
    }


def _check_existing(out: Path) -> None:
    """Raise `InputError` for a folder with anything but a report, because it would be deleted."""
    try:
        own_files = {INDEX_HTML, REPORT_JSON, CLIPS_FOLDER, *read_json_object(out / REPORT_JSON)["files"]}
    except (OSError, InputError, KeyError, TypeError):
        raise InputError(f"{out} exists and is not a report; choose another folder") from None
    unknown = sorted(path.name for path in out.iterdir() if path.name not in own_files)
    if unknown:
        raise InputError(f"{out} contains {unknown[0]!r}, which is not part of the report; move it first")


def display_name(ensemble: Ensemble) -> str:
    """Name an ensemble by the folders of its runs."""
    names = [member.run.path.resolve().name for member in ensemble.members]
    parents = {member.run.path.resolve().parent for member in ensemble.members}
    if len(names) > 1 and len(parents) == 1 and all(name.startswith("fold-") for name in names):
        return f"{parents.pop().name} ({len(names)} folds)"
    return ", ".join(names)


def report_comparison(
    evaluated: Sequence[tuple[Ensemble, Evaluation]],
    comparison: Mapping[str, Any],
    out: StrPath,
    audio: StrPath | None = None,
    jobs: int = -1,
    corpus: str = "",
) -> Path:
    """Write a report of two systems, A and B, side by side.

    Parameters
    ----------
    evaluated : sequence of (Ensemble, Evaluation)
        A and B, each with its evaluation on the same clips.
    comparison : dict
        The result of `dcase2018.evaluation.significance.compare` for A and B.
    out, audio, jobs, corpus
        See `report`.

    Returns
    -------
    Path
        The HTML page.
    """
    names = [display_name(ensemble) for ensemble, _ in evaluated]
    if len(set(names)) < len(names):
        names = [str(ensemble.members[0].run.path) for ensemble, _ in evaluated]
    systems = [
        SystemResult(f"{letter}: {name}", f"{letter.lower()}-", ensemble, evaluation)
        for letter, name, (ensemble, evaluation) in zip("AB", names, evaluated, strict=True)
    ]
    return _write_report(systems, Path(out), audio, jobs, corpus, comparison)


def report_out_of_fold(
    ensemble: Ensemble,
    out_of_fold: OutOfFold,
    out: StrPath,
    audio: StrPath | None = None,
    jobs: int = -1,
    corpus: str = "",
) -> Path:
    """Write a report of out-of-fold scores.

    Parameters
    ----------
    ensemble : Ensemble
        The runs of the folds, with a store of all clips.
    out_of_fold : OutOfFold
    out, audio, jobs, corpus
        See `report`.

    Returns
    -------
    Path
        The HTML page.

    Raises
    ------
    InputError
        If the folder lacks the run of a fold, or the runs have other classes.
    """
    folder = ensemble.members[0].run.path.parent
    check_classes(ensemble.classes, folder, out_of_fold.evaluation.classes, folder / OUT_OF_FOLD_CSV)
    names = {member.run.path.name for member in ensemble.members}
    missing = [f"fold-{fold}" for fold in np.unique(out_of_fold.fold) if f"fold-{fold}" not in names]
    if missing:
        raise InputError(
            f"{folder} lacks {missing[0]}, whose scores are in {OUT_OF_FOLD_CSV}; train it again"
        )
    name = f"{display_name(ensemble)}, out-of-fold scores"
    system = SystemResult(name, "", ensemble, out_of_fold.evaluation, out_of_fold)
    return _write_report([system], Path(out), audio, jobs, corpus)


def _write_report(
    systems: Sequence[SystemResult],
    out: Path,
    audio: StrPath | None,
    jobs: int,
    corpus: str,
    comparison: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report folder atomically."""
    fnames = list(systems[0].evaluation.labels["fname"])
    sources = find_audio(Path(audio), fnames, allow_missing=True) if audio is not None else {}
    with atomic_directory(out, fsync=False, overwrite=True) as folder:
        (folder / CLIPS_FOLDER).mkdir()
        media = [make_clip_media(folder / CLIPS_FOLDER, system, sources, jobs) for system in systems]
        data = report_data(
            systems, media, MAX_SECONDS, audio is not None, corpus=corpus, comparison=comparison
        )
        for name, table in tables(systems, comparison).items():
            write_table(folder / name, table)
        (folder / REPORT_JSON).write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", "utf-8")
        charts = [
            {
                "reliability": reliability_diagram(system.reliability, system.prefix),
                "curves": learning_curves(system.histories, system.prefix),
            }
            for system in systems
        ]
        page = render(json.loads((folder / REPORT_JSON).read_text("utf-8")), charts)
        (folder / INDEX_HTML).write_text(page, "utf-8", errors="backslashreplace")
    return out / INDEX_HTML
