"""`dcase2018 run`, and `make`, which calls it: from class folders to a tagger, without needless work."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, dcase, noise, write_wav

from dcase2018.cli.build import has_newer_entry, run_child
from dcase2018.cli.datasets import Dataset
from dcase2018.cli.pipeline import Pipeline, read_overall, slug

QUICK = ("--preset", "quick", "--fit-flags", "--epochs 2")


def make(project: Path, *args: str, code: int = 0) -> str:
    """Run make in a project; return its output on both streams."""
    done = subprocess.run(
        ["make", *args], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def run(project: Path, *args: str, code: int = 0) -> str:
    """Run the pipeline in a project; return its standard output, or its errors if it must fail."""
    done = dcase("run", *args, cwd=project)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stderr if code else done.stdout


def pending(project: Path, *args: str) -> list[str]:
    """Return the names of the commands that the pipeline would run."""
    lines = run(project, *args, "--dry-run").splitlines()
    return [line.split()[1] for line in lines if line.startswith("dcase2018 ")]


@pytest.fixture
def kaggle_dataset(project: Path) -> Path:
    """Four training and four test clips in Kaggle's layout, in a folder with a space in its name."""
    folder = project / "my clips"
    for audio in ("audio_train", "audio_test"):
        for seed, name in enumerate("abcd"):
            write_wav(folder / audio / f"{name}.wav", noise(9000, seed))
    rows = [f"{name}.wav,{'AB'[i % 2]},{i // 2}" for i, name in enumerate("abcd")]
    (folder / "train.csv").write_text("\n".join(["fname,label,manually_verified", *rows, ""]))
    return folder


@pytest.mark.slow
def test_make_trains_a_tagger_on_class_folders(project: Path, class_folders: Path) -> None:
    dataset = ("--dataset", str(class_folders), "--preset", "quick")
    output = make(project, "submission", f"DATASET={class_folders}", "PRESET=quick")
    assert "features/sounds/labels.csv: 60 clips, 3 classes, 20 clips per class\n" in output
    assert "held out to test: features/sounds/validation.csv\n" in output
    assert "submission: runs/sounds/quick/submission.csv\n" in output
    score = float(output.splitlines()[-1].removeprefix("MAP@3 on 12 test clips: ").partition(",")[0])
    assert score > 0.9  # by chance 0.61
    held_out = pd.read_csv(project / "features" / "sounds" / "validation.csv")
    assert held_out["label"].value_counts().to_dict() == {"high": 4, "low": 4, "white_noise": 4}
    submission = pd.read_csv(project / "runs" / "sounds" / "quick" / "submission.csv")
    assert submission["fname"].tolist() == held_out["fname"].tolist()
    assert pending(project, "submission", *dataset) == []


@pytest.mark.slow
def test_a_changed_setting_reruns_only_what_depends_on_it(project: Path, kaggle_dataset: Path) -> None:
    dataset = ("submission", "--dataset", "my clips")
    run(project, *dataset, *QUICK)
    runs = project / "runs" / "my clips"
    submission = runs / "quick-epochs-2" / "submission.csv"
    assert len(pd.read_csv(submission)) == 4
    finished = submission.stat().st_mtime_ns
    for same_folder in ("my clips", "./my clips", f"{project}//my clips/.", "my clips/"):
        assert pending(project, "submission", "--dataset", same_folder, *QUICK) == []

    extract = ["extract", "extract"]
    assert pending(project, *dataset, "--seed", "1", *QUICK) == ["fit", "predict"]
    assert pending(project, *dataset, "--preset", "quick") == ["fit", "predict"]
    assert pending(project, *dataset, "--preset", "compact") == [*extract, "fit", "predict"]
    label_correction = ["fit", "find-label-issues", "correct-labels"]
    assert pending(project, *dataset, "--preset", "compact-clean") == [
        *extract, *label_correction, "fit", "predict",
    ]  # fmt: skip
    other_features = (*dataset, "--extract-flags", "--hparams mel_bands=32", *QUICK)
    assert pending(project, *other_features) == [*extract, "fit", "predict"]
    run(project, *dataset, "--seed", "1", *QUICK)
    run(project, *other_features)
    assert sorted(path.name for path in runs.iterdir()) == [
        ".dataset-path", "quick-epochs-2", "quick-mel_bands-32-epochs-2", "quick-seed-1-epochs-2",
    ]  # fmt: skip
    assert submission.stat().st_mtime_ns == finished

    (kaggle_dataset / "train.csv").touch()
    assert pending(project, *dataset, *QUICK) == ["fit", "predict"]
    write_wav(kaggle_dataset / "audio_test" / "a.wav", noise(8000))
    assert pending(project, "features", *dataset[1:], *QUICK) == ["extract"]


