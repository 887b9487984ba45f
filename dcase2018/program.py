"""What all commands have in common: errors and exit codes, messages, help, and loading Keras."""

import ctypes
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dcase2018.foundation import Dcase2018Error, InputError, describe

log = logging.getLogger("dcase2018")

SET_ASIDE = 3  # exit code: done, but some clips could not be used
INTERRUPTED = 130

# Of glibc's malloc.h: blocks from the heap alone, one heap for all threads, and none given back.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
MALLOPT = {M_MMAP_MAX: 0, M_ARENA_MAX: 1, M_TRIM_THRESHOLD: 2**31 - 1}

INPUT = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER_TO_MAKE = click.Path(file_okay=False, path_type=Path)

seed_option = click.option("--seed", default=0, show_default=True, help="Seed of all that is drawn.")


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

    def invoke(self, context: click.Context) -> Any:
        logging.basicConfig(format="%(message)s", handlers=[TerminalHandler()])
        log.setLevel(logging.INFO)
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


class TerminalHandler(logging.Handler):
    """Writes log lines to standard error, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _set_level(level: int, context: click.Context, option: click.Parameter, given: bool) -> None:
    if given:
        log.setLevel(level)


def _complain(message: str) -> None:
    click.echo(f"dcase2018: {message}", err=True)


def options(*given: Callable[[Callable], Callable]) -> Callable[[Callable], Callable]:
    """Join options that several commands share into one decorator; the help has them in this order."""

    def decorate(command: Callable) -> Callable:
        return functools.reduce(lambda decorated, option: option(decorated), reversed(given), command)

    return decorate


def keep_apart(output: Path | None, *inputs: Path | None) -> None:
    """Raise `InputError` if a file that is read would be overwritten."""
    if output and output.resolve() in {path.resolve() for path in inputs if path}:
        raise InputError(f"{output} is read and would be overwritten; name another file")


def hparams_help(kind: type[Any]) -> str:
    """Table of the hyperparameters of a stage, for its help."""
    rows = [f"  {name:<30}{meaning}" for name, meaning in describe(kind)]
    return "Hyperparameters (--hparams name=value,name=value):\n" + "\n".join(rows)


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for what is asked for next, where that is glibc.

    A step of training frees and asks for the same large blocks again and again. Given back to the system
    and cleared each time, they can take longer than the arithmetic.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for parameter, value in MALLOPT.items():
            mallopt(parameter, value)


def load_keras() -> None:
    """Import Keras, without the greetings that TensorFlow's C++ side prints."""
    keep_freed_memory()
    if log.isEnabledFor(logging.DEBUG):
        return
    log.info("loading Keras ...")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as unheard:
        os.dup2(unheard.fileno(), 2)
        try:
            import keras

            keras.ops.zeros(())  # the devices greet when they are first used
            logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its advice is for who writes networks
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
