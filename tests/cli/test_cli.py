"""Wrong use of the commands: one line, the right exit code, nothing half-written."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import BASELINE, ToyPipeline, noise, run_fails, run_ok, write_wav

from dcase2018.cli.main import main
from dcase2018.features.config import FeatureConfig
from dcase2018.features.extraction import extract

COMMANDS = [
    "synthesize",
    "download",
    "labels",
    "class-map",
    "split",
    "extract",
    "info",
    "fit",
    "tune",
    "evaluate",
    "report",
    "predict",
    "score",
    "compare",
    "tag",
    "embed",
    "export",
    "serve",
    "plot",
    "suspects",
    "relabel",
]


def test_help_lists_the_commands_in_the_order_of_the_work() -> None:
    lines = run_ok("--help").split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == COMMANDS
    assert run_ok("--version").startswith("dcase2018, version ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_arguments_defaults_and_an_example(name: str) -> None:
    text = run_ok(name, "-h")
    command = main.commands[name]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            assert text.count(parameter.human_readable_name) >= 2  # in the usage and in the text
    assert f"  dcase2018 {name} " in text.split("Example")[1]


def test_a_hyperparameter_of_the_features_given_to_fit(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    message = run_fails(
        2, "fit", toy_pipeline.train, toy_pipeline.labels, tmp_path / "run", "--hparams", "mel_bands=96"
    )
    assert message == (
        "dcase2018: --hparams mel_bands does not belong here:"
        " it is fixed in the store; run dcase2018 extract --hparams mel_bands=...\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_hyperparameter_of_training_given_to_extract(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    message = run_fails(
        2, "extract", toy_pipeline.data / "audio_test", tmp_path / "s.h5", "--hparams", "lr=1"
    )
    assert "lr does not belong here: it belongs to training; pass it to dcase2018 fit" in message


def test_fit_refuses(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    out = tmp_path / "run"
    unknown = tmp_path / "unknown.csv"
    unknown.write_text("fname,label\nnowhere.wav,Bark\n")
    assert "clip 'nowhere.wav' is not in" in run_fails(2, "fit", toy_pipeline.train, unknown, out)
    assert "lr=quick is not a number" in run_fails(
        2, "fit", toy_pipeline.train, toy_pipeline.labels, out, "--hparams", "lr=quick"
    )
    assert "is no feature store; name the store" in run_fails(
        2, "fit", toy_pipeline.labels, toy_pipeline.labels, out
    )
    barks = tmp_path / "barks.csv"
    barks.write_text("fname,label\nnowhere.wav,Growl\n")
    message = run_fails(2, "fit", toy_pipeline.train, toy_pipeline.labels, out, "--validation", barks)
    assert "line 2: label 'Growl' is not among the 41 classes" in message
    assert not out.exists()


def test_fit_loses_no_run_and_no_other_folder(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    message = run_fails(
        2, "fit", toy_pipeline.train, toy_pipeline.labels, toy_pipeline.run, "--hparams", "batch_size=32"
    )
    assert f"{toy_pipeline.run} holds another run (model=cnn, not mlp; training_fingerprint=" in message
    assert "; batch_size=32, not 64; weights_init_stddev=0.001, not 0.05; lr=0.0001, not 0.001)" in message
    assert "name another folder, or replace it with --force" in message
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "exists and is no run" in run_fails(
        2, "fit", toy_pipeline.train, toy_pipeline.labels, tmp_path, "--force"
    )
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_evaluate_refuses_labels_of_other_classes(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("fname,label\na.wav,Growl\n")
    assert "label 'Growl' is not among" in run_fails(
        2, "evaluate", toy_pipeline.test, labels, toy_pipeline.run
    )


def test_evaluate_refuses_a_form_that_it_cannot_write(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    message = run_fails(
        2,
        "evaluate",
        toy_pipeline.test,
        toy_pipeline.test_labels,
        toy_pipeline.run,
        "--output",
        tmp_path / "t.xls",
    )
    assert "must end in .csv or .json" in message


def test_predict_refuses_a_sample_with_a_clip_that_the_store_lacks(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text(toy_pipeline.sample.read_text() + "zz.wav,Laughter Hi-Hat Flute\n")
    out = tmp_path / "s.csv"
    assert "clip 'zz.wav' is not in" in run_fails(
        2, "predict", toy_pipeline.test, out, toy_pipeline.run, "--sample-submission", sample
    )
    assert not out.exists()


def test_a_store_of_another_recipe_is_refused_with_the_keys_that_differ(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    write_wav(tmp_path / "clips" / "a.wav", noise(44100))
    other = tmp_path / "other.h5"
    extract(tmp_path / "clips", other, FeatureConfig(mel_bands=96))
    message = run_fails(2, "predict", other, tmp_path / "s.csv", toy_pipeline.run)
    assert (
        f"was not made by the feature_config of the run {toy_pipeline.run}: mel_bands=96, not 64" in message
    )


def test_what_is_no_run_is_refused(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    assert "holds no run; dcase2018 fit makes one" in run_fails(
        2, "predict", toy_pipeline.test, tmp_path / "s.csv", tmp_path
    )
    (tmp_path / "run.json").write_text('{"format": 2')
    assert "is damaged" in run_fails(2, "predict", toy_pipeline.test, tmp_path / "s.csv", tmp_path)


def copy_of_run(toy_pipeline: ToyPipeline, path: Path) -> Path:
    shutil.copytree(toy_pipeline.run, path)
    return path


def test_an_unfinished_run_names_its_checkpoints(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = copy_of_run(toy_pipeline, tmp_path / "run")
    (run / "model.keras").unlink()
    message = run_fails(2, "predict", toy_pipeline.test, tmp_path / "s.csv", run)
    assert "model.keras does not exist; --checkpoint takes the steps 32, 35, " in message
    run_ok("predict", toy_pipeline.test, tmp_path / "s.csv", run, "--checkpoint", 35)
    (run / "best.keras").unlink()
    message = run_fails(2, "predict", toy_pipeline.test, tmp_path / "s.csv", run, "--checkpoint", "best")
    assert "best.keras does not exist; dcase2018 fit writes it where it has --validation" in message
    assert "'last' is not" in run_fails(2, "predict", toy_pipeline.test, "s.csv", run, "--checkpoint", "last")


def test_an_ensemble_of_other_classes_is_refused(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = copy_of_run(toy_pipeline, tmp_path / "run")
    values = json.loads((run / "run.json").read_text())
    values["classes"][0] = "Growl"
    (run / "run.json").write_text(json.dumps(values))
    message = run_fails(2, "predict", toy_pipeline.test, tmp_path / "s.csv", toy_pipeline.run, run)
    assert "Acoustic_guitar, Growl" in message


def test_models_that_are_refused(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = copy_of_run(toy_pipeline, tmp_path / "run")
    model = run / "model.keras"
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    assert "is refused" in run_fails(2, "predict", toy_pipeline.test, tmp_path / "s.csv", run)

    # A layer that would run code of the file's own choosing when it is loaded.
    model.write_bytes(whole)
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
    assert "is refused" in run_fails(2, "predict", toy_pipeline.test, tmp_path / "s.csv", run)
    assert not (tmp_path / "s.csv").exists()


def test_no_command_overwrites_what_it_reads(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    labels = tmp_path / "train.csv"
    shutil.copy(toy_pipeline.labels, labels)
    for command in (
        ("class-map", labels, labels),
        ("split", labels, tmp_path),
        ("evaluate", toy_pipeline.test, labels, toy_pipeline.run, "--output", labels),
        ("predict", toy_pipeline.test, labels, toy_pipeline.run, "--sample-submission", labels),
        (
            "predict",
            toy_pipeline.test,
            tmp_path / "s.csv",
            toy_pipeline.run,
            "--scores-output",
            tmp_path / "s.csv",
        ),
    ):
        assert "is read and would be overwritten; name another file" in run_fails(2, *command)
    assert labels.read_bytes() == toy_pipeline.labels.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert "Directory" in run_fails(2, "extract", tmp_path / "none", tmp_path / "s.h5")
    assert "does not exist" in run_fails(2, "info", tmp_path / "none.h5")
    (tmp_path / "empty").mkdir()
    assert "holds no audio" in run_fails(2, "extract", tmp_path / "empty", tmp_path / "s.h5")


def test_clips_without_frames_teach_nothing(tmp_path: Path) -> None:
    write_wav(tmp_path / "clips" / "a.wav", noise(0))
    extract(tmp_path / "clips", tmp_path / "s.h5", BASELINE)
    labels = tmp_path / "l.csv"
    labels.write_text("fname,label\na.wav,Bark\n")
    message = run_fails(2, "fit", tmp_path / "s.h5", labels, tmp_path / "run")
    assert "none of the labelled clips has frames" in message
    assert not (tmp_path / "run").exists()
