"""Plot of the training history."""

import shutil
from pathlib import Path

import matplotlib.image
from conftest import ToyPipeline, run_fails, run_ok


def test_plot_writes_an_image(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_pipeline.run, run)
    assert run_ok("plot", run) == f"{run / 'history.png'}\n"
    height, width, _ = matplotlib.image.imread(run / "history.png").shape
    assert height > 500
    assert width > 500
    (run / "history.csv").unlink()
    assert "history.csv has no epoch; fit writes one after each epoch" in run_fails(2, "plot", run)
