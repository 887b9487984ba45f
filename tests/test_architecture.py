"""The shape of the house: rooms and modules in order, doors, and a first half that never waits for Keras."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

import dcase2018

PACKAGE = Path(dcase2018.__file__).parent


def listed(text: str | None) -> list[str]:
    """Names of an indented list in a docstring, in order."""
    return [line.split()[0] for line in (text or "").splitlines() if line.startswith("    ")]


ORDER = listed(dcase2018.__doc__)
ROOMS = ORDER[: ORDER.index("loading")]
MODULES = {room: listed(importlib.import_module(f"dcase2018.{room}").__doc__) for room in ROOMS}
ALL_MODULES = [(room, module) for room in ROOMS for module in MODULES[room]]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Walk what a file imports from the package, anywhere in it: a module's path below it, and the names."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dcase2018":
            yield (node.module or "").removeprefix("dcase2018").lstrip("."), [a.name for a in node.names]
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path} imports by dots"
        plain = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        assert not any(name.split(".")[0] == "dcase2018" for name in plain), f"{path} imports a module whole"


def handed_on(room: str) -> dict[str, str]:
    """The names that a room's door hands on, and the module of each."""
    stub = parsed(PACKAGE / room / "__init__.pyi")
    lines = [node for node in ast.walk(stub) if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in lines for alias in node.names}


def allowed(room: str) -> set[str]:
    """The rooms that a room's door says it may import."""
    said = str(importlib.import_module(f"dcase2018.{room}").__doc__).partition("It may import")[2]
    return {word for word in said.replace(",", " ").replace(".", " ").split() if word in ROOMS}


def test_the_map_names_every_room_and_each_door_every_module() -> None:
    entries = [path for path in PACKAGE.iterdir() if not path.name.startswith("_")]
    assert set(ORDER) == {path.stem for path in entries if path.is_dir() or path.suffix == ".py"}
    for room, modules in MODULES.items():
        files = {path.stem for path in (PACKAGE / room).glob("*.py") if path.stem != "__init__"}
        assert len(modules) == len(files)
        assert set(modules) == files


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_may_import_only_rooms_above_it_and_imports_each_that_it_may(room: str) -> None:
    assert allowed(room) <= set(ROOMS[: ROOMS.index(room)])
    paths = (PACKAGE / room).glob("*.py")
    used = {source.split(".")[0] for path in paths for source, _ in imports(path)}
    assert used - {room} == allowed(room)


@pytest.mark.parametrize(("room", "module"), ALL_MODULES)
def test_a_module_imports_modules_above_it_and_other_rooms_by_their_doors(room: str, module: str) -> None:
    above = MODULES[room][: MODULES[room].index(module)]
    for source, names in imports(PACKAGE / room / f"{module}.py"):
        if source.split(".")[0] == room:
            assert source.partition(".")[2] in above
        else:
            assert source in ROOMS, f"{source} is not a room's door"
            assert set(names) <= set(handed_on(source))


def test_the_command_line_stands_on_the_doors() -> None:
    above = ORDER[len(ROOMS) :]
    for number, module in enumerate(above):
        for path in (PACKAGE / f"{module}.py", *(PACKAGE / module).glob("*.py")):
            for source, names in imports(path) if path.exists() else ():
                assert source in (*ROOMS, *above[:number])
                assert source not in ROOMS or set(names) <= set(handed_on(source))


def test_a_door_hands_on_what_others_use_and_nothing_else() -> None:
    outside = [path for path in PACKAGE.rglob("*.py*") if path.suffix in (".py", ".pyi")]
    for room in ROOMS:
        taken = {
            name
            for path in outside
            if path.parent != PACKAGE / room
            for source, names in imports_of(path)
            if source in (room, *(f"{room}.{module}" for module in MODULES[room]))
            for name in names
        }
        assert set(handed_on(room)) == taken
        for name in handed_on(room):
            assert getattr(importlib.import_module(f"dcase2018.{room}"), name) is not None


def imports_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Like `imports`, for a stub too, whose imports are by dots."""
    if path.suffix == ".py":
        yield from imports(path)
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            yield str(node.module), [alias.name for alias in node.names]


def test_the_halves_meet_at_the_store() -> None:
    audio = {"BadClipError", "Clip", "FrontEnd", "Source", "find_sources", "extract"}
    for room in ("networks", "examples", "runs", "scoring", "training", "reporting"):
        for path in (PACKAGE / room).glob("*.py"):
            taken = chain.from_iterable(names for _, names in imports(path))
            assert audio.isdisjoint(taken) or path.name == "excerpts.py"  # what a report lets people hear


def loaded_by(code: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import dcase2018", {"lazy_loader", "ast", "click", "numpy"}),
        (f"import {', '.join(f'dcase2018.{room}' for room in ROOMS)}", {"keras", "librosa", "numpy"}),
        ("import dcase2018.cli", {"keras", "tensorflow", "pandas", "librosa", "numpy", "h5py"}),
        ("from dcase2018.features import extract", {"keras", "tensorflow", "pandas", "tensorboard"}),
        ("from dcase2018.runs import Run", {"keras", "tensorflow", "librosa"}),
        ("from dcase2018.training import Experiment, plan_folds, tune", {"keras", "tensorflow", "librosa"}),
    ],
)
def test_nothing_is_loaded_before_it_is_needed(code: str, unwanted: set[str]) -> None:
    assert loaded_by(code).isdisjoint(unwanted)


def libraries(path: Path) -> set[str]:
    """What a file imports, anywhere in it, by its first name."""
    nodes = list(ast.walk(parsed(path)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        name.split(".")[0]
        for name in plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    }


def test_only_files_of_numbers_know_hdf5_and_one_module_names_a_backend() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert "h5py" not in libraries(path) or path.name in ("store.py", "writing.py", "vectors.py")
        backends = libraries(path) & {"tensorflow", "jax", "torch"}
        assert backends == ({"tensorflow"} if path == PACKAGE / "using" / "conversion.py" else set())
