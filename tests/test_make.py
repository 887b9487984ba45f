"""`make`, by running it: from a folder of sounds to a tagger; settings that always take effect."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, noise, write_wav

LEAST = ("PRESET=quick", "FIT_FLAGS=--epochs 2")


def make(project: Path, *args: str, code: int = 0) -> str:
    """Run make in a project; return what it says, on both streams."""
    done = subprocess.run(
        ["make", *args], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def steps(project: Path, *args: str) -> list[str]:
    """The commands that make would run, by their first words."""
    lines = [line for line in make(project, "-n", *args).splitlines() if ".venv/bin/dcase2018" in line]
    return [line.split(".venv/bin/dcase2018 ")[1].split()[0] for line in lines]


@pytest.mark.slow
def test_from_a_folder_of_sounds_to_a_tagger(project: Path, class_folders: Path) -> None:
    said = make(project, "submission", f"DATASET={class_folders}", "PRESET=quick")
    assert "features/sounds/labels.csv: 60 clips of 3 classes, 20 each\n" in said
    assert "held out to test: features/sounds/validation.csv\n" in said
    score = float(said.splitlines()[-1].removeprefix("MAP@3 on 12 test clips: "))
    assert score > 0.9  # by chance 0.61
    run = project / "runs" / "sounds" / "quick"
    held_out = pd.read_csv(project / "features" / "sounds" / "validation.csv")
    assert held_out["label"].value_counts().to_dict() == {"high": 4, "low": 4, "white_noise": 4}
    submission = pd.read_csv(run / "submission.csv")
    assert submission["fname"].tolist() == held_out["fname"].tolist()
    assert steps(project, "submission", f"DATASET={class_folders}", "PRESET=quick") == []


@pytest.mark.slow
def test_what_depends_on_a_setting_is_made_anew_and_nothing_else(project: Path) -> None:
    for part in ("audio_train", "audio_test"):
        for seed, name in enumerate("abcd"):
            write_wav(project / "c" / part / f"{name}.wav", noise(9000, seed))
    rows = [f"{name}.wav,{'AB'[i % 2]},{i // 2}" for i, name in enumerate("abcd")]
    (project / "c" / "train.csv").write_text("\n".join(["fname,label,manually_verified", *rows, ""]))
    make(project, "submission", "DATASET=c", *LEAST)
    submission = project / "runs" / "c" / "quick-epochs-2" / "submission.csv"
    assert len(pd.read_csv(submission)) == 4
    finished = submission.stat().st_mtime_ns
    assert steps(project, "submission", "DATASET=c", *LEAST) == []
    for same in ("DATASET=./c", f"DATASET={project}//c/.", "DATASET=c/"):
        assert steps(project, "submission", same, *LEAST) == []

    assert steps(project, "submission", "DATASET=c", "SEED=1", *LEAST) == ["fit", "predict"]
    assert steps(project, "submission", "DATASET=c", "PRESET=quick") == ["fit", "predict"]
    assert steps(project, "submission", "DATASET=c", "PRESET=compact") == [
        "extract",
        "extract",
        "fit",
        "predict",
    ]
    assert steps(project, "submission", "DATASET=c", "PRESET=compact-clean") == [
        "extract",
        "extract",
        "fit",
        "suspects",
        "relabel",
        "fit",
        "predict",
    ]
    other = ("EXTRACT_FLAGS=--hparams mel_bands=32", *LEAST)
    assert steps(project, "submission", "DATASET=c", *other) == ["extract", "extract", "fit", "predict"]
    make(project, "submission", "DATASET=c", "SEED=1", *LEAST)
    make(project, "submission", "DATASET=c", *other)
    assert sorted(path.name for path in (project / "runs" / "c").iterdir()) == [
        "dataset.txt", "quick-epochs-2", "quick-mel_bands-32-epochs-2", "quick-seed-1-epochs-2",
    ]  # fmt: skip
    assert submission.stat().st_mtime_ns == finished

    (project / "c" / "train.csv").touch()
    assert steps(project, "submission", "DATASET=c", *LEAST) == ["fit", "predict"]
    write_wav(project / "c" / "audio_test" / "a.wav", noise(8000))
    changed = steps(project, "features", "DATASET=c", *LEAST)
    assert changed == ["extract"]


@pytest.mark.slow
def test_a_report_of_ones_own_sounds(project: Path, class_folders: Path) -> None:
    said = make(project, "report", f"DATASET={class_folders}", "PRESET=quick")
    page = project / "runs" / "sounds" / "quick" / "report" / "index.html"
    assert said.splitlines()[-1] == f"report: {page}"
    assert "<audio controls" in page.read_text()
    assert steps(project, "report", f"DATASET={class_folders}", "PRESET=quick") == []


def test_another_corpus_of_the_same_name_is_refused(project: Path) -> None:
    for place in ("a", "b"):
        for seed, name in enumerate(("x/1.wav", "x/2.wav", "y/1.wav", "y/2.wav")):
            write_wav(project / place / "c" / name, noise(9000, seed))
    make(project, "features", "DATASET=a/c")
    said = make(project, "features", "DATASET=b/c", code=2)
    assert f"features/c/ is of {project}/a/c, not of {project}/b/c; give another name: NAME=..." in said
    make(project, "features", "DATASET=b/c", "NAME=other")
    assert (project / "features" / "other" / "logmel96" / "clips.h5").exists()


def test_a_clip_that_is_added_to_ones_own_folder_is_noticed(project: Path) -> None:
    for seed, name in enumerate(("x/1.wav", "x/2.wav", "y y/1.wav", "y y/2.wav")):
        write_wav(project / "c" / name, noise(9000, seed))
    make(project, "features", "DATASET=c")
    assert steps(project, "features", "DATASET=c") == []
    time.sleep(0.01)  # a file system's clock ticks
    write_wav(project / "c" / "y y" / "3.wav", noise(9000, 7))
    assert "5 clips of 2 classes" in make(project, "features", "DATASET=c")
    assert steps(project, "features", "DATASET=c") == []


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("PRESET=fast", "PRESET=fast is none of compact compact-clean large baseline quick yamnet"),
        ("DATASET=a b", 'DATASET="a b" is no path without spaces; give a link to it'),
        ("DATASET=none", "DATASET=none is no folder, nor demo or fsdkaggle2018"),
        ("DATASET=kaggle", "lacks audio_test"),
        ("DATASET=zenodo", "lacks FSDKaggle2018.audio_train"),
    ],
)
def test_wrong_arguments_are_said_clearly(project: Path, argument: str, message: str) -> None:
    (project / "kaggle" / "audio_train").mkdir(parents=True)
    (project / "zenodo" / "FSDKaggle2018.meta").mkdir(parents=True)
    assert message in make(project, "submission", argument, code=2)


def test_labels_are_corrected_only_where_it_is_known_which_are_verified(project: Path) -> None:
    (project / "sounds" / "class").mkdir(parents=True)
    said = make(project, "submission", "DATASET=sounds", "PRESET=compact-clean", code=2)
    assert "features/sounds/train.csv does not tell which (manually_verified)" in said


def test_a_python_is_looked_for(project: Path) -> None:
    (project / ".venv" / ".installed").unlink()
    said = make(project, "venv", "PYTHON=python0.1 no-such-python", code=2)
    assert "no Python from 3.11 to 3.13 with venv among: python0.1 no-such-python; install one" in said


@pytest.mark.slow
def test_an_interrupted_make_keeps_what_was_published_and_goes_on(project: Path, class_folders: Path) -> None:
    run = project / "runs" / "sounds" / "quick-epochs-40"
    arguments = ["submission", f"DATASET={class_folders}", "PRESET=quick", "FIT_FLAGS=--epochs 40"]
    for waited_for in ("features/sounds/baseline/clips.h5", "runs/sounds/quick-epochs-40/checkpoints"):
        process = subprocess.Popen(["make", *arguments], cwd=project, start_new_session=True)
        while not (project / waited_for).exists():
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to make and to what it runs
        assert process.wait(60) in (2, -signal.SIGINT)
        assert (project / waited_for).exists()
    store = (project / "features" / "sounds" / "baseline" / "clips.h5").stat().st_mtime_ns
    make(project, *arguments)
    assert (run / "submission.csv").exists()
    assert (project / "features" / "sounds" / "baseline" / "clips.h5").stat().st_mtime_ns == store
    assert steps(project, *arguments) == []


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_pinned_versions_are_there_for_every_python(python: str, tmp_path: Path) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [
        name for extra in extras.values() for name in extra if not name.startswith("dcase2018[")
    ]
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--target", tmp_path,
            "--python-version", python, "--only-binary", ":all:", "--constraint", ROOT / "constraints.txt",
            *wanted,
        ],
        check=True,
    )  # fmt: skip
