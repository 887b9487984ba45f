"""Benchmark `export`: exported models compared with extraction and prediction, by processor time.

All implementations read samples from memory and return scores.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
from ai_edge_litert.interpreter import Interpreter
from harness import SR, Corpus, Row, Size, make_run, measure_rates

from dcase2018.exporting.conversion import convert
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.predictor import StorePredictor

EXPORTED_PRESETS = ("baseline", "compact")

# Samples of a clip, float32 (n_samples,), to its scores.
Runner = Callable[[np.ndarray], object]


def onnx_runner(path: Path) -> Runner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return lambda samples: session.run(["scores"], {"samples": samples})


def litert_runner(path: Path) -> Runner:
    runner = Interpreter(str(path), num_threads=1).get_signature_runner()
    return lambda samples: runner(samples=samples)


RUNNERS = {"onnx": onnx_runner, "litert": litert_runner}


def measure(corpus: Corpus, size: Size) -> list[Row]:
    return [row for preset in EXPORTED_PRESETS for row in _measure_preset(corpus, preset, size)]


def _measure_preset(corpus: Corpus, preset: str, size: Size) -> list[Row]:
    run, store = make_run(corpus, preset, max(2, size.clips // 5))
    fnames = store.fnames
    clips = [soundfile.read(corpus.audio / fname, dtype="float32")[0] for fname in fnames]
    seconds = sum(map(len, clips)) / SR
    model = run.load_for_inference()

    def extract_and_predict() -> None:
        path = corpus.root / f"{preset} {time.perf_counter()}.h5"
        extract(corpus.audio, path, run.feature_config, names=fnames)
        StorePredictor(run, model, Store(path)).scores(np.arange(len(fnames)))

    def run_exported(runner: Runner) -> None:
        for samples in clips:
            runner(samples)

    functions: dict[str, Callable[[], None]] = {"extract, predict": extract_and_predict}
    for format, make_runner in RUNNERS.items():
        path = corpus.root / f"{preset}.{format}"
        convert(run, None, format, path)
        functions[format] = partial(run_exported, make_runner(path))
    for function in functions.values():
        function()  # traces and compiles

    def rate(function: Callable[[], None]) -> float:
        started = time.process_time()  # of all cores
        function()
        return seconds / (time.process_time() - started)

    implementations = {name: partial(rate, function) for name, function in functions.items()}
    return measure_rates(f"export {preset}", "s of audio per core second", implementations, size.rounds)
