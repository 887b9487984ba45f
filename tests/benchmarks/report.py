"""A report, with the sound of the clips that it shows, against evaluation of all and decoding of those."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile
from comparison import Corpus, Row, compare, make_corpus

from dcase2018.evaluation.evaluate import evaluate
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.models.architectures import build, with_activation
from dcase2018.models.hparams import PRESETS
from dcase2018.report.writer import report
from dcase2018.runs.model_io import save_model
from dcase2018.training.experiment import Experiment

SECONDS = 9300  # which are about 1,600 clips, as many as the challenge scores


def measure(_: Corpus, rounds: int = 3) -> list[Row]:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        corpus = make_corpus(root, SECONDS)
        extract(corpus.audio, corpus.store, FEATURE_CONFIGS["logmel96"])
        labels = corpus.labels.assign(label=corpus.labels["label"].str.replace(" ", "_"))
        run = Experiment.create(root / "run", PRESETS["compact"], Store(corpus.store), labels).run
        run.path.mkdir()
        run.save()
        network = build(run.model, run.example_shape, len(run.classes), run.hparams)
        save_model(with_activation(network, run.hparams.classifier), run.path / "model.keras")
        ensemble = Ensemble.open([run.path], [Store(corpus.store)])

        def evaluation() -> None:
            evaluate(ensemble, labels)
            for path in sorted((root / "report" / "clips").glob("*.ogg")):
                clip = labels["fname"][int(path.stem) - 1]
                soundfile.read(corpus.audio / clip, dtype="int16")

        ways = {
            "evaluate, and decoding": evaluation,
            "report": lambda: report(ensemble, labels, root / "report", corpus.audio),
        }

        def rate_of(name: str) -> float:
            started = time.perf_counter()
            ways[name]()
            return len(labels) / (time.perf_counter() - started)

        rate_of("report")
        return compare("report", "clips a second", rate_of, list(ways), rounds)
