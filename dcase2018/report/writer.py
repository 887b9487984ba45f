"""A report: a folder with a page to look at and listen to, and every number on it as JSON and CSV.

index.html       the page; it asks for nothing but what lies in clips/
report.json      all numbers that the page shows
classes.csv      a row a class, and the overall score
confusion.csv    a row a class, a column an answer
clips.csv        a row a clip
reliability.csv  a row a bin of scores
history.csv      the trainings, a row an epoch
clips/           a picture of each clip that is shown, and its sound
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dcase2018.data.labels import write_table
from dcase2018.evaluation.evaluate import Evaluation, evaluate
from dcase2018.inference.ensemble import Ensemble
from dcase2018.report.charts import learning_curves, reliability_diagram
from dcase2018.report.clip_media import SECONDS, audio_files, illustrate
from dcase2018.report.html import render
from dcase2018.report.summary import Side, account, tables
from dcase2018.utils.atomic import StrPath, atomic_directory, ensure_writable
from dcase2018.utils.config import read_json_object
from dcase2018.utils.errors import InputError

PAGE, NUMBERS, CLIPS = "index.html", "report.json", "clips"


def report(
    ensemble: Ensemble, labels: pd.DataFrame, out: StrPath, audio: StrPath | None = None, jobs: int = -1
) -> Path:
    """Report what an ensemble says of labelled clips.

    Parameters
    ----------
    labels
        Clips of the ensemble's stores, their labels among its classes (see `read_labels`).
    out
        The folder to make. A report that stands there is replaced.
    audio
        The folder of the clips, from which those that are shown get a player.
    jobs
        Processes that draw (-1: one a core).

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If `out` holds something that is no report, a clip is not in `audio`, or see `predict`.
    Dcase2018Error, OSError
        See `predict` and `atomic_directory`.
    """
    check_report(out, labels, audio)
    return report_sides([(ensemble, evaluate(ensemble, labels))], out, audio, jobs)


def check_report(out: StrPath, labels: pd.DataFrame, audio: StrPath | None = None) -> None:
    """See to it, before the work, that a report can be written, and that its clips are in `audio`.

    Raises
    ------
    InputError, OSError
        See `report`.
    """
    out = Path(out)
    ensure_writable(out.absolute().parent)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder for the report")
    if out.exists() and any(out.iterdir()):
        _check_standing(out)
    if audio is not None:
        audio_files(Path(audio), list(labels["fname"]))


def _check_standing(out: Path) -> None:
    """Refuse a folder that is no report, or has more in it than a report: it would be lost."""
    try:
        held = read_json_object(out / NUMBERS)
        parts = {PAGE, NUMBERS, CLIPS, *held["files"]}
    except (OSError, InputError, KeyError, TypeError):
        raise InputError(f"{out} exists and is no report; name another folder") from None
    foreign = sorted(path.name for path in out.iterdir() if path.name not in parts)
    if foreign:
        raise InputError(f"{out} holds {foreign[0]!r}, which is no part of the report and would be lost")


def name_of(ensemble: Ensemble) -> str:
    """What a reader calls an ensemble: its runs' folders by name."""
    names = [member.run.path.resolve().name for member in ensemble.members]
    parents = {member.run.path.resolve().parent for member in ensemble.members}
    if len(names) > 1 and len(parents) == 1 and all(name.startswith("fold-") for name in names):
        return f"{parents.pop().name} ({len(names)} folds)"
    return ", ".join(names)


def report_sides(
    evaluated: Sequence[tuple[Ensemble, Evaluation]],
    out: StrPath,
    audio: StrPath | None = None,
    jobs: int = -1,
) -> Path:
    """Report one ensemble, or two beside each other, with what they say of the same labelled clips.

    The other parameters, what is returned, and what is raised are as for `report`.
    """
    names = [name_of(ensemble) for ensemble, _ in evaluated]
    if len(set(names)) < len(names):
        names = [str(ensemble.members[0].run.path) for ensemble, _ in evaluated]
    keys = [""] if len(evaluated) == 1 else ["a-", "b-"]
    sides = [Side(name, key, *one) for name, key, one in zip(names, keys, evaluated, strict=True)]
    return _write_report(sides, Path(out), audio, jobs)


def _write_report(sides: Sequence[Side], out: Path, audio: StrPath | None, jobs: int) -> Path:
    """Write a report, whole or not at all."""
    names = list(sides[0].evaluation.labels["fname"])
    sources = audio_files(Path(audio), names) if audio is not None else {}
    with atomic_directory(out, fsync=False, overwrite=True) as folder:
        (folder / CLIPS).mkdir()
        shown = [illustrate(folder / CLIPS, side, sources, jobs) for side in sides]
        numbers = account(sides, shown, SECONDS, audio is not None)
        for name, table in tables(sides).items():
            write_table(folder / name, table)
        (folder / NUMBERS).write_text(json.dumps(numbers, indent=1, allow_nan=False) + "\n", "utf-8")
        charts = [
            {
                "reliability": reliability_diagram(side.reliability, side.key),
                "curves": learning_curves(side.histories, side.key),
            }
            for side in sides
        ]
        page = render(json.loads((folder / NUMBERS).read_text("utf-8")), charts)
        (folder / PAGE).write_text(page, "utf-8", errors="backslashreplace")
    return out / PAGE
