"""The benchmarks, which measure and do not judge: they are still of this program."""

import os
import subprocess
import sys

from conftest import ROOT


def test_every_benchmark_finds_what_it_measures() -> None:
    folder = ROOT / "tests" / "benchmarks"
    names = sorted(path.stem for path in folder.glob("*.py"))
    assert "run" in names
    done = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}"],
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
