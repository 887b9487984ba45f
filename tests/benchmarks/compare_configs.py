"""Train and compare configurations of `dcase2018 fit`, with confidence intervals.

    python tests/benchmarks/compare_configs.py CONFIGS.txt OUT --train AUDIO CSV --validation AUDIO CSV

Each line of CONFIGS.txt is `name: options of dcase2018 fit`. Differences are computed from the first line.
Two options belong to this command: `--features` selects the feature config (default: that of the preset),
and `--labels` another label file. OUT keeps the stores, the runs (OUT/CONFIG/seed-N), the scores and the
table. Run the same command again to resume. The seeds of a configuration run together, so that all
configurations see the same machine load.
"""

import argparse
import hashlib
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from dcase2018.batching.dataset import LabeledDataset
from dcase2018.cli.keras_setup import load_keras
from dcase2018.data.labels import class_names, read_labels
from dcase2018.evaluation.confidence_intervals import mean_interval, strata
from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.evaluation.significance import compare
from dcase2018.evaluation.submission import evaluate_scores, read_scores
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import check_classes, open_runs
from dcase2018.models.hparams import PRESETS
from dcase2018.utils.atomic import open_atomic, write_json
from dcase2018.utils.config import read_json_object
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.signals import sigterm_as_exception

log = logging.getLogger("dcase2018.compare_configs")

STORES = "stores"  # subfolder of OUT
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
HEADER = [
    "config", "MAP@3", "95 %", "seeds", "difference", "95 %",
    "weights", "MACs per second", "training", "processor",
]  # fmt: skip
RESAMPLES = 10_000

Row = dict[str, Any]


@dataclass(frozen=True)
class Config:
    """A configuration: a name, options of `fit`, a feature config, and the training labels."""

    name: str
    options: list[str]
    features: str
    labels: Path

    @property
    def folder(self) -> str:
        return re.sub(r"[^\w+=]+", "-", self.name).strip("-")


@dataclass(frozen=True)
class TrainedRun:
    """A run, or a folder of folds, with its evaluation.

    Attributes
    ----------
    seconds
        Elapsed time of training.
    processor_seconds
        Processor time of training; None if training was interrupted.
    """

    path: Path
    evaluation: Evaluation
    seconds: float
    processor_seconds: float | None

    def __str__(self) -> str:
        return f"MAP@3 {self.evaluation.map3:.4f}, {self.seconds:.0f} s of training"


def read_configs(path: Path, labels: Path) -> list[Config]:
    """Read a file of configurations; `labels` is the default label file."""
    configs: list[Config] = []
    for line_number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            config = parse_config(line, labels)
            if config.folder in {"", STORES, *(other.folder for other in configs)}:
                raise InputError(f"{config.name!r} has no folder name of its own; choose another name")
        except (ValueError, argparse.ArgumentError, InputError) as error:
            raise InputError(f"{path}: line {line_number}: {error}") from None
        configs.append(config)
    if not configs:
        raise InputError(f"{path} is empty; write one `name: options of dcase2018 fit` per line")
    return configs


def parse_config(line: str, labels: Path) -> Config:
    name, colon, options = line.partition(":")
    if not colon:
        raise InputError("the colon is missing; write `name: options of dcase2018 fit`")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--features", choices=FEATURE_CONFIGS)
    parser.add_argument("--labels", type=Path, default=labels)
    parser.add_argument("--preset", default="baseline", choices=PRESETS)  # the default of fit
    parser.add_argument("--seed")
    args, fit_options = parser.parse_known_args(shlex.split(options, comments=True))
    if args.seed is not None:
        raise InputError("--seed is not allowed here; all configurations use the same --seeds")
    features = args.features or PRESETS[args.preset].features
    return Config(name.strip(), ["--preset", args.preset, *fit_options], features, args.labels)


