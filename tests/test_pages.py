"""The documentation: its commands and code run, and its names, links and examples exist."""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, ToyPipeline, noise, write_wav

import dcase2018
from dcase2018.cli.main import main
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.features.logmel import LogMel
from dcase2018.models.architectures import MODELS, build, count_macs
from dcase2018.models.hparams import PRESETS, HParams, Preset
from dcase2018.utils.config import setting

DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PROSE = ["README.md", *DOCS, "CONTRIBUTING.md", "SECURITY.md"]
PAGES = [*PROSE, "CHANGELOG.md", "features/README.md"]
MAX_README_LINES = 150
MAX_MEAN_SENTENCE_WORDS = 20

# Options in the pages that belong to no command: of TensorBoard, curl, a benchmark, and dcase2018 itself.
OTHER_OPTIONS = {"--logdir", "--data-binary", "--train", "--version"}
OTHER_OPTIONS |= {"--tag", "--rm", "--init", "--user", "--volume", "--publish"}  # of docker


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, language: str = "sh|python") -> list[tuple[str, str]]:
    """Language and text of each fenced block of a page, in order."""
    return re.findall(rf"```({language})\n(.*?)```", read(page), flags=re.DOTALL)


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command
        yield name, command


@pytest.fixture
def checkout(project: Path) -> Path:
    """A copy of the project, whose virtual environment is that of the tests."""
    for folder in ("dcase2018", "docs", "examples"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "features").mkdir(exist_ok=True)
    for name in ("README.md", "features/README.md"):
        shutil.copy(ROOT / name, project / name)
    bin_dir = project / ".venv" / "bin"
    (bin_dir / "activate").write_text(f'PATH="{bin_dir}:$PATH"\n')
    (bin_dir / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (bin_dir / "python").chmod(0o755)
    return project


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(folder)}
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_readme_blocks_run_in_order(checkout: Path) -> None:
    page = blocks("README.md")
    assert page[0] == ("sh", "make venv\n. .venv/bin/activate\n")
    for index, (language, text) in enumerate(page):
        if language == "python":
            (checkout / "block.py").write_text(text)
        code = "python block.py" if language == "python" else text
        result = run_script(f". .venv/bin/activate\n{code}" if index else code, checkout)
        assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"
        if language == "python":
            score, label = re.fullmatch(r"MAP@3 ([\d.]+)\n(\S+)\n", result.stdout).groups()
            assert 0.5 < float(score) <= 1  # chance is 0.045
            assert label in pd.read_csv(checkout / "data" / "demo" / "train.csv")["label"].unique()
    for path in ("runs/quick/submission.csv", "runs/quick/tags.csv", "runs/demo/quick/report/index.html"):
        assert (checkout / path).exists()


def test_readme_is_short_and_shows_the_main_commands() -> None:
    assert len(read("README.md").splitlines()) <= MAX_README_LINES
    shell = "".join(text for language, text in blocks("README.md") if language == "sh")
    assert re.findall(r"^dcase2018 ([a-z-]+)", shell, flags=re.MULTILINE) == [
        "synthesize", "extract", "extract", "fit", "evaluate", "predict", "tag",
    ]  # fmt: skip
    assert re.findall(r"^make ([a-z-]+)", shell, flags=re.MULTILINE) == ["venv", "submission", "report"]
    python = [text for language, text in blocks("README.md") if language == "python"]
    assert [len(text.strip().splitlines()) for text in python] == [10]


def test_readme_lists_all_commands() -> None:
    table = read("README.md").partition("## Commands")[2].partition("\n## ")[0]
    listed = re.findall(
        r"`([a-z-]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)
    )
    assert sorted(listed) == sorted(name for name, _ in commands())


# What makes the commands of the guides fast enough for a test.
FASTER = {
    r"--preset compact --epochs \d+ --search-space": "--preset quick --epochs 1 --trials 2 --search-space",
    r"--preset compact --epochs \d+": "--preset quick --epochs 2",
    r"(?<!info )--preset compact": "--preset quick --epochs 2",
    r"--features logmel96": "--features baseline",
    r"--folds 5": "--folds 2",
    r"(?m)^(make .*)$": r"\1 PRESET=quick FIT_FLAGS='--epochs 2'",
}
NOT_TESTED = (
    "make venv",
    "docker",
    "pip install",
    "DATASET=fsdkaggle2018",
    "PRESET=compact-clean",
    "dcase2018 serve",
    "dcase2018 review",
    "curl",
)


