"""Run only the commands whose outputs are missing or older than their inputs, as make does."""

import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from dcase2018.cli.common import EXIT_SKIPPED, print_line
from dcase2018.utils.safe_path import python_command
from dcase2018.utils.signals import catch_stop_signals

log = logging.getLogger("dcase2018")


@dataclass(frozen=True)
class Rule:
    """Commands that write outputs.

    Attributes
    ----------
    outputs
        Files or folders that the commands write. The time of the first one, which is written last, is
        compared with the inputs.
    inputs
        Files or folders that the commands read. A newer input makes the outputs out of date.
    commands
        Arguments of `dcase2018`, in order.
    folder
        Folder in which any newer entry, at any depth, makes the outputs out of date.
    note
        Line to print after the commands.
    """

    outputs: tuple[Path, ...]
    inputs: tuple[Path, ...]
    commands: tuple[tuple[str, ...], ...]
    folder: Path | None = None
    note: str = ""

    def is_out_of_date(self) -> bool:
        if not all(path.exists() for path in self.outputs):
            return True
        mtime_ns = self.outputs[0].stat().st_mtime_ns
        if any(not path.exists() or path.stat().st_mtime_ns > mtime_ns for path in self.inputs):
            return True
        return self.folder is not None and has_newer_entry(self.folder, mtime_ns)


class Builder:
    """Brings outputs up to date by rules.

    Parameters
    ----------
    rules
        How each output is made. A path without a rule is an input that exists.
    dry_run
        Print the commands without running them.
    """

    def __init__(self, rules: Sequence[Rule], dry_run: bool) -> None:
        self.rules = {path: rule for rule in rules for path in rule.outputs}
        self.dry_run = dry_run
        self.is_rebuilt: dict[Path, bool] = {}  # by a rule's first output

    def update(self, path: Path) -> bool:
        """Bring an output and all its inputs up to date; return whether its rule was run."""
        if path not in self.rules:
            return False
        rule = self.rules[path]
        target = rule.outputs[0]
        if target not in self.is_rebuilt:
            inputs_rebuilt = [self.update(source) for source in rule.inputs]
            self.is_rebuilt[target] = rule.is_out_of_date() or (self.dry_run and any(inputs_rebuilt))
            if self.is_rebuilt[target]:
                self._run(rule)
        return self.is_rebuilt[target]

    def _run(self, rule: Rule) -> None:
        for command in rule.commands:
            self.run(command)
        if rule.note and not self.dry_run:
            print_line(rule.note)

    def run(self, command: Sequence[str]) -> None:
        """Print a command and run it; end this process with its exit code if it fails.

        Skipped clips (exit code 3) are not a failure: the command has listed them.
        """
        print_line(shlex.join(["dcase2018", *command]))
        if not self.dry_run:
            code = run_child(command)
            if code not in (0, EXIT_SKIPPED):
                raise click.exceptions.Exit(code)


def run_child(command: Sequence[str]) -> int:
    """Run a command of `dcase2018` in a child process; return its exit code, 128 + N for signal N.

    Ctrl-C reaches the child too, as it is in the same process group; SIGTERM is forwarded to it. This process
    waits for the child in both cases.
    """
    verbosity = {logging.WARNING: ["-q"], logging.DEBUG: ["-v"]}.get(log.level, [])
    arguments = python_command("-m", "dcase2018", *command, *verbosity)
    children: list[subprocess.Popen] = []

    def forward() -> None:
        if stop_flag.signum == signal.SIGTERM:
            for child in children:
                child.terminate()

    with catch_stop_signals(forward) as stop_flag:
        children.append(subprocess.Popen(arguments))
        forward()  # a signal that arrived before the child was started
        code = children[0].wait()
    code = code if code >= 0 else 128 - code
    return code or (128 + stop_flag.signum if stop_flag.signum else 0)


def has_newer_entry(folder: Path, mtime_ns: int) -> bool:
    """Return whether a folder or an entry below it, at any depth, was modified after a time.

    Links are followed; a folder that is reached twice is searched once.
    """
    searched = set()
    for path, subfolders, names in os.walk(folder, followlinks=True):
        status = Path(path).stat()
        if (status.st_dev, status.st_ino) in searched:
            subfolders.clear()
            continue
        searched.add((status.st_dev, status.st_ino))
        if any(_mtime_ns(Path(path, name)) > mtime_ns for name in (".", *names)):
            return True
    return False


def _mtime_ns(path: Path) -> int:
    """Return the modification time of what a path points to, or of the link itself if it is broken."""
    return (path.stat() if path.exists() else path.lstat()).st_mtime_ns