@pytest.mark.slow
def test_a_label_file_with_the_same_labels_is_not_trained_again(project: Path, kaggle_dataset: Path) -> None:
    dataset = ("train", "--dataset", "my clips", *QUICK)
    run(project, *dataset)
    (kaggle_dataset / "train.csv").touch()
    assert "nothing to do" in run(project, *dataset)
    assert run(project, *dataset, "--dry-run") == "train is up to date\n"


@pytest.mark.slow
def test_report_of_class_folders_contains_audio(project: Path, class_folders: Path) -> None:
    output = make(project, "report", f"DATASET={class_folders}", "PRESET=quick")
    page = project / "runs" / "sounds" / "quick" / "report" / "index.html"
    assert output.splitlines()[-1] == f"report: {page}"
    assert "<audio controls" in page.read_text()
    assert pending(project, "report", "--dataset", str(class_folders), "--preset", "quick") == []


def test_demo_is_synthesized_and_compact_presets_train_it_for_50_epochs(project: Path) -> None:
    lines = run(project, "submission", "--preset", "compact-clean", "-n").splitlines()
    assert [line.split()[1] for line in lines] == [
        "synthesize", "extract", "extract", "fit", "find-label-issues", "correct-labels", "fit",
        "predict", "evaluate",
    ]  # fmt: skip
    fit_folds, fit = (line for line in lines if line.startswith("dcase2018 fit"))
    assert fit_folds.endswith(" --overwrite --folds 5 --epochs 50 --hparams label_refinement_every=0")
    assert fit.endswith(" --preset compact-clean --seed 0 --overwrite --epochs 50")
    assert not (project / "features").exists()


def test_data_is_downloaded_if_it_is_missing(project: Path) -> None:
    data = project / "data" / "fsdkaggle2018"
    assert pending(project, "data", "--dataset", "fsdkaggle2018") == ["download"]
    for folder in ("audio_train", "audio_test", "meta"):
        (data / f"FSDKaggle2018.{folder}").mkdir(parents=True)
    for name in ("train_post_competition.csv", "test_post_competition_scoring_clips.csv"):
        (data / "FSDKaggle2018.meta" / name).touch()
    assert pending(project, "data", "--dataset", "fsdkaggle2018") == []


@pytest.mark.slow
def test_another_dataset_of_the_same_name_is_refused(project: Path) -> None:
    for parent in ("a", "b"):
        for seed, name in enumerate(("x/1.wav", "x/2.wav", "y/1.wav", "y/2.wav")):
            write_wav(project / parent / "c" / name, noise(9000, seed))
    make(project, "features", "DATASET=a/c")
    assert f"features/c belongs to {project}/a/c, not to {project}/b/c; choose another name: --name" in make(
        project, "features", "DATASET=b/c", code=2
    )
    make(project, "features", "DATASET=b/c", "DATASET_NAME=other")
    assert (project / "features" / "other" / "logmel96" / "clips.h5").exists()


@pytest.mark.slow
def test_an_added_clip_is_extracted(project: Path) -> None:
    dataset = ("features", "--dataset", "c")
    for seed, name in enumerate(("x/1.wav", "x/2.wav", "y y/1.wav", "y y/2.wav")):
        write_wav(project / "c" / name, noise(9000, seed))
    run(project, *dataset)
    assert pending(project, *dataset) == []
    time.sleep(0.01)  # exceeds the resolution of file times
    write_wav(project / "c" / "y y" / "3.wav", noise(9000, 7))
    assert "5 clips, 2 classes" in run(project, *dataset)
    assert pending(project, *dataset) == []


def test_skipped_clips_do_not_stop_the_pipeline(project: Path, kaggle_dataset: Path) -> None:
    (kaggle_dataset / "audio_train" / "broken.wav").write_bytes(b"RIFF")
    run(project, "features", "--dataset", "my clips")
    assert pending(project, "features", "--dataset", "my clips") == []


