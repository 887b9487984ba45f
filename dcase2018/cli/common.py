"""What all commands share: exit codes, messages, parameter types, options, and checks of outputs."""

import errno
import functools
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from dcase2018.utils.errors import InputError

log = logging.getLogger("dcase2018")

EXIT_SKIPPED = 3  # done, but clips were skipped
EXIT_INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT

CONTROL_ESCAPES = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}


class InputPath(click.Path):
    """An existing file or folder; a pipe or a device would be read without end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        is_stdin = self.allow_dash and str(path) == "-"
        if not (is_stdin or path.is_file() or path.is_dir()):
            self.fail(f"{str(path)!r} is not a regular file.", param, ctx)
        return path


class OutputPath(click.Path):
    """A file or folder to write. A slash at the end is allowed for a folder only."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value)
        if not text.strip("/") or Path(text).name == "..":
            self.fail(f"{text!r} is not a name; name a {'folder' if self.dir_okay else 'file'}.", param, ctx)
        if not self.dir_okay and text.endswith(("/", "/.")):
            self.fail(f"{text!r} is the name of a folder; name a file.", param, ctx)
        return super().convert(value, param, ctx)


class ReplacedFolder(OutputPath):
    """A folder that is written elsewhere and then replaces what exists."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if Path.cwd().is_relative_to(Path(os.path.realpath(path))):
            self.fail(f"{str(path)!r} contains the working directory; name another folder.", param, ctx)
        return path


INPUT = InputPath(exists=True, dir_okay=False, path_type=Path)
EXISTING = InputPath(exists=True, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = OutputPath(dir_okay=False, path_type=Path)
OUTPUT_FOLDER = OutputPath(file_okay=False, path_type=Path)
REPLACED = ReplacedFolder(path_type=Path)
REPLACED_FOLDER = ReplacedFolder(file_okay=False, path_type=Path)

MAX_JOBS = max(64, 4 * (os.cpu_count() or 1))  # each job takes memory, with or without work


class FiniteFloat(click.FloatRange):
    """A number within bounds that is not NaN, which compares false with every bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return float(number)


class Checkpoint(click.ParamType):
    """A step, or `best` for the epoch with the best validation score."""

    name = "checkpoint"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "STEP|best"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "best" or isinstance(value, int):
            return value
        from dcase2018.utils.config import parse_whole_number

        step = parse_whole_number(value)
        if step is None:
            self.fail(f"{value!r} is neither a step nor best.", param, ctx)
        return step


class Choice(click.Choice):
    """One of several words. An error names the nearest first."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        from dcase2018.utils.suggestions import did_you_mean

        hint = did_you_mean(str(value), self.choices)
        return f"{value!r} is unknown; {hint}allowed: {', '.join(self.choices)}"


class Command(click.Command):
    """A command with `-q` and `-v`, and an epilog that is printed without rewrapping.

    Errors suggest the nearest option, and the right order of swapped arguments.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": True} | settings)
        for flag, name, level, meaning in (
            ("-q", "--quiet", logging.WARNING, "Print warnings and errors only."),
            ("-v", "--verbose", logging.DEBUG, "Print details, such as each training step."),
        ):
            option = click.Option(
                [flag, name],
                is_flag=True,
                expose_value=False,
                callback=functools.partial(_set_level, level),
                help=meaning,
            )
            self.params.append(option)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from dcase2018.cli.argument_order import check_order

        typed = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from dcase2018.cli.unknown_options import explain

            raise explain(error, self, typed) from None
        except click.UsageError:
            check_order(self, ctx, typed)
            raise
        check_order(self, ctx, typed)
        return rest

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"\n{self.epilog}\n")


def _set_level(level: int, ctx: click.Context, param: click.Parameter, is_set: bool) -> None:
    if is_set:
        log.setLevel(level)


class TerminalHandler(logging.Handler):
    """Writes log lines to standard error, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(printable(self.format(record)), file=sys.stderr)


def configure_logging(level: int = logging.INFO, prefix: str = "") -> None:
    """Write this process's log to standard error, with a prefix before each message."""
    logging.basicConfig(format=f"{prefix}%(message)s", handlers=[TerminalHandler()])
    log.setLevel(level)


def keras_initializer(quiet: bool = False) -> Callable[[str], None]:
    """Return an initializer of executors that loads Keras and logs at this process's level.

    Parameters
    ----------
    quiet
        Log warnings and errors only, unless this process logs at DEBUG level.
    """
    level = log.getEffectiveLevel()
    return functools.partial(_init_keras, logging.WARNING if quiet and level > logging.DEBUG else level)


def _init_keras(level: int, accelerator: str) -> None:
    from dcase2018.cli.keras_setup import load_keras

    if accelerator:
        configure_logging(level, f"[{accelerator}] ")
    load_keras()


def printable(text: str) -> str:
    """Escape control characters, which a terminal would execute."""
    return text.translate(CONTROL_ESCAPES)


def print_line(text: str) -> None:
    """Print a line of the result on standard output, above a progress bar if there is one."""
    bars = sys.modules.get("tqdm")
    with bars.tqdm.external_write_mode() if bars else nullcontext():
        click.echo(printable(text))


def print_error(message: str) -> None:
    """Print an error on standard error."""
    click.echo(printable(f"dcase2018: {message}"), err=True)


