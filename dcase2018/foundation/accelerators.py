"""Which accelerators a process would see, found out without a library that takes their memory."""

import os
import re
import subprocess
from itertools import takewhile

VISIBLE = "CUDA_VISIBLE_DEVICES"  # heeded by all backends; from the first that is none, CUDA sees no more
NAME = re.compile(r"\d+|(GPU|MIG)-.+")
PATIENCE = 30.0  # seconds for the driver to answer, which may have to wake each card


def accelerators() -> list[str]:
    """Name the accelerators as `VISIBLE` takes them: those in it, or all that NVIDIA's driver tells of.

    Those of other makers are not counted.
    """
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return list(takewhile(NAME.fullmatch, (name.strip() for name in visible.split(","))))
    return [str(number) for number in range(_driver_count())]


def _driver_count() -> int:
    command = ["nvidia-smi", "--list-gpus"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
