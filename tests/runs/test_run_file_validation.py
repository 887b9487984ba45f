"""Edited or truncated files of a run give a one-line error that names file and key."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import ToyPipeline

from dcase2018.cli.main import main

UNCHECKED = {"provenance"}  # informative only
SIGNED = {"loss", "loss_sum"}


def key_paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Iterate over the key paths of all values in a document; of a list, its first item."""
    if path:
        yield path
    if path and path[-1] in UNCHECKED:
        return
    for key in (
        value if isinstance(value, dict) else range(min(1, len(value))) if isinstance(value, list) else ()
    ):
        yield from key_paths(value[key], (*path, key))


def invalid_values(value: Any, name: object) -> Iterator[object]:
    """Values that are invalid in place of `value`."""
    if name in UNCHECKED:
        return
    yield from (None, True)
    if not isinstance(value, list):
        yield [1]
    if not isinstance(value, str):
        yield "text"
    if isinstance(value, int | float) and name not in SIGNED:
        yield -1
    if isinstance(value, int | float):
        yield from (float("nan"), 10**400)


def damaged_versions(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A description and the text of each version of a document with one change."""
    for text in ("", "null", "[]", "3", json.dumps(document)[:-20]):
        yield f"all: {text:.10}", text
    for path in key_paths(document):
        changed = copy.deepcopy(document)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        original, key = parent[path[-1]], path[-1]
        for value in invalid_values(original, key):
            parent[key] = value
            yield f"{path}={value!r:.20}", json.dumps(changed)
        if (
            isinstance(parent, dict)
            and path[0] != "permanent_checkpoints"
            and key not in ("map3", "validation_loss")
        ):
            del parent[key]
            yield f"{path} removed", json.dumps(changed)
        parent[key] = original
        if isinstance(original, dict) and key not in UNCHECKED:
            original["colour"] = "red"
            yield f"{path}.colour", json.dumps(changed)
    yield "colour", json.dumps(document | {"colour": "red"})
    if "permanent_checkpoints" in document:
        yield "long key", json.dumps(document | {"permanent_checkpoints": {5000 * "9": 1.5}})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run.json", "state.json"])
def test_every_key_is_validated(toy_pipeline: ToyPipeline, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_pipeline.run, run)
    file = run / name if name == "run.json" else max(run.glob("checkpoints/*/state.json"))
    document = json.loads(file.read_text())
    if name == "state.json":
        document["permanent_checkpoints"] = {"5": 12.5}
    commands = [
        ["info", str(run)],
        ["fit", str(toy_pipeline.train), str(toy_pipeline.fit_labels), str(run), "--preset", "quick"],
    ]
    commands[1] += ["--epochs", "5", "--validation", str(toy_pipeline.validation)]
    count = 0
    for change, text in damaged_versions(document):
        file.write_text(text)
        for command in commands:
            result = CliRunner().invoke(main, command)
            assert result.exit_code in (1, 2), (change, command[0], result.output, result.exception)
            assert isinstance(result.exception, SystemExit), (change, result.exception)
            assert str(file) in result.stderr, (change, result.stderr)
            assert result.stderr.count("\n") == 1, (change, result.stderr)
            count += 1
    assert count > 100
    file.write_text(json.dumps(document))
    result = CliRunner().invoke(main, commands[1])
    assert (result.exit_code, "nothing to do" in result.output) == (0, True), result.output
