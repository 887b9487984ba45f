"""Workers that run training tasks; GPU names in the environment stand in for real GPUs."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.parallel import CUDA_VISIBLE_DEVICES, open_workers, run_tasks
from dcase2018.utils.signals import Interrupted, catch_stop_signals


def record_init(folder: Path, gpu: str) -> None:
    """An initializer that writes its arguments and its environment to a file per process."""
    (folder / f"initialized-{os.getpid()}").write_text(f"{gpu} {os.environ.get(CUDA_VISIBLE_DEVICES)}")


def describe_process() -> tuple[int, str | None]:
    return os.getpid(), os.environ.get(CUDA_VISIBLE_DEVICES)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def meet(own_file: Path, other_file: Path) -> tuple[int, str | None]:
    """Return only if another task runs at the same time."""
    own_file.write_text("started")
    wait_for(other_file)
    return describe_process()


def run_until_signal(folder: Path, name: str) -> None:
    """Run until a signal, then save and stop, as training does."""
    with catch_stop_signals() as stop:
        (folder / f"started-{name}").write_text(str(os.getpid()))
        while not stop.signum:
            time.sleep(0.01)
        (folder / f"saved-{name}").touch()
        raise Interrupted(stop.signum, "stopped after step 3")


def fail_after(path: Path, error: Exception) -> None:
    wait_for(path)
    raise error


def die_after(path: Path) -> None:
    wait_for(path)
    os.kill(os.getpid(), signal.SIGKILL)


def ignore_sigterm(path: Path) -> None:
    """Run forever; on SIGTERM only write a file."""
    signal.signal(signal.SIGTERM, lambda *_: path.with_suffix(".sigterm").write_text("received"))
    path.write_text(str(os.getpid()))
    while True:
        time.sleep(1)


def is_alive(pid: int) -> bool:
    """Check that a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CUDA_VISIBLE_DEVICES, "GPU-a,GPU-b")


@pytest.mark.parametrize(("visible", "max_workers"), [("", 5), ("0", 5), ("0,1", 1)])
def test_one_worker_runs_tasks_in_this_process(
    visible: str, max_workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CUDA_VISIBLE_DEVICES, visible)
    with open_workers(max_workers, partial(record_init, tmp_path)) as workers:
        results = list(run_tasks([describe_process, describe_process], workers))
    assert results == [(os.getpid(), visible)] * 2
    assert [path.read_text() for path in tmp_path.iterdir()] == [f" {visible}"]


def test_next_task_is_taken_after_earlier_results_are_consumed() -> None:
    consumed: list[int] = []

    def tasks() -> Iterator[Callable[[], int]]:
        for index in range(4):
            assert consumed == list(range(index))
            yield partial(int, index)

    for result in run_tasks(tasks()):
        consumed.append(result)  # noqa: PERF402
    assert consumed == [0, 1, 2, 3]


@pytest.mark.usefixtures("two_gpus")
def test_each_gpu_process_sees_its_gpu_alone(tmp_path: Path) -> None:
    with open_workers(3, partial(record_init, tmp_path)) as workers:
        a, b = tmp_path / "a", tmp_path / "b"
        concurrent = list(run_tasks([partial(meet, a, b), partial(meet, b, a)], workers))
        later = list(run_tasks([describe_process] * 4, workers))
    assert sorted(gpu or "" for _, gpu in concurrent) == ["GPU-a", "GPU-b"]
    assert os.getpid() not in dict(concurrent)
    assert set(later) <= set(concurrent)
    for pid, gpu in concurrent:
        assert (tmp_path / f"initialized-{pid}").read_text() == f"{gpu} {gpu}"
        assert not is_alive(pid)
    assert os.environ[CUDA_VISIBLE_DEVICES] == "GPU-a,GPU-b"


@pytest.mark.usefixtures("two_gpus")
def test_error_of_a_task_stops_the_others_gracefully(tmp_path: Path) -> None:
    error = InputError("fold 2 has no clips")
    tasks = [
        partial(run_until_signal, tmp_path, "other"),
        partial(fail_after, tmp_path / "started-other", error),
    ]
    with pytest.raises(InputError, match="fold 2 has no clips"), open_workers(2, str) as workers:
        list(run_tasks(tasks, workers))
    assert (tmp_path / "saved-other").exists()
    assert not is_alive(int((tmp_path / "started-other").read_text()))


