"""Python files in the working directory are never executed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, ToyPipeline, dcase, noise, write_wav

from dcase2018.utils.parallel import parallel_pool, run_in_subprocess
from dcase2018.utils.safe_path import SAFE_PATH, python_command, safe_path_in_children

LIBRARIES = (
    "numpy",
    "pandas",
    "joblib",
    "librosa",
    "soundfile",
    "h5py",
    "keras",
    "tensorflow",
    "click",
    "tqdm",
)


@pytest.fixture
def hostile_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a file that ends the process for each module name that may be imported."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in {*sys.stdlib_module_names, *LIBRARIES, "sitecustomize", "usercustomize"}:
        (folder / f"{name}.py").write_text("import os\nopen('RAN', 'a').close()\nos._exit(9)\n")
    monkeypatch.chdir(folder)
    return folder


def double(number: int) -> int:
    return 2 * number


def test_a_child_process_imports_nothing_from_its_working_directory(hostile_folder: Path) -> None:
    unsafe = subprocess.run([sys.executable, "-c", "import random"], check=False)
    assert unsafe.returncode == 9
    (hostile_folder / "RAN").unlink()
    assert run_in_subprocess(hostile_folder, os.getcwd) == str(hostile_folder)
    subprocess.run(python_command("-c", "import random"), check=True)
    with safe_path_in_children():
        subprocess.run([sys.executable, "-c", "import random"], check=True)
    assert not (hostile_folder / "RAN").exists()


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SAFE_PATH, raising=False)
    with safe_path_in_children():
        assert os.environ[SAFE_PATH] == "1"
    assert SAFE_PATH not in os.environ
    monkeypatch.setenv(SAFE_PATH, "yes")
    with safe_path_in_children():
        pass
    assert os.environ[SAFE_PATH] == "yes"


def test_python_is_started_in_one_way_only() -> None:
    uses = [path.name for path in (ROOT / "dcase2018").rglob("*.py") if "sys.executable" in path.read_text()]
    assert uses == ["safe_path.py"]


def test_python_m_dcase2018_imports_nothing_from_its_working_directory(hostile_folder: Path) -> None:
    for path in hostile_folder.iterdir():
        if path.stem not in (*LIBRARIES, "csv", "json", "logging", "random", "shlex", "string", "tempfile"):
            path.unlink()  # Python imports some of these before it runs a module
    done = dcase("class-map", "none.csv", "out.csv", cwd=hostile_folder)
    assert done.returncode == 2, done.stderr
    assert "'none.csv' does not exist" in done.stderr
    assert not (hostile_folder / "RAN").exists()


@pytest.mark.slow
def test_a_pool_of_processes_imports_nothing_from_its_working_directory(hostile_folder: Path) -> None:
    import joblib

    with parallel_pool(2) as pool:
        assert sorted(pool(joblib.delayed(double)(number) for number in range(4))) == [0, 2, 4, 6]
    assert not (hostile_folder / "RAN").exists()


@pytest.mark.slow
def test_commands_import_nothing_from_their_working_directory(
    hostile_folder: Path, toy_pipeline: ToyPipeline
) -> None:
    for clip in range(20):
        write_wav(hostile_folder.parent / "clips" / f"{clip}.wav", noise(9000, clip))
    toy = toy_pipeline
    for command in (
        ("extract", "../clips", "../x.h5", "-j", 2),
        ("report", toy.test, toy.test_labels, toy.run, "-o", "../report", "-j", 2),
        ("export", toy.run, "../export"),
        ("fit", toy.train, toy.labels, "../folds", "--folds", 2, "--preset", "quick", "--epochs", 1),
        ("run", "data", "--dataset", toy.data),
    ):
        program = Path(sys.executable).with_name("dcase2018")
        done = subprocess.run([program, *map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        assert not (hostile_folder / "RAN").exists(), command