def test_a_failed_command_ends_the_pipeline_with_its_exit_code(project: Path, kaggle_dataset: Path) -> None:
    (kaggle_dataset / "audio_train" / "broken.wav").write_bytes(b"RIFF")
    errors = run(project, "features", "--dataset", "my clips", "--extract-flags", "--strict", code=1)
    assert "broken.wav" in errors
    run(project, "features", "--dataset", "my clips", "--extract-flags", "--no-such-option", code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "fast"), "'fast' is unknown; allowed: baseline, quick, compact, compact-clean,"),
        (("--dataset", "none"), "'none' is not a folder; allowed are demo, fsdkaggle2018 and a folder"),
        (("--dataset", "kaggle"), "kaggle lacks audio_test, train.csv"),
        (("--dataset", "zenodo"), "zenodo lacks FSDKaggle2018.audio_train, FSDKaggle2018.audio_test"),
        (("--dataset", "/"), "--name '' is not the name of a folder"),
        (("--fit-flags", "'--epochs"), "cannot be split into options: No closing quotation"),
    ],
)
def test_wrong_arguments_are_refused(project: Path, arguments: tuple[str, ...], message: str) -> None:
    (project / "kaggle" / "audio_train").mkdir(parents=True)
    (project / "zenodo" / "FSDKaggle2018.meta").mkdir(parents=True)
    assert message in run(project, "submission", *arguments, code=2)
    assert not (project / "features").exists()


def test_make_passes_quotes_and_spaces_unchanged(project: Path) -> None:
    output = make(project, "submission", "DATASET=no  such folder", "PRESET=quick", code=2)
    assert "'no  such folder' is not a folder" in output
    output = make(project, "submission", """FIT_FLAGS=--hparams "lr=1" '""", code=2)
    assert """'--hparams "lr=1" \\'' cannot be split into options""" in output


def test_make_passes_a_dollar_sign_unchanged(project: Path) -> None:
    name = "$(shell touch executed)$HOME$$"
    output = make(project, "submission", f"DATASET=a{name}", "PRESET=quick", code=2)
    assert f"'a{name}' is not a folder" in output
    assert not (project / "executed").exists()


@pytest.mark.parametrize("missing", [("train.csv",), ("validation.csv",), ("train.csv", "validation.csv")])
def test_an_interrupted_split_is_repeated(project: Path, missing: tuple[str, ...]) -> None:
    for label in "ab":
        for clip in range(5):
            write_wav(project / "sounds" / label / f"{clip}.wav", noise(400, clip + 5 * (label == "b")))
    run(project, "data", "--dataset", "sounds")
    folder = project / "features" / "sounds"
    for name in missing:
        (folder / name).unlink()
    run(project, "data", "--dataset", "sounds")
    train, held_out = (set(pd.read_csv(folder / name)["fname"]) for name in ("train.csv", "validation.csv"))
    assert (len(train), len(held_out), train & held_out) == (8, 2, set())


def test_make_prints_its_targets(project: Path) -> None:
    output = make(project)
    for target in ("data", "features", "train", "submission", "report", "export", "serve", "docs", "clean"):
        assert f"\n  {target} " in output


def test_report_requires_labels_of_the_test_clips(project: Path, kaggle_dataset: Path) -> None:
    errors = run(project, "report", "--dataset", "my clips", code=2)
    assert "a report needs labels of the test clips, but" in errors


def test_label_correction_requires_a_column_of_verified_labels(project: Path) -> None:
    (project / "sounds" / "class").mkdir(parents=True)
    errors = run(project, "submission", "--dataset", "sounds", "--preset", "compact-clean", code=2)
    assert "features/sounds/train.csv has no column manually_verified" in errors


def test_make_looks_for_a_supported_python(project: Path) -> None:
    (project / ".venv" / ".installed").unlink()
    output = make(project, "venv", "PYTHON=python0.1 no-such-python", code=2)
    assert "no Python from 3.11 to 3.13 with venv among: python0.1 no-such-python; install one" in output


FAKE_PIP = '#!/bin/sh\necho "pip $@"\n'


