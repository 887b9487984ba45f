"""Ideas about training, compared so that a difference can be believed: one command, one table.

    python tests/benchmarks/recipes.py IDEAS.txt OUT --train AUDIO CSV --validation AUDIO CSV

A line of IDEAS.txt is an idea, `name: options of dcase2018 fit`; the first is what the others are compared
with. Two options are for this command: `--features` of the features (if not given, that of the preset), and
`--labels`, of another label file. OUT keeps stores, runs (OUT/IDEA/seed-N), scores and the table, and the
same command goes on where it was. The seeds of an idea come together, so that ideas meet the same machine.
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
from collections.abc import Sequence
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
from dcase2018.utils.atomic import open_atomic, write_json
from dcase2018.utils.config import read_json_object
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.signals import sigterm_as_exception

log = logging.getLogger("dcase2018.recipes")

RECIPE_OF = {"baseline": "baseline", "quick": "baseline", "yamnet": "yamnet"}  # other presets: wide
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
MEASURES = ["MAP@3", "95 %", "seeds", "difference", "95 %", "weights", "multiplies a second", "training"]
HEADER = ["idea", *MEASURES, "processor"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Idea:
    """A name, options of `fit`, the feature_config of the features, and a label file to learn from."""

    name: str
    options: list[str]
    feature_config: str
    labels: Path

    @property
    def folder(self) -> str:
        return re.sub(r"[^\w+=]+", "-", self.name).strip("-")


@dataclass(frozen=True)
class Trained:
    """A run, or a folder of folds; its answers; and how long it took, of the processor if it took one go."""

    run: Path
    evaluation: Evaluation
    seconds: float
    processor_seconds: float | None

    def __str__(self) -> str:
        return f"MAP@3 {self.evaluation.ap_at_3.mean():.4f}, {self.seconds:.0f} s of training"


def read_ideas(path: Path, labels: Path) -> list[Idea]:
    """Read a file of ideas, which learn from `labels` if they do not say otherwise."""
    ideas: list[Idea] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            ideas.append(read_idea(line, labels))
            if ideas[-1].folder in {"", "stores", *(idea.folder for idea in ideas[:-1])}:
                raise InputError(f"{ideas[-1].name!r} names no folder of its own; give another name")
        except (ValueError, argparse.ArgumentError, InputError) as error:
            raise InputError(f"{path}: line {number}: {error}") from None
    if not ideas:
        raise InputError(f"{path} has no idea, which is a line `name: options of dcase2018 fit`")
    return ideas


def read_idea(line: str, labels: Path) -> Idea:
    name, colon, options = line.partition(":")
    if not colon:
        raise InputError("there is no colon; an idea is `name: options of dcase2018 fit`")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--features", choices=FEATURE_CONFIGS)
    parser.add_argument("--labels", type=Path, default=labels)
    parser.add_argument("--preset", default="baseline")  # as for fit
    parser.add_argument("--seed")
    given, others = parser.parse_known_args(shlex.split(options, comments=True))
    if given.seed is not None:
        raise InputError("--seed is not an idea's; all are trained with the same --seeds")
    feature_config = given.feature_config or RECIPE_OF.get(given.preset, "logmel96")
    return Idea(name.strip(), ["--preset", given.preset, *others], feature_config, given.labels)


class Comparison:
    """Trainings in a folder, on some clips, and what they say of others."""

    def __init__(self, out: Path, train: Sequence[Path], validation: Sequence[Path]) -> None:
        self.out, self.train, self.validation = out, train, validation
        self.classes = class_names(read_labels(train[1]))
        self.truth = read_labels(validation[1], self.classes)
        self.processes: set[int] = set()  # that train or score now

    def store(self, feature_config: str, part: str) -> Path:
        return self.out / "stores" / f"{feature_config}.{part}.h5"

    def extract(self, feature_config: str, jobs: int) -> None:
        """Compute what the stores of a feature_config lack; clips of another corpus go from them."""
        train, validation = self.store(feature_config, "train"), self.store(feature_config, "validation")
        extract(self.train[0], train, FEATURE_CONFIGS[feature_config], jobs=jobs, force=True)
        extract(
            self.validation[0],
            validation,
            FEATURE_CONFIGS[feature_config],
            list(self.truth["fname"]),
            jobs,
            force=True,
        )

    def attempt(self, idea: Idea, seed: int) -> Trained:
        """Train, unless that was done, and score; raises `Dcase2018Error` if it does not go."""
        run = self.out / idea.folder / f"seed-{seed}"
        run.parent.mkdir(parents=True, exist_ok=True)
        note = run.with_suffix(".json")
        known = read_json_object(note) if note.exists() else {}
        if known and known["options"] != idea.options:
            raise InputError(f"{run} had other options; give the idea another name, or remove {run.parent}")
        begun = any(run.glob("**/run.json"))
        store, validation = (self.store(idea.feature_config, part) for part in ("train", "validation"))
        used = self.call(run, "fit", store, idea.labels, run, *idea.options, "--seed", seed)
        runs = open_runs([run])
        files = [one.path / name for one in runs for name in ("run.json", "model.keras")]
        network = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
        if known.get("network") != network:
            known = {"options": idea.options, "network": network, "processor": None if begun else used}
            write_json(note, known)
        seconds = sum(one.state().seconds for one in runs)
        return Trained(run, self.score(run, network, validation), seconds, known["processor"])

    def score(self, run: Path, network: str, store: Path) -> Evaluation:
        """Score the clips, or read what this very network has said of these very clips."""
        clips = LabeledDataset.from_labels(Store(store), self.truth, self.classes).fingerprint()
        scores = run.with_name(f"{run.name}.{network}.{clips}.csv")
        if not scores.exists():
            submission = run.with_suffix(".submission.csv")
            self.call(run, "predict", store, submission, run, "--scores-output", scores)
        table = read_scores(scores)
        check_classes(list(table.columns), run, self.classes, self.train[1])
        return evaluate_scores(table, self.truth)

    def call(self, run: Path, command: str, *args: object) -> float:
        """Run a command for a run; return its processor seconds, or raise its reason to fail."""
        line = [sys.executable, "-m", "dcase2018", command, *map(str, args)]
        log_file, environment = run.with_suffix(f".{command}.log"), os.environ | ONE_THREAD
        with log_file.open("w") as file:  # Ctrl-C is for this process, which ends those in other groups
            process = subprocess.Popen(line, stdout=file, stderr=file, env=environment, process_group=0)
        self.processes.add(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        self.processes.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said = re.findall(r"(?m)^(?:dcase2018|Error): (.+)", log_file.read_text("utf-8", "replace"))
            raise Dcase2018Error(said[-1] if said else f"{command} ended with {process.returncode}")
        return used.ru_utime + used.ru_stime

    def attempt_all(self, ideas: Sequence[Idea], seeds: int, jobs: int) -> list[list[Trained | Exception]]:
        """What comes of each seed of each idea: what was trained, or why it did not go."""
        outcomes: dict[tuple[str, int], Trained | Exception] = {}
        with sigterm_as_exception(), ThreadPoolExecutor(jobs) as pool:
            pairs = product(ideas, range(seeds))
            tasks = {pool.submit(self.attempt, idea, seed): (idea.name, seed) for idea, seed in pairs}
            try:
                for task in as_completed(tasks):
                    one = tasks[task]
                    try:
                        outcomes[one] = task.result()
                    except (Dcase2018Error, OSError) as error:
                        outcomes[one] = error
                    log.info("%d/%d %s, seed %d: %s", len(outcomes), len(tasks), *one, outcomes[one])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in self.processes.copy():
                    os.kill(process, signal.SIGTERM)
                raise
        return [[outcomes[idea.name, seed] for seed in range(seeds)] for idea in ideas]


def make_row(idea: Idea, outcomes: Sequence[Trained | Exception], first: Sequence[Evaluation]) -> Row:
    """All that is known of an idea, which is compared with what the `first` one gave, if it gave anything."""
    row: Row = {
        "idea": idea.name,
        "options": idea.options,
        "feature_config": idea.feature_config,
        "labels": str(idea.labels),
    }
    trained = [outcome for outcome in outcomes if isinstance(outcome, Trained)]
    errors = [str(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
    if errors:
        return row | {"error": errors[0]}
    side = [one.evaluation for one in trained]
    precision = np.mean([one.ap_at_3 for one in side], axis=0)
    used = [one.processor_seconds for one in trained if one.processor_seconds]
    row |= {
        "map3": float(precision.mean()),
        "interval": mean_interval(precision, strata(side[0]), np.random.default_rng(0), 10_000),
        "seeds": [float(one.ap_at_3.mean()) for one in side],
        "seconds": float(np.mean([one.seconds for one in trained])),
        "processor_seconds": float(np.mean(used)) if used else None,
    }
    row["weights"], row["multiplies_a_second"] = size(trained[0].run)
    if first and first[0] is not side[0]:
        told = compare(first, side)
        row |= {"difference": told["difference"], "conclusion": told["conclusion"]}
        row["difference_interval"] = told["seeds"]["both"] if told["seeds"] else told["interval"]
    return row


def size(run: Path) -> tuple[int, float]:
    """Weights of a run, or of all folds, and its multiplications for a second of audio."""
    from dcase2018.models.architectures import count_macs

    weights, products = 0, 0.0
    for one in open_runs([run]):
        network = one.load_checkpoint(one.model_file())
        weights += network.count_params()
        products += (
            count_macs(network)
            / one.hparams.inference_hop_frames(one.feature_config)
            / one.feature_config.stft_hop_seconds
        )
    return weights, products


def synthesize_clip(rows: Sequence[Row]) -> str:
    """Lay rows out as a table of Markdown."""
    lines = [HEADER, ["---"] * len(HEADER), *map(cells, rows)]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def cells(row: Row) -> list[str]:
    if "error" in row:
        return [row["idea"], row["error"].partition(";")[0], *[""] * (len(HEADER) - 2)]
    return [
        row["idea"],
        f"{row['map3']:.4f}",
        "{:.4f} to {:.4f}".format(*row["interval"]),
        ", ".join(f"{score:.4f}" for score in row["seeds"]),
        f"{row['difference']:+.4f}" if "difference" in row else "",
        "{:+.4f} to {:+.4f}".format(*row["difference_interval"]) if "difference" in row else "",
        f"{row['weights']:,}",
        f"{row['multiplies_a_second'] / 1e6:.1f}M",
        f"{row['seconds']:.0f} s",
        f"{row['processor_seconds']:.0f} s" if row["processor_seconds"] is not None else "",
    ]


def make_table(given: argparse.Namespace) -> list[Row]:
    """Train and score what is not there, and write the table."""
    ideas = read_ideas(given.ideas, given.train[1])
    comparison = Comparison(given.out, given.train, given.validation)
    for feature_config in dict.fromkeys(idea.feature_config for idea in ideas):
        comparison.extract(feature_config, given.jobs)
    outcomes = comparison.attempt_all(ideas, given.seeds, given.jobs)
    load_keras()
    first = [one.evaluation for one in outcomes[0] if isinstance(one, Trained)]
    first = first if len(first) == given.seeds else []
    rows = [make_row(idea, each, first) for idea, each in zip(ideas, outcomes, strict=True)]
    write_json(given.out / "table.json", rows)
    with open_atomic(given.out / "table.md") as file:
        file.write(synthesize_clip(rows))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[2])
    parser.add_argument("ideas", type=Path)
    parser.add_argument("out", type=Path)
    for part in ("--train", "--validation"):
        parser.add_argument(part, type=Path, nargs=2, required=True, metavar=("AUDIO_FOLDER", "LABELS_CSV"))
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each idea")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings side by side")
    given = parser.parse_args()
    if given.seeds < 1 or given.jobs < 1:
        parser.error("--seeds and --jobs are 1 or more")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("dcase2018").setLevel(logging.INFO)
    try:
        rows = make_table(given)
    except (Dcase2018Error, OSError) as error:
        print(f"recipes: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        print("recipes: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(synthesize_clip(rows), end="")
    return int(any("error" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
