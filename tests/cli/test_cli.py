"""Help and wrong use of the commands: one line, the right exit code, no partial output."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import BASELINE, ToyPipeline, dcase, list_dir, noise, run_fails, run_ok, write_wav

from dcase2018.cli.main import COMMANDS, main
from dcase2018.features.config import FeatureConfig
from dcase2018.features.extraction import extract
from dcase2018.runs.run import Run

NAMES = [name for commands in COMMANDS.values() for name in commands]


def test_help_lists_the_commands_in_four_groups() -> None:
    sections = run_ok("--help").rstrip().split("\n\n")[-4:]
    assert [section.splitlines()[0] for section in sections] == [f"{heading}:" for heading in COMMANDS]
    lines = [line for section in sections for line in section.splitlines()[1:]]
    assert [line.split()[0] for line in lines] == NAMES


def test_version_is_printed() -> None:
    assert run_ok("--version").startswith("dcase2018, version ")


@pytest.mark.parametrize("name", NAMES)
def test_help_has_arguments_and_an_example(name: str) -> None:
    command = main.get_command(None, name)
    assert command
    assert command.name == name
    output = run_ok(name, "-h")
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name_in_help = parameter.human_readable_name.strip("[].")
            assert output.count(name_in_help) >= 2  # in the usage and in the description
    assert f"  dcase2018 {name} " in output.split("Example")[1]


def test_summaries_fit_in_a_line() -> None:
    summaries = [summary for commands in COMMANDS.values() for _, summary in commands.values()]
    assert all(len(summary) <= 55 and summary.endswith(".") for summary in summaries)


def test_unknown_command_suggests_the_nearest() -> None:
    assert "No such command 'extrakt'; did you mean extract?" in run_fails(2, "extrakt")
    assert run_fails(2, "zzz").endswith("No such command 'zzz'.\n")


def test_fit_refuses_a_hyperparameter_of_the_features(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    message = run_fails(
        2, "fit", toy_pipeline.train, toy_pipeline.labels, tmp_path / "run", "--hparams", "mel_bands=96"
    )
    assert message == (
        "dcase2018: --hparams mel_bands does not belong here:"
        " it is fixed in the store; run dcase2018 extract --hparams mel_bands=...\n"
    )
    assert not (tmp_path / "run").exists()


def test_extract_refuses_a_hyperparameter_of_training(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    message = run_fails(
        2, "extract", toy_pipeline.data / "audio_test", tmp_path / "s.h5", "--hparams", "lr=1"
    )
    assert "lr does not belong here: it belongs to training; pass it to dcase2018 fit" in message


def test_fit_refuses_invalid_inputs(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    unknown = tmp_path / "unknown.csv"
    unknown.write_text("fname,label\nnowhere.wav,Bark\n")
    assert ": 'nowhere.wav'; correct the names, or run dcase2018 extract" in run_fails(
        2, "fit", toy_pipeline.train, unknown, run
    )
    assert "lr=quick is not a number" in run_fails(
        2, "fit", toy_pipeline.train, toy_pipeline.labels, run, "--hparams", "lr=quick"
    )
    assert "is not a feature store of format 3; name one, or" in run_fails(
        2, "fit", toy_pipeline.labels, toy_pipeline.labels, run
    )
    growls = tmp_path / "growls.csv"
    growls.write_text("fname,label\nnowhere.wav,Growl\n")
    message = run_fails(2, "fit", toy_pipeline.train, toy_pipeline.labels, run, "--validation", growls)
    assert "line 2: label 'Growl' is not among the 41 classes" in message
    assert not run.exists()


def test_fit_overwrites_no_other_run_and_no_other_folder(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    message = run_fails(
        2, "fit", toy_pipeline.train, toy_pipeline.labels, toy_pipeline.run, "--hparams", "batch_size=32"
    )
    assert f"{toy_pipeline.run} holds another run (--model cnn, not mlp; other training clips, " in message
    assert " labels or frames in LABELS and STORE; --validation is missing; --hparams batch_size" in message
    assert "; --hparams weights_init_stddev=0.001, not 0.05; --hparams lr=0.0001, not 0.001)" in message
    assert "name another folder, or replace it with --overwrite" in message
    other = ("--preset", "compact", "--any-features")
    message = run_fails(2, "fit", toy_pipeline.train, toy_pipeline.labels, toy_pipeline.run, *other)
    assert len(message) < 1000
    assert re.search(
        r"holds another run \(--model compact, not mlp; .* and \d+ more\); name another", message
    )
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "exists and is not a run; name another folder" in run_fails(
        2, "fit", toy_pipeline.train, toy_pipeline.labels, tmp_path, "--overwrite"
    )
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_evaluate_refuses_labels_of_other_classes(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("fname,label\na.wav,Growl\n")
    message = run_fails(2, "evaluate", toy_pipeline.test, labels, toy_pipeline.run)
    assert "label 'Growl' is not among" in message


def test_evaluate_refuses_an_unknown_output_format(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    inputs = (toy_pipeline.test, toy_pipeline.test_labels, toy_pipeline.run)
    message = run_fails(2, "evaluate", *inputs, "-o", tmp_path / "t.xls")
    assert "must end in .csv or .json" in message


def test_predict_refuses_a_sample_with_a_clip_that_the_store_lacks(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    sample, submission = tmp_path / "sample.csv", tmp_path / "s.csv"
    sample.write_text(toy_pipeline.sample.read_text() + "zz.wav,Laughter Hi-Hat Flute\n")
    message = run_fails(
        2, "predict", toy_pipeline.test, toy_pipeline.run, "-o", submission, "--sample-submission", sample
    )
    assert ": 'zz.wav'; correct the names" in message
    assert not submission.exists()


def test_predict_names_the_fields_in_which_feature_configs_differ(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    write_wav(tmp_path / "clips" / "a.wav", noise(44100))
    other = tmp_path / "other.h5"
    extract(tmp_path / "clips", other, FeatureConfig(mel_bands=96))
    message = run_fails(2, "predict", other, toy_pipeline.run, "-o", tmp_path / "s.csv")
    assert f"has another feature config than the run {toy_pipeline.run}: mel_bands=96, not 64" in message


def test_predict_refuses_a_folder_that_is_not_a_run(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    command = ("predict", toy_pipeline.test, tmp_path, "-o", tmp_path / "s.csv")
    assert "holds no run; dcase2018 fit makes one" in run_fails(2, *command)
    (tmp_path / "run.json").write_text('{"format": 3')
    assert "is damaged" in run_fails(2, *command)


def copy_run(toy_pipeline: ToyPipeline, path: Path) -> Path:
    shutil.copytree(toy_pipeline.run, path)
    return path


@pytest.mark.slow
def test_predict_lists_the_checkpoints_of_an_unfinished_run(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    run = copy_run(toy_pipeline, tmp_path / "run")
    command = ("predict", toy_pipeline.test, run, "-o", tmp_path / "s.csv")
    (run / "model.keras").unlink()
    steps = Run.load(run).checkpoints
    assert len(steps) == 3
    assert f"--checkpoint takes the steps {', '.join(map(str, steps))}" in run_fails(2, *command)
    run_ok(*command, "--checkpoint", steps[0])
    (run / "best.keras").unlink()
    message = run_fails(2, *command, "--checkpoint", "best")
    assert "best.keras does not exist; dcase2018 fit writes it if it has --validation" in message
    assert "'last' is neither a step nor best" in run_fails(2, *command, "--checkpoint", "last")


def test_predict_refuses_an_ensemble_of_different_classes(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = copy_run(toy_pipeline, tmp_path / "run")
    values = json.loads((run / "run.json").read_text())
    values["classes"][0] = "Growl"
    (run / "run.json").write_text(json.dumps(values))
    message = run_fails(2, "predict", toy_pipeline.test, toy_pipeline.run, run, "-o", tmp_path / "s.csv")
    assert "Acoustic_guitar, Growl" in message


@pytest.mark.slow
def test_predict_refuses_damaged_and_unsafe_models(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = copy_run(toy_pipeline, tmp_path / "run")
    command = ("predict", toy_pipeline.test, run, "-o", tmp_path / "s.csv")
    model = run / "model.keras"
    content = model.read_bytes()
    model.write_bytes(content[: len(content) // 2])
    assert "model.keras is damaged or incomplete" in run_fails(2, *command)

    # A layer that would execute code of the file when it is loaded.
    with zipfile.ZipFile(toy_pipeline.run / "model.keras") as source, zipfile.ZipFile(model, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                code = {"class_name": "__lambda__", "config": {"value": "4wEA"}}
                config["config"]["layers"][1] = {
                    "module": "keras.layers", "class_name": "Lambda", "registered_name": None,
                    "config": {"name": "evil", "function": code}, "name": "evil",
                    "inbound_nodes": config["config"]["layers"][1]["inbound_nodes"],
                }  # fmt: skip
                data = json.dumps(config).encode()
            target.writestr(name, data)
    assert "model.keras is not a Keras model of standard layers" in run_fails(2, *command)
    assert not (tmp_path / "s.csv").exists()


def test_no_command_overwrites_an_input(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    labels, scores = tmp_path / "train.csv", tmp_path / "s.csv"
    shutil.copy(toy_pipeline.labels, labels)
    predict = ("predict", toy_pipeline.test, toy_pipeline.run)
    for command in (
        ("class-map", labels, labels),
        ("split", labels, tmp_path),
        ("evaluate", toy_pipeline.test, labels, toy_pipeline.run, "-o", labels),
        (*predict, "-o", labels, "--sample-submission", labels),
        (*predict, "-o", scores, "--scores-output", scores),
    ):
        assert "is an input and would be overwritten; choose another file" in run_fails(2, *command)
    assert labels.read_bytes() == toy_pipeline.labels.read_bytes()
    assert list_dir(tmp_path) == ["train.csv"]


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert "Directory" in run_fails(2, "extract", tmp_path / "none", tmp_path / "s.h5")
    assert "does not exist" in run_fails(2, "info", tmp_path / "none.h5")
    (tmp_path / "empty").mkdir()
    message = run_fails(2, "extract", tmp_path / "empty", tmp_path / "s.h5")
    assert "empty has no audio files, such as .wav" in message


def test_fit_requires_clips_with_frames(tmp_path: Path) -> None:
    write_wav(tmp_path / "clips" / "a.wav", noise(0))
    extract(tmp_path / "clips", tmp_path / "s.h5", BASELINE)
    labels = tmp_path / "l.csv"
    labels.write_text("fname,label\na.wav,Bark\n")
    message = run_fails(2, "fit", tmp_path / "s.h5", labels, tmp_path / "run")
    assert "none of the labelled clips has frames" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_clips_that_the_store_lacks_are_skipped_on_request(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    labels, run = tmp_path / "l.csv", tmp_path / "run"
    lines = toy_pipeline.test_labels.read_text().splitlines()
    labels.write_text("\n".join([*lines, lines[1].replace(lines[1].split(",")[0], "gone.wav")]) + "\n")
    train = ("fit", toy_pipeline.test, labels, run, "--preset", "quick", "--epochs", 1)
    score = ("evaluate", toy_pipeline.test, labels, toy_pipeline.run)
    show = ("report", toy_pipeline.test, labels, toy_pipeline.run, "-o", tmp_path / "report")
    other = shutil.copytree(toy_pipeline.run, tmp_path / "other")
    contrast = ("compare", toy_pipeline.test, labels, toy_pipeline.run, other)
    submit = ("predict", toy_pipeline.test, other, "-o", tmp_path / "s.csv", "--sample-submission", labels)
    for command in (train, score, show, contrast, submit):
        assert "clips are not in" in run_fails(2, *command)
        done = dcase(*command, "--missing", "skip")
        assert done.returncode == 3, done.stderr
        assert done.stdout.endswith(f"skipped: gone.wav: not in {toy_pipeline.test}\n")
    labels.write_text("\n".join([lines[0], lines[1].replace(lines[1].split(",")[0], "gone.wav")]) + "\n")
    assert len((tmp_path / "s.csv").read_text().splitlines()) == len(lines)
    message = run_fails(2, *score, "--missing", "skip")
    assert f"none of the 1 clips is in {toy_pipeline.test}; is it the right one?" in message