def test_installation_is_announced_and_shows_progress_on_a_terminal_only(project: Path) -> None:
    pip = project / ".venv" / "bin" / "pip"
    pip.write_text(FAKE_PIP)
    pip.chmod(0o755)
    (project / ".venv" / ".installed").unlink()
    output = make(project, "venv", "PYTHON=true")
    assert "installing dcase2018, TensorFlow and what they need in .venv: about 70 packages" in output
    assert "3 GB on disk, some minutes" in output
    assert output.endswith("pip install --quiet --constraint constraints.txt --editable .\n")
    target = ".venv/.installed-serve"
    command = ["script", "--quiet", "--return", "--command", f"make {target}", "/dev/null"]
    on_terminal = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
    assert "the packages of the extra 'serve' in .venv" in on_terminal
    assert "pip install --constraint constraints.txt --editable .[serve]" in on_terminal


def test_validation_holds_out_clips_in_folders_of_their_own(project: Path, kaggle_dataset: Path) -> None:
    dataset = ("--dataset", "my clips", "--preset", "quick")
    plain = run(project, "train", *dataset, "-n")
    assert "--validation" not in plain
    lines = run(project, "train", *dataset, "-n", "--validation", "0.50", "--seed", "3").splitlines()
    folder = "features/my clips/split-seed-3-validation-0.5"
    split, fit = (shlex.split(line) for line in lines[-2:])
    content = f"{kaggle_dataset}/audio_train"
    options = ["--fraction", "0.5", "--content", content, "--seed", "3"]
    assert split[1:] == ["split", f"{kaggle_dataset}/train.csv", folder, *options]
    assert fit[3:5] == [f"{folder}/train.csv", "runs/my clips/quick-seed-3-validation-0.5"]
    assert fit[-2:] == ["--validation", f"{folder}/validation.csv"]
    for flags in ("--folds 3", "--fold-column x", "--validation v.csv", "--validation=v.csv"):
        message = run(project, "train", *dataset, "--validation", "0.1", "--fit-flags", flags, code=2)
        assert "--validation 0.1 holds out training clips, and --fit-flags has" in message
    assert "invalid" in make(project, "train", "VALIDATION=some", code=2).lower()


def test_label_correction_does_not_train_on_held_out_clips() -> None:
    dataset = Dataset(Path("d"), Path("d/a"), Path("d/b"), Path("d/train.csv"), None)
    pipeline = Pipeline("d", "d", "compact-clean", 0, 0.1, "onnx", (), (), "")
    commands = [command for rule in pipeline.rules(dataset) for command in rule.commands]
    reads_all = [command[0] for command in commands if "d/train.csv" in command]
    assert reads_all == ["split"]
    fits = [command for command in commands if command[0] == "fit"]
    assert ["--validation" in command for command in fits] == [False, True]


@pytest.mark.slow
def test_held_out_clips_give_a_best_model_and_a_calibration(project: Path, kaggle_dataset: Path) -> None:
    rows = (kaggle_dataset / "train.csv").read_text().replace(",0\n", ",1\n")
    (kaggle_dataset / "train.csv").write_text(rows)
    arguments = ("train", "--dataset", "my clips", *QUICK, "--validation", "0.5")
    run(project, *arguments)
    folder = project / "runs" / "my clips" / "quick-validation-0.5-epochs-2"
    assert {"best.keras", "calibration.json"} <= {path.name for path in folder.iterdir()}
    assert "map3" in (folder / "history.csv").read_text().splitlines()[0]
    assert pending(project, *arguments) == []
    (kaggle_dataset / "train.csv").touch()
    assert pending(project, *arguments) == ["split", "fit"]


def test_features_that_are_chosen_by_a_flag_are_accepted(project: Path, kaggle_dataset: Path) -> None:
    flags = ("--extract-flags", "--features logmel96", "--preset", "quick", "-n")
    fit = run(project, "train", "--dataset", "my clips", *flags).splitlines()[-1]
    assert " --any-features" in fit


def test_flags_name_folders() -> None:
    assert slug([]) == ""
    assert slug(["--hparams", "lr=1e-3,nl=2", "--epochs", "5"]) == "-lr-1e-3-nl-2-epochs-5"
    assert slug(["--hparams", "a=-5"]) != slug(["--hparams", "a=5"])
    assert slug(["--pretrained", "../my runs/yamnet.h5"]) == "-pretrained-..-my-runs-yamnet.h5"


def test_overall_score_is_read_from_the_evaluation(tmp_path: Path) -> None:
    (tmp_path / "evaluation.csv").write_text(
        "part,label,n_clips,map3,ci_low,ci_high\nall,overall,12,0.9,0.8,1\nPublic,overall,4,0.5,0.4,0.6\n"
    )
    row = read_overall(tmp_path / "evaluation.csv")
    assert (row["n_clips"], row["map3"]) == ("12", "0.9")


