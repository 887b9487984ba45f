"""The process that listens; `messages` has how it is asked and answers."""

import json
import os
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from dcase2018.data.audio import AudioReader, AudioReadError
from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.server.protocol import DONE, END, LONGEST_HOURS, PART, PROBLEM, packed
from dcase2018.server.responses import shown, tagged
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.parallel import exit_when_parent_dies

TELL_EVERY = 0.2  # seconds


class GivenUpError(Exception):
    """Nobody waits for the answer any more."""


class RefusedError(Exception):
    """A recording that is not heard; `status` is that of HTTP."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class Worker:
    """Answers what it is asked, one after the other."""

    def __init__(self, asked: IO[bytes], answers: IO[bytes]) -> None:
        self.asked, self.answers = asked, answers
        self.listeners: Sequence[AudioTagger] = ()
        self.done, self.told = 0.0, 0.0

    def run(self) -> None:
        """Work until standard input ends."""
        for line in self.asked:
            if task := json.loads(line):
                self._answer(task)

    def _answer(self, task: dict[str, Any]) -> None:
        try:
            for part in self._open(task["runs"]) if "runs" in task else self._hear(**task):
                self._send(PART, part)
            self._send(END, {})
        except GivenUpError:
            self._send(END, {})
        except Exception as error:
            self._send(PROBLEM, _problem(error))

    def _open(self, runs: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
        self.listeners = [AudioTagger.open(paths) for paths in runs]  # all of it before the wait for Keras
        for listener in self.listeners:
            listener.load()
            yield {"classes": list(listener.classes)}

    def _hear(self, path: str, run: int | None = None) -> Iterator[dict[str, Any]]:
        self.done = self.told = 0.0
        check_length(Path(path))
        if run is not None:
            yield tagged(self.listeners[run], Path(path), self._tell)
            return
        yield from shown(self.listeners, Path(path), self._tell)

    def _tell(self, share: float) -> None:
        """Tell now and then how much is done, and whether anybody waits for the rest."""
        self.done += share
        if time.monotonic() - self.told >= TELL_EVERY:
            self.told = time.monotonic()
            self._send(DONE, {"progress": round(min(1, self.done), 4)})
            if select.select([self.asked], [], [], 0)[0]:
                raise GivenUpError

    def _send(self, kind: bytes, values: dict[str, Any]) -> None:
        self.answers.write(packed(kind, values))
        self.answers.flush()


def check_length(path: Path) -> None:
    """Refuse a recording that is too long, however small its file is.

    Raises
    ------
    RefusedError
        If it is.
    AudioReadError, OSError
        If it cannot be read.
    """
    with AudioReader(path, 44100) as clip:
        if clip.seconds > LONGEST_HOURS * 3600:
            hours = clip.seconds / 3600
            raise RefusedError(413, f"it lasts {hours:.1f} hours; up to {LONGEST_HOURS} hours are heard here")


def _problem(error: Exception) -> dict[str, Any]:
    """What is answered in place of a recording's scores."""
    if isinstance(error, AudioReadError):
        return {"status": 422, "error": f"this file cannot be heard: {error}"}
    if isinstance(error, RefusedError):
        return {"status": error.status, "error": str(error)}
    if isinstance(error, Dcase2018Error):
        return {"status": 500, "error": str(error), "exit_code": error.exit_code}
    if isinstance(error, MemoryError):
        return {"status": 500, "error": "memory ran out"}
    return {"status": 500, "error": f"unexpected {type(error).__name__}: {error}"}


def main() -> None:
    """Be the process."""
    exit_when_parent_dies(os.getppid())
    with suppress(OSError):  # where memory ends, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(BrokenPipeError):
        Worker(open(0, "rb", buffering=0), answers).run()  # noqa: SIM115


if __name__ == "__main__":
    main()