@pytest.mark.usefixtures("two_gpus")
def test_killed_process_is_reported_in_one_line(tmp_path: Path) -> None:
    tasks = [
        partial(run_until_signal, tmp_path, "other"),
        partial(die_after, tmp_path / "started-other"),
    ]
    with (
        pytest.raises(Dcase2018Error, match="the system ended a worker process"),
        open_workers(2, str) as workers,
    ):
        list(run_tasks(tasks, workers))
    assert (tmp_path / "saved-other").exists()


@pytest.mark.usefixtures("two_gpus")
def test_error_of_the_initializer_is_raised() -> None:
    error = InputError("KERAS_BACKEND=abacus cannot be loaded")
    with pytest.raises(InputError, match="abacus"), open_workers(2, partial(raise_error, error)):
        pass


def raise_error(error: Exception, gpu: str) -> None:
    raise error


def test_interrupted_keeps_message_and_exit_code_when_pickled() -> None:
    error = pickle.loads(pickle.dumps(Interrupted(signal.SIGTERM, "stopped after step 3")))
    assert (str(error), error.exit_code) == ("stopped after step 3", 143)


PARENT = """
import functools, pathlib, signal, sys
import test_executors as t
from dcase2018.utils.parallel import open_workers, run_tasks

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores SIGINT
folder = pathlib.Path(sys.argv[1])
if __name__ == "__main__":
    try:
        with open_workers(3, str) as workers:
            list(run_tasks([{task} for name in "abc"], workers))
    except Exception as error:
        print(error)
        sys.exit(error.exit_code)
"""


class Parent:
    """A process that runs a task on each of two GPUs."""

    def __init__(self, folder: Path, task: str) -> None:
        paths = os.pathsep.join(filter(None, sys.path))
        env = os.environ | {CUDA_VISIBLE_DEVICES: "0,1", "PYTHONPATH": paths}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT.format(task=task), str(folder)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True,
        )  # fmt: skip
        for name in "ab":
            wait_for(folder / f"started-{name}")
        self.children = [int((folder / f"started-{name}").read_text()) for name in "ab"]

    def communicate(self) -> tuple[int, str, str]:
        stdout, stderr = self.process.communicate(timeout=60)
        return self.process.returncode, stdout, stderr


RUN_UNTIL_SIGNAL = "functools.partial(t.run_until_signal, folder, name)"
IGNORE_SIGTERM = "functools.partial(t.ignore_sigterm, folder / f'started-{name}')"


@pytest.mark.parametrize(("signum", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_signal_stops_all_processes_gracefully(
    signum: signal.Signals, whole_group: bool, tmp_path: Path
) -> None:
    parent = Parent(tmp_path, RUN_UNTIL_SIGNAL)
    send = os.killpg if whole_group else os.kill  # a terminal sends Ctrl-C to the whole group
    send(parent.process.pid, signum)
    message = "stopped; run the same command again to resume\n"
    assert parent.communicate() == (128 + signum, message, "")
    assert {path.name for path in tmp_path.iterdir()} == {"started-a", "started-b", "saved-a", "saved-b"}
    assert not any(map(is_alive, parent.children))


def test_second_ctrl_c_kills_processes_that_ignore_the_first(tmp_path: Path) -> None:
    parent = Parent(tmp_path, IGNORE_SIGTERM)
    parent.process.send_signal(signal.SIGINT)
    for name in "ab":
        wait_for(tmp_path / f"started-{name}.sigterm")
    assert all(map(is_alive, parent.children))
    parent.process.send_signal(signal.SIGINT)
    code, _, stderr = parent.communicate()
    assert (code, "KeyboardInterrupt" in stderr) == (-signal.SIGINT, True)
    assert not any(map(is_alive, parent.children))


def test_processes_exit_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = Parent(tmp_path, IGNORE_SIGTERM)
    parent.process.kill()
    deadline = time.monotonic() + 30
    while any(map(is_alive, parent.children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