def test_newer_entries_are_found_at_any_depth_and_behind_links(tmp_path: Path) -> None:
    folder, linked = tmp_path / "folder", tmp_path / "linked"
    (folder / "a" / "b").mkdir(parents=True)
    linked.mkdir()
    (folder / "a" / "link").symlink_to(linked)
    (folder / "a" / "circular").symlink_to(folder)
    (folder / "a" / "broken").symlink_to(tmp_path / "none")
    time.sleep(0.01)  # exceeds the resolution of file times
    (tmp_path / "stamp").touch()
    mtime_ns = (tmp_path / "stamp").stat().st_mtime_ns
    assert not has_newer_entry(folder, mtime_ns)
    time.sleep(0.01)
    (linked / "new").touch()
    assert has_newer_entry(folder, mtime_ns)


def test_sigterm_is_forwarded_to_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "os.kill(os.getppid(), signal.SIGTERM)\n"
        "time.sleep(30)\n"
    )
    (tmp_path / "python").write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path / 'child.py'}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert run_child(()) == 7


@pytest.mark.slow
def test_interrupted_make_keeps_finished_outputs_and_resumes(project: Path, class_folders: Path) -> None:
    run_dir = project / "runs" / "sounds" / "quick-epochs-40"
    arguments = ["submission", f"DATASET={class_folders}", "PRESET=quick", "FIT_FLAGS=--epochs 40"]
    for output in ("features/sounds/baseline/clips.h5", "runs/sounds/quick-epochs-40/checkpoints"):
        process = subprocess.Popen(["make", *arguments], cwd=project, start_new_session=True)
        while not (project / output).exists():
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to make and to its children
        assert process.wait(60) in (2, -signal.SIGINT)
        assert (project / output).exists()
    store = (project / "features" / "sounds" / "baseline" / "clips.h5").stat().st_mtime_ns
    make(project, *arguments)
    assert (run_dir / "submission.csv").exists()
    assert (project / "features" / "sounds" / "baseline" / "clips.h5").stat().st_mtime_ns == store
    flags = ("--preset", "quick", "--fit-flags", "--epochs 40")
    assert pending(project, "submission", "--dataset", str(class_folders), *flags) == []


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_pinned_versions_exist_for_every_python(python: str, tmp_path: Path) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + [
        name for extra in extras.values() for name in extra if not name.startswith("dcase2018[")
    ]
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--target", tmp_path,
            "--python-version", python, "--only-binary", ":all:", "--constraint", ROOT / "constraints.txt",
            *requirements,
        ],
        check=True,
    )  # fmt: skip


def test_groups_have_a_split_and_runs_of_their_own(project: Path) -> None:
    (project / "c").mkdir()
    lines = run(project, "train", "--dataset", "c", "--preset", "quick", "--groups-from", "{rec}_{n}", "-n")
    folder = "features/c/groups-from-{rec}_{n}"
    split, fit = (line for line in lines.splitlines() if line.split()[1] in ("split", "fit"))
    options = f"--fraction 0.2 --content {project / 'c'} --groups-from '{{rec}}_{{n}}'"
    assert split == f"dcase2018 split features/c/labels.csv '{folder}' {options}"
    assert f"'{folder}/train.csv' 'runs/c/quick-groups-from-{{rec}}_{{n}}'" in fit
    assert "--groups-from" not in fit


def test_groups_apply_to_folds_and_are_refused_without_effect(project: Path, kaggle_dataset: Path) -> None:
    flags = ("--dataset", "my clips", "--groups-from", "{rec}_{n}", "-n")
    assert "--groups-from has no effect: " in run(project, "train", *flags, "--preset", "quick", code=2)
    lines = run(project, "train", *flags, "--preset", "quick", "--fit-flags", "--folds 2").splitlines()
    assert lines[-1].endswith("--folds 2 --groups-from '{rec}_{n}'")
    lines = run(project, "train", *flags, "--preset", "compact-clean").splitlines()
    fit_folds, fit = (line for line in lines if line.split()[1] == "fit")
    assert fit_folds.endswith("--groups-from '{rec}_{n}'")
    assert "--groups-from" not in fit
