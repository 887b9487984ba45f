"""The history of a run as a picture."""

import shutil
from pathlib import Path

import matplotlib.image
from conftest import ToyPipeline, run_fails, run_ok


def test_the_history_as_a_picture(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_pipeline.run, run)
    assert run_ok("plot", run) == f"{run / 'history.png'}\n"
    height, width, _ = matplotlib.image.imread(run / "history.png").shape
    assert height > 500
    assert width > 500
    (run / "history.csv").unlink()
    assert "it is written when the first one is complete" in run_fails(2, "plot", run)
