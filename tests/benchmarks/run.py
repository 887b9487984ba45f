"""`make bench`: measure every part beside its comparator in the same run; print a table, write JSON."""

import json
import logging
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import extraction

PARTS = [extraction]


def main(target: Path) -> None:
    logging.getLogger("dcase2018").setLevel(logging.WARNING)
    rows = [row for part in PARTS for row in part.measure()]
    print(f"{'part':12} {'way':16} {'rate':>10}  {'unit':26} {'ratio':>7}")
    for row in rows:
        print(f"{row['part']:12} {row['way']:16} {row['rate']:10.0f}  {row['unit']:26} {row['ratio']:6.2f}x")
    made = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": platform.machine()}
    target.write_text(json.dumps(made | {"rows": rows}, indent=2) + "\n", "utf-8")
    print(f"written to {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
