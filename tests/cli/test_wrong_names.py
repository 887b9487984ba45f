"""Unknown options and values: the message names the nearest one."""

import dataclasses

import click
import pytest

from dcase2018.cli.common import Choice
from dcase2018.cli.main import COMMANDS, main
from dcase2018.features.config import FeatureConfig
from dcase2018.models.hparams import HParams

NAMES = [name for commands in COMMANDS.values() for name in commands]


def usage_error(*args: str) -> str:
    """Return the message of a command line that click refuses."""
    with pytest.raises(click.UsageError) as error:
        main(list(args), standalone_mode=False)
    return error.value.format_message()


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("--epoch 3", "'--epoch'; did you mean --epochs?"),
        ("--lr 0.1", "'--lr'; did you mean --hparams lr=0.1?"),
        ("--lr=0.1", "'--lr'; did you mean --hparams lr=0.1?"),
        ("-lr 0.1", "'-lr'; did you mean --hparams lr=0.1?"),
        ("--lr", "'--lr'; did you mean --hparams lr=...?"),
        ("--learning-rate 0.1", "did you mean --hparams lr=0.1?"),
        ("--batch-size 32 --epochs 3", "did you mean --hparams batch_size=32?"),
        ("--gpu 0", "'--gpu'; a visible GPU is used; choose one, or none, by CUDA_VISIBLE_DEVICES"),
        ("--num-workers 2", "did you mean --jobs?"),
        ("--k-folds 5", "did you mean --folds?"),
        ("--early-stopping 5", "did you mean --patience?"),
        ("--resume", "the same command resumes an interrupted one"),
        ("--n-mels 64", "'--n-mels'; it is set by dcase2018 extract ... --hparams mel_bands=64"),
        ("--zzz", "No such option '--zzz'."),
        ("-x", "No such option '-x'."),
    ],
)
def test_an_unknown_option_of_fit_is_answered_by_what_was_meant(typed: str, hint: str) -> None:
    assert hint in usage_error("fit", "store.h5", "labels.csv", "run", *typed.split())


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        ("extract a s.h5 --n-mels 64", "did you mean --hparams mel_bands=64?"),
        ("extract a s.h5 --lr 1", "it is set by dcase2018 fit ... --hparams lr=1"),
        ("predict s.h5 run --out sub.csv", "did you mean --output?"),
        ("export run out --format tflite", "'tflite' is unknown; did you mean litert? allowed: onnx, "),
        ("fit s.h5 l.csv run --preset compct", "'compct' is unknown; did you mean compact? allowed: "),
        ("fit s.h5 l.csv run --model zzz", "'zzz' is unknown; allowed: cnn, mlp, "),
        ("run predicton", "'predicton' is unknown; allowed: data, features"),
        ("run fit", "'fit' is unknown; did you mean train? allowed: "),
        ("train", "No such command 'train'; did you mean fit?"),
    ],
)
def test_an_unknown_word_is_answered_by_the_nearest(
    args: str, hint: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("cli")
    monkeypatch.chdir(folder)
    for name in ("a", "run"):
        (folder / name).mkdir()
    for name in ("s.h5", "l.csv"):
        (folder / name).touch()
    assert hint in usage_error(*args.split())


@pytest.mark.parametrize("name", ["fit", "extract"])
def test_the_table_of_hyperparameters_fits_80_columns(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "-h"], standalone_mode=False)
    lines = capsys.readouterr().out.split("Hyperparameters (--hparams ")[1].splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split("=")[0].strip() for line in lines[1:] if line.startswith("  ") and line[2] != " "]
    config = {"fit": HParams, "extract": FeatureConfig}[name]
    assert names == [field.name for field in dataclasses.fields(config)]


@pytest.mark.parametrize("name", NAMES)
def test_every_choice_suggests_the_nearest_word(name: str) -> None:
    command = main.get_command(None, name)
    assert command
    choices = [param.type for param in command.params if isinstance(param.type, click.Choice)]
    assert all(isinstance(choice, Choice) for choice in choices)
