"""A run's files, edited or copied half: one line that names the file and what is wrong with it."""

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

ANYTHING = {"made"}  # told to people alone
SIGNED = {"loss", "loss_sum"}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk the paths of all values in a document; of a list, its first item."""
    if path:
        yield path
    if path and path[-1] in ANYTHING:
        return
    for key in (
        value if isinstance(value, dict) else range(min(1, len(value))) if isinstance(value, list) else ()
    ):
        yield from places(value[key], (*path, key))


def wrongs(value: Any, name: object) -> Iterator[object]:
    """Values that cannot stand where `value` does."""
    if name in ANYTHING:
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


def damages(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Texts of a document with one thing removed, retyped or added, and what that is."""
    for whole in ("", "null", "[]", "3", json.dumps(document)[:-20]):
        yield f"all: {whole:.10}", whole
    for path in places(document):
        changed = copy.deepcopy(document)
        holder = changed
        for key in path[:-1]:
            holder = holder[key]
        kept, last = holder[path[-1]], path[-1]
        for wrong in wrongs(kept, last):
            holder[last] = wrong
            yield f"{path}={wrong!r:.20}", json.dumps(changed)
        if isinstance(holder, dict) and path[0] != "permanent_checkpoints" and last not in ("map3",):
            del holder[last]
            yield f"{path} removed", json.dumps(changed)
        holder[last] = kept
        if isinstance(kept, dict) and last not in ANYTHING:
            kept["colour"] = "red"
            yield f"{path}.colour", json.dumps(changed)
    yield "colour", json.dumps(document | {"colour": "red"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run.json", "state.json"])
def test_every_key_of_a_run_is_checked(toy_pipeline: ToyPipeline, tmp_path: Path, name: str) -> None:
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
    for what, text in damages(document):
        file.write_text(text)
        for command in commands:
            done = CliRunner().invoke(main, command)
            assert done.exit_code in (1, 2), (what, command[0], done.output, done.exception)
            assert isinstance(done.exception, SystemExit), (what, done.exception)
            assert str(file) in done.stderr, (what, done.stderr)
            assert done.stderr.count("\n") == 1, (what, done.stderr)
            count += 1
    assert count > 100
    file.write_text(json.dumps(document))
    done = CliRunner().invoke(main, commands[1])
    assert (done.exit_code, "nothing to do" in done.output) == (0, True), done.output
