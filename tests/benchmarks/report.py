"""Benchmark `report`: a report with players compared with evaluation and decoding of the same clips."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile
from harness import Corpus, Row, Size, make_corpus, measure_rates

from dcase2018.evaluation.evaluate import evaluate
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.models.architectures import build, with_activation
from dcase2018.models.hparams import PRESETS
from dcase2018.reporting.writer import report
from dcase2018.runs.model_io import save_model
from dcase2018.training.experiment import Experiment


def measure(_: Corpus, size: Size) -> list[Row]:
    with TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder), size.report_seconds)
        ensemble = make_ensemble(corpus)
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


def make_ensemble(corpus: Corpus) -> Ensemble:
    """Create a run of the preset `compact` with random weights."""
    extract(corpus.audio, corpus.store, FEATURE_CONFIGS["logmel96"])
    store = Store(corpus.store)
    run = Experiment.create(corpus.root / "run", PRESETS["compact"], store, corpus.labels).run
    run.path.mkdir()
    run.save()
    run.save_training_clips([])
    model = build(run.model, run.example_shape, len(run.classes), run.hparams)
    save_model(with_activation(model, run.hparams.classifier), run.path / "model.keras")
    return Ensemble.open([run.path], [store])
