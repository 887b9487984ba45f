"""The command line, `dcase2018`: its commands, their groups, and what it does with errors.

A command's module is imported when the command is used, so that `--help` loads only click.
"""

import importlib
import os
import signal
import sys
from typing import Any

import click

from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.safe_path import safe_path_in_children

# Heading, then name, "module:attribute" below dcase2018.cli, and summary of each command, in order of use.
COMMANDS = {
    "Data and labels": {
        "synthesize": ("data:synthesize", "Synthesize a small 41-class demo corpus."),
        "download": ("data:download", "Download FSDKaggle2018 from Zenodo."),
        "make-labels": ("data:make_labels", "Write a label file for your own recordings."),
        "class-map": ("data:class_map", "Write the classes of a label file."),
        "split": ("data:split", "Split a label file for training and validation."),
        "find-label-issues": ("label_quality:find_label_issues", "Rank the labels that are probably wrong."),
        "review": ("serving:review", "Review labels by ear in a local web page."),
        "correct-labels": ("label_quality:correct_labels", "Correct labels by predictions or a review."),
    },
    "Features and training": {
        "run": ("pipeline:run", "Run the pipeline up to a target, as make does."),
        "extract": ("features:extract", "Extract the features of a folder of clips."),
        "fit": ("training:fit", "Train a model."),
        "tune": ("tuning:tune", "Search hyperparameters."),
        "info": ("inspection:info", "Describe a feature store or a run."),
        "plot": ("inspection:plot", "Plot the training history of a run."),
    },
    "Evaluation": {
        "evaluate": ("evaluation:evaluate", "Score runs on labelled clips."),
        "predict": ("evaluation:predict", "Write a Kaggle submission."),
        "score": ("evaluation:score", "Score a Kaggle submission."),
        "compare": ("comparison:compare", "Compare two systems on the same clips."),
        "report": ("evaluation:report", "Write an HTML report of runs."),
    },
    "Using a tagger": {
        "tag": ("inference:tag", "Tag recordings, and detect events in them."),
        "embed": ("inference:embed", "Compute embeddings of clips or recordings."),
        "export": ("exporting:export", "Export a model to ONNX, LiteRT or SavedModel."),
        "serve": ("serving:serve", "Serve taggers as a local web page and JSON API."),
    },
}


class LazyGroup(click.Group):
    """A group that imports a command on use and turns errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for commands in COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        for commands in COMMANDS.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name][0].partition(":")
                return getattr(importlib.import_module(f"dcase2018.cli.{module}"), attribute)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not name.startswith("-"):
            from dcase2018.utils.suggestions import nearest

            found = nearest(name, names)
            ctx.fail(f"No such command {name!r}" + (f"; did you mean {found}?" if found else "."))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<18}", summary) for name, (_, summary) in commands.items()])

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run as the program of a process of its own."""
        open_standard_streams()
        try:
            with safe_path_in_children():
                return super().main(*args, **settings)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the work is done: nothing is left to interrupt

    def invoke(self, ctx: click.Context) -> Any:
        from dcase2018.cli import common  # it imports logging, which --help does not need
        from dcase2018.utils.signals import sigterm_as_exception

        common.configure_logging()
        try:
            with sigterm_as_exception():  # which removes temporary files
                return super().invoke(ctx)
        except Dcase2018Error as error:
            common.print_error(str(error))
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            raise
        except OSError as error:
            common.print_error(f"{error.filename or 'error'}: {error.strerror or error}")
            ctx.exit(1)
        except KeyboardInterrupt:
            common.print_error("interrupted")
            ctx.exit(common.EXIT_INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            common.report_internal_error(error)
            ctx.exit(common.EXIT_INTERNAL_ERROR)


def open_standard_streams() -> None:
    """Open the standard streams that are closed, and make them accept any text."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # open() returns the lowest free descriptor
    os.close(descriptor)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="dcase2018")
def main() -> None:
    """Train and use audio taggers: DCASE 2018 Task 2, from clips and labels to a ranked submission.

    `extract` computes the features of every clip once and writes them to a store. `fit`, `evaluate` and
    `predict` stream from that store. `run` executes all steps whose outputs are out of date.
    """
