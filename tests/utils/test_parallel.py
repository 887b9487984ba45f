"""The joblib pool."""

import os

import joblib

from dcase2018.utils.parallel import parallel_pool


def test_pool_runs_every_task_once_in_other_processes() -> None:
    with parallel_pool(2) as pool:
        results = list(pool(joblib.delayed(_square)(number) for number in range(20)))
    assert sorted(square for square, _ in results) == [number**2 for number in range(20)]
    assert os.getpid() not in {pid for _, pid in results}


def test_pool_of_one_job_runs_in_this_process() -> None:
    with parallel_pool(1) as pool:
        assert list(pool([joblib.delayed(_square)(3)])) == [(9, os.getpid())]


def _square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()
