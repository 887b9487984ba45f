"""What all commands have in common: errors and exit codes, messages, help, and outputs."""

import errno
import functools
import logging
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.config import help_rows
from dcase2018.utils.errors import Dcase2018Error, InputError

log = logging.getLogger("dcase2018")

SET_ASIDE = 3  # exit code: done, but some clips could not be used
DEFECT = 70  # as sysexits.h has it: an error that is the program's own
INTERRUPTED = 130

CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}

INPUT = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER_TO_MAKE = click.Path(file_okay=False, path_type=Path)

seed_option = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Seed of all that is drawn.",
)


class Finite(click.FloatRange):
    """A number within bounds; NaN, which no bound keeps out, is none."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", parameter, context)
        return float(number)


class Checkpoint(click.ParamType):
    """A step, or the word for the best epoch."""

    name = "STEP|best"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int | str:
        return value if value == "best" else click.INT.convert(value, parameter, context)


class Command(click.Command):
    """A command with `-q` and `-v`, whose epilog is printed as it is written."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": True} | settings)
        for flag, name, level, meaning in (
            ("-q", "--quiet", logging.WARNING, "Say only what went wrong."),
            ("-v", "--verbose", logging.DEBUG, "Say more, each step of training included."),
        ):
            option = click.Option(
                [flag, name],
                is_flag=True,
                expose_value=False,
                callback=functools.partial(_set_level, level),
                help=meaning,
            )
            self.params.append(option)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"\n{self.epilog}\n")


class Program(click.Group):
    """A group of commands that turns the library's errors into one line and an exit code."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)  # in the order of the work, not of the alphabet

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run as the program of a process of its own."""
        _open_streams()
        try:
            return super().main(*args, **settings)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is done: nothing is left to be interrupted

    def invoke(self, context: click.Context) -> Any:
        _speak(logging.INFO)
        try:
            return super().invoke(context)
        except Dcase2018Error as error:
            _complain(str(error))
            context.exit(error.exit_code)
        except BrokenPipeError:
            raise
        except OSError as error:
            _complain(f"{error.filename or 'error'}: {error.strerror or error}")
            context.exit(1)
        except KeyboardInterrupt:
            _complain("interrupted")
            context.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            _report(error)
            context.exit(DEFECT)


class TerminalHandler(logging.Handler):
    """Writes log lines to standard error, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(printable(self.format(record)), file=sys.stderr)


def loaded(quietly: bool = False) -> Callable[[str], None]:
    """Make what loads Keras, in this process or in one beside it, which then speaks as this one does.

    Parameters
    ----------
    quietly
        Have others than this process say only what went wrong, unless this one tells each step.
    """
    level = log.getEffectiveLevel()
    return functools.partial(_load, logging.WARNING if quietly and level > logging.DEBUG else level)


def _load(level: int, accelerator: str) -> None:
    if accelerator:
        _speak(level, f"[{accelerator}] ")
    load_keras()


def _speak(level: int, before: str = "") -> None:
    """Have this process write its log to standard error, with something before each message."""
    logging.basicConfig(format=f"{before}%(message)s", handlers=[TerminalHandler()])
    log.setLevel(level)


def _set_level(level: int, context: click.Context, option: click.Parameter, given: bool) -> None:
    if given:
        log.setLevel(level)


def _open_streams() -> None:
    """Have all three standard streams, even where they were closed, and let them bear any text."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # it takes the lowest number that is free
    os.close(descriptor)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Show control characters, which a terminal would obey, as they are written."""
    return text.translate(CONTROL)


def say(text: str) -> None:
    """Print a line of the result on standard output, above a progress bar if there is one."""
    bars = sys.modules.get("tqdm")
    with bars.tqdm.external_write_mode() if bars else nullcontext():
        click.echo(printable(text))


def _complain(message: str) -> None:
    click.echo(printable(f"dcase2018: {message}"), err=True)


def _report(error: Exception) -> None:
    """Say that an error is a defect of the program, and keep its traceback."""
    import shlex
    import traceback

    trace = "".join(traceback.format_exception(error))
    if log.isEnabledFor(logging.DEBUG):
        click.echo(trace, err=True)
    descriptor, path = tempfile.mkstemp(prefix="dcase2018-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{shlex.join(sys.argv)}\nPython {sys.version}\n{trace}")
    summary = traceback.format_exception_only(error)[0].strip()
    _complain(f"this is a defect of dcase2018 ({summary}); please send {path}, which tells where")


def options(*given: Callable[[Callable], Callable]) -> Callable[[Callable], Callable]:
    """Join options that several commands share into one decorator; the help has them in this order."""

    def decorate(command: Callable) -> Callable:
        return functools.reduce(lambda decorated, option: option(decorated), reversed(given), command)

    return decorate


checkpoint_option = click.option(
    "--checkpoint",
    type=Checkpoint(),
    help="Use the networks of this step, or of the best epoch.  [default: the trained ones]",
)
hop_option = click.option(
    "--hop-seconds",
    "inference_hop_seconds",
    type=Finite(0, 60, min_open=True),
    metavar="SECONDS",
    help="From one example to the next.  [default: the run's inference_hop_seconds]",
)
mean_option = click.option(
    "--pooling",
    "clip_pooling",
    type=click.Choice(["mean", "geometric_mean"]),
    help="Mean over a clip's examples.  [default: the run's clip_pooling]",
)
store_option = click.option(
    "--extra-store",
    "more_stores",
    type=INPUT,
    multiple=True,
    help="Another store of the same clips, for runs of another feature_config.",
)

scoring_options = options(checkpoint_option, hop_option, mean_option)


MOST_JOBS = max(64, 4 * (os.cpu_count() or 1))  # each takes some memory, whether it has work or not


def jobs_option(meaning: str) -> Callable[[Callable], Callable]:
    """The option of how many work side by side: all cores, if it is not given."""
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, MOST_JOBS),
        help=f"{meaning}.  [default: as many as there are cores]",
    )


def check_output(output: Path | None, *inputs: Path | None) -> None:
    """See to it, before the work, that a file can be written at its end.

    An input that is a folder stands for all in it.

    Raises
    ------
    InputError
        If a file that is read would be overwritten, or `output` is a device, a pipe or a folder.
    OSError
        If its folder cannot be written to.
    """
    if output is None:
        return
    place = Path(os.path.realpath(output))  # which bears links that loop
    if any(path and _is_of(place, Path(os.path.realpath(path))) for path in inputs):
        raise InputError(f"{output} is read and would be overwritten; name another file")
    if not output.name or (output.exists() and not output.is_file()):
        raise InputError(f"{str(output)!r} is no file that can be written; name another")
    folder = next(folder for folder in output.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{output.name}.", suffix=".tmp"):
            pass
    except OSError as error:
        error.filename = str(output)
        raise


def _is_of(place: Path, other: Path) -> bool:
    """Whether two paths name one file, by a hard link too, or one lies in the other, a folder."""
    same = place.exists() and other.exists() and place.samefile(other)
    return same or place.is_relative_to(other)


def hparams_help(kind: type[Any]) -> str:
    """Table of the hyperparameters of a stage, for its help."""
    rows = [f"  {name:<30}{meaning}" for name, meaning in help_rows(kind)]
    return "Hyperparameters (--hparams name=value,name=value):\n" + "\n".join(rows)
