"""The Dockerfile agrees with the project. No image is built."""

import json
import re
import tomllib

from conftest import ROOT

from dcase2018.cli.pipeline import TARGETS

INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in (ROOT / "Dockerfile").read_text().splitlines()
    if line and not line.startswith("#")
]


def arguments(instruction: str) -> list[str]:
    return [text for name, text in INSTRUCTIONS if name == instruction]


def test_copied_paths_exist_and_are_not_ignored() -> None:
    sources = {path for text in arguments("COPY") for path in text.split()[:-1]}
    ignored, *patterns = (
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    )
    assert ignored == "*"
    assert {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")} == sources
    assert all((ROOT / path).exists() for path in sources)


def test_the_image_has_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (image,) = arguments("FROM")
    version = re.fullmatch(r"python:(3\.\d+)-slim", image).group(1)
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]
    (install,) = arguments("RUN")
    assert set(re.search(r"\[(.+)\]", install).group(1).split(",")) <= set(project["optional-dependencies"])
    needed = {project["readme"], *project["license-files"], "pyproject.toml", "constraints.txt"}
    assert needed <= set(arguments("COPY")[0].split())


def test_the_image_runs_the_demo_by_default() -> None:
    ((entry_point,), (command, target)) = (
        json.loads(text) for name in ("ENTRYPOINT", "CMD") for text in arguments(name)
    )
    assert (entry_point, command) == ("dcase2018", "run")
    assert target == "submission"
    assert target in TARGETS
