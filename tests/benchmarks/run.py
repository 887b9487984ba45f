"""Run benchmarks, print a table of their rates, and write it as JSON (`make bench`)."""

import argparse
import json
import logging
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import batches
import exporting
import extraction
import prediction
import report
import training
from harness import Row, Size, format_table, make_corpus

from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract

BENCHMARKS = {
    "extraction": extraction,
    "batches": batches,
    "fit": training,
    "predict": prediction,
    "report": report,
    "export": exporting,
}


def run_benchmarks(names: Sequence[str], size: Size) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder), size.seconds)
        extract(corpus.audio, corpus.store, FEATURE_CONFIGS["baseline"])
        return [row for name in names for row in BENCHMARKS[name].measure(corpus, size)]


def main() -> None:
    names = ", ".join(BENCHMARKS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"{names} (default: all)")
    for field in fields(Size):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), default=field.default)
    args = vars(parser.parse_args())
    output, selected = args.pop("output"), args.pop("benchmarks") or list(BENCHMARKS)
    if unknown := set(selected) - set(BENCHMARKS):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; choose from {names}")
    logging.getLogger("dcase2018").setLevel(logging.WARNING)
    rows = run_benchmarks(selected, Size(**args))
    print(format_table(rows))
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "rows": rows,
    }
    output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(f"written to {output}")


if __name__ == "__main__":
    main()
