"""The report folder: an HTML page, and every number on it as JSON and CSV.

index.html       the page; it loads nothing but files in clips/
report.json      all numbers of the page
classes.csv      the score table: one row per part and class
folds.csv        of out-of-fold scores: one row per fold
confusion.csv    the confusion matrix: one row per label, one column per prediction
confusion.svg    the same as a figure, also .png; confusion_percent has the percentages of the rows
clips.csv        one row per clip
reliability.csv  one row per confidence bin
history.csv      training history: one row per run and epoch
clips/           a spectrogram of each shown clip, and the audio of all clips up to `MAX_AUDIO_SECONDS`

With two systems, the CSV names start with a- and b-. compared_classes.csv has the scores of A
and B by class, and changed_clips.csv the clips whose scores differ.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcase2018.data.files import describe_missing_file
from dcase2018.data.labels import write_table
from dcase2018.evaluation.evaluate import Evaluation, evaluate
from dcase2018.evaluation.out_of_fold import OutOfFold
from dcase2018.inference.ensemble import Ensemble, check_classes
from dcase2018.reporting.charts import learning_curves, reliability_diagram, save_confusion
from dcase2018.reporting.clip_media import MAX_AUDIO_SECONDS, MAX_SECONDS, find_audio, make_clip_media
from dcase2018.reporting.html import render
from dcase2018.reporting.summary import CONFUSION_FIGURES, SystemResult, report_data, tables
from dcase2018.runs.run import OUT_OF_FOLD_CSV
from dcase2018.utils.atomic import StrPath, atomic_directory, ensure_writable, open_atomic
from dcase2018.utils.config import read_json_object
from dcase2018.utils.errors import InputError

SINGLE_FILE_AUDIO_SECONDS = 900.0  # total length of the excerpts in a single file, to be mailed: about 10 MB

INDEX_HTML, REPORT_JSON, CLIPS_FOLDER = "index.html", "report.json", "clips"


@dataclass(frozen=True)
class _Target:
    """What `report` is asked to write, besides the systems."""

    out: Path
    audio: StrPath | None
    jobs: int
    corpus: str
    single_file: bool


def report(
    ensemble: Ensemble,
    labels: pd.DataFrame,
    out: StrPath,
    audio: StrPath | None = None,
    jobs: int = -1,
    allow_trained: bool = False,
    corpus: str = "",
    single_file: bool = False,
) -> Path:
    """Write an HTML report of an ensemble on labelled clips.

    Parameters
    ----------
    ensemble : Ensemble
        The runs to report, with their stores.
    labels : DataFrame
        Clips of the ensemble's stores, with labels among its classes (see `read_labels`).
    out : str or PathLike
        The folder to write, or with `single_file` the HTML file. An existing report is replaced.
    audio : str or PathLike, optional
        The folder of the clips, to add audio players.
    jobs : int
        Number of processes that plot the clips; -1 for one per core.
    allow_trained : bool
        Score training clips too; the report then counts them.
    corpus : str
        Where the clips are from, such as the path of the label file. It is in the head of the page.
    single_file : bool
        Write one HTML file with everything in it, with at most 15 minutes of audio.

    Returns
    -------
    Path
        The HTML page.

    Raises
    ------
    InputError
        If `out` contains files that are not part of a report, a clip is not in `audio`, a run was trained
        on a clip, or see `predict`.
    Dcase2018Error, OSError
        If the report cannot be written, or see `predict`.

    Examples
    --------
    >>> ensemble = dcase2018.Ensemble.open(["runs/first"], [dcase2018.Store("features/test.h5")])
    >>> labels = dcase2018.read_labels("data/test_post_competition.csv", ensemble.classes)
    >>> dcase2018.report(ensemble, labels, "report", "data/audio_test")
    PosixPath('report/index.html')
    """
    check_report(out, labels, audio, single_file=single_file)
    system = SystemResult(display_name(ensemble), "", ensemble, evaluate(ensemble, labels, allow_trained))
    return _write_report([system], _Target(Path(out), audio, jobs, corpus, single_file))


def check_report(
    out: StrPath,
    labels: pd.DataFrame,
    audio: StrPath | None = None,
    skip_missing: bool = False,
    single_file: bool = False,
) -> dict[str, str]:
    """Check before the work that a report can be written and that its clips are in `audio`.

    Parameters
    ----------
    out, labels, audio, single_file
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
    if single_file:
        if out.suffix != ".html":
            raise InputError(f"{out} must end in .html for a report in a single file")
        if out.is_dir():
            raise InputError(f"{out} is a folder; choose a file for the report")
    elif out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; choose a folder for the report")
    elif out.exists() and any(out.iterdir()):
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
    single_file: bool = False,
) -> Path:
    """Write a report of two systems, A and B, side by side.

    Parameters
    ----------
    evaluated : sequence of (Ensemble, Evaluation)
        A and B, each with its evaluation on the same clips.
    comparison : dict
        The result of `dcase2018.evaluation.significance.compare` for A and B.
    out, audio, jobs, corpus, single_file
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
    return _write_report(systems, _Target(Path(out), audio, jobs, corpus, single_file), comparison)


def report_out_of_fold(
    ensemble: Ensemble,
    out_of_fold: OutOfFold,
    out: StrPath,
    audio: StrPath | None = None,
    jobs: int = -1,
    corpus: str = "",
    single_file: bool = False,
) -> Path:
    """Write a report of out-of-fold scores.

    Parameters
    ----------
    ensemble : Ensemble
        The runs of the folds, with a store of all clips.
    out_of_fold : OutOfFold
    out, audio, jobs, corpus, single_file
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
    return _write_report([system], _Target(Path(out), audio, jobs, corpus, single_file))


