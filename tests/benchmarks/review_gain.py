"""Measure what the review of the most suspicious clips is worth in MAP@3, with confidence intervals.

    python tests/benchmarks/review_gain.py OUT --train AUDIO CSV --truth CSV --test AUDIO CSV

The training labels are scored by cross-validation and ranked as `find-label-issues` does. The true labels
replace the reviewer for the first `--clips` of the list, for as many unverified clips at random, and for all
unverified clips. Models are trained on the given and on the reviewed labels, and evaluated on the test clips.
OUT keeps the decisions, the reviewed labels, the runs and the table. Run the same command again to resume.
"""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from compare_configs import ConfigComparison, parse_config, print_table

from dcase2018.data.labels import class_names, read_labels, verified_mask, write_table
from dcase2018.evaluation.out_of_fold import read_out_of_fold
from dcase2018.label_quality.label_issues import find_label_issues
from dcase2018.label_quality.review_decisions import ACCEPT, KEEP, NO_CLASS, Decision, apply_decisions
from dcase2018.runs.run import OUT_OF_FOLD_CSV
from dcase2018.server.decision_log import DecisionLog
from dcase2018.utils.errors import InputError

log = logging.getLogger("dcase2018.review_gain")

SOURCE = "label-issues.csv"


def score_by_folds(args: argparse.Namespace) -> pd.DataFrame:
    """Train the folds, unless they are finished, and return the out-of-fold scores."""
    config = parse_config(f"folds: {args.fold_options}", args.train[1])
    comparison = ConfigComparison(args.out, args.train, args.test)
    comparison.extract(config.features, args.jobs)
    run, store = args.out / "folds", comparison.store(config.features, "train")
    comparison.run_command(run, "fit", store, config.labels, run, *config.options, "--folds", args.folds)
    return read_out_of_fold(run / OUT_OF_FOLD_CSV)


def review(labels: pd.DataFrame, fnames: Sequence[str], truth: Mapping[str, str], path: Path) -> Path:
    """Let the true labels decide on clips; write the decisions and the reviewed label file, and return it."""
    classes, given = set(class_names(labels)), dict(zip(labels["fname"], labels["label"], strict=True))
    path.with_suffix(".decisions.csv").unlink(missing_ok=True)
    with DecisionLog(path.with_suffix(".decisions.csv")) as decisions:
        for fname in fnames:
            label = truth[fname]
            decision = KEEP if label == given[fname] else ACCEPT if label in classes else NO_CLASS
            label = "" if decision == NO_CLASS else label
            decisions.append(Decision(fname, decision, label, "truth", "", SOURCE))
        reviewed = apply_decisions(labels, [decisions.rows])
    write_table(path, reviewed.labels)
    log.info("%s: %d clips reviewed, %d labels wrong", path, len(fnames), len(reviewed.changes))
    return path


def write_configs(args: argparse.Namespace) -> Path:
    """Write the reviewed label files, and a line for `compare_configs` for each."""
    labels = read_labels(args.train[1])
    true_labels = read_labels(args.truth)
    truth = dict(zip(true_labels["fname"], true_labels["label"], strict=True))
    unverified = labels["fname"][~verified_mask(labels)].tolist()
    if missing := [fname for fname in unverified if fname not in truth]:
        raise InputError(
            f"{args.truth} has no label of {len(missing)} unverified clips, such as {missing[0]!r}"
        )
    if not 0 < args.clips <= len(unverified):
        raise InputError(
            f"--clips is {args.clips}; it must be from 1 to {len(unverified)}, the unverified clips"
        )
    issues = find_label_issues(labels, score_by_folds(args))
    write_table(args.out / SOURCE, issues)
    at_random = np.random.default_rng(0).permutation(unverified)[: args.clips].tolist()
    lists = {"first": issues["fname"][: args.clips].tolist(), "random": at_random, "all": unverified}
    lines = [f"given labels: {args.fit_options}"]
    for name, fnames in lists.items():
        reviewed = review(labels, fnames, truth, args.out / f"reviewed-{name}.csv")
        options = f"{args.fit_options} --labels {shlex.quote(str(reviewed))}"
        lines.append(f"{len(fnames)} clips reviewed ({name}): {options}")
    path = args.out / "configs.txt"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[2])
    parser.add_argument("out", type=Path)
    for part in ("--train", "--test"):
        parser.add_argument(part, type=Path, nargs=2, required=True, metavar=("AUDIO_FOLDER", "LABELS_CSV"))
    parser.add_argument("--truth", type=Path, required=True, help="label file with the true training labels")
    parser.add_argument("--clips", type=int, default=100, help="reviewed clips")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--fold-options", default="--preset compact --epochs 50", help="options of fit")
    parser.add_argument("--fit-options", default="--preset compact", help="options of fit")
    parser.add_argument("--seeds", type=int, default=3, help="training runs on each label file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="parallel training runs")
    args = parser.parse_args()
    args.validation = args.test  # as compare_configs names the clips on which it evaluates
    return args


def prepare(args: argparse.Namespace) -> None:
    """Write the configurations to compare, and name their file in `args`."""
    args.out.mkdir(parents=True, exist_ok=True)
    args.configs = write_configs(args)


def main() -> int:
    args = parse_args()
    return print_table("review_gain", args, lambda: prepare(args))


if __name__ == "__main__":
    sys.exit(main())