@pytest.fixture
def guide_folder(checkout: Path, class_folders: Path, toy_pipeline: ToyPipeline) -> Path:
    """A checkout with the files that the guides mention."""
    shutil.copytree(class_folders, checkout / "sounds")
    shutil.copytree(class_folders, checkout / "path" / "to" / "sounds")
    shutil.copytree(toy_pipeline.data, checkout / "data" / "demo")
    shutil.copy(toy_pipeline.train, checkout / "features" / "train.h5")
    shutil.copy(toy_pipeline.test, checkout / "features" / "test.h5")
    rows = []
    for index in range(20):
        fname, label = f"{index}.wav", ("dog", "chirping_birds")[index % 2]
        write_wav(checkout / "audio" / fname, noise(22050, index, 0.1 + 0.2 * (index % 2)))
        rows.append(f"{fname},{1 + index // 2 % 2},{index % 2},{label},True,{index},A")
    header = "filename,fold,target,category,esc10,src_file,take"
    (checkout / "esc50.csv").write_text("\n".join([header, *rows]) + "\n")
    return checkout


def run_guide(page: str, folder: Path) -> None:
    for _, text in blocks(page, "sh"):
        if any(words in text for words in NOT_TESTED):
            continue
        for pattern, replacement in FASTER.items():
            text = re.sub(pattern, replacement, text)
        result = run_script(f". .venv/bin/activate\n{text}", folder)
        assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/getting-started.md", "docs/your-own-data.md"])
def test_commands_of_a_guide_run_in_order(page: str, guide_folder: Path) -> None:
    for name in ("train.h5", "test.h5"):
        (guide_folder / "features" / name).unlink()
    run_guide(page, guide_folder)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/tagging-recordings.md", "docs/export-and-serve.md"])
def test_commands_on_a_trained_run_work(page: str, guide_folder: Path, toy_pipeline: ToyPipeline) -> None:
    shutil.copytree(toy_pipeline.run, guide_folder / "runs" / "first")
    run_guide(page, guide_folder)


