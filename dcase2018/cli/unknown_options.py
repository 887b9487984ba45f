"""Suggestions for unknown options: the nearest option, or the hyperparameter that was meant."""

import dataclasses
from collections.abc import Sequence

import click

from dcase2018.features.config import FeatureConfig
from dcase2018.models.hparams import HParams
from dcase2018.utils.suggestions import nearest, same_or_synonym

GPU = "a visible GPU is used; choose one, or none, by CUDA_VISIBLE_DEVICES before the command"
# Options of other programs for what is done here in another way.
ADVICE = {
    "cpu": GPU,
    "cuda": GPU,
    "device": GPU,
    "gpu": GPU,
    "gpus": GPU,
    "optimizer": "the optimizer is Adam; set it by --hparams lr, adam_eps, weight_decay and lr_schedule",
    "restart": "the same command resumes an interrupted one; --overwrite starts again",
    "resume": "the same command resumes an interrupted one",
}


def explain(error: click.NoSuchOption, command: click.Command, args: Sequence[str]) -> click.NoSuchOption:
    """Return the error about an unknown option, with a suggestion if there is one."""
    name, value = _find(error.option_name, args)
    hint = suggestion(name, value, command)
    return click.NoSuchOption(name, f"No such option {name!r}{hint}", ctx=error.ctx)


def suggestion(name: str, value: str, command: click.Command) -> str:
    """Return the end of the message: `; did you mean --epochs?`, an advice, or a full stop."""
    key = name.lstrip("-").replace("-", "_")
    if key in ADVICE:
        return f"; {ADVICE[key]}."
    options = [option for param in command.params for option in param.opts if option.startswith("--")]
    found = same_or_synonym(name, options)
    hparam = "" if found else _hparam(key, value, command, options)
    if found or hparam:
        return hparam or f"; did you mean {found}?"
    found = nearest(name, options) if len(key) > 1 else ""
    return f"; did you mean {found}?" if found else "."


def _hparam(key: str, value: str, command: click.Command, options: Sequence[str]) -> str:
    """Suggest the hyperparameter of this name, and the command that takes it."""
    for config, owner in ((HParams, "fit"), (FeatureConfig, "extract")):
        found = same_or_synonym(key, [field.name for field in dataclasses.fields(config)])
        is_own = "--hparams" in options and (command.name == "extract") == (owner == "extract")
        if found and is_own:
            return f"; did you mean --hparams {found}={value}?"
        if found and not any(option in options for option in (f"--{key}", f"--{key.replace('_', '-')}")):
            return f"; it is set by dcase2018 {owner} ... --hparams {found}={value}"
    return ""


def _find(option: str, args: Sequence[str]) -> tuple[str, str]:
    """Return the unknown option as it was typed, and its value; "..." without one.

    click reports the first letter of an option with a single dash, such as -l for -lr.
    """
    is_letter = not option.startswith("--")
    for position, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name == option or (is_letter and arg.startswith(option)):
            following = args[position + 1 : position + 2]
            is_value = bool(following) and not following[0].startswith("-")
            return name, value if equals else following[0] if is_value else "..."
    return option, "..."
