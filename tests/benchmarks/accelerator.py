"""Measure training on an accelerator: from the store, the step alone, and a whole training.

The corpus has the size of FSDKaggle2018: the clips of its label file, of noise. The backend must be JAX
(`KERAS_BACKEND=jax`). "Device" is the compiled training step on batches that already are on the device.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
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
from dcase2018.utils.signals import StopFlag

LABELS = Path(__file__).parents[1] / "label_files" / "train.csv"
PRECISIONS = ("float32", "mixed_bfloat16")
N_NOISE_FRAMES = 1 << 17  # from which the frames of all clips are cut
N_STEADY = 10  # steps before the clock starts
N_DEVICE_BATCHES = 4
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
        times = self.request_times[min(N_STEADY, len(self.request_times) // 2) :]
        return (times[-1] - times[0]) / (len(times) - 1)


@dataclass
class Trainer:
    """A compiled model of a preset, trained one epoch at a time."""

    experiment: Experiment
    model: keras.Model
    loaders: dict[int, TimedLoader]
    state: TrainingState

    @classmethod
    def create(cls, run: Path, preset: str, precision: str, store: Store, labels: pd.DataFrame) -> "Trainer":
        settings = PRESETS[preset]
        hparams = replace(settings.hparams, precision=precision, label_refinement_every=0)
        experiment = Experiment.create(run, replace(settings, hparams=hparams), store, labels)
        statistics = experiment.training.feature_stats()
        classes = experiment.run.classes
        model = build(settings.model, experiment.run.example_shape, len(classes), hparams, statistics)
        compile_model(model, hparams, experiment.steps_per_epoch, experiment.total_steps)
        track_step_loss(model)
        return cls(experiment, model, {}, TrainingState())

    def loader(self, n_threads: int | None) -> TimedLoader:
        """Return the loader of `fit`, with a clock."""
        key = n_threads or 0
        if key not in self.loaders:
            loader = make_loader(self.experiment, n_threads)
            self.loaders[key] = TimedLoader(
                loader.examples, loader.sampler, loader.augmentation,
                loader.targets, loader.weights, loader.n_workers,
            )  # fmt: skip
        return self.loaders[key]

    def store_rate(self, n_threads: int | None) -> float:
        """Train one epoch from the store as `fit` does: examples per second."""
        loader, state = self.loader(n_threads), self.state
        criteria = StoppingCriteria(max_steps=self.experiment.epoch_end(len(state.history) + 1))
        stopping = Stopping(self.experiment, state, criteria, StopFlag())
        inference_model = with_activation(self.model, self.experiment.run.hparams.classifier)
        self.experiment.run.path.mkdir(parents=True, exist_ok=True)
        train(self.experiment, self.model, inference_model, stopping, loader, NEVER, keep_checkpoints=1)
        return self.experiment.batch_size / loader.seconds_per_batch

    def device_rate(self, n_steps: int) -> float:
        """Repeat the compiled step of `store_rate` on batches on the device: examples per second."""
        loader = self.loader(1)
        batches = cycle([jax.device_put(loader[i % loader.num_batches]) for i in range(N_DEVICE_BATCHES)])
        variables = self.model._get_jax_state(**dict.fromkeys(STATE, True), purge_model_variables=True)
        variables = self._run_steps(batches, variables, N_STEADY)
        started = time.perf_counter()
        variables = self._run_steps(batches, variables, n_steps)
        seconds = time.perf_counter() - started
        self.model._jax_state = dict(zip(STATE, variables, strict=True))
        self.model._jax_state_synced = False
        self.model.jax_state_sync()
        return n_steps * self.experiment.batch_size / seconds

    def _run_steps(self, batches: Iterator, variables: Any, n_steps: int) -> Any:
        for _ in range(n_steps):
            _, variables = self.model.train_function(variables, batches)
        return jax.block_until_ready(variables)

    def loader_rate(self, n_threads: int, n_batches: int) -> float:
        """Rate of the loader alone: examples per second."""
        loader = self.loader(n_threads)
        loader.set_epoch(0)
        started = time.perf_counter()
        for item in range(min(n_batches, loader.num_batches)):
            loader[item]
        return loader.sampler.batch_size * (item + 1) / (time.perf_counter() - started)


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


def measure_preset(trainer: Trainer, rounds: int, device_steps: int, loader_batches: int) -> dict[str, Any]:
    """Measure the rates of one preset in turn, `rounds` times, after one turn that is not counted."""
    implementations = {
        "store": partial(trainer.store_rate, None),
        "store, 1 thread": partial(trainer.store_rate, 1),
        "device": partial(trainer.device_rate, device_steps),
    }
    started = time.perf_counter()
    trainer.store_rate(None)
    compilation_seconds = time.perf_counter() - started
    rates: dict[str, list[float]] = {name: [] for name in implementations}
    for _ in range(rounds):
        for name, rate in implementations.items():
            rates[name].append(rate())
    ratios = np.array(rates["store"]) / np.array(rates["device"])
    return {
        "first_epoch_seconds": round(compilation_seconds, 1),
        "examples_per_second": {name: summarize(values) for name, values in rates.items()},
        "store_to_device": summarize(ratios.tolist()),
        "loader_alone": {
            threads: round(trainer.loader_rate(threads, loader_batches)) for threads in (1, 2, 4, 8, 16)
        },
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


def print_preset(name: str, result: dict[str, Any]) -> None:
    ratio = result["store_to_device"]
    print(f"{name}: first epoch {result['first_epoch_seconds']} s, with compilation")
    for implementation, rate in result["examples_per_second"].items():
        print(
            f"  {implementation:16} {rate['median']:8.0f} examples/s ({rate['min']:.0f} to {rate['max']:.0f})"
        )
    print(f"  store / device   {ratio['median']:8.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
    print("  loader alone     " + ", ".join(f"{n} threads {r}" for n, r in result["loader_alone"].items()))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--presets", nargs="*", default=["compact", "large"])
    parser.add_argument("--precisions", nargs="*", default=PRECISIONS)
    parser.add_argument("--clips", type=int, default=None, help="clips of the corpus (default: all 9,473)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device-steps", type=int, default=200)
    parser.add_argument("--loader-batches", type=int, default=200)
    parser.add_argument(
        "--rates-seconds", type=float, default=np.inf, help="start no more presets after this"
    )
    parser.add_argument("--skip-fit", action="store_true", help="do not train with the command")
    parser.add_argument("--epochs", type=int, default=None, help="epochs of the command")
    parser.add_argument("--limit-seconds", type=float, default=None, help="stop the command after this time")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if keras.backend.backend() != "jax":
        sys.exit("set KERAS_BACKEND=jax")
    keep_freed_memory()  # as in the command
    result: dict[str, Any] = {"device": str(jax.devices()[0].device_kind), "cores": os.cpu_count()}

    def save(**values: Any) -> None:
        result.update(values)
        args.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")

    with tempfile.TemporaryDirectory() as folder:
        root, started = Path(folder), time.perf_counter()
        labels = read_labels(LABELS).head(args.clips)
        store = write_noise_store(root / "noise.h5", labels)
        labels.to_csv(root / "noise.csv", index=False)
        save(clips=len(store), hours=round(len(store.frames) / 360000, 2))
        print(f"{result['device']}, {result['cores']} cores; {result['clips']} clips, {result['hours']} h")
        print(f"corpus written in {time.perf_counter() - started:.1f} s", flush=True)
        started = time.perf_counter()
        for precision in args.precisions:
            for preset in args.presets:
                name = f"{preset}, {precision}"
                if time.perf_counter() - started > args.rates_seconds:
                    print(f"{name}: skipped, because --rates-seconds is over")
                    continue
                trainer = Trainer.create(root / name, preset, precision, store, labels)
                rates = measure_preset(trainer, args.rounds, args.device_steps, args.loader_batches)
                save(rates=result.get("rates", {}) | {name: rates})
                print_preset(name, rates)
                print(f"  {time.perf_counter() - started:.0f} s so far", flush=True)
        if not args.skip_fit:
            fit = measure_fit(store.path, root / "noise.csv", root / "fit", args.epochs, args.limit_seconds)
            save(fit=fit)
            print(f"fit: exit code {fit['exit_code']}, {fit['epochs']} epochs in {fit['seconds']} s")
    print(f"written to {args.output}")


if __name__ == "__main__":
    main()