def report_internal_error(error: Exception) -> None:
    """Write the traceback of a bug to a temporary file, and print where it is."""
    import shlex
    import tempfile
    import traceback

    trace = "".join(traceback.format_exception(error))
    if log.isEnabledFor(logging.DEBUG):
        click.echo(trace, err=True)
    summary = traceback.format_exception_only(error)[0].strip()
    try:
        descriptor, path = tempfile.mkstemp(prefix="dcase2018-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{shlex.join(sys.argv)}\nPython {sys.version}\n{trace}")
    except OSError as file_error:
        print_error(
            f"internal error: {summary}; please report it with the traceback that -v prints"
            f" (no file can be written: {file_error.strerror})"
        )
        return
    print_error(f"internal error: {summary}; please report it with {path}, which has the traceback")


def combine_options(*decorators: Callable[[Callable], Callable]) -> Callable[[Callable], Callable]:
    """Join options that commands share into one decorator; the help lists them in this order."""

    def decorate(command: Callable) -> Callable:
        return functools.reduce(lambda decorated, option: option(decorated), reversed(decorators), command)

    return decorate


seed_option = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Seed of the random number generators.",
)
group_options = combine_options(
    click.option(
        "--groups",
        "group_column",
        metavar="COLUMN",
        help="Keep clips with the same value in this column of the label file on one side.",
    ),
    click.option(
        "--groups-from",
        "group_pattern",
        metavar="PATTERN",
        help="Keep clips of one group on one side; the group is all fields of the file name but {n} and"
        " {rest}, as in {site}_{recording}_{n}.",
    ),
)
checkpoint_option = click.option(
    "--checkpoint",
    type=Checkpoint(),
    help="Use the model of this step, or of the best epoch.  [default: the final model]",
)
hop_option = click.option(
    "--hop-seconds",
    "inference_hop_seconds",
    type=FiniteFloat(0, 60, min_open=True),
    metavar="SECONDS",
    help="Hop between windows.  [default: the run's inference_hop_seconds]",
)
pooling_option = click.option(
    "--pooling",
    "clip_pooling",
    type=Choice(["mean", "geometric_mean"]),
    help="Mean over the windows of a clip, and over several runs.  [default: the run's clip_pooling]",
)
single_file_option = click.option(
    "--single-file", is_flag=True, help="Write the report as one HTML file instead of a folder."
)
extra_store_option = click.option(
    "--extra-store",
    "more_stores",
    type=INPUT,
    multiple=True,
    help="Another store of the same clips, for runs with another feature config.",
)
scoring_options = combine_options(checkpoint_option, hop_option, pooling_option)


def is_given(ctx: click.Context, name: str) -> bool:
    """Return whether a parameter was given, so that its value is not the default."""
    return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT


def exit_if_skipped(ctx: click.Context, skipped: Mapping[str, str]) -> None:
    """If clips were skipped, print each with its reason, and exit with 3."""
    for fname, reason in skipped.items():
        print_line(f"skipped: {fname}: {reason}")
    if skipped:
        ctx.exit(EXIT_SKIPPED)


def missing_option(meaning: str) -> Callable[[Callable], Callable]:
    """Return the option `--missing` of a command that looks up the clips of a label file, as a flag."""
    return click.option(
        "--missing",
        "skip_missing",
        type=Choice(["stop", "skip"]),
        default="stop",
        show_default=True,
        callback=lambda ctx, param, value: value == "skip",
        help=f"What to do if clips have {meaning}.",
    )


def jobs_option(meaning: str) -> Callable[[Callable], Callable]:
    """Return the option `-j/--jobs`, whose default is the number of cores."""
    return click.option(
        "-j", "--jobs", type=click.IntRange(1, MAX_JOBS), help=f"{meaning}.  [default: number of cores]"
    )


def check_output(output: Path | None, *inputs: Path | None) -> None:
    """Check, before the work, that an output file can be written.

    Parameters
    ----------
    output
        File to be written; None is allowed and does nothing.
    inputs
        Files that are read. A folder stands for all files in it.

    Raises
    ------
    InputError
        If an input would be overwritten, or `output` is a device, a pipe or a folder.
    OSError
        If the folder of `output` is not writable.
    """
    if output is None:
        return
    target = Path(os.path.realpath(output))  # unlike Path.resolve, it accepts circular links
    if any(path and _is_same_or_inside(target, Path(os.path.realpath(path))) for path in inputs):
        raise InputError(f"{output} is an input and would be overwritten; choose another file")
    if not output.name or (output.exists() and not output.is_file()):
        raise InputError(f"{str(output)!r} is not a regular file; choose another output")
    folder = next(folder for folder in output.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    _check_writable(folder, output)


def _is_same_or_inside(path: Path, other: Path) -> bool:
    """Return whether two paths are one file, also by a hard link, or `path` is in the folder `other`."""
    is_same = path.exists() and other.exists() and path.samefile(other)
    return is_same or path.is_relative_to(other)


def _check_writable(folder: Path, output: Path) -> None:
    import tempfile

    from dcase2018.utils.atomic import temporary_path

    try:
        with suppress(FileNotFoundError):
            temporary_path(folder / output.name).lstat()  # fails if the name is too long
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        error.filename = str(output)
        raise


def hparams_help(config: type[Any]) -> str:
    """Format the hyperparameters of a config class as a table for a command's help."""
    import textwrap

    from dcase2018.utils.config import help_rows

    rows = [
        textwrap.fill(meaning, 80, initial_indent=f"  {name:<30} ", subsequent_indent=" " * 33)
        for name, meaning in help_rows(config)
    ]
    return "Hyperparameters (--hparams name=value,name=value):\n" + "\n".join(rows)
