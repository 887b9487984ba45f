"""`make bench`: measure every part beside its comparator in the same run; print a table, write JSON."""

import json
import logging
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import batches
import exports
import extraction
import prediction
import report
import training
from comparison import make_corpus

from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract

PARTS = {
    "extraction": extraction,
    "batches": batches,
    "fit": training,
    "predict": prediction,
    "report": report,
    "export": exports,
}


def main(target: Path, names: list[str]) -> None:
    logging.getLogger("dcase2018").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        extract(corpus.audio, corpus.store, FEATURE_CONFIGS["baseline"])
        rows = [row for name in names or PARTS for row in PARTS[name].measure(corpus)]
    print(f"{'part':16} {'way':20} {'rate':>10}  {'unit':22} {'ratio':>8}")
    for row in rows:
        print(f"{row['part']:16} {row['way']:20} {row['rate']:10.0f}  {row['unit']:22} {row['ratio']:7.2f}x")
    made = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": platform.machine()}
    target.write_text(json.dumps(made | {"cores": os.cpu_count(), "rows": rows}, indent=2) + "\n", "utf-8")
    print(f"written to {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