class ConfigComparison:
    """Trains configurations on some clips and evaluates them on others, in the folder `out`.

    Parameters
    ----------
    train, validation
        Audio folder and label file.
    """

    def __init__(self, out: Path, train: Sequence[Path], validation: Sequence[Path]) -> None:
        self.out, self.train, self.validation = out, train, validation
        self.classes = class_names(read_labels(train[1]))
        self.labels = read_labels(validation[1], self.classes)
        self.child_pids: set[int] = set()

    def store(self, features: str, part: str) -> Path:
        return self.out / STORES / f"{features}.{part}.h5"

    def extract(self, features: str, jobs: int) -> None:
        """Update both stores of a feature config, and remove clips no longer in the audio folders."""
        feature_config = FEATURE_CONFIGS[features]
        extract(self.train[0], self.store(features, "train"), feature_config, jobs=jobs, prune=True)
        extract(
            self.validation[0], self.store(features, "validation"), feature_config,
            names=list(self.labels["fname"]), jobs=jobs, prune=True,
        )  # fmt: skip

    def train_and_score(self, config: Config, seed: int) -> TrainedRun:
        """Train a configuration, unless it is finished, and evaluate it.

        Raises
        ------
        Dcase2018Error
            If a command fails.
        """
        run = self.out / config.folder / f"seed-{seed}"
        run.parent.mkdir(parents=True, exist_ok=True)
        record_path = run.with_suffix(".json")
        record = read_json_object(record_path) if record_path.exists() else {}
        if record and record["options"] != config.options:
            raise InputError(
                f"{run} was trained with other options; rename the config, or remove {run.parent}"
            )
        is_resumed = any(run.glob("**/run.json"))
        train, validation = (self.store(config.features, part) for part in ("train", "validation"))
        used = self.run_command(
            run, "fit", train, config.labels, run, *config.options, "--any-features", "--seed", seed
        )
        runs = open_runs([run])
        files = [member.path / name for member in runs for name in ("run.json", "model.keras")]
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
        if record.get("model") != digest:
            record = {"options": config.options, "model": digest, "processor": None if is_resumed else used}
            write_json(record_path, record)
        seconds = sum(member.state().seconds for member in runs)
        return TrainedRun(run, self.evaluate(run, digest, validation), seconds, record["processor"])

    def evaluate(self, run: Path, digest: str, store: Path) -> Evaluation:
        """Evaluate a run, or read its scores if this model scored these clips before."""
        clips = LabeledDataset.from_labels(Store(store), self.labels, self.classes).fingerprint()
        scores_csv = run.with_name(f"{run.name}.{digest}.{clips}.csv")
        if not scores_csv.exists():
            submission = run.with_suffix(".submission.csv")
            self.run_command(run, "predict", store, run, "-o", submission, "--scores-output", scores_csv)
        scores = read_scores(scores_csv)
        check_classes(list(scores.columns), run, self.classes, self.train[1])
        return evaluate_scores(scores, self.labels, scores_csv)

    def run_command(self, run: Path, command: str, *args: object) -> float:
        """Run a dcase2018 command and return its processor time in seconds.

        Raises
        ------
        Dcase2018Error
            If it fails, with the last error message of its log.
        """
        argv = [sys.executable, "-m", "dcase2018", command, *map(str, args)]
        log_path, env = run.with_suffix(f".{command}.log"), os.environ | ONE_THREAD
        # The children have their own process group: Ctrl-C reaches this process, which stops them.
        with log_path.open("w") as file:
            process = subprocess.Popen(argv, stdout=file, stderr=file, env=env, process_group=0)
        self.child_pids.add(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        self.child_pids.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors = re.findall(r"(?m)^(?:dcase2018|Error): (.+)", log_path.read_text("utf-8", "replace"))
            raise Dcase2018Error(errors[-1] if errors else f"{command} exited with {process.returncode}")
        return usage.ru_utime + usage.ru_stime

    def run_all(self, configs: Sequence[Config], seeds: int, jobs: int) -> list[list[TrainedRun | Exception]]:
        """Train all seeds of all configurations: for each, the trained runs or the errors."""
        results: dict[tuple[str, int], TrainedRun | Exception] = {}
        with sigterm_as_exception(), ThreadPoolExecutor(jobs) as pool:
            tasks = {
                pool.submit(self.train_and_score, config, seed): (config.name, seed)
                for config, seed in product(configs, range(seeds))
            }
            try:
                for task in as_completed(tasks):
                    key = tasks[task]
                    try:
                        results[key] = task.result()
                    except (Dcase2018Error, OSError) as error:
                        results[key] = error
                    log.info("%d/%d %s, seed %d: %s", len(results), len(tasks), *key, results[key])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for pid in self.child_pids.copy():
                    os.kill(pid, signal.SIGTERM)
                raise
        return [[results[config.name, seed] for seed in range(seeds)] for config in configs]


def make_row(
    config: Config, results: Sequence[TrainedRun | Exception], reference: Sequence[Evaluation]
) -> Row:
    """Summarize a configuration; `reference` has the evaluations of the first one, if it succeeded."""
    row: Row = {
        "config": config.name,
        "options": config.options,
        "features": config.features,
        "labels": str(config.labels),
    }
    errors = [str(result) for result in results if isinstance(result, Exception)]
    if errors:
        return row | {"error": errors[0]}
    runs = [result for result in results if isinstance(result, TrainedRun)]
    evaluations = [run.evaluation for run in runs]
    ap_at_3 = np.mean([evaluation.ap_at_3 for evaluation in evaluations], axis=0)  # (n_clips,)
    rng = np.random.default_rng(0)
    processor_seconds = [run.processor_seconds for run in runs if run.processor_seconds]
    row |= {
        "map3": float(ap_at_3.mean()),
        "interval": list(mean_interval(ap_at_3, strata(evaluations[0]), rng, RESAMPLES)),
        "seeds": [evaluation.map3 for evaluation in evaluations],
        "seconds": float(np.mean([run.seconds for run in runs])),
        "processor_seconds": float(np.mean(processor_seconds)) if processor_seconds else None,
    }
    row["weights"], row["macs_per_second"] = model_size(runs[0].path)
    if reference and reference[0] is not evaluations[0]:
        comparison = compare(reference, evaluations)
        row |= {name: comparison[name] for name in ("difference", "conclusion")}
        seeds = comparison["seeds"]
        row["difference_interval"] = seeds["combined"] if seeds else comparison["interval"]
    return row


def model_size(path: Path) -> tuple[int, float]:
    """Weights of a run or of all folds, and multiply-accumulates per second of audio."""
    from dcase2018.models.architectures import count_macs

    n_weights, macs = 0, 0.0
    for run in open_runs([path]):
        model = run.load_checkpoint(run.model_file())
        hop_frames = run.hparams.inference_hop_frames(run.feature_config)
        n_weights += model.count_params()
        macs += count_macs(model) / (hop_frames * run.feature_config.frame_hop_seconds)
    return n_weights, macs


def format_markdown(rows: Sequence[Row]) -> str:
    lines = [HEADER, ["---"] * len(HEADER), *map(format_cells, rows)]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def format_cells(row: Row) -> list[str]:
    if "error" in row:
        return [row["config"], row["error"].partition(";")[0], *[""] * (len(HEADER) - 2)]
    return [
        row["config"],
        f"{row['map3']:.4f}",
        "{:.4f} to {:.4f}".format(*row["interval"]),
        ", ".join(f"{score:.4f}" for score in row["seeds"]),
        f"{row['difference']:+.4f}" if "difference" in row else "",
        "{:+.4f} to {:+.4f}".format(*row["difference_interval"]) if "difference" in row else "",
        f"{row['weights']:,}",
        f"{row['macs_per_second'] / 1e6:.1f}M",
        f"{row['seconds']:.0f} s",
        f"{row['processor_seconds']:.0f} s" if row["processor_seconds"] is not None else "",
    ]


def make_table(args: argparse.Namespace) -> list[Row]:
    """Train and score what is missing, and write the table."""
    configs = read_configs(args.configs, args.train[1])
    comparison = ConfigComparison(args.out, args.train, args.validation)
    for features in dict.fromkeys(config.features for config in configs):
        comparison.extract(features, args.jobs)
    results = comparison.run_all(configs, args.seeds, args.jobs)
    load_keras()
    reference = [result.evaluation for result in results[0] if isinstance(result, TrainedRun)]
    if len(reference) < args.seeds:
        reference = []
    rows = [
        make_row(config, config_results, reference)
        for config, config_results in zip(configs, results, strict=True)
    ]
    write_json(args.out / "table.json", rows)
    with open_atomic(args.out / "table.md") as file:
        file.write(format_markdown(rows))
    return rows


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[2])
    parser.add_argument("configs", type=Path)
    parser.add_argument("out", type=Path)
    for part in ("--train", "--validation"):
        parser.add_argument(part, type=Path, nargs=2, required=True, metavar=("AUDIO_FOLDER", "LABELS_CSV"))
    parser.add_argument("--seeds", type=int, default=3, help="training runs of each configuration")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="parallel training runs")
    args = parser.parse_args()
    if args.seeds < 1 or args.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    return args


def print_table(program: str, args: argparse.Namespace, prepare: Callable[[], object] | None = None) -> int:
    """Call `prepare`, print the table of `args.configs`, and return the exit code of the program."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("dcase2018").setLevel(logging.INFO)
    try:
        if prepare:
            prepare()
        rows = make_table(args)
    except (Dcase2018Error, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        print(f"{program}: interrupted; run the same command again to resume", file=sys.stderr)
        return 130
    print(format_markdown(rows), end="")
    return int(any("error" in row for row in rows))


if __name__ == "__main__":
    sys.exit(print_table("compare_configs", parse_args()))
