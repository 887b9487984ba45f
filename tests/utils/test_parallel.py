"""What runs tasks."""

import os

import joblib

from dcase2018.utils.parallel import parallel_pool


def test_every_task_is_done_once_by_other_processes() -> None:
    with parallel_pool(2) as pool:
        done = list(pool(joblib.delayed(_square)(number) for number in range(20)))
    assert sorted(square for square, _ in done) == [number**2 for number in range(20)]
    assert os.getpid() not in {process for _, process in done}


def test_one_job_is_done_here() -> None:
    with parallel_pool(1) as pool:
        assert list(pool([joblib.delayed(_square)(3)])) == [(9, os.getpid())]


def _square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()