def _write_report(
    systems: Sequence[SystemResult], target: _Target, comparison: Mapping[str, Any] | None = None
) -> Path:
    """Write the report atomically."""
    if target.single_file:
        with tempfile.TemporaryDirectory() as temporary, open_atomic(target.out) as file:
            page = _fill_folder(Path(temporary), systems, target, comparison)
            file.write(page.encode("utf-8", "backslashreplace").decode())
        return target.out
    with atomic_directory(target.out, fsync=False, overwrite=True) as folder:
        page = _fill_folder(folder, systems, target, comparison)
        (folder / INDEX_HTML).write_text(page, "utf-8", errors="backslashreplace")
    return target.out / INDEX_HTML


def _fill_folder(
    folder: Path, systems: Sequence[SystemResult], target: _Target, comparison: Mapping[str, Any] | None
) -> str:
    """Write all files of a report but the page, which is returned."""
    fnames = list(systems[0].evaluation.labels["fname"])
    sources = find_audio(Path(target.audio), fnames, allow_missing=True) if target.audio is not None else {}
    limit = SINGLE_FILE_AUDIO_SECONDS / len(systems) if target.single_file else MAX_AUDIO_SECONDS
    clips = folder / CLIPS_FOLDER
    clips.mkdir()
    media = [make_clip_media(clips, system, sources, target.jobs, limit) for system in systems]
    data = report_data(
        systems, media, MAX_SECONDS, target.audio is not None,
        corpus=target.corpus, comparison=comparison, max_audio_seconds=limit,
    )  # fmt: skip
    for name, table in tables(systems, comparison).items():
        write_table(folder / name, table)
    for system in systems:
        _write_figures(folder, system)
    text = json.dumps(data, indent=1, allow_nan=False)
    (folder / REPORT_JSON).write_text(text + "\n", "utf-8")
    charts = [
        {
            "reliability": reliability_diagram(system.reliability, system.prefix),
            "curves": learning_curves(system.histories, system.prefix, system.finetune_starts),
        }
        for system in systems
    ]
    return render(json.loads(text), charts, folder if target.single_file else None)


def _write_figures(folder: Path, system: SystemResult) -> None:
    if system.figure_files:
        for stem in CONFUSION_FIGURES:
            svg, png = (folder / f"{system.prefix}{stem}.{suffix}" for suffix in ("svg", "png"))
            save_confusion(system.confusion, stem != CONFUSION_FIGURES[0], svg, png)
