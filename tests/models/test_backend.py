"""Keras is imported without the start-up lines of its backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAKE_KERAS = """
import os, types
os.write(2, b"a line of C++ code")
if {fails}:
    raise RuntimeError
ops = types.SimpleNamespace(zeros=lambda shape: os.write(2, b"a device was found"))
"""
SHOW = "import dcase2018.models.backend; import os; os.write(2, b'after the import')"


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | env, check=False)


@pytest.mark.parametrize(
    ("level", "fails", "is_shown"), [(20, False, False), (10, False, True), (20, True, True)]
)
def test_standard_error_is_hidden_while_keras_is_imported(
    level: int, fails: bool, is_shown: bool, tmp_path: Path
) -> None:
    (tmp_path / "keras.py").write_text(FAKE_KERAS.format(fails=fails))
    code = f"import logging; logging.getLogger('dcase2018').setLevel({level}); {SHOW}"
    done = run(code, PYTHONPATH=str(tmp_path))
    assert ("a line of C++ code" in done.stderr) == is_shown
    assert ("a device was found" in done.stderr) == (is_shown and not fails)
    assert ("after the import" in done.stderr) != fails
    assert (done.returncode != 0) == fails


def test_an_unavailable_backend_is_an_input_error() -> None:
    code = "import dcase2018\ntry: dcase2018.fit\nexcept dcase2018.InputError as error: print(error)"
    done = run(code, KERAS_BACKEND="nonsense")
    assert done.stdout.startswith("KERAS_BACKEND=nonsense cannot be loaded (")


@pytest.mark.slow
def test_using_keras_from_python_prints_nothing() -> None:
    done = run(
        "import dcase2018 as dc; dc.fit;"
        " from dcase2018.models.architectures import build;"
        " build('mlp', (25, 64), 3, dc.PRESETS['quick'].hparams)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
