"""The history of a run as a picture."""

import shutil
from pathlib import Path

import matplotlib.image
from conftest import Toy, refuse, succeed


def test_the_history_as_a_picture(toy: Toy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy.run, run)
    assert succeed("plot", run) == f"{run / 'history.png'}\n"
    height, width, _ = matplotlib.image.imread(run / "history.png").shape
    assert height > 500
    assert width > 500
    (run / "history.csv").unlink()
    assert "it is written when the first one is complete" in refuse(2, "plot", run)
