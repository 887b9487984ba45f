"""Plot of the training history."""

import shutil
from pathlib import Path

import matplotlib.image
import pytest
from conftest import ToyPipeline, run_fails, run_ok

from dcase2018.reporting.history_plot import plot_history
from dcase2018.runs.run import Run


def test_plot_writes_an_image(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_pipeline.run, run)
    assert run_ok("plot", run) == f"{run / 'history.png'}\n"
    height, width, _ = matplotlib.image.imread(run / "history.png").shape
    assert height > 500
    assert width > 500
    (run / "history.csv").unlink()
    assert "history.csv has no epoch; fit writes one after each epoch" in run_fails(2, "plot", run)


def test_a_plot_depends_on_the_history_and_the_name_alone(
    toy_pipeline: ToyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / r"a $\frac{$ name"  # no formula
    run.mkdir()
    for name in ("run.json", "history.csv"):
        shutil.copy(toy_pipeline.run / name, run)
    plain = plot_history(Run.load(run)).read_bytes()
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "black")  # as a file matplotlibrc may set
    assert plot_history(Run.load(run)).read_bytes() == plain
    assert matplotlib.rcParams["axes.facecolor"] == "black"
