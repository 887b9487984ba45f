"""Measure training on an accelerator: from the store, the step alone, and a whole training.

The corpus has the size of FSDKaggle2018: the clips of its label file, of noise. The backend must be JAX
(`KERAS_BACKEND=jax`). "Device" is the compiled training step on batches that already are on the device.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, product
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pandas as pd
from harness import draw_clip_seconds

from dcase2018.batching.loader import BatchLoader
from dcase2018.cli.keras_setup import keep_freed_memory
from dcase2018.data.labels import read_labels
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.models.architectures import build, with_activation
from dcase2018.models.hparams import PRESETS
from dcase2018.models.losses import compile_model
from dcase2018.runs.training_state import StoppingCriteria, TrainingState
from dcase2018.training.callbacks import Stopping, track_step_loss
from dcase2018.training.experiment import Experiment
from dcase2018.training.fit import make_loader, train
from dcase2018.utils.atomic import write_json
from dcase2018.utils.signals import StopFlag

LABELS = Path(__file__).parents[1] / "label_files" / "train.csv"
N_NOISE_FRAMES = 1 << 17  # from which the frames of all clips are cut
N_STEADY = 20  # steps before the clock starts
N_DEVICE_BATCHES = 4
THREADS = (1, 2, 4, 8, 16)  # for which the loader alone is measured
NEVER = 10**9  # steps between checkpoints

STATE = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")


class TimedLoader(BatchLoader):
    """A loader that records when each batch is requested."""

    def __init__(self, *args: Any) -> None:
        self.request_times: list[float] = []
        super().__init__(*args)

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        self.request_times.clear()
        super().set_epoch(epoch, first_batch)

    def __getitem__(self, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.request_times.append(time.perf_counter())
        return super().__getitem__(item)

    @property
    def seconds_per_batch(self) -> float:
        """Mean time between two requests of the last epoch, without its start."""
        times = self.request_times[min(N_STEADY, len(self.request_times) // 2 - 1) :]
        return (times[-1] - times[0]) / (len(times) - 1)


@dataclass
class Trainer:
    """A compiled model of a preset, whose training steps are measured."""

    experiment: Experiment
    model: keras.Model
    n_steps: int  # per measurement

    @classmethod
    def create(
        cls, experiment: Experiment, statistics: tuple[np.ndarray, np.ndarray], n_steps: int
    ) -> "Trainer":
        """Build and compile the model as `fit` does."""
        run, steps = experiment.run, (experiment.steps_per_epoch, experiment.total_steps)
        model = build(run.model, run.example_shape, len(run.classes), run.hparams, statistics)
        compile_model(model, run.hparams, *steps)
        track_step_loss(model)
        return cls(experiment, model, min(n_steps, experiment.steps_per_epoch))

    def loader(self, n_threads: int | None) -> TimedLoader:
        """Return the loader of `fit`, with a clock."""
        loader = make_loader(self.experiment, n_threads)
        parts = (loader.examples, loader.sampler, loader.augmentation, loader.targets, loader.weights)
        return TimedLoader(*parts, loader.n_workers)

    def store_rate(self, n_threads: int | None) -> float:
        """Train from the store as `fit` does: examples per second. None is its default number of threads."""
        experiment, loader, state = self.experiment, self.loader(n_threads), TrainingState()
        shutil.rmtree(experiment.run.path, ignore_errors=True)
        experiment.run.path.mkdir(parents=True)
        stopping = Stopping(experiment, state, StoppingCriteria(max_steps=self.n_steps), StopFlag())
        inference_model = with_activation(self.model, experiment.run.hparams.classifier)
        train(experiment, self.model, inference_model, stopping, loader, NEVER)
        return experiment.batch_size / loader.seconds_per_batch

    def device_rate(self) -> float:
        """Repeat the compiled step of `store_rate` on batches on the device: examples per second."""
        loader = self.loader(1)
        batches = cycle([jax.device_put(loader[i % loader.num_batches]) for i in range(N_DEVICE_BATCHES)])
        variables = self.model._get_jax_state(**dict.fromkeys(STATE, True), purge_model_variables=True)
        variables = self._run_steps(batches, variables, N_STEADY)
        started = time.perf_counter()
        variables = self._run_steps(batches, variables, self.n_steps)
        seconds = time.perf_counter() - started
        self.model._jax_state = dict(zip(STATE, variables, strict=True))
        self.model._jax_state_synced = False
        self.model.jax_state_sync()
        return self.n_steps * self.experiment.batch_size / seconds

    def _run_steps(self, batches: Iterator, variables: Any, n_steps: int) -> Any:
        for _ in range(n_steps):
            _, variables = self.model.train_function(variables, batches)
        return jax.block_until_ready(variables)

    def loader_rate(self, n_threads: int) -> float:
        """Load batches and do nothing with them: examples per second."""
        loader = self.loader(n_threads)
        started = time.perf_counter()
        for item in range(self.n_steps):
            loader[item]
        return self.n_steps * self.experiment.batch_size / (time.perf_counter() - started)


def write_noise_store(path: Path, labels: pd.DataFrame) -> Store:
    """Write a store of noise, with the clips of a label file and the durations of FSDKaggle2018."""
    config = FEATURE_CONFIGS["logmel96"]
    rng = np.random.default_rng(0)
    noise = rng.normal(-3, 2, (N_NOISE_FRAMES, config.n_features)).astype(config.storage_dtype)
    n_frames = [
        config.n_frames(int(seconds * config.sample_rate)) for seconds in draw_clip_seconds(rng, len(labels))
    ]
    frames = [noise[start : start + n] for n in n_frames for start in [rng.integers(len(noise) - n)]]
    records = [
        ClipRecord(fname, len(clip), checksum(clip), size=0, mtime_ns=0)
        for fname, clip in zip(labels["fname"], frames, strict=True)
    ]
    write_store(path, config, records, frames, fsync=False)
    return Store(path)


def measure_rates(trainer: Trainer, rounds: int) -> dict[str, Any]:
    """Measure the rates of one model in turn, `rounds` times."""
    implementations = {
        "store": partial(trainer.store_rate, None),
        "store, 1 thread": partial(trainer.store_rate, 1),
        "store, 4 threads": partial(trainer.store_rate, 4),
        "device": trainer.device_rate,
    }
    started = time.perf_counter()
    trainer.store_rate(None)
    first_seconds = time.perf_counter() - started
    rates: dict[str, list[float]] = {name: [] for name in implementations}
    for _ in range(rounds):
        for name, rate in implementations.items():
            rates[name].append(rate())
    ratios = np.array(rates["store"]) / np.array(rates["device"])
    return {
        "first_seconds": round(first_seconds, 1),
        "examples_per_second": {name: summarize(values) for name, values in rates.items()},
        "store_to_device": summarize(ratios.tolist()),
        "loader_alone": {n_threads: round(trainer.loader_rate(n_threads)) for n_threads in THREADS},
    }


def summarize(values: Sequence[float]) -> dict[str, float]:
    median, low, high = float(np.median(values)), min(values), max(values)
    return {name: float(f"{value:.4g}") for name, value in (("median", median), ("min", low), ("max", high))}


def measure_fit(
    store: Path, labels: Path, run: Path, epochs: int | None, limit_seconds: float | None
) -> dict[str, Any]:
    """Train `compact` with the command, and stop it after `limit_seconds`."""
    command = [sys.executable, "-m", "dcase2018", "fit", store, labels, run, "--preset", "compact"]
    command += ["--epochs", str(epochs)] if epochs else []
    started = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], start_new_session=True)
    try:
        process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()
    seconds = time.perf_counter() - started
    path = run / "history.csv"
    history = pd.read_csv(path) if path.exists() else pd.DataFrame({"seconds": [], "step": []})
    return {
        "exit_code": process.returncode,
        "seconds": round(seconds, 1),
        "epochs": len(history),
        "steps": int(history["step"].max()) if len(history) else 0,
        "epoch_end_seconds": history["seconds"].tolist(),
    }


def print_rates(name: str, result: dict[str, Any]) -> None:
    ratio = result["store_to_device"]
    print(f"{name}: {result['first_seconds']} s for compilation and the first steps")
    for implementation, rate in result["examples_per_second"].items():
        print(
            f"  {implementation:16} {rate['median']:8.0f} examples/s ({rate['min']:.0f} to {rate['max']:.0f})"
        )
    print(f"  store / device   {ratio['median']:8.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
    rates = ", ".join(f"{n} threads {rate}" for n, rate in result["loader_alone"].items())
    print(f"  loader alone     {rates}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--presets", nargs="*", default=["compact", "large"])
    parser.add_argument("--precisions", nargs="*", default=["float32", "mixed_bfloat16"])
    parser.add_argument("--clips", type=int, help="clips of the corpus (default: all 9,473)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each rate")
    parser.add_argument("--steps", type=int, default=250, help="steps per measurement, from 2 to an epoch")
    parser.add_argument(
        "--rates-seconds", type=float, default=np.inf, help="start no more models after this time"
    )
    parser.add_argument("--skip-fit", action="store_true", help="do not train with the command")
    parser.add_argument("--epochs", type=int, help="epochs of the command (default: those of compact)")
    parser.add_argument("--limit-seconds", type=float, help="stop the command after this time")
    return parser.parse_args()


def measure_models(
    args: argparse.Namespace, store: Store, labels: pd.DataFrame, folder: Path, results: dict[str, Any]
) -> None:
    """Measure the rates of all presets and precisions, until `--rates-seconds`; write each with `results`."""
    started = time.perf_counter()
    statistics, rates = None, results.setdefault("rates", {})
    for precision, preset in product(args.precisions, args.presets):
        name, settings = f"{preset}, {precision}", PRESETS[preset]
        if time.perf_counter() - started > args.rates_seconds:
            print(f"{name}: skipped, as the time is over")
            continue
        hparams = replace(settings.hparams, precision=precision, label_refinement_every=0)
        experiment = Experiment.create(folder / "rates", replace(settings, hparams=hparams), store, labels)
        statistics = statistics or experiment.training.feature_stats()
        rates[name] = measure_rates(Trainer.create(experiment, statistics, args.steps), args.rounds)
        write_json(args.output, results)
        print_rates(name, rates[name])
        print(f"  {time.perf_counter() - started:.0f} s so far", flush=True)


def main() -> None:
    args = parse_arguments()
    if keras.backend.backend() != "jax":
        sys.exit("set KERAS_BACKEND=jax")
    keep_freed_memory()  # as in the command
    with tempfile.TemporaryDirectory() as name:
        folder, started = Path(name), time.perf_counter()
        labels = read_labels(LABELS).head(args.clips)
        labels.to_csv(folder / "noise.csv", index=False)
        store = write_noise_store(folder / "noise.h5", labels)
        device, hours = jax.devices()[0].device_kind, len(store.frames) / 360_000
        results = {
            "device": device, "cores": os.cpu_count(), "clips": len(store), "hours": round(hours, 2)
        }  # fmt: skip
        write_json(args.output, results)
        print(f"{device}, {os.cpu_count()} cores; {len(store)} clips, {hours:.2f} h,", end=" ")
        print(f"written in {time.perf_counter() - started:.0f} s", flush=True)
        measure_models(args, store, labels, folder, results)
        if not args.skip_fit:
            fit = measure_fit(
                store.path, folder / "noise.csv", folder / "fit", args.epochs, args.limit_seconds
            )
            write_json(args.output, results | {"fit": fit})
            print(f"fit: exit code {fit['exit_code']}, {fit['epochs']} epochs in {fit['seconds']} s")
    print(f"written to {args.output}")


if __name__ == "__main__":
    main()