@pytest.mark.slow
def test_label_quality_commands_run_and_write_the_documented_columns(
    guide_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_guide("docs/label-quality.md", guide_folder)
    issues = pd.read_csv(guide_folder / "label-issues.csv", keep_default_na=False)
    table = re.findall(r"^\| (`.+?`) \|", read("docs/label-quality.md"), flags=re.MULTILINE)
    documented = [name for cell in table for name in re.findall(r"`(\w+)`", cell)]
    assert set(issues) <= set(documented)
    ((_, code),) = blocks("docs/label-quality.md", "python")
    monkeypatch.chdir(guide_folder)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["issues"]["fname"].tolist() == issues["fname"].tolist()


@pytest.mark.slow
def test_python_training_of_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    ((_, code),) = blocks("docs/getting-started.md", "python")
    exec(compile(code, "getting-started.md", "exec"), {})
    assert 0.5 < float(capsys.readouterr().out.split()[0]) <= 1
    submission = pd.read_csv("submission.csv", keep_default_na=False)
    assert list(submission) == ["fname", "label"]
    assert len(submission) == 175
    assert (submission["label"].str.count(" ") == 2).all()


def test_python_of_the_tagging_guide_runs(
    runs: dict[str, Path], recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/first").symlink_to(runs["logmel96"])
    Path("data/demo/audio_test").mkdir(parents=True)
    shutil.copy(recordings / "long.wav", "data/demo/audio_test/01b070d8.wav")
    ((_, code),) = blocks("docs/tagging-recordings.md", "python")
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["scores"].loc["01b070d8.wav"].sum() == pytest.approx(1)
    assert list(pd.read_csv("demo.events.csv")) == ["fname", "onset", "offset", "label", "score"]
    assert dcase2018.read_embeddings("embeddings.h5").index.tolist() == ["01b070d8.wav"]
    windows = names["windows"]
    assert len(windows) == len(windows.scores) == len(windows.starts) > 10
    assert all(isinstance(event, dcase2018.Event) for event in names["events"])


@pytest.mark.parametrize("page", PAGES)
def test_names_in_a_page_exist(page: str) -> None:
    text = read(page)
    options = {option for _, command in commands() for param in command.params for option in param.opts}
    options |= set(re.findall(r'"(--[a-z-]+)"', read("tests/benchmarks/compare_configs.py")))
    options |= {"--hparams", "--help"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= options | OTHER_OPTIONS
    assert set(re.findall(r"`dcase2018 ([a-z][a-z-]*)", text)) <= {name for name, _ in commands()}
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    fields = set(HParams.__dataclass_fields__) | set(FeatureConfig.__dataclass_fields__)
    examples = {"time_reversal", "name"}  # of CONTRIBUTING.md, and of `name=value`
    for settings in re.findall(r"--hparams \"?([a-z_]+=[\w.,=|-]+)", text):
        assert set(re.findall(r"([a-z_]+)=", settings)) <= fields | examples


@pytest.mark.parametrize("page", DOCS)
def test_hyperparameters_of_the_tables_exist(page: str) -> None:
    fields = {*HParams.__dataclass_fields__, *FeatureConfig.__dataclass_fields__}
    for table in re.findall(r"\n\| hyperparameter \|.*?\n\n", read(page), flags=re.DOTALL):
        assert set(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE)) <= fields


def table_rows(page: str, header: str) -> Iterator[list[str]]:
    """Cells of the rows of the table whose header row starts so, without backquotes."""
    for line in read(page).partition(f"\n{header}")[2].splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]


@pytest.mark.slow
def test_table_of_presets_has_their_sizes() -> None:
    rows = {name: numbers for name, _, *numbers in table_rows("docs/how-it-works.md", "| preset | use")}
    assert sorted(rows) == sorted(PRESETS)
    for name, preset in PRESETS.items():
        config, hparams = FEATURE_CONFIGS[preset.features], preset.hparams
        example_shape = (hparams.example_frames(config), config.n_features)
        model = build(preset.model, example_shape, 41, hparams)
        macs = count_macs(model) / 1e6
        hop_seconds = hparams.inference_hop_frames(config) * config.stft_hop_seconds
        sizes = [
            f"{preset.epochs}",
            f"{model.count_params():,}",
            f"{macs:,.1f}M",
            f"{macs / hop_seconds:,.1f}M",
        ]
        assert rows[name] == sizes


def test_table_of_feature_configs_names_their_presets() -> None:
    rows = {name: users for name, _, users in table_rows("docs/how-it-works.md", "| feature config |")}
    assert sorted(rows) == sorted(FEATURE_CONFIGS)
    for name, users in rows.items():
        using = [preset for preset in PRESETS if PRESETS[preset].features == name]
        assert sorted(users.partition(";")[0].split(", ")) == (sorted(using) or ["none"])


def test_store_specification_has_the_values_of_the_feature_configs() -> None:
    header = "| field | `baseline` | `logmel96` | `waveform16k` |"
    configs = [FEATURE_CONFIGS[name] for name in ("baseline", "logmel96", "waveform16k")]
    documented = set()
    for fields, *cells, _ in table_rows("features/README.md", header):
        names = fields.split(", ")
        documented |= set(names)
        for config, cell in zip(configs, cells, strict=True):
            if cell:  # empty where the field does not matter
                values = dict(zip(names, cell.split(", "), strict=True))
                typed = {name: type(getattr(config, name))(value) for name, value in values.items()}
                assert typed == {name: getattr(config, name) for name in names}
    assert documented == set(FeatureConfig.__dataclass_fields__)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", read(page)):
        if not re.match(r"https?:", target):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_api_page_lists_the_public_names() -> None:
    listed = re.findall(r"^::: [\w.]+\.(\w+)$", read("docs/api.md"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(set(dcase2018.__all__) - {"__version__"})


def test_public_docstrings_refer_to_public_functions() -> None:
    defined = {
        node.name
        for path in (ROOT / "dcase2018").rglob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    for name in dcase2018.__all__:
        value = getattr(dcase2018, name)
        members = vars(value).values() if inspect.isclass(value) else ()
        text = "\n".join(inspect.getdoc(item) or "" for item in (value, *members))
        own = {*dir(value), *getattr(value, "__annotations__", ()), "lwlrap", "p_value"}  # columns and keys
        assert set(re.findall(r"`(\w+)`", text)) & defined <= {*dcase2018.__all__, *own}, name


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for page in ("index", "store-format/index", "contributing/index", "changelog/index", "api/index"):
        assert (tmp_path / f"{page}.html").exists()


def sentences(text: str) -> list[str]:
    """Sentences of the paragraphs of a page: no code, tables, headings or link targets."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    lines = [line for line in text.splitlines() if not re.match(r"\s*(\||#|!\[|:::|    )", line)]
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:-|\d+\.) )", "\n".join(lines))
    return [
        sentence
        for paragraph in paragraphs
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z`*\[\d\"])", " ".join(paragraph.split()))
        if len(sentence.split()) > 2
    ]


@pytest.mark.parametrize("page", PROSE)
def test_sentences_are_short_on_average(page: str) -> None:
    n_words = [len(sentence.split()) for sentence in sentences(read(page))]
    assert not n_words or np.mean(n_words) <= MAX_MEAN_SENTENCE_WORDS
    assert max(n_words, default=0) <= 40


def test_citation_names_this_version_and_the_task_paper() -> None:
    text = read("CITATION.cff")
    assert re.findall(r"^version: (.+)$", text, flags=re.MULTILINE) == [version("dcase2018")]
    assert dcase2018.__version__ == version("dcase2018")
    (reference,) = text.split("references:")[1:]
    for words in ("Fonseca", "General-purpose tagging of Freesound audio", "2018 Workshop", "1807.09902"):
        assert words in reference


def contributing_blocks() -> list[str]:
    return [text for _, text in blocks("CONTRIBUTING.md", "python")]


def test_contributing_examples_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    model, feature_config, augmentation, field, _, preset, command, _ = contributing_blocks()

    names = {"keras": keras, "layers": keras.layers, "HParams": HParams}
    exec(model, names | {"MODELS": (models := {})})
    monkeypatch.setitem(MODELS, "tiny", models["tiny"])
    assert build("tiny", (25, 64), 41, HParams()).output_shape == (None, 41)

    configs = dict(FEATURE_CONFIGS)
    exec(feature_config, {"FeatureConfig": FeatureConfig, "FEATURE_CONFIGS": configs})
    assert LogMel(configs["narrow"])(np.zeros((3, 1102), np.float32), 1.0).shape == (3, 32)

    namespace: dict[str, Any] = {"np": np, "setting": setting}
    exec(augmentation, namespace)
    x = np.random.default_rng(0).random((200, 5, 2))
    result = namespace["time_reversal"](x, np.random.default_rng(1), 0.5)
    is_reversed = (result == x[:, ::-1]).all(axis=(1, 2))
    assert 70 < is_reversed.sum() < 130
    np.testing.assert_array_equal(result[~is_reversed], x[~is_reversed])
    exec(field.strip(), namespace)
    assert namespace["time_reversal"].default == 0

    exec(preset, {"Preset": Preset, "HParams": HParams, "PRESETS": (presets := {})})
    assert presets["tiny"].features == "narrow"
    compile(command, "CONTRIBUTING.md", "exec")


@pytest.mark.slow
def test_contributing_examples_work_in_a_copy_of_the_package(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    model, feature_config, augmentation, field, call, preset, command, listing = contributing_blocks()
    package = shutil.copytree(ROOT / "dcase2018", tmp_path / "changed" / "dcase2018")

    def insert(module: str, before: str, text: str) -> None:
        """Insert text in front of the only match of `before`; append it if `before` is empty."""
        path = package / module
        source = path.read_text()
        matches = list(re.finditer(before, source)) if before else []
        assert len(matches) == bool(before), (module, before)
        position = matches[0].start() if matches else len(source)
        path.write_text(source[:position] + text + source[position:])

    insert("models/architectures.py", "", f"\n\n{model}")
    insert("models/hparams.py", r'"mlp", "compact"', '"tiny", ')
    insert("models/hparams.py", r"\n    def __post_init__", field)
    insert("models/hparams.py", "", preset)
    insert("features/config.py", "", feature_config)
    insert("batching/augmentation.py", "", f"\n\n{augmentation}")
    insert("batching/augmentation.py", r" {8}if \w+\.mixup_alpha and ", call)
    insert("cli/inspection.py", "", f"\n\n{command}")
    insert("cli/main.py", r"\n\nclass LazyGroup", f"\n{listing}")

    def run(*args: object) -> str:
        """Run a command of the changed package."""
        argv = [sys.executable, "-m", "dcase2018", *map(str, args)]
        result = subprocess.run(
            argv, cwd=package.parent, capture_output=True, text=True, timeout=300, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    run("extract", toy_pipeline.data / "audio_train", "narrow.h5", "--features", "narrow", "-j", 1)
    fit = ("fit", "narrow.h5", toy_pipeline.fit_labels)
    for name, fraction in (("plain", 0), ("reversed", 0.5)):
        settings = ("--preset", "tiny", "--hparams", f"lr=0.01,time_reversal={fraction}")
        run(*fit, name, "--max-steps", 3, *settings)
    description = run("info", "reversed")
    assert "reversed: tiny, " in description
    assert re.search(r"time_reversal = 0\.5  <- tiny: 0\.0\n", description)
    assert re.search(r"mel_bands = 32\n", description)
    models = [
        keras.saving.load_model(package.parent / name / "model.keras") for name in ("plain", "reversed")
    ]
    plain, changed = (model.get_weights()[0] for model in models)
    assert plain.shape == (3, 3, 1, 8)
    assert not np.array_equal(plain, changed)
    assert "time_reversal=0.0" in run("fit", "-h")
    assert int(run("count-frames", "narrow.h5")) > 0
    assert "count-frames" in run("--help")


def test_notebook_has_no_outputs() -> None:
    notebook = json.loads(read("examples/quickstart.ipynb"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    score = re.search(r"MAP@3 ([\d.]+)", printed)
    assert score
    assert 0.5 < float(score[1]) <= 1
    shown = [kind for output in outputs if "data" in output for kind in output.data]
    assert "image/png" in shown
    assert sum("<audio" in output.data.get("text/html", "") for output in outputs if "data" in output) == 2
