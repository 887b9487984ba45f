"""Benchmark `report`: a report with players compared with evaluation and decoding of the same clips."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile
from harness import Corpus, Row, Size, make_corpus, make_run, measure_rates

from dcase2018.evaluation.evaluate import evaluate
from dcase2018.inference.ensemble import Ensemble
from dcase2018.reporting.writer import report


def measure(_: Corpus, size: Size) -> list[Row]:
    with TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder), size.report_seconds)
        run, store = make_run(corpus, "compact")
        ensemble = Ensemble.open([run.path], [store])
        report_dir = corpus.root / "report"

        def evaluate_and_decode() -> None:
            evaluate(ensemble, corpus.labels)
            for path in sorted((report_dir / "clips").glob("*.ogg")):
                fname = corpus.labels["fname"][int(path.stem) - 1]
                soundfile.read(corpus.audio / fname, dtype="int16")

        def rate(function: Callable[[], object]) -> float:
            started = time.perf_counter()
            function()
            return len(corpus.labels) / (time.perf_counter() - started)

        write_report = partial(report, ensemble, corpus.labels, report_dir, corpus.audio)
        write_report()
        implementations = {
            "evaluate, and decoding": partial(rate, evaluate_and_decode),
            "report": partial(rate, write_report),
        }
        return measure_rates("report", "clips per second", implementations, size.rounds)
