"""The worker process: runs taggers on recordings. `protocol` describes its requests and responses."""

import json
import os
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from dcase2018.data.audio_errors import AudioReadError
from dcase2018.inference.audio_tagger import AudioTagger, ProgressCallback, ProgressReader
from dcase2018.inference.pooling import describe_pooling
from dcase2018.server.protocol import (
    CLIP,
    END,
    ERROR,
    MAX_HOURS,
    PROGRESS,
    RESULT,
    STREAM,
    TAG,
    RequestError,
    encode,
)
from dcase2018.server.responses import (
    audio_response,
    clip_response,
    describe_scores,
    stream_response,
    tag_response,
)
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.parallel import exit_when_parent_dies

PROGRESS_SECONDS = 0.2  # between two progress messages


class Cancelled(Exception):
    """The server cancelled the request."""


class Worker:
    """Process requests one after the other.

    Parameters
    ----------
    requests, responses
        Binary streams; see `protocol`.
    """

    def __init__(self, requests: IO[bytes], responses: IO[bytes]) -> None:
        self.requests, self.responses = requests, responses
        self.taggers: Sequence[AudioTagger] = ()
        self.fraction_done, self.last_progress = 0.0, 0.0

    def run(self) -> None:
        """Process requests until the stream ends."""
        for line in self.requests:
            if request := json.loads(line):
                self._respond(request)

    def _respond(self, request: dict[str, Any]) -> None:
        try:
            for result in self._load(request["runs"]) if "runs" in request else self._process(**request):
                self._send(RESULT, result)
            self._send(END, {})
        except Cancelled:
            self._send(END, {})
        except Exception as error:
            self._send(ERROR, _error_response(error))

    def _load(self, runs: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
        self.taggers = [AudioTagger.open(paths) for paths in runs]  # validates all before importing Keras
        for tagger in self.taggers:
            tagger.load()
            yield {
                "classes": list(tagger.classes),
                "pooling": describe_pooling(tagger.runs),
                "score_meaning": describe_scores(tagger),
            }

    def _process(self, path: str, response: str, run: int) -> Iterator[dict[str, Any]]:
        self.fraction_done = self.last_progress = 0.0
        check_duration(Path(path), self._on_progress)
        if response == STREAM:
            yield from stream_response(self.taggers, Path(path), self._on_progress)
        elif response == TAG:
            yield tag_response(self.taggers[run], Path(path), self._on_progress)
        elif response == CLIP:
            yield clip_response(self.taggers[run], Path(path), self._on_progress)
        else:
            yield audio_response(Path(path))

    def _on_progress(self, fraction: float) -> None:
        """Send the progress at intervals, and check for a cancellation."""
        self.fraction_done += fraction
        if time.monotonic() - self.last_progress >= PROGRESS_SECONDS:
            self.last_progress = time.monotonic()
            self._send(PROGRESS, {"progress": round(min(1, self.fraction_done), 4)})
            if select.select([self.requests], [], [], 0)[0]:
                raise Cancelled

    def _send(self, kind: bytes, values: dict[str, Any]) -> None:
        self.responses.write(encode(kind, values))
        self.responses.flush()


def check_duration(path: Path, on_progress: ProgressCallback) -> None:
    """Reject a recording that is too long, however small its file is.

    Raises
    ------
    RequestError
        If the recording is longer than `MAX_HOURS`.
    AudioReadError, OSError
        If the recording cannot be read.
    """
    with ProgressReader(path, 44100, on_progress, 1) as reader:
        if reader.is_longer_than(MAX_HOURS * 3600):
            raise RequestError(413, f"the recording lasts more than {MAX_HOURS} hours, the limit; split it")


REASONS = {
    "not audio": "the file is not audio of a known format",
    "damaged": "the file is damaged",
    "not finite": "the file is damaged",
}  # by the first words of an `AudioReadError`


def _explain(error: AudioReadError) -> str:
    kind, _, reason = error.reason.partition(": ")
    return f"{REASONS[kind]}: {reason}" if kind in REASONS else f"the file cannot be read: {error.reason}"


def _error_response(error: Exception) -> dict[str, Any]:
    if isinstance(error, AudioReadError):
        return {"status": 422, "error": _explain(error)}
    if isinstance(error, RequestError):
        return {"status": error.status, "error": error.message}
    if isinstance(error, Dcase2018Error):
        return {"status": 500, "error": str(error), "exit_code": error.exit_code}
    if isinstance(error, MemoryError):
        return {"status": 500, "error": "out of memory"}
    return {"status": 500, "error": f"unexpected {type(error).__name__}: {error}"}


def main() -> None:
    """Run a worker on standard input and output."""
    exit_when_parent_dies(os.getppid())
    with suppress(OSError):  # the kernel kills this process first if memory runs out
        Path("/proc/self/oom_score_adj").write_text("1000")
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to standard error
    with suppress(BrokenPipeError):
        Worker(open(0, "rb", buffering=0), responses).run()  # noqa: SIM115


if __name__ == "__main__":
    main()
