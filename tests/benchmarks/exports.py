"""Exported taggers, samples in memory to scores, against extraction and prediction: by a core's time."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
from ai_edge_litert.interpreter import Interpreter
from comparison import Corpus, Row, compare

from dcase2018.export.conversion import convert
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.predictor import StorePredictor
from dcase2018.models.architectures import build
from dcase2018.models.hparams import PRESETS
from dcase2018.runs.model_io import save_model
from dcase2018.runs.run import Run
from dcase2018.training.experiment import Experiment

N_CLIPS = 12
EXPORTED = {"baseline": "baseline", "compact": "logmel96"}  # presets, and their recipes

Way = Callable[[np.ndarray], object]


def in_onnx(path: Path) -> Way:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, settings)
    return lambda samples: session.run(["scores"], {"samples": samples})


def in_litert(path: Path) -> Way:
    runner = Interpreter(str(path), num_threads=1).get_signature_runner()
    return lambda samples: runner(samples=samples)


def make_run(corpus: Corpus, preset: str) -> Run:
    """A run of a preset, with a network of random weights."""
    store = corpus.root / f"{preset}.h5"
    names = list(corpus.labels["fname"][:N_CLIPS])
    extract(corpus.audio, store, FEATURE_CONFIGS[EXPORTED[preset]], names=names)
    labels = corpus.labels[:N_CLIPS]
    run = Experiment.create(corpus.root / preset, PRESETS[preset], Store(store), labels).run
    run.path.mkdir()
    run.save()
    model = build(run.model, run.example_shape, len(run.classes), run.hparams)
    save_model(model, run.path / "model.keras")
    return run


def measure(corpus: Corpus, rounds: int = 3) -> list[Row]:
    return [row for preset in EXPORTED for row in _measure(corpus, preset, rounds)]


def _measure(corpus: Corpus, preset: str, rounds: int) -> list[Row]:
    run = make_run(corpus, preset)
    clips = [corpus.audio / name for name in corpus.labels["fname"][:N_CLIPS]]
    audio = [soundfile.read(path, dtype="float32")[0] for path in clips]
    runners = {"onnx": in_onnx, "litert": in_litert}
    for format in runners:
        convert(run, None, format, corpus.root / f"{preset}.{format}")
    tools = {format: make(corpus.root / f"{preset}.{format}") for format, make in runners.items()}
    model = run.load_for_inference()

    def by_the_program() -> None:
        store = corpus.root / f"{preset} {time.perf_counter()}.h5"
        extract(corpus.audio, store, run.feature_config, names=[path.name for path in clips])
        StorePredictor(run, model, Store(store)).scores(np.arange(N_CLIPS))

    ways = {"extract, predict": by_the_program} | {
        format: lambda tool=tool: [tool(samples) for samples in audio] for format, tool in tools.items()
    }
    for way in ways.values():
        way()

    def rate_of(name: str) -> float:
        started = time.process_time()  # of all cores together
        ways[name]()
        return sum(map(len, audio)) / 44100 / (time.process_time() - started)

    return compare(f"export {preset}", "s of audio a core s", rate_of, list(ways), rounds)
