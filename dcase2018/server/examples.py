"""Recordings that the page of `serve` offers to try: clips that no run was trained on."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from dcase2018.data.files import find_audio_files
from dcase2018.inference.ensemble import open_runs
from dcase2018.utils.atomic import StrPath

log = logging.getLogger(__name__)

N_EXAMPLES = 3


def choose_examples(folder: StrPath, runs: Sequence[StrPath]) -> dict[str, Path]:
    """Choose clips from a folder, evenly spaced in the order of their names.

    Clips with the name of a training clip of a run are left out.

    Returns
    -------
    dict
        Names to show, and paths, of up to `N_EXAMPLES` clips.

    Raises
    ------
    InputError
        If a folder is not a run, or a run does not list its training clips.
    OSError
        If the folder cannot be read.
    """
    members = [member for run in runs for member in open_runs([run])]  # their classes may differ
    trained = {fname for member in members for fname, _ in member.training_clips()}
    clips = [item for item in find_audio_files(Path(folder)).items() if item[0] not in trained]
    if not clips:
        log.warning("%s has no clip that the runs were not trained on; the page has no examples", folder)
    n_chosen = min(N_EXAMPLES, len(clips))
    chosen = [clips[len(clips) * i // n_chosen] for i in range(n_chosen)]
    return {os.fsencode(name).decode(errors="replace"): path for name, path in chosen}  # JSON is UTF-8
