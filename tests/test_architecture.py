"""The architecture: packages import only from packages above them, and heavy imports are lazy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dcase2018

PACKAGE = Path(dcase2018.__file__).parent
PACKAGES = [line.split()[0] for line in (dcase2018.__doc__ or "").splitlines() if line.startswith("    ")]


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield str(node.module)


def imported_packages(package: str) -> set[str]:
    """Return the packages of this project that the modules of a package import."""
    names = (name for path in (PACKAGE / package).glob("*.py") for name in imported_modules(path))
    return {name.split(".")[1] for name in names if name.startswith("dcase2018.")}


def test_docstring_lists_every_package() -> None:
    assert set(PACKAGES) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_from_packages_above(package: str) -> None:
    assert imported_packages(package) <= set(PACKAGES[: PACKAGES.index(package) + 1])


@pytest.mark.parametrize("package", ["models", "batching", "runs", "evaluation", "label_quality", "training"])
def test_training_never_reads_audio(package: str) -> None:
    for path in (PACKAGE / package).glob("*.py"):
        assert not {"dcase2018.data.audio", "dcase2018.data.files"} & set(imported_modules(path))


def modules_loaded_by(code: str) -> set[str]:
    """Return the top-level names of the modules that code imports, in a process of its own."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


HELP = "from dcase2018.cli.main import main; main(['--help'], standalone_mode=False)"


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import dcase2018", {"lazy_loader", "ast", "click", "numpy"}),
        ("import dcase2018.cli.main", {"logging", "numpy", "pydantic"}),
        (HELP, {"logging", "numpy", "pydantic", "h5py", "keras", "librosa", "pandas", "tensorflow"}),
        ("import dcase2018.cli.pipeline", {"numpy", "h5py", "keras", "librosa", "pandas", "tensorflow"}),
        ("from dcase2018 import extract", {"keras", "tensorflow", "pandas", "tensorboard"}),
        ("from dcase2018 import Run", {"keras", "tensorflow", "librosa"}),
        ("from dcase2018 import Experiment", {"keras", "tensorflow", "librosa"}),
        ("from dcase2018.training import cross_validation, tuning", {"keras", "tensorflow", "librosa"}),
    ],
)
def test_imports_are_lazy(code: str, unwanted: set[str]) -> None:
    assert modules_loaded_by(code).isdisjoint(unwanted)


def test_only_some_modules_import_hdf5_and_a_backend() -> None:
    for path in PACKAGE.rglob("*.py"):
        libraries = {name.split(".")[0] for name in imported_modules(path)}
        assert "h5py" not in libraries or path.name in ("store.py", "store_writer.py", "embeddings.py")
        assert "keras" not in libraries or path == PACKAGE / "models" / "backend.py"
        backends = libraries & {"tensorflow", "jax", "torch"}
        assert backends == ({"tensorflow"} if path == PACKAGE / "exporting" / "conversion.py" else set())
