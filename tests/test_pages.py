"""The pages for readers: every command that they show is run, every name that they use is there."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from conftest import ROOT, ToyPipeline, noise, run_ok, write_wav

from dcase2018.cli.main import main
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.features.logmel import LogMel
from dcase2018.models.architectures import MODELS, build
from dcase2018.models.hparams import HParams
from dcase2018.utils.config import setting

PAGES = ("README.md", "dcase2018/README.md", "features/README.md", "tests/benchmarks/README.md")

# Commands that run these tests, or check or measure what they are part of.
ELSEWHERE = {"make test", "make test-slow", "make test-browser", "make lint", "make format", "make bench"}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line not in ELSEWHERE]


@pytest.fixture
def surroundings(project: Path, class_folders: Path) -> Path:
    """A project folder in which lies what the pages speak of: corpora, label files, sounds."""
    kaggle = project / "path" / "to" / "fsdkaggle2018"
    run_ok("synthesize", kaggle, "--train-per-class", 3, "--test-per-class", 1)
    for path in kaggle.iterdir():
        (project / path.name).symlink_to(path)
    shutil.copytree(class_folders, project / "path" / "to" / "sounds")
    shutil.copytree(class_folders, project / "sounds")
    rows = []
    for number in range(20):
        fname, label = f"{number}.wav", ("dog", "chirping_birds")[number % 2]
        write_wav(project / "audio" / fname, noise(22050, number, 0.1 + 0.2 * (number % 2)))
        rows.append(f"{fname},{1 + number // 2 % 2},{number % 2},{label},True,{number},A")
    header = "filename,fold,target,category,esc10,src_file,take"
    (project / "esc50.csv").write_text("\n".join([header, *rows]) + "\n")
    return project


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_runs(page: str, surroundings: Path) -> None:
    environment = os.environ | {
        "PATH": f"{surroundings / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "FIT_FLAGS": "--epochs 2",  # for make
    }
    for command in commands(page):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=surroundings,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_readme_shows_commands() -> None:
    shown = commands("README.md")
    assert shown[0] == "make submission"
    assert {line.split()[1] for line in shown if line.startswith("dcase2018")} == {
        "extract", "split", "fit", "evaluate", "report", "predict", "score", "labels", "tag", "embed",
    }  # fmt: skip


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_commands_and_options_in_the_text_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    options = {option for command in main.commands.values() for p in command.params for option in p.opts}
    foreign = {"--logdir", "--train", "--hparams", "--version"}  # of TensorBoard; of benchmarks; of all
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= options | foreign
    assert set(re.findall(r"`dcase2018 ([a-z-]+)", text)) <= set(main.commands)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


def test_pages_link_to_what_is_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_citation_names_this_version_and_the_paper_of_the_task() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", text, flags=re.MULTILINE) == [version("dcase2018")]
    (reference,) = text.split("references:")[1:]
    for part in ("Fonseca", "General-purpose tagging of Freesound audio", "2018 Workshop", "1807.09902"):
        assert part in reference


def test_what_contributors_are_told_works(monkeypatch: pytest.MonkeyPatch) -> None:
    network, feature_config, augmentation, field, _ = blocks("dcase2018/README.md", "python")
    names = {"keras": keras, "layers": keras.layers, "HParams": HParams}

    exec(network, names | {"MODELS": (models := {})})
    monkeypatch.setitem(MODELS, "tiny", models["tiny"])
    assert build("tiny", (25, 64), 41, HParams()).output_shape == (None, 41)

    exec(
        feature_config,
        {"FeatureConfig": FeatureConfig, "FEATURE_CONFIGS": (recipes := dict(FEATURE_CONFIGS))},
    )
    assert LogMel(recipes["narrow"])(np.zeros((3, 1102), np.float32), 1.0).shape == (3, 32)

    space: dict[str, Any] = {"np": np, "knob": setting}
    exec(augmentation, space)
    x = np.random.default_rng(0).random((200, 5, 2))
    flipped = space["flip"](x, np.random.default_rng(1), 0.5)
    backwards = (flipped == x[:, ::-1]).all(axis=(1, 2))
    assert 70 < backwards.sum() < 130
    np.testing.assert_array_equal(flipped[~backwards], x[~backwards])
    exec(field.strip(), space)
    assert space["flip_share"].metadata["constraint"].is_valid(0.5)


@pytest.mark.slow
def test_a_network_a_recipe_and_an_augmentation_are_added_as_told(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    network, feature_config, augmentation, field, call = blocks("dcase2018/README.md", "python")
    package = shutil.copytree(ROOT / "dcase2018", tmp_path / "changed" / "dcase2018")

    def change(module: str, where: str, text: str) -> None:
        """Put text in front of the place where `where` stands, the only one; at the end, if it is empty."""
        path = package / module
        before, found, after = path.read_text().partition(where or "\0")
        assert where not in after or not where
        path.write_text(before + text + found + after)

    change("networks/models.py", "", f"\n\n{network}")
    change("networks/hparams.py", '    "mlp",\n', '    "tiny",\n')
    change("networks/hparams.py", "\n    def __post_init__", field)
    change("features/feature_config.py", "", feature_config)
    change("examples/augment.py", "", f"\n\n{augmentation}")
    change("examples/augment.py", "        if asked.mixup and mixing:", call)

    def run(*args: object) -> str:
        """Run a command of the changed package."""
        command = [sys.executable, "-m", "dcase2018", *map(str, args)]
        done = subprocess.run(
            command, cwd=package.parent, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("extract", toy_pipeline.data / "audio_train", "narrow.h5", "--features", "narrow", "-j", 1)
    fit = ("fit", "narrow.h5", toy_pipeline.fit_labels)
    settings = ("--model", "tiny", "--hparams", "lr=0.01,flip_share=")
    run(*fit, "plain", "--max-steps", 3, *settings[:-1], f"{settings[-1]}0")
    run(*fit, "flipped", "--max-steps", 3, *settings[:-1], f"{settings[-1]}0.5")
    told = run("info", "flipped")
    for line in ("flipped: tiny, ", "hparams  flip_share = 0.5\n", "feature_config   mel_bands = 32\n"):
        assert line in told
    models = [keras.saving.load_model(package.parent / name / "model.keras") for name in ("plain", "flipped")]
    plain, flipped = (model.get_weights()[0] for model in models)
    assert plain.shape == (3, 3, 1, 8)
    assert not np.array_equal(plain, flipped)
    assert "flip_share=0.0" in run("fit", "-h")
