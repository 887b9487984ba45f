"""The shape of the house: imports point down, and the feature half never waits for Keras."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dcase2018

PACKAGE = Path(dcase2018.__file__).parent
ORDER = [line.split()[0] for line in (dcase2018.__doc__ or "").splitlines() if line.startswith("    ")]


def imports(module: str) -> set[str]:
    """Name the modules of the package that a module, or a package's, imports anywhere in it."""
    files = [PACKAGE / f"{module}.py", *(PACKAGE / module).glob("*.py")]
    found = set()
    for node in (node for file in files if file.exists() for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dcase2018."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Constant) and str(node.value).startswith("dcase2018."):
            found.add(str(node.value).split(".")[1])  # imported by name, after Keras
    return found


def test_the_map_names_every_module() -> None:
    modules = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("__")}
    assert set(ORDER) == modules


@pytest.mark.parametrize("module", ORDER)
def test_imports_point_down(module: str) -> None:
    assert imports(module) <= set(ORDER[: ORDER.index(module)])


def test_the_halves_meet_at_the_store() -> None:
    for module in ("batches", "training", "prediction", "evaluation", "run"):
        assert imports(module).isdisjoint({"audio", "logmel", "extraction", "synthetic"})
    for module in ("audio", "logmel", "store", "extraction"):
        assert imports(module).isdisjoint({"models", "batches", "run", "training", "prediction"})


def loaded_by(code: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import dcase2018.cli", {"keras", "tensorflow", "pandas", "librosa", "numpy", "h5py"}),
        ("import dcase2018.extraction", {"keras", "tensorflow", "pandas", "tensorboard"}),
        ("import dcase2018.run", {"keras", "tensorflow", "librosa"}),
    ],
)
def test_nothing_is_loaded_before_it_is_needed(code: str, unwanted: set[str]) -> None:
    assert loaded_by(code).isdisjoint(unwanted)


def test_only_the_store_knows_hdf5_and_nothing_names_a_backend() -> None:
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "h5py" not in names or path.stem == "store"
        assert names.isdisjoint({"tensorflow", "jax", "torch"})
